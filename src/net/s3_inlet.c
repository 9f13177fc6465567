#include "appliance/sys.h"
#include "s3_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READABLE = 0x001, PIPE_LENGTH = 1 << 20 };

static struct s3_inlet *inlet_of_watch(struct watch *watch)
{
    return (struct s3_inlet *)(void *)((char *)watch - offsetof(struct s3_inlet, watch));
}

static void on_ready(struct watch *watch, uint32_t events)
{
    (void)events;
    struct s3_inlet *inlet = inlet_of_watch(watch);
    inlet->ready(inlet);
}

static void on_soon(struct timer *timer)
{
    struct s3_inlet *inlet = (struct s3_inlet *)(void *)((char *)timer - offsetof(struct s3_inlet, soon));
    inlet->ready(inlet);
}

/* As for an outlet: O_NONBLOCK on the description that was given would be everybody's. */
bool s3_inlet_open(struct s3_inlet *inlet, struct loop *loop, int fd, void (*ready)(struct s3_inlet *), struct err *err)
{
    struct stat status;
    char own[40];
    *inlet = (struct s3_inlet){.loop = loop, .fd = -1, .ready = ready};
    if (fstat(fd, &status) < 0)
        return err_errno(err, "descriptor %d", fd);
    inlet->socket = S_ISSOCK(status.st_mode);
    inlet->always = S_ISREG(status.st_mode) || S_ISBLK(status.st_mode);
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    if (!inlet->socket && !inlet->always)
        inlet->fd = sys.open(own, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
    inlet->once = inlet->fd < 0 && !inlet->socket;
    if (inlet->fd < 0)
        inlet->fd = sys.fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (inlet->fd < 0)
        return err_errno(err, "descriptor %d", fd);
    inlet->named = S_ISFIFO(status.st_mode);
    if (S_ISFIFO(status.st_mode))
        fcntl(inlet->fd, F_SETPIPE_SZ, PIPE_LENGTH); /* fewer turns for each MiB; a user who has too many such pipes gets none */
    inlet->open = true;
    return true;
}

bool s3_inlet_wait(struct s3_inlet *inlet, struct err *err)
{
    if (inlet->always) {
        timer_start_ns(&inlet->soon, inlet->loop, 0, on_soon);
        return true;
    }
    if (watch_is_started(&inlet->watch) || watch_start(&inlet->watch, inlet->loop, inlet->fd, READABLE, on_ready, err))
        return true;
    inlet->always = err->code == EPERM; /* /dev/zero and the like: epoll has no use for them, as they are always ready */
    return inlet->always && s3_inlet_wait(inlet, err);
}

void s3_inlet_rest(struct s3_inlet *inlet)
{
    watch_stop(&inlet->watch);
    timer_stop(&inlet->soon);
}

/* The kernel says so only when there were writers since it was opened. */
static bool has_hung_up(int fd)
{
    struct pollfd ask = {.fd = fd, .events = POLLIN};
    return poll(&ask, 1, 0) != 0;
}

ssize_t s3_inlet_read(struct s3_inlet *inlet, char *room, size_t size, struct err *err)
{
    ssize_t count;
    do
        count = inlet->socket ? recv(inlet->fd, room, size, MSG_DONTWAIT) : sys.read(inlet->fd, room, size);
    while (count < 0 && errno == EINTR);
    if (count > 0)
        inlet->named = false; /* somebody writes: from now on the end is the end */
    if (count == 0 && inlet->named && !has_hung_up(inlet->fd))
        return S3_INLET_EMPTY;
    if (count >= 0)
        return count;
    if (errno == EAGAIN)
        return S3_INLET_EMPTY;
    err_errno(err, "read from descriptor %d", inlet->fd);
    return S3_INLET_BROKEN;
}

void s3_inlet_close(struct s3_inlet *inlet)
{
    if (!inlet->open)
        return;
    s3_inlet_rest(inlet);
    sys.close(inlet->fd);
    inlet->open = false;
}
