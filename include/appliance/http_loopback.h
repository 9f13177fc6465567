/* http_loopback.h - TCP sockets that only this machine reaches: 127.0.0.1, for servers whose clients know no unix sockets. */
#ifndef APPLIANCE_HTTP_LOOPBACK_H
#define APPLIANCE_HTTP_LOOPBACK_H

#include "appliance/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A listening, non-blocking socket, or -1. *port 0: the kernel chooses; then it is what it chose. A port that was just given up can
 * be had again at once; one on which somebody listens is a CONFLICT. */
int http_listen_loopback(uint16_t *port, int backlog, struct err *err);

/* Does the peer of that connection have a loopback address? Somebody of this machine who connects from another of its addresses, as
 * a container's forwarded port may look, has not. */
bool http_peer_is_loopback(int fd);

#endif
