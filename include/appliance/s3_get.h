/* s3_get.h - an object of S3, or a range of it, into memory, a file or a descriptor: in as many connections as it takes, and with as little
 * memory as that allows (s3_parts.h). On our loop; nothing here waits, but for what s3_inner.h says of the page cache.
 *  - Small objects cost one request. Of larger ones the first request says size, ETag and checksum; the others fetch ranges of exactly that
 *    ETag (If-Match), so that an object which is replaced meanwhile is told (ERR_CONFLICT) and never mixed.
 *  - A connection that breaks is taken up where it broke, as long as it goes on at all; not so an object without ETag (or with a weak one) and
 *    without a version, of which nobody can tell whether the rest is of the same.
 *  - The bytes are held against the checksum that S3 has of the object, whatever their order; those made of parts (COMPOSITE), too, when the
 *    parts end where a MiB does. A SHA can't be put together: file and memory are read again for it, half a MiB a turn of the loop, where they
 *    came out of order or in parts; of what goes to a descriptor, one of parts is not known. A file or memory whose bytes differ is fetched
 *    a second time before that is told.
 *  - A file appears under its name when it is whole, in place of the old one; on failure and after a stop nothing is left of it.
 * Invariant: `done` is called exactly once for each s3_get_start that returned true, in the loop and never from within the start, unless
 * s3_get_stop comes first. */
#ifndef APPLIANCE_S3_GET_H
#define APPLIANCE_S3_GET_H

#include "appliance/aws_request.h"

enum s3_to {
    S3_TO_MEMORY,
    S3_TO_FILE,
    S3_TO_DESCRIPTOR, /* in order; it may be a pipe whose reader is slow: then the network waits for it. In memory: 40 MiB at most */
};

/* Zeroed is the default but for request.bucket, key and where it goes. Borrowed to the end: `done` or the stop. */
struct s3_get_spec {
    /* Who asks, and where: bucket, key, region, role, keys, endpoint, style, flags, time limits of each request, ca_file, subject; headers: conditions,
     * SSE-C and so on, of which the conditions go out with the first request only. The other fields are set here. */
    struct aws_spec request;
    struct bytes version; /* its versionId, or empty */
    int64_t start, end;   /* a range: from the byte at `start` up to that before `end`; end 0: all that follows */
    int64_t last;         /* a range, too: so many bytes at the end; 0: none such */
    enum s3_to to;
    size_t ceiling;   /* TO_MEMORY: a larger one is refused when its size is known, before it is fetched */
    const char *path; /* TO_FILE. What is there and is no file (a FIFO, /dev/null) is written to, in order */
    mode_t mode;      /* TO_FILE: of which the umask takes away; 0: 0666 */
    bool durable;     /* TO_FILE: synced to the disk before it appears, on a helper thread */
    bool keep_time;   /* TO_FILE: with the object's Last-Modified */
    int fd;           /* TO_DESCRIPTOR */
    int64_t part;     /* length of the ranges; 0: as fits */
    int connections;  /* at most; 0: as fits */
    bool unchecked;   /* don't ask for a checksum */
};

struct s3_get { /* zeroed = stopped */
    void (*done)(struct s3_get *);
    bool ok;
    struct err err;                       /* unless ok */
    int status;                           /* HTTP: of the failure, 304 included, or of the first answer; 0: no answer */
    char name[AWS_NAME_SIZE];             /* "NoSuchKey", or http_failure_name() */
    char request_id[AWS_REQUEST_ID_SIZE]; /* of the first answer, or of the failed one */
    int64_t size;                         /* of the object, -1: not known */
    int64_t length, received;             /* of what is fetched (-1: not known), and so much of it has come */
    struct headers headers;               /* of the first answer */
    struct buf body;                      /* TO_MEMORY */
    enum aws_checksum_kind verified; /* against which the bytes were held, and are the same; NONE: there was none, or it was of no use */
    char checksum[AWS_CHECKSUM_TEXT_SIZE]; /* as S3 says it, of kind `verified`; "" without */
    int requests;                          /* that were sent */
    struct s3_getting *getting;            /* ours, while it is under way */
    void *owner;                           /* the caller's */
};

/* False: what is asked makes no sense (err says what), and nothing was begun. */
bool s3_get_start(struct s3_get *, struct loop *, struct aws_client *, const struct s3_get_spec *, void (*done)(struct s3_get *),
                  struct err *);
/* Ends it now, from wherever but `done`'s own requests, and frees what it holds, the answer included. Fine when stopped or zeroed. */
void s3_get_stop(struct s3_get *);

#endif
