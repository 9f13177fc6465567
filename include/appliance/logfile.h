/* logfile.h - one service's log file: whole lines as they came, rotated at line ends to PATH.1 .. PATH.keep.
 * Opened by its first line (no descriptor before), opened anew when somebody moved or removed it. A file that can't be
 * written is an event, not an error: with `block` everything refused is kept and the caller stops until `room`; without, whole
 * lines are dropped and counted, and the count stands in the file once there is room. Said once in the log, with the cure.
 * Writing goes to the page cache, on the loop's thread; nothing is synced. */
#ifndef APPLIANCE_LOGFILE_H
#define APPLIANCE_LOGFILE_H

#include "appliance/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct logfile {
    char *path, *name; /* path NULL: there is no file. name: the service, for messages */
    int64_t limit;     /* rotate at, bytes; 0: never */
    int keep;
    bool block;
    void (*room)(struct logfile *); /* everything kept has been written (or, since `block` was taken away, dropped) */

    struct loop *loop;
    struct timer retry;
    int fd;       /* -1: closed */
    bool regular; /* only such a file is rotated; /dev/stdout or a FIFO is written as it is */
    dev_t device;
    ino_t inode;
    int64_t size, rotate_at;
    int64_t checked_ns; /* when the path was last looked at */
    bool mid_line;      /* the file ends within a line, the rest of which comes next */
    bool blocked;
    bool said, rotation_said; /* told in the log, and its end not yet */
    int64_t delay_ms, failed_ns;
    char *kept; /* refused while `block`: still to be written */
    size_t kept_length;
    uint64_t gap_lines, gap_bytes;         /* dropped since the last gap line */
    uint64_t dropped_lines, dropped_bytes; /* in all */
    char reason[120];
};

void logfile_init(struct logfile *, struct loop *, void (*room)(struct logfile *));
/* NULL path: none from now on. The strings are copied; false: no memory, nothing changed. */
bool logfile_configure(struct logfile *, const char *name, const char *path, int64_t limit, int keep, bool block);
/* Takes whole lines. False: the file is blocked, what did not go in is kept, and no more should come before `room`. */
bool logfile_write(struct logfile *, const char *data, size_t length);
void logfile_free(struct logfile *); /* one last try for what is kept; says what is lost */

#endif
