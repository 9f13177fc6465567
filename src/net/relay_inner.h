/* relay_inner.h - what the parts of the relay share: relay.c (the port and who comes), relay_targets.c (where to, and who
 * waits for it), relay_session.c (one connection, from accept to close), relay_flow.c (the bytes of one direction), relay_address.c. */
#ifndef APPLIANCE_RELAY_INNER_H
#define APPLIANCE_RELAY_INNER_H

#include "appliance/relay.h"

/* --- one direction (relay_flow.c) --- */

/* One of the two sockets of a connection, watched for edges (EPOLLET): what it is ready for is kept here, so that a change of the
 * direction in which we wait costs no system call. */
struct relay_end {
    struct watch io;
    bool readable, writable; /* as far as is known: EAGAIN says otherwise */
    bool fin;                /* the peer's FIN has come, perhaps behind bytes still to be read */
    bool broken;             /* an error is pending at the socket */
};

struct relay_pipe {
    int in, out;
    struct relay_pipe *next;
};

/* Invariant: bytes are in `rest` or in `pipe`, never in both, and nothing is read from `from` while any are. */
struct relay_flow {
    struct relay_end *from, *to;
    char *rest; /* what `to` didn't take of a piece; NULL: nothing */
    size_t rest_at, rest_length;
    struct relay_pipe *pipe; /* NULL: none borrowed */
    size_t piped;            /* bytes in it */
    bool bulk;               /* whole pieces come: splice pays */
    bool any;                /* something has come from `from` */
    bool ended, finished;    /* `from` has said all; that has been passed on */
};

/* Passes on what can be, at most *budget bytes, which it lowers. False: the connection is broken. */
bool flow_move(struct relay_flow *, size_t *budget);
/* Gives back what it holds; bytes in it are lost. */
void flow_drop(struct relay_flow *);
/* The pipes that nobody uses stay open for the next big transfer, as long as there is a relay. */
void flow_close_pipes(void);

/* --- one connection (relay_session.c) --- */

enum session_state {
    HELD,       /* waits for a target that answers; only the client's socket is there */
    CONNECTING, /* to targets[index] */
    FLOWING,
};

struct relay_session {
    struct relay *relay;
    struct relay_session *next, *previous; /* in relay->held or relay->others */
    enum session_state state;
    struct relay_end client, target;
    struct relay_flow up, down;
    struct relay_address address; /* of the target; set unless HELD */
    int index, tries_left;        /* the place of the target among the relay's; how many are left to try, this one included */
    bool doubted;                 /* its target has lost its preference already */
    bool overdue;                 /* its time of waiting is over: ends with the present round of tries */
    bool queued;                  /* in relay->again: it stopped for others, not for lack of bytes */
    struct relay_session *next_again, *previous_again;
    struct timer hold, step; /* end of its waiting; end of the present try */
};

struct session_list {
    struct relay_session *first, *last;
    int count;
};

/* Takes the descriptor over; NULL: no memory, and it is closed. */
struct relay_session *session_new(struct relay *, int fd);
/* Keepalive and no delay; what is accepted has the options of the socket that listens. */
void socket_options(int fd);
/* HELD -> CONNECTING, with a whole round of tries. Ends as session_up or session_failed in relay.c, maybe before it returns. */
void session_connect(struct relay_session *);
/* CONNECTING -> HELD, without a word. */
void session_hold(struct relay_session *);
void session_flow(struct relay_session *);
/* The end of it: as a reset of both sides, or as what is already said to both. Frees it. */
void session_reset(struct relay_session *);
void session_close(struct relay_session *);

/* --- the whole (relay.c, relay_targets.c) --- */

struct relay {
    struct loop *loop;
    char name[48];
    struct relay_address address;
    int64_t hold_ms, connect_ms;
    int most;
    bool keep;

    int fd;
    struct watch incoming;
    struct timer accept_again;

    struct relay_address *targets;
    int target_count;
    int preferred; /* where a round of tries begins: the one that answered last */

    struct session_list held, others; /* HELD, the longest waiting first; CONNECTING and FLOWING */
    int connecting, flowing;
    bool down; /* the last whole round failed: one connection at a time looks for a target that answers */
    int64_t retry_ms;
    struct timer retry;                       /* then somebody of `held` tries */
    struct relay_session *again, *last_again; /* stopped in the midst of a big transfer, so that others have their turn */
    struct timer turn;

    uint64_t served, refused, expired, cut;
    bool full, starved;      /* told already */
    uint64_t told_expired;   /* of `expired` */
    struct timer tell_again; /* started: the next of them are told when it fires */
};

/* Of relay_targets.c: what becomes of those who are to be connected. */
void relay_welcome(struct relay_session *);                            /* just accepted, and in no list yet */
void relay_session_up(struct relay_session *);                         /* connected through */
void relay_session_failed(struct relay_session *, const struct err *); /* every target of its round failed, the last one so */
void relay_session_expired(struct relay_session *);                    /* its time of waiting is over; closes it */
void relay_doubt(struct relay_session *);                              /* its target may be of no use; said once is enough */
void relay_look_again(struct relay *);                                 /* one who was on its way to a target has left */
void relay_stop_waiting(struct relay *);                               /* stops the timers of all that */
/* Of relay.c. */
void relay_session_gone(struct relay_session *); /* is about to be freed: takes it out of all lists */
void relay_queue(struct relay_session *);        /* session_flow again in the loop's next turn */

void list_append(struct session_list *, struct relay_session *);
void list_prepend(struct session_list *, struct relay_session *);
void list_remove(struct session_list *, struct relay_session *);

#define RELAY_OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
