/* Error answers of AWS, and what looks into a 200. The first byte picks the status; the rest is the body. */
#include "appliance/aws_retry.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 301, 307, 400, 403, 404, 412, 500, 503, 507};
    struct aws_fault fault;
    struct headers headers;
    struct err err;
    if (size == 0)
        return 0;
    int status = statuses[data[0] % (sizeof statuses / sizeof *statuses)];
    struct bytes body = {(const char *)data + 1, size - 1};
    headers_init(&headers, 8192);
    headers_add(&headers, "x-amzn-ErrorType", body, NULL);
    headers_add(&headers, "Location", body, NULL);
    aws_fault_read(&fault, status, data[0] & 0x80 ? &headers : NULL, body);
    char found[AWS_REGION_SIZE];
    (void)aws_fault_inside(body);
    (void)aws_region_elsewhere(&headers, &fault, "us-east-1", found);
    struct aws_scene scene = {.subject = "s3://b/k", .region = "us-east-1", .bucket_region = fault.region};
    aws_fault_describe(&fault, status, &scene, &err);
    for (const char *c = err.text; *c; c++)
        if (*c < ' ' || *c >= 0x7f)
            abort(); /* sentences go to logs */
    headers_free(&headers);
    return 0;
}
