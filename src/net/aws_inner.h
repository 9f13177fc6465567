/* aws_inner.h - what the parts of the request engine share: aws_client.c (what a process's requests have in common), aws_make.c (a spec becomes
 * a signed request), aws_sender.c (its body), aws_answer.c (the answer's), aws_ending.c (how a try ended),
 * aws_follow.c (what follows from that), aws_request.c (one try). */
#ifndef APPLIANCE_AWS_INNER_H
#define APPLIANCE_AWS_INNER_H

#include "appliance/aws_request.h"
#include "appliance/aws_retry.h"
#include "appliance/credentials.h"

/* --- aws_client.c --- */

enum { AWS_BUCKETS = 64, AWS_PLAIN_PLACES = 8 };

struct aws_client {
    struct loop *loop;
    const struct aws_settings *settings;
    struct credentials_store *store;
    struct aws_tokens tokens;
    int calls;       /* under way */
    int64_t skew_ms; /* AWS's time less ours */
    struct sigv4_keys keys;
    char region[AWS_REGION_SIZE];    /* of this machine, as the store found it */
    int64_t region_doubted_until_ns; /* nobody could say: until then "" above stands, and S3 is asked in us-east-1 */
    struct {
        char bucket[S3_BUCKET_LIMIT + 1], region[AWS_REGION_SIZE];
    } buckets[AWS_BUCKETS]; /* the oldest makes room */
    unsigned next_bucket;
    char plain[AWS_PLAIN_PLACES][AWS_ORIGIN_SIZE]; /* endpoints that refused checksums */
    unsigned next_plain;
    /* For the making of one request, which does not wait: no request needs memory for them of its own. */
    struct s3_address address;
    struct headers headers;
    struct sigv4_result signature;
    struct buf url;
};

void aws_client_found(struct aws_client *, struct bytes bucket, const char *region);
bool aws_client_is_plain(const struct aws_client *, const char *origin);
void aws_client_note_plain(struct aws_client *, const char *origin);

struct aws_call;

/* --- aws_sender.c: the body of a request, framed when a trailer follows it --- */

enum { AWS_FRAME_LIMIT = 1024, AWS_CHUNK = 64 * 1024 };

struct aws_sender {
    struct aws_request *request;
    struct aws_body from;
    int64_t at;        /* content that was taken from its source */
    bool framed, done; /* done: the last frame is in `frame` */
    struct sigv4_framing framing;
    enum aws_checksum_kind kind; /* of the trailer */
    struct aws_checksum sum;
    struct buf frame; /* goes out before anything else */
    size_t frame_at;
    struct sigv4_chunks chunks; /* as they began: for a rewind */
    struct sigv4_chunks running;
    char *chunk; /* a signed chunk is known as a whole before it goes */
    size_t chunk_length, chunk_at;
    bool begun;                /* the head of the chunk is out */
    char hash[SIGV4_HEX_SIZE]; /* of the body in memory, once it was needed; else "" */
    char value[AWS_CHECKSUM_TEXT_SIZE];
    bool closed_up; /* the source can't be read again */
};
void aws_sender_init(struct aws_sender *, struct aws_request *);
void aws_sender_free(struct aws_sender *);
/* From the first byte again, for another try. GONE: the owner stopped the request from within his callback, and nothing of it is there. */
enum aws_word { AWS_NO, AWS_YES, AWS_GONE };
enum aws_word aws_sender_rewind(struct aws_sender *);
/* How it goes out: as it is, or framed, with `kind` as its trailer. */
void aws_sender_plain(struct aws_sender *);
bool aws_sender_framed(struct aws_sender *, enum sigv4_payload, enum aws_checksum_kind, struct err *);
/* After signing, with `chunks` filled for a framed one: what http.h is to send. */
void aws_sender_body(struct aws_sender *, struct http_body *);

/* --- the state of one request --- */

struct aws_call {
    struct aws_request *request; /* NULL: stopped from within a callback of its owner; freed when that returns */
    struct aws_client *client;
    const struct aws_endpoint *endpoint; /* NULL: AWS's own */
    struct timer timer;
    struct credentials_ask ask;
    struct credentials_region region_ask;
    int64_t deadline_ns; /* INT64_MAX: none */
    int64_t signed_wall_ms;
    uint64_t generation;
    int retries, taken; /* taken: the tokens of the last retry */
    bool renewed, clocked, moved, found, plain, fresh;
    bool finding;                    /* the HEAD of the bucket is under way */
    bool with_checksum;              /* that nobody asked for went along */
    bool pushed;                     /* the owner has seen bytes of the body */
    int inside;                      /* in callbacks of the owner */
    char elsewhere[AWS_ORIGIN_SIZE]; /* the place of a Location; "" */
    char origin[AWS_ORIGIN_SIZE];    /* where the last try went */
    struct aws_sender sender;
    /* aws_answer.c */
    enum aws_checksum_kind kind; /* of the answer's body */
    struct aws_checksum sum;
    char said[AWS_CHECKSUM_TEXT_SIZE];
    bool looked, differs;
    struct {
        int status;
        struct err err;
        char name[AWS_NAME_SIZE], request_id[AWS_REQUEST_ID_SIZE];
    } first; /* what made us find the bucket's region */
};

/* --- aws_make.c --- */

/* Makes the request of this try in the client's scratch, and what http.h is to be told. keys NULL: not signed. */
bool aws_make(struct aws_call *, const struct credentials *keys, struct http_spec *, struct err *);
/* The URL of spec->presign_s, into fetch.body. */
bool aws_make_presigned(struct aws_call *, const struct credentials *keys, struct err *);

/* --- aws_answer.c --- */

void aws_answer_begin(struct aws_call *);
ssize_t aws_answer_push(struct http_fetch *, const char *data, size_t length);
/* Whether the whole body of a good answer fits the checksum that came with it; request->verified says by which. */
bool aws_answer_fits(struct aws_call *, struct err *);
void aws_answer_end(struct aws_call *);

/* --- aws_ending.c --- */

enum { AWS_SUBJECT_SIZE = 112 };

struct aws_ending {
    struct aws_outcome outcome;
    struct aws_fault fault;
    struct err err; /* of a good status whose body is not */
    char region[AWS_REGION_SIZE], place[AWS_ORIGIN_SIZE];
};
void aws_ending_read(struct aws_call *, struct aws_ending *);
/* Into the request: err, name, request id. */
void aws_ending_describe(struct aws_call *, const struct aws_ending *);
/* "s3://b/k": what a sentence begins with. */
const char *aws_subject(const struct aws_spec *, char out[AWS_SUBJECT_SIZE]);
static inline bool aws_is_s3(const struct aws_spec *spec)
{
    return strcmp(spec->service, "s3") == 0;
}

/* --- aws_request.c --- */

/* Around every callback of the owner, who may stop the request from there. False: he did, and the call is no more. */
void aws_call_enter(struct aws_call *);
bool aws_call_leave(struct aws_call *);
void aws_call_begin(struct aws_call *); /* a try; the call may be over when this returns */
void aws_call_end(struct aws_call *);   /* the request says how; tells its owner, and the call is no more */

/* --- aws_follow.c --- */

void aws_call_judge(struct aws_call *); /* a try is over */

#endif
