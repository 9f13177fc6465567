#include "fetch_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An interim answer (1xx) has a head of its own, and so has the answer to a second try: each begins anew. */
static void begin(struct fetch_head *head, struct http_fetch *fetch, struct bytes line)
{
    const char *blank = memchr(line.data, ' ', line.length);
    char status[4] = "";
    if (blank && line.data + line.length - blank > 3)
        memcpy(status, blank + 1, 3);
    head->done = false;
    headers_free(&fetch->headers);
    fetch->length = -1;
    fetch->status = strspn(status, "0123456789") == 3 ? atoi(status) : 0; /* "-06" is no status */
}

static void end(struct fetch_head *head, struct http_fetch *fetch)
{
    if (fetch->status < 200)
        return;
    head->done = true;
    const char *length = headers_find(&fetch->headers, "Content-Length");
    if (length && !headers_find(&fetch->headers, "Transfer-Encoding"))
        fetch->length = strtoll(length, NULL, 10);
}

/* A line that is no header, or has a name that nobody asks for, is no reason to refuse the answer. */
static void add(struct http_fetch *fetch, struct bytes line)
{
    char name[128];
    const char *colon = memchr(line.data, ':', line.length);
    size_t length = colon ? (size_t)(colon - line.data) : sizeof name;
    if (length >= sizeof name)
        return;
    memcpy(name, line.data, length);
    name[length] = 0;
    headers_add(&fetch->headers, name, (struct bytes){colon + 1, line.length - length - 1}, NULL);
}

bool fetch_head_line(struct fetch_head *head, struct http_fetch *fetch, const char *data, size_t length)
{
    struct bytes line = {data, length};
    head->bytes += length;
    head->too_large = head->bytes > head->ceiling;
    if (head->too_large)
        return false;
    while (line.length && (data[line.length - 1] == '\n' || data[line.length - 1] == '\r'))
        line.length--;
    if (line.length >= 5 && memcmp(data, "HTTP/", 5) == 0)
        begin(head, fetch, line);
    else if (!head->done && line.length == 0)
        end(head, fetch);
    else if (!head->done) /* later lines are trailers of a body in chunks */
        add(fetch, line);
    return true;
}
