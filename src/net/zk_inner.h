/* zk_inner.h - between the library (zk.c, zk_send.c), what its threads say (zk_inbox.c), and the client (zk_client.c, zk_request.c, zk_watch.c).
 * The library gets no pointer of ours but numbers: the upper half is the handle's, the lower half the request's or the watch's. So what it
 * says too late, of something that is gone, is found to be of nobody. The one exception is a multi, whose results it writes by itself. */
#ifndef APPLIANCE_ZK_INNER_H
#define APPLIANCE_ZK_INNER_H

#include "appliance/zk_client.h"

enum zk_said { ZK_SAID_SESSION, ZK_SAID_ANSWER, ZK_SAID_WATCH, ZK_SAID_LOG };

/* States that the library tells, as zookeeper.h numbers them. */
enum { ZK_SESSION_CONNECTED = 3, ZK_SESSION_EXPIRED = -112, ZK_SESSION_AUTH_FAILED = -113 };

struct zk_message {
    struct zk_message *next;
    enum zk_said said;
    uint64_t id;
    int code;        /* SESSION: the state; ANSWER: what came of it */
    int64_t session; /* SESSION */
    int timeout_ms;
    char server[ZK_SERVER_SIZE];
    struct zk_stat stat; /* ANSWER */
    bool has_stat;
    struct zk_multi *multi; /* ANSWER to a multi; the handle's */
    int count;              /* names in `data` */
    size_t length;
    char data[]; /* with a zero behind it */
};

/* --- zk_inbox.c: from the library's threads into the loop --- */
struct zk_message *zk_message_new(enum zk_said, uint64_t id, size_t length); /* any thread; zeroed. NULL: no memory */
void zk_inbox_put(struct zk_message *);                                      /* any thread; takes it over. NULL is fine */
bool zk_inbox_hold(struct loop *, struct err *);                             /* there is one more handle */
void zk_inbox_release(void);                                                 /* one less; with the last one the descriptor goes */
void zk_inbox_drain(void);                                                   /* what has come so far is delivered now */
void zk_inbox_shut(void);                                                    /* at the end of the loop: what comes from now on is dropped */
/* zk_client.c: takes each message. May keep the message itself, and returns true then. */
bool zk_deliver(struct zk_message *);

/* --- zk.c, zk_send.c: one handle of the library --- */
struct zk_handle;
struct zk_multi; /* its results: heap memory of the handle until the library has told them */

/* Starts to open one, on a helper thread. `opened` is called in the loop (unless closed before): ok false, when the library could not. */
struct zk_handle *zk_handle_open(struct loop *, const char *servers, const char *auth, int timeout_ms,
                                 void (*opened)(struct zk_handle *, void *owner, bool ok), void *owner, struct err *);
uint32_t zk_handle_tag(const struct zk_handle *); /* the upper half of all that it says */
bool zk_handle_is_open(const struct zk_handle *);
/* Gives it away, whatever it is doing: closed on a helper thread. Nothing more is delivered that anybody waits for. */
void zk_handle_close(struct zk_handle *);
/* Another list, from its next connection on. To be called while it has none. */
void zk_handle_servers(struct zk_handle *, const char *servers);
/* Sends the credentials, if the library would not take them before. To be called when it is connected, before the first request. */
void zk_handle_authenticate(struct zk_handle *);
/* Hands a request over. `point_id`: of the watch, or 0. ZK_OK, or a code; then nothing will be said of it. */
int zk_handle_send(struct zk_handle *, const struct zk_request *, uint64_t point_id);
/* An answer has come: makes room, frees the multi. */
void zk_handle_answered(struct zk_handle *, struct zk_multi *);
const struct zk_outcome *zk_multi_outcomes(const struct zk_multi *, int *count);
/* Takes the results from the handle: they are the caller's now. */
void zk_multi_take(struct zk_handle *, struct zk_multi *);
void zk_multi_free(struct zk_multi *);

/* --- zk_client.c --- */
struct zk_client {
    struct loop *loop;
    char *name, *servers, *auth;
    int64_t session_ms;
    struct zk_handle *handle; /* NULL: none now; `again` makes one, or there are no servers yet */
    struct zk_message *early; /* what it said of its session before it was open to us */
    struct timer again;
    bool servers_are_new, closed, unowned;
    int users; /* requests, watches and listeners that point here */
    uint32_t last_id;
    struct zk_view views[ZK_VIEWS];
    uint64_t changes;
    struct zk_listener *listeners;
    struct zk_request *waiting, **waiting_end, *sent, **sent_end;
    int requests;
    size_t bytes;
    struct zk_point *points;
    struct zk_client *next;
};
struct zk_client *zk_client_of(uint32_t tag); /* NULL: nobody's any more */
void zk_client_unuse(struct zk_client *);     /* frees it, if it was given up and this was the last user */

/* --- zk_request.c --- */
void zk_requests_init(struct zk_client *);
void zk_requests_flush(struct zk_client *);                       /* connected: what waits goes out */
void zk_requests_fail(struct zk_client *, int code);              /* all that was sent, and who waits and is concerned */
bool zk_requests_answer(struct zk_client *, struct zk_message *); /* true: kept the message */

/* --- zk_watch.c --- */
uint64_t zk_point_arm(struct zk_watch *, uint32_t tag); /* -> the number to give the library */
void zk_points_fired(struct zk_client *, uint64_t id);  /* 0: all */

#endif
