#include "appliance/clock.h"
#include "s3_get_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { WORTH_IT = 64 * 1024, FAILURES = 3, /* connections: */ FEW = 4, PLENTY_PER_MS = 150 * 1000, PACE_MS = 5, TWICE = 2 };

static bool is_lead(const struct s3_fetcher *f)
{
    return f == &f->get->lead;
}

static int64_t end_of(const struct s3_fetcher *f)
{
    const struct s3_getting *g = f->get;
    return is_lead(f) && f->end == 0 ? g->spans.lead_end : f->end;
}

static bool is_condition(const char *name)
{
    static const char *const conditions[] = {"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"};
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        if (strcasecmp(name, conditions[i]) == 0)
            return true;
    return false;
}

bool s3_getting_headers(const struct s3_getting *g, struct headers *headers, struct err *err)
{
    const char *name, *value;
    const struct headers *given = g->spec->request.headers;
    headers_free(headers);
    headers_init(headers, S3_HEADERS_CEILING);
    for (size_t at = 0; given && headers_next(given, &at, &name, &value);)
        if (!is_condition(name) && !headers_add_text(headers, name, value, err))
            return false;
    return !*g->etag || headers_add_text(headers, "If-Match", g->etag, err);
}

/* From now on it asks for a range, of exactly the object that the first answer was about. */
static bool ask_for_range(struct s3_fetcher *f, struct err *err)
{
    char range[64];
    snprintf(range, sizeof range, "bytes=%" PRId64 "-%" PRId64, f->at, end_of(f) - 1);
    f->ranged = true;
    f->looked = false;
    f->asked_at = f->at;
    f->spec.headers = &f->headers;
    f->spec.flags |= AWS_CHECKSUM_OFF; /* S3 has none for a range */
    return s3_getting_headers(f->get, &f->headers, err) && headers_set(&f->headers, "Range", bytes_of(range), err);
}

/* The first request has the caller's own headers, and the range that the caller wants. */
static bool ask_first(struct s3_fetcher *f, struct err *err)
{
    const struct s3_get_spec *spec = f->get->spec;
    if (spec->start == 0 && spec->end == 0 && spec->last == 0)
        return true;
    char range[64];
    const char *name, *value;
    if (spec->last)
        snprintf(range, sizeof range, "bytes=-%" PRId64, spec->last);
    else if (spec->end)
        snprintf(range, sizeof range, "bytes=%" PRId64 "-%" PRId64, spec->start, spec->end - 1);
    else
        snprintf(range, sizeof range, "bytes=%" PRId64 "-", spec->start);
    headers_init(&f->headers, S3_HEADERS_CEILING);
    for (size_t at = 0; spec->request.headers && headers_next(spec->request.headers, &at, &name, &value);)
        if (!headers_add_text(&f->headers, name, value, err))
            return false;
    f->spec.headers = &f->headers;
    f->spec.flags |= AWS_CHECKSUM_OFF;
    return headers_set(&f->headers, "Range", bytes_of(range), err);
}

/* --- what comes --- */

/* The answer to a request for a range must be that range; whoever sends all of it instead would be taken for it. */
static bool look_at(struct s3_fetcher *f)
{
    struct s3_getting *g = f->get;
    struct err err;
    int64_t first, size;
    f->looked = true;
    if (f->request.fetch.status == 206 && s3_content_range(headers_find(&f->request.fetch.headers, "Content-Range"), &first, &size) &&
        first == f->at && (size < 0 || g->get->size < 0 || size == g->get->size))
        return true;
    err_set(&err, ERR_PROTOCOL, "%s: the range from byte %" PRId64 " was asked for, and something else came (status %d)", g->subject, f->at,
            f->request.fetch.status);
    return s3_getting_fail(g, &err);
}

static ssize_t on_push(struct aws_request *request, const char *data, size_t length)
{
    struct s3_fetcher *f = request->spec->owner;
    struct s3_getting *g = f->get;
    if (g->failed || (!g->begun && !s3_getting_begin(g, request)) || (f->ranged && !f->looked && !look_at(f)))
        return HTTP_STOP;
    int64_t left = end_of(f) - f->at;
    size_t taken = (int64_t)length < left ? length : (size_t)left;
    if (g->to == S3_TO_DESCRIPTOR && f->at - g->start + (int64_t)taken > s3_outlet_room(&g->outlet)) {
        f->paused = true;
        return HTTP_PAUSE;
    }
    if (!s3_getting_store(g, f->at, data, taken))
        return HTTP_STOP;
    f->at += (int64_t)taken;
    /* The lead's answer goes on behind what it was left. */
    bool cut = is_lead(f) && !f->ranged && f->at == end_of(f) && f->at < g->end;
    return cut || taken < length ? HTTP_STOP : (ssize_t)length;
}

static bool on_again(struct aws_request *request)
{
    struct s3_fetcher *f = request->spec->owner;
    struct err err;
    const struct s3_getting *g = f->get;
    if (g->failed || !g->begun || f->at >= end_of(f) || end_of(f) == INT64_MAX || !s3_getting_is_pinned(g))
        return false; /* it came whole, and is refused all the same; or nobody can tell what is missing, or whether it is of the same object */
    return ask_for_range(f, &err) || s3_getting_fail(f->get, &err);
}

/* --- how it ended --- */

static bool fail_as(struct s3_fetcher *f)
{
    struct s3_getting *g = f->get;
    struct s3_get *get = g->get;
    struct err err = f->request.err;
    get->status = f->request.fetch.status;
    snprintf(get->name, sizeof get->name, "%s", f->request.name);
    snprintf(get->request_id, sizeof get->request_id, "%s", f->request.request_id);
    if (get->status == 304)
        err_set(&err, ERR_CONFLICT, "%s: not modified", g->subject);
    else if (get->status == 412 && f->ranged)
        err_set(&err, ERR_CONFLICT, "%s: it was replaced while it was fetched (its ETag is no longer %s): fetch it again", g->subject,
                g->etag);
    err.code = get->status;
    return s3_getting_fail(g, &err);
}

static bool is_worth_another(const struct s3_fetcher *f)
{
    const struct aws_request *r = &f->request;
    if (!f->get->begun || end_of(f) == INT64_MAX || !s3_getting_is_pinned(f->get))
        return false; /* the engine has tried already */
    if (r->ok)
        return true; /* it was shorter than announced */
    return r->fetch.failure ? http_failure_is_transient(r->fetch.failure) : r->fetch.status >= 500;
}

static void on_done(struct aws_request *request)
{
    struct s3_fetcher *f = request->spec->owner;
    struct s3_getting *g = f->get;
    struct err err;
    f->busy = f->paused = false;
    g->get->requests += request->attempts;
    if (g->failed)
        return;
    if (!request->ok || request->fetch.status == 304) {
        /* that of a cut is ours */
    } else if (!g->begun) { /* empty */
        if (!s3_getting_begin(g, request))
            return;
    } else if (end_of(f) == INT64_MAX) { /* its size is known now */
        g->end = g->spans.lead_end = g->spans.next = g->spans.end = f->at;
        g->get->size = g->get->size < 0 ? f->at : g->get->size;
        g->get->length = f->at - g->start;
    }
    if (g->begun && f->at >= end_of(f)) {
        aws_request_stop(&f->request);
        s3_getting_soon(g);
        return;
    }
    /* The engine has tried without success; but when it got on, it may go on. */
    f->failures = f->at - f->asked_at >= WORTH_IT ? 0 : f->failures + 1;
    if (f->failures >= (request->ok ? FAILURES : 1) || !is_worth_another(f)) {
        if (request->ok && request->fetch.status != 304) {
            err_set(&err, ERR_PROTOCOL, "%s: the answers end at byte %" PRId64 ", again and again", g->subject, f->at);
            s3_getting_fail(g, &err);
        } else {
            fail_as(f);
        }
        return;
    }
    aws_request_stop(request);
    if (!ask_for_range(f, &err) || !s3_fetcher_ask(f, &err))
        s3_getting_fail(g, &err);
}

/* --- who asks --- */

static void prepare(struct s3_getting *g, struct s3_fetcher *f)
{
    if (f->get)
        return;
    f->get = g;
    f->spec = g->spec->request;
    f->spec.service = "s3";
    f->spec.method = "GET";
    f->spec.query = g->query;
    f->spec.query_count = g->spec->version.length ? 1 : 0;
    f->spec.push = on_push;
    f->spec.again = on_again;
    f->spec.owner = f;
    if (g->spec->unchecked)
        f->spec.flags |= AWS_CHECKSUM_OFF;
}

bool s3_fetcher_ask(struct s3_fetcher *f, struct err *err)
{
    f->busy = aws_request_start(&f->request, f->get->client, &f->spec, on_done, err);
    return f->busy;
}

bool s3_getting_lead(struct s3_getting *g, struct err *err)
{
    prepare(g, &g->lead);
    g->lead.at = g->lead.asked_at = g->start;
    return ask_first(&g->lead, err) && s3_fetcher_ask(&g->lead, err);
}

static struct s3_fetcher *idle_one(struct s3_getting *g)
{
    if (!g->lead.busy)
        return &g->lead;
    for (int i = 0; i < g->open - 1; i++)
        if (!g->others[i].busy)
            return &g->others[i];
    return NULL;
}

/* S3 gives a connection some 100 MB/s. Of who gives much more, a server beside us, a few bring all that we can take, and each further one
 * only costs: its buffers push the others' out of the caches. So a few begin, and the rest come when twice in a row too little has come. */
static void on_pace(struct timer *timer)
{
    struct s3_getting *g = (struct s3_getting *)(void *)((char *)timer - offsetof(struct s3_getting, pace));
    int64_t now = clock_ns(), came = g->get->received - g->paced;
    g->slow = came < (now - g->paced_ns) / NS_PER_MS * FEW * PLENTY_PER_MS ? g->slow + 1 : 0;
    g->paced = g->get->received;
    g->paced_ns = now;
    if (g->slow < TWICE) {
        timer_start(&g->pace, g->loop, PACE_MS, on_pace);
        return;
    }
    g->open = g->count;
    s3_getting_soon(g);
}

void s3_fetchers_pace(struct s3_getting *g)
{
    g->open = g->count < FEW ? g->count : FEW;
    g->paced_ns = clock_ns();
    if (g->open < g->count)
        timer_start(&g->pace, g->loop, PACE_MS, on_pace);
}

static bool has_room(const struct s3_getting *g)
{
    return g->to != S3_TO_DESCRIPTOR || g->spans.next - g->start + g->spans.part <= s3_outlet_room(&g->outlet);
}

void s3_fetchers_more(struct s3_getting *g)
{
    struct s3_fetcher *f;
    struct s3_span span;
    struct err err;
    if (g->spans.next < g->end && g->count > 1 && !g->others)
        g->others = calloc((size_t)g->count - 1, sizeof *g->others);
    if (g->count > 1 && !g->others)
        g->count = g->open = 1;
    while (!g->failed && has_room(g) && (f = idle_one(g))) {
        int64_t lead_at = g->lead.busy && g->lead.end == 0 ? g->lead.at : g->spans.lead_end;
        if (!s3_spans_take(&g->spans, lead_at, &span))
            return;
        prepare(g, f);
        f->at = span.start;
        f->end = span.end;
        f->failures = 0;
        if (!ask_for_range(f, &err) || !s3_fetcher_ask(f, &err))
            s3_getting_fail(g, &err);
    }
}

void s3_fetchers_resume(struct s3_getting *g)
{
    for (int i = -1; i < (g->others ? g->count - 1 : 0); i++) {
        struct s3_fetcher *f = i < 0 ? &g->lead : &g->others[i];
        if (f->paused) {
            f->paused = false;
            aws_request_resume(&f->request);
        }
    }
}

bool s3_fetchers_idle(const struct s3_getting *g)
{
    bool busy = g->lead.busy;
    for (int i = 0; g->others && i < g->count - 1; i++)
        busy |= g->others[i].busy;
    return !busy;
}

static void stop(struct s3_fetcher *f)
{
    aws_request_stop(&f->request);
    headers_free(&f->headers);
    f->busy = false;
}

void s3_fetchers_stop(struct s3_getting *g)
{
    timer_stop(&g->pace);
    stop(&g->lead);
    for (int i = 0; g->others && i < g->count - 1; i++)
        stop(&g->others[i]);
    free(g->others);
    g->others = NULL;
    aws_request_stop(&g->ask_part);
    headers_free(&g->ask_part_headers);
    g->asking_part = false;
}
