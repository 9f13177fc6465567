#include "appliance/http_loopback.h"
#include "appliance/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static bool listen_on(int fd, uint16_t *port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int yes = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        listen(fd, backlog) < 0 || getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return false;
    *port = ntohs(address.sin_port);
    return true;
}

int http_listen_loopback(uint16_t *port, int backlog, struct err *err)
{
    int fd = sys.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && listen_on(fd, port, backlog))
        return fd;
    if (errno == EADDRINUSE)
        err_set(err, ERR_CONFLICT, "127.0.0.1:%u: somebody listens there already", (unsigned)*port);
    else
        err_errno(err, "listen on 127.0.0.1:%u", (unsigned)*port);
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
