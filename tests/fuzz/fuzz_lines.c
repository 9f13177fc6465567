/* Any bytes in any pieces: blocks end at line ends, nothing is lost but for marks, no line is longer than the ceiling.
 * And any bytes as JSON: printable, escaped, and as long as promised at most. */
#include "appliance/lines.h"

#include <stdlib.h>
#include <string.h>

enum { CEILING = 256, PIECE = 128 };

struct seen {
    char *data;
    size_t length;
};

static void see(void *argument, const char *block, size_t length)
{
    struct seen *seen = argument;
    if (length == 0 || block[length - 1] != '\n')
        abort();
    memcpy(seen->data + seen->length, block, length);
    seen->length += length;
    const char *line = block;
    for (size_t i = 0; i < length; i++)
        if (block[i] == '\n') {
            if ((size_t)(block + i - line) > CEILING + strlen(LINE_PART_MARK))
                abort();
            line = block + i + 1;
        }
}

/* The same, byte by byte. */
static size_t as_it_should_be(char *out, const char *data, size_t size)
{
    size_t length = 0, line = 0;
    for (size_t i = 0; i < size; i++) {
        if (line == CEILING && data[i] != '\n') {
            memcpy(out + length, LINE_PART_MARK, strlen(LINE_PART_MARK));
            length += strlen(LINE_PART_MARK);
            line = 0;
        }
        out[length++] = data[i];
        line = data[i] == '\n' ? 0 : line + 1;
    }
    if (line > 0)
        out[length++] = '\n';
    return length;
}

/* The first byte of each round says how long its piece is and how much room there is before it. */
static void check_lines(const char *data, size_t size)
{
    struct lines lines = {.ceiling = CEILING};
    char *fed = malloc(size + 2), *seen_data = malloc(size * 2 + 1024);
    struct seen seen = {seen_data, 0};
    size_t fed_length = 0;
    while (size > 1) {
        size_t length = (unsigned char)data[0] % PIECE, front = (unsigned char)data[0] & 128 ? PIECE : 0;
        data++;
        size--;
        length = length < size ? length : size;
        char *piece = malloc(front + length + 1);
        memcpy(piece + front, data, length);
        memcpy(fed + fed_length, data, length);
        fed_length += length;
        lines_feed(&lines, piece + front, length, front, see, &seen);
        free(piece);
        data += length;
        size -= length;
    }
    lines_end(&lines, see, &seen);
    if (lines.length != 0)
        abort();
    lines_trim(&lines);
    char *expected = malloc(fed_length * 2 + 1024);
    size_t length = as_it_should_be(expected, fed, fed_length);
    if (length != seen.length || memcmp(expected, seen.data, length) != 0)
        abort();
    free(expected);
    free(fed);
    free(seen_data);
}

static void check_json(const char *data, size_t size)
{
    char *out = malloc(size * JSON_GROWTH + 1);
    size_t length = json_escape(out, data, size);
    if (length > size * JSON_GROWTH)
        abort();
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)out[i];
        if (c < 0x20 || (c == '"' && (i == 0 || out[i - 1] != '\\')))
            abort();
    }
    /* What came out is valid UTF-8: escaping it again replaces nothing more. */
    char *again = malloc(length * JSON_GROWTH + 1);
    size_t count = 0, count_again = 0, length_again = json_escape(again, out, length);
    for (size_t i = 0; i + 2 < length; i++)
        count += memcmp(out + i, "\xef\xbf\xbd", 3) == 0;
    for (size_t i = 0; i + 2 < length_again; i++)
        count_again += memcmp(again + i, "\xef\xbf\xbd", 3) == 0;
    if (count != count_again)
        abort();
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_json((const char *)data, size);
    check_lines((const char *)data, size);
    return 0;
}
