#include "sigv4_inner.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

enum { SECRET_LIMIT = 1024 };

void sigv4_hex(const unsigned char digest[SIGV4_KEY_LENGTH], char hex[SIGV4_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SIGV4_KEY_LENGTH; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SIGV4_KEY_LENGTH] = 0;
}

static bool sha256(struct bytes text, unsigned char out[SIGV4_KEY_LENGTH])
{
    return EVP_Digest(text.length ? text.data : "", text.length, out, NULL, EVP_sha256(), NULL) == 1;
}

bool sigv4_hash(struct bytes body, char hex[SIGV4_HEX_SIZE])
{
    unsigned char digest[SIGV4_KEY_LENGTH];
    if (!sha256(body, digest))
        return false;
    sigv4_hex(digest, hex);
    return true;
}

bool sigv4_hmac(struct bytes key, struct bytes text, unsigned char out[SIGV4_KEY_LENGTH])
{
    return HMAC(EVP_sha256(), key.data, (int)key.length, (const unsigned char *)text.data, text.length, out, NULL) != NULL;
}

/* --- scopes --- */

static bool is_word(struct bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return text.length > 0 && text.length <= SIGV4_WORD_LIMIT;
}

bool sigv4_scope_text(const char *date, const struct sigv4_scope *scope, char out[SIGV4_SCOPE_SIZE], struct err *err)
{
    if (!is_word(scope->service))
        return err_set(err, ERR_INVALID, "signature: the name of the service is empty, too long or has letters that no service has");
    if (!is_word(scope->region))
        return err_set(err, ERR_INVALID, "signature: the region is empty, too long or has letters that no region has: set AWS_REGION");
    snprintf(out, SIGV4_SCOPE_SIZE, "%.8s/%.*s/%.*s/aws4_request", date, (int)scope->region.length, scope->region.data,
             (int)scope->service.length, scope->service.data);
    return true;
}

/* --- keys --- */

/* "AWS4" + secret, then day, region and service, each the text under the key that the one before gave. */
static bool derive(struct bytes secret, const char *day, const struct sigv4_scope *scope, unsigned char out[SIGV4_KEY_LENGTH])
{
    char first[4 + SECRET_LIMIT] = "AWS4";
    unsigned char next[SIGV4_KEY_LENGTH];
    memcpy(first + 4, secret.data, secret.length);
    const struct bytes key = {(const char *)out, SIGV4_KEY_LENGTH}, next_key = {(const char *)next, SIGV4_KEY_LENGTH};
    bool ok = sigv4_hmac((struct bytes){first, 4 + secret.length}, (struct bytes){day, AWS_DATE_DAY_LENGTH}, next) &&
              sigv4_hmac(next_key, scope->region, out) && sigv4_hmac(key, scope->service, next) &&
              sigv4_hmac(next_key, bytes_of("aws4_request"), out);
    OPENSSL_cleanse(first, sizeof first);
    OPENSSL_cleanse(next, sizeof next);
    return ok;
}

/* Lengths come first, so that no two different inputs make one text. */
static bool id_of(struct bytes secret, const char *day, const struct sigv4_scope *scope, unsigned char id[SIGV4_KEY_LENGTH])
{
    char text[32 + SECRET_LIMIT + AWS_DATE_DAY_LENGTH + 2 * SIGV4_WORD_LIMIT];
    size_t length = (size_t)snprintf(text, 32, "%zu/%zu/", secret.length, scope->region.length);
    const struct bytes parts[] = {secret, {day, AWS_DATE_DAY_LENGTH}, scope->region, scope->service};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        memcpy(text + length, parts[i].data, parts[i].length);
        length += parts[i].length;
    }
    bool ok = sha256((struct bytes){text, length}, id);
    OPENSSL_cleanse(text, sizeof text);
    return ok;
}

bool sigv4_key(struct sigv4_keys *keys, struct bytes secret, const char *day, const struct sigv4_scope *scope,
               unsigned char out[SIGV4_KEY_LENGTH], struct err *err)
{
    if (secret.length == 0 || secret.length > SECRET_LIMIT)
        return err_set(err, ERR_INVALID, "signature: the secret access key is empty or longer than %d letters", SECRET_LIMIT);
    unsigned char id[SIGV4_KEY_LENGTH];
    if (!id_of(secret, day, scope, id))
        return err_set(err, ERR_SYSTEM, "signature: libcrypto can't hash with SHA-256");
    for (unsigned i = 0; i < SIGV4_KEYS; i++)
        if (keys->entry[i].used && CRYPTO_memcmp(keys->entry[i].id, id, sizeof id) == 0) {
            memcpy(out, keys->entry[i].key, SIGV4_KEY_LENGTH);
            return true;
        }

    if (!derive(secret, day, scope, out)) {
        OPENSSL_cleanse(out, SIGV4_KEY_LENGTH);
        return err_set(err, ERR_SYSTEM, "signature: libcrypto can't do HMAC with SHA-256");
    }
    unsigned slot = keys->next++ % SIGV4_KEYS;
    memcpy(keys->entry[slot].id, id, sizeof id);
    memcpy(keys->entry[slot].key, out, SIGV4_KEY_LENGTH);
    keys->entry[slot].used = true;
    return true;
}

void sigv4_keys_clear(struct sigv4_keys *keys)
{
    OPENSSL_cleanse(keys, sizeof *keys);
}
