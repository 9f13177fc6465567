/* zk_client.c - the session: which handle it lives in, what is said of it, and when a new one is made. */
#include "appliance/clock.h"
#include "appliance/log.h"
#include "zk_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN_AGAIN_MS = 1000, AUTH_AGAIN_MS = 10000, LOG_KEPT = 8, LOG_AGAIN_S = 60, LOG_SIZE = 240 };

static struct zk_client *clients;

const char *zk_state_name(enum zk_state state)
{
    static const char *const names[] = {"connecting", "connected", "expired", "closed", "auth_failed"};
    return names[state];
}

/* --- what people are told --- */

static const char *title(const struct zk_client *c, char out[64])
{
    bool has_name = c->name[0] != 0;
    snprintf(out, 64, "zk%s%.48s%s", has_name ? " (" : "", c->name, has_name ? ")" : "");
    return out;
}

/* The library says the same of a dead server several times in a second. */
static void tell_log(const char *words)
{
    static struct {
        char words[LOG_SIZE];
        int64_t told_ns;
    } kept[LOG_KEPT];
    static int oldest;
    int64_t now = clock_ns();
    for (int i = 0; i < LOG_KEPT; i++)
        if (kept[i].told_ns && strncmp(kept[i].words, words, LOG_SIZE - 1) == 0) {
            if (now - kept[i].told_ns < LOG_AGAIN_S * NS_PER_S)
                return;
            kept[i].told_ns = now;
            log_warn("zk: server %s", words);
            return;
        }
    strncpy(kept[oldest].words, words, LOG_SIZE - 1);
    kept[oldest].told_ns = now;
    oldest = (oldest + 1) % LOG_KEPT;
    log_warn("zk: server %s", words);
}

static void tell_change(const struct zk_client *c, const struct zk_view *before, const struct zk_view *now)
{
    char who[64];
    title(c, who);
    long long id = (long long)now->id;
    switch (now->state) {
    case ZK_CONNECTED:
        log_info("%s: session 0x%llx %s at %s; it ends when no server hears of us for %g s", who, id,
                 before->id == now->id ? "goes on" : "begins", now->server[0] ? now->server : "a server", now->timeout_ms / 1e3);
        break;
    case ZK_CONNECTING:
        if (before->state == ZK_CONNECTED)
            log_warn("%s: connection to %s lost; session 0x%llx ends unless there is another within %g s", who,
                     before->server[0] ? before->server : "the server", id, now->timeout_ms / 1e3);
        break;
    case ZK_EXPIRED: log_warn("%s: session 0x%llx has expired, and its ephemeral nodes with it; a new one begins", who, id); break;
    case ZK_AUTH_FAILED: log_error("%s: the servers refuse our credentials: look at the secret given for ZooKeeper", who); break;
    case ZK_CLOSED: break;
    }
}

/* --- how it is --- */

const struct zk_view *zk_client_view(const struct zk_client *c)
{
    return &c->views[c->changes % ZK_VIEWS];
}

uint64_t zk_client_changes(const struct zk_client *c)
{
    return c->changes;
}

const struct zk_view *zk_client_change(const struct zk_client *c, uint64_t *n)
{
    if (*n > c->changes)
        *n = c->changes;
    if (c->changes >= ZK_VIEWS && *n <= c->changes - ZK_VIEWS)
        *n = c->changes - ZK_VIEWS + 1;
    return &c->views[*n % ZK_VIEWS];
}

void zk_listen(struct zk_listener *listener, struct zk_client *c, void (*changed)(struct zk_listener *))
{
    *listener = (struct zk_listener){.changed = changed, .next = c->listeners, .client = c};
    c->listeners = listener;
    c->users++;
}

void zk_unlisten(struct zk_listener *listener)
{
    if (!listener->client)
        return;
    for (struct zk_listener **at = &listener->client->listeners; *at; at = &(*at)->next)
        if (*at == listener) {
            *at = listener->next;
            break;
        }
    zk_client_unuse(listener->client);
    listener->client = NULL;
}

/* Listeners only wake tasks: none of them goes away in here. */
static void change(struct zk_client *c, enum zk_state state, const struct zk_message *said)
{
    const struct zk_view *before = zk_client_view(c);
    struct zk_view now = {.state = state, .id = before->id, .timeout_ms = before->timeout_ms};
    if (said) {
        now.id = said->session;
        now.timeout_ms = said->timeout_ms;
        memcpy(now.server, said->server, sizeof now.server);
    } else if (before->state == ZK_EXPIRED || before->state == ZK_AUTH_FAILED) {
        now.id = 0;
        now.timeout_ms = 0;
    }
    tell_change(c, before, &now);
    c->views[++c->changes % ZK_VIEWS] = now;
    for (struct zk_listener *l = c->listeners; l; l = l->next)
        l->changed(l);
}

/* --- handles --- */

static void open_handle(struct timer *timer);

static void open_later(struct zk_client *c, int64_t delay_ms)
{
    timer_start(&c->again, c->loop, delay_ms, open_handle);
}

static void give_up_handle(struct zk_client *c)
{
    zk_handle_close(c->handle);
    c->handle = NULL;
    free(c->early);
    c->early = NULL;
}

static void session_said(struct zk_client *c, const struct zk_message *m);

static void opened(struct zk_handle *h, void *owner, bool ok)
{
    (void)h;
    struct zk_client *c = owner;
    if (!ok) {
        char who[64];
        log_warn("%s: no handle for %s: no threads, memory or descriptors, or none of these is an address; tried again", title(c, who),
                 c->servers);
        give_up_handle(c);
        open_later(c, OPEN_AGAIN_MS);
        return;
    }
    struct zk_message *early = c->early;
    c->early = NULL;
    if (early)
        session_said(c, early);
    free(early);
}

static void open_handle(struct timer *timer)
{
    struct zk_client *c = (struct zk_client *)(void *)((char *)timer - offsetof(struct zk_client, again));
    if (c->closed || c->handle || !c->servers[0])
        return;
    struct err err;
    c->servers_are_new = false;
    c->handle = zk_handle_open(c->loop, c->servers, c->auth, (int)c->session_ms, opened, c, &err);
    if (!c->handle) {
        log_warn("zk: %s; tried again", err.text);
        open_later(c, OPEN_AGAIN_MS);
    }
}

/* A session that is over, for whatever reason: nothing of it goes on, and the next one is made. */
static void session_over(struct zk_client *c, enum zk_state how, int code, int64_t delay_ms)
{
    give_up_handle(c);
    change(c, how, NULL);
    zk_requests_fail(c, code);
    zk_points_fired(c, 0);
    if (how == ZK_EXPIRED)
        change(c, ZK_CONNECTING, NULL);
    open_later(c, delay_ms);
}

static void session_said(struct zk_client *c, const struct zk_message *m)
{
    const struct zk_view *view = zk_client_view(c);
    if (m->code == ZK_SESSION_CONNECTED && (m->session == 0 || m->timeout_ms <= 0))
        return; /* nothing that a ZooKeeper says: the next ping ends it */
    if (m->code == ZK_SESSION_CONNECTED) {
        zk_handle_authenticate(c->handle);
        /* The library does not tell of every loss: it may be connected again, elsewhere. */
        if (view->state != ZK_CONNECTED || view->id != m->session || strcmp(view->server, m->server) != 0)
            change(c, ZK_CONNECTED, m);
        zk_requests_flush(c);
    } else if (m->code == ZK_SESSION_EXPIRED) {
        session_over(c, ZK_EXPIRED, ZK_SESSIONEXPIRED, 0);
    } else if (m->code == ZK_SESSION_AUTH_FAILED) {
        session_over(c, ZK_AUTH_FAILED, ZK_AUTHFAILED, AUTH_AGAIN_MS);
    } else {
        if (view->state != ZK_CONNECTING)
            change(c, ZK_CONNECTING, NULL);
        if (c->servers_are_new)
            zk_handle_servers(c->handle, c->servers);
        c->servers_are_new = false;
    }
}

struct zk_client *zk_client_of(uint32_t tag)
{
    for (struct zk_client *c = clients; c; c = c->next)
        if (c->handle && zk_handle_tag(c->handle) == tag)
            return c;
    return NULL;
}

bool zk_deliver(struct zk_message *m)
{
    if (m->said == ZK_SAID_LOG) {
        tell_log(m->data);
        return false;
    }
    struct zk_client *c = zk_client_of((uint32_t)(m->id >> 32));
    if (!c)
        return false;
    if (m->said == ZK_SAID_ANSWER)
        return zk_requests_answer(c, m);
    if (m->said == ZK_SAID_WATCH) {
        zk_points_fired(c, m->id);
        return false;
    }
    if (zk_handle_is_open(c->handle)) {
        session_said(c, m);
        return false;
    }
    free(c->early); /* only the last word counts */
    c->early = m;
    return true;
}

/* --- its life --- */

static void free_client(struct zk_client *c)
{
    if (c->auth)
        explicit_bzero(c->auth, strlen(c->auth));
    free(c->name);
    free(c->servers);
    free(c->auth);
    free(c);
}

struct zk_client *zk_client_open(struct loop *loop, const struct zk_spec *spec, struct err *err)
{
    struct zk_client *c = calloc(1, sizeof *c);
    if (c) {
        c->name = strdup(spec->name ? spec->name : "");
        c->servers = strdup(spec->servers ? spec->servers : "");
        c->auth = spec->auth ? strdup(spec->auth) : NULL;
    }
    if (!c || !c->name || !c->servers || (spec->auth && !c->auth)) {
        err_set(err, ERR_SYSTEM, "zk: no memory");
        if (c)
            free_client(c);
        return NULL;
    }
    c->loop = loop;
    c->session_ms = spec->session_ms;
    zk_requests_init(c);
    c->next = clients;
    clients = c;
    open_handle(&c->again);
    return c;
}

void zk_client_close(struct zk_client *c)
{
    if (c->closed)
        return;
    c->closed = true;
    timer_stop(&c->again);
    for (struct zk_client **at = &clients; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    give_up_handle(c);
    change(c, ZK_CLOSED, NULL);
    zk_requests_fail(c, ZK_CLOSING);
    zk_points_fired(c, 0);
}

void zk_client_unuse(struct zk_client *c)
{
    if (--c->users == 0 && c->unowned)
        free_client(c);
}

void zk_client_drop(struct zk_client *c)
{
    if (!c)
        return;
    zk_client_close(c);
    c->unowned = true;
    if (c->users == 0)
        free_client(c);
}

bool zk_client_servers(struct zk_client *c, const char *servers, struct err *err)
{
    if (c->closed || strcmp(c->servers, servers) == 0)
        return true;
    char *copy = strdup(servers);
    if (!copy)
        return err_set(err, ERR_SYSTEM, "zk: no memory");
    free(c->servers);
    c->servers = copy;
    if (!c->handle) {
        if (!timer_is_started(&c->again))
            open_handle(&c->again);
    } else if (zk_client_view(c)->id == 0) { /* nothing of it has begun: a fresh one costs nothing */
        give_up_handle(c);
        open_handle(&c->again);
    } else if (zk_client_view(c)->state == ZK_CONNECTING && zk_handle_is_open(c->handle)) {
        zk_handle_servers(c->handle, c->servers);
    } else {
        c->servers_are_new = true;
    }
    return true;
}

void zk_shutdown(void)
{
    while (clients)
        zk_client_close(clients);
    zk_inbox_shut();
}
