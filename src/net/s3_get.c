#include "s3_get_inner.h"
#include "appliance/aws_date.h"
#include "appliance/sys.h"

#include <stdio.h>
#include <stdlib.h>

/* --- the end --- */

static void give_up_target(struct s3_getting *g)
{
    s3_file_drop(&g->file);
    s3_outlet_close(&g->outlet);
    if (g->opened >= 0)
        sys.close(g->opened);
    g->opened = -1;
}

static void free_getting(struct s3_getting *g)
{
    g->get->getting = NULL;
    timer_stop(&g->soon);
    s3_fetchers_stop(g);
    give_up_target(g);
    s3_sums_end(&g->sums);
    free(g);
}

static void conclude(struct s3_getting *g)
{
    struct s3_get *get = g->get;
    get->ok = !g->failed;
    if (g->failed)
        buf_free(&get->body);
    free_getting(g);
    get->done(get);
}

bool s3_getting_fail(struct s3_getting *g, const struct err *err)
{
    if (!g->failed)
        g->get->err = *err;
    g->failed = true;
    s3_getting_soon(g);
    return false;
}

static void on_landed(struct s3_file *file, const struct err *err)
{
    struct s3_getting *g = (struct s3_getting *)(void *)((char *)file - offsetof(struct s3_getting, file));
    g->landing = false;
    if (err->kind != ERR_NONE)
        s3_getting_fail(g, err);
    conclude(g);
}

static void land(struct s3_getting *g)
{
    struct err err;
    int64_t changed = -1;
    const char *date = headers_find(&g->get->headers, "Last-Modified");
    if (g->spec->keep_time && date && !aws_date_read_http(bytes_of(date), &changed, NULL))
        changed = -1;
    if (g->to != S3_TO_FILE || s3_file_land(&g->file, g->loop, changed, g->spec->durable, on_landed, &err))
        g->landing = g->file.sync != NULL;
    else
        s3_getting_fail(g, &err);
    if (!g->landing)
        conclude(g);
}

/* Once more, in ranges: the object is still the same, and the network, or a machine on the way, was not. */
static bool fetch_again(struct s3_getting *g)
{
    struct err err;
    enum aws_checksum_kind kind = g->sums.kind;
    s3_sums_end(&g->sums);
    g->second_time = true;
    g->reading = false;
    g->get->received = 0;
    g->get->body.length = 0;
    g->spans.next = g->spans.lead_end = g->start;
    g->lead.end = g->start;
    s3_getting_soon(g);
    return s3_sums_start(&g->sums, kind, g->get->size, &err) || s3_getting_fail(g, &err);
}

/* A piece of what is here goes through the checksum again, and so on until all has: between two of them the loop turns. */
static void read_piece(struct s3_getting *g)
{
    enum { PIECE = 512 * 1024 };
    struct err err;
    int64_t left = g->get->size - g->read_at;
    size_t length = left < PIECE ? (size_t)left : PIECE;
    if (g->to == S3_TO_MEMORY) {
        s3_sums_add(&g->sums, g->read_at, g->get->body.data + g->read_at, length);
    } else {
        char *piece = malloc(length + 1);
        bool ok = piece ? s3_file_read(&g->file, g->read_at, piece, length, &err)
                        : err_set(&err, ERR_SYSTEM, "%s: no memory to read it again", g->subject);
        if (ok)
            s3_sums_add(&g->sums, g->read_at, piece, length);
        free(piece);
        if (!ok) {
            s3_getting_fail(g, &err);
            return;
        }
    }
    g->read_at += (int64_t)length;
    s3_getting_soon(g);
}

static void finish(struct s3_getting *g)
{
    struct s3_get *get = g->get;
    if (!g->reading && g->to != S3_TO_DESCRIPTOR && s3_sums_again(&g->sums, bytes_of(g->said), g->upload_part)) {
        g->reading = true;
        g->read_at = 0;
    }
    if (g->reading && g->read_at < get->size) {
        read_piece(g);
        return;
    }
    struct err err;
    enum aws_checksum_kind kind = g->sums.kind;
    enum s3_sums_verdict verdict = s3_sums_check(&g->sums, bytes_of(g->said), g->upload_part);
    if (verdict == S3_SUMS_DIFFERENT && !g->second_time && g->to != S3_TO_DESCRIPTOR) {
        fetch_again(g);
        return;
    }
    if (verdict == S3_SUMS_DIFFERENT) {
        err_set(&err, ERR_PROTOCOL, "%s: what came%s does not have the %s that S3 has for it (%s): something on the way changes it",
                g->subject, g->second_time ? ", twice," : "", aws_checksum_name(kind), g->said);
        snprintf(get->name, sizeof get->name, "ChecksumMismatch");
        s3_getting_fail(g, &err);
        return;
    }
    if (verdict == S3_SUMS_SAME) {
        get->verified = kind;
        snprintf(get->checksum, sizeof get->checksum, "%s", g->said);
    }
    land(g);
}

/* --- in between --- */

bool s3_getting_store(struct s3_getting *g, int64_t at, const char *data, size_t length)
{
    struct s3_get *get = g->get;
    struct err err;
    int64_t offset = at - g->start;
    bool ok = true;
    if (g->to == S3_TO_FILE) {
        ok = s3_file_write(&g->file, offset, data, length, &err);
    } else if (g->to == S3_TO_DESCRIPTOR) {
        int64_t room = s3_outlet_room(&g->outlet);
        ok = s3_outlet_put(&g->outlet, offset, data, length);
        err = g->outlet.err;
        if (s3_outlet_room(&g->outlet) != room)
            s3_getting_soon(g);
    } else if (get->length >= 0) {
        memcpy(get->body.data + offset, data, length);
        get->body.length += length;
    } else if (!buf_append(&get->body, data, length)) {
        ok = err_set(&err, ERR_INVALID, "%s: it has more than the %zu bytes allowed in memory: fetch it to a file", g->subject,
                     get->body.ceiling);
    }
    if (!ok)
        return s3_getting_fail(g, &err);
    get->received += (int64_t)length;
    if (g->to != S3_TO_DESCRIPTOR && length)
        s3_sums_add(&g->sums, at, data, length);
    return true;
}

static void on_soon(struct timer *timer)
{
    struct s3_getting *g = (struct s3_getting *)(void *)((char *)timer - offsetof(struct s3_getting, soon));
    if (!g->failed && g->begun && !g->landing) {
        s3_getting_ask_part(g);
        s3_fetchers_more(g);
    }
    if (g->failed) {
        conclude(g);
        return;
    }
    bool all_here = g->begun && !g->asking_part && g->spans.next >= g->end && s3_fetchers_idle(g);
    bool all_out = g->to != S3_TO_DESCRIPTOR || g->outlet.head == g->get->received;
    if (all_here && all_out && !g->landing)
        finish(g);
}

void s3_getting_soon(struct s3_getting *g)
{
    timer_start_ns(&g->soon, g->loop, 0, on_soon);
}

/* --- start and stop --- */

static bool check(const struct s3_get_spec *spec, struct err *err)
{
    if (spec->request.bucket.length == 0 || spec->request.key.length == 0)
        return err_set(err, ERR_INVALID, "an object has a bucket and a key: s3://bucket/key");
    bool two = spec->last && (spec->start || spec->end);
    if (spec->start < 0 || spec->end < 0 || spec->last < 0 || two || (spec->end > 0 && spec->end <= spec->start))
        return err_set(err, ERR_INVALID, "a range begins at 0 or later, and ends behind its beginning");
    if (spec->to == S3_TO_FILE && (!spec->path || !*spec->path))
        return err_set(err, ERR_INVALID, "a path is needed for what is fetched to a file");
    if (spec->part < 0 || spec->connections < 0 || spec->connections > HTTP_CONNECTIONS)
        return err_set(err, ERR_INVALID, "parts have a length above zero, and connections are %d at most", HTTP_CONNECTIONS);
    return true;
}

bool s3_get_start(struct s3_get *get, struct loop *loop, struct aws_client *client, const struct s3_get_spec *spec,
                  void (*done)(struct s3_get *), struct err *err)
{
    void *owner = get->owner;
    *get = (struct s3_get){.done = done, .owner = owner, .size = -1, .length = -1};
    if (!check(spec, err))
        return false;
    struct s3_getting *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(err, ERR_SYSTEM, "no memory for a download");
    *g = (struct s3_getting){.get = get,
                             .spec = spec,
                             .loop = loop,
                             .client = client,
                             .to = spec->to,
                             .start = spec->start,
                             .opened = -1,
                             .count = 1,
                             .open = 1};
    char bucket[64], key[80];
    snprintf(g->subject, sizeof g->subject, "s3://%s/%s", bytes_shown(spec->request.bucket, bucket, sizeof bucket),
             bytes_shown(spec->request.key, key, sizeof key));
    g->query[0] = (struct aws_pair){bytes_of("versionId"), spec->version};
    get->getting = g;
    if (s3_getting_lead(g, err))
        return true;
    free_getting(g);
    return false;
}

void s3_get_stop(struct s3_get *get)
{
    if (get->getting)
        free_getting(get->getting);
    headers_free(&get->headers);
    buf_free(&get->body);
}
