/* log.h - what the program itself says. One call is one line; it never blocks and never fails.
 * Until output.c installs its console (log_set_sink) lines go to stderr as they are. */
#ifndef APPLIANCE_LOG_H
#define APPLIANCE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_line(enum log_level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

void log_set_level(enum log_level lowest); /* default LOG_INFO */
/* `text` is one message without its newline; a message with newlines inside comes line by line. */
void log_set_sink(void (*sink)(enum log_level, const char *text, size_t length));
const char *log_level_name(enum log_level); /* "info" */

#endif
