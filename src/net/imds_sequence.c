#include "appliance/imds_sequence.h"

#include "appliance/credentials_document.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define ROLES_PATH "/latest/meta-data/iam/security-credentials/"

enum state { WANT_TOKEN, WANT_ROLE, WANT_DOCUMENT, WANT_PATH, DONE, FAILED };

enum { PAUSE_FROM_MS = 100, PAUSE_TO_MS = 2000 };

/* --- sentences --- */

static const char *what_of(const struct imds_sequence *s)
{
    switch (s->state) {
    case WANT_TOKEN: return "the token";
    case WANT_ROLE: return "the name of the role";
    case WANT_DOCUMENT: return "the role's credentials";
    default: return s->path;
    }
}

static void fail(struct imds_sequence *s)
{
    s->state = FAILED;
    s->err = s->last;
}

/* The present request is over for this time. Whether it is tried again is for try_again to say. */
static void because(struct imds_sequence *s, enum err_kind kind, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));

static void because(struct imds_sequence *s, enum err_kind kind, int code, const char *format, ...)
{
    char text[sizeof s->last.text];
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(text, sizeof text, "IMDS at %.60s: ", s->settings->endpoint);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    s->last = (struct err){.kind = kind, .code = code};
    memcpy(s->last.text, text, sizeof text);
}

static void silence(struct imds_sequence *s, enum imds_fate fate)
{
    switch (fate) {
    case IMDS_NOBODY:
        because(s, ERR_REFUSED, 0, "nobody listens there: is this an EC2 instance, and its metadata service switched on?");
        break;
    case IMDS_UNREACHABLE:
        because(s, ERR_REFUSED, 0,
                "no way leads there from here: is this an EC2 instance, and may this container reach link-local addresses?");
        break;
    case IMDS_CONNECT_TIMEOUT:
        because(s, ERR_TIMEOUT, 0, "no connection within %d ms: is this an EC2 instance, or does a firewall drop it?",
                s->request.connect_ms);
        break;
    case IMDS_SILENT:
        if (s->state == WANT_TOKEN)
            because(s, ERR_TIMEOUT, 0,
                    "connected, but the token reply did not come back, as with a hop limit of 1 seen from a container: set "
                    "HttpPutResponseHopLimit to 2");
        else
            because(s, ERR_TIMEOUT, 0, "connected, but %s did not come within %d ms", what_of(s), s->request.first_byte_ms);
        break;
    default: because(s, ERR_PROTOCOL, 0, "the answer with %s broke off, or was no HTTP", what_of(s)); break;
    }
}

static void proxy(struct imds_sequence *s, int status)
{
    because(s, ERR_PROTOCOL, status,
            "a proxy answered in its place (%d): take it out of the way, the address belongs into NO_PROXY and past transparent proxies",
            status);
    fail(s);
}

/* --- steps --- */

static void begin(struct imds_sequence *s, const struct imds_settings *settings, struct imds_token *token, int64_t now_ms)
{
    *s = (struct imds_sequence){.settings = settings, .token = token, .started_ms = now_ms, .wake_ms = now_ms, .state = WANT_TOKEN};
    buf_init(&s->text, IMDS_TEXT_LIMIT);
    if (settings->disabled) {
        because(s, ERR_MISSING, 0, "switched off by AWS_EC2_METADATA_DISABLED: unset it to use the instance's role");
        fail(s);
    }
}

void imds_begin_credentials(struct imds_sequence *s, const struct imds_settings *settings, struct imds_token *token, int64_t now_ms)
{
    begin(s, settings, token, now_ms);
}

void imds_begin_path(struct imds_sequence *s, const struct imds_settings *settings, struct imds_token *token, const char *path,
                     int64_t now_ms)
{
    begin(s, settings, token, now_ms);
    if (s->state == FAILED)
        return;
    if (path[0] == '/' && strlen(path) < sizeof s->path) {
        memcpy(s->path, path, strlen(path) + 1);
        return;
    }
    because(s, ERR_INVALID, 0, "a path must begin with '/' and have less than %zu letters", sizeof s->path);
    fail(s);
}

static bool has_token(const struct imds_sequence *s, int64_t now_ms)
{
    return s->token->not_known || (s->token->text[0] && now_ms < s->token->until_ms);
}

static void go_on(struct imds_sequence *s, enum state state, int64_t now_ms)
{
    s->state = state;
    s->tries = 0;
    s->wake_ms = now_ms;
    s->last = (struct err){0};
}

static int least(int64_t a, int64_t b)
{
    return (int)(a < b ? a : b);
}

static void make_request(struct imds_sequence *s, int64_t left_ms)
{
    const char *path = s->state == WANT_TOKEN ? "/latest/api/token" : s->state == WANT_PATH ? s->path : ROLES_PATH;
    struct imds_request *r = &s->request;
    snprintf(r->url, sizeof r->url, "%s%s%s", s->settings->endpoint, path, s->state == WANT_DOCUMENT ? s->role : "");
    r->method = s->state == WANT_TOKEN ? "PUT" : "GET";
    r->token = s->state == WANT_TOKEN || s->token->not_known ? NULL : s->token->text;
    r->token_ttl_s = s->state == WANT_TOKEN ? IMDS_TOKEN_TTL_S : 0;
    r->connect_ms = least(s->settings->connect_ms, left_ms);
    r->first_byte_ms = least(s->settings->first_byte_ms, left_ms);
}

enum imds_todo imds_next(struct imds_sequence *s, int64_t now_ms)
{
    if (s->state == DONE)
        return IMDS_DONE;
    if (s->state == FAILED)
        return IMDS_FAILED;
    if (now_ms < s->wake_ms)
        return IMDS_PAUSE;
    int64_t left_ms = s->started_ms + s->settings->budget_ms - now_ms;
    if (left_ms <= 0) {
        if (s->last.kind == ERR_NONE)
            because(s, ERR_TIMEOUT, 0, "%s was not there within %d s", what_of(s), s->settings->budget_ms / 1000);
        fail(s);
        return IMDS_FAILED;
    }
    if (s->state == WANT_TOKEN && has_token(s, now_ms))
        go_on(s, s->path[0] ? WANT_PATH : WANT_ROLE, now_ms);
    else if (s->state != WANT_TOKEN && !has_token(s, now_ms))
        go_on(s, WANT_TOKEN, now_ms);
    make_request(s, left_ms);
    return IMDS_SEND;
}

static void try_again(struct imds_sequence *s, int64_t now_ms, uint32_t random)
{
    if (++s->tries >= s->settings->tries) {
        fail(s);
        return;
    }
    int64_t span = PAUSE_FROM_MS;
    for (int i = 1; i < s->tries && span < PAUSE_TO_MS; i++)
        span *= 2;
    s->wake_ms = now_ms + span / 2 + (int64_t)((uint64_t)span * random >> 33);
    /* A pause beyond the budget ends in the same words, only later. */
    if (s->wake_ms >= s->started_ms + s->settings->budget_ms)
        fail(s);
}

/* Statuses that mean the same for every request. True: dealt with. */
static bool common_status(struct imds_sequence *s, int64_t now_ms, uint32_t random, const struct imds_reply *reply)
{
    int status = reply->status;
    if (status == 407 || (status != 200 && reply->via) || (status >= 300 && status < 400)) {
        proxy(s, status);
    } else if (status == 429 || status == 503) {
        because(s, ERR_THROTTLED, status, "too many requests (%d) for %s: fewer processes of this instance should ask by themselves",
                status, what_of(s));
        try_again(s, now_ms, random);
    } else if (status >= 500) {
        because(s, ERR_PROTOCOL, status, "%d instead of %s", status, what_of(s));
        try_again(s, now_ms, random);
    } else {
        return false;
    }
    return true;
}

static bool is_page(struct bytes text)
{
    text = credentials_trim(text);
    return text.length > 5 && (strncasecmp(text.data, "<html", 5) == 0 || strncasecmp(text.data, "<!doc", 5) == 0);
}

static void take_token(struct imds_sequence *s, int64_t now_ms, uint32_t random, const struct imds_reply *reply)
{
    struct err fault;
    struct bytes text = credentials_trim(reply->body);
    if (!credentials_header_check(text, IMDS_TOKEN_SIZE - 1, "the token", &fault)) {
        because(s, ERR_PROTOCOL, 200, "%s", fault.text);
        try_again(s, now_ms, random);
        return;
    }
    int ttl_s = reply->token_ttl_s > 0 && reply->token_ttl_s < IMDS_TOKEN_TTL_S ? reply->token_ttl_s : IMDS_TOKEN_TTL_S;
    memcpy(s->token->text, text.data, text.length);
    s->token->text[text.length] = 0;
    s->token->until_ms = now_ms + ((int64_t)ttl_s - (ttl_s > 60 ? 30 : ttl_s / 2)) * 1000;
    go_on(s, s->path[0] ? WANT_PATH : WANT_ROLE, now_ms);
}

static void token_replied(struct imds_sequence *s, int64_t now_ms, uint32_t random, const struct imds_reply *reply)
{
    int status = reply->status;
    if (status == 200) {
        take_token(s, now_ms, random, reply);
        return;
    }
    bool may_be_v1 = status == 403 || status == 404 || status == 405;
    if (may_be_v1 && s->settings->v1_allowed && !s->renewed) {
        s->token->not_known = true;
        go_on(s, s->path[0] ? WANT_PATH : WANT_ROLE, now_ms);
        return;
    }
    if (status == 403)
        because(
            s, ERR_DENIED, status,
            "the token request was forbidden (403): the endpoint is disabled (HttpEndpoint must be enabled), or a proxy passed the request "
            "on with X-Forwarded-For");
    else if (may_be_v1)
        because(s, ERR_DENIED, status,
                "it knows no tokens (%d), and without one nothing is asked: AWS_EC2_METADATA_V1_DISABLED=false allows that", status);
    else
        because(s, ERR_PROTOCOL, status, "the token request was answered with %d", status);
    fail(s);
}

static void take_role(struct imds_sequence *s, int64_t now_ms, uint32_t random, struct bytes body)
{
    const char *end = body.length ? memchr(body.data, '\n', body.length) : NULL;
    struct bytes name = credentials_trim((struct bytes){body.data, end ? (size_t)(end - body.data) : body.length});
    bool fine = name.length < IMDS_ROLE_SIZE;
    for (size_t i = 0; fine && i < name.length; i++)
        fine = isalnum((unsigned char)name.data[i]) || (name.data[i] && strchr("=,.@-_+", name.data[i]));
    if (name.length == 0) {
        because(s, ERR_MISSING, 200, "no role is attached to this instance: attach an instance profile");
        fail(s);
    } else if (!fine) {
        because(s, ERR_PROTOCOL, 200, "what came is not the name of a role");
        try_again(s, now_ms, random);
    } else {
        memcpy(s->role, name.data, name.length);
        s->role[name.length] = 0;
        go_on(s, WANT_DOCUMENT, now_ms);
    }
}

static void take_document(struct imds_sequence *s, int64_t now_ms, uint32_t random, struct bytes body)
{
    char source[IMDS_ROLE_SIZE + 20];
    struct err fault;
    snprintf(source, sizeof source, "role %.60s", s->role);
    if (credentials_document_read(DOCUMENT_IMDS, body, source, &s->keys, &fault)) {
        s->state = DONE;
        return;
    }
    because(s, fault.kind, 200, "%s", fault.text);
    if (fault.kind == ERR_DENIED)
        fail(s);
    else
        try_again(s, now_ms, random);
}

static void take_text(struct imds_sequence *s, struct bytes body)
{
    if (buf_append(&s->text, body.data, body.length)) {
        s->state = DONE;
        return;
    }
    because(s, ERR_PROTOCOL, 200, "%s has more than %d bytes", s->path, IMDS_TEXT_LIMIT);
    fail(s);
}

static void not_found(struct imds_sequence *s, int64_t now_ms, uint32_t random)
{
    if (s->state == WANT_PATH) {
        because(s, ERR_MISSING, 404, "there is no %.100s", s->path);
        fail(s);
    } else if (s->state == WANT_ROLE) {
        because(s, ERR_MISSING, 404, "no role is attached to this instance: attach an instance profile");
        fail(s);
    } else {
        /* The role was taken off, or replaced, between two requests: its name is asked for again, as often as anything is tried. */
        because(s, ERR_MISSING, 404, "the role %.60s has no credentials: is it still attached?", s->role);
        s->state = WANT_ROLE;
        s->tries = s->roles_lost++;
        try_again(s, now_ms, random);
    }
}

static void unauthorized(struct imds_sequence *s, int64_t now_ms)
{
    explicit_bzero(s->token, sizeof *s->token);
    if (s->renewed) {
        because(s, ERR_DENIED, 401, "a fresh token was refused, too (401): is the metadata service of another instance answering?");
        fail(s);
        return;
    }
    s->renewed = true;
    go_on(s, WANT_TOKEN, now_ms);
}

void imds_replied(struct imds_sequence *s, int64_t now_ms, uint32_t random, const struct imds_reply *reply)
{
    if (s->state == DONE || s->state == FAILED)
        return;
    if (reply->fate != IMDS_ANSWERED) {
        silence(s, reply->fate);
        try_again(s, now_ms, random);
        return;
    }
    if (common_status(s, now_ms, random, reply))
        return;
    if (reply->status == 200 && s->state != WANT_PATH && is_page(reply->body)) {
        proxy(s, 200);
        return;
    }
    if (s->state == WANT_TOKEN) {
        token_replied(s, now_ms, random, reply);
        return;
    }
    switch (reply->status) {
    case 200: break;
    case 401: unauthorized(s, now_ms); return;
    case 404: not_found(s, now_ms, random); return;
    case 403:
        because(s, ERR_DENIED, 403,
                "%s is forbidden (403): the endpoint is disabled (HttpEndpoint must be enabled), or a firewall is in between", what_of(s));
        fail(s);
        return;
    default:
        because(s, ERR_PROTOCOL, reply->status, "%d instead of %s", reply->status, what_of(s));
        fail(s);
        return;
    }
    if (s->state == WANT_ROLE)
        take_role(s, now_ms, random, reply->body);
    else if (s->state == WANT_DOCUMENT)
        take_document(s, now_ms, random, reply->body);
    else
        take_text(s, reply->body);
}

void imds_end(struct imds_sequence *s)
{
    credentials_free(&s->keys);
    if (s->text.data)
        explicit_bzero(s->text.data, s->text.capacity);
    buf_free(&s->text);
}
