/* buf.h - a byte buffer that grows up to a ceiling set at birth, and never beyond.
 * Invariant: length <= capacity <= ceiling. Appending past the ceiling, or without memory, changes nothing and returns false. */
#ifndef APPLIANCE_BUF_H
#define APPLIANCE_BUF_H

#include "appliance/bytes.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t length, capacity, ceiling;
};

void buf_init(struct buf *, size_t ceiling); /* allocates nothing */
void buf_free(struct buf *);                 /* usable again afterwards, with the same ceiling */
bool buf_append(struct buf *, const void *data, size_t length);
bool buf_text(struct buf *, const char *text);
bool buf_format(struct buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool buf_reserve(struct buf *, size_t more);   /* room for `more` bytes behind length; write there and add to length yourself */
void buf_consume(struct buf *, size_t length); /* drops the first `length` bytes */
static inline void buf_clear(struct buf *b)
{
    b->length = 0;
}
static inline struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->data, b->length};
}

#endif
