/* signals.h - signals arrive in the loop, through one signalfd. */
#ifndef APPLIANCE_SIGNALS_H
#define APPLIANCE_SIGNALS_H

#include "appliance/err.h"
#include "appliance/loop.h"

/* The very first thing main does: as PID 1 a TERM that is neither blocked nor handled is dropped by the kernel. */
void signals_block(void);
/* SIGCHLD goes to reaper_run; TERM, INT, QUIT, HUP, USR1, USR2, WINCH to `caught`, which may be NULL. Idempotent (a later call changes `caught`). */
bool signals_start(struct loop *, void (*caught)(int signal), struct err *);
void signals_stop(void);

#endif
