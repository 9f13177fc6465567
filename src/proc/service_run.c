/* service_run.c - carries out what the state table (service.c) decides for one service. An action may have a result that is an
 * event of the same service: it is fed next, without recursion. What concerns others (who waits for it) is settled afterwards.
 * The way from a death to the next start allocates nothing, arms no timer and looks at no other process than our own children. */
#include "supervisor_parts.h"

#include "appliance/cgroup.h"
#include "appliance/clock.h"
#include "appliance/deadline.h"
#include "appliance/log.h"

#include <signal.h>
#include <string.h>

enum {
    OOM_LOOK_MS = 100,                /* after the first start, when boot is through */
    LATE_NS = 1 * 1000 * 1000 * 1000, /* a timer so late means that we, and our children, stood still */
};

static struct service *of_child(struct child *c)
{
    return (struct service *)((char *)c - offsetof(struct service, child));
}

static struct service *of_phase(struct timer *t)
{
    return (struct service *)((char *)t - offsetof(struct service, phase));
}

static struct service *of_probe(struct probe *p)
{
    return (struct service *)((char *)p - offsetof(struct service, probe));
}

bool service_runs(const struct service *s)
{
    return s->state == SERVICE_STARTING || s->state == SERVICE_UP || s->state == SERVICE_CLEARING || s->state == SERVICE_STOPPING;
}

/* --- readiness --- */

static void probe_ready(struct probe *p)
{
    service_feed(of_probe(p), EVENT_READY);
}

static void probe_failing(struct probe *p, const char *why)
{
    struct service *s = of_probe(p);
    words_set(s->cause, sizeof s->cause, "missed %d health probes in a row (%s)", s->spec->ready.health_misses, why);
    service_feed(s, EVENT_UNREADY);
}

static void printed(void *argument, const char *text, size_t length)
{
    struct service *s = argument;
    probe_line(&s->probe, text, length);
}

static void not_ready_in_time(struct service *s)
{
    const struct ready_spec *ready = &s->spec->ready;
    /* While everything was frozen the service could not become ready either: that time does not count. */
    int64_t late_ns = clock_ns() - s->phase.due_ns;
    if (late_ns > LATE_NS) {
        timer_start_ns(&s->phase, s->supervisor->loop, late_ns, s->phase.fire);
        return;
    }
    char limit[24];
    words_duration(limit, sizeof limit, ready->deadline_ms * NS_PER_MS);
    const char *why = ready->kind == READY_LINE ? "its log line did not come" : ready->kind == READY_LUA ? "nobody said so" : s->probe.why;
    words_set(s->cause, sizeof s->cause, "not ready within %s (%s)", limit, *why ? why : "no answer");
    service_feed(s, EVENT_UNREADY);
}

/* --- timers of a phase --- */

void service_phase_over(struct timer *t)
{
    struct service *s = of_phase(t);
    if (s->state == SERVICE_STARTING) {
        not_ready_in_time(s);
    } else if (s->state == SERVICE_BACKOFF) {
        service_feed(s, EVENT_RETRY);
    } else if (!s->dumped && s->spec->dump_signal && s->child.pid && clock_ns() < s->kill_due_ns) {
        s->dumped = true;
        log_info("%s: does not end, asking it for a dump", s->name);
        child_signal(&s->child, s->spec->dump_signal, REACH_LEADER);
        timer_start_ns(&s->phase, s->supervisor->loop, s->kill_due_ns - clock_ns(), service_phase_over);
    } else {
        service_feed(s, EVENT_GRACE_OVER);
    }
}

void service_arm_grace(struct service *s, int64_t grace_ms)
{
    s->kill_due_ns = clock_ns() + grace_ms * NS_PER_MS;
    int64_t first_ms = grace_ms;
    if (s->spec->dump_signal && !s->dumped && s->child.pid)
        first_ms = grace_ms > 2 * DUMP_LEAD_MS ? grace_ms - DUMP_LEAD_MS : grace_ms / 2;
    timer_start(&s->phase, s->supervisor->loop, first_ms, service_phase_over);
}

/* --- the process --- */

static enum service_event signal_family(struct service *, int signal);

static enum service_event exit_event(const struct service *s)
{
    const struct service_spec *spec = s->spec;
    bool success = s->last_end.signal == 0 && s->last_end.status == 0;
    for (size_t i = 0; i < sizeof spec->clean_status / sizeof *spec->clean_status && spec->clean_status[i]; i++)
        success |= s->last_end.signal == 0 && s->last_end.status == spec->clean_status[i];
    /* Who must always run has no good reason to end: a Spark master that exits with 0 has lost leadership. */
    bool may_end = spec->oneshot || spec->restart != RESTART_ALWAYS;
    return success && may_end ? EVENT_EXITED_CLEAN : EVENT_EXITED_BAD;
}

/* The deadline thread knew its main process and the group of it. Who else is of its family must not be there without it either. */
static void leave_nobody(struct service *s)
{
    if (s->lease && family_may_have_members(0))
        signal_family(s, SIGKILL);
}

static void ended(struct child *child, struct child_end how)
{
    struct service *s = of_child(child);
    s->last_end = s->run.end = how;
    s->has_ended = true;
    s->ran_ns = clock_ns() - s->started_ns;
    s->spoken_before_last = s->spoken_before;
    output_end(s->output); /* what it said last is there before the sentence about its death, and before its successor speaks */
    bool ran = s->state == SERVICE_STARTING || s->state == SERVICE_UP;
    if (ran && service_is_overdue(s)) {
        service_end_of_lease(s);
        return;
    }
    s->run.unasked = s->state != SERVICE_STOPPING && !s->put_down;
    if (ran)
        service_feed(s, exit_event(s));
    if (!ran || s->state == SERVICE_DONE)
        leave_nobody(s);
    if (!ran && !s->family_watched)
        service_feed(s, EVENT_FAMILY_GONE);
}

static void take_next_spec(struct service *s)
{
    if (!s->next_spec)
        return;
    service_spec_free(s->spec);
    needle_free(s->needle);
    s->spec = s->next_spec;
    s->needle = s->next_needle;
    s->next_spec = NULL;
    s->next_needle = NULL;
    s->lease = s->spec->lease ? leases_get(&s->supervisor->leases, s->spec->lease) : NULL; /* it is there since the spec was declared */
    struct err err;
    if (!output_configure(s->output, s->spec, &err))
        log_warn("%s: its log goes on as before: %s", s->name, err.text);
}

static void look_for_oom(struct timer *t)
{
    struct supervisor *sup = (struct supervisor *)((char *)t - offsetof(struct supervisor, oom_look));
    if (sup->oom_kills < 0)
        sup->oom_kills = cgroup_oom_kills("/");
}

static enum service_event do_spawn(struct service *s)
{
    struct supervisor *sup = s->supervisor;
    static char *no_environment[] = {NULL};
    const struct service_spec *spec = s->spec;
    const struct child_spec how = {
        .name = s->name,
        .argv = spec->argv,
        .envp = spec->envp ? spec->envp : no_environment,
        .dir = spec->dir,
        .output = output_write_end(s->output),
        .set_user = spec->set_user,
        .uid = spec->uid,
        .gid = spec->gid,
        .nice = spec->nice,
        .die_with_us = !sup->is_pid1,
    };
    struct err err;
    int64_t due = s->lease ? s->lease->due_boot_ns : INT64_MAX;
    if ((s->lease && !deadline_prepare(&err)) || !child_start(&s->child, sup->loop, &how, ended, &err)) {
        service_tell_late_death(s); /* before its cause is overwritten */
        bool for_good = err.kind == ERR_MISSING || err.kind == ERR_DENIED || err.kind == ERR_INVALID;
        const char *symbol = for_good ? NULL : strerrorname_np(err.code);
        size_t name = strlen(s->name); /* our sentences begin with it anyway */
        bool named = strncmp(err.text, s->name, name) == 0 && strncmp(err.text + name, ": ", 2) == 0;
        words_set(s->cause, sizeof s->cause, "%s", named ? err.text + name + 2 : err.text);
        words_set(s->reason, sizeof s->reason, "%s%s", symbol ? "fork: " : "", symbol ? symbol : s->cause);
        return for_good ? EVENT_SPAWN_NEVER : EVENT_SPAWN_LATER;
    }
    /* First of all: it runs already. With a lease there is room for it. */
    if (!deadline_guard(s->child.pid, s->child.pidfd, due, &err))
        log_warn("%s: is not under the watchdog: %s", s->name, err.text);
    s->starts++;
    s->started_ns = s->child.started_ns;
    s->spoken_before = service_has_spoken(s);
    s->up_ns = 0;
    s->dumped = s->kill_sent = s->asked_to_end = s->short_of_processes = s->put_down = false;
    s->reason[0] = 0;
    if (sup->oom_kills < 0 && !timer_is_started(&sup->oom_look))
        timer_start(&sup->oom_look, sup->loop, OOM_LOOK_MS, look_for_oom);
    retry_spawned(sup);
    s->run = (struct run){.pid = s->child.pid};
    s->run_is_open = true;
    service_tell_run(s, RUN_STARTED);
    return NO_EVENT;
}

static enum service_event do_probe(struct service *s)
{
    struct loop *loop = s->supervisor->loop;
    const struct ready_spec *ready = &s->spec->ready;
    if (s->state == SERVICE_UP) {
        if (ready->health_misses > 0 && ready_connects(ready->kind))
            probe_start(&s->probe, loop, ready, s->needle, PROBE_HEALTH, probe_ready, probe_failing);
        return NO_EVENT;
    }
    if (ready->kind == READY_AT_START)
        return s->spec->oneshot ? NO_EVENT : EVENT_READY;
    if (ready->deadline_ms > 0)
        timer_start(&s->phase, loop, ready->deadline_ms, service_phase_over);
    if (ready->kind != READY_LUA) {
        probe_start(&s->probe, loop, ready, s->needle, PROBE_READY, probe_ready, probe_failing);
        output_on_line(s->output, printed, s);
    }
    return NO_EVENT;
}

/* --- its end --- */

/* Sends to everybody of the family; who is left is watched. */
static enum service_event signal_family(struct service *s, int signal)
{
    s->family_watched = family_signal(s->family, s->child.pid, signal) > 0;
    if (s->family_watched)
        return NO_EVENT;
    if (!child_is_alive(&s->child))
        return EVENT_FAMILY_GONE;
    /* No /proc, or no memory for a sweep: what we know for certain is its group. */
    child_signal(&s->child, signal, REACH_GROUP);
    child_signal(&s->child, SIGCONT, REACH_GROUP);
    return NO_EVENT;
}

static int64_t grace_of(const struct service *s)
{
    const struct supervisor *sup = s->supervisor;
    int64_t grace_ms = s->spec->grace_ms;
    if (supervisor_stops(sup)) {
        int64_t share_ms = (sup->level_due_ns - clock_ns()) / NS_PER_MS;
        if (share_ms < grace_ms)
            grace_ms = share_ms > 0 ? share_ms : 0;
    }
    return grace_ms;
}

static enum service_event do_term(struct service *s)
{
    s->stop_ns = clock_ns();
    s->asked_to_end = true;
    s->kill_again_ms = KILL_AGAIN_MS;
    enum service_event next = signal_family(s, s->spec->stop_signal);
    if (next == NO_EVENT)
        service_arm_grace(s, grace_of(s));
    return next;
}

static enum service_event send_kill(struct service *s)
{
    timer_start(&s->phase, s->supervisor->loop, s->kill_again_ms, service_phase_over);
    s->kill_again_ms = s->kill_again_ms * 2 < KILL_AGAIN_LAST_MS ? s->kill_again_ms * 2 : KILL_AGAIN_LAST_MS;
    return signal_family(s, SIGKILL);
}

static enum service_event do_kill(struct service *s)
{
    if (!s->kill_sent)
        log_warn("%s: did not end in time, killing what is left of it", s->name);
    else if (s->kill_again_ms == KILL_AGAIN_LAST_MS)
        log_warn("%s: does not end although it was killed: is it stuck in the kernel (state D)?", s->name);
    s->kill_sent = true;
    return send_kill(s);
}

static enum service_event do_clear(struct service *s)
{
    s->stop_ns = clock_ns();
    bool lives = child_is_alive(&s->child);
    if (!lives && !family_may_have_members(0))
        return EVENT_FAMILY_GONE;
    if (!s->put_down && !s->lease)
        return do_term(s);
    s->asked_to_end = true;
    s->kill_sent = lives; /* if it is dead, it may yet turn out that the kernel killed it for memory */
    s->kill_again_ms = KILL_AGAIN_MS;
    return send_kill(s);
}

/* --- one event --- */

static void do_disarm(struct service *s)
{
    timer_stop(&s->phase);
    s->retry_ns = 0;
    if (probe_is_started(&s->probe))
        probe_stop(&s->probe);
    output_on_line(s->output, NULL, NULL);
    link_leave(&s->order);
}

static enum service_event carry_out(struct service *s, unsigned actions)
{
    enum service_event next = NO_EVENT;
    if (actions & DO_DISARM)
        do_disarm(s);
    if (actions & DO_CHECK) {
        take_next_spec(s);
        if (needs_are_met(s))
            next = EVENT_NEEDS_MET;
    }
    if (actions & DO_SPAWN)
        next = do_spawn(s);
    if ((actions & DO_PROBE) && next == NO_EVENT)
        next = do_probe(s);
    if (actions & DO_TERM)
        next = do_term(s);
    if (actions & DO_KILL)
        next = do_kill(s);
    if (actions & DO_CLEAR)
        next = do_clear(s);
    if (actions & DO_ARM_RETRY)
        next = retry_arm(s);
    if (actions & DO_ARM_SPAWN)
        retry_arm_spawn(s);
    if (actions & DO_COUNT)
        retry_count(s);
    return next;
}

/* What a state asks for by itself, whatever led to it. */
static enum service_event standing_order(const struct service *s, enum service_event next)
{
    bool idle = s->state == SERVICE_WAITING || s->state == SERVICE_BACKOFF || s->state == SERVICE_UNSPAWNED;
    if (supervisor_stops(s->supervisor) && idle)
        return EVENT_WANT_DOWN; /* nothing starts any more */
    if (s->state == SERVICE_DOWN && s->wanted && !s->removed && !supervisor_stops(s->supervisor))
        return EVENT_WANT_UP;
    return next;
}

static void entered(struct service *s, enum service_event event)
{
    s->since_ns = clock_ns();
    if (s->state == SERVICE_UP) {
        s->up_ns = s->since_ns;
        service_tell_run(s, RUN_READY);
    }
    if (s->run_is_open && !service_runs(s)) {
        s->run_is_open = false;
        service_tell_run(s, RUN_ENDED);
    }
    if (event == EVENT_WANT_UP) { /* a fresh start by command: what was before does not count */
        s->crashes = 0;
        s->backoff_ms = 0;
        s->gave_up = s->restarting = false;
    }
    if (event == EVENT_EXITED_BAD || event == EVENT_EXITED_CLEAN)
        s->cause[0] = 0;
}

static void after_step(struct service *s)
{
    struct supervisor *sup = s->supervisor;
    link_move_all(&s->waiters, &sup->to_check);
    if (s->in_level && !service_runs(s))
        stop_member_is_down(s);
    sup->has_down |= s->removed && s->state == SERVICE_DOWN;
    if (s->state == SERVICE_FAILED && s->spec->critical && !sup->fatal && !supervisor_stops(sup)) {
        sup->fatal = s;
        words_set(sup->fatal_text, sizeof sup->fatal_text, "%s: %s", s->name, s->reason);
        if (sup->on_fatal)
            sup->on_fatal(sup->on_fatal_argument);
    }
}

void service_feed(struct service *s, enum service_event event)
{
    supervisor_enter(s->supervisor);
    while (event != NO_EVENT) {
        struct service_step step = service_step(s->state, event);
        if (!step.known)
            break;
        bool moved = step.next != s->state;
        s->state = step.next;
        if (moved)
            entered(s, event);
        enum service_event next = standing_order(s, carry_out(s, step.actions));
        if (step.actions & DO_ANNOUNCE)
            service_announce(s, event, next);
        if (moved)
            after_step(s);
        event = next;
    }
    supervisor_leave(s->supervisor);
}

/* --- what one event means for others --- */

void supervisor_enter(struct supervisor *sup)
{
    sup->depth++;
}

void supervisor_leave(struct supervisor *sup)
{
    if (sup->depth == 1) {
        do {
            while (!link_is_alone(&sup->to_check)) {
                struct service *s = (struct service *)((char *)sup->to_check.next - offsetof(struct service, order));
                link_leave(&s->order);
                if (s->state != SERVICE_WAITING)
                    continue;
                take_next_spec(s); /* it may have been declared anew while it waited, perhaps for hours */
                if (needs_are_met(s))
                    service_feed(s, EVENT_NEEDS_MET);
            }
            if (supervisor_stops(sup))
                stop_go_on(sup);
            if (sup->has_down)
                supervisor_take_removed_out(sup);
        } while (!link_is_alone(&sup->to_check));
    }
    sup->depth--;
}
