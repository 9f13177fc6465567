#include "appliance/probe.h"
#include "appliance/clock.h"
#include "appliance/err.h"
#include "appliance/probe_hive.h"
#include "appliance/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    FIRST_PACE_MS = 10,               /* a quick service need not wait for a whole period */
    LATE_NS = 1 * 1000 * 1000 * 1000, /* a timer so late means that we, and all others, stood still */
};

static void try_now(struct timer *);

static struct probe *of_timer(struct timer *t)
{
    return (struct probe *)((char *)t - offsetof(struct probe, timer));
}

static struct probe *of_watch(struct watch *w)
{
    return (struct probe *)((char *)w - offsetof(struct probe, io));
}

static const char *host_of(const struct probe *p)
{
    return p->spec->host ? p->spec->host : "127.0.0.1";
}

static void hang_up(struct probe *p)
{
    if (p->phase == PROBE_IDLE)
        return;
    int fd = p->io.fd;
    watch_stop(&p->io);
    sys.close(fd);
    p->phase = PROBE_IDLE;
}

static void next_try(struct probe *p)
{
    hang_up(p);
    int64_t delay_ms = p->goal == PROBE_HEALTH ? p->spec->health_period_ms : p->pace_ms;
    p->pace_ms = p->pace_ms * 2 < p->spec->period_ms ? p->pace_ms * 2 : p->spec->period_ms;
    if (p->prompted && delay_ms > PROBE_DEBOUNCE_MS)
        delay_ms = PROBE_DEBOUNCE_MS;
    p->prompted = false;
    timer_start(&p->timer, p->loop, delay_ms, try_now);
}

static void hit(struct probe *p)
{
    p->misses = 0;
    if (p->goal == PROBE_HEALTH) {
        next_try(p);
        return;
    }
    void (*ready)(struct probe *) = p->ready;
    probe_stop(p);
    ready(p);
}

static void explain(struct probe *p, const char *format, va_list arguments)
{
    int length = snprintf(p->why, sizeof p->why, "%s:%d: ", host_of(p), p->spec->port);
    vsnprintf(p->why + length, sizeof p->why - (size_t)length, format, arguments);
}

__attribute__((format(printf, 2, 3))) static void miss(struct probe *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    explain(p, format, arguments);
    va_end(arguments);
    if (p->goal == PROBE_HEALTH && ++p->misses >= p->spec->health_misses) {
        void (*failing)(struct probe *, const char *) = p->failing;
        probe_stop(p);
        failing(p, p->why);
        return;
    }
    next_try(p);
}

/* Nothing was asked, for want of something of ours (descriptors, memory, a port to go out from): that says nothing of the service, and
 * one that does its work is not killed for it. */
__attribute__((format(printf, 2, 3))) static void unasked(struct probe *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    explain(p, format, arguments);
    va_end(arguments);
    next_try(p);
}

static bool is_our_want(int code)
{
    return code == EADDRNOTAVAIL || code == EAGAIN || code == ENOBUFS || code == ENOMEM;
}

static void try_over(struct timer *t)
{
    struct probe *p = of_timer(t);
    /* After a freeze of the whole container (or of ours alone) the answer may lie there unread: no miss, another try. */
    if (clock_ns() - t->due_ns > LATE_NS)
        next_try(p);
    else
        miss(p, "no answer within %d s", PROBE_TRY_MS / 1000);
}

/* --- the answer: HTTP/1.0 was asked for, so the body ends with its Content-Length or with the connection --- */

static void head_line(struct probe *p)
{
    if (p->line_length > 0 && p->line[p->line_length - 1] == '\r')
        p->line_length--;
    p->line[p->line_length] = 0;
    static const char length_name[] = "content-length:";
    if (p->status == 0) {
        if (sscanf(p->line, "HTTP/1.%*1d %3d", &p->status) != 1)
            p->status = -1;
    } else if (p->line_length == 0) {
        p->in_body = true;
    } else if (strncasecmp(p->line, length_name, sizeof length_name - 1) == 0) {
        p->body_left = strtol(p->line + sizeof length_name - 1, NULL, 10);
    }
    p->line_length = 0;
}

/* Consumes the head; returns how many bytes of `data` belong to it. */
static size_t take_head(struct probe *p, const char *data, size_t length)
{
    size_t at = 0;
    while (at < length && !p->in_body && p->status >= 0) {
        char c = data[at++];
        if (c == '\n')
            head_line(p);
        else if (p->line_length < sizeof p->line - 1)
            p->line[p->line_length++] = c;
        else if (p->line[sizeof p->line - 2] == '\r')
            p->line[sizeof p->line - 2] = ' '; /* not the end of the line after all */
    }
    return at;
}

/* A session of HiveServer2: the first bytes tell. */
static bool take_session(struct probe *p, const char *data, size_t length)
{
    size_t room = sizeof p->line - p->line_length, taken = length < room ? length : room;
    memcpy(p->line + p->line_length, data, taken);
    p->line_length += taken;
    switch (hive_read(p->line, p->line_length)) {
    case HIVE_MORE: return true;
    case HIVE_OPEN:
    case HIVE_LOGIN: return hit(p), false;
    case HIVE_FAILED: return miss(p, "it could not open a session"), false;
    case HIVE_FOREIGN: break;
    }
    return miss(p, "no answer of a HiveServer2"), false;
}

/* False: this try is over, the probe may be stopped. */
static bool take_answer(struct probe *p, const char *data, size_t length)
{
    p->taken += length;
    if (p->spec->kind == READY_HIVE)
        return take_session(p, data, length);
    size_t head = take_head(p, data, length);
    if (p->status < 0)
        return miss(p, "no HTTP answer"), false;
    if (p->status != 0 && (p->status < 200 || p->status > 299))
        return miss(p, "HTTP status %d", p->status), false;
    if (p->status != 0 && !p->needle)
        return hit(p), false;
    if (p->in_body) {
        size_t body = length - head;
        if (p->body_left >= 0 && body > (size_t)p->body_left)
            body = (size_t)p->body_left;
        if (needle_scan(p->needle, &p->matched, data + head, body))
            return hit(p), false;
        if (p->body_left >= 0 && (p->body_left -= (long)body) == 0)
            return miss(p, "the answer does not hold %s yet", p->spec->has), false;
    }
    if (p->taken >= PROBE_CEILING)
        return miss(p, "the first MiB of the answer does not hold %s", p->spec->has), false;
    return true;
}

static void readable(struct watch *w, uint32_t events)
{
    (void)events;
    struct probe *p = of_watch(w);
    char data[4096];
    for (int batch = 0; batch < 16; batch++) { /* others want their turn of the loop, too */
        ssize_t size = sys.read(w->fd, data, sizeof data);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return;
        if (size < 0)
            return miss(p, "%s", strerror(errno));
        if (size == 0)
            return p->in_body ? miss(p, "the answer does not hold %s yet", p->spec->has) : miss(p, "closed without an answer");
        if (!take_answer(p, data, (size_t)size))
            return;
    }
}

/* --- the connection --- */

/* A connect to a free port of the ephemeral range may meet itself: TCP's simultaneous open. Nobody listens there. */
static bool is_own_echo(int fd)
{
    struct sockaddr_storage ours = {0}, theirs = {0};
    socklen_t ours_size = sizeof ours, theirs_size = sizeof theirs;
    return getsockname(fd, (struct sockaddr *)&ours, &ours_size) == 0 && getpeername(fd, (struct sockaddr *)&theirs, &theirs_size) == 0 &&
           ours_size == theirs_size && memcmp(&ours, &theirs, ours_size) == 0;
}

/* -> the length of the request, -1: it does not fit */
static int write_request(const struct probe *p, char *request, size_t size)
{
    if (p->spec->kind == READY_HIVE)
        return (int)hive_request(request);
    bool v6 = strchr(host_of(p), ':') != NULL;
    int length = snprintf(request, size, "GET %s HTTP/1.0\r\nHost: %s%s%s:%d\r\nConnection: close\r\n\r\n",
                          p->spec->path ? p->spec->path : "/", v6 ? "[" : "", host_of(p), v6 ? "]" : "", p->spec->port);
    return length < (int)size ? length : -1;
}

static void ask(struct probe *p)
{
    char request[1400];
    int length = write_request(p, request, sizeof request);
    if (length < 0)
        return miss(p, "the path is too long");
    /* A fresh socket has room for all of it. */
    if (sys.write(p->io.fd, request, (size_t)length) != length)
        return miss(p, "send: %s", strerror(errno));
    p->phase = PROBE_ANSWERING;
    p->io.ready = readable;
    p->taken = p->matched = p->line_length = 0;
    p->body_left = -1;
    p->status = 0;
    p->in_body = false;
    struct err err;
    if (!watch_change(&p->io, EPOLLIN, &err))
        miss(p, "%s", err.text);
}

static void connected(struct watch *w, uint32_t events)
{
    (void)events;
    struct probe *p = of_watch(w);
    int code = 0;
    socklen_t size = sizeof code;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
        code = errno;
    if (code == 0 && is_own_echo(w->fd))
        code = ECONNREFUSED;
    if (code != 0)
        return miss(p, "%s", strerror(code));
    if (p->spec->kind == READY_TCP)
        return hit(p);
    ask(p);
}

static socklen_t address_of(const struct probe *p, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host_of(p), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)p->spec->port);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, host_of(p), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)p->spec->port);
        return sizeof *v6;
    }
    return 0;
}

static void try_now(struct timer *t)
{
    struct probe *p = of_timer(t);
    struct sockaddr_storage address;
    socklen_t size = address_of(p, &address);
    if (size == 0)
        return miss(p, "not a numeric address");
    int fd = sys.socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unasked(p, "socket: %s", strerror(errno));
    int code = sys.connect(fd, (struct sockaddr *)&address, size) < 0 ? errno : 0;
    struct err err = {0};
    if (code != 0 && code != EINPROGRESS && code != EINTR) {
        sys.close(fd);
        return is_our_want(code) ? unasked(p, "%s", strerror(code)) : miss(p, "%s", strerror(code));
    }
    if (!watch_start(&p->io, p->loop, fd, EPOLLOUT, connected, &err)) {
        sys.close(fd);
        return unasked(p, "%s", err.text);
    }
    p->phase = PROBE_CONNECTING;
    timer_start(&p->timer, p->loop, PROBE_TRY_MS, try_over);
}

void probe_start(struct probe *p, struct loop *loop, const struct ready_spec *spec, const struct needle *needle, enum probe_goal goal,
                 void (*ready)(struct probe *), void (*failing)(struct probe *, const char *why))
{
    probe_stop(p);
    p->loop = loop;
    p->spec = spec;
    p->needle = needle;
    p->goal = goal;
    p->ready = ready;
    p->failing = failing;
    p->misses = 0;
    p->prompted = false;
    p->why[0] = 0;
    p->pace_ms = FIRST_PACE_MS < spec->period_ms ? FIRST_PACE_MS : spec->period_ms;
    if (ready_connects(spec->kind))
        next_try(p);
}

void probe_stop(struct probe *p)
{
    if (!p->loop)
        return;
    hang_up(p);
    timer_stop(&p->timer);
    p->loop = NULL;
}

void probe_line(struct probe *p, const char *text, size_t length)
{
    if (!p->loop || p->goal != PROBE_READY)
        return;
    if (p->spec->kind == READY_LINE) {
        if (!p->spec->has || memmem(text, length, p->spec->has, strlen(p->spec->has)))
            hit(p);
    } else if (p->phase != PROBE_IDLE) {
        p->prompted = true;
    } else if (timer_is_started(&p->timer) && p->timer.due_ns - clock_ns() > PROBE_DEBOUNCE_MS * NS_PER_MS) {
        timer_start(&p->timer, p->loop, PROBE_DEBOUNCE_MS, try_now);
    }
}
