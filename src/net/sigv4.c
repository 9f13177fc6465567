#include "sigv4_inner.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <strings.h>

enum { ACCESS_KEY_LIMIT = 256 };

static const char TOKEN[] = SIGV4_TOKEN;

/* --- results --- */

void sigv4_result_init(struct sigv4_result *r)
{
    *r = (struct sigv4_result){0};
    buf_init(&r->target, SIGV4_TEXT_LIMIT);
    buf_init(&r->canonical, SIGV4_TEXT_LIMIT);
    buf_init(&r->to_sign, SIGV4_TEXT_LIMIT);
}

static void wipe(struct buf *b)
{
    if (b->data)
        OPENSSL_cleanse(b->data, b->capacity);
    buf_free(b);
}

void sigv4_result_free(struct sigv4_result *r)
{
    wipe(&r->target);
    wipe(&r->canonical);
    wipe(&r->to_sign);
    OPENSSL_cleanse(r->signature, sizeof r->signature);
}

static bool too_long(struct err *err)
{
    return err_set(err, ERR_INVALID, "signature: the request's path, query and headers need more than %d KiB, or memory is short",
                   SIGV4_TEXT_LIMIT / 1024);
}

/* --- checks --- */

static bool check(const struct sigv4_making *m, struct err *err)
{
    const struct sigv4_request *r = m->request;
    for (size_t i = 0; i < r->method.length; i++)
        if (r->method.data[i] < 'A' || r->method.data[i] > 'Z')
            return err_set(err, ERR_INVALID, "signature: a method has capital letters only, such as GET");
    if (r->method.length == 0 || r->path.length == 0 || r->path.data[0] != '/')
        return err_set(err, ERR_INVALID, "signature: a request needs a method, and a path that begins with /");
    if (r->query_count > SIGV4_PAIRS_LIMIT)
        return err_set(err, ERR_INVALID, "signature: a request can't have more than %d parameters", SIGV4_PAIRS_LIMIT);
    if (r->payload == SIGV4_PAYLOAD_HASHED && strnlen(r->payload_hash, SIGV4_HEX_SIZE) != SIGV4_HEX_SIZE - 1)
        return err_set(err, ERR_INVALID, "signature: the hash of the body is not there in 64 hexadecimal digits");

    struct bytes id = m->credentials->access_key;
    for (size_t i = 0; i < id.length; i++)
        if (id.data[i] <= ' ' || id.data[i] >= 0x7f || id.data[i] == ',' || id.data[i] == '/')
            return err_set(err, ERR_INVALID, "signature: the access key id has a blank or a letter that can't be in one");
    if (id.length == 0 || id.length > ACCESS_KEY_LIMIT)
        return err_set(err, ERR_INVALID, "signature: the access key id is empty or longer than %d letters", ACCESS_KEY_LIMIT);
    return true;
}

const char *sigv4_payload_word(const struct sigv4_request *request)
{
    static const char *const words[] = {
        [SIGV4_PAYLOAD_EMPTY] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        [SIGV4_PAYLOAD_UNSIGNED] = "UNSIGNED-PAYLOAD",
        [SIGV4_PAYLOAD_UNSIGNED_TRAILER] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        [SIGV4_PAYLOAD_CHUNKS] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        [SIGV4_PAYLOAD_CHUNKS_TRAILER] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    };
    return request->payload == SIGV4_PAYLOAD_HASHED ? request->payload_hash : words[request->payload];
}

/* --- signing --- */

static bool append(struct buf *out, const struct buf *part)
{
    return buf_append(out, part->data, part->length);
}

/* canonical request -> string to sign -> signature. The headers are collected, the query is written. */
static bool sign(struct sigv4_making *m, struct sigv4_keys *keys, struct err *err)
{
    struct sigv4_result *r = m->out;
    buf_clear(&r->canonical);
    buf_clear(&r->to_sign);
    struct buf *c = &r->canonical;
    if (!buf_append(c, m->request->method.data, m->request->method.length) || !buf_text(c, "\n") ||
        !sigv4_write_path(m, m->request->path) || !buf_text(c, "\n") || !append(c, &m->query) || !buf_text(c, "\n") ||
        !sigv4_write_headers(m) || !buf_text(c, "\n") || !append(c, &m->names) || !buf_text(c, "\n") ||
        !buf_text(c, sigv4_payload_word(m->request)))
        return too_long(err);

    char hash[SIGV4_HEX_SIZE];
    unsigned char key[SIGV4_KEY_LENGTH], digest[SIGV4_KEY_LENGTH];
    if (!sigv4_hash(buf_bytes(c), hash))
        return err_set(err, ERR_SYSTEM, "signature: libcrypto can't hash with SHA-256");
    if (!buf_format(&r->to_sign, SIGV4_ALGORITHM "\n%s\n%s\n%s", r->date, m->credential_scope, hash))
        return too_long(err);
    if (!sigv4_key(keys, m->credentials->secret_key, r->date, m->scope, key, err))
        return false;
    bool ok = sigv4_hmac((struct bytes){(const char *)key, sizeof key}, buf_bytes(&r->to_sign), digest) ||
              err_set(err, ERR_SYSTEM, "signature: libcrypto can't do HMAC with SHA-256");
    OPENSSL_cleanse(key, sizeof key);
    if (ok)
        sigv4_hex(digest, r->signature);
    return ok;
}

static bool write_target(struct sigv4_making *m)
{
    struct buf *target = &m->out->target;
    buf_clear(target);
    return aws_escape(target, m->request->path, AWS_ESCAPE_PATH) &&
           (m->query.length == 0 || (buf_text(target, "?") && append(target, &m->query)));
}

static bool making_start(struct sigv4_making *m, int64_t wall_ms, struct err *err)
{
    buf_init(&m->names, SIGV4_TEXT_LIMIT);
    buf_init(&m->query, SIGV4_TEXT_LIMIT);
    buf_init(&m->scratch, SIGV4_TEXT_LIMIT);
    m->out->signature[0] = 0;
    aws_date_basic(m->out->date, wall_ms);
    return check(m, err) && sigv4_scope_text(m->out->date, m->scope, m->credential_scope, err);
}

static void making_end(struct sigv4_making *m)
{
    buf_free(&m->names);
    wipe(&m->query);
    wipe(&m->scratch);
}

/* --- by header --- */

static bool set_headers(const struct sigv4_making *m, struct headers *headers, struct err *err)
{
    headers_remove(headers, "Authorization");
    headers_remove(headers, TOKEN);
    headers_remove(headers, "X-Amz-Content-Sha256");
    struct bytes token = m->credentials->session_token;
    return headers_set(headers, "X-Amz-Date", bytes_of(m->out->date), err) &&
           (!(m->scope->rules & SIGV4_PAYLOAD_HEADER) ||
            headers_add(headers, "X-Amz-Content-Sha256", bytes_of(sigv4_payload_word(m->request)), err)) &&
           (token.length == 0 || headers_add(headers, TOKEN, token, err));
}

static bool add_authorization(struct sigv4_making *m, struct headers *headers, struct err *err)
{
    struct bytes id = m->credentials->access_key;
    buf_clear(&m->scratch);
    if (!buf_format(&m->scratch, SIGV4_ALGORITHM " Credential=%.*s/%s, SignedHeaders=%.*s, Signature=%s", (int)id.length, id.data,
                    m->credential_scope, (int)m->names.length, m->names.data, m->out->signature))
        return too_long(err);
    return headers_add(headers, "Authorization", buf_bytes(&m->scratch), err);
}

bool sigv4_sign(struct sigv4_keys *keys, const struct sigv4_credentials *credentials, const struct sigv4_scope *scope,
                const struct sigv4_request *request, int64_t wall_ms, struct headers *headers, struct sigv4_result *out, struct err *err)
{
    struct sigv4_making m = {.scope = scope, .request = request, .credentials = credentials, .out = out};
    bool ok =
        making_start(&m, wall_ms, err) && set_headers(&m, headers, err) && sigv4_collect_headers(&m, headers, err) &&
        ((sigv4_write_names(&m) && sigv4_write_query(&m, request->query, request->query_count) && write_target(&m)) || too_long(err)) &&
        sign(&m, keys, err) && add_authorization(&m, headers, err);
    making_end(&m);
    return ok;
}

/* --- by query --- */

static bool header_is(struct bytes name, const char *word)
{
    return name.length == strlen(word) && strncasecmp(name.data, word, name.length) == 0;
}

static bool check_presign(const struct sigv4_making *m, int64_t expires_s, struct err *err)
{
    if (expires_s < 1 || expires_s > SIGV4_EXPIRES_LIMIT)
        return err_set(err, ERR_INVALID, "a presigned URL is good for 1 second to 7 days (%d s)", SIGV4_EXPIRES_LIMIT);
    if ((m->scope->rules & SIGV4_PAYLOAD_HEADER) && m->request->payload != SIGV4_PAYLOAD_UNSIGNED)
        return err_set(err, ERR_INVALID, "a presigned URL of S3 leaves the body unsigned");
    static const char *const own[] = {"X-Amz-Algorithm",     "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
                                      "X-Amz-SignedHeaders", "X-Amz-Signature",  TOKEN};
    for (size_t i = 0; i < m->request->query_count; i++)
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            if (header_is(m->request->query[i].name, own[k]))
                return err_set(err, ERR_INVALID, "a presigned URL sets %s by itself: leave it out of the parameters", own[k]);
    return true;
}

/* The credential is made of what was checked, and `text` outlives the pairs. */
static bool presign_query(struct sigv4_making *m, int64_t expires_s, char *text, size_t size)
{
    struct aws_pair pairs[SIGV4_QUERY_LIMIT];
    size_t count = m->request->query_count;
    if (count)
        memcpy(pairs, m->request->query, count * sizeof *pairs);
    char expires[24];
    snprintf(expires, sizeof expires, "%lld", (long long)expires_s);
    snprintf(text, size, "%.*s/%s", (int)m->credentials->access_key.length, m->credentials->access_key.data, m->credential_scope);

    pairs[count++] = (struct aws_pair){bytes_of("X-Amz-Algorithm"), bytes_of(SIGV4_ALGORITHM)};
    pairs[count++] = (struct aws_pair){bytes_of("X-Amz-Credential"), bytes_of(text)};
    pairs[count++] = (struct aws_pair){bytes_of("X-Amz-Date"), bytes_of(m->out->date)};
    pairs[count++] = (struct aws_pair){bytes_of("X-Amz-Expires"), bytes_of(expires)};
    pairs[count++] = (struct aws_pair){bytes_of("X-Amz-SignedHeaders"), buf_bytes(&m->names)};
    if (m->credentials->session_token.length && !(m->scope->rules & SIGV4_TOKEN_UNSIGNED))
        pairs[count++] = (struct aws_pair){bytes_of(TOKEN), m->credentials->session_token};
    return sigv4_write_query(m, pairs, count);
}

static bool finish_target(struct sigv4_making *m)
{
    struct buf *target = &m->out->target;
    bool token = m->credentials->session_token.length && (m->scope->rules & SIGV4_TOKEN_UNSIGNED);
    return (!token || (buf_text(target, "&X-Amz-Security-Token=") && aws_escape(target, m->credentials->session_token, AWS_ESCAPE_ALL))) &&
           buf_text(target, "&X-Amz-Signature=") && buf_text(target, m->out->signature);
}

bool sigv4_presign(struct sigv4_keys *keys, const struct sigv4_credentials *credentials, const struct sigv4_scope *scope,
                   const struct sigv4_request *request, int64_t wall_ms, int64_t expires_s, const struct headers *headers,
                   struct sigv4_result *out, struct err *err)
{
    struct sigv4_making m = {.scope = scope, .request = request, .credentials = credentials, .out = out};
    char credential[ACCESS_KEY_LIMIT + 1 + SIGV4_SCOPE_SIZE];
    bool ok =
        making_start(&m, wall_ms, err) && check_presign(&m, expires_s, err) && sigv4_collect_headers(&m, headers, err) &&
        ((sigv4_write_names(&m) && presign_query(&m, expires_s, credential, sizeof credential) && write_target(&m)) || too_long(err)) &&
        sign(&m, keys, err) && (finish_target(&m) || too_long(err));
    making_end(&m);
    return ok;
}
