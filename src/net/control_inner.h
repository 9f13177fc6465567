/* control_inner.h - what control.c (the socket and the set of clients) and http_conversation.c (what is said with one of them) share. */
#ifndef APPLIANCE_CONTROL_INNER_H
#define APPLIANCE_CONTROL_INNER_H

#include "appliance/buf.h"
#include "appliance/control.h"
#include "appliance/http_unix.h"

enum client_state {
    READING,   /* a request comes, or none yet (idle: `in` is empty) */
    ARRIVED,   /* a whole request waits to be taken */
    TAKEN,     /* somebody works on the answer */
    STREAMING, /* its head is out, pieces follow */
    FLUSHING,  /* the answer is complete, part of it is still to be written */
    LINGERING, /* we have ended; what the peer still sends is thrown away, lest a reset eats the answer on its way */
};

struct control_client {
    struct control *control;
    struct control_client *next, *next_arrived;
    struct watch io;
    struct timer limit;
    enum client_state state;
    struct buf in, out;
    size_t need; /* bytes of `in` before looking at the request again makes sense */
    size_t used; /* bytes of `in` that the present request takes */
    struct http_request request;
    int64_t idle_since;
    bool continued, keep_alive, chunks, without_body, wants_room, broken;
    void *data;
};

struct control {
    struct loop *loop;
    struct control_handler handler;
    struct control_place place;
    struct http_listener listener; /* of a unix socket; closed for TCP */
    bool open_to_all;              /* TCP, and not for this machine alone */
    int fd;                        /* the socket that listens */
    struct watch incoming;
    struct timer accept_again;
    struct control_client *clients, *arrived, **last_arrived;
    int count, streams;
};

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Takes the descriptor over; NULL: no memory, it is closed. */
struct control_client *client_open(struct control *, int fd);
/* Ends the conversation at once, tells `left` where that is due, and frees the client. Only from the loop. */
void client_drop(struct control_client *);
/* Answers with a sentence and ends the conversation behind it. */
void client_refuse(struct control_client *, int status, const char *why);
static inline bool client_is_idle(const struct control_client *c)
{
    return c->state == LINGERING || (c->state == READING && c->in.length == 0);
}

#endif
