/* supervise.h - the process's one supervisor, shared by the program's life (program.c) and the Lua module that feeds it. */
#ifndef APPLIANCE_SUPERVISE_H
#define APPLIANCE_SUPERVISE_H

#include "appliance/supervisor.h"

/* Made by the first call, in task_loop(); NULL only without memory. */
struct supervisor *supervise_instance(void);

#endif
