/* aws_request.h - one signed request to S3 or another service of AWS, with everything around it: credentials, signature (made anew for every
 * try), retries, clock skew, expired tokens, the bucket's region, redirects, errors inside a 200, checksums of what is sent and of what comes.
 * On our loop; nothing here waits. Above http.h and sigv4.h, below s3_get and s3_put, which split objects into such requests.
 *
 *   struct aws_spec spec = {.service = "s3", .method = "GET", .bucket = bytes_of("b"), .key = bytes_of("a//b"), .ceiling = 1 << 20};
 *   if (!aws_request_start(&r, client, &spec, done, &err)) ...        done(): r->ok, r->fetch.status, r->fetch.headers, r->fetch.body
 *
 * Retries are those of the SDKs' standard mode: 3 attempts unless AWS_MAX_ATTEMPTS says otherwise; 500, 502, 503, 504, throttling, broken,
 * refused, truncated and silent connections; full jitter; x-amz-retry-after and Retry-After; one bucket of 500 tokens for all requests of a
 * client, 5 for a retry and 10 after a timeout, so that a service in trouble is not asked three times as often. These come on top, each once
 * for a request: another region, a corrected clock, fresh credentials, no checksum.
 * Invariant: `done` is called exactly once for each aws_request_start that returned true, in the loop and never from within the start, unless
 * aws_request_stop comes first. */
#ifndef APPLIANCE_AWS_REQUEST_H
#define APPLIANCE_AWS_REQUEST_H

#include "appliance/aws_checksum.h"
#include "appliance/aws_settings.h"
#include "appliance/credentials_keys.h"
#include "appliance/http.h"
#include "appliance/sigv4.h"

/* --- what the requests of a process share --- */

struct aws_client;        /* token bucket, clock skew, bucket -> region, who can't do checksums, signing keys */
struct credentials_store; /* credentials.h */

/* `settings` and `store` are borrowed and must outlive it. store NULL: only requests that bring their keys, or are anonymous. */
struct aws_client *aws_client_open(struct loop *, const struct aws_settings *, struct credentials_store *, struct err *);
void aws_client_close(struct aws_client *); /* all its requests have ended or been stopped; wipes its signing keys */

bool aws_client_is_busy(const struct aws_client *); /* some have not ended yet */

const struct aws_settings *aws_client_settings(const struct aws_client *);
int64_t aws_client_wall_ms(const struct aws_client *); /* the time as AWS has it: our clock and the skew that was found */
/* The region a bucket was found in, or NULL: then requests go to the region that is asked for or configured. Good until the next turn. */
const char *aws_client_bucket_region(const struct aws_client *, struct bytes bucket);

/* --- what is asked --- */

struct aws_request;

struct aws_body {
    enum http_body_kind kind;
    int64_t length;   /* exactly this much; must be known, for HTTP_FROM_PULL, too */
    const char *data; /* HTTP_FROM_MEMORY */
    int fd;           /* HTTP_FROM_FILE: read with pread at `offset` and behind */
    int64_t offset;
    /* HTTP_FROM_PULL: as in http.h. rewind is called before any further try; NULL or false: there is none after the first byte was pulled. */
    ssize_t (*pull)(struct aws_request *, char *room, size_t size);
    bool (*rewind)(struct aws_request *);
};

enum aws_flags {
    AWS_ANONYMOUS = 1,       /* not signed */
    AWS_MAY_FAIL_IN_200 = 2, /* CopyObject, UploadPartCopy, CompleteMultipartUpload: the body is looked at, whatever the status; no push */
    AWS_CHECKSUM_OFF = 4,    /* neither send one nor ask for one */
    AWS_CHECKSUM_NEEDED = 8, /* the operation wants one (DeleteObjects): when_required sends it, too, and Content-MD5 is the last resort */
    AWS_DUALSTACK = 16,      /* for AWS's own endpoints; beside the settings */
    AWS_FIPS = 32,
    AWS_REQUEST_PAYER = 64,    /* x-amz-request-payer: requester */
    AWS_EXPECT_CONTINUE = 128, /* the body waits for the server's word, up to 1 s */
    AWS_NO_RETRY = 256,        /* one attempt; region, clock, credentials and checksum are still put right */
    AWS_NO_PROXY = 512,
};

/* Zeroed is the default of every field but service and method. Borrowed to the end: `done` or the stop. What it points to may be changed
 * by `again`, and by nobody else. */
struct aws_spec {
    const char
        *service; /* "s3", "sts", "ec2", "elasticloadbalancing", "autoscaling", "cloudformation", "route53", "iam" ...: signing name */
    const char *region; /* NULL: the settings', and for S3 us-east-1 when they don't say; a bucket whose region was found goes before */
    const char *role;   /* ARN of a role to assume first; NULL: the chain's own credentials */
    const struct credentials *keys;      /* these, and nobody is asked; NULL: the store's */
    const struct aws_endpoint *endpoint; /* NULL: the settings' for the service, or AWS's own */
    enum s3_style style;                 /* AUTO: the settings' */
    struct bytes bucket, key;            /* S3: may be empty */
    struct bytes path;                   /* others: "/" when empty; not escaped */
    const char *method;
    const struct aws_pair *query; /* not escaped, in any order */
    size_t query_count;
    const struct headers *headers; /* of the caller: Range, If-Match, x-amz-meta-..., SSE ...; NULL: none */
    struct aws_body body;
    unsigned flags; /* of enum aws_flags */
    /* Of the body sent to S3 by PUT (by POST with AWS_CHECKSUM_NEEDED): in a header for one in memory, else in a trailer. NONE: CRC64NVME, unless
     * the settings, the caller's headers (x-amz-checksum-..., Content-MD5) or an earlier refusal of this endpoint speak against it. Any other
     * kind is sent whatever the settings say, and its refusal is an error. */
    enum aws_checksum_kind checksum;
    const char
        *checksum_value; /* of `checksum`, in base64, when the caller has it already; then it is in a header for every kind of body */
    /* Of a good answer, piece by piece: as in http.h (HTTP_PAUSE until aws_request_resume, HTTP_STOP). NULL: into fetch.body. */
    ssize_t (*push)(struct aws_request *, const char *data, size_t length);
    /* Before another try when push has taken something already: true, the receiver goes on with what the spec says now (as it was: from the
     * first byte; with another Range: behind what it has). NULL or false: the failure stands. */
    bool (*again)(struct aws_request *);
    size_t ceiling;                              /* of fetch.body; 0: 1 MiB */
    int64_t deadline_ms;                         /* of everything, all tries and waits; 0: none */
    int64_t connect_ms, first_byte_ms, stall_ms; /* of one try; 0: those of HTTP_SPEC_DEFAULT */
    const char *ca_file;                         /* NULL: the settings', or the system's */
    const char *subject;                         /* begins the sentence of an error; NULL: "s3://bucket/key" or service and path */
    int64_t presign_s;                           /* > 0: nothing is sent; fetch.body becomes a URL that is good for so long */
    void *owner;                                 /* the caller's */
};

/* --- what comes --- */

enum { AWS_NAME_SIZE = 80, AWS_REQUEST_ID_SIZE = 80 };

struct aws_request { /* zeroed = stopped */
    const struct aws_spec *spec;
    void (*done)(struct aws_request *);
    /* Of the last try: status, headers, body, received, sent, address, timings. Neither stop nor resume it by http.h. */
    struct http_fetch fetch;
    bool ok;                              /* status 2xx or 304, the body whole and without an error inside */
    struct err err;                       /* else: kind, HTTP status (0 without an answer), and a sentence with subject and cure */
    char name[AWS_NAME_SIZE];             /* "NoSuchKey"; http_failure_name() without an answer; "" when neither says */
    char request_id[AWS_REQUEST_ID_SIZE]; /* "" when not told */
    char region[AWS_REGION_SIZE];         /* the last try was signed for */
    int attempts;                         /* requests that were sent, the corrections included */
    enum aws_checksum_kind verified; /* what the answer's body was held against, and fits; NONE: there was nothing to hold it against */
    /* Of the body that was sent, in a header or a trailer; NONE: none was. */
    enum aws_checksum_kind sent_kind;
    char sent_checksum[AWS_CHECKSUM_TEXT_SIZE];
    struct aws_call *call; /* the engine's own, while it is under way */
};

/* False: what is asked makes no sense (err says what), and nothing was begun. */
bool aws_request_start(struct aws_request *, struct aws_client *, const struct aws_spec *, void (*done)(struct aws_request *),
                       struct err *);
/* Ends it now, from wherever (pull, push, again and done included), and frees what it holds, the answer included. Fine when stopped. */
void aws_request_stop(struct aws_request *);
/* After a HTTP_PAUSE of push or pull. Harmless at any other time. */
void aws_request_resume(struct aws_request *);
/* The request whose fetch this is: for what http.h hands to its callers. */
static inline struct aws_request *aws_request_of(struct http_fetch *fetch)
{
    return (struct aws_request *)(void *)((char *)fetch - offsetof(struct aws_request, fetch));
}

#endif
