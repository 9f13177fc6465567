/* s3_put.h - an object of S3 from memory, a file or a pipe: in one request, or as a multipart upload of as many parts at a time as memory and
 * network allow (s3_parts.h). On our loop; nothing here waits, but for the disk when what is read of a file is not in the page cache.
 *  - A file's bytes go from the page cache to libcurl's buffer and from there to the kernel. What comes from a pipe is kept, a part at a time, until S3 has
 *    it: 40 MiB in all, so the largest object from a pipe has 208 GiB, or 390 GiB when its size is announced (s3_pipe_part).
 *  - CRC64NVME of every part, and of the whole at the end (FULL_OBJECT), unless settings, caller or server don't want them.
 *  - A multipart upload is aborted when it fails and when it is stopped. A failure is told when that is done, or after S3_ABORT_MS; after a stop it goes
 *    on by itself (s3_put_leftovers).
 *  - Conditions (If-None-Match: *, If-Match) are decided by S3 at the end. A 409 ConditionalRequestConflict is answered by another whole upload, three
 *    in all, where the bytes can be read again.
 *  - A file that changes meanwhile is told (ERR_CONFLICT), and a multipart upload of it does not become an object.
 * Invariant: `done` is called exactly once for each s3_put_start that returned true, in the loop and never from within the start, unless
 * s3_put_stop comes first. */
#ifndef APPLIANCE_S3_PUT_H
#define APPLIANCE_S3_PUT_H

#include "appliance/aws_request.h"

enum { S3_ABORT_MS = 10000, S3_ETAG_LIMIT = 128, S3_VERSION_LIMIT = 1024 };

enum s3_from {
    S3_FROM_MEMORY,
    S3_FROM_FILE, /* a regular file, by pread: its offset does not matter and does not move */
    S3_FROM_PIPE, /* whatever else can be read, to its end */
};

/* Zeroed is the default but for request.bucket, key and where it comes from. Borrowed to the end: `done` or the stop. */
struct s3_put_spec {
    /* Who asks, and where: bucket, key, region, role, keys, endpoint, style, flags, checksum, time limits of each request, ca_file, subject; headers: those of
     * the object (Content-Type, x-amz-meta-..., encryption, tags, storage class) and the conditions. The other fields are set here. */
    struct aws_spec request;
    enum s3_from from;
    const char *data; /* FROM_MEMORY: `length` bytes */
    int fd;
    int64_t start, length; /* FROM_FILE: `length` bytes from `start`, or -1: to the file's end */
    int64_t expected;      /* FROM_PIPE: so many bytes are likely to come; 0: no idea */
    const char *name;      /* of the file, for sentences; NULL: "descriptor 5" */
    int64_t part;          /* length of the parts; 0: as fits. Not for pipes */
    int connections;       /* at most; 0: as fits */
};

struct s3_put { /* zeroed = stopped */
    void (*done)(struct s3_put *);
    bool ok;
    struct err err;                       /* unless ok */
    int status;                           /* HTTP, of the request that decided it */
    char name[AWS_NAME_SIZE];             /* "PreconditionFailed", or http_failure_name() */
    char request_id[AWS_REQUEST_ID_SIZE]; /* of the same */
    int64_t size;                         /* of what is uploaded; -1: not known yet */
    int parts;                            /* 0: in one piece */
    char etag[S3_ETAG_LIMIT], version[S3_VERSION_LIMIT];
    enum aws_checksum_kind checksum_kind; /* that S3 was given and has checked; NONE: it went without */
    char checksum[AWS_CHECKSUM_TEXT_SIZE];
    int requests;               /* that were sent */
    struct s3_putting *putting; /* ours, while it is under way */
    void *owner;                /* the caller's */
};

/* False: what is asked makes no sense, or the file can't be read (err says what), and nothing was begun. */
bool s3_put_start(struct s3_put *, struct loop *, struct aws_client *, const struct s3_put_spec *, void (*done)(struct s3_put *),
                  struct err *);
/* Ends it now for its owner. Fine when stopped or zeroed. */
void s3_put_stop(struct s3_put *);
/* Bytes that are on their way or have arrived; for a progress bar. */
int64_t s3_put_sent(const struct s3_put *);

/* Uploads whose owner has stopped them and that are still being aborted: how many. */
int s3_put_leftovers(void);
/* Gives up on them, without a word to S3: before the client is closed. */
void s3_put_drop_leftovers(void);

#endif
