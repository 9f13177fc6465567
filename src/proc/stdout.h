/* stdout.h - console.c's way to descriptor 1: writes that never wait, and never set O_NONBLOCK on a description that others share
 * (the user's terminal, the shell's pipe). */
#ifndef APPLIANCE_STDOUT_H
#define APPLIANCE_STDOUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

void stdout_open(void);
int stdout_fd(void);                                   /* to watch for EPOLLOUT */
ssize_t stdout_write(const char *data, size_t length); /* as write(2) on a non-blocking descriptor */
void stdout_flush(int64_t end_ns);                     /* until what was written has arrived; clock_ns() time */
void stdout_close(void);                               /* 1 itself stays open */

#endif
