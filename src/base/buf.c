#include "appliance/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t ceiling)
{
    *b = (struct buf){.ceiling = ceiling};
}

void buf_free(struct buf *b)
{
    free(b->data);
    buf_init(b, b->ceiling);
}

bool buf_reserve(struct buf *b, size_t more)
{
    if (more > b->ceiling - b->length)
        return false;
    size_t needed = b->length + more;
    if (needed <= b->capacity)
        return true;
    size_t capacity = b->capacity ? b->capacity * 2 : 256;
    if (capacity < needed)
        capacity = needed;
    if (capacity > b->ceiling)
        capacity = b->ceiling;
    char *data = realloc(b->data, capacity);
    if (!data)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

bool buf_append(struct buf *b, const void *data, size_t length)
{
    if (length == 0)
        return true;
    if (!buf_reserve(b, length))
        return false;
    memcpy(b->data + b->length, data, length);
    b->length += length;
    return true;
}

bool buf_text(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_format(struct buf *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    /* vsnprintf ends its output with a zero, for which there must be room, too. */
    if (length < 0 || !buf_reserve(b, (size_t)length + 1))
        return false;
    va_start(arguments, format);
    vsnprintf(b->data + b->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    b->length += (size_t)length;
    return true;
}

void buf_consume(struct buf *b, size_t length)
{
    if (length >= b->length) {
        b->length = 0;
        return;
    }
    b->length -= length;
    memmove(b->data, b->data + length, b->length);
}
