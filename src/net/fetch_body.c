#include "fetch_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool length_is(const char *text, int64_t length)
{
    char *end;
    errno = 0;
    long long said = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && said == length;
}

bool fetch_body_check(const struct http_spec *spec, struct err *err)
{
    const struct http_body *body = &spec->body;
    size_t letters = strspn(spec->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (letters == 0 || letters > 20 || spec->method[letters])
        return err_set(err, ERR_INVALID, "%.40s: a method is a word of capital letters", spec->method);
    if (body->kind == HTTP_FROM_PULL ? !body->pull || body->length < -1 : body->kind != HTTP_NO_BODY && body->length < 0)
        return err_set(err, ERR_INVALID, "%s: the body has no source, or a length below zero", spec->method);
    if (body->kind == HTTP_FROM_MEMORY && body->length && !body->data)
        return err_set(err, ERR_INVALID, "%s: the body has a length, but no memory", spec->method);
    const char *said = spec->headers ? headers_find(spec->headers, "Content-Length") : NULL;
    int64_t length = body->kind == HTTP_NO_BODY ? 0 : body->length;
    if (said && !length_is(said, length))
        return err_set(err, ERR_INVALID, "%s: the header says Content-Length: %.40s, but the body has %lld bytes", spec->method, said,
                       (long long)length);
    if (body->kind != HTTP_NO_BODY && strcmp(spec->method, "HEAD") == 0)
        return err_set(err, ERR_INVALID, "HEAD: a request of this method has no body");
    return true;
}

ssize_t fetch_file_read(int fd, int64_t at, int64_t end, char *room, size_t size, struct err *err)
{
    ssize_t count;
    do
        count = pread(fd, room, size, at);
    while (count < 0 && errno == EINTR);
    if (count > 0)
        return count;
    if (count < 0)
        err_errno(err, "the file to be sent can't be read");
    else
        err_set(err, ERR_CONFLICT, "the file to be sent became shorter while it was sent: %" PRId64 " of %" PRId64 " bytes are there", at,
                end);
    return HTTP_STOP;
}

ssize_t fetch_body_read(struct fetch_body *b, struct http_fetch *fetch, char *room, size_t size, struct err *err)
{
    if (b->from.length >= 0 && (int64_t)size > b->from.length - b->at)
        size = (size_t)(b->from.length - b->at);
    if (size == 0)
        return 0;
    ssize_t count = 0;
    switch (b->from.kind) {
    case HTTP_NO_BODY: return 0;
    case HTTP_FROM_MEMORY:
        memcpy(room, b->from.data + b->at, size);
        count = (ssize_t)size;
        break;
    case HTTP_FROM_FILE:
        count = fetch_file_read(b->from.fd, b->from.offset + b->at, b->from.offset + b->from.length, room, size, err);
        break;
    case HTTP_FROM_PULL: count = b->from.pull(fetch, room, size); break;
    }
    if (count == 0 && b->from.length >= 0) {
        err_set(err, ERR_INVALID, "the body to be sent ended after %lld of %lld bytes", (long long)b->at, (long long)b->from.length);
        return HTTP_STOP;
    }
    if (count > 0)
        b->at += count;
    return count;
}

bool fetch_body_rewind(struct fetch_body *b, struct http_fetch *fetch)
{
    if (b->from.kind == HTTP_FROM_PULL && b->at > 0 && !(b->from.rewind && b->from.rewind(fetch)))
        return false;
    b->at = 0;
    return true;
}
