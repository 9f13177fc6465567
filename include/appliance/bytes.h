/* bytes.h - a run of bytes that somebody else owns. Not terminated by a zero, never freed through this. */
#ifndef APPLIANCE_BYTES_H
#define APPLIANCE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct bytes {
    const char *data;
    size_t length;
};

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, strlen(text)};
}
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}
/* What a sentence may show of a text that somebody gave: as much as `out` takes with its zero, and "?" for all but printable ASCII. */
static inline const char *bytes_shown(struct bytes text, char *out, size_t size)
{
    size_t length = text.length < size - 1 ? text.length : size - 1;
    for (size_t i = 0; i < length; i++)
        out[i] = text.data[i] >= ' ' && text.data[i] < 0x7f ? text.data[i] : '?';
    out[length] = 0;
    return out;
}

#endif
