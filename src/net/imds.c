#include "appliance/imds.h"

#include "appliance/clock.h"
#include "credentials_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define TTL_HEADER "X-aws-ec2-metadata-token-ttl-seconds"

enum { DOUBT_MS = 60 * 1000 };

struct imds {
    struct loop *loop;
    struct imds_settings settings;
    struct imds_token token;
    struct imds_get *first, *asks_token; /* the one whose request for a token is under way */
    int64_t doubted_until_ms;            /* nobody answered lately, in all tries: until then one try must do */
    char forbidden[240];
};

static int64_t now_ms(void)
{
    return clock_boot_ns() / NS_PER_MS;
}

static struct imds_get *of_fetch(struct http_fetch *fetch)
{
    return (struct imds_get *)(void *)((char *)fetch - offsetof(struct imds_get, fetch));
}

static struct imds_get *of_timer(struct timer *timer)
{
    return (struct imds_get *)(void *)((char *)timer - offsetof(struct imds_get, timer));
}

static void turn(struct imds_get *);

static void on_timer(struct timer *timer)
{
    turn(of_timer(timer));
}

/* --- one request --- */

static enum imds_fate fate_of(const struct http_fetch *fetch)
{
    switch (fetch->failure) {
    case HTTP_OK: return IMDS_ANSWERED;
    case HTTP_REFUSED: return IMDS_NOBODY;
    case HTTP_NOT_RESOLVED:
    case HTTP_UNREACHABLE: return IMDS_UNREACHABLE;
    case HTTP_CONNECT_TIMEOUT: return IMDS_CONNECT_TIMEOUT;
    case HTTP_FIRST_BYTE_TIMEOUT: return IMDS_SILENT;
    default: return IMDS_BROKEN_OFF;
    }
}

static bool is_from_a_proxy(const struct headers *headers)
{
    const char *name, *value;
    for (size_t at = 0; headers_next(headers, &at, &name, &value);)
        if (strcasecmp(name, "Via") == 0 || strcasecmp(name, "X-Cache") == 0 || strncasecmp(name, "Proxy-", 6) == 0)
            return true;
    return false;
}

static void release_token(struct imds_get *get)
{
    struct imds *imds = get->imds;
    if (imds->asks_token != get)
        return;
    imds->asks_token = NULL;
    for (struct imds_get *g = imds->first; g; g = g->next)
        if (g->parked) {
            g->parked = false;
            timer_start(&g->timer, imds->loop, 0, on_timer);
        }
}

static void replied(struct http_fetch *fetch)
{
    struct imds_get *get = of_fetch(fetch);
    struct imds_reply reply = {.fate = fate_of(fetch), .status = fetch->status, .body = buf_bytes(&fetch->body)};
    const char *ttl = headers_find(&fetch->headers, TTL_HEADER);
    reply.token_ttl_s = ttl ? atoi(ttl) : 0;
    reply.via = is_from_a_proxy(&fetch->headers);
    imds_replied(&get->sequence, now_ms(), credentials_dice(), &reply);
    credentials_fetch_wipe(fetch);
    release_token(get);
    turn(get);
}

static bool send_request(struct imds_get *get, struct err *err)
{
    const struct imds_request *r = &get->sequence.request;
    struct headers headers;
    char ttl[16];
    headers_init(&headers, 4096);
    snprintf(ttl, sizeof ttl, "%d", r->token_ttl_s);
    bool ok = (!r->token || headers_add_text(&headers, "X-aws-ec2-metadata-token", r->token, err)) &&
              (!r->token_ttl_s || headers_add_text(&headers, TTL_HEADER, ttl, err));
    struct http_spec spec = HTTP_SPEC_DEFAULT;
    spec.method = r->method;
    spec.url = r->url;
    spec.headers = &headers;
    spec.ceiling = IMDS_TEXT_LIMIT;
    spec.connect_ms = r->connect_ms;
    spec.first_byte_ms = r->first_byte_ms;
    spec.stall_ms = r->first_byte_ms;
    spec.deadline_ms = r->connect_ms + 2 * (int64_t)r->first_byte_ms; /* a body that trickles */
    spec.no_proxy = true;
    spec.fresh = get->sequence.tries > 0;
    ok = ok && http_fetch_start(&get->fetch, get->imds->loop, &spec, replied, err);
    credentials_headers_wipe(&headers);
    return ok;
}

/* --- the sequence --- */

static void end(struct imds_get *get)
{
    struct imds_sequence *s = &get->sequence;
    get->keys = s->keys;
    s->keys = (struct credentials){0};
    get->text = s->text;
    buf_init(&s->text, 0);
    memcpy(get->role, s->role, sizeof get->role);
    bool is_silent = !get->ok && (s->err.kind == ERR_TIMEOUT || s->err.kind == ERR_REFUSED);
    get->imds->doubted_until_ms = is_silent ? now_ms() + DOUBT_MS : 0;
    if (!get->ok)
        get->err = s->err;
    get->done(get); /* may free it */
}

static void turn(struct imds_get *get)
{
    struct imds *imds = get->imds;
    if (get->forbidden[0]) {
        err_set(&get->sequence.err, ERR_MISSING, "%s", get->forbidden);
        end(get);
        return;
    }
    switch (imds_next(&get->sequence, now_ms())) {
    case IMDS_PAUSE: timer_start(&get->timer, imds->loop, get->sequence.wake_ms - now_ms(), on_timer); return;
    case IMDS_DONE: get->ok = true; /* fall through */
    case IMDS_FAILED: end(get); return;
    case IMDS_SEND: break;
    }
    if (get->sequence.request.token_ttl_s) {
        if (imds->asks_token) {
            get->parked = true;
            timer_start(&get->timer, imds->loop, get->sequence.started_ms + get->settings.budget_ms - now_ms(), on_timer);
            return;
        }
        imds->asks_token = get;
    }
    timer_stop(&get->timer);
    if (!send_request(get, &get->sequence.err)) {
        release_token(get);
        end(get);
    }
}

bool imds_get_start(struct imds_get *get, struct imds *imds, const char *path, void (*done)(struct imds_get *), struct err *err)
{
    (void)err;
    memset(get, 0, sizeof *get);
    get->done = done;
    get->imds = imds;
    get->settings = imds->settings;
    if (now_ms() < imds->doubted_until_ms)
        get->settings.tries = 1;
    snprintf(get->forbidden, sizeof get->forbidden, "%s", imds->forbidden);
    if (path)
        imds_begin_path(&get->sequence, &get->settings, &imds->token, path, now_ms());
    else
        imds_begin_credentials(&get->sequence, &get->settings, &imds->token, now_ms());
    get->next = imds->first;
    imds->first = get;
    timer_start(&get->timer, imds->loop, 0, on_timer);
    return true;
}

static void leave(struct imds_get *get)
{
    for (struct imds_get **at = &get->imds->first; *at; at = &(*at)->next)
        if (*at == get) {
            *at = get->next;
            break;
        }
    release_token(get);
    get->imds = NULL;
}

void imds_get_stop(struct imds_get *get)
{
    timer_stop(&get->timer);
    credentials_fetch_wipe(&get->fetch);
    if (get->imds)
        leave(get);
    if (get->sequence.settings)
        imds_end(&get->sequence);
    credentials_free(&get->keys);
    credentials_buf_wipe(&get->text);
}

/* --- the service --- */

struct imds *imds_open(struct loop *loop, struct err *err)
{
    struct imds *imds = calloc(1, sizeof *imds);
    if (!imds) {
        err_set(err, ERR_SYSTEM, "no memory for the metadata service");
        return NULL;
    }
    imds->loop = loop;
    snprintf(imds->forbidden, sizeof imds->forbidden, "IMDS: nobody said how it is reached");
    return imds;
}

void imds_configure(struct imds *imds, const struct imds_settings *settings, const char *forbidden)
{
    if (strcmp(imds->settings.endpoint, settings->endpoint) != 0)
        explicit_bzero(&imds->token, sizeof imds->token);
    imds->settings = *settings;
    snprintf(imds->forbidden, sizeof imds->forbidden, "%s", forbidden ? forbidden : "");
}

void imds_close(struct imds *imds)
{
    if (!imds)
        return;
    while (imds->first)
        imds_get_stop(imds->first);
    explicit_bzero(&imds->token, sizeof imds->token);
    free(imds);
}
