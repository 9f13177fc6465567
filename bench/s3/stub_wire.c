/* stub_wire.c - bytes to and from a connection, plain or TLS, at the pace asked for. */
#define _GNU_SOURCE
#include "stub.h"
#include <errno.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>

#define PIECE ((uint64_t)262144)

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void pace_begin(struct wire *wire)
{
    wire->paced = 0;
    wire->pace_start = now_ns();
}

void pace(struct wire *wire, uint64_t bytes)
{
    wire->paced += bytes;
    if (!shape.rate)
        return;
    uint64_t due = wire->pace_start + (uint64_t)((double)wire->paced * 1e9 / (double)shape.rate);
    struct timespec until = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static ssize_t receive(struct wire *wire, char *into, size_t size)
{
    if (wire->tls)
        return SSL_read(wire->tls, into, (int)size);
    ssize_t got;
    do
        got = recv(wire->fd, into, size, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool fill(struct wire *wire)
{
    if (wire->kept_from) {
        memmove(wire->kept, wire->kept + wire->kept_from, wire->kept_length);
        wire->kept_from = 0;
    }
    ssize_t got = receive(wire, wire->kept + wire->kept_length, sizeof wire->kept - wire->kept_length);
    if (got <= 0)
        return false;
    wire->kept_length += (size_t)got;
    return true;
}

static void take(struct wire *wire, size_t length)
{
    wire->kept_from += length;
    wire->kept_length -= length;
    if (!wire->kept_length)
        wire->kept_from = 0;
}

bool wire_head(struct wire *wire)
{
    for (;;) {
        char *start = wire->kept + wire->kept_from;
        char *end = memmem(start, wire->kept_length, "\r\n\r\n", 4);
        if (end) {
            size_t length = (size_t)(end - start) + 2;
            if (length >= sizeof wire->head)
                return false;
            memcpy(wire->head, start, length);
            wire->head[length] = 0;
            take(wire, length + 2);
            return true;
        }
        if (wire->kept_length > sizeof wire->head || !fill(wire))
            return false;
    }
}

bool wire_line(struct wire *wire, char *line, size_t size)
{
    for (;;) {
        char *start = wire->kept + wire->kept_from;
        char *end = memchr(start, '\n', wire->kept_length);
        if (end) {
            size_t length = (size_t)(end - start);
            size_t shown = length && end[-1] == '\r' ? length - 1 : length;
            if (shown >= size)
                return false;
            memcpy(line, start, shown);
            line[shown] = 0;
            take(wire, length + 1);
            return true;
        }
        if (wire->kept_length >= size || !fill(wire))
            return false;
    }
}

bool wire_read(struct wire *wire, char *into, size_t length)
{
    size_t there = wire->kept_length < length ? wire->kept_length : length;
    memcpy(into, wire->kept + wire->kept_from, there);
    take(wire, there);
    pace(wire, there);
    while (there < length) {
        size_t piece = length - there < PIECE ? length - there : PIECE;
        ssize_t got = receive(wire, into + there, piece);
        if (got <= 0)
            return false;
        there += (size_t)got;
        pace(wire, (uint64_t)got);
    }
    return true;
}

bool wire_discard(struct wire *wire, uint64_t length)
{
    static _Thread_local char scratch[65536];
    uint64_t there = wire->kept_length < length ? wire->kept_length : length;
    take(wire, there);
    pace(wire, there);
    while (there < length) {
        uint64_t piece = length - there < PIECE ? length - there : PIECE;
        ssize_t got;
        /* With MSG_TRUNC a TCP socket drops the bytes without copying them (tcp(7)). */
        if (wire->tls)
            got = SSL_read(wire->tls, scratch, (int)(piece < sizeof scratch ? piece : sizeof scratch));
        else
            got = recv(wire->fd, NULL, piece, MSG_TRUNC);
        if (got < 0 && errno == EINTR && !wire->tls)
            continue;
        if (got <= 0)
            return false;
        there += (uint64_t)got;
        pace(wire, (uint64_t)got);
    }
    return true;
}

bool wire_send(struct wire *wire, const char *text, size_t length, bool more)
{
    while (length) {
        ssize_t sent = wire->tls ? SSL_write(wire->tls, text, (int)(length < PIECE ? length : PIECE))
                                 : send(wire->fd, text, length, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (sent < 0 && errno == EINTR && !wire->tls)
            continue;
        if (sent <= 0)
            return false;
        text += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool wire_content(struct wire *wire, uint64_t from, uint64_t length)
{
    while (length) {
        uint64_t at = from % CONTENT_PERIOD;
        uint64_t piece = CONTENT_PERIOD - at < length ? CONTENT_PERIOD - at : length;
        if (shape.rate && piece > PIECE)
            piece = PIECE;
        ssize_t sent;
        if (wire->tls) {
            sent = SSL_write(wire->tls, content_map + at, (int)(piece < PIECE ? piece : PIECE));
        } else {
            off_t offset = (off_t)at;
            sent = sendfile(wire->fd, content_fd, &offset, piece);
        }
        if (sent < 0 && errno == EINTR && !wire->tls)
            continue;
        if (sent <= 0)
            return false;
        from += (uint64_t)sent;
        length -= (uint64_t)sent;
        pace(wire, (uint64_t)sent);
    }
    return true;
}
