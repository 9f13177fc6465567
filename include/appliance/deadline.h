/* deadline.h - a thread of its own that knows monotonic deadlines and pidfds, and nothing else.
 * It works when the loop, Lua, a disk or a library hangs. Two uses:
 *  - a *lease*: processes that must be dead at a time (a thrift server whose lease ran out) are killed at it, by the thread, or,
 *    if this whole program stands still at that time, by the kernel alone (fence.h);
 *  - the *watchdog*: if the loop has not turned for the limit, it says so on stderr, kills every listed process and ends the program with 70.
 * It takes no lock that the loop holds while it waits, allocates nothing after its start, and sleeps for ever while nothing is due.
 * The thread is made by the first wait of the loop, or the first lease. Until then SIGALRM stands in for the watchdog: it ends whatever
 * computes or waits in user space or in a call that signals interrupt, but not a start that hangs in the kernel (a dead NFS mount). */
#ifndef APPLIANCE_DEADLINE_H
#define APPLIANCE_DEADLINE_H

#include "appliance/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

bool deadline_start(int64_t watchdog_ms, struct err *); /* 0: no watchdog. A second call changes the limit, from the next turn on */
void deadline_stop(void);

/* Around each wait of the loop: a busy loop is timed, a waiting one is not. Called by loop.c. */
void deadline_loop_busy(void);
void deadline_loop_idle(void);
/* A turn without a wait, for there was something to do at once. */
void deadline_loop_turned(void);

/* The thread, and room in its table for one more process: after it the next deadline_guard can't fail. To be asked before a process
 * is made that may not live without its deadline. */
bool deadline_prepare(struct err *);
/* The processes that must not outlive supervision. `pidfd` -1: the pid is used. Room for more is made by the caller's thread.
 * `due_boot_ns` as for deadline_set, from this very step on: INT64_MAX, none. */
bool deadline_guard(pid_t pid, int pidfd, int64_t due_boot_ns, struct err *);
/* A child was reaped. True: it was one of our own making, of which nobody else knows. */
bool deadline_unguard(pid_t pid);
/* Is this child, not yet reaped, one of those? */
bool deadline_is_ours(pid_t pid);
/* Kills a guarded process (its group too) at `due_boot_ns` (clock_boot_ns) unless moved; INT64_MAX takes the deadline away. What is due
 * already is killed before this returns.
 * False: it has been killed by its deadline (whatever was set now), or is not guarded, or there is no room for the thread. */
bool deadline_set(pid_t pid, int64_t due_boot_ns);

/* Between these the thread kills nobody by the table. Around the reaping of a child and its deadline_unguard: in between, its number
 * may be given to a stranger. Never around anything that waits. */
void deadline_hold(void);
void deadline_release(void);

#endif
