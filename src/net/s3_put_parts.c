#include "s3_put_inner.h"

#include <stdio.h>
#include <stdlib.h>

static void on_stored(struct aws_request *);

static bool remember(struct s3_putting *p, int number)
{
    enum { FIRST = 64 };
    if (number <= p->stored_size)
        return true;
    int size = p->parts ? p->parts : p->stored_size ? p->stored_size * 2 : FIRST;
    struct s3_stored *more = realloc(p->stored, (size_t)size * sizeof *more);
    if (!more)
        return false;
    memset(more + p->stored_size, 0, (size_t)(size - p->stored_size) * sizeof *more);
    p->stored = more;
    p->stored_size = size;
    return true;
}

/* --- a part's bytes --- */

static bool take_part(struct s3_putting *p, struct s3_sender *s)
{
    if (p->spec->from == S3_FROM_PIPE) {
        s->data = s3_put_pipe_take(p, &s->length);
        s->spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = s->data, .length = s->length};
        return s->data != NULL;
    }
    if (p->next > p->parts)
        return false;
    int64_t offset = (int64_t)(p->next - 1) * p->part;
    s->length = p->length - offset < p->part ? p->length - offset : p->part;
    s->spec.body = (struct aws_body){.length = s->length};
    if (p->spec->from == S3_FROM_FILE) {
        s->spec.body.kind = HTTP_FROM_FILE;
        s->spec.body.fd = p->spec->fd;
        s->spec.body.offset = p->start + offset;
    } else {
        s->spec.body.kind = HTTP_FROM_MEMORY;
        s->spec.body.data = p->spec->data + offset;
    }
    return true;
}

static void prepare(struct s3_putting *p, struct s3_sender *s)
{
    s->put = p;
    s->spec = p->spec->request;
    s->spec.service = "s3";
    s->spec.method = "PUT";
    s->spec.headers = &s->headers;
    s->spec.query = s->query;
    s->spec.query_count = 2;
    s->spec.owner = s;
    s->spec.checksum_value = NULL;
    s->spec.push = NULL;
    s->spec.again = NULL;
    if (p->kind == AWS_CHECKSUM_NONE)
        s->spec.flags |= AWS_CHECKSUM_OFF;
}

static bool send(struct s3_putting *p, struct s3_sender *s)
{
    struct err err;
    s->number = p->next++;
    snprintf(s->number_text, sizeof s->number_text, "%d", s->number);
    s->query[0] = (struct aws_pair){bytes_of("partNumber"), bytes_of(s->number_text)};
    s->query[1] = (struct aws_pair){bytes_of("uploadId"), bytes_of(p->upload_id)};
    if (remember(p, s->number)) {
        if (s3_put_headers(&s->headers, p->spec->request.headers, S3_FOR_PART, &err) &&
            aws_request_start(&s->request, p->client, &s->spec, on_stored, &err)) {
            p->busy++;
            return true;
        }
    } else {
        err_set(&err, ERR_SYSTEM, "%s: no memory for part %d", p->subject, s->number);
    }
    return s3_putting_fail(p, &err);
}

static struct s3_sender *idle_one(struct s3_putting *p)
{
    for (int i = 0; i < p->count; i++)
        if (!p->senders[i].number)
            return &p->senders[i];
    return NULL;
}

static bool open_senders(struct s3_putting *p)
{
    struct err err;
    if (p->senders)
        return true;
    p->senders = calloc((size_t)p->count, sizeof *p->senders);
    return p->senders || (err_set(&err, ERR_SYSTEM, "%s: no memory for an upload", p->subject), s3_putting_fail(p, &err));
}

void s3_put_more_parts(struct s3_putting *p)
{
    struct s3_sender *s;
    if (!open_senders(p))
        return;
    while (!p->failed && (s = idle_one(p))) {
        if (p->spec->from == S3_FROM_PIPE)
            s3_put_pipe_read(p);
        prepare(p, s);
        if (p->failed || !take_part(p, s) || !send(p, s))
            break;
    }
    if (p->spec->from == S3_FROM_PIPE && !p->failed) {
        s3_put_pipe_read(p); /* the next one fills while these are under way */
        if (p->ended && !p->whole_part && p->filled == 0 && p->parts == 0) {
            p->parts = p->next - 1;
            p->length = p->put->size = p->taken;
        }
    }
}

static void on_stored(struct aws_request *request)
{
    struct s3_sender *s = request->spec->owner;
    struct s3_putting *p = s->put;
    struct s3_stored *stored = &p->stored[s->number - 1];
    const char *etag = headers_find(&request->fetch.headers, "ETag");
    struct err err;
    p->put->requests += request->attempts;
    if (!request->ok) {
        s3_putting_fail_as(p, request);
        return;
    }
    stored->etag = etag ? strdup(etag) : NULL;
    stored->length = s->length;
    if (request->sent_kind == p->kind)
        snprintf(stored->checksum, sizeof stored->checksum, "%s", request->sent_checksum);
    if (!stored->etag) {
        err_set(&err, ERR_PROTOCOL, "%s: part %d was taken, but the answer has no ETag", p->subject, s->number);
        s3_putting_fail(p, &err);
        return;
    }
    p->stored_bytes += s->length;
    s3_put_pipe_give_back(p, s->data, s->number);
    s->data = NULL;
    aws_request_stop(request);
    s->number = 0;
    p->busy--;
    s3_putting_soon(p);
}

int64_t s3_put_parts_under_way(const struct s3_putting *p)
{
    int64_t sent = 0;
    for (int i = 0; p->senders && i < p->count; i++) {
        const struct s3_sender *s = &p->senders[i];
        if (s->number) /* with the framing it may be more */
            sent += s->request.fetch.sent < s->length ? s->request.fetch.sent : s->length;
    }
    return sent;
}

void s3_put_stop_parts(struct s3_putting *p)
{
    for (int i = 0; p->senders && i < p->count; i++) {
        struct s3_sender *s = &p->senders[i];
        aws_request_stop(&s->request);
        headers_free(&s->headers);
        s3_put_pipe_free(p, s->data, s->number);
    }
    free(p->senders);
    p->senders = NULL;
    p->busy = 0;
    for (int i = 0; i < p->stored_size; i++)
        free(p->stored[i].etag);
    free(p->stored);
    p->stored = NULL;
    p->stored_size = 0;
    p->stored_bytes = 0;
}
