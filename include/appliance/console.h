/* console.h - our stdout: what services print and what we say ourselves, one line each, in one order.
 * Never blocks. What the reader has not taken yet waits in a buffer; beyond its ceiling a source's whole lines are dropped and
 * counted, or the source is told to wait, as it asks. Our own lines have room of their own behind the ceiling.
 * Everything here runs on the loop's thread; a line logged from another thread goes to stderr as it is. */
#ifndef APPLIANCE_CONSOLE_H
#define APPLIANCE_CONSOLE_H

#include "appliance/err.h"
#include "appliance/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum console_format { CONSOLE_TEXT, CONSOLE_JSON };
/* Text: "2026-11-22T18:10:02.123Z worker | line". JSON: {"time":..., "service":"worker", "line":...} (own lines: "level" too,
 * and the service "appliance"). Installs itself as log.h's sink; idempotent.
 * fd 1 is used without setting O_NONBLOCK on a description that others share: a pipe or terminal is opened anew through /proc,
 * a socket is sent to with MSG_DONTWAIT, and what can be had neither way is polled and written in small pieces. */
bool console_start(struct loop *, enum console_format, struct err *);
void console_set_format(enum console_format);
void console_flush(int64_t limit_ms); /* at the very end: writes what is buffered, waiting at most so long */
void console_stop(void);              /* lines logged from here on go to stderr */
uint64_t console_dropped(void);       /* lines, since start; those lost with a broken pipe too */

/* One service's way in. Zeroed but for `name` and `room` = new; console_leave before its memory goes away. */
struct console_source {
    const char *name;                      /* borrowed */
    bool busy;                             /* leaves the last eighth of the buffer to the others */
    void (*room)(struct console_source *); /* after console_add did not take everything: try again. Loop callback */
    uint64_t gap_lines, gap_bytes;         /* dropped and not said yet */
    uint64_t dropped_lines, dropped_bytes; /* in all */
    struct console_source *next;
    bool waiting;
};
/* Takes whole lines; returns how many bytes of them. With may_drop that is always all; without, the rest is for after `room`. */
size_t console_add(struct console_source *, const char *lines, size_t length, bool may_drop);
void console_leave(struct console_source *);
void console_trim(void); /* gives memory back; called where nothing is busy */

#endif
