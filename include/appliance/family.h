/* family.h - all processes that descend from one service, also those that left its group or session.
 * Found in one sweep over /proc by the session of the main process, by the marker in the environment
 * (APPLIANCE_SERVICE=<name>@<instance>, inherited through fork and exec) and by parentage. A signal goes through a pidfd that is opened
 * first and then held against the start time seen in the sweep, so a reused pid is never hit.
 * A process that wiped its environment (or whose environment we may not read) *and* left its session *and* was given to us by its
 * parent's death is nobody's: only the end of the program takes it (a family without a marker). Zombies don't count.
 * Costs: sweeps of one turn are shared by all families, and there is none at all when nobody is left that could be found. */
#ifndef APPLIANCE_FAMILY_H
#define APPLIANCE_FAMILY_H

#include "appliance/err.h"
#include "appliance/loop.h"

#include <stdbool.h>
#include <sys/types.h>

struct family;

/* `marker` as child_marker() makes it. NULL: everybody we answer for. That is, as PID 1, every other process of our PID namespace
 * (those of `docker exec` too); else whoever descends from us. Call reaper_start first: the end of members is learned from it, too. */
struct family *family_new(struct loop *, const char *marker, void (*gone)(struct family *, void *), void *argument, struct err *);
void family_free(struct family *); /* also from `gone` */
/* One sweep: sends `signal` (0: none; SIGCONT follows by itself, so that a stopped process hears it) to everybody found, `main`
 * included, and watches them. `main` is a running child of child.c, or 0 when it has ended. Returns how many live members there are.
 * When the last of them has ended, and another sweep found nobody, `gone` runs once, in the loop and after the `ended` of main; whoever
 * that sweep finds is sent the same signal. After a return of 0 `gone` is not called. Calling again changes the signal. */
int family_signal(struct family *, pid_t main, int signal);
/* May anybody of a family be alive whose `main` has ended (0, or the pid it had)? Exact when nobody of any service lost its parent;
 * else true. One read of our list of children, no sweep: cheap enough for each restart. */
bool family_may_have_members(pid_t main);

#endif
