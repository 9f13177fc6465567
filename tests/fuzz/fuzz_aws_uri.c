/* Escaping and endpoints: what was escaped comes back, what an endpoint says of itself is read as the same endpoint. */
#include "appliance/aws_uri.h"
#include "appliance/http_parse.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void escape(struct bytes text, enum aws_escape how)
{
    struct buf out;
    buf_init(&out, text.length * 3);
    must(aws_escape(&out, text, how));
    char *back = malloc(out.length + 1);
    for (size_t i = 0; i < out.length; i++)
        must(out.data[i] > ' ' && out.data[i] < 0x7f && out.data[i] != '+');
    must(bytes_equal((struct bytes){back, http_unescape(buf_bytes(&out), true, back)}, text));
    free(back);
    buf_free(&out);
}

static void endpoint(struct bytes url)
{
    struct aws_endpoint e, again;
    struct err err = {0};
    if (!aws_endpoint_read(url, &e, &err)) {
        must(err.kind == ERR_INVALID && err.text[0]);
        return;
    }
    must(e.host.length > 0 && e.port > 0 && (!e.is_ipv6 || e.is_address));
    must(e.prefix.length == 0 || (e.prefix.data[0] == '/' && e.prefix.data[e.prefix.length - 1] != '/'));
    struct buf out;
    buf_init(&out, 4096 + url.length);
    must(aws_endpoint_origin(&e, &out) && buf_append(&out, e.prefix.data, e.prefix.length));
    must(aws_endpoint_read(buf_bytes(&out), &again, &err));
    must(again.tls == e.tls && again.is_address == e.is_address && again.is_ipv6 == e.is_ipv6 && again.port == e.port);
    must(bytes_equal(again.host, e.host) && bytes_equal(again.prefix, e.prefix));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1); /* exactly as long, so that the sanitizer sees a step too far */
    memcpy(data, input, length);
    escape((struct bytes){data, length}, AWS_ESCAPE_ALL);
    escape((struct bytes){data, length}, AWS_ESCAPE_PATH);
    endpoint((struct bytes){data, length});
    free(data);
    return 0;
}
