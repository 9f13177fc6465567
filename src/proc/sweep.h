/* sweep.h - one look at every process that /proc shows: whose child, whose session, whose marker; private to proc. */
#ifndef APPLIANCE_SWEEP_H
#define APPLIANCE_SWEEP_H

#include "appliance/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid, parent, session;
    uint64_t start;     /* in ticks since boot: with the pid it names one process for ever */
    int parent_index;   /* in the list; -1: not there */
    bool known_session; /* it is in the session of a living child of child.c, so there is no question whose it is */
    bool in_exec;       /* its marker can't be read just now */
    bool runs;          /* or would, if it had a processor; one that hangs in the kernel does not */
    uint64_t faults;    /* minor page faults so far: an exec that gets on has ever more */
    uint32_t marker;    /* offset into texts of "name@instance"; 0: none, or not readable */
};

struct sweep {
    struct process *list; /* by rising pid; without ourselves and without zombies */
    size_t count;
    char *texts;
};

enum sweep_result { SWEEP_DONE, SWEEP_LATER /* no memory or descriptor just now */, SWEEP_NEVER /* no /proc of our PID namespace */ };

/* One sweep serves everybody who asks in the same turn of the loop while nobody died, unless `fresh`. Valid until the next call. */
enum sweep_result sweep_take(struct loop *, bool fresh, const struct sweep **);
/* True when `pid` is still the process that started at `start`, and no zombie. False with `shortage`: that could not be told now. */
bool sweep_is_same(pid_t pid, uint64_t start, bool *shortage);
/* Gives everything back: descriptors, memory, timer. */
void sweep_stop(void);

#endif
