/* http_unix.h - sockets that are files: how our control socket is bound, and how its clients reach it.
 * A path of any length works (the kernel's own limit is 107 bytes). */
#ifndef APPLIANCE_HTTP_UNIX_H
#define APPLIANCE_HTTP_UNIX_H

#include "appliance/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct http_listener {
    int fd;   /* non-blocking, listening; -1 while closed */
    int lock; /* PATH.lock, flock(2)ed for as long as we listen; -1 where the file system has no locks */
    char *path;
    dev_t device;
    ino_t inode; /* of the socket we made, so that we never remove another's */
};

/* Binds PATH with mode 0600 from its first moment on. The socket of a dead process is replaced; a living one, or a file that is
 * no socket, is a CONFLICT. */
bool http_listen(struct http_listener *, const char *path, struct err *);
void http_listener_close(struct http_listener *); /* removes the socket; fine when zeroed-and-closed already */

/* A connected, non-blocking socket, or -1. A connect to a unix socket never takes time. */
int http_connect_unix(const char *path, struct err *);

#endif
