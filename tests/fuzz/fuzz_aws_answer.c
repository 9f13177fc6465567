/* Answers of S3 as they come from libcurl, line by line: their heads, what the engine and transfers take from them, and the XML of uploads. No input
 * may crash; what is taken is within its limits. An empty line ends the head; the rest is the body. */
#include "../../src/net/fetch_inner.h"
#include "../../src/net/s3_get_inner.h"
#include "../../src/net/s3_put_inner.h"
#include "appliance/aws_retry.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { HEAD_CEILING = 4096, WALL_MS = 1700000000 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool is_host(const char *text)
{
    return !strpbrk(text, " \r\n\t@/?#");
}

/* Returns what is left: the body. */
static struct bytes read_head(struct http_fetch *fetch, struct bytes input)
{
    struct fetch_head head = {.ceiling = HEAD_CEILING};
    while (input.length > 0 && !head.done) {
        const char *end = memchr(input.data, '\n', input.length);
        size_t length = end ? (size_t)(end - input.data) + 1 : input.length;
        if (!fetch_head_line(&head, fetch, input.data, length)) {
            must(head.bytes > HEAD_CEILING);
            break;
        }
        input = (struct bytes){input.data + length, input.length - length};
    }
    return input;
}

static void look_at_head(const struct http_fetch *fetch)
{
    static const struct aws_endpoint tls = {.tls = true};
    const struct headers *headers = &fetch->headers;
    char region[AWS_REGION_SIZE], origin[AWS_ORIGIN_SIZE];
    int64_t first, size;
    struct aws_fault fault = {0};
    for (int retries = 0; retries < 40; retries += 13) {
        int64_t delay = aws_retry_delay_ms(retries, retries & 1, headers, UINT32_MAX);
        must(delay >= 0 && delay <= 25000);
    }
    (void)aws_skew_ms(headers, WALL_MS);
    if (aws_region_elsewhere(headers, &fault, "us-east-1", region))
        must(*region && strcmp(region, "us-east-1") != 0 && is_host(region));
    if (aws_location(headers, &tls, true, origin))
        must(strncasecmp(origin, "https://", 8) == 0 && is_host(origin + 8) && strcasestr(origin, ".amazonaws.com"));
    if (s3_content_range(headers_find(headers, "Content-Range"), &first, &size))
        must(first >= 0 && (size == -1 || size > first));
}

static void look_at_body(struct bytes body)
{
    char text[64];
    struct err err = {0};
    if (s3_put_xml_text(body, "UploadId", text, sizeof text, &err))
        must(strlen(text) < sizeof text);
    else
        must(err.kind == ERR_PROTOCOL);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *exact = malloc(length ? length : 1); /* so that the sanitizer sees a step too far */
    memcpy(exact, input, length);
    struct http_fetch fetch = {.length = -1};
    headers_init(&fetch.headers, HEAD_CEILING);
    struct bytes body = read_head(&fetch, (struct bytes){exact, length});
    must(fetch.status >= 0 && fetch.status <= 999);
    look_at_head(&fetch);
    look_at_body(body);
    headers_free(&fetch.headers);
    free(exact);
    return 0;
}
