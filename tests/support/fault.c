#include "fault.h"
#include "appliance/sys.h"

#include <errno.h>
#include <string.h>

static struct sys real;
static bool installed;
static struct rule {
    int from, count, error; /* from 0: no fault */
    int calls, hits;
} rules[FAULT_CALLS];
static long long fixed_ns = -1;

static bool fails(enum fault_call call)
{
    struct rule *rule = &rules[call];
    rule->calls++;
    if (rule->from == 0 || rule->calls < rule->from || (rule->count && rule->calls >= rule->from + rule->count))
        return false;
    rule->hits++;
    errno = rule->error;
    return true;
}

#define WRAP(type, name, CALL, parameters, arguments)          \
    static type faulty_##name parameters                       \
    {                                                          \
        return fails(FAULT_##CALL) ? -1 : real.name arguments; \
    }

WRAP(int, open, OPEN, (const char *path, int flags, mode_t mode), (path, flags, mode))
WRAP(ssize_t, read, READ, (int fd, void *data, size_t length), (fd, data, length))
WRAP(ssize_t, write, WRITE, (int fd, const void *data, size_t length), (fd, data, length))
WRAP(int, pipe2, PIPE2, (int fds[2], int flags), (fds, flags))
WRAP(int, fcntl, FCNTL, (int fd, int command, long argument), (fd, command, argument))
WRAP(int, rename, RENAME, (const char *from, const char *to), (from, to))
WRAP(int, unlink, UNLINK, (const char *path), (path))
WRAP(int, fsync, FSYNC, (int fd), (fd))
WRAP(int, socket, SOCKET, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, connect, CONNECT, (int fd, const struct sockaddr *to, socklen_t length), (fd, to, length))
WRAP(int, accept4, ACCEPT4, (int fd, struct sockaddr *from, socklen_t *length, int flags), (fd, from, length, flags))
WRAP(int, epoll_create1, EPOLL_CREATE1, (int flags), (flags))
WRAP(int, epoll_ctl, EPOLL_CTL, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event))
WRAP(int, epoll_wait, EPOLL_WAIT, (int epoll, struct epoll_event *events, int count, int64_t timeout_ns),
     (epoll, events, count, timeout_ns))
WRAP(int, eventfd, EVENTFD, (unsigned initial, int flags), (initial, flags))
WRAP(int, signalfd, SIGNALFD, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(int, timerfd_create, TIMERFD_CREATE, (int clock, int flags), (clock, flags))
WRAP(pid_t, spawn, SPAWN, (int (*child)(void *), void *stack, int flags, void *argument, int *pidfd),
     (child, stack, flags, argument, pidfd))
WRAP(int, pidfd_open, PIDFD_OPEN, (pid_t pid, unsigned flags), (pid, flags))
WRAP(int, pidfd_send_signal, PIDFD_SEND_SIGNAL, (int pidfd, int signal, siginfo_t *info, unsigned flags), (pidfd, signal, info, flags))
WRAP(int, kill, KILL, (pid_t pid, int signal), (pid, signal))
WRAP(int, waitid, WAITID, (idtype_t type, id_t id, siginfo_t *info, int options), (type, id, info, options))

static int64_t stepped_clock_ns(void)
{
    return fixed_ns >= 0 ? fixed_ns : real.clock_ns();
}

static void install(void)
{
    if (installed)
        return;
    installed = true;
    real = sys;
    sys = (struct sys){
        .open = faulty_open,
        .close = real.close, /* can't be made to fail: nobody could do anything about it */
        .read = faulty_read,
        .write = faulty_write,
        .pipe2 = faulty_pipe2,
        .fcntl = faulty_fcntl,
        .rename = faulty_rename,
        .unlink = faulty_unlink,
        .fsync = faulty_fsync,
        .socket = faulty_socket,
        .connect = faulty_connect,
        .accept4 = faulty_accept4,
        .epoll_create1 = faulty_epoll_create1,
        .epoll_ctl = faulty_epoll_ctl,
        .epoll_wait = faulty_epoll_wait,
        .eventfd = faulty_eventfd,
        .signalfd = faulty_signalfd,
        .timerfd_create = faulty_timerfd_create,
        .spawn = faulty_spawn,
        .pidfd_open = faulty_pidfd_open,
        .pidfd_send_signal = faulty_pidfd_send_signal,
        .kill = faulty_kill,
        .waitid = faulty_waitid,
        .clock_ns = stepped_clock_ns,
    };
}

void fault_set(enum fault_call call, int nth, int count, int error)
{
    install();
    rules[call] = (struct rule){.from = nth, .count = count, .error = error};
}

void fault_clear(void)
{
    install();
    memset(rules, 0, sizeof rules);
}

int fault_calls(enum fault_call call)
{
    return rules[call].calls;
}

int fault_hits(enum fault_call call)
{
    return rules[call].hits;
}

const char *fault_name(enum fault_call call)
{
    static const char *const names[FAULT_CALLS] = {
        "open",     "read",           "write",     "pipe2",      "fcntl",
        "rename",   "unlink",         "fsync",     "socket",     "connect",
        "accept4",  "epoll_create1",  "epoll_ctl", "epoll_wait", "eventfd",
        "signalfd", "timerfd_create", "spawn",     "pidfd_open", "pidfd_send_signal",
        "kill",     "waitid",
    };
    return names[call];
}

void fault_clock(long long now_ns)
{
    install();
    fixed_ns = now_ns;
}

struct fault fault_sweep(enum fault_call call, int error)
{
    return (struct fault){.call = call, .error = error};
}

bool fault_next(struct fault *f)
{
    bool first = f->nth == 0, hit = rules[f->call].hits > 0;
    fault_clear();
    if (!first && !hit) /* the body ran with nothing failing: the sweep has passed the last call */
        return false;
    fault_set(f->call, ++f->nth, 1, f->error);
    return true;
}
