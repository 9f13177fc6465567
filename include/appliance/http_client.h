/* http_client.h - one HTTP/1.1 request and its answer, over a unix socket or to a numeric TCP address, without waiting.
 * For our command line, health checks and Lua's probes. Names are never resolved here (that may block; see loop/resolve).
 * One connection each, closed behind the answer. The body is kept up to a ceiling: what is not consumed holds up the peer
 * (`hold`), or is a failure when it grows beyond (`!hold`).
 * Invariant: between start and stop exactly one of `watch started`, `ended`, `failed` or "held up" is true. */
#ifndef APPLIANCE_HTTP_CLIENT_H
#define APPLIANCE_HTTP_CLIENT_H

#include "appliance/buf.h"
#include "appliance/http_parse.h"
#include "appliance/loop.h"

struct http_call {         /* borrowed for the start only */
    const char *unix_path; /* else: */
    const char *host;      /* "127.0.0.1", "::1" */
    int port;
    const char *method, *path;
    struct bytes body;
    int64_t timeout_ms; /* to the end of the answer; with `hold` to the end of its head */
    size_t ceiling;     /* of the body kept here */
    bool hold;
};

struct http_exchange { /* zeroed = stopped */
    struct loop *loop;
    int fd;
    struct watch io;
    struct timer limit;
    struct buf out, in, body;
    char subject[120]; /* for messages: the socket's path, or host:port and path */
    struct http_response response;
    struct http_chunks chunks;
    int64_t left; /* of the body by its Content-Length; -1: chunks, or to the end of the connection */
    bool started, connecting, without_body, hold, head_done, ended, failed;
    struct err err;                        /* when failed */
    void (*moved)(struct http_exchange *); /* in the loop: head_done, more body, ended or failed */
};

/* Fails at once for what can't work: a name instead of an address, a socket that is not there. */
bool http_exchange_start(struct http_exchange *, struct loop *, const struct http_call *, void (*moved)(struct http_exchange *),
                         struct err *);
void http_exchange_stop(struct http_exchange *); /* fine when stopped */
/* Drops `length` bytes of the body; a held-up peer may go on. May end or fail the exchange, without `moved`. */
void http_exchange_consume(struct http_exchange *, size_t length);

#endif
