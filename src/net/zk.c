/* zk.c - a handle of libzookeeper_mt (Debian's 3.8.0) from its opening to its end; zk_send.c is what is asked over it. These two are the only
 * places that know the library. What it is called for, and how, follows from its source:
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
#include "appliance/offload.h"
#include "zk_handle.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSE_AGAIN_MS = 200 };

static int handles;

int zk_handles(void)
{
    return handles;
}

/* --- what its threads call --- */

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
    struct zk_message *m = zk_message_new(ZK_SAID_SESSION, zk_number_of(context), 0);
    while (!m) /* a lost word of an expiry would be a client that waits for ever */
        m = zk_message_new(ZK_SAID_SESSION, zk_number_of(context), 0);
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
    zk_multis_free(h);
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
