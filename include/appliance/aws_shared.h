/* aws_shared.h - what all AWS parts of a process share, made by the first use on task_loop(): here because only src/lua knows the task
 * loop. Closed when Lua is closed, before the connections (http_shutdown). */
#ifndef APPLIANCE_AWS_SHARED_H
#define APPLIANCE_AWS_SHARED_H

#include "appliance/aws_request.h"
#include "appliance/credentials.h"

/* The store over environ. NULL with err: no memory or descriptors. */
struct credentials_store *aws_shared_credentials(struct err *);
/* The client over that store, with the settings of environ and its files, read once. NULL with ERR_INVALID: a setting is at fault; they are
 * read again by the next call. */
struct aws_client *aws_shared_client(struct err *);
/* Around a wait for something of the store that it does not know of itself: metadata. */
void aws_shared_hold(void);
void aws_shared_release(void);
/* Whether somebody waits for credentials, metadata or an answer: closing would leave him waiting. */
bool aws_shared_is_busy(void);
/* Closes both, so that the next use begins anew: with other settings, or at the end. */
void aws_shared_close(void);

#endif
