/* sigv4_inner.h - what the parts of the signer share: hashing and keys (sigv4_key.c), the canonical request (sigv4_canonical.c). */
#ifndef APPLIANCE_SIGV4_INNER_H
#define APPLIANCE_SIGV4_INNER_H

#include "appliance/sigv4.h"

#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
#define SIGV4_TOKEN     "X-Amz-Security-Token"

/* "20150830/us-east-1/iam/aws4_request"; room for the longest region and service that are taken */
enum { SIGV4_SCOPE_SIZE = 160, SIGV4_WORD_LIMIT = 63 };

bool sigv4_hmac(struct bytes key, struct bytes text, unsigned char out[SIGV4_KEY_LENGTH]);
void sigv4_hex(const unsigned char digest[SIGV4_KEY_LENGTH], char hex[SIGV4_HEX_SIZE]);
/* The key for `day` (8 digits), from the cache or derived into it. */
bool sigv4_key(struct sigv4_keys *, struct bytes secret, const char *day, const struct sigv4_scope *, unsigned char out[SIGV4_KEY_LENGTH],
               struct err *);
bool sigv4_scope_text(const char *date, const struct sigv4_scope *, char out[SIGV4_SCOPE_SIZE], struct err *);
/* What stands for the body in x-amz-content-sha256. */
const char *sigv4_payload_word(const struct sigv4_request *);

/* Of a presigned URL: the caller's parameters and at most seven of ours. */
enum { SIGV4_QUERY_LIMIT = SIGV4_PAIRS_LIMIT + 7 };

/* One signature in the making. */
struct sigv4_making {
    const struct sigv4_scope *scope;
    const struct sigv4_request *request;
    const struct sigv4_credentials *credentials;
    struct sigv4_result *out;
    struct aws_pair headers[SIGV4_PAIRS_LIMIT + 1]; /* to be signed, in order */
    size_t header_count;
    struct buf names;   /* "host;x-amz-date" */
    struct buf query;   /* the canonical one */
    struct buf scratch; /* paths and pairs on their way */
    char credential_scope[SIGV4_SCOPE_SIZE];
};

/* All return false when there is no room, or no memory. */
bool sigv4_write_path(struct sigv4_making *, struct bytes path);                      /* to the canonical request */
bool sigv4_write_query(struct sigv4_making *, const struct aws_pair *, size_t count); /* to `query` */
bool sigv4_write_headers(struct sigv4_making *);                                      /* to the canonical request */
bool sigv4_write_names(struct sigv4_making *);                                        /* to `names` */
/* Fills `headers`; false with its reason. */
bool sigv4_collect_headers(struct sigv4_making *, const struct headers *, struct err *);

#endif
