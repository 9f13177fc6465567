/* stub.h - an S3 server that is never the bottleneck, for ./dev bench s3 only: it checks no signature and keeps nothing it need not.
 * A thread a connection. Bodies go out with sendfile and are thrown away inside the kernel; --latency and --rate shape each connection. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

struct shape {
    unsigned latency_us; /* before the answer to a request, but those of the metadata service */
    uint64_t rate;       /* bytes a second, each way; 0: as fast as it goes */
    bool keep;           /* uploads are kept, to be read back and compared */
};
extern struct shape shape;

/* One connection, and what of its request is known. */
struct wire {
    int fd;
    SSL *tls;         /* NULL: plain */
    char head[32768]; /* the head of the request, NUL at its end */
    char kept[65536]; /* read beyond what was asked for: the beginning of what follows */
    size_t kept_from, kept_length;
    uint64_t paced;      /* bytes of this body so far */
    uint64_t pace_start; /* CLOCK_MONOTONIC, ns */
};

/* All return false when the connection is at its end. */
bool wire_head(struct wire *);                          /* reads up to the blank line */
bool wire_line(struct wire *, char *line, size_t size); /* one line, without its end */
bool wire_read(struct wire *, char *into, size_t length);
bool wire_discard(struct wire *, uint64_t length);
bool wire_send(struct wire *, const char *text, size_t length, bool more);
bool wire_content(struct wire *, uint64_t from, uint64_t length); /* of the content every generated object is cut from */
void pace(struct wire *, uint64_t bytes);                         /* waits until that many more may have passed */
void pace_begin(struct wire *);

void content_make(void);
void content_copy(char *into, uint64_t from, size_t length);
extern int content_fd;
extern const char *content_map;
#define CONTENT_PERIOD ((uint64_t)4096 * 16383) /* an odd number of pages: parts of any size never look like each other */

uint64_t crc64nvme(uint64_t crc, const char *bytes, size_t length); /* crc: 0 at first */
uint64_t content_crc(uint64_t length);                              /* of an object; the last few are remembered */

bool answer(struct wire *); /* one request whose head has been read */
