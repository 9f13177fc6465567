/* supervise_wait.h - what lua_supervise.c and supervise_wait.c share: parts of one Lua module, with supervise_runs.c. */
#ifndef APPLIANCE_SUPERVISE_WAIT_H
#define APPLIANCE_SUPERVISE_WAIT_H

#include "appliance/supervise.h"

#include <lua.h>

/* The one supervisor, or raises. */
struct supervisor *supervise_check(lua_State *L);
/* The output of the service named at `index`. NULL: there is none, and nil and an error were pushed. */
struct output *supervise_output(lua_State *L, int index);
/* Adds stop_all, next_change and follow to the module table on top. */
void supervise_open_waits(lua_State *L);
/* Adds runs and lines (supervise_runs.c). */
void supervise_open_runs(lua_State *L);

#endif
