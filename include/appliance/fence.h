/* fence.h - a deadline that the kernel keeps: a process and its group are killed at a time though nobody of this program runs any more.
 * The deadline thread (deadline.h) is stopped with the rest of us: by SIGSTOP, a debugger, a frozen cgroup, a machine that has no time.
 * What it should have killed meanwhile would live on beside us, or go on for a moment before us at the thaw. So each process with a
 * deadline gets a *keeper*, a child of ours that only sleeps, and this chain of which every link is the kernel's own:
 *  - a timer of the keeper's sends SIGKILL to the keeper at the deadline (a signal that ends also who is stopped, or ptraced, or, with
 *    cgroup v2, frozen);
 *  - the end of the keeper closes a pipe, of which it has the one end that writes;
 *  - the end that reads is ours, asked (F_SETSIG, F_SETOWN) to send SIGKILL to the process when that happens. It means that very process:
 *    the kernel keeps it by reference, not by number.
 * A keeper that dies for another reason, or of which we could not make a later deadline known, kills too early, never too late.
 * It is a second line: where the kernel refuses a part of it, the thread alone keeps the deadline. It shares our memory and costs
 * nothing but a number and two pages. It leaves no trace when it is gone, but has to be reaped like any child: see fence_reaped. */
#ifndef APPLIANCE_FENCE_H
#define APPLIANCE_FENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fence;

/* Around a living child of ours that nobody has reaped, from now on. All of fence.h belongs to the loop's thread: a keeper ends with the
 * thread that made it. `due_boot_ns`: clock_boot_ns; INT64_MAX, none yet.
 * NULL: there is none, for want of something that is no reason not to go on. */
struct fence *fence_make(pid_t pid, int64_t due_boot_ns);
/* Moves the deadline; one that is over kills at once. */
void fence_set(struct fence *, int64_t due_boot_ns);
/* Takes it away, without a kill. NULL is none. It is gone for the caller; what is left of it goes when its keeper has been reaped. */
void fence_end(struct fence *);

/* Is this a keeper, with its fence standing or ended? */
bool fence_is_keeper(pid_t pid);
/* A child was reaped. A keeper: -> true. `of`, if it is not NULL: the fence if it still stood, else NULL; that one has killed, and is
 * no more. */
bool fence_reaped(pid_t pid, struct fence **of);
/* Reaps those that were ended and nobody has reaped. Waits for them, which is short: they have been killed. */
void fence_reap_all(void);

#endif
