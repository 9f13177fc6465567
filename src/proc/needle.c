/* needle.c - a text searched for in a stream, white space ignored: JSON is the same text however it is indented. */
#include "appliance/probe.h"

#include <stdlib.h>
#include <string.h>

struct needle {
    size_t length;
    size_t *fall; /* fall[i]: how much of the text is still matched when text[i] is not what came */
    char text[];
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct needle *needle_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct needle *needle = calloc(1, sizeof *needle + size);
    size_t *fall = calloc(size, sizeof *fall);
    if (!needle || !fall) {
        free(needle);
        free(fall);
        return NULL;
    }
    for (const char *at = text; *at; at++)
        if (!is_space(*at))
            needle->text[needle->length++] = *at;
    /* fall[0] and fall[1] stay 0: calloc */
    for (size_t at = 1, border = 0; at < needle->length; at++) {
        while (border > 0 && needle->text[at] != needle->text[border])
            border = fall[border];
        if (needle->text[at] == needle->text[border])
            border++;
        fall[at + 1] = border;
    }
    needle->fall = fall;
    return needle;
}

void needle_free(struct needle *needle)
{
    if (!needle)
        return;
    free(needle->fall);
    free(needle);
}

bool needle_scan(const struct needle *needle, size_t *matched, const char *data, size_t length)
{
    size_t have = *matched;
    for (size_t i = 0; i < length && have < needle->length; i++) {
        if (is_space(data[i]))
            continue;
        while (have > 0 && data[i] != needle->text[have])
            have = needle->fall[have];
        if (data[i] == needle->text[have])
            have++;
    }
    *matched = have;
    return have == needle->length;
}
