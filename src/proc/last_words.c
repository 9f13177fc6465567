#include "appliance/last_words.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOTS " ..."

enum {
    LINES = 40,     /* without stack frames: so far back a reason may stand */
    WEAK_LINES = 3, /* a missing file is often no more than a remark: only where it came last */
    QUOTED = 110,   /* bytes of the line that are shown */
    LATE = 50,      /* where the words come later in their line than this, it is shown from them on */
    PORT_MOST = 65535,
};

static const struct meaning {
    const char *words, *sentence; /* sentence NULL: a port, whose number is looked for */
    bool weak;
} meanings[] = {
    {"address already in use", NULL, false},
    {"BindException", NULL, false},
    {"Could not create ServerSocket on address", NULL, false}, /* Thrift says the port here, and why a line later */
    {"unable to create native thread", "no more threads can be made (limit of processes)", false},
    {"insufficient memory for the Java Runtime", "there was no memory left for its heap", false},
    {"Could not reserve enough space for", "there was no memory left for its heap", false},
    {"OutOfMemoryError", "its memory was full", false},
    {"UnsupportedClassVersionError", "its Java is too old for it", false},
    {"No space left on device", "the disk is full", false},
    {"No such file or directory", "a file is missing", true},
    {"NoSuchFileException", "a file is missing", true},
    {"FileNotFoundException", "a file is missing", true},
};

static const struct meaning *meaning_of(const char *line, const char **at)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        *at = strcasestr(line, meanings[i].words);
        if (*at)
            return &meanings[i];
    }
    return NULL;
}

/* "18:10:02" is a time, "10.0.0.5:80" is not. */
static bool is_time(const char *line, const char *colon, size_t digits)
{
    return digits == 2 && colon - line >= 2 && isdigit((unsigned char)colon[-1]) && isdigit((unsigned char)colon[-2]) &&
           (colon - line == 2 || colon[-3] != '.');
}

static int number_at(const char *text, size_t *digits)
{
    *digits = strspn(text, "0123456789");
    int number = *digits >= 2 && *digits <= 5 ? atoi(text) : 0;
    return number <= PORT_MOST ? number : 0;
}

/* "(starting from 7077)" is Spark's; others write ADDRESS:PORT, or as Python does ('ADDRESS', PORT). 0: it does not say. */
static int port_in(const char *line)
{
    size_t digits;
    const char *start = strstr(line, "(starting from ");
    if (start)
        return number_at(start + strlen("(starting from "), &digits);
    int port = 0;
    for (const char *c = line; *c; c++) {
        bool is_tuple = strncmp(c, "', ", 3) == 0;
        if (*c != ':' && !is_tuple)
            continue;
        int number = number_at(c + (is_tuple ? 3 : 1), &digits);
        if (number > 0 && (is_tuple || !is_time(line, c, digits)))
            port = number;
    }
    return port;
}

static bool is_frame(const char *line)
{
    return strncmp(line, "at ", 3) == 0 || strncmp(line, "... ", 4) == 0;
}

/* Takes the last line off `text`; its beginning, without blanks. NULL: there is none left. */
static char *take_last_line(char *text, size_t *length)
{
    if (*length == 0)
        return NULL;
    if (text[*length - 1] == '\n')
        text[--*length] = 0;
    while (*length > 0 && text[*length - 1] != '\n')
        --*length;
    char *line = text + *length;
    return line + strspn(line, " \t");
}

/* The line as it can stand in a sentence: not too long, no half words, no control characters. `out` has room for QUOTED and dots. */
static void quote(const char *line, const char *at, char *out)
{
    if (at - line > LATE)
        line = at;
    size_t length = strlen(line);
    bool is_cut = length > QUOTED;
    if (is_cut) {
        for (length = QUOTED; length > QUOTED / 2 && line[length] != ' '; length--)
            ;
        if (line[length] != ' ') /* one long word: then at least no half letters */
            for (length = QUOTED; ((unsigned char)line[length] & 0xC0) == 0x80; length--)
                ;
    }
    for (size_t i = 0; i < length; i++)
        out[i] = iscntrl((unsigned char)line[i]) ? ' ' : line[i];
    while (length > 0 && out[length - 1] == ' ')
        length--;
    snprintf(out + length, sizeof DOTS, "%s", is_cut ? DOTS : "");
}

bool last_words_explain(char *text, char *out, size_t size)
{
    const struct meaning *found = NULL;
    char words[QUOTED + sizeof DOTS] = "";
    int port = 0, seen = 0;
    size_t length = strlen(text);
    out[0] = 0;
    for (char *line; seen < LINES && port == 0 && (line = take_last_line(text, &length));) {
        if (*line == 0 || is_frame(line))
            continue;
        seen++;
        const char *at;
        const struct meaning *meaning = meaning_of(line, &at);
        if (!meaning || (meaning->weak && seen > WEAK_LINES) || (found && meaning->sentence))
            continue; /* once it is a port, only its number is still wanted */
        int number = meaning->sentence ? 0 : port_in(line);
        if (!found || number > 0)
            quote(line, at, words);
        found = meaning;
        port = number;
        if (meaning->sentence)
            break;
    }
    if (!found)
        return false;
    char taken[40] = "a port that it needs is taken";
    if (port > 0)
        snprintf(taken, sizeof taken, "port %d is taken", port);
    snprintf(out, size, "%s (its last words: %s)", found->sentence ? found->sentence : taken, words);
    return true;
}
