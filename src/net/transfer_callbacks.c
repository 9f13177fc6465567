/* What libcurl tells of one transfer. Its owner may give the transfer up from within each of these: then `fetch` is NULL. */
#include "appliance/clock.h"
#include "appliance/sys.h"
#include "transfer_inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static void say_address(struct http_fetch *fetch, const char *ip, int port)
{
    snprintf(fetch->address, sizeof fetch->address, strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, port);
}

static curl_socket_t on_open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    struct http_transfer *t = argument;
    if (!t->fetch)
        return CURL_SOCKET_BAD;
    char ip[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&to->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&to->addr;
    inet_ntop(to->family, to->family == AF_INET6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, ip, sizeof ip);
    say_address(t->fetch, ip, ntohs(to->family == AF_INET6 ? v6->sin6_port : v4->sin_port));
    t->stage = FETCH_CONNECTING;
    int fd = sys.socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
    t->socket_error = fd < 0 ? errno : 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* The connection is there, TLS included, and the request goes out now. Called again when a kept connection turned out to be dead. */
static int on_connected(void *argument, char *ip, char *own_ip, int port, int own_port)
{
    (void)own_ip, (void)own_port;
    struct http_transfer *t = argument;
    if (!t->fetch)
        return CURL_PREREQFUNC_ABORT;
    say_address(t->fetch, ip, port);
    t->fetch->connected_ns = clock_ns() - t->started_ns;
    transfer_enter(t, t->body.from.length != 0 ? FETCH_SENDING : FETCH_WAITING);
    return CURL_PREREQFUNC_OK;
}

static size_t on_read(char *room, size_t size, size_t count, void *argument)
{
    struct http_transfer *t = argument;
    if (!t->fetch)
        return CURL_READFUNC_ABORT;
    ssize_t got = fetch_body_read(&t->body, t->fetch, room, size * count, &t->err);
    if (!t->fetch)
        return CURL_READFUNC_ABORT;
    if (got == HTTP_PAUSE) {
        transfer_pause(t);
        return CURL_READFUNC_PAUSE;
    }
    if (got < 0) {
        t->failure = HTTP_STOPPED;
        return CURL_READFUNC_ABORT;
    }
    t->fetch->sent = t->body.at;
    if (t->stage == FETCH_SENDING && (got == 0 || t->body.at == t->body.from.length))
        transfer_enter(t, FETCH_WAITING);
    return (size_t)got;
}

static int on_seek(void *argument, curl_off_t offset, int origin)
{
    struct http_transfer *t = argument;
    if (!t->fetch || origin != SEEK_SET || offset != 0 || !fetch_body_rewind(&t->body, t->fetch))
        return CURL_SEEKFUNC_FAIL;
    if (!t->fetch)
        return CURL_SEEKFUNC_FAIL;
    t->fetch->sent = 0;
    return CURL_SEEKFUNC_OK;
}

/* One line of the head, its end included; libcurl has found it whole. */
static size_t on_header(char *line, size_t size, size_t count, void *argument)
{
    struct http_transfer *t = argument;
    if (!t->fetch)
        return 0;
    if (!fetch_head_line(&t->head, t->fetch, line, size * count)) {
        t->failure = HTTP_TOO_LARGE;
        return 0;
    }
    if (t->fetch->status >= 200 && t->stage != FETCH_RECEIVING) {
        t->fetch->first_byte_ns = clock_ns() - t->started_ns;
        transfer_enter(t, FETCH_RECEIVING);
    }
    return size * count;
}

static bool keep(struct http_transfer *t, const char *data, size_t length)
{
    struct buf *body = &t->fetch->body;
    if (buf_append(body, data, length))
        return true;
    t->failure = length > body->ceiling - body->length ? HTTP_TOO_LARGE : HTTP_FAILURE;
    snprintf(t->detail, sizeof t->detail, "no memory for the answer");
    return false;
}

static size_t on_write(char *data, size_t size, size_t count, void *argument)
{
    struct http_transfer *t = argument;
    size_t length = size * count;
    if (!t->fetch || length == 0)
        return 0;
    if (!t->push || t->fetch->status / 100 != 2) {
        if (!keep(t, data, length))
            return 0;
    } else {
        ssize_t taken = t->push(t->fetch, data, length);
        if (!t->fetch)
            return 0;
        if (taken == HTTP_PAUSE) {
            transfer_pause(t);
            return CURL_WRITEFUNC_PAUSE;
        }
        if (taken != (ssize_t)length) {
            t->failure = HTTP_STOPPED;
            return 0;
        }
    }
    t->fetch->received += (int64_t)length;
    return length;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(t->easy, option, value) == CURLE_OK)

bool transfer_callbacks(struct http_transfer *t)
{
    bool ok = true;
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->detail);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, t);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, t);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, t);
    return ok;
}
