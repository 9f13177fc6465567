/* output.h - what services print: read from one pipe each, cut into lines, and handed to the console, a file and followers.
 * Never blocks: a slow console is buffered up to a ceiling, then lines are dropped and counted, and the count is said when it
 * has room again; with LOG_FULL_BLOCK the pipe is left unread instead, until there is room. The same for a file that can't be
 * written. Whole lines only; a line over 1 MiB comes in parts that say so. The pipe is kept over restarts of its service, and
 * both its ends stay open in us: a child that closes its output, or a grandchild that never does, is no event at all.
 * A quiet service costs its pipe and some 400 bytes. */
#ifndef APPLIANCE_OUTPUT_H
#define APPLIANCE_OUTPUT_H

#include "appliance/console.h"
#include "appliance/err.h"
#include "appliance/loop.h"
#include "appliance/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- one service's output --- */
struct output;
struct output_counts {
    uint64_t bytes, lines;
    uint64_t dropped_lines, dropped_bytes;           /* on the way to the console or the file */
    uint64_t file_dropped_lines, file_dropped_bytes; /* those of them that the file lacks */
    bool waits;                                      /* its pipe is left unread until the console or the file has room */
    bool file_blocked;                               /* its file can't be written just now: `reason` says why */
    char reason[120];
};

/* Makes the pipe. Settings are those of the spec; output_configure takes a changed spec. The log file is opened by its first line. */
struct output *output_new(struct loop *, const struct service_spec *, struct err *);
bool output_configure(struct output *, const struct service_spec *, struct err *);
/* Reads what is left in the pipe first. Not from within a line callback. Its followers have ended: `output` is NULL, and
 * `ready` has been called. */
void output_free(struct output *);
int output_write_end(const struct output *); /* for child_spec.output; stays open in us */
/* The process has ended: everything it printed is taken now, and its last line is complete even without a newline. */
void output_end(struct output *);
/* Called for each complete line while set (readiness by line; a prompt to probe). The text is not terminated. */
void output_on_line(struct output *, void (*line)(void *argument, const char *text, size_t length), void *argument);
void output_count(const struct output *, struct output_counts *);
/* The last lines, newest last, for status and `logs`: up to `limit` bytes, whole lines (and the unfinished one, completed);
 * returns how many bytes were written. */
size_t output_tail(const struct output *, char *out, size_t limit);

/* --- followers: `logs -f` --- */
struct follower {
    void (*ready)(struct follower *); /* there is something to take, or it has ended; runs in the loop, may stop any follower */
    void (*lines)(struct follower *, const char *data, size_t length); /* a tap: all whole lines, at once; nothing is queued or dropped */
    struct follower *next;
    /* the rest is output.c's */
    struct output *output; /* NULL: the service's output is no more; what is left may still be taken */
    char *data;
    size_t length, capacity;
    uint64_t dropped, dropped_bytes; /* lines that found no room and are not told yet */
};
void follower_start(struct follower *, struct output *, void (*ready)(struct follower *));
void follower_tap(struct follower *, struct output *, void (*lines)(struct follower *, const char *data, size_t length));
void follower_stop(struct follower *); /* fine when stopped already or zeroed */
/* Bytes of lines, as they came; 0: nothing now. A slow taker misses whole lines, and a line of ours tells how many. */
size_t follower_take(struct follower *, char *out, size_t limit);

#endif
