/* control.h - HTTP/1.1 for this machine alone: the control socket (a unix socket, for our own command line and `curl --unix-socket`)
 * and the credentials broker (TCP on 127.0.0.1, for the SDKs of the services). And, where a place says so, a few words for whoever can
 * reach the port, which load balancers ask for: GET and HEAD only.
 * Small on purpose: libmicrohttpd would cost more memory than the whole program has (docs/design.md has the measurement).
 * Bounded in every direction: request size and time, clients, streams, what is buffered for a slow reader. The peer of a unix socket
 * must be our uid or root, that of TCP must have a loopback address, unless the place has an `address`. An idle client holds no buffers.
 * Invariant: a client struct is freed only from the loop, never inside a call of this header but control_free. */
#ifndef APPLIANCE_CONTROL_H
#define APPLIANCE_CONTROL_H

#include "appliance/err.h"
#include "appliance/http_parse.h"
#include "appliance/loop.h"

#include <stdbool.h>

enum {
    CONTROL_CLIENTS = 64,       /* unless said otherwise; one more closes the longest idle one */
    CONTROL_STREAMS = 48,       /* fewer, so that followers can't keep a health check out */
    CONTROL_PIECE = 16 * 1024,  /* the most that control_stream_send takes at once */
    CONTROL_REQUEST_MS = 10000, /* first byte to last of a request, and a new client's first request */
    CONTROL_IDLE_MS = 60000,    /* between two requests, unless said otherwise */
    CONTROL_FLUSH_MS = 30000,   /* a client that takes nothing of a complete answer for so long is gone */
};

struct control;
struct control_client;

/* All run in the loop. */
struct control_handler {
    void (*arrived)(void *argument);                       /* a whole request can be taken */
    void (*left)(void *argument, struct control_client *); /* who asked and was taken went away before its answer was complete; forget it */
    void (*room)(void *argument, struct control_client *); /* a stream may send again */
    void *argument;
};

struct control_reply {
    int status;
    const char *content_type; /* NULL: text/plain */
    const char *allow;        /* for 405: "GET, POST"; else NULL */
    struct bytes body;
};

/* Where a server listens, and what it allows. Zeroes are the defaults. */
struct control_place {
    const char *path;    /* of a unix socket; NULL: TCP */
    const char *address; /* of TCP, numeric: anybody who reaches it is answered there, GET and HEAD only (else: 405), and who is slow with
                            its request makes room for others as the idle ones do; valid during control_open; NULL: 127.0.0.1 */
    uint16_t port;       /* of TCP; 0: the kernel chooses */
    const char *name;    /* for the log, valid as long as the server; NULL: "control socket" */
    int clients;         /* instead of CONTROL_CLIENTS */
    int64_t idle_ms;     /* instead of CONTROL_IDLE_MS */
    bool without_bodies; /* a request with a body is refused before it is read: 413 */
};

struct control *control_open(struct loop *, const struct control_place *, const struct control_handler *, struct err *);
/* control_open on a unix socket with the defaults. */
struct control *control_new(struct loop *, const char *path, const struct control_handler *, struct err *);
void control_free(struct control *);           /* tells `left` for everybody taken and unanswered, closes all, removes the socket */
uint16_t control_port(const struct control *); /* 0: a unix socket */
int control_client_count(const struct control *);

bool control_has_arrived(const struct control *);
/* The longest waiting whole request, or NULL. Whoever is taken must be answered: by control_answer, or by control_stream_start
 * and control_stream_end, after which the client is no longer the caller's; or until `left`. */
struct control_client *control_take(struct control *);
const struct http_request *control_request(const struct control_client *); /* until answered */
void control_set_data(struct control_client *, void *);
void *control_data(const struct control_client *);

void control_answer(struct control_client *, const struct control_reply *);
/* False: there are CONTROL_STREAMS already; answer otherwise. */
bool control_stream_start(struct control_client *, int status, const char *content_type);
/* At most CONTROL_PIECE bytes. False: no room now, nothing was taken; `room` will be called. */
bool control_stream_send(struct control_client *, struct bytes piece);
void control_stream_end(struct control_client *);
/* Breaks the connection off, so that half an answer can't be taken for a whole one; instead of an answer, or of the end of a stream. */
void control_hang_up(struct control_client *);

#endif
