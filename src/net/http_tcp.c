#include "appliance/http_tcp.h"
#include "appliance/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

struct place {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sock;
    socklen_t size;
};

static bool parse(struct place *place, const char *address, uint16_t port)
{
    *place = (struct place){.sock.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}, .size = sizeof place->sock.v4};
    if (inet_pton(AF_INET, address, &place->sock.v4.sin_addr) == 1)
        return true;
    *place = (struct place){.sock.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}, .size = sizeof place->sock.v6};
    return inet_pton(AF_INET6, address, &place->sock.v6.sin6_addr) == 1;
}

static bool listen_on(int fd, struct place *place, int backlog)
{
    int yes = 1, no = 0;
    if (place->sock.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 && bind(fd, &place->sock.any, place->size) == 0 &&
           listen(fd, backlog) == 0 && getsockname(fd, &place->sock.any, &place->size) == 0;
}

int http_listen_tcp(const char *address, uint16_t *port, int backlog, struct err *err)
{
    struct place place;
    char where[80];
    address = address ? address : "127.0.0.1";
    if (!parse(&place, address, *port)) {
        err_set(err, ERR_INVALID, "can't listen on '%.60s': it must be an IP address of this machine, or 0.0.0.0 for all of them", address);
        return -1;
    }
    bool is_v6 = place.sock.any.sa_family == AF_INET6;
    snprintf(where, sizeof where, is_v6 ? "[%.60s]:%u" : "%.60s:%u", address, (unsigned)*port);
    int fd = sys.socket(place.sock.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && listen_on(fd, &place, backlog)) {
        *port = ntohs(is_v6 ? place.sock.v6.sin6_port : place.sock.v4.sin_port);
        return fd;
    }
    if (errno == EADDRINUSE)
        err_set(err, ERR_CONFLICT, "%s: somebody listens there already", where);
    else if (errno == EADDRNOTAVAIL)
        err_set(err, ERR_INVALID, "can't listen on %s: this machine has no such address; `ip addr` shows those it has", where);
    else
        err_errno(err, "listen on %s", where);
    if (fd >= 0)
        sys.close(fd);
    return -1;
}

bool http_peer_is_loopback(int fd)
{
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET && ntohl(peer.sin_addr.s_addr) >> 24 == 127;
}
