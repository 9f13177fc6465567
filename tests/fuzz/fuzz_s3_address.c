/* s3:// addresses: the parts are those of the text, and whatever was taken gives a host that reads as an endpoint again. */
#include "appliance/s3_address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void address(const struct s3_uri *uri, const struct aws_endpoint *endpoint, enum s3_style style)
{
    struct s3_address address;
    struct aws_endpoint again;
    struct err err;
    s3_address_init(&address);
    struct s3_place place = {.region = bytes_of("eu-west-1"), .bucket = uri->bucket, .key = uri->key, .endpoint = endpoint, .style = style};
    must(s3_address_make(&address, &place, &err));
    must(aws_endpoint_read(buf_bytes(&address.origin), &again, &err) && again.prefix.length == 0);
    must(again.tls == (!endpoint || endpoint->tls));
    size_t behind = address.path.length - uri->key.length;
    must(bytes_equal((struct bytes){address.path.data + behind, uri->key.length}, uri->key));
    must(address.style == S3_STYLE_VIRTUAL || memmem(address.path.data, address.path.length, uri->bucket.data, uri->bucket.length));
    s3_address_free(&address);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1); /* exactly as long, so that the sanitizer sees a step too far */
    memcpy(data, input, length);
    struct s3_uri uri;
    struct err err = {0};
    if (!s3_uri_read((struct bytes){data, length}, &uri, &err)) {
        must(err.kind == ERR_INVALID && err.text[0]);
        free(data);
        return 0;
    }
    size_t slash = uri.key.length || (length && data[length - 1] == '/') || uri.version.length ? 1 : 0;
    size_t rest = uri.bucket.length + slash + uri.key.length + (uri.version.length ? strlen("?versionId=") + uri.version.length : 0);
    must(length == strlen("s3://") + rest || length == strlen("s3a://") + rest);

    struct aws_endpoint plain, named;
    must(aws_endpoint_read(bytes_of("http://127.0.0.1:9000/prefix"), &plain, &err));
    must(aws_endpoint_read(bytes_of("http://minio:9000"), &named, &err));
    for (enum s3_style style = S3_STYLE_AUTO; style <= S3_STYLE_PATH; style++) {
        address(&uri, NULL, style);
        address(&uri, &plain, style);
        if (uri.bucket.length <= 63)
            address(&uri, &named, style);
    }
    free(data);
    return 0;
}
