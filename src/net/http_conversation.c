/* http_conversation.c - what is said with one client of a server of control.h, from its first byte to its last. */
#include "appliance/clock.h"
#include "appliance/log.h"
#include "appliance/sys.h"
#include "control_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    SCRATCH = 16 * 1024, /* one read; on the stack, so an idle client owns nothing */
    ANSWER_LIMIT = 16 * 1024 * 1024,
    STREAM_LIMIT = 64 * 1024, /* buffered for a slow reader of a stream */
    LINGER_MS = 2000,
};

static void parse_input(struct control_client *);
static void limit_passed(struct timer *);

/* --- the end --- */

static void forget_arrived(struct control_client *c)
{
    for (struct control_client **at = &c->control->arrived; *at; at = &(*at)->next_arrived)
        if (*at == c) {
            *at = c->next_arrived;
            if (c->control->last_arrived == &c->next_arrived)
                c->control->last_arrived = at;
            return;
        }
}

void client_drop(struct control_client *c)
{
    struct control *control = c->control;
    if (c->state == ARRIVED)
        forget_arrived(c);
    if (c->state == STREAMING)
        control->streams--;
    if (c->state == TAKEN || c->state == STREAMING)
        control->handler.left(control->handler.argument, c);
    for (struct control_client **at = &control->clients; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    control->count--;
    int fd = c->io.fd;
    timer_stop(&c->limit);
    watch_stop(&c->io);
    sys.close(fd);
    buf_free(&c->in);
    buf_free(&c->out);
    free(c);
}

static void set_limit(struct control_client *c, int64_t ms)
{
    timer_start(&c->limit, c->control->loop, ms, limit_passed);
}

/* EPOLLHUP, which needs no asking for, tells that the peer of a unix socket has closed. EPOLLRDHUP is not asked for: there it alone
 * means "no more requests from me" (`nc -N`), and such a client still wants its answer. With TCP it is all that is heard of a client who
 * no longer wants to wait (an SDK does so after two seconds, and asks anew), so there it counts as leaving. */
static void listen_for(struct control_client *c, uint32_t events)
{
    struct err err;
    if (!watch_change(&c->io, events, &err)) {
        log_warn("%s: %s", c->control->place.name, err.text);
        c->broken = true;
        shutdown(c->io.fd, SHUT_RDWR);
    }
}

/* While its answer is being made. */
static void await_leaving(struct control_client *c)
{
    listen_for(c, c->control->place.path ? 0 : EPOLLRDHUP);
}

/* --- writing --- */

/* Writes as much as the socket takes and keeps the rest. After a failure everything is swallowed: the loop will see the hang-up. */
static void put(struct control_client *c, struct bytes head, struct bytes body, struct bytes tail)
{
    size_t sent = 0;
    if (c->broken)
        return;
    if (c->out.length == 0) {
        struct iovec parts[] = {{(void *)(uintptr_t)head.data, head.length},
                                {(void *)(uintptr_t)body.data, body.length},
                                {(void *)(uintptr_t)tail.data, tail.length}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
        ssize_t written = sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written < 0 && errno != EAGAIN && errno != EINTR) {
            c->broken = true;
            return;
        }
        sent = written > 0 ? (size_t)written : 0;
    }
    struct bytes rest[] = {head, body, tail};
    for (int i = 0; i < 3; i++) {
        size_t skipped = sent < rest[i].length ? sent : rest[i].length;
        sent -= skipped;
        if (!buf_append(&c->out, rest[i].data + skipped, rest[i].length - skipped)) {
            log_warn("%s: no memory for an answer", c->control->place.name);
            c->broken = true;
            shutdown(c->io.fd, SHUT_RDWR); /* half an answer must not look like a whole one */
            return;
        }
    }
}

/* The answer has left us. Next request, or goodbye. */
static void answered(struct control_client *c)
{
    buf_free(&c->out);
    if (!c->keep_alive) {
        c->state = LINGERING;
        buf_free(&c->in);
        shutdown(c->io.fd, SHUT_WR);
        listen_for(c, EPOLLIN);
        set_limit(c, LINGER_MS);
        return;
    }
    c->state = READING;
    c->need = 0;
    c->continued = false;
    c->idle_since = clock_ns();
    listen_for(c, EPOLLIN);
    if (c->in.length) {
        set_limit(c, CONTROL_REQUEST_MS);
        parse_input(c);
    } else {
        buf_free(&c->in);
        set_limit(c, c->control->place.idle_ms);
    }
}

/* All of the answer is given; it may not be written yet. */
static void complete(struct control_client *c)
{
    c->data = NULL;
    buf_consume(&c->in, c->used);
    c->used = 0;
    if (c->out.length == 0) {
        answered(c);
        return;
    }
    c->state = FLUSHING;
    listen_for(c, EPOLLOUT);
    set_limit(c, CONTROL_FLUSH_MS);
}

static void flush(struct control_client *c)
{
    ssize_t written = send(c->io.fd, c->out.data, c->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (written < 0) {
        client_drop(c);
        return;
    }
    buf_consume(&c->out, (size_t)written);
    if (c->state == FLUSHING) {
        if (c->out.length == 0)
            answered(c);
        else
            set_limit(c, CONTROL_FLUSH_MS);
        return;
    }
    if (c->out.length == 0) {
        buf_free(&c->out);
        await_leaving(c);
    }
    if (c->wants_room && c->out.length <= STREAM_LIMIT / 2) {
        c->wants_room = false;
        c->control->handler.room(c->control->handler.argument, c);
    }
}

/* `length` -1: a stream. */
static void put_head(struct control_client *c, const struct control_reply *reply, int64_t length, struct bytes body)
{
    char size[48] = "", allow[96] = "", head[512];
    if (length >= 0)
        snprintf(size, sizeof size, "Content-Length: %lld\r\n", (long long)length);
    if (reply->allow)
        snprintf(allow, sizeof allow, "Allow: %s\r\n", reply->allow);
    int written =
        snprintf(head, sizeof head, "HTTP/1.1 %d %s\r\nContent-Type: %.200s\r\n%s%s%s%s\r\n", reply->status,
                 http_status_name(reply->status), reply->content_type ? reply->content_type : "text/plain; charset=utf-8", size,
                 length < 0 && c->chunks ? "Transfer-Encoding: chunked\r\n" : "", allow, c->keep_alive ? "" : "Connection: close\r\n");
    put(c, (struct bytes){head, (size_t)written}, c->without_body ? (struct bytes){0} : body, (struct bytes){0});
}

static void refuse_with(struct control_client *c, struct control_reply reply, const char *why)
{
    char text[300];
    int length = snprintf(text, sizeof text, "%s\n", why);
    c->keep_alive = false;
    c->without_body = false;
    c->used = c->in.length;
    put_head(c, &reply, length, (struct bytes){text, (size_t)length});
    complete(c);
}

/* An answer to what is no request we could take: the connection ends with it. */
void client_refuse(struct control_client *c, int status, const char *why)
{
    refuse_with(c, (struct control_reply){.status = status}, why);
}

static bool only_reads(const struct control_client *c)
{
    return bytes_equal(c->request.method, bytes_of("GET")) || bytes_equal(c->request.method, bytes_of("HEAD"));
}

/* --- reading --- */

static void parse_input(struct control_client *c)
{
    struct err err = {0};
    if (c->in.length < c->need)
        return;
    enum http_parse parsed = http_parse_request(c->in.data, c->in.length, &c->request, &c->used, &err);
    if (c->control->open_to_all && parsed != HTTP_BAD && c->request.head_length > 0 && !only_reads(c)) {
        refuse_with(c, (struct control_reply){.status = 405, .allow = "GET, HEAD"}, "here one may only read: GET and HEAD");
        return;
    }
    switch (parsed) {
    case HTTP_BAD: client_refuse(c, err.code, err.text); return;
    case HTTP_MORE:
        if (c->request.head_length == 0)
            return;
        if (c->control->place.without_bodies) {
            client_refuse(c, 413, "nothing here takes a request with a body");
            return;
        }
        c->need = c->request.head_length + c->request.content_length;
        if (c->request.wants_continue && !c->continued) {
            c->continued = true;
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            /* Everything before it was written, so there is room; and a client that misses it goes on by itself (RFC 9110 10.1.1). */
            (void)!send(c->io.fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        return;
    case HTTP_DONE: break;
    }
    c->without_body = bytes_equal(c->request.method, bytes_of("HEAD"));
    c->keep_alive = c->request.keep_alive;
    c->chunks = c->request.chunks_understood;
    c->state = ARRIVED;
    timer_stop(&c->limit);
    await_leaving(c);
    c->next_arrived = NULL;
    *c->control->last_arrived = c;
    c->control->last_arrived = &c->next_arrived;
    c->control->handler.arrived(c->control->handler.argument);
}

static void read_input(struct control_client *c)
{
    char scratch[SCRATCH];
    ssize_t count = sys.read(c->io.fd, scratch, sizeof scratch);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        client_drop(c);
        return;
    }
    if (c->state == LINGERING)
        return;
    if (c->in.length == 0)
        set_limit(c, CONTROL_REQUEST_MS);
    if (buf_append(&c->in, scratch, (size_t)count))
        parse_input(c);
    else
        client_refuse(c, 503, "no memory for the request: try again");
}

static void limit_passed(struct timer *timer)
{
    struct control_client *c = OWNER(timer, struct control_client, limit);
    if (c->state == READING && c->in.length)
        client_refuse(c, 408, "the request did not come within 10 s");
    else
        client_drop(c);
}

static void client_ready(struct watch *w, uint32_t events)
{
    struct control_client *c = OWNER(w, struct control_client, io);
    if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        client_drop(c);
        return;
    }
    if (events & EPOLLOUT)
        flush(c);
    else if (events & EPOLLIN)
        read_input(c);
}

/* --- the beginning --- */

struct control_client *client_open(struct control *control, int fd)
{
    struct err err;
    struct control_client *c = calloc(1, sizeof *c);
    if (!c || !watch_start(&c->io, control->loop, fd, EPOLLIN, client_ready, &err)) {
        free(c);
        sys.close(fd);
        return NULL;
    }
    c->control = control;
    buf_init(&c->in, HTTP_HEAD_LIMIT + HTTP_BODY_LIMIT + SCRATCH);
    buf_init(&c->out, ANSWER_LIMIT);
    c->idle_since = clock_ns();
    c->next = control->clients;
    control->clients = c;
    control->count++;
    set_limit(c, CONTROL_REQUEST_MS);
    return c;
}

/* --- what the handler calls --- */

const struct http_request *control_request(const struct control_client *c)
{
    return &c->request;
}

void control_set_data(struct control_client *c, void *data)
{
    c->data = data;
}

void *control_data(const struct control_client *c)
{
    return c->data;
}

void control_answer(struct control_client *c, const struct control_reply *reply)
{
    put_head(c, reply, (int64_t)reply->body.length, reply->body);
    complete(c);
}

bool control_stream_start(struct control_client *c, int status, const char *content_type)
{
    if (c->control->streams >= CONTROL_STREAMS)
        return false;
    c->control->streams++;
    c->state = STREAMING;
    c->wants_room = false;
    if (!c->chunks)
        c->keep_alive = false; /* HTTP/1.0: the end of the connection is the end of the stream */
    struct control_reply reply = {.status = status, .content_type = content_type};
    put_head(c, &reply, -1, (struct bytes){0});
    if (c->out.length)
        listen_for(c, EPOLLOUT);
    return true;
}

bool control_stream_send(struct control_client *c, struct bytes piece)
{
    if (c->without_body || c->broken || piece.length == 0)
        return true;
    if (c->out.length + piece.length > STREAM_LIMIT) {
        c->wants_room = true;
        return false;
    }
    char size[24];
    int length = snprintf(size, sizeof size, "%zx\r\n", piece.length);
    if (c->chunks)
        put(c, (struct bytes){size, (size_t)length}, piece, bytes_of("\r\n"));
    else
        put(c, (struct bytes){0}, piece, (struct bytes){0});
    if (c->out.length)
        listen_for(c, EPOLLOUT);
    return true;
}

void control_stream_end(struct control_client *c)
{
    c->control->streams--;
    if (c->chunks && !c->without_body)
        put(c, bytes_of("0\r\n\r\n"), (struct bytes){0}, (struct bytes){0});
    complete(c);
}

void control_hang_up(struct control_client *c)
{
    if (c->state == STREAMING)
        c->control->streams--;
    c->state = LINGERING;
    c->data = NULL;
    buf_free(&c->out);
    shutdown(c->io.fd, SHUT_RDWR); /* the loop will see it and drop the client */
}
