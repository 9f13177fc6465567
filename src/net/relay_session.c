/* relay_session.c - one connection through the relay, from accept to close: HELD -> CONNECTING -> FLOWING, and back to HELD when no
 * target of a round answers. relay.c decides when it tries, and with how many others. */
#include "appliance/sys.h"
#include "relay_inner.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    EDGES = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (int)EPOLLET,
    A_TURN = 1024 * 1024, /* bytes of one connection before others, and the rest of the program, have their turn */
    IDLE_S = 30,          /* a silent peer is asked after so long, */
    PROBE_S = 10,         /* so often, */
    PROBES = 6,           /* and is gone when it has not answered so many times */
};

static void next_try(struct relay_session *, const struct err *);

/* No TCP_USER_TIMEOUT: it would cut who only reads slowly (the window stays closed for as long as a result is looked at). */
void socket_options(int fd)
{
    int yes = 1, idle = IDLE_S, between = PROBE_S, probes = PROBES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void end_note(struct relay_end *end, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        end->readable = true;
    if (events & EPOLLOUT)
        end->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        end->fin = true;
    if (events & EPOLLERR)
        end->broken = true;
}

static void end_close(struct relay_end *end, bool reset)
{
    int fd = end->io.fd;
    if (!watch_is_started(&end->io))
        return;
    watch_stop(&end->io);
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    sys.close(fd);
    *end = (struct relay_end){0};
}

static void session_free(struct relay_session *s, bool reset)
{
    timer_stop(&s->hold);
    timer_stop(&s->step);
    flow_drop(&s->up);
    flow_drop(&s->down);
    relay_session_gone(s);
    end_close(&s->client, reset);
    end_close(&s->target, reset);
    free(s);
}

void session_reset(struct relay_session *s)
{
    session_free(s, true);
}

void session_close(struct relay_session *s)
{
    session_free(s, false);
}

/* --- waiting for a target --- */

/* A client who has closed before it was connected through. With bytes before its FIN it may be one who has said all and waits for the
 * answer; without, there is nothing that anybody waits for. */
static bool client_has_left(const struct relay_session *s)
{
    int bytes = 0;
    if (s->client.broken)
        return true;
    return s->client.fin && ioctl(s->client.io.fd, FIONREAD, &bytes) == 0 && bytes == 0;
}

static void client_ready(struct watch *w, uint32_t events)
{
    struct relay_session *s = RELAY_OWNER(w, struct relay_session, client.io);
    end_note(&s->client, events);
    if (s->state == FLOWING)
        session_flow(s);
    else if (client_has_left(s))
        session_close(s);
}

static void hold_over(struct timer *t)
{
    struct relay_session *s = RELAY_OWNER(t, struct relay_session, hold);
    s->overdue = true;
    if (s->state == HELD)
        relay_session_expired(s);
}

struct relay_session *session_new(struct relay *relay, int fd)
{
    struct err err;
    struct relay_session *s = calloc(1, sizeof *s);
    if (!s || !watch_start(&s->client.io, relay->loop, fd, EDGES, client_ready, &err)) {
        free(s);
        sys.close(fd);
        return NULL;
    }
    s->relay = relay;
    s->client.writable = true;
    timer_start(&s->hold, relay->loop, relay->hold_ms, hold_over);
    return s;
}

/* --- connecting --- */

static void try_over(struct timer *t)
{
    struct relay_session *s = RELAY_OWNER(t, struct relay_session, step);
    struct err err;
    err_set(&err, ERR_TIMEOUT, "%s: no answer within %g s", s->address.text, (double)s->relay->connect_ms / 1000);
    next_try(s, &err);
}

/* Linux lets a socket connect to itself, when the port it was given is the one it asks for and nobody listens there (a simultaneous open
 * with oneself). */
static bool is_itself(const struct relay_session *s)
{
    struct relay_address own = {.length = sizeof own.sock};
    if (getsockname(s->target.io.fd, &own.sock.any, &own.length) < 0 || own.sock.v4.sin_port != s->address.sock.v4.sin_port)
        return false; /* the port is at the same place in both families */
    relay_address_print(&own);
    return strcmp(own.text, s->address.text) == 0;
}

static void target_ready(struct watch *w, uint32_t events)
{
    struct relay_session *s = RELAY_OWNER(w, struct relay_session, target.io);
    end_note(&s->target, events);
    if (s->state == FLOWING) {
        session_flow(s);
        return;
    }
    int code = 0;
    socklen_t size = sizeof code;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
        code = errno;
    if (code == 0 && !(events & EPOLLOUT))
        return;
    if (code == 0 && is_itself(s))
        code = ECONNREFUSED;
    if (code != 0) {
        struct err err;
        errno = code;
        err_errno(&err, "%s", s->address.text);
        next_try(s, &err);
        return;
    }
    timer_stop(&s->step);
    timer_stop(&s->hold);
    s->state = FLOWING;
    s->target.broken = false;
    s->up = (struct relay_flow){.from = &s->client, .to = &s->target};
    s->down = (struct relay_flow){.from = &s->target, .to = &s->client};
    relay_session_up(s);
    session_flow(s);
}

static bool start_try(struct relay_session *s, struct err *err)
{
    s->address = s->relay->targets[s->index];
    int fd = sys.socket(s->address.sock.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, "%s: socket", s->address.text);
    socket_options(fd);
    s->target = (struct relay_end){0};
    if (sys.connect(fd, &s->address.sock.any, s->address.length) < 0 && errno != EINPROGRESS) {
        err_errno(err, "%s", s->address.text);
    } else if (watch_start(&s->target.io, s->relay->loop, fd, EDGES, target_ready, err)) {
        timer_start(&s->step, s->relay->loop, s->relay->connect_ms, try_over);
        return true;
    }
    sys.close(fd);
    return false;
}

/* The present try has failed for that reason: the next target, or the end of the round. */
static void next_try(struct relay_session *s, const struct err *why)
{
    struct err err = *why;
    timer_stop(&s->step);
    end_close(&s->target, true);
    while (--s->tries_left > 0) {
        s->index = (s->index + 1) % s->relay->target_count;
        if (start_try(s, &err))
            return;
    }
    relay_session_failed(s, &err);
}

void session_connect(struct relay_session *s)
{
    struct err err;
    s->state = CONNECTING;
    s->index = s->relay->preferred;
    s->tries_left = s->relay->target_count;
    if (!start_try(s, &err))
        next_try(s, &err);
}

void session_hold(struct relay_session *s)
{
    timer_stop(&s->step);
    end_close(&s->target, true);
    s->state = HELD;
}

/* --- connected through --- */

void session_flow(struct relay_session *s)
{
    bool broken = s->client.broken || s->target.broken;
    size_t budget = broken ? SIZE_MAX : A_TURN; /* a broken one: what had arrived, which no more is added to */
    /* Both, though the first be broken: what the other side said last may say why. */
    bool up = flow_move(&s->up, &budget);
    if (!up)
        budget = SIZE_MAX;
    bool down = flow_move(&s->down, &budget);
    bool broke = broken || !up || !down, finished = s->up.finished && s->down.finished;
    /* At once, and not with its end: a target that hangs will never say its own. */
    bool given_up = (s->up.ended || s->client.broken) && !s->down.ended && !s->target.broken;
    if (given_up || ((broke || finished) && !s->down.any))
        relay_doubt(s);
    if (broke)
        session_reset(s);
    else if (finished)
        session_close(s);
    else if (budget == 0)
        relay_queue(s);
}
