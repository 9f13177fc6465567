#include "appliance/deadline.h"
#include "appliance/clock.h"
#include "appliance/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_OUR_BUG = 70, STACK_SIZE = 64 * 1024, SECOND_LOOK_MS = 1000 };

struct guard {
    pid_t pid;
    int pidfd;
    int64_t due_boot_ns; /* INT64_MAX: none */
    bool killed;         /* at its deadline: no later one brings it back */
    bool was_fenced;     /* its keeper died, and it with it */
    struct fence *fence; /* from its first deadline on; the loop's thread alone knows it */
};

static struct {
    bool started, has_thread;
    pthread_t thread;
    int watchdog_timer, lease_timer, quit; /* what the thread polls */
    _Atomic int64_t watchdog_ms;
    _Atomic bool busy;
    _Atomic unsigned long turns, armed_turn; /* armed_turn: the one that the watchdog timer is for */
    pthread_mutex_t lock;                    /* around the table, for a few instructions at a time; never while anybody waits */
    struct guard *guards;
    int count, capacity;
} self = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP}; /* recursive: see deadline_hold */

static void arm(int timer, int64_t ns, int flags)
{
    struct itimerspec when = {.it_value = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S}};
    timerfd_settime(timer, flags, &when, NULL); /* all zero disarms */
}

/* By SIGALRM until there is a thread: making one is a fifteenth of the time to the first service. */
static void arm_watchdog(int64_t ms)
{
    if (self.has_thread) {
        arm(self.watchdog_timer, ms * NS_PER_MS, 0);
        return;
    }
    struct itimerval when = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    setitimer(ITIMER_REAL, &when, NULL);
}

static void kill_guarded(const struct guard *g)
{
    /* Until its parent (the loop, perhaps wedged) has reaped it, the pid is not given to anybody else. */
    if (g->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, g->pidfd, SIGKILL, NULL, 0);
    else
        kill(g->pid, SIGKILL);
    kill(-g->pid, SIGKILL);
}

/* Under the lock, also the timer: or a sooner deadline that was set just now would be put off to a later one. */
static void kill_overdue(void)
{
    int64_t now = clock_boot_ns(), next = INT64_MAX;
    for (int i = 0; i < self.count; i++) {
        struct guard *g = &self.guards[i];
        if (g->due_boot_ns <= now) {
            kill_guarded(g);
            g->due_boot_ns = INT64_MAX;
            g->killed = true;
        }
        if (g->due_boot_ns < next)
            next = g->due_boot_ns;
    }
    arm(self.lease_timer, next == INT64_MAX ? 0 : next, TFD_TIMER_ABSTIME);
}

/* Our children of this moment, orphans that were given to us among them. No stdio: in a handler of SIGALRM nothing may allocate. */
static void kill_children(void)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int list = open(path, O_RDONLY | O_CLOEXEC);
    pid_t pid = 0;
    ssize_t length;
    while ((length = list < 0 ? 0 : read(list, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < length; i++)
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                kill(pid, SIGKILL);
                pid = 0;
            }
    close(list);
}

/* The loop is wedged, so nobody else reaps. Whoever dies leaves its own children to us (PID 1, subreaper): kill until none is left. */
static void kill_everything(void)
{
    pthread_mutex_lock(&self.lock);
    for (int i = 0; i < self.count; i++)
        kill_guarded(&self.guards[i]);
    pthread_mutex_unlock(&self.lock);
    for (int round = 0; round < 200; round++) {
        if (getpid() == 1)
            kill(-1, SIGKILL);
        kill_children();
        pid_t ended;
        while ((ended = waitpid(-1, NULL, WNOHANG)) > 0) {}
        if (ended < 0)
            return;
        poll(NULL, 0, 10);
    }
}

static void say(const char *text)
{
    struct pollfd stderr_room = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&stderr_room, 1, 0) == 1 && (stderr_room.revents & POLLOUT) && write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nobody reads; ending is what matters */
}

static void bark(void)
{
    char text[200];
    kill_everything();
    snprintf(text, sizeof text,
             "spark-appliance: error: the event loop has not turned for %lld s: a bug of ours; every service was killed, ending with 70\n",
             (long long)(self.watchdog_ms / 1000));
    say(text);
    _exit(EXIT_OUR_BUG);
}

/* A machine that slept or a frozen container makes a timer fire that nobody is to blame for: look twice. A loop that has so much to
 * do that it never waits does not arm the timer anew, but turns. */
static void look_at_loop(void)
{
    static unsigned long suspected;
    static bool is_suspected;
    unsigned long turn = self.turns;
    if (!self.busy || self.watchdog_ms == 0) { /* 0: taken away during this turn */
        is_suspected = false;
        return;
    }
    if (turn != self.armed_turn) {
        is_suspected = false;
        self.armed_turn = turn;
        arm_watchdog(self.watchdog_ms);
        return;
    }
    if (is_suspected && suspected == turn)
        bark();
    is_suspected = true;
    suspected = turn;
    arm_watchdog(SECOND_LOOK_MS);
    if (turn != self.turns) /* it turned just now, and armed the timer perhaps before us */
        arm_watchdog(self.watchdog_ms);
}

static void *run(void *unused)
{
    struct pollfd fds[] = {
        {.fd = self.quit, .events = POLLIN}, {.fd = self.watchdog_timer, .events = POLLIN}, {.fd = self.lease_timer, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 3, -1) < 0)
            continue; /* EINTR: a debugger */
        uint64_t expired;
        if (fds[0].revents)
            return unused;
        if (fds[1].revents && read(fds[1].fd, &expired, sizeof expired) > 0)
            look_at_loop();
        if (fds[2].revents && read(fds[2].fd, &expired, sizeof expired) > 0) {
            pthread_mutex_lock(&self.lock);
            kill_overdue();
            pthread_mutex_unlock(&self.lock);
        }
    }
}

/* Only the timer's own signal, which comes from the kernel: somebody's `kill -ALRM` must not count as a look. */
static void alarmed(int signal, siginfo_t *info, void *unused)
{
    (void)signal, (void)unused;
    if (info->si_code == SI_KERNEL && !self.has_thread)
        look_at_loop();
}

static void close_all(void)
{
    close(self.quit);
    close(self.watchdog_timer);
    close(self.lease_timer);
}

static bool make_thread(struct err *err)
{
    self.quit = eventfd(0, EFD_CLOEXEC);
    self.watchdog_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    self.lease_timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (self.quit < 0 || self.watchdog_timer < 0 || self.lease_timer < 0) {
        err_errno(err, "deadline thread: its timers");
        close_all();
        return false;
    }
    /* Signals are for the loop's signalfd. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE > PTHREAD_STACK_MIN ? STACK_SIZE : PTHREAD_STACK_MIN);
    int code = pthread_create(&self.thread, &attributes, run, NULL);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        errno = code;
        err_errno(err, "deadline thread");
        close_all();
        return false;
    }
    arm_watchdog(0);
    self.has_thread = true;
    if (self.busy) /* made by a lease in the middle of a turn, which goes on being timed */
        arm_watchdog(self.watchdog_ms);
    return true;
}

bool deadline_start(int64_t watchdog_ms, struct err *err)
{
    const int64_t most = INT64_MAX / NS_PER_MS;
    self.watchdog_ms = watchdog_ms < 0 ? 0 : watchdog_ms > most ? most : watchdog_ms;
    if (self.started)
        return true;
    struct sigaction action = {.sa_sigaction = alarmed, .sa_flags = SA_RESTART | SA_SIGINFO};
    if (sigaction(SIGALRM, &action, NULL) < 0)
        return err_errno(err, "watchdog: SIGALRM");
    self.started = true;
    deadline_loop_busy();
    return true;
}

void deadline_stop(void)
{
    if (!self.started)
        return;
    for (int i = 0; i < self.count; i++)
        fence_end(self.guards[i].fence);
    fence_reap_all();
    uint64_t one = 1;
    if (self.has_thread && write(self.quit, &one, sizeof one) == sizeof one)
        pthread_join(self.thread, NULL);
    if (self.has_thread)
        close_all();
    else
        arm_watchdog(0);
    self.started = self.has_thread = false;
    self.busy = false;
    free(self.guards);
    self.guards = NULL;
    self.count = self.capacity = 0;
}

void deadline_loop_busy(void)
{
    if (!self.started || self.watchdog_ms == 0)
        return;
    self.armed_turn = ++self.turns;
    self.busy = true;
    arm_watchdog(self.watchdog_ms);
}

void deadline_loop_turned(void)
{
    self.turns++;
}

void deadline_loop_idle(void)
{
    struct err unused; /* no room for a thread, as after a storm of forks: SIGALRM serves on, and the next wait tries again */
    if (!self.started)
        return;
    if (self.busy) {
        self.busy = false;
        arm_watchdog(0);
    }
    if (!self.has_thread)
        make_thread(&unused);
}

static bool make_room(struct err *err)
{
    if (self.count < self.capacity)
        return true;
    int capacity = self.capacity ? self.capacity * 2 : 16;
    struct guard *larger = malloc((size_t)capacity * sizeof *larger);
    if (!larger)
        return err_errno(err, "deadline thread: one more process");
    pthread_mutex_lock(&self.lock);
    struct guard *smaller = self.guards;
    if (smaller)
        memcpy(larger, smaller, (size_t)self.count * sizeof *larger);
    self.guards = larger;
    self.capacity = capacity;
    pthread_mutex_unlock(&self.lock);
    free(smaller);
    return true;
}

bool deadline_prepare(struct err *err)
{
    return (self.has_thread || make_thread(err)) && make_room(err);
}

/* Not under the lock: the fence of a guard, and its place in the table, are the loop's thread's, which is the caller's. */
static void move_fence(struct guard *g, int64_t due_boot_ns)
{
    if (g->was_fenced)
        return;
    if (g->fence)
        fence_set(g->fence, due_boot_ns);
    else if (due_boot_ns != INT64_MAX)
        g->fence = fence_make(g->pid, due_boot_ns);
}

bool deadline_guard(pid_t pid, int pidfd, int64_t due_boot_ns, struct err *err)
{
    bool has_deadline = due_boot_ns != INT64_MAX;
    if (has_deadline ? !deadline_prepare(err) : !make_room(err))
        return false;
    pthread_mutex_lock(&self.lock);
    struct guard *guard = &self.guards[self.count++];
    *guard = (struct guard){.pid = pid, .pidfd = pidfd, .due_boot_ns = due_boot_ns};
    if (has_deadline)
        kill_overdue();
    bool lives = !guard->killed;
    pthread_mutex_unlock(&self.lock);
    if (lives)
        move_fence(guard, due_boot_ns);
    return true;
}

bool deadline_unguard(pid_t pid)
{
    struct fence *spent;
    bool is_keeper = fence_reaped(pid, &spent);
    pthread_mutex_lock(&self.lock);
    for (int i = 0; i < self.count; i++) {
        struct guard *g = &self.guards[i];
        if (is_keeper && spent && g->fence == spent) {
            g->fence = NULL;
            g->was_fenced = true;
        } else if (!is_keeper && g->pid == pid) {
            fence_end(g->fence);
            *g = self.guards[--self.count];
            break;
        }
    }
    pthread_mutex_unlock(&self.lock);
    return is_keeper;
}

bool deadline_is_ours(pid_t pid)
{
    return fence_is_keeper(pid);
}

void deadline_hold(void)
{
    pthread_mutex_lock(&self.lock);
}

void deadline_release(void)
{
    pthread_mutex_unlock(&self.lock);
}

bool deadline_set(pid_t pid, int64_t due_boot_ns)
{
    bool lives = false;
    struct err unused;
    if (!self.has_thread && !make_thread(&unused))
        return false;
    pthread_mutex_lock(&self.lock);
    kill_overdue(); /* after a freeze the thread may not have been there yet, and the fence was */
    int at = 0;
    while (at < self.count && self.guards[at].pid != pid)
        at++;
    if (at < self.count && !self.guards[at].killed) {
        self.guards[at].due_boot_ns = due_boot_ns;
        kill_overdue();
        lives = !self.guards[at].killed;
    }
    pthread_mutex_unlock(&self.lock);
    if (lives)
        move_fence(&self.guards[at], due_boot_ns);
    return lives;
}
