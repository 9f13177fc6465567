#include "sweep.h"
#include "appliance/buf.h"
#include "appliance/child.h"
#include "appliance/reaper.h"
#include "appliance/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TEXTS_CEILING = 16 * 1024 * 1024, PROCESSES_CEILING = 4 * 1024 * 1024 };

static struct {
    int proc;  /* /proc itself, kept open; 0: not opened yet (0-2 are always taken) */
    int spare; /* given up when no descriptor is left, so that a stop works then, too */
    bool never;
    struct sweep sweep;
    size_t room;
    struct buf texts;
    bool valid;
    unsigned long deaths; /* reaper_deaths() when it was taken */
    struct timer stale;   /* ends the turn in which it may be shared */
} state = {.spare = -1};

/* --- files of /proc --- */

static int open_in_proc(const char *path)
{
    int fd = openat(state.proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && state.spare >= 0) {
        sys.close(state.spare);
        state.spare = -1;
        fd = openat(state.proc, path, O_RDONLY | O_CLOEXEC);
    }
    return fd;
}

static bool open_proc(void)
{
    if (state.never)
        return false;
    if (state.proc == 0) {
        /* After an unshare without a new mount /proc is another namespace's: its numbers would mean strangers. */
        char self[32];
        ssize_t length = readlink("/proc/self", self, sizeof self - 1);
        self[length > 0 ? length : 0] = 0;
        state.never = atoi(self) != (int)getpid();
        int fd = state.never ? -1 : sys.open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0)
            return false;
        state.proc = fd;
    }
    if (state.spare < 0)
        state.spare = fcntl(state.proc, F_DUPFD_CLOEXEC, 3);
    return true;
}

/* No reason to take a process for dead, or for a stranger: the next sweep will see it. */
static bool is_shortage(int error)
{
    return error == ENOMEM || error == EMFILE || error == ENFILE;
}

static ssize_t read_on(int fd, char *out, size_t size)
{
    ssize_t length;
    do
        length = sys.read(fd, out, size);
    while (length < 0 && errno == EINTR);
    return length;
}

/* What /proc/<pid>/stat says behind the name, which may hold anything, also ')'. NULL: it is gone, unless `shortage` says otherwise. */
static char *stat_of(pid_t pid, char *text, size_t size, bool *shortage)
{
    char path[32];
    snprintf(path, sizeof path, "%d/stat", (int)pid);
    int fd = open_in_proc(path);
    ssize_t length = fd < 0 ? -1 : read_on(fd, text, size - 1);
    *shortage = length < 0 && is_shortage(errno);
    if (fd >= 0)
        sys.close(fd);
    text[length > 0 ? length : 0] = 0;
    char *rest = strrchr(text, ')');
    return rest ? rest + 1 : NULL;
}

/* Fills pid, parent, session, start; false: gone, or a zombie, unless `shortage` says that it could not be told. */
static bool read_stat(pid_t pid, struct process *p, bool *shortage)
{
    char text[1024];
    const char *rest = stat_of(pid, text, sizeof text, shortage);
    char run_state;
    int parent, session, threads;
    unsigned long long faults, start;
    /* fields 3 state, 4 ppid, 5 pgrp, 6 session, 7-9, 10 minflt, 11-19, 20 num_threads, 21 itrealvalue, 22 starttime: proc(5) */
    if (!rest || sscanf(rest, " %c %d %*d %d %*d %*d %*u %llu %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu", &run_state, &parent,
                        &session, &faults, &threads, &start) != 6)
        return false;
    /* A first thread that ended before the others shows as a zombie, too, but the process lives. */
    if (run_state == 'X' || (run_state == 'Z' && threads <= 1))
        return false;
    *p = (struct process){
        .pid = pid, .parent = parent, .session = session, .start = start, .runs = run_state == 'R', .faults = faults, .parent_index = -1};
    return true;
}

/* Whose environment reads as empty has none, or is about to end (then it has no memory any more), or is in the middle of exec: it has
 * its new memory, and the environment is not written into it yet (or just was). For a moment an exec says that it ends where it begins
 * (create_elf_tables() of the kernel's binfmt_elf.c), as one that is empty does: who runs meanwhile is looked at again. */
static bool is_in_exec(pid_t pid)
{
    enum { PPID = 4, VSIZE = 23, ENV_START = 50, ENV_END = 51, LOOKS = 8 };
    for (int look = 1; look <= LOOKS; look++) {
        unsigned long long field[ENV_END + 1];
        char text[1024];
        bool shortage;
        char *at = stat_of(pid, text, sizeof text, &shortage);
        if (!at || strlen(at) < 3)
            return shortage;
        bool runs = at[1] == 'R';
        at += 2; /* " S" */
        for (int i = PPID; i <= ENV_END; i++)
            field[i] = strtoull(at, &at, 10);
        if (field[VSIZE] == 0)
            return false;
        if (field[ENV_END] == 0 || field[ENV_END] > field[ENV_START])
            return true;
        if (!runs)
            return false;
        sched_yield();
    }
    return false;
}

bool sweep_is_same(pid_t pid, uint64_t start, bool *shortage)
{
    struct process now;
    *shortage = false;
    return open_proc() && read_stat(pid, &now, shortage) && now.start == start;
}

/* Leaves the offset of "name@instance" in p->marker. */
static bool read_marker(struct process *p)
{
    char path[32], chunk[8192];
    snprintf(path, sizeof path, "%d/environ", (int)p->pid);
    int fd = open_in_proc(path);
    if (fd < 0)
        return !is_shortage(errno); /* else gone, or not for us to read */
    size_t have = 0;
    bool ok = true, empty = true, skip = false; /* skip: the rest of an entry that is longer than the chunk */
    ssize_t size = 0;
    while (p->marker == 0 && ok && (size = read_on(fd, chunk + have, sizeof chunk - have)) > 0) {
        empty = false;
        have += (size_t)size;
        char *entry = chunk, *end;
        while (p->marker == 0 && (end = memchr(entry, 0, have - (size_t)(entry - chunk)))) {
            const size_t prefix = sizeof CHILD_MARKER - 1;
            if (!skip && strncmp(entry, CHILD_MARKER, prefix) == 0) {
                p->marker = (uint32_t)state.texts.length;
                ok = buf_append(&state.texts, entry + prefix, (size_t)(end - entry) - prefix + 1);
            }
            skip = false;
            entry = end + 1;
        }
        have -= (size_t)(entry - chunk);
        if (have == sizeof chunk) {
            skip = true;
            have = 0;
        }
        memmove(chunk, entry, have);
    }
    ok = ok && !(size < 0 && is_shortage(errno));
    sys.close(fd);
    p->in_exec = empty && is_in_exec(p->pid);
    return ok;
}

/* --- the list --- */

static bool add(pid_t pid)
{
    struct sweep *s = &state.sweep;
    if (s->count == state.room) {
        size_t room = state.room ? state.room * 2 : 128;
        struct process *larger = room <= PROCESSES_CEILING ? realloc(s->list, room * sizeof *larger) : NULL;
        if (!larger)
            return false;
        s->list = larger;
        state.room = room;
    }
    struct process *p = &s->list[s->count];
    bool shortage;
    if (!read_stat(pid, p, &shortage))
        return !shortage;
    p->known_session = p->session > 0 && reaper_find(p->session) != NULL;
    if (!p->known_session &&
        !read_marker(p)) /* reading an environment may wait for a lock of that process: only where it tells something */
        return false;
    s->count++;
    return true;
}

static bool list_all(void)
{
    char batch[8192] __attribute__((aligned(8)));
    pid_t us = getpid();
    if (lseek(state.proc, 0, SEEK_SET) < 0)
        return false;
    long size;
    while ((size = syscall(SYS_getdents64, state.proc, batch, sizeof batch)) > 0)
        for (long at = 0; at < size;) {
            const struct dirent64 *entry = (const void *)(batch + at);
            at += entry->d_reclen;
            if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
                continue;
            pid_t pid = (pid_t)atoi(entry->d_name);
            if (pid != us && !add(pid))
                return false;
        }
    return size == 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *p = a, *q = b;
    return p->pid < q->pid ? -1 : p->pid > q->pid;
}

static void find_parents(void)
{
    struct sweep *s = &state.sweep;
    for (size_t i = 1; i < s->count; i++)
        if (s->list[i - 1].pid > s->list[i].pid) { /* the kernel lists them by number; another one's /proc might not */
            qsort(s->list, s->count, sizeof *s->list, by_pid);
            break;
        }
    for (size_t i = 0; i < s->count; i++) {
        struct process key = {.pid = s->list[i].parent};
        struct process *parent = bsearch(&key, s->list, s->count, sizeof key, by_pid);
        s->list[i].parent_index = parent ? (int)(parent - s->list) : -1;
    }
}

static void forget(void)
{
    free(state.sweep.list);
    state.sweep = (struct sweep){0};
    state.room = 0;
    buf_free(&state.texts);
    state.valid = false;
}

static void turn_over(struct timer *t)
{
    (void)t;
    forget(); /* the memory, too: most of the time there is nothing to sweep */
}

enum sweep_result sweep_take(struct loop *loop, bool fresh, const struct sweep **out)
{
    *out = &state.sweep;
    if (state.valid && !fresh && state.deaths == reaper_deaths())
        return SWEEP_DONE;
    if (!open_proc())
        return state.never ? SWEEP_NEVER : SWEEP_LATER;
    state.valid = false;
    state.sweep.count = 0;
    if (state.texts.ceiling == 0)
        buf_init(&state.texts, TEXTS_CEILING);
    buf_clear(&state.texts);
    state.deaths = reaper_deaths();
    if (!buf_append(&state.texts, "", 1) || !list_all()) {
        forget();
        return SWEEP_LATER;
    }
    find_parents();
    state.sweep.texts = state.texts.data;
    state.valid = true;
    timer_start(&state.stale, loop, 0, turn_over);
    return SWEEP_DONE;
}

void sweep_stop(void)
{
    timer_stop(&state.stale);
    forget();
    if (state.proc)
        sys.close(state.proc);
    if (state.spare >= 0)
        sys.close(state.spare);
    state.proc = 0;
    state.spare = -1;
    state.never = false;
}
