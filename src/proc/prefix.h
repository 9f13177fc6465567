/* prefix.h - how a line of the console begins and ends: text or JSON. Pure but for the wall clock; made once for many lines. */
#ifndef APPLIANCE_PREFIX_H
#define APPLIANCE_PREFIX_H

#include "appliance/console.h"
#include "appliance/lines.h"
#include "appliance/log.h"

enum { PREFIX_SIZE = 320 };

struct prefix {
    char text[PREFIX_SIZE];
    size_t length;
    enum console_format format;
};

/* "warning: " and the like, for text. */
extern const char *const prefix_marks[];

void prefix_of_service(struct prefix *, enum console_format, const char *service);
void prefix_of_ours(struct prefix *, enum console_format, enum log_level);
/* Room that any line of this length needs at most. */
size_t prefix_room(const struct prefix *, size_t length);
/* The whole line with its newline; `line` comes without. Returns the number of bytes. */
size_t prefix_line(const struct prefix *, char *out, const char *line, size_t length);

#endif
