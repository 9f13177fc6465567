#include "s3_put_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* --- a spec with copies of its own --- */

static const char *keep(struct buf *texts, const char *text)
{
    if (!text)
        return NULL;
    const char *copy = texts->data + texts->length;
    buf_append(texts, text, strlen(text) + 1); /* the room is there: nothing moves */
    return copy;
}

static struct bytes keep_bytes(struct buf *texts, struct bytes from)
{
    struct bytes copy = {texts->data + texts->length, from.length};
    buf_append(texts, from.data, from.length);
    return copy;
}

static size_t length_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

bool s3_own_spec_copy(struct s3_own_spec *own, const struct aws_spec *from, struct err *err)
{
    size_t length = length_of(from->region) + length_of(from->role) + length_of(from->ca_file) + length_of(from->subject) +
                    from->bucket.length + from->key.length +
                    (from->endpoint ? from->endpoint->host.length + from->endpoint->prefix.length : 0) + 1;
    buf_init(&own->texts, length);
    if (!buf_reserve(&own->texts, length) || (from->keys && !credentials_copy(&own->keys, from->keys, NULL)))
        return err_set(err, ERR_SYSTEM, "no memory for an upload");
    own->spec = *from;
    own->spec.service = "s3";
    own->spec.region = keep(&own->texts, from->region);
    own->spec.role = keep(&own->texts, from->role);
    own->spec.ca_file = keep(&own->texts, from->ca_file);
    own->spec.subject = keep(&own->texts, from->subject);
    own->spec.bucket = keep_bytes(&own->texts, from->bucket);
    own->spec.key = keep_bytes(&own->texts, from->key);
    if (from->keys)
        own->spec.keys = &own->keys;
    if (from->endpoint) {
        own->endpoint = *from->endpoint;
        own->endpoint.host = keep_bytes(&own->texts, from->endpoint->host);
        own->endpoint.prefix = keep_bytes(&own->texts, from->endpoint->prefix);
        own->spec.endpoint = &own->endpoint;
    }
    own->spec.push = NULL;
    own->spec.again = NULL;
    own->spec.body = (struct aws_body){0};
    own->spec.checksum = AWS_CHECKSUM_NONE;
    own->spec.checksum_value = NULL;
    own->spec.deadline_ms = 0;
    return true;
}

void s3_own_spec_free(struct s3_own_spec *own)
{
    buf_free(&own->texts);
    credentials_free(&own->keys);
}

/* --- requests about the whole upload --- */

/* pairs: of p->query */
static bool ask(struct s3_putting *p, const char *method, size_t pairs, void (*done)(struct aws_request *), struct err *err)
{
    aws_request_stop(&p->control);
    p->own.spec.method = method;
    p->own.spec.headers = &p->object_headers;
    p->own.spec.query = p->query;
    p->own.spec.query_count = pairs;
    p->own.spec.owner = p;
    return aws_request_start(&p->control, p->client, &p->own.spec, done, err);
}

static void about_this_upload(struct s3_putting *p)
{
    p->query[0] = (struct aws_pair){bytes_of("uploadId"), bytes_of(p->upload_id)};
}

static bool can_join(enum aws_checksum_kind kind)
{
    return kind == AWS_CHECKSUM_CRC64NVME || kind == AWS_CHECKSUM_CRC32C || kind == AWS_CHECKSUM_CRC32;
}

static void on_created(struct aws_request *request)
{
    struct s3_putting *p = request->spec->owner;
    struct err err, why;
    bool ok = request->ok;
    if (p->put)
        p->put->requests += request->attempts;
    if (!ok && p->put)
        s3_putting_fail_as(p, request);
    if (ok && (!s3_put_xml_text(buf_bytes(&request->fetch.body), "UploadId", p->upload_id, sizeof p->upload_id, &why) || !*p->upload_id)) {
        ok = false;
        err_set(&err, ERR_PROTOCOL, "%s: the upload was begun, but the answer does not say which one it is", p->subject);
        if (p->put)
            s3_putting_fail(p, &err);
    }
    if (!p->put) { /* its owner is gone, and it must go, too */
        if (ok)
            s3_put_abort(p);
        else
            s3_putting_end(p);
        return;
    }
    p->state = ok ? S3_PUT_PARTS : S3_PUT_ENDED;
    s3_putting_soon(p);
}

void s3_put_create(struct s3_putting *p)
{
    struct err err;
    p->state = S3_PUT_CREATING;
    p->query[0] = (struct aws_pair){bytes_of("uploads"), {"", 0}};
    bool ok = s3_put_headers(&p->object_headers, p->spec->request.headers, S3_FOR_CREATE, &err);
    if (ok && p->kind != AWS_CHECKSUM_NONE)
        ok = headers_set(&p->object_headers, "x-amz-checksum-algorithm", bytes_of(aws_checksum_name(p->kind)), &err) &&
             headers_set(&p->object_headers, "x-amz-checksum-type", bytes_of(can_join(p->kind) ? "FULL_OBJECT" : "COMPOSITE"), &err);
    if (ok && ask(p, "POST", 1, on_created, &err))
        return;
    p->state = S3_PUT_ENDED;
    s3_putting_fail(p, &err);
}

/* --- complete --- */

static void on_looked(struct aws_request *request)
{
    struct s3_putting *p = request->spec->owner;
    const char *etag = headers_find(&request->fetch.headers, "ETag");
    const char *length = headers_find(&request->fetch.headers, "Content-Length");
    char parts[16];
    struct err err;
    p->put->requests += request->attempts;
    snprintf(parts, sizeof parts, "-%d\"", p->parts);
    bool ours = request->ok && etag && length && strtoll(length, NULL, 10) == p->length && strstr(etag, parts);
    if (ours) {
        s3_put_take_answer(p, request);
        p->state = S3_PUT_ENDED;
        s3_putting_soon(p);
        return;
    }
    err_set(&err, ERR_MISSING,
            "%s: S3 does not know the upload any more (404 NoSuchUpload): somebody aborted it, or a rule of the bucket did", p->subject);
    s3_putting_fail(p, &err);
}

/* The answer to a completion was lost, and its repetition says that there is no such upload. Then the object may be there. */
static bool look(struct s3_putting *p)
{
    struct err err;
    p->state = S3_PUT_LOOKING;
    p->own.spec.flags &= ~(unsigned)AWS_MAY_FAIL_IN_200;
    p->own.spec.body = (struct aws_body){0};
    if (!s3_put_headers(&p->object_headers, p->spec->request.headers, S3_FOR_PART, &err) || !ask(p, "HEAD", 0, on_looked, &err))
        return s3_putting_fail(p, &err);
    return true;
}

static bool refuses_the_checksum(const struct s3_putting *p, const struct aws_request *request)
{
    static const char *const names[] = {"InvalidRequest", "InvalidArgument", "NotImplemented", "InvalidHeader", "UnsupportedArgument"};
    bool sent = headers_find(&p->object_headers, "x-amz-checksum-type") != NULL;
    for (size_t i = 0; sent && !p->without_checksum && i < sizeof names / sizeof *names; i++)
        if (strcmp(request->name, names[i]) == 0)
            return true;
    return false;
}

static void on_completed(struct aws_request *request)
{
    struct s3_putting *p = request->spec->owner;
    p->put->requests += request->attempts;
    if (request->ok) {
        s3_put_take_answer(p, request);
        p->state = S3_PUT_ENDED;
        s3_putting_soon(p);
    } else if (request->fetch.status == 404 && request->attempts > 1 && strcmp(request->name, "NoSuchUpload") == 0) {
        look(p);
    } else if (refuses_the_checksum(p, request)) {
        p->without_checksum = true;
        s3_put_complete(p);
    } else {
        p->again = request->fetch.status == 409 && p->spec->from != S3_FROM_PIPE && p->round < S3_PUT_ROUNDS;
        s3_putting_fail_as(p, request);
    }
}

static bool add_checksum(struct s3_putting *p, struct err *err)
{
    char size[24], text[AWS_CHECKSUM_TEXT_SIZE];
    snprintf(size, sizeof size, "%" PRId64, p->length);
    if (p->without_checksum)
        return true;
    if (!headers_set(&p->object_headers, "x-amz-mp-object-size", bytes_of(size), err))
        return false;
    if (!s3_put_join(p->stored, p->parts, p->kind, text))
        return true;
    p->put->checksum_kind = p->kind;
    snprintf(p->put->checksum, sizeof p->put->checksum, "%s", text);
    return headers_set(&p->object_headers, aws_checksum_header(p->kind), bytes_of(text), err) &&
           headers_set(&p->object_headers, "x-amz-checksum-type", bytes_of("FULL_OBJECT"), err);
}

void s3_put_complete(struct s3_putting *p)
{
    struct err err;
    p->state = S3_PUT_COMPLETING;
    buf_free(&p->body);
    buf_init(&p->body, 16 << 20);
    p->put->checksum_kind = AWS_CHECKSUM_NONE;
    *p->put->checksum = 0;
    if (s3_put_file_changed(p, &err)) {
        s3_putting_fail(p, &err);
        return;
    }
    about_this_upload(p);
    p->own.spec.flags |= AWS_MAY_FAIL_IN_200;
    bool ok = s3_put_headers(&p->object_headers, p->spec->request.headers, S3_FOR_COMPLETE, &err) && add_checksum(p, &err) &&
              s3_put_complete_xml(&p->body, p->stored, p->parts, p->kind, &err);
    p->own.spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = p->body.data, .length = (int64_t)p->body.length};
    if (!ok || !ask(p, "POST", 1, on_completed, &err))
        s3_putting_fail(p, &err);
}

/* --- abort --- */

static void abort_is_over(struct s3_putting *p)
{
    timer_stop(&p->limit);
    aws_request_stop(&p->control);
    *p->upload_id = 0;
    p->state = S3_PUT_ENDED;
    if (p->put)
        s3_putting_soon(p);
    else
        s3_putting_end(p);
}

static void on_aborted(struct aws_request *request)
{
    struct s3_putting *p = request->spec->owner; /* whether it worked or not: there is nothing else to be done */
    if (p->put)
        p->put->requests += request->attempts;
    abort_is_over(p);
}

static void on_limit(struct timer *timer)
{
    abort_is_over((struct s3_putting *)(void *)((char *)timer - offsetof(struct s3_putting, limit)));
}

void s3_put_limit(struct s3_putting *p)
{
    timer_start(&p->limit, p->loop, S3_ABORT_MS, on_limit);
}

void s3_put_abort(struct s3_putting *p)
{
    p->state = S3_PUT_ABORTING;
    about_this_upload(p);
    p->own.spec.flags &= ~(unsigned)AWS_MAY_FAIL_IN_200;
    p->own.spec.body = (struct aws_body){0};
    struct headers kept;
    headers_init(&kept, S3_PUT_HEADERS_CEILING);
    bool ok = s3_put_headers(&kept, &p->object_headers, S3_FOR_ABORT, NULL); /* the object's own may be gone with its owner */
    headers_free(&p->object_headers);
    p->object_headers = kept;
    s3_put_limit(p);
    if (!ok || !ask(p, "DELETE", 1, on_aborted, NULL))
        abort_is_over(p);
}
