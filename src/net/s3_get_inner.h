/* s3_get_inner.h - what the three files of a download share: s3_get.c (its life), s3_get_head.c (what the first answer says) and s3_get_parts.c
 * (its requests). */
#ifndef APPLIANCE_S3_GET_INNER_H
#define APPLIANCE_S3_GET_INNER_H

#include "appliance/s3_get.h"
#include "appliance/s3_sums.h"
#include "s3_inner.h"

enum { S3_ETAG_SIZE = 256, S3_HEADERS_CEILING = 16 * 1024 };

/* One request at a time, for one run of bytes. */
struct s3_fetcher {
    struct s3_getting *get;
    struct aws_request request;
    struct aws_spec spec;
    struct headers headers;
    int64_t at, end;           /* the next byte of the object that it gets; behind its last one (of the lead: spans.lead_end counts) */
    int64_t asked_at;          /* `at` when the request was made */
    int failures;              /* in a row, without a byte worth it */
    bool busy, ranged, looked; /* looked: that the answer is what was asked for */
    bool paused;
};

struct s3_getting {
    struct s3_get *get;
    const struct s3_get_spec *spec;
    struct loop *loop;
    struct aws_client *client;
    struct timer soon; /* what is not to be done from within a callback of a request */
    char subject[160]; /* "s3://bucket/key", for sentences */
    struct aws_pair query[2];
    /* Of the first answer. */
    bool begun;
    int64_t start;
    int64_t end; /* of what is fetched, in the object; INT64_MAX while it is not known */
    char etag[S3_ETAG_SIZE];
    struct s3_spans spans;
    struct s3_fetcher lead, *others; /* others: `count` of them, made when there is something for them to do */
    int count;                       /* connections at most, */
    int open;                        /* and as many as there may be now */
    struct timer pace;               /* of who has but a few: whether these bring enough */
    int64_t paced, paced_ns;
    int slow; /* how often in a row they did not */
    /* The checksum, and how long the parts were whose checksums it was made of. */
    struct s3_sums sums;
    char said[AWS_CHECKSUM_TEXT_SIZE];
    struct aws_request ask_part;
    struct aws_spec ask_part_spec;
    struct headers ask_part_headers;
    int64_t upload_part;
    bool asking_part, asked_part, second_time, landing, failed;
    bool reading;    /* all is here, and goes through the checksum once more, */
    int64_t read_at; /* from the first byte to the last */
    /* Where it goes. */
    enum s3_to to; /* a path to what is no file is TO_DESCRIPTOR */
    struct s3_file file;
    struct s3_outlet outlet;
    int opened; /* descriptor of our own, or -1 */
};

/* --- s3_get.c --- */
/* Nothing more is taken from now on; the rest follows from the loop. Always false. */
bool s3_getting_fail(struct s3_getting *, const struct err *);
void s3_getting_soon(struct s3_getting *);
/* Whether further requests can be held to the very object that the first answer was about, by its ETag or version. */
static inline bool s3_getting_is_pinned(const struct s3_getting *g)
{
    return *g->etag || g->spec->version.length;
}
bool s3_getting_store(struct s3_getting *, int64_t at, const char *data, size_t length);

/* --- s3_get_head.c: the first answer is there, and nothing of its body is taken. False: it failed --- */
bool s3_getting_begin(struct s3_getting *, const struct aws_request *);
/* If the checksum was made of parts, and nobody has asked yet: how long they were. */
void s3_getting_ask_part(struct s3_getting *);
/* "bytes 0-9/100" -> its first byte and the size of the whole (-1 for "*"). */
bool s3_content_range(const char *text, int64_t *first, int64_t *size);

/* --- s3_get_parts.c --- */
bool s3_fetcher_ask(struct s3_fetcher *, struct err *); /* what is between `at` and `end` */
/* The caller's headers but for its conditions, which were for the first request; and our own in place of them: If-Match with its ETag. */
bool s3_getting_headers(const struct s3_getting *, struct headers *, struct err *);
void s3_fetchers_more(struct s3_getting *); /* gives out what may be fetched now */
void s3_fetchers_pace(struct s3_getting *); /* a few connections, and all of them when these leave us waiting */
void s3_fetchers_resume(struct s3_getting *);
bool s3_getting_lead(struct s3_getting *, struct err *); /* the first request */
bool s3_fetchers_idle(const struct s3_getting *);
void s3_fetchers_stop(struct s3_getting *);

#endif
