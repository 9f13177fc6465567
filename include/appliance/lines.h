/* lines.h - bytes to whole lines, lines to JSON. Pure: no descriptor, no clock, no service; tests/fuzz/fuzz_lines.c feeds it anything.
 * The splitter hands out *blocks* of whole lines rather than lines: a block that came with one read leaves with one write. */
#ifndef APPLIANCE_LINES_H
#define APPLIANCE_LINES_H

#include <stddef.h>
#include <stdint.h>

enum {
    LINE_CEILING = 1 << 20, /* a line up to this stays whole */
    LINE_FRONT = 128 << 10, /* room before the data of a read, so that an unfinished line is put there instead of copied about */
    JSON_GROWTH = 6,        /* one byte becomes at most "\u001f" */
};
/* Ends each part but the last of a line that is longer than the ceiling. */
#define LINE_PART_MARK " [the line goes on]\n"

/* The unfinished line at the end of what was read so far. Zeroed but for `ceiling` = new. */
struct lines {
    char *carry;
    size_t length, capacity, ceiling;
};

/* One or more whole lines, each with its newline at the end. */
typedef void lines_sink(void *argument, const char *block, size_t length);

/* `front` bytes before `data` may be overwritten; front + length <= ceiling. Nothing is ever lost: without memory for an
 * unfinished line it goes out in marked parts. */
void lines_feed(struct lines *, char *data, size_t length, size_t front, lines_sink *, void *argument);
/* Nothing more will come for this line: it goes out, with a newline. */
void lines_end(struct lines *, lines_sink *, void *argument);
void lines_trim(struct lines *); /* gives memory back where there is no unfinished line */
void lines_free(struct lines *);

size_t lines_count(const char *data, size_t length); /* newlines */

/* The inside of a JSON string: quotes, backslashes and control characters escaped, what is not UTF-8 replaced by U+FFFD.
 * `out` needs JSON_GROWTH * length bytes; returns how many were written. */
size_t json_escape(char *out, const char *text, size_t length);

/* "1,234 lines (56 KiB)" */
void lines_amount(char *out, size_t size, uint64_t lines, uint64_t bytes);

#endif
