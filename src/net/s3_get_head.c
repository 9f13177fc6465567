#include "s3_get_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* An exbibyte, far above what S3 and those like it hold: so sums of offsets never overflow. */
#define SIZE_MOST (INT64_C(1) << 60)

bool s3_content_range(const char *text, int64_t *first, int64_t *size)
{
    int64_t last;
    int used = 0;
    if (!text || sscanf(text, "bytes %" SCNd64 "-%" SCNd64 "/%n", first, &last, &used) != 2 || !used || *first < 0 || last < *first)
        return false;
    char *end;
    *size = strcmp(text + used, "*") == 0 ? -1 : strtoll(text + used, &end, 10);
    return *size == -1 || (!*end && *size > last);
}

static bool take_size(struct s3_getting *g, const struct aws_request *request, struct err *err)
{
    const struct s3_get_spec *spec = g->spec;
    struct s3_get *get = g->get;
    int64_t first = 0;
    get->size = request->fetch.length;
    if (request->fetch.status == 206) {
        bool known = s3_content_range(headers_find(&request->fetch.headers, "Content-Range"), &first, &get->size);
        bool fits = spec->last ? get->size < 0 || first == (spec->last < get->size ? get->size - spec->last : 0) : first == spec->start;
        if (!known || !fits)
            return err_set(err, ERR_PROTOCOL, "%s: a range was asked for, and another one came: this server does not know such ranges",
                           g->subject);
        g->start = g->lead.at = g->lead.asked_at = first;
    } else if (spec->start > 0 || spec->end > 0 || spec->last > 0) {
        return err_set(err, ERR_PROTOCOL, "%s: a range was asked for, and all of it came: this server knows no ranges", g->subject);
    }
    if (get->size > SIZE_MOST)
        return err_set(err, ERR_PROTOCOL, "%s: the server says that it has %" PRId64 " bytes, which no object has", g->subject, get->size);
    g->end = get->size < 0 ? INT64_MAX : spec->end && spec->end < get->size ? spec->end : get->size;
    if (get->size < 0 && request->fetch.status == 206 && request->fetch.length >= 0)
        g->end = g->start + request->fetch.length;
    get->length = g->end == INT64_MAX ? -1 : g->end - g->start;
    return true;
}

static bool take_headers(struct s3_getting *g, const struct aws_request *request, struct err *err)
{
    const char *name, *value;
    const struct headers *headers = &request->fetch.headers;
    headers_init(&g->get->headers, HTTP_HEAD_CEILING);
    for (size_t at = 0; headers_next(headers, &at, &name, &value);)
        if (!headers_add_text(&g->get->headers, name, value, err))
            return false;
    const char *etag = headers_find(headers, "ETag");
    bool weak = etag && strncmp(etag, "W/", 2) == 0; /* which no If-Match ever fits (RFC 9110, 13.1.1) */
    if (etag && !weak && strlen(etag) < sizeof g->etag)
        snprintf(g->etag, sizeof g->etag, "%s", etag);
    g->get->status = request->fetch.status;
    snprintf(g->get->request_id, sizeof g->get->request_id, "%s", request->request_id);
    return true;
}

static void on_part_known(struct aws_request *request)
{
    struct s3_getting *g = request->spec->owner;
    bool of_part = request->fetch.status == 206 || headers_find(&request->fetch.headers, "x-amz-mp-parts-count");
    if (request->ok && of_part)
        g->upload_part = request->fetch.length;
    g->asking_part = false;
    s3_getting_soon(g);
}

/* Only S3 knows how long the parts were; all but the last are of one length with every known client. */
void s3_getting_ask_part(struct s3_getting *g)
{
    if (!g->asking_part || g->asked_part)
        return;
    g->asked_part = true;
    static const struct aws_pair first_part = {{"partNumber", 10}, {"1", 1}};
    enum { PATIENCE_MS = 10000 }; /* for what we can do without */
    g->query[1] = first_part;
    g->ask_part_spec = g->lead.spec;
    g->ask_part_spec.method = "HEAD";
    g->ask_part_spec.push = NULL;
    g->ask_part_spec.again = NULL;
    g->ask_part_spec.query = g->spec->version.length ? g->query : g->query + 1;
    g->ask_part_spec.query_count = g->spec->version.length ? 2 : 1;
    g->ask_part_spec.flags |= AWS_CHECKSUM_OFF | AWS_NO_RETRY;
    g->ask_part_spec.deadline_ms = PATIENCE_MS;
    g->ask_part_spec.owner = g;
    g->ask_part_spec.headers = &g->ask_part_headers;
    g->asking_part = s3_getting_headers(g, &g->ask_part_headers, NULL) &&
                     aws_request_start(&g->ask_part, g->client, &g->ask_part_spec, on_part_known, NULL);
}

/* Some servers keep what was made of parts without saying so (S3 has "-N" behind it, and a type): of such an object it could be either. */
static bool is_clear(const struct headers *headers, const char *said)
{
    const char *etag = headers_find(headers, "ETag"), *type = headers_find(headers, "x-amz-checksum-type");
    if (strchr(said, '-'))
        return true;
    return type ? strcmp(type, "FULL_OBJECT") == 0 : !etag || !strchr(etag, '-');
}

static bool take_checksum(struct s3_getting *g, const struct aws_request *request, struct err *err)
{
    bool whole = g->start == 0 && g->spec->end == 0 && g->spec->last == 0 && g->get->size >= 0;
    for (enum aws_checksum_kind kind = AWS_CHECKSUM_NONE + 1; whole && !g->spec->unchecked && kind < AWS_CHECKSUM_MD5; kind++) {
        const char *said = headers_find(&request->fetch.headers, aws_checksum_header(kind));
        if (!said || strlen(said) >= sizeof g->said || !is_clear(&request->fetch.headers, said))
            continue;
        snprintf(g->said, sizeof g->said, "%s", said);
        return s3_sums_start(&g->sums, kind, g->get->size, err);
    }
    return true;
}

/* --- where it goes --- */

static void on_moved(struct s3_outlet *outlet)
{
    struct s3_getting *g = (struct s3_getting *)(void *)((char *)outlet - offsetof(struct s3_getting, outlet));
    if (outlet->err.kind != ERR_NONE)
        s3_getting_fail(g, &outlet->err);
    else
        s3_fetchers_resume(g);
    s3_getting_soon(g);
}

static void on_passed(struct s3_outlet *outlet, int64_t offset, const char *data, size_t length)
{
    struct s3_getting *g = (struct s3_getting *)(void *)((char *)outlet - offsetof(struct s3_getting, outlet));
    s3_sums_add(&g->sums, offset, data, length);
}

static bool open_outlet(struct s3_getting *g, int fd, struct err *err)
{
    return s3_outlet_open(&g->outlet, g->loop, fd, on_moved, on_passed, err);
}

static bool open_path(struct s3_getting *g, struct err *err)
{
    const struct s3_get_spec *spec = g->spec;
    struct stat status;
    if (stat(spec->path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
        g->to = S3_TO_DESCRIPTOR;
        g->opened = open(spec->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO without a reader is told, not waited for */
        return g->opened >= 0 ? open_outlet(g, g->opened, err) : err_errno(err, "%s", spec->path);
    }
    return s3_file_open(&g->file, spec->path, spec->mode ? spec->mode : 0666, err) &&
           (g->get->length < 0 || s3_file_reserve(&g->file, g->get->length, err));
}

static bool open_target(struct s3_getting *g, struct err *err)
{
    struct s3_get *get = g->get;
    if (g->to == S3_TO_FILE)
        return open_path(g, err);
    if (g->to == S3_TO_DESCRIPTOR)
        return open_outlet(g, g->spec->fd, err);
    buf_init(&get->body, g->spec->ceiling);
    if (get->length > (int64_t)g->spec->ceiling)
        return err_set(err, ERR_INVALID, "%s: it has %" PRId64 " bytes, more than the %zu allowed in memory: fetch it to a file",
                       g->subject, get->length, g->spec->ceiling);
    if (get->length > 0 && !buf_reserve(&get->body, (size_t)get->length))
        return err_set(err, ERR_SYSTEM, "%s: no memory for its %" PRId64 " bytes", g->subject, get->length);
    return true;
}

static int connections_of(const struct s3_getting *g)
{
    int usual = g->to == S3_TO_DESCRIPTOR ? S3_ORDERED_PARTS : S3_CONNECTIONS;
    return g->spec->connections && (g->to != S3_TO_DESCRIPTOR || g->spec->connections < usual) ? g->spec->connections : usual;
}

bool s3_getting_begin(struct s3_getting *g, const struct aws_request *request)
{
    struct err err = {0};
    g->begun = true;
    if (!take_size(g, request, &err) || !take_headers(g, request, &err) || !take_checksum(g, request, &err) || !open_target(g, &err))
        return s3_getting_fail(g, &err);
    bool in_order = g->to == S3_TO_DESCRIPTOR;
    int connections = s3_getting_is_pinned(g) && g->end != INT64_MAX ? connections_of(g) : 1;
    int64_t part = in_order ? S3_ORDERED_PART : (g->spec->part + S3_MIB - 1) / S3_MIB * S3_MIB;
    s3_spans_start(&g->spans, g->start, g->end, part, connections);
    if (in_order && g->spans.lead_end < g->end) /* what comes later has no place in memory before what comes first */
        g->spans.lead_end = g->spans.next = g->start + part;
    g->count = connections;
    s3_fetchers_pace(g);
    if (g->spans.next < g->end)
        s3_getting_soon(g);
    const char *parts = strchr(g->said, '-');
    /* A SHA of parts is told by reading all of it again, which nobody can who has passed it on. */
    g->asking_part = parts && strcmp(parts, "-1") != 0 && (g->sums.crc || g->to != S3_TO_DESCRIPTOR);
    if (g->asking_part)
        s3_getting_soon(g);
    return true;
}
