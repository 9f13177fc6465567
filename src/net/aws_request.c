/* The life of a request, and each try of it: region, credentials, signature, off it goes. aws_follow.c says what comes after. */
#include "aws_inner.h"
#include "appliance/aws_region.h"
#include "appliance/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define DOUBT_NS (INT64_C(300) * NS_PER_S) /* not every request is to wait for a metadata service that is silent */

static const char US[] = "us-east-1"; /* where S3 tells for every bucket where it is */

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

void aws_call_end(struct aws_call *call)
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
    aws_call_end(call);
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

static void on_fetched(struct http_fetch *fetch)
{
    aws_call_judge(aws_request_of(fetch)->call);
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
    aws_call_end(call);
}

static void with_keys(struct aws_call *call, const struct credentials *keys)
{
    if (call->request->spec->presign_s > 0)
        presign(call, keys);
    else
        send(call, keys);
}

static void on_late(struct timer *timer)
{
    struct aws_call *call = OWNER(timer, struct aws_call, timer);
    struct err err;
    err_set(&err, ERR_TIMEOUT, "no credentials, or no region, came within %g s", (double)call->request->spec->deadline_ms / 1000);
    fail_early(call, &err);
}

/* For credentials or the region; those who are asked have limits of their own. */
static void wait_for_an_answer(struct aws_call *call)
{
    if (call->deadline_ns != INT64_MAX)
        timer_start_ns(&call->timer, call->client->loop, call->deadline_ns - clock_ns(), on_late);
}

static void on_keys(struct credentials_ask *ask)
{
    struct aws_call *call = OWNER(ask, struct aws_call, ask);
    timer_stop(&call->timer);
    if (!ask->ok) {
        struct err err = ask->err;
        fail_early(call, &err);
        return;
    }
    call->generation = ask->generation;
    with_keys(call, &ask->keys); /* what is signed with them is made at once, and the call may end in there */
}

void aws_call_begin(struct aws_call *call)
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
        else
            wait_for_an_answer(call);
    }
}

/* --- the region, once it is known --- */

static void on_region(struct credentials_region *ask)
{
    struct aws_call *call = OWNER(ask, struct aws_call, region_ask);
    struct aws_client *client = call->client;
    struct err err = ask->err;
    timer_stop(&call->timer);
    client->region_doubted_until_ns = *ask->region ? 0 : clock_ns() + DOUBT_NS;
    snprintf(client->region, sizeof client->region, "%s", ask->region);
    if (!*client->region && !aws_is_s3(call->request->spec)) {
        fail_early(call, &err);
        return;
    }
    snprintf(call->request->region, sizeof call->request->region, "%s", *client->region ? client->region : US);
    aws_call_begin(call);
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
    if (!region && aws_is_s3(spec) && (clock_ns() < client->region_doubted_until_ns || !client->store))
        region = US;
    snprintf(call->request->region, sizeof call->request->region, "%s", region ? region : "");
    return region || !client->store;
}

static void on_started(struct timer *timer)
{
    struct aws_call *call = OWNER(timer, struct aws_call, timer);
    if (choose_region(call)) {
        aws_call_begin(call);
    } else {
        credentials_region_start(&call->region_ask, call->client->store, on_region);
        wait_for_an_answer(call);
    }
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
