#include "appliance/credentials_keys.h"

#include <stdlib.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes credentials_trim(struct bytes text)
{
    while (text.length && is_blank(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length && is_blank(text.data[text.length - 1]))
        text.length--;
    return text;
}

const char *credentials_variable(char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (char *const *at = environment; at && *at; at++) {
        if (strncmp(*at, name, length) != 0 || (*at)[length] != '=')
            continue;
        const char *value = *at + length + 1;
        return credentials_trim(bytes_of(value)).length ? value : NULL;
    }
    return NULL;
}

bool credentials_header_check(struct bytes text, size_t limit, const char *what, struct err *err)
{
    if (text.length == 0)
        return err_set(err, ERR_INVALID, "%s is empty", what);
    if (text.length > limit)
        return err_set(err, ERR_INVALID, "%s has %zu bytes, more than the %zu it may have", what, text.length, limit);
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '\r' || c == '\n')
            return err_set(err, ERR_INVALID, "%s holds a line break: write it on one line, without one at its end", what);
        if (c < 0x20 || c > 0x7e)
            return err_set(err, ERR_INVALID, "%s holds the byte 0x%02x, which no header can carry", what, c);
    }
    return true;
}

static bool check(struct bytes text, size_t limit, const char *what, struct err *err)
{
    if (!credentials_header_check(text, limit, what, err))
        return false;
    if (memchr(text.data, ' ', text.length))
        return err_set(err, ERR_INVALID, "%s holds a blank: was more than it copied?", what);
    return true;
}

static bool keep(char **copy, struct bytes text, struct err *err)
{
    *copy = malloc(text.length + 1);
    if (!*copy)
        return err_set(err, ERR_SYSTEM, "no memory for credentials");
    memcpy(*copy, text.data, text.length);
    (*copy)[text.length] = 0;
    return true;
}

bool credentials_set(struct credentials *keys, struct bytes access_key_id, struct bytes secret_access_key, struct bytes session_token,
                     struct bytes account_id, int64_t expires_wall_ms, struct err *err)
{
    *keys = (struct credentials){.expires_wall_ms = expires_wall_ms};
    struct bytes id = credentials_trim(access_key_id), secret = credentials_trim(secret_access_key);
    struct bytes token = credentials_trim(session_token), account = credentials_trim(account_id);
    if (!check(id, CREDENTIALS_ID_LIMIT, "the access key ID", err) ||
        !check(secret, CREDENTIALS_SECRET_LIMIT, "the secret access key", err) ||
        (token.length && !check(token, CREDENTIALS_TOKEN_LIMIT, "the session token", err)) ||
        (account.length && !check(account, CREDENTIALS_ID_LIMIT, "the account ID", err)))
        return false;
    bool ok = keep(&keys->access_key_id, id, err) && keep(&keys->secret_access_key, secret, err) &&
              (!token.length || keep(&keys->session_token, token, err)) && (!account.length || keep(&keys->account_id, account, err));
    if (!ok)
        credentials_free(keys);
    return ok;
}

static struct bytes maybe(const char *text)
{
    return text ? bytes_of(text) : (struct bytes){"", 0};
}

bool credentials_copy(struct credentials *to, const struct credentials *from, struct err *err)
{
    return credentials_set(to, maybe(from->access_key_id), maybe(from->secret_access_key), maybe(from->session_token),
                           maybe(from->account_id), from->expires_wall_ms, err);
}

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void credentials_free(struct credentials *keys)
{
    wipe(&keys->access_key_id);
    wipe(&keys->secret_access_key);
    wipe(&keys->session_token);
    wipe(&keys->account_id);
    keys->expires_wall_ms = 0;
}
