/* The signer: any path, query and headers are signed or refused, never more; signing twice gives the same, as does any order of the query.
 * The input is cut at its lines: path, then lines with "=" are parameters, with ":" headers. */
#include "appliance/sigv4.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

enum { PAIRS = 12 };

struct input {
    struct sigv4_request request;
    struct aws_pair query[PAIRS];
    struct headers headers;
};

static void read_line(struct input *in, struct bytes line)
{
    char name[64];
    const char *equals = memchr(line.data, '=', line.length), *colon = memchr(line.data, ':', line.length);
    if (equals && in->request.query_count < PAIRS) {
        size_t length = (size_t)(equals - line.data);
        in->query[in->request.query_count++] = (struct aws_pair){{line.data, length}, {equals + 1, line.length - length - 1}};
    } else if (colon && (size_t)(colon - line.data) < sizeof name) {
        size_t length = (size_t)(colon - line.data);
        memcpy(name, line.data, length);
        name[length] = 0;
        headers_add(&in->headers, name, (struct bytes){colon + 1, line.length - length - 1}, NULL);
    }
}

static void sign(struct input *in, unsigned rules)
{
    static const struct sigv4_credentials credentials = {{"AKID", 4}, {"secret", 6}, {"token/+=", 8}};
    struct sigv4_scope scope = {bytes_of("us-east-1"), bytes_of("service"), rules};
    struct sigv4_keys keys = {0};
    struct sigv4_result first, second;
    struct err err = {0};
    sigv4_result_init(&first);
    sigv4_result_init(&second);
    bool ok = sigv4_sign(&keys, &credentials, &scope, &in->request, 0, &in->headers, &first, &err);
    must(ok || (err.kind == ERR_INVALID && err.text[0]));
    for (size_t i = 0; i < in->request.query_count / 2; i++) {
        struct aws_pair other = in->query[i];
        in->query[i] = in->query[in->request.query_count - 1 - i];
        in->query[in->request.query_count - 1 - i] = other;
    }
    if (ok) {
        must(sigv4_sign(&keys, &credentials, &scope, &in->request, 0, &in->headers, &second, NULL));
        must(bytes_equal(buf_bytes(&first.canonical), buf_bytes(&second.canonical)) && strcmp(first.signature, second.signature) == 0);
        for (size_t i = 0; i < first.target.length; i++)
            must(first.target.data[i] > ' ' && first.target.data[i] < 0x7f && first.target.data[i] != '#');
        if (rules & SIGV4_NORMALISE) {
            const char *path = memchr(first.canonical.data, '\n', first.canonical.length);
            size_t length = strcspn(path + 1, "\n");
            must(!memmem(path + 1, length, "//", 2) && !memmem(path + 1, length, "/./", 3) && !memmem(path + 1, length, "/../", 4));
        }
    }
    in->request.payload = SIGV4_PAYLOAD_UNSIGNED;
    if (sigv4_presign(&keys, &credentials, &scope, &in->request, 0, 60, &in->headers, &second, &err))
        must(second.target.length > 64 && strlen(second.signature) == 64);
    sigv4_result_free(&first);
    sigv4_result_free(&second);
    sigv4_keys_clear(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1); /* exactly as long, so that the sanitizer sees a step too far */
    memcpy(data, input, length);
    struct input in = {.request = {.method = {"GET", 3}, .host = {"host", 4}}};
    in.request.query = in.query;
    headers_init(&in.headers, 4096);
    struct bytes rest = {data, length};
    bool first = true;
    while (rest.length) {
        const char *end = memchr(rest.data, '\n', rest.length);
        struct bytes line = {rest.data, end ? (size_t)(end - rest.data) : rest.length};
        rest = (struct bytes){line.data + line.length + (end != NULL), rest.length - line.length - (end != NULL)};
        if (first)
            in.request.path = line;
        else
            read_line(&in, line);
        first = false;
    }
    sign(&in, SIGV4_S3);
    in.request.payload = SIGV4_PAYLOAD_EMPTY;
    sign(&in, SIGV4_GENERAL);
    headers_free(&in.headers);
    free(data);
    return 0;
}
