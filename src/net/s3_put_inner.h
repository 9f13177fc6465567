/* s3_put_inner.h - what the files of an upload share: s3_put.c (its life, and the upload in one piece), s3_put_multipart.c (create, complete, abort),
 * s3_put_parts.c (the parts under way), s3_put_pipe.c (parts that come from a pipe), s3_put_words.c (headers and XML of the requests). */
#ifndef APPLIANCE_S3_PUT_INNER_H
#define APPLIANCE_S3_PUT_INNER_H

#include "appliance/s3_put.h"
#include "s3_inner.h"

#include <sys/stat.h>

enum { S3_PUT_HEADERS_CEILING = 16 * 1024, S3_UPLOAD_ID_LIMIT = 2048, S3_PUT_ROUNDS = 3 };

/* What S3 has of a part. */
struct s3_stored {
    char *etag;
    char checksum[AWS_CHECKSUM_TEXT_SIZE]; /* of s3_putting.kind; "" without */
    int64_t length;
};

/* One that is under way. */
struct s3_sender {
    struct s3_putting *put;
    struct aws_request request;
    struct aws_spec spec;
    struct headers headers;
    struct aws_pair query[2];
    char number_text[8];
    int number; /* 1 is the first; 0: idle */
    int64_t length;
    char *data; /* ours, from a pipe; given back when S3 has it */
};

/* A request that is about the upload as a whole. It outlives the owner's spec, so it has copies of everything (s3_own_spec). */
struct s3_own_spec {
    struct aws_spec spec;
    struct aws_endpoint endpoint;
    struct credentials keys;
    struct buf texts;
};
bool s3_own_spec_copy(struct s3_own_spec *, const struct aws_spec *, struct err *);
void s3_own_spec_free(struct s3_own_spec *);

enum s3_put_state {
    S3_PUT_FILLING, /* from a pipe: nothing is sent yet */
    S3_PUT_ONE_PIECE,
    S3_PUT_CREATING,
    S3_PUT_PARTS,
    S3_PUT_COMPLETING,
    S3_PUT_LOOKING, /* whether the object is there: nobody knows how the completion ended */
    S3_PUT_ABORTING,
    S3_PUT_ENDED,
};

struct s3_putting {
    struct s3_put *put; /* NULL: stopped; what follows is for nobody, and ends soon */
    const struct s3_put_spec *spec;
    struct loop *loop;
    struct aws_client *client;
    enum s3_put_state state;
    struct timer soon, limit; /* limit: of an abort */
    struct s3_putting *next_leftover;
    char subject[160];
    bool failed, again; /* again: another round follows the abort */
    int round;
    enum aws_checksum_kind kind; /* of parts and whole; NONE: none are sent */
    /* a file */
    int64_t start, length; /* -1: a pipe whose end has not come */
    struct stat before;
    bool whole_file;
    char *small; /* a small one, read at once */
    char *only;  /* the only part from a pipe */
    /* the upload */
    struct s3_own_spec own;
    struct headers object_headers; /* of create and complete, in turn */
    struct aws_request control;
    struct aws_pair query[2];
    struct buf body;
    char upload_id[S3_UPLOAD_ID_LIMIT];
    bool without_checksum;
    int64_t part;
    int parts, next; /* parts: 0 while it is not known; next: number of the next to be sent */
    struct s3_sender *senders;
    int count, busy;
    struct s3_stored *stored; /* of parts 1 ... */
    int stored_size;
    int64_t stored_bytes;
    /* a pipe */
    struct s3_inlet inlet;
    char *filling;
    int64_t filled, room; /* of `filling` */
    int64_t expected;
    int64_t held, taken;    /* bytes of memory that parts have; bytes that came */
    bool whole_part, ended; /* `filling` is to be sent; the pipe's end has come */
    char *spare;
    int64_t spare_length;
};

/* --- s3_put.c --- */
void s3_putting_soon(struct s3_putting *);
/* The first failure counts. Always false. */
bool s3_putting_fail(struct s3_putting *, const struct err *);
bool s3_putting_fail_as(struct s3_putting *, const struct aws_request *); /* with what this one says */
void s3_putting_end(struct s3_putting *);                                 /* tells the owner, if there is one */
bool s3_put_file_changed(struct s3_putting *, struct err *);
void s3_put_in_one_piece(struct s3_putting *);
void s3_put_take_answer(struct s3_putting *, const struct aws_request *); /* etag, version and checksum */

/* --- s3_put_multipart.c --- */
void s3_put_create(struct s3_putting *);
void s3_put_complete(struct s3_putting *);
void s3_put_abort(struct s3_putting *); /* and then the end, or another round */
void s3_put_limit(struct s3_putting *); /* what is for nobody ends after S3_ABORT_MS */

/* --- s3_put_parts.c --- */
void s3_put_more_parts(struct s3_putting *);
void s3_put_stop_parts(struct s3_putting *);
int64_t s3_put_parts_under_way(const struct s3_putting *); /* bytes of them that are sent */

/* --- s3_put_pipe.c --- */
bool s3_put_pipe_open(struct s3_putting *, struct err *);
/* As much as there is room for; s3_putting_soon when a part became whole by it, or the end came. */
void s3_put_pipe_read(struct s3_putting *);
/* The part that is full, or the last one; NULL: none yet. The caller has it, until it gives it back. */
char *s3_put_pipe_take(struct s3_putting *, int64_t *length);
void s3_put_pipe_give_back(struct s3_putting *, char *data, int number);
void s3_put_pipe_free(const struct s3_putting *, char *data, int number); /* the same, at the end */
void s3_put_pipe_close(struct s3_putting *);

/* --- s3_put_words.c: pure --- */
enum s3_put_use { S3_FOR_CREATE, S3_FOR_PART, S3_FOR_COMPLETE, S3_FOR_ABORT };
/* Those of the object's headers that go with such a request. */
bool s3_put_headers(struct headers *, const struct headers *of_object, enum s3_put_use, struct err *);
bool s3_put_complete_xml(struct buf *, const struct s3_stored *, int count, enum aws_checksum_kind, struct err *);
/* The text of the first element of that name; "" when there is none. False: it is no XML, or too long for `out`. */
bool s3_put_xml_text(struct bytes body, const char *name, char *out, size_t size, struct err *);
/* The checksum of the whole, of those of its parts; false when one has none, or they can't be joined. */
bool s3_put_join(const struct s3_stored *, int count, enum aws_checksum_kind, char text[AWS_CHECKSUM_TEXT_SIZE]);

#endif
