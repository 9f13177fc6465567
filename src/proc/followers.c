#include "followers.h"
#include "appliance/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CEILING = 256 << 10, GAP_SIZE = 128 };

/* The queue with room for `more` bytes, or false: it is full, or there is no memory. */
static bool reserve(struct follower *f, size_t more)
{
    size_t needed = f->length + more;
    if (needed <= f->capacity)
        return true;
    if (needed > CEILING)
        return false;
    size_t capacity = f->capacity ? f->capacity : 4096;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(f->data, capacity);
    if (!data)
        return false;
    f->data = data;
    f->capacity = capacity;
    return true;
}

static void append(struct follower *f, const char *data, size_t length)
{
    memcpy(f->data + f->length, data, length);
    f->length += length;
}

/* A gap is told where it is: behind what came before it, and before anything newer. */
static void tell_gap(struct follower *f)
{
    if (f->dropped == 0 || f->length > CEILING / 2 || !reserve(f, GAP_SIZE))
        return;
    char amount[64], line[GAP_SIZE];
    lines_amount(amount, sizeof amount, f->dropped, f->dropped_bytes);
    append(f, line, (size_t)snprintf(line, sizeof line, "[spark-appliance] %s dropped here: the reader was slow\n", amount));
    f->dropped = f->dropped_bytes = 0;
}

/* As many lines as fit. The rest, and all that comes until half of the queue is free, is the gap. */
static void add(struct follower *f, const char *lines, size_t length)
{
    tell_gap(f);
    size_t taken = 0;
    if (f->dropped == 0) {
        size_t room = CEILING - f->length < length ? CEILING - f->length : length;
        const char *end = room > 0 ? memrchr(lines, '\n', room) : NULL;
        taken = end ? (size_t)(end - lines) + 1 : 0;
    }
    if (taken > 0 && reserve(f, taken))
        append(f, lines, taken);
    else
        taken = 0;
    f->dropped += lines_count(lines + taken, length - taken);
    f->dropped_bytes += length - taken;
}

void followers_add(struct followers *all, const char *lines, size_t length)
{
    for (struct follower *f = all->first; f; f = all->next) {
        all->next = f->next;
        if (f->lines) {
            f->lines(f, lines, length);
            continue;
        }
        add(f, lines, length);
        f->ready(f);
    }
}

void followers_end(struct followers *all)
{
    while (all->first) {
        struct follower *f = all->first;
        all->first = f->next;
        f->next = NULL;
        f->output = NULL;
        if (f->ready)
            f->ready(f);
    }
}

void follower_start(struct follower *f, struct output *output, void (*ready)(struct follower *))
{
    struct followers *all = output_followers(output);
    *f = (struct follower){.ready = ready, .output = output, .next = all->first};
    all->first = f;
}

void follower_tap(struct follower *f, struct output *output, void (*lines)(struct follower *, const char *, size_t))
{
    follower_start(f, output, NULL);
    f->lines = lines;
}

void follower_stop(struct follower *f)
{
    if (f->output) {
        struct followers *all = output_followers(f->output);
        if (all->next == f)
            all->next = f->next;
        struct follower **at = &all->first;
        while (*at != f)
            at = &(*at)->next;
        *at = f->next;
    }
    free(f->data);
    *f = (struct follower){.ready = f->ready};
}

size_t follower_take(struct follower *f, char *out, size_t limit)
{
    tell_gap(f);
    size_t length = f->length < limit ? f->length : limit;
    if (length > 0)
        memcpy(out, f->data, length);
    f->length -= length;
    if (f->length > 0) {
        memmove(f->data, f->data + length, f->length);
    } else if (f->capacity > 0) {
        free(f->data);
        f->data = NULL;
        f->capacity = 0;
    }
    return length;
}
