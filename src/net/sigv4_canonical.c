#include "sigv4_inner.h"

#include <strings.h>

/* --- the path --- */

/* RFC 3986 5.2.4, and empty segments are dropped, too. A slash at the end stays. */
static bool normalise(struct bytes path, struct buf *out)
{
    size_t start = out->length;
    bool folder = true; /* whether the last segment seen ends in a slash */
    for (size_t at = 1; at <= path.length;) {
        const char *slash = memchr(path.data + at, '/', path.length - at);
        size_t end = slash ? (size_t)(slash - path.data) : path.length;
        struct bytes segment = {path.data + at, end - at};
        at = end + 1;
        folder = slash != NULL || segment.length == 0;
        if (segment.length == 0 || bytes_equal(segment, bytes_of("."))) {
            folder = true;
            continue;
        }
        if (bytes_equal(segment, bytes_of(".."))) {
            while (out->length > start && out->data[--out->length] != '/')
                continue;
            folder = true;
            continue;
        }
        if (!buf_text(out, "/") || !buf_append(out, segment.data, segment.length))
            return false;
    }
    return (!folder && out->length > start) || buf_text(out, "/");
}

bool sigv4_write_path(struct sigv4_making *m, struct bytes path)
{
    struct buf plain, once;
    buf_init(&plain, SIGV4_TEXT_LIMIT);
    buf_init(&once, SIGV4_TEXT_LIMIT);
    bool ok = true;
    if (m->scope->rules & SIGV4_NORMALISE) {
        ok = normalise(path, &plain);
        path = buf_bytes(&plain);
    }
    if (m->scope->rules & SIGV4_ESCAPE_TWICE) {
        ok = ok && aws_escape(&once, path, AWS_ESCAPE_PATH);
        path = buf_bytes(&once);
    }
    ok = ok && aws_escape(&m->out->canonical, path, AWS_ESCAPE_PATH);
    buf_free(&plain);
    buf_free(&once);
    return ok;
}

/* --- the query: escaped, then sorted by name and value --- */

static int compare(struct bytes a, struct bytes b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

/* Where a pair lies in the scratch buffer: offsets, because the buffer moves as it grows. */
struct place {
    size_t name, value, end;
};

static bool comes_before(const char *text, struct place a, struct place b)
{
    int order = compare((struct bytes){text + a.name, a.value - a.name}, (struct bytes){text + b.name, b.value - b.name});
    if (order == 0)
        order = compare((struct bytes){text + a.value, a.end - a.value}, (struct bytes){text + b.value, b.end - b.value});
    return order < 0;
}

bool sigv4_write_query(struct sigv4_making *m, const struct aws_pair *pairs, size_t count)
{
    struct place sorted[SIGV4_QUERY_LIMIT];
    struct buf *scratch = &m->scratch;
    buf_clear(scratch);
    if (!buf_reserve(scratch, 1)) /* so that there are places even when all names and values are empty */
        return false;
    for (size_t i = 0; i < count; i++) {
        struct place place = {.name = scratch->length};
        if (!aws_escape(scratch, pairs[i].name, AWS_ESCAPE_ALL))
            return false;
        place.value = scratch->length;
        if (!aws_escape(scratch, pairs[i].value, AWS_ESCAPE_ALL))
            return false;
        place.end = scratch->length;
        size_t at = i;
        for (; at > 0 && comes_before(scratch->data, place, sorted[at - 1]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = place;
    }
    buf_clear(&m->query);
    for (size_t i = 0; i < count; i++) {
        struct place p = sorted[i];
        if ((i > 0 && !buf_text(&m->query, "&")) || !buf_append(&m->query, scratch->data + p.name, p.value - p.name) ||
            !buf_text(&m->query, "=") || !buf_append(&m->query, scratch->data + p.value, p.end - p.value))
            return false;
    }
    return true;
}

/* --- headers --- */

/* What stands between us and the service may change these, or the HTTP client sets them by itself; and an old signature is no content. */
static bool is_left_out(const struct sigv4_making *m, const char *name)
{
    static const char *const left_out[] = {"authorization",       "connection", "expect",         "keep-alive",
                                           "proxy-authorization", "te",         "trailer",        "upgrade",
                                           "transfer-encoding",   "user-agent", "x-amzn-trace-id"};
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (strcasecmp(name, left_out[i]) == 0)
            return true;
    return (m->scope->rules & SIGV4_TOKEN_UNSIGNED) && strcasecmp(name, SIGV4_TOKEN) == 0;
}

static int compare_names(struct bytes a, struct bytes b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = strncasecmp(a.data, b.data, shorter);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

/* Those of one name stay in the order in which they go out. */
static void insert_header(struct sigv4_making *m, struct aws_pair header)
{
    size_t at = m->header_count++;
    for (; at > 0 && compare_names(header.name, m->headers[at - 1].name) < 0; at--)
        m->headers[at] = m->headers[at - 1];
    m->headers[at] = header;
}

bool sigv4_collect_headers(struct sigv4_making *m, const struct headers *headers, struct err *err)
{
    const char *name, *value;
    bool has_host = false;
    for (size_t at = 0; headers && headers_next(headers, &at, &name, &value);) {
        if (is_left_out(m, name))
            continue;
        if (m->header_count == SIGV4_PAIRS_LIMIT)
            return err_set(err, ERR_INVALID, "signature: a request can't have more than %d headers", SIGV4_PAIRS_LIMIT);
        insert_header(m, (struct aws_pair){bytes_of(name), bytes_of(value)});
        has_host |= strcasecmp(name, "host") == 0;
    }
    if (has_host)
        return true;
    if (m->request->host.length == 0)
        return err_set(err, ERR_INVALID, "signature: the request has no host");
    insert_header(m, (struct aws_pair){bytes_of("host"), m->request->host});
    return true;
}

static bool is_first_of_name(const struct sigv4_making *m, size_t i)
{
    return i == 0 || compare_names(m->headers[i - 1].name, m->headers[i].name) != 0;
}

static bool write_lower(struct buf *out, struct bytes name)
{
    if (!buf_reserve(out, name.length))
        return false;
    for (size_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        out->data[out->length++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    return true;
}

/* Without blanks at its ends, and with one where there were several. */
static bool write_value(struct buf *out, struct bytes value)
{
    if (!buf_reserve(out, value.length))
        return false;
    bool blank = false;
    size_t start = out->length;
    for (size_t i = 0; i < value.length; i++) {
        char c = value.data[i];
        if (c == ' ' || c == '\t') {
            blank = true;
            continue;
        }
        if (blank && out->length > start)
            out->data[out->length++] = ' ';
        blank = false;
        out->data[out->length++] = c;
    }
    return true;
}

bool sigv4_write_headers(struct sigv4_making *m)
{
    struct buf *out = &m->out->canonical;
    for (size_t i = 0; i < m->header_count; i++) {
        bool first = is_first_of_name(m, i);
        if (first && ((i > 0 && !buf_text(out, "\n")) || !write_lower(out, m->headers[i].name)))
            return false;
        if (!buf_text(out, first ? ":" : ",") || !write_value(out, m->headers[i].value))
            return false;
    }
    return buf_text(out, "\n");
}

bool sigv4_write_names(struct sigv4_making *m)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (is_first_of_name(m, i) && ((i > 0 && !buf_text(&m->names, ";")) || !write_lower(&m->names, m->headers[i].name)))
            return false;
    return true;
}
