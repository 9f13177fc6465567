/* s3_address.h - where an object is: reads s3://bucket/key and makes host and path of the requests for it. Pure.
 * A key is bytes and nothing else: what stands behind the first slash after the bucket, to the end. "a//b", "/lead", "..", "%20" and "+"
 * are keys as they stand; nothing is cleaned up or unescaped. What is made here goes through sigv4.h, which escapes it, to the wire.
 * Fuzzed by tests/fuzz/fuzz_s3_address.c. */
#ifndef APPLIANCE_S3_ADDRESS_H
#define APPLIANCE_S3_ADDRESS_H

#include "appliance/aws_uri.h"

enum { S3_KEY_LIMIT = 1024, S3_BUCKET_LIMIT = 255 };

/* The parts point into the text that was read. */
struct s3_uri {
    struct bytes bucket, key, version; /* key: empty for a whole bucket; version: empty for the latest */
};
/* s3://, s3a:// and s3n:// are the same; "?versionId=" is one where it is followed by an id up to the end (no id holds ? or &). False with
 * ERR_INVALID and a sentence that says what is wrong with the address. */
bool s3_uri_read(struct bytes text, struct s3_uri *, struct err *);

/* Whether a bucket can have such a name (those of before 2018 included), and whether it can be a part of a host's name. */
bool s3_bucket_is_valid(struct bytes bucket);
bool s3_bucket_is_dns(struct bytes bucket);

enum s3_style {
    S3_STYLE_AUTO,    /* virtual for AWS's own endpoints, path for a given one */
    S3_STYLE_VIRTUAL, /* bucket.host/key, where that can work */
    S3_STYLE_PATH,    /* host/bucket/key */
};

struct s3_place {
    struct bytes region, bucket, key;    /* without a bucket: the service itself (ListBuckets) */
    const struct aws_endpoint *endpoint; /* NULL: AWS's own of that region, by https */
    enum s3_style style;
    bool dualstack, fips; /* of AWS's own */
};

struct s3_address {
    struct buf origin;   /* "https://bucket.s3.eu-west-1.amazonaws.com": in front of sigv4_result.target it is the URL */
    struct buf host;     /* "bucket.s3.eu-west-1.amazonaws.com": sigv4_request.host */
    struct buf path;     /* not escaped: sigv4_request.path */
    enum s3_style style; /* VIRTUAL or PATH: what it became */
};
void s3_address_init(struct s3_address *); /* once; then any number of s3_address_make */
void s3_address_free(struct s3_address *);
/* A bucket goes into the host's name only where that can work: its name fits DNS, the host is no address, and under https it has no dot,
 * as certificates cover one label. Otherwise it goes into the path, whatever the style says. False with ERR_INVALID: a bucket, key or
 * region that can't be. */
bool s3_address_make(struct s3_address *, const struct s3_place *, struct err *);

#endif
