#include "appliance/credentials_agent.h"

#include "appliance/credentials_document.h"
#include "appliance/file.h"
#include "appliance/json.h"
#include "credentials_inner.h"

#include <stdio.h>

enum { TRIES = 4, CONNECT_MS = 2000, FIRST_BYTE_MS = 5000, DEADLINE_MS = 10000 };

static void send_request(struct timer *);

static void finish(struct credentials_agent *a)
{
    a->done(a); /* may free it */
}

static void try_again(struct credentials_agent *a)
{
    if (a->tries >= TRIES)
        finish(a);
    else
        timer_start(&a->pause, a->loop, credentials_pause_ms(a->tries, credentials_dice()), send_request);
}

/* What the agent says of a refusal, when it says so in the form that they share: {"code": "...", "message": "..."}. */
static void quote(struct bytes body, char *out, size_t size)
{
    struct json_document document;
    struct bytes code = {"", 0}, message = {"", 0};
    char word[60], sentence[120];
    out[0] = 0;
    if (!json_read(&document, body, NULL, NULL))
        return;
    json_text(json_get(document.root, "Code"), &code);
    json_text(json_get(document.root, "Message"), &message);
    if (code.length || message.length)
        snprintf(out, size, ": %s%s%s", bytes_shown(code, word, sizeof word), code.length && message.length ? ", " : "",
                 bytes_shown(message, sentence, sizeof sentence));
    json_free(&document);
}

/* True: it may pass. */
static bool refused(struct credentials_agent *a, int status, struct bytes body)
{
    char said[200];
    quote(body, said, sizeof said);
    if (status == 401 || status == 403)
        err_set(&a->err, ERR_DENIED, "%s: the token was refused (%d)%s%s", a->subject, status, said,
                a->container->token_file || a->container->token ? ""
                                                                : ": it needs AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, which is not set");
    else if (status == 429)
        err_set(&a->err, ERR_THROTTLED, "%s: too many requests (429)%s", a->subject, said);
    else if (status >= 500)
        err_set(&a->err, ERR_PROTOCOL, "%s: it answered %d%s", a->subject, status, said);
    else
        err_set(&a->err, ERR_INVALID, "%s: it answered %d%s", a->subject, status, said);
    a->err.code = status;
    return status == 429 || status >= 500;
}

static void answered(struct http_fetch *fetch)
{
    struct credentials_agent *a = (struct credentials_agent *)(void *)((char *)fetch - offsetof(struct credentials_agent, fetch));
    bool again = false;
    if (fetch->failure) {
        again = http_failure_is_transient(fetch->failure);
        err_set(&a->err, fetch->err.kind, "container credentials: %s", fetch->err.text);
    } else if (fetch->status == 200) {
        a->ok = credentials_document_read(DOCUMENT_CONTAINER, buf_bytes(&fetch->body), a->subject, &a->keys, &a->err);
        again = !a->ok && a->err.kind == ERR_PROTOCOL;
    } else {
        again = refused(a, fetch->status, buf_bytes(&fetch->body));
    }
    credentials_fetch_wipe(fetch);
    if (again)
        try_again(a);
    else
        finish(a);
}

static bool add_token(struct credentials_agent *a, struct headers *headers)
{
    const struct credentials_container *c = a->container;
    if (!c->token_file)
        return !c->token || headers_add_text(headers, "Authorization", c->token, &a->err);
    struct buf text;
    struct err fault;
    buf_init(&text, CONTAINER_TOKEN_FILE_LIMIT);
    bool ok = file_read(c->token_file, &text, &fault) && credentials_container_token(buf_bytes(&text), c->token_file, &fault) &&
              headers_add(headers, "Authorization", buf_bytes(&text), &fault);
    credentials_buf_wipe(&text);
    return ok || err_set(&a->err, fault.kind, "container credentials: %s", fault.text);
}

static void send_request(struct timer *timer)
{
    struct credentials_agent *a = (struct credentials_agent *)(void *)((char *)timer - offsetof(struct credentials_agent, pause));
    struct headers headers;
    headers_init(&headers, CONTAINER_TOKEN_FILE_LIMIT + 1024);
    struct http_spec spec = HTTP_SPEC_DEFAULT;
    spec.url = a->container->url;
    spec.headers = &headers;
    spec.ceiling = DOCUMENT_LIMIT;
    spec.connect_ms = CONNECT_MS;
    spec.first_byte_ms = FIRST_BYTE_MS;
    spec.deadline_ms = DEADLINE_MS;
    spec.ca_file = a->ca_file;
    spec.no_proxy = true;
    spec.fresh = a->tries > 0;
    bool token = headers_add_text(&headers, "Accept", "application/json", &a->err) && add_token(a, &headers);
    bool ok = token && http_fetch_start(&a->fetch, a->loop, &spec, answered, &a->err);
    credentials_headers_wipe(&headers);
    a->tries++;
    if (!token)
        try_again(a); /* whoever writes the file may be between two of them */
    else if (!ok)
        finish(a);
}

void credentials_agent_start(struct credentials_agent *a, struct loop *loop, const struct credentials_container *container,
                             const char *ca_file, void (*done)(struct credentials_agent *))
{
    memset(a, 0, sizeof *a);
    a->done = done;
    a->loop = loop;
    a->container = container;
    a->ca_file = ca_file;
    /* A path may be a secret of its own (ECS), so it is left out. */
    struct credentials_url url;
    int shown = credentials_url_cut(bytes_of(container->url), "", &url, NULL) ? (int)(url.path.data - container->url) : 0;
    snprintf(a->subject, sizeof a->subject, "container credentials%s%.*s", shown ? " of " : "", shown < 60 ? shown : 60, container->url);
    timer_start(&a->pause, loop, 0, send_request);
}

void credentials_agent_stop(struct credentials_agent *a)
{
    timer_stop(&a->pause);
    credentials_fetch_wipe(&a->fetch);
    credentials_free(&a->keys);
}
