/* program.h - the life of the process: its settings, its signals, and its end.
 * Two ways of living: a command (`status`, `plan` ...) that ends with its main task, and the supervisor, which ends when
 * everything was stopped. From program_supervise on no failure ends the program: it is an event. */
#ifndef APPLIANCE_PROGRAM_H
#define APPLIANCE_PROGRAM_H

#include "appliance/err.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum exit_code { /* sysexits(3) where it has a word */
                 EXIT_ASKED = 0,
                 EXIT_GAVE_UP = 1, /* a critical service is beyond help */
                 EXIT_BAD_USAGE = 64,
                 EXIT_NO_FACT = 69, /* a needed fact did not come in time */
                 EXIT_BUG = 70,
                 EXIT_BAD_CONFIGURATION = 78,
};

struct program_options {
    int64_t stop_timeout_ms; /* budget of an ordered stop */
    int64_t watchdog_ms;     /* 0: none */
    bool json;               /* log format */
};

/* Becomes the supervisor: reaper (PID 1 or subreaper), console, deadline thread. A second call only changes the options. */
bool program_supervise(const struct program_options *, struct err *);
bool program_is_supervising(void);
/* SIGTERM and SIGINT come here: a supervisor stops everything in order, a command ends with 128 + signal. Twice: hurries. */
void program_signal(int signal);
/* Ends the turn of the main loop with this code, once; a supervisor stops its services first. The first reason counts. */
void program_end(int code);

/* main.c's: turns the loop until the program ends; returns the exit code. */
int program_run(lua_State *L, int argc, char **argv);

#endif
