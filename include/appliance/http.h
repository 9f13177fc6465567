/* http.h - HTTP(S) requests through libcurl, on our own loop: nothing here waits, and everything is told by callbacks.
 * A request goes out exactly as it was given (path, query, headers; no redirect is followed, no header is invented but Host and
 * Content-Length), because its signature covers what is sent. TLS is always verified. Names are looked up by libcurl on a thread of its own.
 * Not here: signing, retries, what a status means. For unix sockets and our own command line there is http_client.h.
 * Connections are kept for the next request to the same place, HTTP_CONNECTIONS of them at a time, and closed HTTP_IDLE_MS after
 * the last request of all has ended; from then on nothing of this costs a wake-up or memory.
 * Invariant: `done` is called exactly once for each http_fetch_start that returned true, unless http_fetch_stop comes first. */
#ifndef APPLIANCE_HTTP_H
#define APPLIANCE_HTTP_H

#include "appliance/headers.h"
#include "appliance/loop.h"

#include <sys/types.h>

enum {
    HTTP_CONNECTIONS = 256, /* at once to one place (scheme, host and port); what is more waits its turn */
    HTTP_IDLE_MS = 15000,   /* less than the 20 s after which S3 closes */
    HTTP_URL_LIMIT = 16 * 1024,
    HTTP_HEAD_CEILING = 64 * 1024,
    HTTP_PIECE = 128 * 1024, /* read and written at a time, which is the buffer of a running request */
};

/* Why there is no answer. A status of 500 is an answer. */
enum http_failure {
    HTTP_OK,
    HTTP_NOT_RESOLVED,       /* no address for the name */
    HTTP_REFUSED,            /* nobody listens there */
    HTTP_UNREACHABLE,        /* no way there, or we have no descriptor or port left */
    HTTP_CONNECT_TIMEOUT,    /* name, connection or TLS took longer than connect_ms */
    HTTP_FIRST_BYTE_TIMEOUT, /* the request is sent, and nothing came for first_byte_ms */
    HTTP_STALLED,            /* slower than stall_bytes per second over stall_ms, and not because we paused */
    HTTP_DEADLINE,           /* deadline_ms passed, whatever was going on */
    HTTP_RESET,              /* the connection broke */
    HTTP_TRUNCATED,          /* it ended before the body that was announced */
    HTTP_TLS,
    HTTP_TOO_LARGE, /* head or body above its ceiling */
    HTTP_PROTOCOL,  /* what came is not HTTP */
    HTTP_STOPPED,   /* pull or push said so */
    HTTP_FAILURE,   /* anything else of libcurl or memory; the sentence has its words */
};
const char *http_failure_name(enum http_failure); /* "first_byte_timeout"; for Lua and logs */
/* Whether the same request may well succeed a moment later. Of a HTTP_STOPPED only who stopped it knows: false. */
bool http_failure_is_transient(enum http_failure);

struct http_fetch;

/* What pull and push may answer beside a length. */
enum { HTTP_PAUSE = -1, HTTP_STOP = -2 };

struct http_body {
    enum http_body_kind { HTTP_NO_BODY, HTTP_FROM_MEMORY, HTTP_FROM_FILE, HTTP_FROM_PULL } kind;
    int64_t length;   /* exactly this much is sent; -1 (HTTP_FROM_PULL): until pull says 0, in chunks */
    const char *data; /* HTTP_FROM_MEMORY */
    int fd;           /* HTTP_FROM_FILE: read at `offset` and behind, with pread; a page that is not cached waits for the disk */
    int64_t offset;
    /* HTTP_FROM_PULL: writes up to `size` bytes to `room` and returns how many; 0 at the end, HTTP_PAUSE until http_fetch_resume, HTTP_STOP. */
    ssize_t (*pull)(struct http_fetch *, char *room, size_t size);
    /* Begin anew from the first byte (a kept connection was found dead); NULL or false: impossible, then the request fails. */
    bool (*rewind)(struct http_fetch *);
};

struct http_spec { /* borrowed for the start only, but for the memory or the descriptor of the body, which must live to the end */
    const char *method;
    const char *url;               /* escaped by the caller, without user and fragment */
    const struct headers *headers; /* may be NULL. A Content-Length must be the body's; Transfer-Encoding: chunked is obeyed */
    struct http_body body;
    /* A body of 2xx goes here, piece by piece: how much was taken (all, or it is HTTP_STOPPED), HTTP_PAUSE (none; the same bytes come
     * again after http_fetch_resume), HTTP_STOP. NULL, or another status: it is kept in memory. Status and headers are there already. */
    ssize_t (*push)(struct http_fetch *, const char *data, size_t length);
    size_t ceiling; /* of the body in memory */
    size_t head_ceiling;
    /* 0: no limit. connect_ms begins when it is our turn, the deadline with the start. */
    int64_t connect_ms, first_byte_ms, stall_ms, deadline_ms;
    int64_t stall_bytes;  /* per second */
    const char *ca_file;  /* the authorities to trust; NULL: those of the system */
    bool no_proxy;        /* else http_proxy, HTTPS_PROXY, ALL_PROXY and NO_PROXY of the environment are obeyed */
    bool fresh;           /* a new connection and a new look-up of the name, as for a retry */
    bool expect_continue; /* wait up to 1 s for the peer's word before the body is sent */
};
#define HTTP_SPEC_DEFAULT                                  \
    ((struct http_spec){.method = "GET",                   \
                        .ceiling = 1 << 20,                \
                        .head_ceiling = HTTP_HEAD_CEILING, \
                        .connect_ms = 5000,                \
                        .first_byte_ms = 30000,            \
                        .stall_ms = 30000,                 \
                        .stall_bytes = 1})

struct http_fetch {                 /* zeroed = stopped */
    struct http_transfer *transfer; /* ours, while it is under way */
    void (*done)(struct http_fetch *);
    int status; /* 0 until the head has come */
    struct headers headers;
    struct buf body;
    int64_t length;                                /* of the body as announced; -1: not said */
    int64_t received, sent;                        /* bytes of the bodies */
    int64_t connected_ns, first_byte_ns, total_ns; /* since the start; 0 until then. connected_ns includes the wait for our turn and TLS */
    bool reused;                                   /* an open connection was there */
    char address[64];                              /* of the peer, or of the last one tried: "10.0.0.1:443" */
    enum http_failure failure;
    struct err err; /* when failure; names scheme, host and port, never path or query, which may hold secrets */
};

/* False: what is asked makes no sense (err says what), and nothing was begun. All else is told by `done`, in the loop, never from within
 * this call. Every fetch of a process must be on the same loop until http_shutdown. */
bool http_fetch_start(struct http_fetch *, struct loop *, const struct http_spec *, void (*done)(struct http_fetch *), struct err *);
/* Ends it now, from wherever it is called (pull, push and done included), and frees what it holds: no callback comes after it, and the
 * body's memory is not touched again. Fine when stopped. */
void http_fetch_stop(struct http_fetch *);
/* After a HTTP_PAUSE: pull or push is called again from the loop. Harmless at any other time. */
void http_fetch_resume(struct http_fetch *);

int http_fetch_count(void); /* under way or waiting for their turn */
/* Closes every connection and forgets all requests, without a word to their owners: before the loop is freed. */
void http_shutdown(void);

#endif
