/* Control requests, answers and chunked bodies: no input may crash, and where the bytes are cut must not matter. */
#include "appliance/http_parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool inside(struct bytes part, const char *data, size_t length)
{
    return part.length == 0 || (part.data >= data && part.data + part.length <= data + length);
}

static void request(const char *data, size_t length)
{
    struct http_request r;
    struct err err = {0};
    size_t used = 0;
    enum http_parse answer = http_parse_request(data, length, &r, &used, &err);
    must(used <= length);
    if (answer == HTTP_BAD)
        must(err.code >= 400 && err.code < 600 && err.text[0]);
    if (answer == HTTP_MORE)
        must(length < HTTP_HEAD_LIMIT || r.head_length > 0);
    if (answer != HTTP_DONE)
        return;
    must(used == r.head_length + r.content_length && r.body.length == r.content_length);
    must(inside(r.method, data, length) && inside(r.path, data, length) && inside(r.query, data, length) && inside(r.body, data, length));
    must(r.path.length > 0 && r.path.data[0] == '/');

    /* The same bytes, cut one short, are not a whole request; what follows them changes nothing. */
    struct http_request again;
    size_t used_again;
    must(http_parse_request(data, used, &again, &used_again, NULL) == HTTP_DONE && used_again == used);
    must(http_parse_request(data, used - 1, &again, &used_again, NULL) == HTTP_MORE);

    struct bytes headers = r.headers, its_name, its_value;
    while (http_header_next(&headers, &its_name, &its_value)) {
        must(its_name.length > 0 && inside(its_name, data, length) && inside(its_value, data, length));
        must(!memchr(its_name.data, '\n', its_name.length) && (!its_value.length || !memchr(its_value.data, '\n', its_value.length)));
    }
    must(headers.length == 0);

    char *out = malloc(r.path.length + r.query.length + 1);
    must(http_unescape(r.path, false, out) <= r.path.length);
    must(!memchr(out, 0, http_unescape(r.path, false, out)));
    struct bytes query = r.query, name, value;
    for (size_t before = query.length; http_query_next(&query, &name, &value); before = query.length) {
        must(query.length < before && inside(name, data, length) && inside(value, data, length));
        http_unescape(value, true, out);
    }
    free(out);
}

/* Everything body is folded into a hash, so that two ways of cutting can be compared. */
static enum http_parse chunks(const char *data, size_t length, size_t step, uint64_t *hash)
{
    struct http_chunks state = {0};
    struct err err;
    size_t at = 0, seen = step < length ? step : length;
    *hash = 14695981039346656037u;
    for (;;) {
        size_t used;
        struct bytes body;
        enum http_parse answer = http_chunks_next(&state, data + at, seen - at, &used, &body, &err);
        must(used <= seen - at && inside(body, data + at, used));
        for (size_t i = 0; i < body.length; i++)
            *hash = (*hash ^ (uint8_t)body.data[i]) * 1099511628211u;
        at += used;
        if (answer != HTTP_MORE)
            return answer;
        if (used == 0 && seen == length)
            return HTTP_MORE;
        if (used == 0)
            seen = seen + step < length ? seen + step : length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1); /* exactly as long, so that the sanitizer sees a step too far */
    memcpy(data, input, length);
    request(data, length);

    struct http_response r;
    struct err err;
    if (http_parse_response(data, length, &r, &err) == HTTP_DONE)
        must(r.head_length <= length && r.status >= 100 && r.status <= 999 && (!r.chunked || r.content_length == -1));

    uint64_t whole, cut;
    enum http_parse answer = chunks(data, length, length, &whole);
    /* In a wrong body the fault may be seen sooner or later, depending on the cut; in a right one nothing may differ. */
    if (answer == HTTP_DONE) {
        must(chunks(data, length, 1 + length % 7, &cut) == HTTP_DONE);
        must(whole == cut);
    }
    free(data);
    return 0;
}
