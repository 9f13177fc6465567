#include "appliance/reaper.h"
#include "appliance/deadline.h"
#include "appliance/sys.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLICE = 256, FIRST_BUCKETS = 64 };

static struct {
    struct loop *loop;
    struct timer again; /* a slice was full: the rest comes in the next turn */
    struct child *first_buckets[FIRST_BUCKETS];
    struct child **buckets; /* NULL: first_buckets. Grows when it can; else its chains do */
    size_t bucket_count, count;
    struct child *ended, **ended_last; /* reaped, not told yet, in order */
    int children;                      /* our list of children in /proc, kept open for the day when no descriptor is left */
    unsigned long deaths, orphans;
    void (*batch)(void *argument);
    void *batch_argument;
} reaper = {.children = -1};

/* --- the table --- */

static struct child **bucket(pid_t pid)
{
    if (!reaper.buckets) {
        reaper.buckets = reaper.first_buckets;
        reaper.bucket_count = FIRST_BUCKETS;
    }
    return &reaper.buckets[(size_t)pid & (reaper.bucket_count - 1)]; /* pids are dense: their low bits are a fine hash */
}

static void grow(void)
{
    struct child **old = reaper.buckets;
    size_t old_count = reaper.bucket_count;
    struct child **larger = calloc(old_count * 4, sizeof(struct child *));
    if (!larger)
        return;
    reaper.buckets = larger;
    reaper.bucket_count = old_count * 4;
    for (size_t i = 0; i < old_count; i++) {
        for (struct child *c = old[i], *next; c; c = next) {
            next = c->next;
            struct child **place = bucket(c->pid);
            c->next = *place;
            *place = c;
        }
        old[i] = NULL; /* first_buckets serve again after reaper_stop */
    }
    if (old != reaper.first_buckets)
        free(old);
}

void reaper_add(struct child *child)
{
    struct child **place = bucket(child->pid);
    if (reaper.count >= reaper.bucket_count) {
        grow();
        place = bucket(child->pid);
    }
    child->next = *place;
    *place = child;
    reaper.count++;
}

struct child *reaper_find(pid_t pid)
{
    struct child *child = *bucket(pid);
    while (child && child->pid != pid)
        child = child->next;
    return child;
}

static void unlink_child(struct child *child)
{
    struct child **place = bucket(child->pid);
    while (*place && *place != child)
        place = &(*place)->next;
    if (!*place)
        return;
    *place = child->next;
    child->next = NULL;
    reaper.count--;
}

static void close_pidfd(struct child *child)
{
    if (child->pidfd >= 0)
        sys.close(child->pidfd);
    child->pidfd = -1;
}

void reaper_remove(struct child *child)
{
    if (child->reaped) {
        struct child **place = &reaper.ended;
        while (*place && *place != child)
            place = &(*place)->next;
        if (*place)
            *place = child->next;
        if (reaper.ended_last == &child->next)
            reaper.ended_last = place;
        child->reaped = false;
    } else if (child->pid) {
        unlink_child(child);
        close_pidfd(child);
        child->pid = 0;
    }
}

/* --- deaths --- */

static struct child_end end_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (struct child_end){.status = info->si_status};
    return (struct child_end){.status = -1, .signal = info->si_status, .core = info->si_code == CLD_DUMPED};
}

static void reaped(const siginfo_t *info, bool is_ours)
{
    reaper.deaths++;
    if (is_ours)
        return;
    struct child *child = reaper_find(info->si_pid);
    if (!child) {
        reaper.orphans++;
        return;
    }
    unlink_child(child);
    close_pidfd(child);
    child->pid = 0; /* from here on the number may be anybody's */
    child->how = end_of(info);
    child->reaped = true;
    *reaper.ended_last = child;
    reaper.ended_last = &child->next;
}

static void run_again(struct timer *t)
{
    (void)t;
    reaper_run();
}

void reaper_run(void)
{
    reaper.ended = NULL;
    reaper.ended_last = &reaper.ended;
    int count = 0;
    while (count < SLICE) {
        siginfo_t info = {0};
        bool is_ours = false;
        deadline_hold(); /* once reaped, the number may be anybody's, and the thread must not know it any more */
        int result = sys.waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL);
        if (result == 0 && info.si_pid != 0)
            is_ours = deadline_unguard(info.si_pid);
        deadline_release();
        if (result < 0) {
            if (errno == EINTR)
                continue;
            break; /* ECHILD: nobody is left */
        }
        if (info.si_pid == 0)
            break; /* nobody is dead */
        reaped(&info, is_ours);
        count++;
    }
    if (count == SLICE && reaper.loop)
        timer_start(&reaper.again, reaper.loop, 0, run_again);
    while (reaper.ended) { /* `ended` may start, free or remove any child that is not waiting here, and remove those that are */
        struct child *child = reaper.ended;
        reaper.ended = child->next;
        if (!reaper.ended)
            reaper.ended_last = &reaper.ended;
        child->next = NULL;
        child->reaped = false;
        if (child->ended)
            child->ended(child, child->how);
    }
    if (count && reaper.batch)
        reaper.batch(reaper.batch_argument);
}

void reaper_on_batch(void (*call)(void *), void *argument)
{
    reaper.batch = call;
    reaper.batch_argument = argument;
}

unsigned long reaper_orphans(void)
{
    return reaper.orphans;
}

unsigned long reaper_deaths(void)
{
    return reaper.deaths;
}

static bool is_stranger(pid_t pid)
{
    return !reaper_find(pid) && !deadline_is_ours(pid);
}

/* Complete and exact although the file's manual page warns of gaps: a child leaves the list when it is reaped, which nobody does
 * meanwhile, and a new one is put at its end. */
int reaper_strangers(void)
{
    if (reaper.children < 0)
        return -1;
    char text[4096];
    off_t at = 0;
    ssize_t size;
    int strangers = 0;
    pid_t pid = 0;
    while ((size = pread(reaper.children, text, sizeof text, at)) > 0) {
        for (ssize_t i = 0; i < size; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid) {
                strangers += is_stranger(pid);
                pid = 0;
            }
        }
        at += size;
    }
    if (size < 0)
        return -1;
    return strangers + (pid && is_stranger(pid));
}

/* --- start and stop --- */

bool reaper_start(struct loop *loop, bool subreaper, struct err *err)
{
    if (reaper.loop)
        return true;
    if (subreaper && getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1L) < 0)
        return err_errno(err, "become the reaper of orphans");
    if (reaper.children < 0 && gettid() == getpid()) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        reaper.children = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    }
    spawn_start();
    reaper.loop = loop;
    return true;
}

void reaper_stop(void)
{
    timer_stop(&reaper.again);
    spawn_stop();
    if (reaper.children >= 0)
        sys.close(reaper.children);
    reaper.children = -1;
    if (reaper.buckets && reaper.buckets != reaper.first_buckets && reaper.count == 0) {
        free(reaper.buckets);
        reaper.buckets = NULL;
    }
    reaper.loop = NULL;
}
