#include "aws_inner.h"
#include "fetch_inner.h"

#include <inttypes.h>
#include <stdlib.h>

void aws_sender_init(struct aws_sender *s, struct aws_request *request)
{
    *s = (struct aws_sender){.request = request, .from = request->spec->body};
    buf_init(&s->frame, AWS_FRAME_LIMIT);
}

void aws_sender_free(struct aws_sender *s)
{
    aws_checksum_end(&s->sum);
    sigv4_chunks_end(&s->chunks);
    sigv4_chunks_end(&s->running);
    buf_free(&s->frame);
    free(s->chunk);
    s->chunk = NULL;
}

static bool begin_again(struct aws_sender *s)
{
    buf_clear(&s->frame);
    s->at = 0;
    s->frame_at = s->chunk_length = s->chunk_at = 0;
    s->done = s->begun = false;
    s->running = s->chunks;
    aws_checksum_end(&s->sum);
    return !s->framed || aws_checksum_start(&s->sum, s->kind, NULL);
}

enum aws_word aws_sender_rewind(struct aws_sender *s)
{
    if (s->from.kind == HTTP_FROM_PULL && s->at > 0) {
        struct aws_call *call = s->request->call;
        if (!s->from.rewind)
            return AWS_NO;
        aws_call_enter(call);
        bool ok = s->from.rewind(s->request);
        if (!aws_call_leave(call))
            return AWS_GONE;
        if (!ok)
            return AWS_NO;
    }
    return begin_again(s) ? AWS_YES : AWS_NO;
}

void aws_sender_plain(struct aws_sender *s)
{
    s->framed = false;
    begin_again(s);
}

bool aws_sender_framed(struct aws_sender *s, enum sigv4_payload payload, enum aws_checksum_kind kind, struct err *err)
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE] = {0};
    bool is_signed = payload != SIGV4_PAYLOAD_UNSIGNED_TRAILER;
    s->framed = true;
    s->kind = kind;
    s->framing = (struct sigv4_framing){.payload = payload,
                                        .length = (uint64_t)s->from.length,
                                        .chunk = is_signed        ? AWS_CHUNK
                                                 : s->from.length ? (uint64_t)s->from.length
                                                                  : 1};
    if (is_signed && !s->chunk && !(s->chunk = malloc(AWS_CHUNK)))
        return err_set(err, ERR_SYSTEM, "no memory for a chunk of the body");
    if (kind != AWS_CHECKSUM_NONE) {
        static const size_t lengths[AWS_CHECKSUM_KINDS] = {
            [AWS_CHECKSUM_CRC64NVME] = 8, [AWS_CHECKSUM_CRC32C] = 4, [AWS_CHECKSUM_CRC32] = 4,
            [AWS_CHECKSUM_SHA256] = 32,   [AWS_CHECKSUM_SHA1] = 20,  [AWS_CHECKSUM_MD5] = 16};
        aws_checksum_text(raw, lengths[kind], 0, s->value);
        s->framing.trailer_name = strlen(aws_checksum_header(kind));
        s->framing.trailer_value = strlen(s->value);
    }
    return begin_again(s) || err_set(err, ERR_SYSTEM, "the checksum %s can't be taken here", aws_checksum_name(kind));
}

/* --- content --- */

static ssize_t pull(struct aws_sender *s, char *room, size_t size)
{
    struct aws_call *call = s->request->call;
    aws_call_enter(call);
    ssize_t count = s->from.pull(s->request, room, size);
    if (!aws_call_leave(call)) /* and with it the sender */
        return HTTP_STOP;
    if (count == 0) {
        err_set(&s->request->fetch.err, ERR_INVALID, "the body to be sent ended after %" PRId64 " of %" PRId64 " bytes", s->at,
                s->from.length);
        return HTTP_STOP;
    }
    return count;
}

/* The next bytes of the content, of which there are some left. After HTTP_STOP the sender may be gone. */
static ssize_t take(struct aws_sender *s, char *room, size_t size)
{
    int64_t left = s->from.length - s->at;
    if ((int64_t)size > left)
        size = (size_t)left;
    ssize_t count = 0;
    switch (s->from.kind) {
    case HTTP_NO_BODY: return 0;
    case HTTP_FROM_MEMORY:
        memcpy(room, s->from.data + s->at, size);
        count = (ssize_t)size;
        break;
    case HTTP_FROM_FILE:
        count = fetch_file_read(s->from.fd, s->from.offset + s->at, s->from.offset + s->from.length, room, size, &s->request->fetch.err);
        break;
    case HTTP_FROM_PULL: count = pull(s, room, size); break;
    }
    if (count <= 0)
        return count;
    s->at += count;
    if (s->framed)
        aws_checksum_add(&s->sum, room, (size_t)count);
    return count;
}

/* --- frames --- */

static ssize_t no_room(struct aws_sender *s)
{
    err_set(&s->request->fetch.err, ERR_SYSTEM, "no memory for the framing of the body, or its hash failed");
    return HTTP_STOP;
}

static bool finish(struct aws_sender *s, bool behind_data)
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    struct bytes name = {"", 0};
    if (s->kind != AWS_CHECKSUM_NONE) {
        size_t length = aws_checksum_finish(&s->sum, raw);
        if (length == 0)
            return false;
        aws_checksum_text(raw, length, 0, s->value);
        name = bytes_of(aws_checksum_header(s->kind));
    }
    s->done = true;
    return (!behind_data || buf_text(&s->frame, "\r\n")) && sigv4_chunks_finish(&s->running, name, bytes_of(s->value), &s->frame);
}

static ssize_t send_frame(struct aws_sender *s, char *room, size_t size)
{
    size_t left = s->frame.length - s->frame_at, count = left < size ? left : size;
    memcpy(room, s->frame.data + s->frame_at, count);
    s->frame_at += count;
    if (s->frame_at == s->frame.length) {
        buf_clear(&s->frame);
        s->frame_at = 0;
    }
    return (ssize_t)count;
}

/* One chunk that holds all: its length is known, and nothing of it must be. */
static ssize_t read_unsigned(struct aws_sender *s, char *room, size_t size)
{
    if (!s->begun && s->from.length > 0) {
        s->begun = true;
        if (!sigv4_chunks_head(&s->running, (struct bytes){"", (size_t)s->from.length}, &s->frame))
            return no_room(s);
        return send_frame(s, room, size);
    }
    if (s->at < s->from.length)
        return take(s, room, size);
    return finish(s, s->begun) ? send_frame(s, room, size) : no_room(s);
}

/* A chunk is filled, signed and sent, in this order. */
static ssize_t read_signed(struct aws_sender *s, char *room, size_t size)
{
    while (!s->begun && s->chunk_length < AWS_CHUNK && s->at < s->from.length) {
        ssize_t count = take(s, s->chunk + s->chunk_length, AWS_CHUNK - s->chunk_length);
        if (count <= 0)
            return count;
        s->chunk_length += (size_t)count;
    }
    if (!s->begun && s->chunk_length == 0)
        return finish(s, false) ? send_frame(s, room, size) : no_room(s);
    if (!s->begun) {
        s->begun = true;
        if (!sigv4_chunks_head(&s->running, (struct bytes){s->chunk, s->chunk_length}, &s->frame))
            return no_room(s);
        return send_frame(s, room, size);
    }
    size_t left = s->chunk_length - s->chunk_at, count = left < size ? left : size;
    memcpy(room, s->chunk + s->chunk_at, count);
    s->chunk_at += count;
    if (s->chunk_at == s->chunk_length) {
        s->begun = false;
        s->chunk_at = s->chunk_length = 0;
        if (!buf_text(&s->frame, "\r\n"))
            return no_room(s);
    }
    return (ssize_t)count;
}

/* --- for http.h --- */

static struct aws_sender *sender_of(struct http_fetch *fetch)
{
    return &aws_request_of(fetch)->call->sender;
}

static ssize_t on_pull(struct http_fetch *fetch, char *room, size_t size)
{
    struct aws_sender *s = sender_of(fetch);
    if (!s->framed)
        return take(s, room, size);
    if (s->frame.length)
        return send_frame(s, room, size);
    if (s->done)
        return 0;
    return s->framing.payload == SIGV4_PAYLOAD_UNSIGNED_TRAILER ? read_unsigned(s, room, size) : read_signed(s, room, size);
}

static bool on_rewind(struct http_fetch *fetch)
{
    return aws_sender_rewind(sender_of(fetch)) == AWS_YES;
}

void aws_sender_body(struct aws_sender *s, struct http_body *body)
{
    if (s->framed) {
        s->running = s->chunks;
        *body = (struct http_body){
            .kind = HTTP_FROM_PULL, .length = (int64_t)sigv4_framed_length(&s->framing), .pull = on_pull, .rewind = on_rewind};
        return;
    }
    *body = (struct http_body){
        .kind = s->from.kind, .length = s->from.length, .data = s->from.data, .fd = s->from.fd, .offset = s->from.offset};
    if (body->kind == HTTP_FROM_PULL) {
        body->pull = on_pull;
        body->rewind = on_rewind;
    }
}
