/* offload.h - run something that may block (fsync, getaddrinfo, unlink of a large tree) on a helper thread.
 * `work` runs there and touches nothing but its job; `finish` runs in the loop afterwards, unless the owner gave the job up first. */
#ifndef APPLIANCE_OFFLOAD_H
#define APPLIANCE_OFFLOAD_H

#include "appliance/err.h"
#include "appliance/loop.h"

struct offload; /* one job; freed by offload.c after `drop` */

/* `job` is heap memory of the caller. `drop` frees it: after `finish`, or when work ends after offload_abandon. */
struct offload *offload_start(struct loop *, void *job, void (*work)(void *job), void (*finish)(void *job, void *owner),
                              void (*drop)(void *job), void *owner, struct err *);
void offload_abandon(struct offload *); /* finish will not be called; never waits */
int offload_count(void);                /* jobs under way */
void offload_stop(void);                /* waits for them and closes the wake-up; at the very end */

#endif
