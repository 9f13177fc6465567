/* s3_parts.h - how an object is cut up for its way to and from S3, so that the network is what limits it and memory is bounded: pure arithmetic.
 * One connection to S3 carries some 50-90 MB/s, and each request costs its latency: hence 16 connections with 8 MiB (16 MiB up) each.
 * A download begins with four, which is enough where a server is so near that we are the slower side (s3_get_parts.c).
 * The memory of a transfer is S3_MEMORY at most, whatever the object's size: what goes between a file and the network needs none of it. */
#ifndef APPLIANCE_S3_PARTS_H
#define APPLIANCE_S3_PARTS_H

#include "appliance/err.h"

#include <stdint.h>

#define S3_MIB         (INT64_C(1) << 20)
#define S3_PART_LEAST  (5 * S3_MIB) /* S3's limits: of all parts but the last */
#define S3_PART_MOST   (5120 * S3_MIB)
#define S3_PART_USUAL  (8 * S3_MIB)
#define S3_OBJECT_MOST (S3_PARTS_MOST * S3_PART_MOST) /* 48.8 TiB */
#define S3_ONE_PIECE   (16 * S3_MIB)                  /* up to here an upload is one request, and its parts are no longer */
#define S3_MEMORY      (40 * S3_MIB)                  /* what a transfer holds; with all else of the process it stays below 64 MiB */

enum { S3_PARTS_MOST = 10000, S3_CONNECTIONS = 16 };

/* --- an upload of known size --- */

struct s3_put_plan {
    int64_t part; /* length of all parts but the last */
    int parts;    /* 1: one request, no multipart upload */
    int connections;
};
/* part: as somebody wants it, or 0. False with ERR_INVALID: the object, or a part, would be too large or too small for S3. */
bool s3_plan_put(int64_t size, int64_t part, struct s3_put_plan *, struct err *);

/* --- an upload of unknown size, from a pipe ---
 * A part must be whole in memory before it is sent, for its length is said first and it may have to be sent again. So the parts share
 * S3_MEMORY: as they grow, fewer are on their way at a time. They begin as small as that is fast, and grow so that 10,000 reach far:
 *   parts 1-1000: 5 MiB, 8 at a time; -2500: 8 MiB, 5; -4500: 13.3 MiB, 3; -7000: 20 MiB, 2; -10000: 40 MiB, 1
 * which is 208 GiB in all (S3_PIPE_MOST). Who says a size to be expected gets parts of one length, and up to 390 GiB (10,000 x 40 MiB). */
#define S3_PIPE_MOST          INT64_C(224045738000)
#define S3_PIPE_EXPECTED_MOST (S3_PARTS_MOST * S3_MEMORY)
/* Length of the part with this number (1 to S3_PARTS_MOST). expected: bytes that are to be expected; 0: no idea. */
int64_t s3_pipe_part(int number, int64_t expected);

/* --- a download ---
 * The first request is for all, because only its answer says how much that is, and because S3 tells the object's checksum with no other. It
 * is the lead: it goes on through a larger share, while others fetch ranges behind it. Who has nothing left to do takes the end of the
 * lead's share, so that all are done at the same time. */

#define S3_LONE_GET (4 * S3_MIB) /* up to here the lead alone fetches it */

struct s3_span {
    int64_t start, end; /* end: behind the last byte */
};
struct s3_spans {
    int64_t end, part;
    int64_t lead_end; /* the lead is done here; it shrinks */
    int64_t next;     /* nobody has been given what is from here on */
};
/* Of the bytes [start, end) with so many connections. part: as somebody wants it, or 0. */
void s3_spans_start(struct s3_spans *, int64_t start, int64_t end, int64_t part, int connections);
/* The next one to be fetched by somebody else than the lead, which is at lead_at. False: there is none. */
bool s3_spans_take(struct s3_spans *, int64_t lead_at, struct s3_span *);

/* A download to where order matters (a pipe): each part waits in memory for its turn, so they are small and more of them are on their way. */
#define S3_ORDERED_PART S3_MIB
enum { S3_ORDERED_PARTS = 40 }; /* in memory at a time, and connections */

#endif
