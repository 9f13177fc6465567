#include "appliance/lines.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARK_LENGTH = sizeof LINE_PART_MARK - 1, SMALL_CARRY = 4096 };

static bool reserve(struct lines *l, size_t needed)
{
    if (needed <= l->capacity)
        return true;
    size_t capacity = l->capacity ? l->capacity : 256;
    while (capacity < needed)
        capacity *= 2;
    char *carry = realloc(l->carry, capacity);
    if (!carry)
        return false;
    l->carry = carry;
    l->capacity = capacity;
    return true;
}

/* Takes what is carried out as a part of its line. There is always room for the mark: carry_add sees to it. */
static void emit_part(struct lines *l, lines_sink *sink, void *argument)
{
    memcpy(l->carry + l->length, LINE_PART_MARK, MARK_LENGTH);
    sink(argument, l->carry, l->length + MARK_LENGTH);
    l->length = 0;
}

/* No memory to keep `data`: out it goes, in parts from the stack. */
static void emit_unkept(const char *data, size_t length, lines_sink *sink, void *argument)
{
    char part[1024 + MARK_LENGTH];
    while (length > 0) {
        size_t size = length < 1024 ? length : 1024;
        memcpy(part, data, size);
        data += size;
        length -= size;
        bool ends = part[size - 1] == '\n';
        if (!ends)
            memcpy(part + size, LINE_PART_MARK, MARK_LENGTH);
        sink(argument, part, ends ? size : size + MARK_LENGTH);
    }
}

/* Lengthens the unfinished line. A newline may only be the last byte of `data`; then the line is complete and goes out. */
static void carry_add(struct lines *l, const char *data, size_t length, lines_sink *sink, void *argument)
{
    while (length > 0) {
        bool ends = data[length - 1] == '\n';
        size_t room = l->ceiling - l->length;
        size_t size = length - ends <= room ? length : room;
        if (!reserve(l, l->length + size + MARK_LENGTH)) {
            if (l->length > 0)
                emit_part(l, sink, argument);
            emit_unkept(data, length, sink, argument);
            return;
        }
        memcpy(l->carry + l->length, data, size);
        l->length += size;
        data += size;
        length -= size;
        if (length > 0) {
            emit_part(l, sink, argument);
        } else if (ends) {
            sink(argument, l->carry, l->length);
            l->length = 0;
        }
    }
}

void lines_feed(struct lines *l, char *data, size_t length, size_t front, lines_sink *sink, void *argument)
{
    /* Joining in place costs one copy of what is carried, so a long carry wants a long read: else a line that comes in
     * small pieces would be copied again with each of them. */
    if (l->length > 0 && l->length <= front && (l->length <= SMALL_CARRY || l->length <= length)) {
        data -= l->length;
        memcpy(data, l->carry, l->length);
        length += l->length;
        l->length = 0;
    } else if (l->length > 0) {
        char *newline = memchr(data, '\n', length);
        size_t first = newline ? (size_t)(newline - data) + 1 : length;
        carry_add(l, data, first, sink, argument);
        data += first;
        length -= first;
    }
    char *last = length > 0 ? memrchr(data, '\n', length) : NULL;
    size_t whole = last ? (size_t)(last - data) + 1 : 0;
    if (whole > 0)
        sink(argument, data, whole);
    if (whole < length)
        carry_add(l, data + whole, length - whole, sink, argument);
}

void lines_end(struct lines *l, lines_sink *sink, void *argument)
{
    if (l->length > 0)
        carry_add(l, "\n", 1, sink, argument);
}

void lines_trim(struct lines *l)
{
    if (l->length == 0)
        lines_free(l);
}

void lines_free(struct lines *l)
{
    free(l->carry);
    *l = (struct lines){.ceiling = l->ceiling};
}

/* Sixteen bytes at a time: in each lane a counter that is added up before it can overflow. */
typedef unsigned char lanes __attribute__((vector_size(16)));

size_t lines_count(const char *data, size_t length)
{
    size_t count = 0;
    while (length >= sizeof(lanes)) {
        size_t rounds = length / sizeof(lanes);
        if (rounds > 255)
            rounds = 255;
        lanes sums = {0};
        for (size_t i = 0; i < rounds; i++) {
            lanes piece;
            memcpy(&piece, data + i * sizeof piece, sizeof piece);
            sums -= (lanes)(piece == '\n'); /* a true lane is 255, that is -1 */
        }
        for (size_t i = 0; i < sizeof sums; i++)
            count += sums[i];
        data += rounds * sizeof(lanes);
        length -= rounds * sizeof(lanes);
    }
    for (size_t i = 0; i < length; i++)
        count += data[i] == '\n';
    return count;
}

/* How many bytes at `text` are one UTF-8 character (Unicode table 3-7: no overlong forms, no surrogates, nothing above
 * U+10FFFF). 0: not valid, and *bad bytes of it are to be replaced by one U+FFFD. */
static size_t utf8_length(const unsigned char *text, size_t length, size_t *bad)
{
    static const struct form {
        unsigned char first_low, first_high, second_low, second_high, length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    *bad = 1;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        const struct form *form = &forms[f];
        if (text[0] < form->first_low || text[0] > form->first_high)
            continue;
        for (size_t i = 1; i < form->length; i++) {
            unsigned char low = i == 1 ? form->second_low : 0x80, high = i == 1 ? form->second_high : 0xbf;
            *bad = i;
            if (i >= length || text[i] < low || text[i] > high)
                return 0;
        }
        return form->length;
    }
    return 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static size_t escape_one(char *out, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        out[0] = '\\';
        out[1] = to[found - from];
        return 2;
    }
    static const char lead[4] = {'\\', 'u', '0', '0'};
    memcpy(out, lead, sizeof lead);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

size_t json_escape(char *out, const char *text, size_t length)
{
    char *start = out;
    for (size_t at = 0; at < length;) {
        size_t run = at;
        while (run < length && is_plain((unsigned char)text[run]))
            run++;
        memcpy(out, text + at, run - at);
        out += run - at;
        at = run;
        if (at == length)
            break;
        if ((unsigned char)text[at] < 0x80) {
            out += escape_one(out, (unsigned char)text[at++]);
            continue;
        }
        size_t bad, valid = utf8_length((const unsigned char *)text + at, length - at, &bad);
        memcpy(out, valid ? text + at : "\xef\xbf\xbd", valid ? valid : 3);
        out += valid ? valid : 3;
        at += valid ? valid : bad;
    }
    return (size_t)(out - start);
}

static void grouped(char *out, size_t size, uint64_t number)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

void lines_amount(char *out, size_t size, uint64_t lines, uint64_t bytes)
{
    char count[32], amount[32];
    grouped(count, sizeof count, lines);
    if (bytes < 10 * 1024)
        snprintf(amount, sizeof amount, "%llu byte%s", (unsigned long long)bytes, bytes == 1 ? "" : "s");
    else if (bytes < 10 * 1024 * 1024)
        snprintf(amount, sizeof amount, "%llu KiB", (unsigned long long)(bytes >> 10));
    else
        snprintf(amount, sizeof amount, "%llu MiB", (unsigned long long)(bytes >> 20));
    snprintf(out, size, "%s line%s (%s)", count, lines == 1 ? "" : "s", amount);
}
