/* How a try ended: what aws_retry.c wants to know of it, and what people are told. */
#include "aws_inner.h"
#include "appliance/clock.h"

#include <stdio.h>

const char *aws_subject(const struct aws_spec *spec, char out[AWS_SUBJECT_SIZE])
{
    char bucket[68], key[AWS_SUBJECT_SIZE];
    if (spec->subject) {
        snprintf(out, AWS_SUBJECT_SIZE, "%s", spec->subject);
    } else if (strcmp(spec->service, "s3") == 0 && spec->bucket.length) {
        /* Of a long key the end says more than the start. */
        size_t room = 42, cut = spec->key.length > room ? spec->key.length - room : 0;
        bytes_shown(spec->bucket, bucket, sizeof bucket);
        bytes_shown((struct bytes){spec->key.data + cut, spec->key.length - cut}, key, sizeof key);
        snprintf(out, AWS_SUBJECT_SIZE, "s3://%s%s%s%s", bucket, spec->key.length ? "/" : "", cut ? "..." : "", key);
    } else {
        bytes_shown(spec->path, key, sizeof key);
        snprintf(out, AWS_SUBJECT_SIZE, "%s%s%s", spec->service, spec->path.length > 1 ? " " : "", spec->path.length > 1 ? key : "");
    }
    return out;
}

static bool can_repeat(const struct aws_call *call)
{
    const struct aws_spec *spec = call->request->spec;
    if (call->sender.from.kind == HTTP_FROM_PULL && call->sender.at > 0 && !spec->body.rewind)
        return false;
    return !call->pushed || spec->again;
}

/* A server that does not know trailers may have stored the frames with the content: one that does tells the checksum it was given. */
static bool swallowed_trailer(const struct aws_call *call)
{
    return call->with_checksum && call->sender.framed && !call->finding &&
           !headers_find(&call->request->fetch.headers, aws_checksum_header(call->sender.kind));
}

static void look_inside(struct aws_call *call, struct aws_ending *e)
{
    const struct http_fetch *fetch = &call->request->fetch;
    struct aws_outcome *o = &e->outcome;
    enum aws_inside inside = aws_fault_inside(buf_bytes(&fetch->body));
    o->ok = inside == AWS_INSIDE_FINE;
    if (inside == AWS_INSIDE_NOTHING) {
        o->class = AWS_TRANSIENT;
        err_set(&e->err, ERR_PROTOCOL, "the answer ended before it said whether this succeeded");
    } else if (inside == AWS_INSIDE_FAULT) {
        aws_fault_read(&e->fault, 500, &fetch->headers, buf_bytes(&fetch->body));
        o->status = aws_fault_status(e->fault.name);
        o->class = aws_fault_class(o->status, e->fault.name);
        o->is_told = true;
    }
}

void aws_ending_read(struct aws_call *call, struct aws_ending *e)
{
    struct aws_request *request = call->request;
    const struct http_fetch *fetch = &request->fetch;
    const struct aws_spec *spec = request->spec;
    struct aws_outcome *o = &e->outcome;
    *e = (struct aws_ending){0};
    *o = (struct aws_outcome){
        .failure = fetch->failure,
        .status = fetch->status,
        .is_head = strcmp(spec->method, "HEAD") == 0,
        .of_key = aws_is_s3(spec) && spec->bucket.length && (spec->key.length || spec->query_count || strcmp(spec->method, "HEAD") != 0),
        .by_default = call->with_checksum,
        .can_repeat = can_repeat(call),
        .attempts_left = spec->flags & AWS_NO_RETRY ? 0 : call->client->settings->attempts - 1 - call->retries,
        .renewed = call->renewed,
        .clocked = call->clocked,
        .moved = call->moved,
        .found = call->found,
        .plain = call->plain,
    };
    if (fetch->failure)
        return;
    if (fetch->status / 100 == 2 || fetch->status == 304) {
        o->ok = aws_answer_fits(call, &e->err);
        if (!o->ok)
            o->class = AWS_TRANSIENT;
        else if (spec->flags & AWS_MAY_FAIL_IN_200 && fetch->status == 200)
            look_inside(call, e);
        if (o->ok && swallowed_trailer(call) && o->can_repeat && !call->plain) {
            o->ok = false;
            o->class = AWS_UNSUPPORTED;
        }
        if (o->ok || !e->fault.told)
            return;
    } else {
        aws_fault_read(&e->fault, fetch->status, &fetch->headers, buf_bytes(&fetch->body));
        o->class = aws_fault_class(fetch->status, e->fault.name);
        o->is_told = e->fault.told;
    }
    o->skew_ms = aws_skew_ms(&fetch->headers, call->signed_wall_ms);
    if (aws_is_s3(spec) && spec->bucket.length) {
        o->names_place = aws_region_elsewhere(&fetch->headers, &e->fault, request->region, e->region);
        struct aws_endpoint now = {.tls = strncmp(call->origin, "https:", 6) == 0};
        if (!o->names_place && fetch->status == 307)
            o->names_place = aws_location(&fetch->headers, &now, !call->endpoint, e->place);
    }
}

void aws_ending_describe(struct aws_call *call, const struct aws_ending *e)
{
    struct aws_request *request = call->request;
    const struct aws_outcome *o = &e->outcome;
    char subject[AWS_SUBJECT_SIZE];
    aws_subject(request->spec, subject);
    snprintf(request->request_id, sizeof request->request_id, "%s", e->fault.request_id);
    snprintf(request->name, sizeof request->name, "%s", e->fault.name);
    if (o->failure) {
        snprintf(request->name, sizeof request->name, "%s", http_failure_name(o->failure));
        err_set(&request->err, request->fetch.err.kind, "%.100s: %s", subject, request->fetch.err.text);
        request->err.code = request->fetch.err.code;
        return;
    }
    if (e->err.kind != ERR_NONE) {
        err_set(&request->err, e->err.kind, "%.100s: %s", subject, e->err.text);
        request->err.code = o->status;
        return;
    }
    /* The answer's Date is of when it was sent; until then the signature had grown old, with a large body by minutes. */
    int64_t skew_ms = o->skew_ms ? o->skew_ms - request->fetch.first_byte_ns / NS_PER_MS : 0;
    const struct aws_scene scene = {
        .subject = subject,
        .action = aws_s3_action(request->spec),
        .is_anonymous = request->spec->flags & AWS_ANONYMOUS,
        .skew_ms = skew_ms > AWS_SKEW_MS || skew_ms < -AWS_SKEW_MS ? skew_ms : 0,
        .region = request->region,
        .bucket_region = e->region,
    };
    aws_fault_describe(&e->fault, o->status, &scene, &request->err);
}
