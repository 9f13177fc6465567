#include "appliance/relay.h"
#include "appliance/log.h"
#include "appliance/sys.h"
#include "relay_inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    BACKLOG = 1024,
    ACCEPTS_A_TURN = 64,
    ACCEPT_AGAIN_MS = 200,
    FLOWS_A_TURN = 16,      /* big transfers that go on in one turn of the loop */
    FILES_FOR_OTHERS = 256, /* descriptors that the rest of the program may want */
};

static int relays; /* open ones */

/* --- lists --- */

static void list_insert(struct session_list *list, struct relay_session *s, struct relay_session *after)
{
    s->previous = after;
    s->next = after ? after->next : list->first;
    *(s->next ? &s->next->previous : &list->last) = s;
    *(after ? &after->next : &list->first) = s;
    list->count++;
}

void list_append(struct session_list *list, struct relay_session *s)
{
    list_insert(list, s, list->last);
}

void list_prepend(struct session_list *list, struct relay_session *s)
{
    list_insert(list, s, NULL);
}

void list_remove(struct session_list *list, struct relay_session *s)
{
    *(s->next ? &s->next->previous : &list->last) = s->previous;
    *(s->previous ? &s->previous->next : &list->first) = s->next;
    s->next = s->previous = NULL;
    list->count--;
}

/* --- big transfers take turns --- */

static void unqueue(struct relay_session *s)
{
    struct relay *relay = s->relay;
    if (!s->queued)
        return;
    *(s->next_again ? &s->next_again->previous_again : &relay->last_again) = s->previous_again;
    *(s->previous_again ? &s->previous_again->next_again : &relay->again) = s->next_again;
    s->queued = false;
}

static void next_turn(struct timer *t)
{
    struct relay *relay = RELAY_OWNER(t, struct relay, turn);
    struct relay_session *last = relay->last_again;
    bool is_last = false;
    for (int i = 0; i < FLOWS_A_TURN && relay->again && !is_last; i++) {
        struct relay_session *s = relay->again;
        is_last = s == last; /* those behind it came while we were here */
        unqueue(s);
        session_flow(s);
    }
    if (relay->again)
        timer_start(t, relay->loop, 0, next_turn);
}

void relay_queue(struct relay_session *s)
{
    struct relay *relay = s->relay;
    if (s->queued)
        return;
    s->queued = true;
    s->next_again = NULL;
    s->previous_again = relay->last_again;
    *(relay->last_again ? &relay->last_again->next_again : &relay->again) = s;
    relay->last_again = s;
    if (!timer_is_started(&relay->turn))
        timer_start(&relay->turn, relay->loop, 0, next_turn);
}

/* --- who comes and goes --- */

void relay_session_gone(struct relay_session *s)
{
    struct relay *relay = s->relay;
    unqueue(s);
    list_remove(s->state == HELD ? &relay->held : &relay->others, s);
    relay->connecting -= s->state == CONNECTING;
    relay->flowing -= s->state == FLOWING;
    if (s->state == CONNECTING)
        relay_look_again(relay);
}

static void turn_away(struct relay *relay, int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    sys.close(fd);
    relay->refused++;
    if (!relay->full)
        log_warn("%s: all %d connections are in use, so more are reset until some end; a higher ceiling, or fewer clients, would help",
                 relay->name, relay->most);
    relay->full = true;
}

static void welcome(struct relay *relay, int fd)
{
    int count = relay->held.count + relay->others.count;
    if (count >= relay->most) {
        turn_away(relay, fd);
        return;
    }
    if (count < relay->most - relay->most / 10)
        relay->full = false;
    struct relay_session *s = session_new(relay, fd);
    if (s)
        relay_welcome(s);
}

static void accept_clients(struct watch *, uint32_t events);

static void accept_anew(struct timer *t)
{
    struct relay *relay = RELAY_OWNER(t, struct relay, accept_again);
    struct err err;
    if (!watch_start(&relay->incoming, relay->loop, relay->fd, EPOLLIN, accept_clients, &err))
        timer_start(t, relay->loop, ACCEPT_AGAIN_MS, accept_anew);
}

static void accept_clients(struct watch *w, uint32_t events)
{
    (void)events;
    struct relay *relay = RELAY_OWNER(w, struct relay, incoming);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = sys.accept4(relay->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            relay->starved = false;
            welcome(relay, fd);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM || errno == EPERM) {
            /* Who waits keeps the socket readable: looking again at once would only keep the processor warm. */
            if (!relay->starved)
                log_warn("%s: new connections wait: %s", relay->name, strerror(errno));
            relay->starved = true;
            watch_stop(&relay->incoming);
            timer_start(&relay->accept_again, relay->loop, ACCEPT_AGAIN_MS, accept_anew);
            return;
        }
        /* Whatever else it is speaks of one connection that is already gone (accept(2)). */
    }
}

/* --- the port --- */

static bool parse_bind(struct relay *relay, const char *host, uint16_t port, struct err *err)
{
    struct relay_address *a = &relay->address;
    a->sock.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    a->length = sizeof a->sock.v4;
    if (inet_pton(AF_INET, host, &a->sock.v4.sin_addr) != 1) {
        a->sock.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        a->length = sizeof a->sock.v6;
        if (inet_pton(AF_INET6, host, &a->sock.v6.sin6_addr) != 1)
            return err_set(err, ERR_INVALID,
                           "%s: can't listen on '%.60s': it must be an IP address of this machine, or 0.0.0.0 for all of them", relay->name,
                           host);
    }
    relay_address_print(a);
    return true;
}

static bool explain(const struct relay *relay, struct err *err)
{
    const char *where = relay->address.text, *name = relay->name;
    const char *port = strrchr(where, ':') + 1;
    switch (errno) {
    case EADDRINUSE:
        return err_set(err, ERR_CONFLICT,
                       "%s: can't listen on %s: somebody listens there already (ss -ltnp 'sport = :%s' tells who); stop that, or "
                       "choose another port",
                       name, where, port);
    case EACCES:
        return err_set(err, ERR_DENIED,
                       "%s: can't listen on %s: ports below 1024 are for root or CAP_NET_BIND_SERVICE; choose another port", name, where);
    case EADDRNOTAVAIL:
        return err_set(err, ERR_INVALID,
                       "%s: can't listen on %s: this machine has no such address; choose one of `ip addr`, or 0.0.0.0 for all", name,
                       where);
    case EAFNOSUPPORT:
        return err_set(err, ERR_INVALID, "%s: can't listen on %s: there is no IPv6 here; choose an IPv4 address", name, where);
    default: return err_errno(err, "%s: can't listen on %s", name, where);
    }
}

static bool start_listening(struct relay *relay, struct err *err)
{
    struct relay_address *a = &relay->address;
    int yes = 1, no = 0;
    relay->fd = sys.socket(a->sock.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (relay->fd < 0)
        return explain(relay, err);
    socket_options(relay->fd);
    if (a->sock.any.sa_family == AF_INET6)
        setsockopt(relay->fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    a->length = sizeof a->sock;
    if (setsockopt(relay->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        bind(relay->fd, &a->sock.any, a->sock.any.sa_family == AF_INET6 ? sizeof a->sock.v6 : sizeof a->sock.v4) == 0 &&
        listen(relay->fd, BACKLOG) == 0 && getsockname(relay->fd, &a->sock.any, &a->length) == 0) {
        relay_address_print(a);
        if (watch_start(&relay->incoming, relay->loop, relay->fd, EPOLLIN, accept_clients, err))
            return true;
    } else {
        explain(relay, err);
    }
    sys.close(relay->fd);
    return false;
}

/* Two descriptors a connection: what they leave must do for services and files. */
static int most_of(const struct relay *relay, int most)
{
    struct rlimit limit;
    most = most ? most : RELAY_MOST;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return most;
    long long room = ((long long)limit.rlim_cur - FILES_FOR_OTHERS) / 2;
    if (room >= most)
        return most;
    room = room < 1 ? 1 : room;
    log_warn("%s: at most %lld connections at once, not %d: the limit of open files is %llu (ulimit -Hn)", relay->name, room, most,
             (unsigned long long)limit.rlim_cur);
    return (int)room;
}

struct relay *relay_open(struct loop *loop, const struct relay_spec *spec, struct err *err)
{
    struct relay *relay = calloc(1, sizeof *relay);
    if (!relay) {
        err_errno(err, "%s", spec->name ? spec->name : "relay");
        return NULL;
    }
    relay->loop = loop;
    snprintf(relay->name, sizeof relay->name, "%s", spec->name ? spec->name : "relay");
    relay->hold_ms = spec->hold_ms;
    relay->connect_ms = spec->connect_ms ? spec->connect_ms : RELAY_CONNECT_MS;
    relay->keep = spec->keep;
    if (!parse_bind(relay, spec->bind ? spec->bind : "0.0.0.0", spec->port, err) || !start_listening(relay, err)) {
        free(relay);
        return NULL;
    }
    relay->most = most_of(relay, spec->most);
    signal(SIGPIPE, SIG_IGN); /* splice(2) knows no MSG_NOSIGNAL */
    relays++;
    return relay;
}

void relay_close(struct relay *relay)
{
    if (!relay)
        return;
    watch_stop(&relay->incoming);
    sys.close(relay->fd);
    relay->down = false;
    while (relay->held.first)
        session_reset(relay->held.first);
    while (relay->others.first)
        session_reset(relay->others.first);
    relay_stop_waiting(relay);
    timer_stop(&relay->accept_again);
    timer_stop(&relay->turn);
    free(relay->targets);
    free(relay);
    if (--relays == 0)
        flow_close_pipes();
}

uint16_t relay_port(const struct relay *relay)
{
    return ntohs(relay->address.sock.any.sa_family == AF_INET6 ? relay->address.sock.v6.sin6_port : relay->address.sock.v4.sin_port);
}

struct relay_counts relay_count(const struct relay *relay)
{
    return (struct relay_counts){.established = relay->flowing,
                                 .held = relay->held.count + relay->connecting,
                                 .served = relay->served,
                                 .refused = relay->refused,
                                 .expired = relay->expired,
                                 .cut = relay->cut};
}
