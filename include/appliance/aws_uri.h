/* aws_uri.h - how AWS escapes paths and queries, and the parts of an endpoint's URL. Pure.
 * AWS's "UriEncode" leaves only letters, digits and - . _ ~ as they are; everything else is %XX with capital digits, the blank too (never
 * "+"). The signature covers the escaped form, so what is sent must be escaped by exactly this function.
 * Nothing here knows which paths are equal: "a//b", "." and ".." are names like any other. Fuzzed by tests/fuzz/fuzz_aws_uri.c. */
#ifndef APPLIANCE_AWS_URI_H
#define APPLIANCE_AWS_URI_H

#include "appliance/buf.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A name and its value as they are meant: not escaped. */
struct aws_pair {
    struct bytes name, value;
};

enum aws_escape { AWS_ESCAPE_ALL, AWS_ESCAPE_PATH /* "/" stays */ };

/* False without room in `out`, which then may hold a part of it. */
bool aws_escape(struct buf *out, struct bytes raw, enum aws_escape);

/* Where requests go: http[s]://host[:port][/prefix]. The parts point into the text that was read. */
struct aws_endpoint {
    bool tls;
    bool is_address;     /* the host is an IPv4 or IPv6 address */
    bool is_ipv6;        /* in a URL and in Host, it is in brackets, which `host` is without */
    struct bytes host;   /* as written */
    uint16_t port;       /* never 0: 443 or 80 when none was written */
    struct bytes prefix; /* "" or "/a/b": raw, no slash at its end */
};
/* Refuses, with ERR_INVALID and a sentence that quotes the URL: other schemes, user names, queries, fragments, hosts and ports that can't
 * be, and a prefix with anything that would have to be escaped. */
bool aws_endpoint_read(struct bytes url, struct aws_endpoint *, struct err *);
/* "host", "host:8080", "[::1]:8080": what goes out as Host and is signed; the scheme's own port is left away. */
bool aws_endpoint_host(const struct aws_endpoint *, struct buf *out);
/* "https://host:8080": the same with its scheme, and without the prefix. */
bool aws_endpoint_origin(const struct aws_endpoint *, struct buf *out);

#endif
