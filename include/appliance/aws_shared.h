/* aws_shared.h - what all AWS parts of a process share, made by the first use on task_loop(): here because only src/lua knows the task
 * loop. Closed when Lua is closed, before the connections (http_shutdown). */
#ifndef APPLIANCE_AWS_SHARED_H
#define APPLIANCE_AWS_SHARED_H

#include "appliance/credentials.h"

/* The store over environ. NULL with err: no memory or descriptors. */
struct credentials_store *aws_shared_credentials(struct err *);

#endif
