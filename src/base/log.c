#include "appliance/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOG_TEXT_SIZE = 4096 }; /* one message; what is longer is cut with a mark */

/* Before the console stands there is little to say and nobody else to block: straight to stderr. */
static void to_stderr(enum log_level level, const char *text, size_t length)
{
    char line[LOG_TEXT_SIZE + 64];
    int size = snprintf(line, sizeof line, "spark-appliance: %s%.*s\n", level >= LOG_ERROR ? "error: " : "", (int)length, text);
    if (size > 0 && write(STDERR_FILENO, line, (size_t)size) < 0)
        return; /* nobody is left to tell */
}

static enum log_level lowest_level = LOG_INFO;
static void (*current_sink)(enum log_level, const char *, size_t) = to_stderr;

void log_set_level(enum log_level lowest)
{
    lowest_level = lowest;
}

void log_set_sink(void (*sink)(enum log_level, const char *, size_t))
{
    current_sink = sink ? sink : to_stderr;
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return names[level];
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level < lowest_level)
        return;
    int saved_errno = errno;
    char text[LOG_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof text) {
        static const char mark[] = " [cut]";
        length = sizeof text - 1;
        memcpy(text + length - (sizeof mark - 1), mark, sizeof mark - 1);
    }
    for (char *line = text, *end = text + length; length >= 0 && line <= end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *stop = newline ? newline : end;
        current_sink(level, line, (size_t)(stop - line));
        line = stop + 1;
        if (newline == end - 1)
            break; /* a final newline begins no further line */
    }
    errno = saved_errno;
}
