#include "appliance/fence.h"
#include "appliance/clock.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { STACK_SIZE = 16 * 1024, KERNEL_SIGSET = 8 };

struct fence {
    struct fence *next;
    void *memory; /* this and the keeper's stack; kept until the keeper has been reaped, for it may be running there to its last moment */
    size_t size;
    pid_t keeper, us;
    int reads, writes; /* of the pipe: `reads` is ours, `writes` the keeper's (a number of its own table) */
    bool ended;
    _Atomic uint32_t turn; /* counts deadlines; what the keeper sleeps on */
    _Atomic int64_t due_boot_ns;
};

static struct fence *fences;

/* --- the keeper --- */

/* It runs in our memory with the thread-local storage of the thread that made it, so it must not touch errno, or libc at all. */
#define IN_KEEPER __attribute__((noinline, no_sanitize("address", "undefined")))

#if defined(__x86_64__)
#define HAS_KEEPER 1
IN_KEEPER static long call(long number, long a, long b, long c, long d)
{
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
#define HAS_KEEPER 1
IN_KEEPER static long call(long number, long a, long b, long c, long d)
{
    register long which __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = 0;
    __asm__ volatile("svc #0" : "+r"(first) : "r"(which), "r"(second), "r"(third), "r"(fourth), "r"(fifth) : "memory");
    return first;
}
#else
#define HAS_KEEPER 0
IN_KEEPER static long call(long number, long a, long b, long c, long d)
{
    (void)number, (void)a, (void)b, (void)c, (void)d;
    return -ENOSYS;
}
#endif

IN_KEEPER static void keep_time(struct fence *f, int timer)
{
    for (;;) {
        uint32_t turn = atomic_load(&f->turn); /* first: a deadline that comes after it wakes us */
        int64_t due = atomic_load(&f->due_boot_ns);
        struct itimerspec when = {.it_value = {.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S}};
        if (due == INT64_MAX)
            when.it_value = (struct timespec){0};
        else if (due <= 0)
            when.it_value = (struct timespec){.tv_nsec = 1};
        call(SYS_timer_settime, timer, TIMER_ABSTIME, (long)&when, 0);
        call(SYS_futex, (long)&f->turn, FUTEX_WAIT_PRIVATE, turn, 0);
    }
}

IN_KEEPER static int keeper(void *argument)
{
    struct fence *f = argument;
    /* Nobody's connection may be held open by us. */
    call(SYS_close_range, f->writes + 1, ~0U, 0, 0);
    if (f->writes > 0)
        call(SYS_close_range, 0, f->writes - 1, 0, 0);
    call(SYS_prctl, PR_SET_NAME, (long)"lease-keeper", 0, 0);
    call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    /* When many wake at once, as at a thaw, it is the first, where we may say so. It computes for microseconds. */
    struct sched_param first = {.sched_priority = 1};
    call(SYS_sched_setscheduler, 0, SCHED_FIFO, (long)&first, 0);
    int timer = -1;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    /* If the one who made us is gone already there is nobody to keep time for, and the process goes with us. */
    if (call(SYS_getppid, 0, 0, 0, 0) != f->us)
        call(SYS_exit_group, 0, 0, 0, 0);
    /* Without a timer we only sleep: to end would be to kill. */
    call(SYS_timer_create, CLOCK_BOOTTIME, (long)&event, (long)&timer, 0);
    keep_time(f, timer);
    return 0;
}

/* --- its life --- */

/* From here on the end of the keeper is the end of the process. */
static bool aim(int fd, pid_t pid)
{
    struct f_owner_ex who = {.type = getpgid(pid) == pid ? F_OWNER_PGRP : F_OWNER_PID, .pid = pid};
    return sys.fcntl(fd, F_SETSIG, SIGKILL) == 0 && sys.fcntl(fd, F_SETOWN_EX, (long)&who) == 0 &&
           sys.fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) == 0;
}

static void disarm(struct fence *f)
{
    if (f->reads < 0)
        return;
    fcntl(f->reads, F_SETFL, O_NONBLOCK);
    sys.close(f->reads);
    f->reads = -1;
}

static bool start_keeper(struct fence *f, char *stack_top)
{
    /* No handler of ours may run in it, and none does: its mask stays full. */
    unsigned long all = ~0UL, before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, (size_t)KERNEL_SIGSET);
    f->keeper = clone(keeper, stack_top, CLONE_VM | SIGCHLD, f);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, (size_t)KERNEL_SIGSET);
    return f->keeper > 0;
}

struct fence *fence_make(pid_t pid, int64_t due_boot_ns)
{
    /* Asks for nothing to be closed: a kernel before 5.9 or a filter that does not know it says no. */
    if (!HAS_KEEPER || syscall(SYS_close_range, ~0U, ~0U, 0U) < 0)
        return NULL;
    size_t guard = (size_t)sysconf(_SC_PAGESIZE), size = guard + STACK_SIZE;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    mprotect(memory, guard, PROT_NONE);
    char *top = memory + size - (sizeof(struct fence) + 63) / 64 * 64;
    struct fence *f = (struct fence *)(void *)top;
    int ends[2];
    if (sys.pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        munmap(memory, size);
        return NULL;
    }
    *f = (struct fence){.memory = memory, .size = size, .us = getpid(), .reads = ends[0], .writes = ends[1], .due_boot_ns = due_boot_ns};
    bool made = aim(ends[0], pid) && start_keeper(f, top);
    if (!made)
        disarm(f);
    sys.close(ends[1]);
    if (!made) {
        munmap(memory, size);
        return NULL;
    }
    f->next = fences;
    fences = f;
    return f;
}

void fence_set(struct fence *f, int64_t due_boot_ns)
{
    atomic_store(&f->due_boot_ns, due_boot_ns);
    atomic_fetch_add(&f->turn, 1);
    syscall(SYS_futex, &f->turn, FUTEX_WAKE_PRIVATE, 1, NULL);
}

void fence_end(struct fence *f)
{
    if (!f || f->ended)
        return;
    f->ended = true;
    disarm(f);
    kill(f->keeper, SIGKILL); /* nobody has reaped it, so the number is its own */
}

/* --- reaping --- */

bool fence_is_keeper(pid_t pid)
{
    for (struct fence *f = fences; f; f = f->next)
        if (f->keeper == pid)
            return true;
    return false;
}

bool fence_reaped(pid_t pid, struct fence **of)
{
    if (of)
        *of = NULL;
    struct fence **place = &fences;
    while (*place && (*place)->keeper != pid)
        place = &(*place)->next;
    struct fence *f = *place;
    if (!f)
        return false;
    *place = f->next;
    if (of && !f->ended)
        *of = f;
    disarm(f);
    munmap(f->memory, f->size);
    return true;
}

void fence_reap_all(void)
{
    for (struct fence *f = fences, *next; f; f = next) {
        next = f->next;
        if (!f->ended)
            continue;
        siginfo_t info;
        while (sys.waitid(P_PID, (id_t)f->keeper, &info, WEXITED | __WALL) < 0 && errno == EINTR) {}
        fence_reaped(f->keeper, NULL);
    }
}
