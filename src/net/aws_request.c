/* One try after the other. Each ends in `judge`, which asks aws_retry.c what to do next. */
#include "aws_inner.h"
#include "appliance/aws_region.h"
#include "appliance/clock.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static const char US[] = "us-east-1"; /* where S3 tells for every bucket where it is */

static void begin(struct aws_call *);

/* --- life --- */

static void call_free(struct aws_call *call)
{
    timer_stop(&call->timer);
    credentials_ask_stop(&call->ask);
    credentials_region_stop(&call->region_ask);
    aws_sender_free(&call->sender);
    aws_answer_end(call);
    call->client->calls--;
    free(call);
}

void aws_call_enter(struct aws_call *call)
{
    call->inside++;
}

bool aws_call_leave(struct aws_call *call)
{
    call->inside--;
    if (call->request)
        return true;
    if (call->inside == 0)
        call_free(call);
    return false;
}

void aws_request_stop(struct aws_request *request)
{
    struct aws_call *call = request->call;
    request->call = NULL;
    http_fetch_stop(&request->fetch);
    if (!call)
        return;
    call->request = NULL;
    timer_stop(&call->timer);
    credentials_ask_stop(&call->ask);
    credentials_region_stop(&call->region_ask);
    if (call->inside == 0)
        call_free(call);
}

void aws_request_resume(struct aws_request *request)
{
    http_fetch_resume(&request->fetch);
}

/* --- the end --- */

static void end(struct aws_call *call)
{
    struct aws_request *request = call->request;
    request->call = NULL;
    call_free(call);
    request->done(request);
}

static void fail(struct aws_call *call, const struct err *err)
{
    call->request->ok = false;
    call->request->err = *err;
    end(call);
}

/* What went wrong before anything was sent: with the subject before it. */
static void fail_early(struct aws_call *call, const struct err *err)
{
    char subject[AWS_SUBJECT_SIZE];
    struct err whole;
    err_set(&whole, err->kind, "%s: %s", aws_subject(call->request->spec, subject), err->text);
    whole.code = err->code;
    fail(call, &whole);
}

/* --- what follows --- */

static uint32_t dice(void)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = (uint32_t)clock_ns();
    return random;
}

/* The body from its first byte, the receiver from where it wants. False: impossible, or the request was stopped from there; then *gone. */
static bool take_back(struct aws_call *call, bool *gone)
{
    enum aws_word word = aws_sender_rewind(&call->sender);
    *gone = word == AWS_GONE;
    if (word != AWS_YES)
        return false;
    if (!call->pushed)
        return true;
    call->pushed = false;
    aws_call_enter(call);
    bool ok = call->request->spec->again(call->request);
    *gone = !aws_call_leave(call);
    return ok && !*gone;
}

static void on_timer(struct timer *timer)
{
    struct aws_call *call = OWNER(timer, struct aws_call, timer);
    begin(call);
}

static bool wait_a_little(struct aws_call *call, const struct aws_ending *e)
{
    bool timeout = aws_retry_is_timeout(e->outcome.failure, e->fault.name);
    const struct headers *headers = e->outcome.failure ? NULL : &call->request->fetch.headers;
    int64_t delay = aws_retry_delay_ms(call->retries, e->outcome.class == AWS_THROTTLED, headers, dice());
    if (call->deadline_ns != INT64_MAX && clock_ns() + delay * NS_PER_MS >= call->deadline_ns)
        return false;
    call->taken = aws_tokens_take(&call->client->tokens, timeout);
    if (!call->taken)
        return false;
    call->retries++;
    call->fresh = e->outcome.failure != HTTP_OK;
    timer_start(&call->timer, call->client->loop, delay, on_timer);
    return true;
}

static void move(struct aws_call *call, const struct aws_ending *e)
{
    call->moved = true;
    if (*e->region) {
        snprintf(call->request->region, sizeof call->request->region, "%s", e->region);
        aws_client_found(call->client, call->request->spec->bucket, e->region);
    } else {
        snprintf(call->elsewhere, sizeof call->elsewhere, "%s", e->place);
    }
}

/* The answer to the HEAD of the bucket, whatever its status, names the region; else the first answer stands. */
static void found(struct aws_call *call, struct aws_ending *e)
{
    struct aws_request *request = call->request;
    call->finding = false;
    if (request->fetch.failure == HTTP_OK && aws_region_elsewhere(&request->fetch.headers, NULL, request->region, e->region)) {
        move(call, e);
        begin(call);
        return;
    }
    request->err = call->first.err;
    request->fetch.status = call->first.status;
    snprintf(request->name, sizeof request->name, "%s", call->first.name);
    snprintf(request->request_id, sizeof request->request_id, "%s", call->first.request_id);
    request->ok = false;
    end(call);
}

static void find(struct aws_call *call, const struct aws_ending *e)
{
    struct aws_request *request = call->request;
    call->found = call->finding = true;
    aws_ending_describe(call, e);
    call->first.status = request->fetch.status;
    call->first.err = request->err;
    snprintf(call->first.name, sizeof call->first.name, "%s", request->name);
    snprintf(call->first.request_id, sizeof call->first.request_id, "%s", request->request_id);
    begin(call);
}

static void succeed(struct aws_call *call)
{
    struct aws_request *request = call->request;
    const char *id = headers_find(&request->fetch.headers, "x-amz-request-id");
    if (call->plain && call->endpoint)
        aws_client_note_plain(call->client, call->origin);
    aws_tokens_return(&call->client->tokens, call->taken);
    snprintf(request->request_id, sizeof request->request_id, "%s", id ? id : "");
    if (request->sent_kind != AWS_CHECKSUM_NONE)
        snprintf(request->sent_checksum, sizeof request->sent_checksum, "%s",
                 request->spec->checksum_value ? request->spec->checksum_value : call->sender.value);
    *request->name = 0;
    request->err = (struct err){0};
    request->ok = true;
    end(call);
}

static void judge(struct aws_call *call)
{
    struct aws_ending e;
    struct aws_request *request = call->request;
    aws_ending_read(call, &e);
    if (call->finding) {
        found(call, &e);
        return;
    }
    enum aws_next next = aws_next(&e.outcome);
    if (next == AWS_NEXT_DONE) {
        succeed(call);
        return;
    }
    aws_ending_describe(call, &e); /* now: the answer is gone after the next try */
    bool gone = false, go_on = next != AWS_NEXT_FAIL;
    if (next == AWS_NEXT_RENEW)
        go_on = call->client->store && !request->spec->keys && !(request->spec->flags & AWS_ANONYMOUS) &&
                credentials_refused(call->client->store, request->spec->role, call->generation);
    if (go_on && !take_back(call, &gone)) {
        if (gone)
            return;
        go_on = false;
    }
    if (go_on && next == AWS_NEXT_RETRY) {
        if (wait_a_little(call, &e))
            return;
        go_on = false;
    }
    if (!go_on) {
        request->ok = false;
        end(call);
        return;
    }
    switch (next) {
    case AWS_NEXT_RENEW: call->renewed = true; break;
    case AWS_NEXT_CLOCK:
        call->clocked = true;
        call->client->skew_ms = aws_skew_ms(&request->fetch.headers, clock_wall_ms());
        break;
    case AWS_NEXT_MOVE: move(call, &e); break;
    case AWS_NEXT_FIND: find(call, &e); return;
    default: call->plain = true; break;
    }
    begin(call);
}

static void on_fetched(struct http_fetch *fetch)
{
    judge(aws_request_of(fetch)->call);
}

/* --- a try --- */

static void send(struct aws_call *call, const struct credentials *keys)
{
    struct aws_request *request = call->request;
    struct http_spec http;
    struct err err;
    http_fetch_stop(&request->fetch);
    if (!aws_make(call, keys, &http, &err)) {
        fail_early(call, &err);
        return;
    }
    if (call->deadline_ns != INT64_MAX) {
        int64_t left = (call->deadline_ns - clock_ns()) / NS_PER_MS;
        http.deadline_ms = left > 0 ? left : 1;
    }
    aws_answer_begin(call);
    request->attempts++;
    if (!http_fetch_start(&request->fetch, call->client->loop, &http, on_fetched, &err))
        fail_early(call, &err);
}

static void presign(struct aws_call *call, const struct credentials *keys)
{
    struct err err;
    buf_init(&call->request->fetch.body, HTTP_URL_LIMIT);
    if (!aws_make_presigned(call, keys, &err)) {
        fail_early(call, &err);
        return;
    }
    call->request->ok = true;
    end(call);
}

static void with_keys(struct aws_call *call, const struct credentials *keys)
{
    if (call->request->spec->presign_s > 0)
        presign(call, keys);
    else
        send(call, keys);
}

static void on_keys(struct credentials_ask *ask)
{
    struct aws_call *call = OWNER(ask, struct aws_call, ask);
    if (!ask->ok) {
        struct err err = ask->err;
        fail_early(call, &err);
        return;
    }
    call->generation = ask->generation;
    with_keys(call, &ask->keys); /* what is signed with them is made at once, and the call may end in there */
}

static void begin(struct aws_call *call)
{
    struct aws_client *client = call->client;
    const struct aws_spec *spec = call->request->spec;
    struct err err;
    if (spec->flags & AWS_ANONYMOUS) {
        send(call, NULL);
        return;
    }
    const struct credentials *keys = spec->keys;
    if (!keys && client->store)
        keys = credentials_held(client->store, spec->role, &call->generation);
    if (keys) {
        with_keys(call, keys);
    } else if (!client->store) {
        err_set(&err, ERR_DENIED, "no credentials were given, and there is nobody to ask for them");
        fail_early(call, &err);
    } else {
        credentials_ask_stop(&call->ask);
        if (!credentials_ask_start(&call->ask, client->store, spec->role, on_keys, &err))
            fail_early(call, &err);
    }
}

/* --- the region, once --- */

static void on_region(struct credentials_region *ask)
{
    struct aws_call *call = OWNER(ask, struct aws_call, region_ask);
    struct aws_client *client = call->client;
    struct err err = ask->err;
    client->region_asked = true;
    snprintf(client->region, sizeof client->region, "%s", ask->region);
    if (!*client->region && !aws_is_s3(call->request->spec)) {
        fail_early(call, &err);
        return;
    }
    snprintf(call->request->region, sizeof call->request->region, "%s", *client->region ? client->region : US);
    begin(call);
}

/* False: somebody must be asked first. */
static bool choose_region(struct aws_call *call)
{
    const struct aws_spec *spec = call->request->spec;
    const struct aws_client *client = call->client;
    const char *of_bucket = aws_is_s3(spec) ? aws_client_bucket_region(client, spec->bucket) : NULL;
    const char *region = of_bucket                   ? of_bucket
                         : spec->region              ? spec->region
                         : *client->settings->region ? client->settings->region
                         : *client->region           ? client->region
                         : call->endpoint            ? US
                                                     : NULL;
    if (!region && aws_is_s3(spec) && (client->region_asked || !client->store))
        region = US;
    snprintf(call->request->region, sizeof call->request->region, "%s", region ? region : "");
    return region || !client->store;
}

static void on_started(struct timer *timer)
{
    struct aws_call *call = OWNER(timer, struct aws_call, timer);
    if (choose_region(call))
        begin(call);
    else
        credentials_region_start(&call->region_ask, call->client->store, on_region);
}

static bool check(const struct aws_spec *spec, struct err *err)
{
    char subject[AWS_SUBJECT_SIZE];
    struct err why;
    bool ok = true;
    if (!spec->service || !spec->method)
        return err_set(err, ERR_INVALID, "a request to AWS needs a service and a method");
    if (spec->region && !aws_region_check(bytes_of(spec->region), &why))
        ok = false;
    else if (spec->region && strlen(spec->region) >= AWS_REGION_SIZE)
        ok = err_set(&why, ERR_INVALID, "the name of the region is too long");
    else if (spec->body.kind != HTTP_NO_BODY && spec->body.length < 0)
        ok = err_set(&why, ERR_INVALID, "the length of the body must be known before it is sent");
    else if (!aws_is_s3(spec) && spec->body.kind != HTTP_NO_BODY && spec->body.kind != HTTP_FROM_MEMORY)
        ok = err_set(&why, ERR_INVALID, "the body of a request to %s must be in memory, as its hash is signed", spec->service);
    else if (spec->body.kind == HTTP_FROM_PULL && !spec->body.pull)
        ok = err_set(&why, ERR_INVALID, "the body has no source");
    else if (spec->checksum_value && spec->checksum == AWS_CHECKSUM_NONE)
        ok = err_set(&why, ERR_INVALID, "a checksum was given, but not of which kind");
    return ok || err_set(err, why.kind, "%s: %s", aws_subject(spec, subject), why.text);
}

bool aws_request_start(struct aws_request *request, struct aws_client *client, const struct aws_spec *spec,
                       void (*done)(struct aws_request *), struct err *err)
{
    *request = (struct aws_request){.spec = spec, .done = done};
    headers_init(&request->fetch.headers, HTTP_HEAD_CEILING);
    if (!check(spec, err))
        return false;
    struct aws_call *call = calloc(1, sizeof *call);
    if (!call)
        return err_set(err, ERR_SYSTEM, "no memory for a request to %s", spec->service);
    call->request = request;
    call->client = client;
    client->calls++;
    const struct aws_settings_endpoint *configured = aws_settings_endpoint(client->settings, spec->service);
    call->endpoint = spec->endpoint ? spec->endpoint : configured ? &configured->endpoint : NULL;
    call->deadline_ns = spec->deadline_ms ? clock_ns() + spec->deadline_ms * NS_PER_MS : INT64_MAX;
    request->call = call;
    aws_sender_init(&call->sender, request);
    timer_start_ns(&call->timer, client->loop, 0, on_started); /* `done` never comes from within here */
    return true;
}
