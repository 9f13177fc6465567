/* reaper.h - every death in our process tree passes here once.
 * Children of child.c are found by pid in its table (a hash, so 1,000 services cost what one does) and told; any other pid is an
 * orphan that was given to us (as PID 1 or subreaper): reaped and counted, never taken for one of ours. Reaps until none is left, in
 * slices so that other events are served.
 * One death costs one wake-up: SIGCHLD is needed for orphans anyway, so the pidfds of children are not watched as well.
 * A batch is reaped first and told afterwards, so what `ended` sees (reaper_strangers above all) is later than every death of it. */
#ifndef APPLIANCE_REAPER_H
#define APPLIANCE_REAPER_H

#include "appliance/child.h"

/* `subreaper`: take orphans even when we are not PID 1. SIGCHLD must be blocked; signals.c calls reaper_run on it.
 * Must be called on the process's first thread: orphans are given to it. Idempotent. */
bool reaper_start(struct loop *, bool subreaper, struct err *);
void reaper_stop(void);
void reaper_run(void);              /* call on SIGCHLD */
void reaper_add(struct child *);    /* by child_start; never fails */
void reaper_remove(struct child *); /* forgets a child: its death will be a stranger's, and `ended` is not called */
struct child *reaper_find(pid_t);   /* NULL: not one of ours */
/* Called after each batch in which anybody was reaped, when all `ended` of it have returned; family.c waits for it. One caller. */
void reaper_on_batch(void (*call)(void *), void *argument);
unsigned long reaper_orphans(void); /* reaped since start */
unsigned long reaper_deaths(void);  /* reaped since start, ours and orphans: moves with every death, so it dates what was learned */
/* How many direct children of ours are alive (or not reaped yet) that the table does not know: orphans, and roots of what a dead
 * main process left. -1: this kernel does not tell. One read of our list of children. */
int reaper_strangers(void);

#endif
