#include "appliance/ring.h"

#include <stdlib.h>
#include <string.h>

enum { RING_FIRST = 1024 };

/* The newest `length` bytes, oldest first. */
static void copy_newest(const struct ring *r, char *out, size_t length)
{
    size_t start = r->end >= length ? r->end - length : r->end + r->size - length;
    size_t upper = r->size - start < length ? r->size - start : length;
    memcpy(out, r->data + start, upper);
    memcpy(out + upper, r->data, length - upper);
}

static void resize(struct ring *r, size_t size)
{
    char *data = malloc(size);
    if (!data)
        return;
    size_t kept = r->length < size ? r->length : size;
    if (kept > 0)
        copy_newest(r, data, kept);
    if (kept < r->length)
        r->cut = true;
    free(r->data);
    r->data = data;
    r->size = size;
    r->length = kept;
    r->end = kept == size ? 0 : kept;
}

void ring_add(struct ring *r, const char *data, size_t length, size_t ceiling)
{
    size_t wanted = r->size ? r->size : RING_FIRST;
    while (wanted < ceiling && r->length + length > wanted)
        wanted *= 2;
    if (wanted > ceiling)
        wanted = ceiling;
    if (wanted != r->size)
        resize(r, wanted);
    if (r->size == 0)
        return;
    if (length > r->size) {
        data += length - r->size;
        length = r->size;
        r->cut = true;
    }
    size_t upper = r->size - r->end < length ? r->size - r->end : length;
    memcpy(r->data + r->end, data, upper);
    memcpy(r->data, data + upper, length - upper);
    r->end = (r->end + length) % r->size;
    if (length > r->size - r->length)
        r->cut = true;
    r->length = r->length + length < r->size ? r->length + length : r->size;
}

size_t ring_lines(const struct ring *r, char *out, size_t limit)
{
    size_t length = r->length < limit ? r->length : limit;
    if (length == 0)
        return 0;
    copy_newest(r, out, length);
    if (length == r->length && !r->cut)
        return length;
    char *newline = memchr(out, '\n', length);
    size_t skipped = newline ? (size_t)(newline - out) + 1 : 0;
    if (skipped == length)
        return length;
    memmove(out, out + skipped, length - skipped);
    return length - skipped;
}

void ring_free(struct ring *r)
{
    free(r->data);
    *r = (struct ring){0};
}
