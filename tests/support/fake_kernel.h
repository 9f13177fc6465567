/* fake_kernel.h - a kernel made of tables, for tests of the supervisor: a clock that jumps to the next timer, processes that live and
 * die by the test's word, families with as many members as it says. Included by one .c file of a test program, through fake_world.h.
 * The dynamic linker takes a program's own definitions before a library's, so the supervisor in libappliance-core.so calls the ones
 * below instead of child.c, family.c, output.c, probe.c, cgroup.c and deadline.c. The loop and its timers are the real ones. */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include "appliance/cgroup.h"
#include "appliance/clock.h"
#include "appliance/deadline.h"
#include "appliance/family.h"
#include "appliance/log.h"
#include "appliance/output.h"
#include "appliance/probe.h"
#include "appliance/supervisor.h"
#include "appliance/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORLD_PROCESSES = 2048, WORLD_LINES = 4000, WORLD_SIGNALS = 4000 };

/* One service's process and what it left behind. Found by name; made when first seen. */
struct fake {
    char name[64];
    struct child *child; /* while its process lives, or died and was not told */
    void (*ended)(struct child *, struct child_end);
    pid_t pid;
    int starts, members; /* members: other processes of its family */
    bool dead;           /* died, not told yet */
    int64_t died_at, told_at, started_at;
    int ignores_term, members_ignore_term; /* bool */
    int64_t slow_ms;                       /* from a TERM to its death */
    int64_t kill_ms;                       /* from a KILL to its death */
    struct child_end how;                  /* it will die so, when dead */
    struct family *family;
    struct output *output;
    struct probe *probe;
    int64_t members_die_at; /* 0: not asked */
    bool waits_gone;
    bool missing; /* its program is not there */
    char dir[32]; /* of its last start */
    int64_t due;  /* its deadline */
    bool overdue; /* killed by it */
};

struct family {
    struct fake *fake;
    void (*gone)(struct family *, void *);
    void *argument;
    bool everybody;
};
struct output {
    struct fake *fake;
    char said[600];
    void (*line)(void *, const char *, size_t);
    void *argument;
};

struct world_signal {
    char name[64];
    int signal;
    int64_t at;
};

static struct {
    int64_t now;
    int spawn_errno; /* 0: forks work */
    int spawn_failures;
    pid_t next_pid;
    struct fake fakes[WORLD_PROCESSES];
    int fake_count;
    struct world_signal signals[WORLD_SIGNALS];
    int signal_count, sweeps;
    char lines[WORLD_LINES][400];
    int line_count;
    int guarded;
    bool no_thread; /* the deadline thread can't be made */
    int64_t oom_kills;
    int oom_looks;
    int strangers; /* processes that are no service's */
    bool strangers_stay;
    struct loop *loop;
    struct supervisor *sup;
    void (*on_start)(struct fake *);
} world;

static struct fake *fake_of(const char *name)
{
    for (int i = 0; i < world.fake_count; i++)
        if (strcmp(world.fakes[i].name, name) == 0)
            return &world.fakes[i];
    assert_true(world.fake_count < WORLD_PROCESSES);
    struct fake *f = &world.fakes[world.fake_count++];
    memset(f, 0, sizeof *f);
    snprintf(f->name, sizeof f->name, "%s", name);
    f->kill_ms = 1;
    return f;
}

/* --- what the core calls --- */

static int64_t world_clock(void)
{
    return world.now;
}

static int world_epoll_wait(int epoll, struct epoll_event *events, int count, int64_t timeout_ns)
{
    (void)epoll, (void)events, (void)count;
    if (timeout_ns > 0)
        world.now += timeout_ns;
    return 0;
}

static void world_log(enum log_level level, const char *text, size_t length)
{
    (void)level;
    if (world.line_count < WORLD_LINES)
        snprintf(world.lines[world.line_count++], sizeof world.lines[0], "%.*s", (int)length, text);
}

bool child_start(struct child *c, struct loop *loop, const struct child_spec *spec, void (*ended)(struct child *, struct child_end),
                 struct err *err)
{
    struct fake *f = fake_of(spec->name);
    assert_null(f->child);           /* never two mains of one service */
    assert_int_equal(f->members, 0); /* nor one beside what is left of the last */
    if (world.spawn_errno) {
        world.spawn_failures++;
        errno = world.spawn_errno;
        err_errno(err, "%s: fork", spec->name);
        err->kind = ERR_SYSTEM;
        return false;
    }
    if (f->missing) {
        errno = ENOENT;
        return err_errno(err, "%s: exec %s", spec->name, spec->argv ? spec->argv[0] : "?");
    }
    f->pid = ++world.next_pid;
    *c = (struct child){.pid = f->pid, .pidfd = -1, .started_ns = world.now, .loop = loop, .ended = ended};
    f->child = c;
    f->ended = ended;
    f->dead = false;
    f->starts++;
    f->started_at = world.now;
    snprintf(f->dir, sizeof f->dir, "%s", spec->dir ? spec->dir : "");
    if (world.on_start)
        world.on_start(f);
    return true;
}

static void will_die(struct fake *f, struct child_end how, int64_t in_ms)
{
    int64_t at = world.now + in_ms * NS_PER_MS;
    if (!f->child || (f->dead && f->died_at <= at))
        return;
    f->dead = true;
    f->died_at = at;
    f->how = how;
}

static void world_signal(struct fake *f, int signal)
{
    assert_true(world.signal_count < WORLD_SIGNALS);
    struct world_signal *s = &world.signals[world.signal_count++];
    snprintf(s->name, sizeof s->name, "%s", f->name);
    s->signal = signal;
    s->at = world.now;
    if (signal == SIGKILL)
        will_die(f, (struct child_end){.status = -1, .signal = SIGKILL}, f->kill_ms);
    else if (signal == SIGTERM && !f->ignores_term)
        will_die(f, (struct child_end){.status = 143}, f->slow_ms);
}

bool child_signal(const struct child *c, int signal, enum child_reach reach)
{
    (void)reach;
    for (int i = 0; i < world.fake_count; i++)
        if (world.fakes[i].child == c)
            return world_signal(&world.fakes[i], signal), true;
    return false;
}

void child_end_text(struct child_end how, char *out, size_t size)
{
    if (how.signal)
        snprintf(out, size, "killed by SIG%s", sigabbrev_np(how.signal));
    else
        snprintf(out, size, "exited with %d", how.status);
}

struct family *family_new(struct loop *loop, const char *marker, void (*gone)(struct family *, void *), void *argument, struct err *err)
{
    (void)loop, (void)err;
    struct family *family = calloc(1, sizeof *family);
    family->gone = gone;
    family->argument = argument;
    family->everybody = !marker;
    if (marker) {
        char name[64] = "";
        sscanf(strchr(marker, '=') + 1, "%63[^@]", name);
        family->fake = fake_of(name);
    } else {
        family->fake = fake_of("(everybody)");
    }
    family->fake->family = family;
    return family;
}

void family_free(struct family *family)
{
    if (!family)
        return;
    family->fake->family = NULL;
    free(family);
}

int family_signal(struct family *family, pid_t main, int signal)
{
    struct fake *f = family->fake;
    world.sweeps++;
    if (family->everybody) {
        f->members = world.strangers;
        f->members_ignore_term = world.strangers_stay;
    } else {
        assert_true(main == 0 || (f->child && main == f->pid));
    }
    world_signal(f, signal);
    if (f->members > 0 && (signal == SIGKILL || !f->members_ignore_term)) {
        int64_t at = world.now + (signal == SIGKILL ? f->kill_ms : f->slow_ms) * NS_PER_MS;
        if (f->members_die_at == 0 || at < f->members_die_at)
            f->members_die_at = at;
    }
    int count = f->members + (f->child != NULL);
    f->waits_gone = count > 0;
    return count;
}

bool family_may_have_members(pid_t main)
{
    (void)main;
    for (int i = 0; i < world.fake_count; i++)
        if (!world.fakes[i].child && world.fakes[i].members > 0)
            return true;
    return false;
}

struct output *output_new(struct loop *loop, const struct service_spec *spec, struct err *err)
{
    (void)loop, (void)err;
    struct output *o = calloc(1, sizeof *o);
    o->fake = fake_of(spec->name);
    o->fake->output = o;
    return o;
}
bool output_configure(struct output *o, const struct service_spec *spec, struct err *err)
{
    (void)o, (void)spec, (void)err;
    return true;
}
void output_free(struct output *o)
{
    if (o) {
        o->fake->output = NULL;
        free(o);
    }
}
int output_write_end(const struct output *o)
{
    (void)o;
    return 1;
}
void output_end(struct output *o)
{
    (void)o;
}
/* What a test lets it say: o->said. */
void output_count(const struct output *o, struct output_counts *counts)
{
    *counts = (struct output_counts){.bytes = strlen(o->said)};
}
size_t output_tail(const struct output *o, char *out, size_t limit)
{
    size_t length = strlen(o->said), taken = length < limit ? length : limit;
    memcpy(out, o->said + length - taken, taken);
    return taken;
}
void output_on_line(struct output *o, void (*line)(void *, const char *, size_t), void *argument)
{
    o->line = line;
    o->argument = argument;
}

/* Readiness comes by the test's word: fake_ready(). */
void probe_start(struct probe *p, struct loop *loop, const struct ready_spec *spec, const struct needle *needle, enum probe_goal goal,
                 void (*ready)(struct probe *), void (*failing)(struct probe *, const char *why))
{
    p->loop = loop;
    p->spec = spec;
    p->needle = needle;
    p->goal = goal;
    p->ready = ready;
    p->failing = failing;
    snprintf(p->why, sizeof p->why, "127.0.0.1:%d: connection refused", spec->port);
    for (int i = 0; i < world.fake_count; i++)
        if (world.fakes[i].child && (char *)p > (char *)world.fakes[i].child && (char *)p - (char *)world.fakes[i].child < 1000)
            world.fakes[i].probe = p; /* both are in the same struct service */
}
void probe_stop(struct probe *p)
{
    p->loop = NULL;
}
void probe_line(struct probe *p, const char *text, size_t length)
{
    if (p->loop && p->spec->kind == READY_LINE && memmem(text, length, p->spec->has, strlen(p->spec->has))) {
        p->loop = NULL;
        p->ready(p);
    }
}

int64_t cgroup_oom_kills(const char *root)
{
    (void)root;
    world.oom_looks++;
    return world.oom_kills;
}
bool cgroup_read(const char *root, struct cgroup_limits *limits, struct err *err)
{
    (void)root, (void)err;
    *limits = (struct cgroup_limits){.version = 2, .memory_bytes = INT64_C(2) << 30, .cpus = 2};
    return true;
}

/* The thread is in fake_world.h: world_events. */
bool deadline_prepare(struct err *err)
{
    return !world.no_thread || err_set(err, ERR_SYSTEM, "deadline thread: no room");
}
bool deadline_guard(pid_t pid, int pidfd, int64_t due_boot_ns, struct err *err)
{
    (void)pidfd, (void)err;
    world.guarded++;
    for (int i = 0; i < world.fake_count; i++)
        if (world.fakes[i].child && world.fakes[i].pid == pid) {
            world.fakes[i].due = due_boot_ns;
            world.fakes[i].overdue = false;
        }
    return true;
}
static void kill_overdue(struct fake *f)
{
    if (!f->child || f->due > world.now)
        return;
    f->due = INT64_MAX;
    f->overdue = true;
    will_die(f, (struct child_end){.status = -1, .signal = SIGKILL}, f->kill_ms);
}
bool deadline_set(pid_t pid, int64_t due_boot_ns)
{
    for (int i = 0; i < world.fake_count; i++) {
        struct fake *f = &world.fakes[i];
        if (!f->child || f->pid != pid)
            continue;
        kill_overdue(f); /* the thread would have been there first */
        if (!f->overdue)
            f->due = due_boot_ns;
        kill_overdue(f);
        return !f->overdue;
    }
    return false;
}
bool deadline_unguard(pid_t pid)
{
    (void)pid;
    world.guarded--;
    return false;
}
int64_t clock_boot_ns(void)
{
    return world.now;
}

#endif
