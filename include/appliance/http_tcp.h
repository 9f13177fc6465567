/* http_tcp.h - the TCP sockets on which our little HTTP server listens, for clients that know no unix sockets: on 127.0.0.1, which only
 * this machine reaches, or where somebody said that others may. */
#ifndef APPLIANCE_HTTP_TCP_H
#define APPLIANCE_HTTP_TCP_H

#include "appliance/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A listening, non-blocking socket, or -1. `address`: numeric, IPv4 or IPv6 ("::" takes both); NULL: 127.0.0.1. *port 0: the kernel
 * chooses; then it is what it chose. A port that was just given up can be had again at once; one on which somebody listens is a CONFLICT. */
int http_listen_tcp(const char *address, uint16_t *port, int backlog, struct err *err);

/* Does the peer of that connection have a loopback address? Somebody of this machine who connects from another of its addresses, as
 * a container's forwarded port may look, has not. */
bool http_peer_is_loopback(int fd);

#endif
