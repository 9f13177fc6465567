/* zk_client.h - a client of ZooKeeper: one session at a time over libzookeeper_mt's handles (zk_inner.h), on our loop.
 * A session survives reconnects; when a server says that it has expired, a new handle and session are made at once. Requests go out only
 * while there is a connection; until then they wait here, for the time of a session at most. Each belongs to the session it was started in.
 * Nothing here waits: what the library may block in (init, set_servers, close) runs on helper threads. On one loop, on its thread.
 * Ceilings: ZK_REQUESTS under way, ZK_BYTES of data in them, ZK_DATA in one. */
#ifndef APPLIANCE_ZK_CLIENT_H
#define APPLIANCE_ZK_CLIENT_H

#include "appliance/bytes.h"
#include "appliance/err.h"
#include "appliance/loop.h"
#include "appliance/zk_words.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ZK_REQUESTS = 1024,
    ZK_BYTES = 16 << 20,
    ZK_DATA = (1 << 20) - 1024,  /* what a server takes of data in one request (jute.maxbuffer 0xfffff, and the rest of the request) */
    ZK_ANSWER_CEILING = 8 << 20, /* a longer answer (a list of very many children) is refused */
    ZK_PATH_SIZE = 1024,         /* longest path, with its zero */
    ZK_SERVER_SIZE = 64,
    ZK_VIEWS = 32, /* changes kept for who is slow to read them */
};

struct zk_client;

enum zk_state { ZK_CONNECTING, ZK_CONNECTED, ZK_EXPIRED, ZK_CLOSED, ZK_AUTH_FAILED };
const char *zk_state_name(enum zk_state); /* "connecting" */

struct zk_view {
    enum zk_state state;
    int64_t id;                  /* of the session; 0: there is none. Kept while connecting again */
    int timeout_ms;              /* as negotiated; 0: none yet */
    char server[ZK_SERVER_SIZE]; /* "10.0.0.1:2181"; "" unless connected */
};

struct zk_spec {
    const char *name;    /* for log lines; copied */
    const char *servers; /* "10.0.0.1:2181,[::1]:2181": addresses, no names, no chroot. NULL or "": none yet. Copied */
    const char *auth;    /* "user:secret" for the scheme digest, or NULL. Copied */
    int64_t session_ms;  /* asked for; the server has the last word */
};

/* NULL with err: no memory or descriptors. */
struct zk_client *zk_client_open(struct loop *, const struct zk_spec *, struct err *);
/* At once for us: everything under way ends with ZK_CLOSING. The session is closed on a helper thread, and its ephemerals with it. */
void zk_client_close(struct zk_client *);
/* Closes it, and frees it as soon as no request, watch or listener points to it any more: they may be stopped later, in any order. */
void zk_client_drop(struct zk_client *);
/* Another list. A working connection is not cut for it: it serves the next one. False: no memory. */
bool zk_client_servers(struct zk_client *, const char *servers, struct err *);

/* How it is now, and how many changes there were ever; the `n`th of them (1: the first), or the oldest that is still known, whose number
 * is then in *n. */
const struct zk_view *zk_client_view(const struct zk_client *);
uint64_t zk_client_changes(const struct zk_client *);
const struct zk_view *zk_client_change(const struct zk_client *, uint64_t *n);
/* Called in the loop after each change. `listener` must be removed before it goes away. */
struct zk_listener {
    void (*changed)(struct zk_listener *);
    struct zk_listener *next;
    struct zk_client *client;
};
void zk_listen(struct zk_listener *, struct zk_client *, void (*changed)(struct zk_listener *));
void zk_unlisten(struct zk_listener *); /* fine when it does not listen */

/* Handles that are not gone yet, those being closed included: for tests, and for who must see the end of a session. */
int zk_handles(void);
/* When the loop goes away with Lua: closes all clients, and takes nothing from the library's threads any more. */
void zk_shutdown(void);

struct zk_stat {
    int64_t czxid, mzxid, pzxid, owner;
    int32_t version, cversion, children, length;
};

enum zk_verb { ZK_GET, ZK_EXISTS, ZK_CHILDREN, ZK_SET, ZK_CREATE, ZK_DELETE, ZK_SYNC, ZK_RIGHTS, ZK_CHECK /* in a multi only */, ZK_MULTI };
const char *zk_verb_name(enum zk_verb);

/* Modes of a create, or-ed. */
enum { ZK_EPHEMERAL = 1, ZK_SEQUENTIAL = 2, ZK_CONTAINER = 4, ZK_OPEN = 8 /* everybody may do everything, even with `auth` */ };

struct zk_part {
    enum zk_verb verb; /* of a multi: ZK_CHECK, ZK_CREATE, ZK_SET or ZK_DELETE */
    const char *path;  /* with a zero behind it */
    struct bytes data; /* of ZK_SET and ZK_CREATE */
    int32_t version;   /* of ZK_SET, ZK_DELETE and ZK_CHECK; -1: any */
    int mode;          /* of ZK_CREATE */
};

struct zk_outcome { /* of a part of a multi */
    int code;
    struct zk_stat stat; /* of ZK_SET */
    const char *path;    /* of ZK_CREATE */
};

struct zk_answer; /* owned by the request until it is stopped */

struct zk_watch;

struct zk_request { /* zeroed = stopped; the caller's memory, as is all that `what` and `parts` point to until it has ended or is stopped */
    struct zk_part what;
    const struct zk_part *parts; /* of ZK_MULTI */
    int part_count;
    struct zk_watch *watch; /* of ZK_GET, ZK_EXISTS, ZK_CHILDREN: to be told of the next change; or NULL */
    void (*ended)(struct zk_request *);
    /* the result */
    int code;        /* ZK_OK, or why not */
    int64_t sent_ns; /* clock_boot_ns, taken just before it was handed over for sending; 0: never was */
    struct zk_stat stat;
    bool has_stat;
    struct bytes text; /* of ZK_GET: the data; of ZK_CREATE: the path; of ZK_CHILDREN: names, of ZK_RIGHTS: "world:anyone:cdrwa",
                         each with a zero behind it */
    int count;         /* of ZK_CHILDREN and ZK_RIGHTS: names; of ZK_MULTI: outcomes */
    const struct zk_outcome *outcomes;
    /* the rest is its own */
    struct zk_client *client;
    struct zk_request *next, **at;
    struct zk_answer *answer;
    uint64_t id;
    struct timer limit;
    size_t size;
    int64_t session;
};

/* `ended` is called in the loop, never from within this call. False with err: too large, too many, a path that no server takes, closed. */
bool zk_request_start(struct zk_request *, struct zk_client *, struct err *);
void zk_request_stop(struct zk_request *); /* gives it up, frees the answer; what was sent may be done all the same */

/* Somebody who wants to know of changes at a path. Requests arm it; then it is told once, by `fired`: of a change, of an expiry, of the
 * client's end. May be told too often, never too seldom. */
struct zk_point;
struct zk_watch { /* zeroed = stopped */
    void (*fired)(struct zk_watch *);
    bool is_fired; /* reset when a request with it is started */
    struct zk_client *client;
    struct zk_point *point;
    struct zk_watch *next;
};
/* `of_children`: for ZK_CHILDREN; else for ZK_GET and ZK_EXISTS. False: no memory. */
bool zk_watch_start(struct zk_watch *, struct zk_client *, const char *path, bool of_children, void (*fired)(struct zk_watch *),
                    struct err *);
void zk_watch_stop(struct zk_watch *);

#endif
