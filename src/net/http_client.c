#include "appliance/http_client.h"
#include "appliance/http_unix.h"
#include "appliance/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SCRATCH = 16 * 1024 };

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void ready(struct watch *, uint32_t events);

static void close_connection(struct http_exchange *x)
{
    timer_stop(&x->limit);
    watch_stop(&x->io);
    if (x->fd >= 0)
        sys.close(x->fd);
    x->fd = -1;
    buf_free(&x->out);
    buf_free(&x->in);
}

static void fail(struct http_exchange *x)
{
    x->failed = true;
    close_connection(x);
}

static void fail_with(struct http_exchange *x, enum err_kind kind, const char *why)
{
    err_set(&x->err, kind, "%s: %s", x->subject, why);
    fail(x);
}

static void end(struct http_exchange *x)
{
    x->ended = true;
    close_connection(x);
}

/* --- the answer --- */

static void read_head(struct http_exchange *x)
{
    struct err why = {0};
    for (;;) {
        enum http_parse answer = http_parse_response(x->in.data, x->in.length, &x->response, &why);
        if (answer == HTTP_BAD)
            fail_with(x, ERR_PROTOCOL, why.text);
        if (answer != HTTP_DONE)
            return;
        buf_consume(&x->in, x->response.head_length);
        if (x->response.status >= 200)
            break; /* 1xx: the real one follows */
    }
    x->head_done = true;
    x->left = x->response.content_length;
    if (x->without_body || x->response.status == 204 || x->response.status == 304)
        x->left = 0;
    else if (x->response.chunked)
        x->left = -1;
    if (x->hold)
        timer_stop(&x->limit);
    if (x->left == 0)
        end(x);
}

/* Moves `length` bytes of `in` to the body. False: no room. */
static bool keep(struct http_exchange *x, struct bytes run, size_t spent)
{
    if (!buf_append(&x->body, run.data, run.length)) {
        fail_with(x, ERR_PROTOCOL, "the answer is longer than what was asked for may be");
        return false;
    }
    buf_consume(&x->in, spent);
    return true;
}

static size_t room(const struct http_exchange *x)
{
    return x->body.ceiling - x->body.length;
}

static void read_chunks(struct http_exchange *x)
{
    while (!x->failed && !(x->hold && room(x) == 0)) {
        size_t used, window = x->in.length;
        struct bytes run;
        struct err why = {0};
        if (x->hold && x->chunks.at == CHUNK_DATA && window > room(x))
            window = room(x);
        enum http_parse answer = http_chunks_next(&x->chunks, x->in.data, window, &used, &run, &why);
        if (answer == HTTP_BAD)
            fail_with(x, ERR_PROTOCOL, why.text);
        else if (!keep(x, run, used) || (answer == HTTP_MORE && used == 0))
            return;
        if (answer == HTTP_DONE) {
            end(x);
            return;
        }
    }
}

static void read_plain(struct http_exchange *x)
{
    size_t length = x->in.length;
    if (x->left >= 0 && length > (size_t)x->left)
        length = (size_t)x->left;
    if (x->hold && length > room(x))
        length = room(x);
    if (!keep(x, (struct bytes){x->in.data, length}, length))
        return;
    if (x->left >= 0 && (x->left -= (int64_t)length) == 0)
        end(x);
}

static void digest(struct http_exchange *x)
{
    if (!x->head_done)
        read_head(x);
    if (x->ended || x->failed || !x->head_done)
        return;
    if (x->response.chunked)
        read_chunks(x);
    else
        read_plain(x);
}

static void connection_ended(struct http_exchange *x)
{
    if (x->head_done && x->left < 0 && !x->response.chunked)
        end(x);
    else if (x->head_done)
        fail_with(x, ERR_PROTOCOL, "the connection ended in the middle of the answer");
    else
        fail_with(x, ERR_PROTOCOL, "the connection ended before an answer came");
}

/* --- the connection --- */

static void read_input(struct http_exchange *x)
{
    char scratch[SCRATCH];
    ssize_t count = sys.read(x->fd, scratch, sizeof scratch);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count < 0) {
        err_errno(&x->err, "%s", x->subject);
        fail(x);
    } else if (count == 0) {
        connection_ended(x);
    } else if (!buf_append(&x->in, scratch, (size_t)count)) {
        fail_with(x, ERR_SYSTEM, "no memory for the answer");
    } else {
        digest(x);
    }
    /* A held-up peer: even its hang-up is for later, so not watched at all until somebody consumes. */
    if (!x->ended && !x->failed && x->hold && x->head_done && room(x) == 0)
        watch_stop(&x->io);
}

static void write_output(struct http_exchange *x)
{
    ssize_t written = send(x->fd, x->out.data, x->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0 && errno != EAGAIN && errno != EINTR)
        buf_clear(&x->out); /* the peer takes no more; what it had to say before may be there to read */
    else if (written > 0)
        buf_consume(&x->out, (size_t)written);
    if (x->out.length == 0) {
        buf_free(&x->out);
        struct err err;
        if (!watch_change(&x->io, EPOLLIN, &err))
            fail_with(x, ERR_SYSTEM, err.text);
    }
}

static void ready(struct watch *w, uint32_t events)
{
    struct http_exchange *x = OWNER(w, struct http_exchange, io);
    if (x->connecting && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        x->connecting = false;
        if (error) {
            errno = error;
            err_errno(&x->err, "%s", x->subject);
            fail(x);
        }
    }
    bool was_done = x->head_done;
    size_t before = x->body.length;
    if (!x->failed && x->out.length && events & EPOLLOUT)
        write_output(x);
    if (!x->failed && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_input(x);
    if (x->failed || x->ended || x->head_done != was_done || x->body.length != before)
        x->moved(x);
}

static void limit_passed(struct timer *t)
{
    struct http_exchange *x = OWNER(t, struct http_exchange, limit);
    fail_with(x, ERR_TIMEOUT, x->connecting ? "no connection in time" : "no answer in time");
    x->moved(x);
}

static int connect_tcp(struct http_exchange *x, const struct http_call *call, struct err *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t size = sizeof address.v4;
    if (call->port < 1 || call->port > 65535) {
        err_set(err, ERR_INVALID, "%s: the port must be 1 to 65535", x->subject);
        return -1;
    }
    if (inet_pton(AF_INET, call->host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t)call->port);
    } else if (inet_pton(AF_INET6, call->host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t)call->port);
        size = sizeof address.v6;
    } else {
        err_set(err, ERR_INVALID, "%s: a numeric address is needed here, names are not looked up", x->subject);
        return -1;
    }
    int fd = sys.socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (sys.connect(fd, &address.any, size) == 0 || errno == EINPROGRESS)) {
        x->connecting = true;
        return fd;
    }
    err_errno(err, "%s", x->subject);
    if (fd >= 0)
        sys.close(fd);
    return -1;
}

static bool write_request(struct http_exchange *x, const struct http_call *call)
{
    char host[80] = "localhost", length[48] = "";
    if (!call->unix_path)
        snprintf(host, sizeof host, strchr(call->host, ':') ? "[%.60s]:%d" : "%.60s:%d", call->host, call->port);
    if (call->body.length || strcmp(call->method, "POST") == 0)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", call->body.length);
    return buf_format(&x->out, "%s %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", call->method, call->path, host, length) &&
           buf_append(&x->out, call->body.data, call->body.length);
}

static bool is_one_word(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

bool http_exchange_start(struct http_exchange *x, struct loop *loop, const struct http_call *call, void (*moved)(struct http_exchange *),
                         struct err *err)
{
    *x = (struct http_exchange){.loop = loop, .fd = -1, .started = true, .hold = call->hold, .moved = moved};
    buf_init(&x->out, HTTP_HEAD_LIMIT + HTTP_BODY_LIMIT);
    buf_init(&x->in, HTTP_HEAD_LIMIT + 2 * SCRATCH + (call->hold ? 0 : call->ceiling));
    buf_init(&x->body, call->ceiling);
    x->without_body = strcmp(call->method, "HEAD") == 0;
    if (call->unix_path)
        snprintf(x->subject, sizeof x->subject, "%s", call->unix_path);
    else
        snprintf(x->subject, sizeof x->subject, strchr(call->host, ':') ? "http://[%.50s]:%d%s" : "http://%.50s:%d%s", call->host,
                 call->port, call->path);

    bool ok = true;
    if (call->path[0] != '/' || !is_one_word(call->path) || !is_one_word(call->method) || !*call->method)
        ok = err_set(err, ERR_INVALID, "%s: the path must begin with / and hold no blanks: escape them", x->subject);
    else if (!write_request(x, call))
        ok = err_set(err, ERR_INVALID, "%s: the request is longer than 1 MiB", x->subject);
    if (ok) {
        x->fd = call->unix_path ? http_connect_unix(call->unix_path, err) : connect_tcp(x, call, err);
        ok = x->fd >= 0 && watch_start(&x->io, loop, x->fd, EPOLLIN | EPOLLOUT, ready, err);
    }
    if (ok)
        timer_start(&x->limit, loop, call->timeout_ms, limit_passed);
    else
        http_exchange_stop(x);
    return ok;
}

void http_exchange_stop(struct http_exchange *x)
{
    if (!x->started)
        return;
    x->started = false;
    close_connection(x);
    buf_free(&x->body);
}

void http_exchange_consume(struct http_exchange *x, size_t length)
{
    buf_consume(&x->body, length);
    if (x->body.length == 0)
        buf_free(&x->body);
    if (x->ended || x->failed || !x->started || watch_is_started(&x->io))
        return;
    digest(x); /* what was read already */
    if (x->ended || x->failed || room(x) == 0)
        return;
    struct err err;
    if (!watch_start(&x->io, x->loop, x->fd, EPOLLIN, ready, &err))
        fail_with(x, ERR_SYSTEM, err.text);
}
