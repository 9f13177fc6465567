#include "s3_put_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SMALL = 1 << 20 };

static struct s3_putting *leftovers;

/* --- the end --- */

static void free_putting(struct s3_putting *p)
{
    timer_stop(&p->soon);
    timer_stop(&p->limit);
    aws_request_stop(&p->control);
    s3_put_stop_parts(p);
    s3_put_pipe_close(p);
    headers_free(&p->object_headers);
    buf_free(&p->body);
    s3_own_spec_free(&p->own);
    free(p->small);
    s3_put_pipe_free(p, p->only, 1);
    for (struct s3_putting **at = &leftovers; *at; at = &(*at)->next_leftover)
        if (*at == p) {
            *at = p->next_leftover;
            break;
        }
    free(p);
}

void s3_putting_end(struct s3_putting *p)
{
    struct s3_put *put = p->put;
    if (put) {
        put->putting = NULL;
        put->ok = !p->failed;
        put->parts = p->own.texts.data ? p->parts : 0;
    }
    free_putting(p);
    if (put)
        put->done(put);
}

bool s3_putting_fail(struct s3_putting *p, const struct err *err)
{
    if (!p->failed)
        p->put->err = *err;
    p->failed = true;
    s3_putting_soon(p);
    return false;
}

bool s3_putting_fail_as(struct s3_putting *p, const struct aws_request *request)
{
    struct s3_put *put = p->put;
    struct err err = request->err;
    if (!p->failed) {
        put->status = request->fetch.status;
        snprintf(put->name, sizeof put->name, "%s", request->name);
        snprintf(put->request_id, sizeof put->request_id, "%s", request->request_id);
    }
    if (put->status == 409 && p->spec->from == S3_FROM_PIPE && strcmp(put->name, "ConditionalRequestConflict") == 0)
        err_set(&err, ERR_CONFLICT, "%s: somebody else wrote it at the same time (409), and a pipe can't be read again: upload it anew",
                p->subject);
    err.code = put->status;
    return s3_putting_fail(p, &err);
}

void s3_put_take_answer(struct s3_putting *p, const struct aws_request *request)
{
    struct s3_put *put = p->put;
    const char *etag = headers_find(&request->fetch.headers, "ETag");
    const char *version = headers_find(&request->fetch.headers, "x-amz-version-id");
    put->status = request->fetch.status;
    snprintf(put->request_id, sizeof put->request_id, "%s", request->request_id);
    snprintf(put->version, sizeof put->version, "%s", version ? version : "");
    if (etag)
        snprintf(put->etag, sizeof put->etag, "%s", etag);
    else
        s3_put_xml_text(buf_bytes(&request->fetch.body), "ETag", put->etag, sizeof put->etag, NULL);
}

/* --- a file --- */

static const char *name_of(const struct s3_putting *p, char room[40])
{
    if (p->spec->name)
        return p->spec->name;
    snprintf(room, 40, p->spec->fd == STDIN_FILENO ? "standard input" : "descriptor %d", p->spec->fd);
    return room;
}

bool s3_put_file_changed(struct s3_putting *p, struct err *err)
{
    struct stat now;
    char room[40];
    if (!p->whole_file)
        return false;
    if (fstat(p->spec->fd, &now) < 0)
        return !err_errno(err, "%s", name_of(p, room));
    if (now.st_size == p->before.st_size && now.st_mtim.tv_sec == p->before.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == p->before.st_mtim.tv_nsec)
        return false;
    return !err_set(err, ERR_CONFLICT,
                    "%s: it changed while it was read (%lld bytes before, %lld now): upload it again when nobody writes to it",
                    name_of(p, room), (long long)p->before.st_size, (long long)now.st_size);
}

static bool look_at_file(struct s3_putting *p, struct err *err)
{
    char room[40];
    if (fstat(p->spec->fd, &p->before) < 0)
        return err_errno(err, "%s", name_of(p, room));
    if (!S_ISREG(p->before.st_mode))
        return err_set(err, ERR_INVALID, "%s: is no regular file: give it as a pipe", name_of(p, room));
    int64_t there = p->before.st_size - p->spec->start;
    p->whole_file = p->spec->length < 0;
    p->start = p->spec->start;
    p->length = p->whole_file ? there : p->spec->length;
    if (p->start < 0 || there < 0 || p->length > there)
        return err_set(err, ERR_INVALID, "%s: has %lld bytes, fewer than are to be uploaded", name_of(p, room),
                       (long long)p->before.st_size);
    return true;
}

/* Then what is sent is one state of it, and its checksum goes in front. */
static bool read_small(struct s3_putting *p, struct err *err)
{
    char room[40];
    int64_t at = 0;
    free(p->small);
    p->small = malloc((size_t)p->length + 1);
    if (!p->small)
        return err_set(err, ERR_SYSTEM, "%s: no memory for its %lld bytes", name_of(p, room), (long long)p->length);
    while (at < p->length) {
        ssize_t count = pread(p->spec->fd, p->small + at, (size_t)(p->length - at), p->start + at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_errno(err, "%s", name_of(p, room));
        if (count == 0)
            return err_set(err, ERR_CONFLICT, "%s: it became shorter while it was read: upload it again when nobody writes to it",
                           name_of(p, room));
        at += count;
    }
    return !s3_put_file_changed(p, err);
}

/* --- in one piece --- */

static void on_put(struct aws_request *request)
{
    struct s3_putting *p = request->spec->owner;
    struct err err;
    p->put->requests += request->attempts;
    p->state = S3_PUT_ENDED;
    if (!request->ok) {
        bool lost_race = request->fetch.status == 409 && strcmp(request->name, "ConditionalRequestConflict") == 0;
        p->again = lost_race && p->round < S3_PUT_ROUNDS; /* all of it is in memory, or in a file */
        s3_putting_fail_as(p, request);
        return;
    }
    s3_put_take_answer(p, request);
    p->put->checksum_kind = request->sent_kind;
    snprintf(p->put->checksum, sizeof p->put->checksum, "%s", request->sent_checksum);
    if (!p->small && s3_put_file_changed(p, &err))
        s3_putting_fail(p, &err);
    s3_putting_soon(p);
}

void s3_put_in_one_piece(struct s3_putting *p)
{
    struct err err;
    struct aws_spec *spec = &p->own.spec;
    p->state = S3_PUT_ONE_PIECE;
    *spec = p->spec->request;
    spec->service = "s3";
    spec->method = "PUT";
    spec->query = NULL;
    spec->query_count = 0;
    spec->push = NULL;
    spec->again = NULL;
    spec->owner = p;
    spec->body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = p->spec->data, .length = p->length};
    if (p->spec->from == S3_FROM_FILE && p->length <= SMALL) {
        if (!read_small(p, &err)) {
            s3_putting_fail(p, &err);
            return;
        }
        spec->body.data = p->small;
    } else if (p->spec->from == S3_FROM_FILE) {
        spec->body = (struct aws_body){.kind = HTTP_FROM_FILE, .fd = p->spec->fd, .offset = p->start, .length = p->length};
    } else if (p->spec->from == S3_FROM_PIPE) {
        spec->body.data = p->only;
    }
    if (spec->body.kind == HTTP_FROM_MEMORY && !spec->body.data)
        spec->body.data = "";
    if (!aws_request_start(&p->control, p->client, spec, on_put, &err))
        s3_putting_fail(p, &err);
}

/* --- what comes next --- */

static void begin(struct s3_putting *p)
{
    struct err err;
    struct s3_put_plan plan;
    p->next = 1;
    if (p->spec->from == S3_FROM_FILE && !look_at_file(p, &err)) {
        s3_putting_fail(p, &err);
        return;
    }
    p->put->size = p->length;
    if (!s3_plan_put(p->length, p->spec->part, &plan, &err)) {
        s3_putting_fail(p, &err);
        return;
    }
    p->part = plan.part;
    p->parts = plan.parts;
    p->count = p->spec->connections && p->spec->connections < plan.connections ? p->spec->connections : plan.connections;
    if (plan.parts == 1)
        s3_put_in_one_piece(p);
    else if (p->own.texts.data || s3_own_spec_copy(&p->own, &p->spec->request, &err))
        s3_put_create(p);
    else
        s3_putting_fail(p, &err);
}

/* The first part of a pipe is in memory: it is all there is, or there may be more. */
static void begin_pipe(struct s3_putting *p)
{
    struct err err;
    s3_put_pipe_read(p);
    if (p->whole_part) {
        enum { AT_ONCE = 8 }; /* S3_MEMORY has no room for more */
        p->count = p->spec->connections && p->spec->connections < AT_ONCE ? p->spec->connections : AT_ONCE;
        if (s3_own_spec_copy(&p->own, &p->spec->request, &err))
            s3_put_create(p);
        else
            s3_putting_fail(p, &err);
    } else if (p->ended && !p->failed) {
        p->only = s3_put_pipe_take(p, &p->length);
        p->length = p->put->size = p->taken;
        s3_put_in_one_piece(p);
    }
}

static void another_round(struct timer *timer)
{
    struct s3_putting *p = (struct s3_putting *)(void *)((char *)timer - offsetof(struct s3_putting, soon));
    if (p->spec->from == S3_FROM_PIPE) /* all of it is in memory, or there were no other round */
        s3_put_in_one_piece(p);
    else
        begin(p);
}

/* What has failed leaves nothing behind; then its owner is told, or another round begins. */
static void end_failed(struct s3_putting *p)
{
    enum { PAUSE_MS = 200 };
    if (p->state != S3_PUT_ENDED || *p->upload_id) {
        aws_request_stop(&p->control);
        s3_put_stop_parts(p);
        p->state = S3_PUT_ENDED;
    }
    if (*p->upload_id) {
        s3_put_abort(p);
        return;
    }
    if (!p->again) {
        s3_putting_end(p);
        return;
    }
    p->again = p->failed = false;
    p->round++;
    p->put->err = (struct err){0};
    *p->put->name = 0;
    p->put->status = 0;
    timer_start(&p->soon, p->loop, PAUSE_MS << p->round, another_round);
}

static void on_soon(struct timer *timer)
{
    struct s3_putting *p = (struct s3_putting *)(void *)((char *)timer - offsetof(struct s3_putting, soon));
    if (!p->failed && p->state == S3_PUT_FILLING)
        begin_pipe(p);
    if (!p->failed && p->state == S3_PUT_PARTS) {
        s3_put_more_parts(p);
        if (!p->failed && p->parts && p->next > p->parts && p->busy == 0)
            s3_put_complete(p);
    }
    if (p->state == S3_PUT_ABORTING)
        return;
    if (p->failed)
        end_failed(p);
    else if (p->state == S3_PUT_ENDED)
        s3_putting_end(p);
}

void s3_putting_soon(struct s3_putting *p)
{
    timer_start_ns(&p->soon, p->loop, 0, on_soon);
}

/* --- start and stop --- */

static enum aws_checksum_kind kind_of(const struct aws_spec *request, struct aws_client *client)
{
    if (request->flags & AWS_CHECKSUM_OFF)
        return AWS_CHECKSUM_NONE;
    if (request->checksum != AWS_CHECKSUM_NONE)
        return request->checksum;
    return aws_client_settings(client)->checksum_requests ? AWS_CHECKSUM_CRC64NVME : AWS_CHECKSUM_NONE;
}

static bool check(const struct s3_put_spec *spec, struct err *err)
{
    if (spec->request.bucket.length == 0 || spec->request.key.length == 0)
        return err_set(err, ERR_INVALID, "an object has a bucket and a key: s3://bucket/key");
    if (spec->from == S3_FROM_MEMORY && (spec->length < 0 || (spec->length > 0 && !spec->data)))
        return err_set(err, ERR_INVALID, "what comes from memory has a length");
    if (spec->connections < 0 || spec->connections > HTTP_CONNECTIONS)
        return err_set(err, ERR_INVALID, "connections are 1 to %d", HTTP_CONNECTIONS);
    if (spec->from == S3_FROM_PIPE && spec->expected > S3_PIPE_EXPECTED_MOST)
        return err_set(err, ERR_INVALID, "from a pipe come %lld GiB at most: put it into a file first",
                       (long long)(S3_PIPE_EXPECTED_MOST >> 30));
    return true;
}

static bool prepare(struct s3_putting *p, struct err *err)
{
    struct s3_put_plan plan;
    if (p->spec->from == S3_FROM_PIPE) {
        p->next = 1;
        p->length = -1;
        p->expected = p->spec->expected;
        return s3_put_pipe_open(p, err);
    }
    p->length = p->spec->length;
    return (p->spec->from != S3_FROM_FILE || look_at_file(p, err)) && s3_plan_put(p->length, p->spec->part, &plan, err);
}

static void on_begin(struct timer *timer)
{
    begin((struct s3_putting *)(void *)((char *)timer - offsetof(struct s3_putting, soon)));
}

bool s3_put_start(struct s3_put *put, struct loop *loop, struct aws_client *client, const struct s3_put_spec *spec,
                  void (*done)(struct s3_put *), struct err *err)
{
    void *owner = put->owner;
    *put = (struct s3_put){.done = done, .owner = owner, .size = -1};
    if (!check(spec, err))
        return false;
    struct s3_putting *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, ERR_SYSTEM, "no memory for an upload");
    *p = (struct s3_putting){.put = put, .spec = spec, .loop = loop, .client = client, .kind = kind_of(&spec->request, client), .round = 1};
    char bucket[64], key[80];
    snprintf(p->subject, sizeof p->subject, "s3://%s/%s", bytes_shown(spec->request.bucket, bucket, sizeof bucket),
             bytes_shown(spec->request.key, key, sizeof key));
    if (!prepare(p, err)) {
        free_putting(p);
        return false;
    }
    put->putting = p;
    if (spec->from == S3_FROM_PIPE)
        s3_putting_soon(p);
    else
        timer_start_ns(&p->soon, loop, 0, on_begin);
    return true;
}

void s3_put_stop(struct s3_put *put)
{
    struct s3_putting *p = put->putting;
    put->putting = NULL;
    if (!p)
        return;
    bool creating = p->state == S3_PUT_CREATING, aborting = p->state == S3_PUT_ABORTING;
    p->put = NULL;
    p->spec = NULL;
    timer_stop(&p->soon);
    s3_put_stop_parts(p);
    s3_put_pipe_close(p);
    if (!creating && !*p->upload_id) {
        free_putting(p);
        return;
    }
    p->next_leftover = leftovers;
    leftovers = p;
    if (creating) /* which upload it is comes with the answer */
        s3_put_limit(p);
    else if (!aborting)
        s3_put_abort(p);
}

int64_t s3_put_sent(const struct s3_put *put)
{
    const struct s3_putting *p = put->putting;
    if (!p)
        return put->ok ? put->size : 0;
    if (p->state == S3_PUT_ONE_PIECE)
        return p->control.fetch.sent < p->length ? p->control.fetch.sent : p->length;
    return p->stored_bytes + s3_put_parts_under_way(p);
}

int s3_put_leftovers(void)
{
    int count = 0;
    for (const struct s3_putting *p = leftovers; p; p = p->next_leftover)
        count++;
    return count;
}

void s3_put_drop_leftovers(void)
{
    while (leftovers)
        free_putting(leftovers);
}
