/* Dates of AWS: no input may crash, and what was read comes back when it is written and read again. */
#include "appliance/aws_date.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1); /* exactly as long, so that the sanitizer sees a step too far */
    memcpy(data, input, length);
    struct bytes text = {data, length};
    struct err err = {0};
    char basic[AWS_DATE_BASIC_SIZE], iso[AWS_DATE_ISO_SIZE], http[AWS_DATE_HTTP_SIZE];
    int64_t wall_ms = 0, again;
    const int64_t first = INT64_C(-62167219200000), behind_last = INT64_C(253402300800000);
    if (aws_date_read_basic(text, &wall_ms, &err) || aws_date_read_http(text, &wall_ms, &err) || aws_date_read_iso(text, &wall_ms, &err)) {
        aws_date_basic(basic, wall_ms);
        aws_date_iso(iso, wall_ms);
        aws_date_http(http, wall_ms);
        int64_t rest = wall_ms % 1000 < 0 ? wall_ms % 1000 + 1000 : wall_ms % 1000;
        bool written = wall_ms >= first && wall_ms < behind_last; /* an offset may lead out of the years that can be written */
        must(aws_date_read_basic(bytes_of(basic), &again, &err) && (again == wall_ms - rest || !written));
        must(aws_date_read_iso(bytes_of(iso), &again, &err) && (again == wall_ms - rest || !written));
        must(aws_date_read_http(bytes_of(http), &again, &err) && (again == wall_ms - rest || !written));
    } else {
        must(err.kind == ERR_PROTOCOL && err.text[0]);
    }
    if (length >= sizeof wall_ms) {
        memcpy(&wall_ms, input, sizeof wall_ms);
        aws_date_http(http, wall_ms);
        must(strlen(http) == AWS_DATE_HTTP_SIZE - 1);
    }
    free(data);
    return 0;
}
