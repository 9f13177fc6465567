/* fake_world.h - what a test of the supervisor does with the kernel of fake_kernel.h: lets time pass and processes die, and looks. */
#ifndef FAKE_WORLD_H
#define FAKE_WORLD_H

#include "fake_kernel.h"

/* --- what the test does --- */

static void deliver_death(struct fake *f)
{
    struct child *c = f->child;
    f->child = NULL;
    f->dead = false;
    f->told_at = world.now;
    deadline_unguard(f->pid); /* as reaper.c does */
    c->pid = 0;
    f->ended(c, f->how);
}

/* Tells what has happened by now: deaths first, then the end of families, as reaper.c and family.c do. */
static void world_events(void)
{
    for (int i = 0; i < world.fake_count; i++) {
        struct fake *f = &world.fakes[i];
        kill_overdue(f);
        if (f->dead && f->died_at <= world.now)
            deliver_death(f);
        if (f->members_die_at && f->members_die_at <= world.now) {
            f->members_die_at = 0;
            f->members = 0;
            if (f->family && f->family->everybody)
                world.strangers = 0;
        }
    }
    for (int i = 0; i < world.fake_count; i++) {
        struct fake *f = &world.fakes[i];
        if (f->waits_gone && !f->child && f->members == 0) {
            f->waits_gone = false;
            if (f->family)
                f->family->gone(f->family, f->family->argument);
        }
    }
}

static int64_t next_world_event(int64_t limit)
{
    for (int i = 0; i < world.fake_count; i++) {
        struct fake *f = &world.fakes[i];
        if (f->dead && f->died_at < limit)
            limit = f->died_at;
        if (f->child && f->due < limit)
            limit = f->due;
        if (f->members_die_at && f->members_die_at < limit)
            limit = f->members_die_at;
    }
    return limit;
}

/* Lets time pass: every timer and every event in its order. */
__attribute__((unused)) static void pass_ms(int64_t ms)
{
    int64_t until = world.now + ms * NS_PER_MS;
    for (;;) {
        world_events();
        int64_t next = next_world_event(until);
        if (next < world.now)
            next = world.now;
        assert_true(loop_turn(world.loop, next > 0 ? next : 1, NULL));
        world_events();
        if (world.now >= until && next_world_event(INT64_MAX) > world.now)
            break;
    }
    assert_true(loop_turn(world.loop, 0, NULL));
}

static void die(const char *name, struct child_end how)
{
    struct fake *f = fake_of(name);
    assert_non_null(f->child);
    f->how = how;
    deliver_death(f);
    world_events();
}

__attribute__((unused)) static void exit_with(const char *name, int status)
{
    die(name, (struct child_end){.status = status});
}
__attribute__((unused)) static void killed_by(const char *name, int signal)
{
    die(name, (struct child_end){.status = -1, .signal = signal});
}

__attribute__((unused)) static void fake_ready(const char *name)
{
    struct probe *p = fake_of(name)->probe;
    assert_non_null(p);
    assert_non_null(p->loop);
    p->loop = NULL;
    p->ready(p);
}

__attribute__((unused)) static bool said(const char *text)
{
    for (int i = 0; i < world.line_count; i++)
        if (strstr(world.lines[i], text))
            return true;
    return false;
}

__attribute__((unused)) static void assert_said(const char *text)
{
    if (said(text))
        return;
    for (int i = 0; i < world.line_count; i++)
        print_error("  %s\n", world.lines[i]);
    fail_msg("nobody said: %s", text);
}

/* How often, and when last, a signal went to a service. */
__attribute__((unused)) static int signals_to(const char *name, int signal, int64_t *last_at)
{
    int count = 0;
    for (int i = 0; i < world.signal_count; i++)
        if (world.signals[i].signal == signal && strcmp(world.signals[i].name, name) == 0) {
            count++;
            if (last_at)
                *last_at = world.signals[i].at;
        }
    return count;
}

__attribute__((unused)) static enum service_state state_of(const char *name)
{
    struct service_view view;
    assert_true(supervisor_view(world.sup, name, &view));
    return view.state;
}

static int world_begin(void **unused)
{
    (void)unused;
    memset(&world, 0, sizeof world);
    world.now = 1000 * NS_PER_S;
    world.next_pid = 100;
    sys.clock_ns = world_clock;
    sys.epoll_wait = world_epoll_wait;
    log_set_sink(world_log);
    log_set_level(LOG_DEBUG);
    struct err err = {0};
    world.loop = loop_new(&err);
    world.sup = world.loop ? supervisor_new(world.loop, &err) : NULL;
    return world.sup ? 0 : -1;
}

/* Everything is stopped and given back: no process, no timer, no guard. */
static int world_end(void **unused)
{
    (void)unused;
    supervisor_stop_all(world.sup, 60000, NULL, NULL);
    for (int i = 0; i < world.fake_count; i++)
        world.fakes[i].kill_ms = 1;
    pass_ms(70000);
    for (int i = 0; i < supervisor_count(world.sup); i++) {
        struct service_view view;
        supervisor_view_at(world.sup, i, &view);
        assert_int_equal(view.pid, 0);
    }
    supervisor_free(world.sup);
    assert_int_equal(world.guarded, 0);
    assert_int_equal(loop_timer_count(world.loop), 0);
    assert_int_equal(loop_watch_count(world.loop), 0);
    loop_free(world.loop);
    for (int i = 0; i < world.fake_count; i++) {
        assert_null(world.fakes[i].family);
        assert_null(world.fakes[i].output);
    }
    return 0;
}

/* --- specs --- */

static struct service_spec *spec_of(const char *name)
{
    struct service_spec *spec = service_spec_new(name);
    spec->argv = calloc(2, sizeof(char *));
    spec->argv[0] = strdup("/bin/fake");
    spec->critical = false;
    return spec;
}

__attribute__((unused)) static void needs(struct service_spec *spec, const char *name, enum need_kind kind)
{
    spec->after = realloc(spec->after, (size_t)(spec->after_count + 1) * sizeof *spec->after);
    spec->after[spec->after_count++] = (struct need){strdup(name), kind};
}

static void declare(struct service_spec *spec)
{
    struct err err = {0};
    if (!supervisor_declare(world.sup, spec, &err))
        fail_msg("%s", err.text);
}

static void want(const char *name, bool up)
{
    struct err err = {0};
    if (!supervisor_want(world.sup, name, up, &err))
        fail_msg("%s", err.text);
}

__attribute__((unused)) static void run(struct service_spec *spec)
{
    char name[64];
    snprintf(name, sizeof name, "%s", spec->name);
    declare(spec);
    want(name, true);
}

#endif
