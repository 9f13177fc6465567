/* What follows from the end of a try: aws_retry.c decides, this carries out. */
#include "aws_inner.h"
#include "appliance/clock.h"

#include <stdio.h>
#include <sys/random.h>

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

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
    aws_call_begin(call);
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
        aws_call_begin(call);
        return;
    }
    request->err = call->first.err;
    request->fetch.status = call->first.status;
    snprintf(request->name, sizeof request->name, "%s", call->first.name);
    snprintf(request->request_id, sizeof request->request_id, "%s", call->first.request_id);
    request->ok = false;
    aws_call_end(call);
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
    aws_call_begin(call);
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
    aws_call_end(call);
}

void aws_call_judge(struct aws_call *call)
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
        aws_call_end(call);
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
    aws_call_begin(call);
}
