/* sigv4.h - AWS Signature Version 4: pure. No descriptor, no clock, nothing read from the environment; libcrypto does the hashing.
 * The caller says what it wants in raw letters (path, query) and gets back the escaped target that must be sent unchanged: with curl that
 * means CURLOPT_PATH_AS_IS, for "a//b" and ".." are names. A request is signed again for every try, as the time is part of the signature.
 * Secrets: the secret key is hashed and forgotten; the keys derived from it stay in struct sigv4_keys until sigv4_keys_clear.
 * For one thread. Held to AWS's test suite by tests/unit/test_sigv4_suite.c, fuzzed by tests/fuzz/fuzz_sigv4.c. */
#ifndef APPLIANCE_SIGV4_H
#define APPLIANCE_SIGV4_H

#include "appliance/aws_date.h"
#include "appliance/aws_uri.h"
#include "appliance/headers.h"

enum { SIGV4_HEX_SIZE = 65, SIGV4_PAIRS_LIMIT = 128, SIGV4_TEXT_LIMIT = 256 * 1024, SIGV4_EXPIRES_LIMIT = 7 * 24 * 3600 };

/* What is hashed in place of the body, and said in x-amz-content-sha256. */
enum sigv4_payload {
    SIGV4_PAYLOAD_EMPTY,
    SIGV4_PAYLOAD_HASHED, /* request.payload_hash says it */
    SIGV4_PAYLOAD_UNSIGNED,
    SIGV4_PAYLOAD_UNSIGNED_TRAILER, /* aws-chunked, chunks and trailer without signatures: for TLS */
    SIGV4_PAYLOAD_CHUNKS,           /* aws-chunked, every chunk signed (sigv4_chunks below) */
    SIGV4_PAYLOAD_CHUNKS_TRAILER,   /* the same with a signed trailer */
};

enum sigv4_rules {
    SIGV4_NORMALISE = 1,      /* "a/./b", "a/../b" and "a//b" are resolved in what is signed; what is sent stays as it is */
    SIGV4_ESCAPE_TWICE = 2,   /* the signed path is the escaped path, escaped again */
    SIGV4_PAYLOAD_HEADER = 4, /* x-amz-content-sha256 is sent */
    SIGV4_TOKEN_UNSIGNED = 8, /* the session token is sent, but not covered by the signature */
    SIGV4_S3 = SIGV4_PAYLOAD_HEADER,
    SIGV4_GENERAL = SIGV4_NORMALISE | SIGV4_ESCAPE_TWICE, /* STS, EC2, ELB, Auto Scaling, CloudFormation, Route 53 ... */
};

struct sigv4_credentials {
    struct bytes access_key, secret_key, session_token; /* the last may be empty */
};

struct sigv4_scope {
    struct bytes region, service; /* "us-east-1", "s3" */
    unsigned rules;               /* of enum sigv4_rules */
};

struct sigv4_request {
    struct bytes method, path; /* path: "/" and what follows, not escaped */
    const struct aws_pair *query;
    size_t query_count; /* SIGV4_PAIRS_LIMIT at most, as are headers */
    struct bytes host;  /* as it goes out; not needed when the headers hold Host */
    enum sigv4_payload payload;
    char payload_hash[SIGV4_HEX_SIZE]; /* lower-case hexadecimal SHA-256, for SIGV4_PAYLOAD_HASHED */
};

/* What came out. To be initialised once, used for any number of signatures, freed once. */
struct sigv4_result {
    struct buf target;    /* escaped path, "?" and query if there is one: the request line's */
    struct buf canonical; /* the canonical request, to hold against <CanonicalRequest> of a SignatureDoesNotMatch */
    struct buf to_sign;
    char signature[SIGV4_HEX_SIZE];
    char date[AWS_DATE_BASIC_SIZE];
};
void sigv4_result_init(struct sigv4_result *);
void sigv4_result_free(struct sigv4_result *); /* wipes it, too: a target may hold a session token, or be a key for a week */

/* Signing keys, which hold for a day, a region and a service each. Zeroed = empty. The oldest makes room. */
enum { SIGV4_KEYS = 8, SIGV4_KEY_LENGTH = 32 };
struct sigv4_keys {
    struct {
        unsigned char id[SIGV4_KEY_LENGTH], key[SIGV4_KEY_LENGTH]; /* id: a hash of secret, day, region and service */
        bool used;
    } entry[SIGV4_KEYS];
    unsigned next;
};
/* When credentials are replaced, and at the end. */
void sigv4_keys_clear(struct sigv4_keys *);

/* Signs by header: all of `headers` but those that proxies change (Connection, Expect, User-Agent and the like), and sets there X-Amz-Date,
 * Authorization, X-Amz-Security-Token and X-Amz-Content-Sha256 as needed, in place of those of an earlier try. Host is signed, not added.
 * False with ERR_INVALID (what can't be signed: no host, a method or scope with odd letters, too much of anything) or ERR_SYSTEM (no
 * memory); `headers` may then be half changed. */
bool sigv4_sign(struct sigv4_keys *, const struct sigv4_credentials *, const struct sigv4_scope *, const struct sigv4_request *,
                int64_t wall_ms, struct headers *headers, struct sigv4_result *, struct err *);

/* Signs by query: a URL that is good for expires_s (1 s to 7 days, and not longer than the credentials live). All of `headers` (NULL: none
 * but Host) are signed, and must be sent with the URL. With SIGV4_PAYLOAD_HEADER the payload must be SIGV4_PAYLOAD_UNSIGNED. */
bool sigv4_presign(struct sigv4_keys *, const struct sigv4_credentials *, const struct sigv4_scope *, const struct sigv4_request *,
                   int64_t wall_ms, int64_t expires_s, const struct headers *headers, struct sigv4_result *, struct err *);

/* "9095672b...": for payload_hash. */
bool sigv4_hash(struct bytes body, char hex[SIGV4_HEX_SIZE]);

/* --- bodies as aws-chunked --- */

/* How such a body is framed. The signed forms sign each chunk with the signature of the one before. */
struct sigv4_framing {
    enum sigv4_payload payload; /* one of the three with chunks */
    uint64_t length;            /* of the content: x-amz-decoded-content-length */
    uint64_t chunk;             /* length of every chunk but the last; S3 wants 8 KiB or more */
    size_t trailer_name;        /* length of the trailer's name, 0 without one ... */
    size_t trailer_value;       /* ... and of its value */
};
/* Content-Length of the whole framed body. Overflows to 0, as does a framing without a chunk length. */
uint64_t sigv4_framed_length(const struct sigv4_framing *);

struct sigv4_chunks {
    unsigned char key[SIGV4_KEY_LENGTH];
    char date[AWS_DATE_BASIC_SIZE], previous[SIGV4_HEX_SIZE];
    char scope[160];
    enum sigv4_payload payload;
};
/* `seed` is the result of sigv4_sign for this request, with the same scope and credentials. */
bool sigv4_chunks_start(struct sigv4_chunks *, struct sigv4_keys *, const struct sigv4_credentials *, const struct sigv4_scope *,
                        const struct sigv4_request *, const struct sigv4_result *seed, struct err *);
void sigv4_chunks_end(struct sigv4_chunks *); /* wipes it; again is harmless */
/* Appends what goes before the data: "1000[;chunk-signature=...]\r\n". The caller sends the data and "\r\n" after it. The last chunk is
 * empty: then only sigv4_chunks_finish follows. False: no room, or hashing failed. */
bool sigv4_chunks_head(struct sigv4_chunks *, struct bytes data, struct buf *out);
/* Appends the last, empty chunk, the trailer `name: value` (name in lower case; an empty name: none) with its signature, and the end. */
bool sigv4_chunks_finish(struct sigv4_chunks *, struct bytes name, struct bytes value, struct buf *out);

#endif
