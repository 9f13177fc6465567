#include "spawn.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

enum { STACK_SIZE = 64 * 1024, LAST_SIGNAL = 64, KERNEL_SIGSET = 8 };

/* A sanitizer's bookkeeping would be left behind on the stack at exec, and found by the next child. */
#define IN_CHILD __attribute__((noinline, no_sanitize("address", "undefined")))

struct kernel_sigaction { /* what rt_sigaction(2) takes; zeroed it means SIG_DFL on every architecture we build for */
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

IN_CHILD static bool failed(struct spawn *s, enum spawn_stage stage, int error)
{
    s->stage = stage;
    s->error = error;
    return false;
}

/* Ignored signals would survive exec, ours (SIGPIPE) and those we were started with (nohup). */
IN_CHILD static void default_signals(void)
{
    struct kernel_sigaction fresh = {0};
    for (int number = 1; number <= LAST_SIGNAL; number++)
        syscall(SYS_rt_sigaction, number, &fresh, NULL, (size_t)KERNEL_SIGSET);
}

IN_CHILD static void close_from_3(void)
{
    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
        return;
    /* Before Linux 5.9, or behind a seccomp filter: everything of ours is close-on-exec; this is for what others left open in us. */
    int folder = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return;
    char batch[1024] __attribute__((aligned(8)));
    long size;
    while ((size = syscall(SYS_getdents64, folder, batch, sizeof batch)) > 0)
        for (long at = 0; at < size;) {
            const char *entry = batch + at; /* struct linux_dirent64: length at 16, name at 19 */
            int fd = 0;
            for (const char *digit = entry + 19; *digit >= '0' && *digit <= '9'; digit++)
                fd = fd * 10 + (*digit - '0');
            if (fd > 2 && fd != folder)
                syscall(SYS_close, fd);
            at += *(const unsigned short *)(const void *)(entry + 16);
        }
    syscall(SYS_close, folder);
}

/* A copy of our table costs time for each descriptor that we have, three times: to copy, to close, and at exec. With a thousand
 * services that is most of a start. So the table is shared at first, and this call leaves the child one with just the few lowest. */
IN_CHILD static bool own_table(struct spawn *s)
{
    if (s->slot < 0)
        return true;
    if (syscall(SYS_close_range, (unsigned)s->slot + 1, ~0U, CLOSE_RANGE_UNSHARE) < 0) {
        s->still_shared = true;
        return failed(s, SPAWN_OUTPUT, errno);
    }
    s->output = s->slot;
    return true;
}

IN_CHILD static bool descriptors(struct spawn *s)
{
    for (int target = 1; target <= 2; target++)
        if (s->output == target) { /* dup3 refuses equal numbers, dup2 would leave it close-on-exec */
            if (syscall(SYS_fcntl, target, F_SETFD, 0) < 0)
                return failed(s, SPAWN_OUTPUT, errno);
        } else if (syscall(SYS_dup3, s->output, target, 0) < 0) {
            return failed(s, SPAWN_OUTPUT, errno);
        }
    close_from_3();
    syscall(SYS_close, 0);
    long input = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0); /* gets 0, the lowest that is free */
    if (input != 0)
        return failed(s, SPAWN_INPUT, input < 0 ? errno : EBADF);
    return true;
}

IN_CHILD static bool identity(struct spawn *s)
{
    if (s->set_user && (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, s->gid, s->gid, s->gid) < 0 ||
                        syscall(SYS_setresuid, s->uid, s->uid, s->uid) < 0))
        return failed(s, SPAWN_USER, errno);
    /* After the change of user, which clears it. If we died before this call nobody would tell the child: so it looks. */
    if (s->die_with_us && (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || syscall(SYS_getppid) != s->us))
        return failed(s, SPAWN_PARENT, ESRCH);
    return true;
}

/* A session of its own is a scheduling group of its own (sched(7), autogroup), among which the niceness of processes counts for
 * nothing: a background job at 19 would have as much of the processors as a worker. So the group gets the same value. Where the kernel
 * has none or refuses, processes are as nice as they are. */
IN_CHILD static void nice_group(long nice)
{
    char text[4];
    unsigned length = 0, size = (unsigned)(nice < 0 ? -nice : nice);
    if (nice < 0)
        text[length++] = '-';
    if (size >= 10)
        text[length++] = (char)('0' + size / 10);
    text[length++] = (char)('0' + size % 10);
    long group = syscall(SYS_openat, AT_FDCWD, "/proc/self/autogroup", O_WRONLY | O_CLOEXEC, 0);
    if (group < 0)
        return;
    syscall(SYS_write, group, text, (size_t)length);
    syscall(SYS_close, group);
}

IN_CHILD static bool priority(struct spawn *s)
{
    long now = 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0); /* getpriority(2) answers 20 - nice */
    long wanted = now + s->nice;
    if (s->nice && syscall(SYS_setpriority, PRIO_PROCESS, 0, (int)wanted) < 0)
        return false;
    wanted = wanted > 19 ? 19 : wanted < -20 ? -20 : wanted;
    if (wanted != 0) /* also when it is inherited: the new session began at 0 */
        nice_group(wanted);
    return true;
}

IN_CHILD static bool prepare(struct spawn *s)
{
    default_signals();
    syscall(SYS_setsid); /* can't fail: a fresh process leads no group */
    if (s->nofile && syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, s->nofile, NULL) < 0)
        return failed(s, SPAWN_LIMIT, errno);
    if (!own_table(s) || !descriptors(s))
        return false;
    if (!priority(s))
        return failed(s, SPAWN_NICE, errno);
    if (!identity(s))
        return false;
    if (s->dir && syscall(SYS_chdir, s->dir) < 0)
        return failed(s, SPAWN_DIR, errno);
    return true;
}

IN_CHILD static int in_child(void *argument)
{
    struct spawn *s = argument;
    if (prepare(s)) {
        unsigned long none = 0; /* last, so that a signal sent meanwhile ends a process whose dispositions are default already */
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, (size_t)KERNEL_SIGSET);
        syscall(SYS_execve, s->path, s->argv, s->envp);
        failed(s, SPAWN_EXEC, errno);
    }
    syscall(SYS_exit_group, 127);
    __builtin_unreachable();
}

/* One stack for all: the caller waits until the child has left it. A page without access below it turns an overflow into SIGSEGV. */
static void *stack_top(void)
{
    static char *stack;
    if (!stack) {
        size_t guard = (size_t)sysconf(_SC_PAGESIZE);
        char *fresh = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (fresh == MAP_FAILED)
            return NULL;
        mprotect(fresh, guard, PROT_NONE);
        stack = fresh + guard;
    }
    return stack + STACK_SIZE;
}

static pid_t clone_child(struct spawn *s, void *stack)
{
    static bool no_pidfd; /* a kernel before 5.2, or a filter: asked once */
    const int flags = CLONE_VM | CLONE_VFORK | SIGCHLD | (s->slot >= 0 ? CLONE_FILES : 0);
    s->pidfd = -1;
    if (no_pidfd)
        return sys.spawn(in_child, stack, flags, s, &s->pidfd);
    pid_t pid = sys.spawn(in_child, stack, flags | CLONE_PIDFD, s, &s->pidfd);
    if (pid >= 0)
        return pid;
    /* No descriptor left is no reason not to run: the pid alone is safe while the child is not reaped. */
    if (errno == EINVAL || errno == ENOSYS || errno == EPERM)
        no_pidfd = true;
    else if (errno != EMFILE && errno != ENFILE)
        return pid;
    pid = sys.spawn(in_child, stack, flags, s, &s->pidfd);
    s->pidfd = -1;
    if (pid < 0)
        no_pidfd = false; /* so it was not the pidfd that it refused */
    return pid;
}

/* A low number that stays ours, so that the child's table is small however many descriptors we have. -1: there is none. */
static int slot = -1;

void spawn_start(void)
{
    if (slot < 0)
        slot = (int)sys.fcntl(2, F_DUPFD_CLOEXEC, 3);
}

void spawn_stop(void)
{
    if (slot >= 0)
        sys.close(slot);
    slot = -1;
}

/* Clones, and reaps a child that could not become the program. */
static pid_t try_spawn(struct spawn *s, void *stack)
{
    s->error = 0;
    s->stage = SPAWN_CLONE;
    s->still_shared = false;
    /* No handler of ours may run in the child, and none in us on behalf of it: in_child empties the mask once none is left. */
    unsigned long all = ~0UL, before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, (size_t)KERNEL_SIGSET);
    pid_t pid = clone_child(s, stack);
    int error = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, (size_t)KERNEL_SIGSET);
    if (pid < 0) {
        s->error = error;
        return -1;
    }
    if (s->error == 0)
        return pid;
    siginfo_t info;
    while (sys.waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR) {}
    if (s->pidfd >= 0)
        sys.close(s->pidfd);
    s->pidfd = -1;
    return -1;
}

pid_t spawn(struct spawn *s)
{
    static bool no_sharing; /* before Linux 5.9, or a filter: asked once */
    void *stack = stack_top();
    if (!stack) {
        s->stage = SPAWN_CLONE;
        s->error = ENOMEM;
        return -1;
    }
    const int output = s->output;
    spawn_start();
    s->slot = no_sharing ? -1 : slot;
    if (s->slot >= 0 && dup3(output, s->slot, O_CLOEXEC) < 0)
        s->slot = -1;
    pid_t pid = try_spawn(s, stack);
    if (s->slot >= 0)
        dup3(2, s->slot, O_CLOEXEC); /* nobody's pipe is held open by it */
    if (pid < 0 && s->still_shared) {
        no_sharing = true;
        s->slot = -1;
        s->output = output;
        pid = try_spawn(s, stack);
    }
    return pid;
}
