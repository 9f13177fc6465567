#include "sigv4_inner.h"

#include <openssl/crypto.h>
#include <stdio.h>

#define NO_DATA_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const char SIGNATURE[] = ";chunk-signature=", TRAILER_SIGNATURE[] = "x-amz-trailer-signature:";

static bool is_signed(enum sigv4_payload payload)
{
    return payload == SIGV4_PAYLOAD_CHUNKS || payload == SIGV4_PAYLOAD_CHUNKS_TRAILER;
}

/* --- how long it all gets --- */

static uint64_t hex_length(uint64_t value)
{
    uint64_t digits = 1;
    while (value >>= 4)
        digits++;
    return digits;
}

/* "1000;chunk-signature=...\r\n" and the "\r\n" behind the data */
static uint64_t frame_length(const struct sigv4_framing *f, uint64_t length)
{
    return hex_length(length) + (is_signed(f->payload) ? sizeof SIGNATURE - 1 + SIGV4_HEX_SIZE - 1 : 0) + 4;
}

uint64_t sigv4_framed_length(const struct sigv4_framing *f)
{
    if (f->chunk == 0 || f->length > UINT64_MAX / 2)
        return 0;
    uint64_t whole = f->length / f->chunk, rest = f->length % f->chunk, total, trailer = 0;
    if (__builtin_mul_overflow(whole, frame_length(f, f->chunk), &total) || __builtin_add_overflow(total, f->length, &total))
        return 0;
    if (rest)
        total += frame_length(f, rest);
    if (f->trailer_name)
        trailer = f->trailer_name + 1 + f->trailer_value + 2;
    if (f->trailer_name && is_signed(f->payload))
        trailer += sizeof TRAILER_SIGNATURE - 1 + SIGV4_HEX_SIZE - 1 + 2;
    return __builtin_add_overflow(total, frame_length(f, 0) + trailer, &total) ? 0 : total;
}

/* --- the chain of signatures --- */

bool sigv4_chunks_start(struct sigv4_chunks *chunks, struct sigv4_keys *keys, const struct sigv4_credentials *credentials,
                        const struct sigv4_scope *scope, const struct sigv4_request *request, const struct sigv4_result *seed,
                        struct err *err)
{
    *chunks = (struct sigv4_chunks){.payload = request->payload};
    if (request->payload == SIGV4_PAYLOAD_UNSIGNED_TRAILER)
        return true;
    if (!is_signed(request->payload))
        return err_set(err, ERR_INVALID, "signature: this request's body does not go out in chunks");
    memcpy(chunks->date, seed->date, sizeof chunks->date);
    memcpy(chunks->previous, seed->signature, sizeof chunks->previous);
    return sigv4_scope_text(chunks->date, scope, chunks->scope, err) &&
           sigv4_key(keys, credentials->secret_key, chunks->date, scope, chunks->key, err);
}

void sigv4_chunks_end(struct sigv4_chunks *chunks)
{
    OPENSSL_cleanse(chunks, sizeof *chunks);
}

/* Signs one link: `middle` is what stands between the signature before and the hash of `data`. */
static bool link_on(struct sigv4_chunks *chunks, const char *kind, const char *middle, struct bytes data)
{
    char text[512], hash[SIGV4_HEX_SIZE];
    unsigned char digest[SIGV4_KEY_LENGTH];
    if (!sigv4_hash(data, hash))
        return false;
    int length = snprintf(text, sizeof text, SIGV4_ALGORITHM "-%s\n%s\n%s\n%s\n%s%s", kind, chunks->date, chunks->scope, chunks->previous,
                          middle, hash);
    if (!sigv4_hmac((struct bytes){(const char *)chunks->key, sizeof chunks->key}, (struct bytes){text, (size_t)length}, digest))
        return false;
    sigv4_hex(digest, chunks->previous);
    return true;
}

bool sigv4_chunks_head(struct sigv4_chunks *chunks, struct bytes data, struct buf *out)
{
    if (!is_signed(chunks->payload))
        return buf_format(out, "%zx\r\n", data.length);
    return link_on(chunks, "PAYLOAD", NO_DATA_HASH "\n", data) && buf_format(out, "%zx%s%s\r\n", data.length, SIGNATURE, chunks->previous);
}

static bool write_trailer(struct sigv4_chunks *chunks, struct bytes name, struct bytes value, struct buf *out)
{
    size_t start = out->length;
    if (!buf_append(out, name.data, name.length) || !buf_text(out, ":") || !buf_append(out, value.data, value.length))
        return false;
    if (!is_signed(chunks->payload))
        return buf_text(out, "\r\n");
    /* What is signed ends its lines with LF, what is sent with CR LF. */
    if (!buf_text(out, "\n") || !link_on(chunks, "TRAILER", "", (struct bytes){out->data + start, out->length - start}))
        return false;
    out->length--;
    return buf_format(out, "\r\n%s%s\r\n", TRAILER_SIGNATURE, chunks->previous);
}

bool sigv4_chunks_finish(struct sigv4_chunks *chunks, struct bytes name, struct bytes value, struct buf *out)
{
    return sigv4_chunks_head(chunks, (struct bytes){"", 0}, out) && (name.length == 0 || write_trailer(chunks, name, value, out)) &&
           buf_text(out, "\r\n");
}
