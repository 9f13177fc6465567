/* credentials_process.h - runs the command of a profile's credential_process without waiting for it, and collects what it prints.
 * The command is a line for /bin/sh. Its stdout is the document; its stderr is never mixed in, and the last line of it is part of the
 * sentence when the command fails. A limit of time, and an end of the whole process group when it is given up.
 *
 * Not child.h: that one learns of deaths through SIGCHLD, which PID 1 and nobody else has set up, and net does not see proc. Here nobody's
 * exit is waited for: the shell that runs the command hands itself to init (to PID 1's reaper of orphans, where we are it) and tells the
 * exit code through a pipe, whose end is also the end of the command.
 * Invariant: while that pipe has a writer, somebody of the process group lives, so its number is nobody else's and may be killed. */
#ifndef APPLIANCE_CREDENTIALS_PROCESS_H
#define APPLIANCE_CREDENTIALS_PROCESS_H

#include "appliance/buf.h"
#include "appliance/loop.h"

#include <sys/types.h>

enum { CREDENTIALS_PROCESS_MS = 60000 };

struct credentials_process { /* zeroed = stopped */
    void (*done)(struct credentials_process *);
    struct buf output; /* when ok; wiped by the stop */
    bool ok;
    struct err err; /* begins with `name` */
    /* the rest is its own */
    struct loop *loop;
    const char *name;
    pid_t group;
    struct watch out, complaints, code;
    struct timer limit;
    struct buf last_words;
    char told[16]; /* the exit code, as it comes */
    size_t told_length;
};

/* `name` ("profile dev: its credential_process") must live until the stop. False: it could not be started. `done` is called in the loop,
 * never from within this call. */
bool credentials_process_start(struct credentials_process *, struct loop *, const char *name, const char *command, char *const *environment,
                               int64_t limit_ms, void (*done)(struct credentials_process *), struct err *);
void credentials_process_stop(struct credentials_process *); /* kills what still runs; fine when stopped */

#endif
