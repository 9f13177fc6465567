#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where glibc's prototype is variadic, overloaded or too young (Debian 11 has no pidfd_open in libc), a plain function stands in. */

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int real_fcntl(int fd, int command, long argument)
{
    return fcntl(fd, command, argument);
}

static int real_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return accept4(fd, address, length, flags);
}

static int real_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return connect(fd, address, length);
}

/* The nanosecond wait came with Linux 5.11; before it, and where a seccomp filter does not know it, rounded up to milliseconds so
 * that no timer is met too early and polled for. */
static int real_epoll_wait(int epoll, struct epoll_event *events, int count, int64_t timeout_ns)
{
    static bool only_ms; /* written by the loop's thread alone */
    if (timeout_ns <= 0)
        return epoll_wait(epoll, events, count, timeout_ns < 0 ? -1 : 0);
#ifdef SYS_epoll_pwait2
    if (!only_ms) {
        struct timespec limit = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
        int found = (int)syscall(SYS_epoll_pwait2, epoll, events, count, &limit, NULL, 0);
        if (found >= 0 || (errno != ENOSYS && errno != EPERM))
            return found;
        only_ms = true;
    }
#endif
    int64_t ms = (timeout_ns + 999999) / 1000000;
    return epoll_wait(epoll, events, count, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static pid_t real_spawn(int (*child)(void *), void *stack_top, int flags, void *argument, int *pidfd)
{
    return clone(child, stack_top, flags, argument, pidfd);
}

static int real_pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int real_pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, info, flags);
}

static int64_t real_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct sys sys = {
    .open = real_open,
    .close = close,
    .read = read,
    .write = write,
    .pipe2 = pipe2,
    .fcntl = real_fcntl,
    .rename = rename,
    .unlink = unlink,
    .fsync = fsync,
    .socket = socket,
    .connect = real_connect,
    .accept4 = real_accept4,
    .epoll_create1 = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .epoll_wait = real_epoll_wait,
    .eventfd = eventfd,
    .signalfd = signalfd,
    .timerfd_create = timerfd_create,
    .spawn = real_spawn,
    .pidfd_open = real_pidfd_open,
    .pidfd_send_signal = real_pidfd_send_signal,
    .kill = kill,
    .waitid = waitid,
    .getaddrinfo = getaddrinfo,
    .clock_ns = real_clock_ns,
};
