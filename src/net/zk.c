/* zk.c - the only place that knows libzookeeper_mt (Debian's 3.8.0). What it is called for, and how, follows from its source:
 *  - zookeeper_init and zookeeper_close wait, for threads, sockets and up to 4.5 s for a server: helper threads only, one at a time for each
 *    handle (`lock`). zoo_a* only lock, queue, and write to a pipe: they are called from the loop.
 *  - It asserts that its two threads can be made. A machine out of threads must not abort PID 1: two are tried before.
 *  - Its log goes to a callback, at level ERROR: DEBUG has a use after free (ZOOKEEPER-4809), and the one line that reads the list of
 *    servers without its lock (ZOOKEEPER-4699) is a WARN.
 *  - It looks its servers up again at each turn unless told not to: they are addresses, and the delay is -1.
 *  - zoo_set_servers closes the socket under its other thread, and forgets what was sent: so a new list is given while there is no
 *    connection. Nothing is then under way. It compares lists by addresses without ports, and would keep one that differs in ports only:
 *    so a list goes before it that is like no other, of an address that nothing connects to.
 *  - zoo_add_auth is refused in the moment after a refused connection: asked for again when connected.
 *  - Its chroot is not used (the Lua face does that), nor its removal of watches, which leaves them at the server. */
#define THREADED /* zookeeper.h: without it, it declares the interface of the other library */
#include "zk_inner.h"

#include "appliance/clock.h"
#include "appliance/log.h"
#include "appliance/offload.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

_Static_assert(sizeof(void *) == 8, "the library's pointers carry our numbers of 64 bits");
_Static_assert(ZK_CONNECTIONLOSS == (int)ZCONNECTIONLOSS && ZK_RUNTIME == (int)ZRUNTIMEINCONSISTENCY &&
                   ZK_MARSHALLING == (int)ZMARSHALLINGERROR && ZK_OPERATIONTIMEOUT == (int)ZOPERATIONTIMEOUT &&
                   ZK_BADARGUMENTS == (int)ZBADARGUMENTS && ZK_INVALIDSTATE == (int)ZINVALIDSTATE && ZK_NONODE == (int)ZNONODE &&
                   ZK_NOAUTH == (int)ZNOAUTH && ZK_BADVERSION == (int)ZBADVERSION && ZK_NODEEXISTS == (int)ZNODEEXISTS &&
                   ZK_NOTEMPTY == (int)ZNOTEMPTY && ZK_SESSIONEXPIRED == (int)ZSESSIONEXPIRED && ZK_AUTHFAILED == (int)ZAUTHFAILED &&
                   ZK_CLOSING == (int)ZCLOSING && ZK_NOCHILDRENFOREPHEMERALS == (int)ZNOCHILDRENFOREPHEMERALS,
               "zk_words.h has the library's numbers");

enum { CLOSE_AGAIN_MS = 200 };

struct zk_multi {
    uint64_t id;
    int count;
    struct zk_outcome *outcomes;
    zoo_op_t *ops;
    zoo_op_result_t *results;
    struct Stat *stats;
    struct zk_multi *next;
};

/* Lives until the last helper thread that works for it has ended: `references` are the owner's and one of each job. */
struct zk_handle {
    pthread_mutex_t lock;
    zhandle_t *zh;         /* under the lock: helper threads */
    _Atomic bool unwanted; /* nobody waits for it to open any more */
    bool is_refused;       /* the library could not */
    zhandle_t *usable;     /* loop's thread: the same, while it is the owner's */
    bool needs_auth;
    struct loop *loop;
    int references, in_library, timeout_ms;
    uint32_t tag;
    char *servers, *auth;
    struct zk_multi *multis;
    void (*opened)(struct zk_handle *, void *, bool);
    void *owner;
    struct offload *opening;
    struct timer close_again;
};

static int handles;

int zk_handles(void)
{
    return handles;
}

/* --- what its threads call --- */

static uint64_t number_of(const void *data)
{
    return (uint64_t)(uintptr_t)data;
}

static void put_stat(struct zk_message *m, const struct Stat *stat)
{
    if (!m || !stat)
        return;
    m->has_stat = true;
    m->stat = (struct zk_stat){.czxid = stat->czxid,
                               .mzxid = stat->mzxid,
                               .pzxid = stat->pzxid,
                               .owner = stat->ephemeralOwner,
                               .version = stat->version,
                               .cversion = stat->cversion,
                               .children = stat->numChildren,
                               .length = stat->dataLength};
}

/* An answer must not be lost: without memory for what it says, it says that. */
static struct zk_message *answer_new(const void *data, int code, size_t length)
{
    struct zk_message *m = zk_message_new(ZK_SAID_ANSWER, number_of(data), length > ZK_ANSWER_CEILING ? 0 : length);
    while (!m) /* an answer without contents is 200 bytes */
        m = zk_message_new(ZK_SAID_ANSWER, number_of(data), 0), code = code ? code : ZK_NOMEMORY;
    m->code = code || length <= ZK_ANSWER_CEILING ? code : ZK_TOOLARGE;
    return m;
}

static void said_void(int code, const void *data)
{
    zk_inbox_put(answer_new(data, code, 0));
}

static void said_stat(int code, const struct Stat *stat, const void *data)
{
    struct zk_message *m = answer_new(data, code, 0);
    put_stat(m, stat);
    zk_inbox_put(m);
}

static void said_data(int code, const char *value, int length, const struct Stat *stat, const void *data)
{
    size_t size = code == 0 && value && length > 0 ? (size_t)length : 0;
    struct zk_message *m = answer_new(data, code, size);
    if (m->length > 0)
        memcpy(m->data, value, m->length);
    put_stat(m, stat);
    zk_inbox_put(m);
}

static void said_string(int code, const char *value, const void *data)
{
    struct zk_message *m = answer_new(data, code, code == 0 && value ? strlen(value) : 0);
    if (m->length > 0)
        memcpy(m->data, value, m->length);
    zk_inbox_put(m);
}

static void said_strings(int code, const struct String_vector *strings, const struct Stat *stat, const void *data)
{
    size_t size = 0;
    int count = code == 0 && strings ? strings->count : 0;
    for (int i = 0; i < count; i++)
        size += strlen(strings->data[i]) + 1;
    struct zk_message *m = answer_new(data, code, size);
    if (m->length > 0 || size == 0) {
        m->count = count;
        char *at = m->data;
        for (int i = 0; i < count; i++)
            at = stpcpy(at, strings->data[i]) + 1;
    }
    put_stat(m, stat);
    zk_inbox_put(m);
}

static void said_multi(int code, const void *data)
{
    const struct zk_multi *multi = data;
    struct zk_message *m = answer_new((const void *)(uintptr_t)multi->id, code, 0);
    m->multi = (struct zk_multi *)multi;
    zk_inbox_put(m);
}

static void said_watch(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)zh, (void)state, (void)path;
    if (type != ZOO_SESSION_EVENT) /* those go to every watch; `said_session` is enough */
        zk_inbox_put(zk_message_new(ZK_SAID_WATCH, number_of(context), 0));
}

static void name_server(zhandle_t *zh, char *out, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[INET6_ADDRSTRLEN];
    if (!zookeeper_get_connected_host(zh, (struct sockaddr *)&address, &length))
        return;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        if (inet_ntop(AF_INET, &in->sin_addr, host, sizeof host))
            snprintf(out, size, "%s:%d", host, ntohs(in->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&address;
        if (inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host))
            snprintf(out, size, "[%s]:%d", host, ntohs(in->sin6_port));
    }
}

static void said_session(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)path;
    if (type != ZOO_SESSION_EVENT)
        return;
    struct zk_message *m = zk_message_new(ZK_SAID_SESSION, number_of(context), 0);
    while (!m) /* a lost word of an expiry would be a client that waits for ever */
        m = zk_message_new(ZK_SAID_SESSION, number_of(context), 0);
    m->code = state;
    m->session = zoo_client_id(zh)->client_id;
    m->timeout_ms = zoo_recv_timeout(zh);
    if (state == ZK_SESSION_CONNECTED)
        name_server(zh, m->server, sizeof m->server);
    zk_inbox_put(m);
}

static void said_log(const char *line)
{
    char words[240];
    if (!zk_log_words(line, words, sizeof words))
        return;
    size_t length = strlen(words);
    struct zk_message *m = zk_message_new(ZK_SAID_LOG, 0, length);
    if (m)
        memcpy(m->data, words, length);
    zk_inbox_put(m);
}

/* --- its life --- */

static void release(struct zk_handle *h)
{
    if (--h->references > 0)
        return;
    if (h->multis)
        zk_inbox_drain(); /* what it said last may name them */
    for (struct zk_multi *multi = h->multis, *next; multi; multi = next) {
        next = multi->next;
        zk_multi_free(multi);
    }
    pthread_mutex_destroy(&h->lock);
    if (h->auth)
        explicit_bzero(h->auth, strlen(h->auth));
    free(h->auth);
    free(h->servers);
    free(h);
    handles--;
    zk_inbox_release();
}

static void drop(void *job)
{
    release(job);
}

static void *nothing(void *unused)
{
    return unused;
}

static bool threads_can_be_made(void)
{
    pthread_t threads[2];
    int made = 0;
    while (made < 2 && pthread_create(&threads[made], NULL, nothing, NULL) == 0)
        made++;
    for (int i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    return made == 2;
}

static void open_it(void *job)
{
    struct zk_handle *h = job;
    sigset_t all; /* its threads inherit that: signals are the loop's */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&h->lock);
    if (!h->unwanted && threads_can_be_made())
        h->zh = zookeeper_init2(h->servers, said_session, h->timeout_ms, NULL, (void *)(uintptr_t)((uint64_t)h->tag << 32),
                                ZOO_NO_LOG_CLIENTENV, said_log);
    h->is_refused = !h->zh;
    if (h->zh) {
        zoo_set_servers_resolution_delay(h->zh, -1);
        if (h->auth)
            h->needs_auth = zoo_add_auth(h->zh, "digest", h->auth, (int)strlen(h->auth), NULL, NULL) != ZOK;
    }
    pthread_mutex_unlock(&h->lock);
}

static void was_opened(void *job, void *owner)
{
    struct zk_handle *h = job;
    h->opening = NULL;
    h->usable = h->zh;
    h->opened(h, owner, !h->is_refused);
}

struct zk_handle *zk_handle_open(struct loop *loop, const char *servers, const char *auth, int timeout_ms,
                                 void (*opened)(struct zk_handle *, void *, bool), void *owner, struct err *err)
{
    static uint32_t last_tag;
    struct zk_handle *h = calloc(1, sizeof *h);
    char *list = strdup(servers), *secret = auth ? strdup(auth) : NULL;
    if (!h || !list || (auth && !secret) || !zk_inbox_hold(loop, err)) {
        if (!h || !list || (auth && !secret))
            err_set(err, ERR_SYSTEM, "zk: no memory");
        free(h);
        free(list);
        free(secret);
        return NULL;
    }
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    *h = (struct zk_handle){.loop = loop, .references = 1, .timeout_ms = timeout_ms, .servers = list, .auth = secret, .opened = opened};
    h->tag = ++last_tag ? last_tag : ++last_tag;
    pthread_mutex_init(&h->lock, NULL);
    handles++;
    h->references++;
    h->opening = offload_start(loop, h, open_it, was_opened, drop, owner, err);
    if (h->opening)
        return h;
    h->references--;
    release(h);
    return NULL;
}

uint32_t zk_handle_tag(const struct zk_handle *h)
{
    return h->tag;
}

bool zk_handle_is_open(const struct zk_handle *h)
{
    return h->usable != NULL;
}

static void close_it(void *job)
{
    struct zk_handle *h = job;
    pthread_mutex_lock(&h->lock);
    if (h->zh)
        zookeeper_close(h->zh);
    h->zh = NULL;
    pthread_mutex_unlock(&h->lock);
}

static void unheard(void *job, void *owner)
{
    (void)job, (void)owner;
}

/* Without a thread to close it on it must not stay as it is: its own threads would keep the session alive. */
static void close_again(struct timer *timer)
{
    struct zk_handle *h = (struct zk_handle *)(void *)((char *)timer - offsetof(struct zk_handle, close_again));
    if (!offload_start(h->loop, h, close_it, unheard, drop, NULL, NULL))
        timer_start(timer, h->loop, CLOSE_AGAIN_MS, close_again);
}

void zk_handle_close(struct zk_handle *h)
{
    if (!h)
        return;
    h->unwanted = true;
    h->usable = NULL;
    offload_abandon(h->opening); /* the job goes on, and what follows waits for it */
    h->opening = NULL;
    close_again(&h->close_again); /* takes over the owner's reference */
}

struct list_job {
    struct zk_handle *handle;
    char servers[];
};

static void set_servers(void *job)
{
    struct list_job *j = job;
    pthread_mutex_lock(&j->handle->lock);
    if (j->handle->zh && !j->handle->unwanted) {
        zoo_set_servers(j->handle->zh, "255.255.255.255:1");
        zoo_set_servers(j->handle->zh, j->servers);
    }
    pthread_mutex_unlock(&j->handle->lock);
}

static void drop_list(void *job)
{
    struct list_job *j = job;
    release(j->handle);
    free(j);
}

void zk_handle_servers(struct zk_handle *h, const char *servers)
{
    struct list_job *j = calloc(1, sizeof *j + strlen(servers) + 1);
    if (!j)
        return; /* the older list is used on */
    j->handle = h;
    memcpy(j->servers, servers, strlen(servers) + 1);
    h->references++;
    if (!offload_start(h->loop, j, set_servers, unheard, drop_list, NULL, NULL))
        drop_list(j);
}

void zk_handle_authenticate(struct zk_handle *h)
{
    if (h->usable && h->needs_auth)
        h->needs_auth = zoo_add_auth(h->usable, "digest", h->auth, (int)strlen(h->auth), NULL, NULL) != ZOK;
}

/* --- requests --- */

static const struct ACL_vector *acl_of(const struct zk_handle *h, int mode)
{
    return h->auth && !(mode & ZK_OPEN) ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE;
}

static int mode_of(int mode)
{
    if (mode & ZK_CONTAINER)
        return ZOO_CONTAINER;
    if (mode & ZK_EPHEMERAL)
        return mode & ZK_SEQUENTIAL ? ZOO_EPHEMERAL_SEQUENTIAL : ZOO_EPHEMERAL;
    return mode & ZK_SEQUENTIAL ? ZOO_PERSISTENT_SEQUENTIAL : ZOO_PERSISTENT;
}

void zk_multi_free(struct zk_multi *multi)
{
    if (!multi)
        return;
    for (int i = 0; multi->outcomes && i < multi->count; i++)
        free((char *)multi->outcomes[i].path);
    free(multi->outcomes);
    free(multi->ops);
    free(multi->results);
    free(multi->stats);
    free(multi);
}

static bool prepare_part(const struct zk_handle *h, struct zk_multi *multi, int i, const struct zk_part *part)
{
    zoo_op_t *op = &multi->ops[i];
    switch (part->verb) {
    case ZK_CHECK: zoo_check_op_init(op, part->path, part->version); break;
    case ZK_DELETE: zoo_delete_op_init(op, part->path, part->version); break;
    case ZK_SET: zoo_set_op_init(op, part->path, part->data.data, (int)part->data.length, part->version, &multi->stats[i]); break;
    case ZK_CREATE: {
        size_t size = strlen(part->path) + 16; /* and the number of a sequential node */
        char *path = calloc(1, size);
        multi->outcomes[i].path = path;
        if (!path)
            return false;
        zoo_create_op_init(op, part->path, part->data.data, (int)part->data.length, acl_of(h, part->mode), mode_of(part->mode), path,
                           (int)size);
        break;
    }
    default: return false;
    }
    return true;
}

static struct zk_multi *multi_new(const struct zk_handle *h, const struct zk_request *r)
{
    size_t count = (size_t)r->part_count;
    struct zk_multi *multi = calloc(1, sizeof *multi);
    if (!multi)
        return NULL;
    *multi = (struct zk_multi){.id = r->id,
                               .count = r->part_count,
                               .outcomes = calloc(count, sizeof *multi->outcomes),
                               .ops = calloc(count, sizeof *multi->ops),
                               .results = calloc(count, sizeof *multi->results),
                               .stats = calloc(count, sizeof *multi->stats)};
    bool ok = multi->outcomes && multi->ops && multi->results && multi->stats;
    for (int i = 0; ok && i < r->part_count; i++)
        ok = prepare_part(h, multi, i, &r->parts[i]);
    if (!ok) {
        zk_multi_free(multi);
        return NULL;
    }
    return multi;
}

static int send_multi(struct zk_handle *h, const struct zk_request *r)
{
    struct zk_multi *multi = multi_new(h, r);
    if (!multi)
        return ZK_NOMEMORY;
    int code = zoo_amulti(h->usable, multi->count, multi->ops, multi->results, said_multi, multi);
    if (code != ZOK) {
        zk_multi_free(multi);
        return code;
    }
    multi->next = h->multis;
    h->multis = multi;
    return ZOK;
}

static int hand_over(struct zk_handle *h, const struct zk_request *r, uint64_t point_id)
{
    const struct zk_part *what = &r->what;
    const void *id = (const void *)(uintptr_t)r->id;
    void *point = (void *)(uintptr_t)point_id;
    watcher_fn watcher = point_id ? said_watch : NULL;
    zhandle_t *zh = h->usable;
    switch (what->verb) {
    case ZK_GET: return zoo_awget(zh, what->path, watcher, point, said_data, id);
    case ZK_EXISTS: return zoo_awexists(zh, what->path, watcher, point, said_stat, id);
    case ZK_CHILDREN: return zoo_awget_children2(zh, what->path, watcher, point, said_strings, id);
    case ZK_SET: return zoo_aset(zh, what->path, what->data.data, (int)what->data.length, what->version, said_stat, id);
    case ZK_CREATE:
        return zoo_acreate(zh, what->path, what->data.data, (int)what->data.length, acl_of(h, what->mode), mode_of(what->mode), said_string,
                           id);
    case ZK_DELETE: return zoo_adelete(zh, what->path, what->version, said_void, id);
    case ZK_SYNC: return zoo_async(zh, what->path, said_string, id);
    case ZK_MULTI: return send_multi(h, r);
    case ZK_CHECK: break;
    }
    return ZK_BADARGUMENTS;
}

int zk_handle_send(struct zk_handle *h, const struct zk_request *r, uint64_t point_id)
{
    if (!h->usable || is_unrecoverable(h->usable))
        return ZK_CONNECTIONLOSS;
    if (h->in_library >= 2 * ZK_REQUESTS) /* with those that were given up meanwhile */
        return ZK_QUEUEFULL;
    int code = hand_over(h, r, point_id);
    if (code == ZOK)
        h->in_library++;
    return code == ZINVALIDSTATE || code == ZMARSHALLINGERROR ? ZK_CONNECTIONLOSS : code;
}

void zk_multi_take(struct zk_handle *h, struct zk_multi *multi)
{
    for (struct zk_multi **at = &h->multis; *at; at = &(*at)->next)
        if (*at == multi) {
            *at = multi->next;
            return;
        }
}

void zk_handle_answered(struct zk_handle *h, struct zk_multi *multi)
{
    h->in_library--;
    if (multi) {
        zk_multi_take(h, multi);
        zk_multi_free(multi);
    }
}

/* The library leaves its own names behind; they become ours. */
const struct zk_outcome *zk_multi_outcomes(const struct zk_multi *multi, int *count)
{
    for (int i = 0; i < multi->count; i++) {
        multi->outcomes[i].code = multi->results[i].err;
        struct zk_message m = {0};
        if (multi->results[i].err == ZOK && multi->results[i].stat) {
            put_stat(&m, &multi->stats[i]);
            multi->outcomes[i].stat = m.stat;
        }
    }
    *count = multi->count;
    return multi->outcomes;
}
