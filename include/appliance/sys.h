/* sys.h - the system calls that can fail under a supervisor, behind one table.
 * The program never changes it. Tests replace an entry to make the n-th call fail (tests/support/fault.h), which is how
 * "fork says EAGAIN", "no descriptor left" and "disk full" are tested without a broken machine.
 * Each entry has the meaning, result and errno of the call it is named after. */
#ifndef APPLIANCE_SYS_H
#define APPLIANCE_SYS_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>

struct addrinfo;

struct sys {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *data, size_t length);
    ssize_t (*write)(int fd, const void *data, size_t length);
    int (*pipe2)(int fds[2], int flags);
    int (*fcntl)(int fd, int command, long argument);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*fsync)(int fd);
    int (*socket)(int domain, int type, int protocol);
    int (*connect)(int fd, const struct sockaddr *, socklen_t);
    int (*accept4)(int fd, struct sockaddr *, socklen_t *, int flags);
    int (*epoll_create1)(int flags);
    int (*epoll_ctl)(int epoll, int operation, int fd, struct epoll_event *);
    int (*epoll_wait)(int epoll, struct epoll_event *, int count, int64_t timeout_ns); /* -1: no limit; epoll_pwait2, or rounded up to ms */
    int (*eventfd)(unsigned initial, int flags);
    int (*signalfd)(int fd, const sigset_t *, int flags);
    int (*timerfd_create)(int clock, int flags);
    /* clone(2) as vfork with a pidfd: the child runs on `stack_top` in our memory until it execs or exits. */
    pid_t (*spawn)(int (*child)(void *), void *stack_top, int flags, void *argument, int *pidfd);
    int (*pidfd_open)(pid_t pid, unsigned flags);
    int (*pidfd_send_signal)(int pidfd, int signal, siginfo_t *, unsigned flags);
    int (*kill)(pid_t pid, int signal);
    int (*waitid)(idtype_t, id_t, siginfo_t *, int options);
    /* Waits for name servers, so only helper threads call it. */
    int (*getaddrinfo)(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **);
    int64_t (*clock_ns)(void); /* CLOCK_MONOTONIC; tests step it */
};

extern struct sys sys;

#endif
