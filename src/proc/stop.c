/* stop.c - the ordered stop of everything. Level by level, those first whom nobody running needs; each level has an equal share of
 * what is left of the budget, and what a quick one leaves over goes to those behind it. At the end also whoever else is in our tree. */
#include "supervisor_parts.h"

#include "appliance/clock.h"
#include "appliance/log.h"

#include <signal.h>
#include <string.h>

enum {
    RESERVE_MAX_MS = 500, /* of the budget, for killed processes to be gone */
    RESERVE_PART = 8,
};

static void stop_timer_over(struct timer *);

static struct supervisor *of_timer(struct timer *t)
{
    return (struct supervisor *)((char *)t - offsetof(struct supervisor, stop_timer));
}

/* --- the order --- */

/* Every service below all that need it, by the newest specs, which have no cycle (Kahn's algorithm, so that 1,000 are no matter). */
static void make_levels(struct supervisor *sup)
{
    for (int i = 0; i < sup->count; i++) {
        sup->services[i]->level = 0;
        sup->services[i]->walk_next = 0; /* how many that need it have no level yet */
    }
    for (int i = 0; i < sup->count; i++) {
        const struct service_spec *spec = service_newest_spec(sup->services[i]);
        for (int n = 0; n < spec->after_count; n++) {
            struct service *needed = supervisor_find(sup, spec->after[n].service);
            if (needed)
                needed->walk_next++;
        }
    }
    struct service *ready = NULL;
    for (int i = 0; i < sup->count; i++)
        if (sup->services[i]->walk_next == 0) {
            sup->services[i]->walk_from = ready;
            ready = sup->services[i];
        }
    while (ready) {
        struct service *s = ready;
        ready = s->walk_from;
        const struct service_spec *spec = service_newest_spec(s);
        for (int n = 0; n < spec->after_count; n++) {
            struct service *needed = supervisor_find(sup, spec->after[n].service);
            if (!needed)
                continue;
            if (needed->level <= s->level)
                needed->level = s->level + 1;
            if (--needed->walk_next == 0) {
                needed->walk_from = ready;
                ready = needed;
            }
        }
    }
}

static bool must_stop(const struct service *s)
{
    return service_runs(s) || s->state == SERVICE_DONE;
}

/* Level 0 is needed by nobody. The next level at or behind `from` with somebody to stop; -1: none. */
static int next_level(const struct supervisor *sup, int from)
{
    int best = -1;
    for (int i = 0; i < sup->count; i++) {
        const struct service *s = sup->services[i];
        if (must_stop(s) && s->level >= from && (best < 0 || s->level < best))
            best = s->level;
    }
    return best;
}

static int count_levels(const struct supervisor *sup)
{
    int count = 0;
    for (int level = next_level(sup, 0); level >= 0; level = next_level(sup, level + 1))
        count++;
    return count;
}

/* --- the end --- */

static void over(struct supervisor *sup)
{
    sup->stop_phase = STOP_OVER;
    timer_start(&sup->stop_timer, sup->loop, 0, stop_timer_over); /* `done` runs in the loop, never in the caller */
}

static void tell_done(struct supervisor *sup)
{
    for (int i = 0; i < sup->count; i++)
        if (service_runs(sup->services[i]))
            log_error("%s: did not end within the time to stop, left to the kernel", sup->services[i]->name);
    if (sup->fatal)
        log_error("%s; it is critical, so everything was stopped", sup->fatal_text);
    struct stop_waiter waiters[STOP_WAITERS];
    int count = sup->stop_waiter_count;
    memcpy(waiters, sup->stop_waiters, sizeof waiters);
    sup->stop_waiter_count = 0;
    for (int i = 0; i < count; i++)
        waiters[i].done(waiters[i].argument); /* the last of them may free us */
}

/* --- whoever else is there: daemons that wiped their environment, as PID 1 also what `docker exec` began --- */

void stop_rest_gone(struct family *family, void *argument)
{
    (void)family;
    struct supervisor *sup = argument;
    if (sup->stop_phase == STOP_REST || sup->stop_phase == STOP_REST_KILLED)
        over(sup);
}

static void rest(struct supervisor *sup)
{
    sup->stop_phase = STOP_REST;
    if (!sup->everybody || family_signal(sup->everybody, 0, SIGTERM) == 0) {
        over(sup);
        return;
    }
    timer_start_ns(&sup->stop_timer, sup->loop, sup->stop_due_ns - sup->stop_reserve_ns - clock_ns(), stop_timer_over);
}

static void rest_go_on(struct supervisor *sup)
{
    if (clock_ns() >= sup->stop_due_ns) {
        log_warn("some processes that are no service did not end although they were killed");
        over(sup);
        return;
    }
    log_warn("killing what is left");
    sup->stop_phase = STOP_REST_KILLED;
    if (family_signal(sup->everybody, 0, SIGKILL) == 0)
        over(sup);
    else
        timer_start_ns(&sup->stop_timer, sup->loop, sup->stop_due_ns - clock_ns(), stop_timer_over);
}

/* --- level by level --- */

static void enter_level(struct supervisor *sup, int level, int shares)
{
    int64_t now = clock_ns();
    int64_t left = sup->stop_due_ns - sup->stop_reserve_ns - now;
    if (left < 0)
        left = 0;
    sup->level = level;
    sup->level_due_ns = now + left / shares;
    sup->level_left = 0;
    /* First all are counted: the first one that ends at once must not look like the last. */
    for (int i = 0; i < sup->count; i++) {
        struct service *s = sup->services[i];
        s->in_level = must_stop(s) && s->level == level;
        sup->level_left += s->in_level;
    }
    int64_t patience = sup->level_due_ns + sup->stop_reserve_ns / 2 - now; /* then KILL has had its chance, too */
    timer_start_ns(&sup->stop_timer, sup->loop, patience, stop_timer_over);
    for (int i = 0; i < sup->count; i++) {
        struct service *s = sup->services[i];
        if (!s->in_level)
            continue;
        if (service_runs(s) && (s->state == SERVICE_STOPPING || s->state == SERVICE_CLEARING) && !s->kill_sent &&
            s->kill_due_ns > sup->level_due_ns)
            service_arm_grace(s, (sup->level_due_ns - now) / NS_PER_MS);
        service_feed(s, EVENT_WANT_DOWN);
    }
}

void stop_member_is_down(struct service *s)
{
    s->in_level = false;
    s->supervisor->level_left--;
}

void stop_go_on(struct supervisor *sup)
{
    while (sup->stop_phase == STOP_LEVELS && sup->level_left == 0) {
        int level = next_level(sup, sup->level + 1);
        if (level < 0) {
            rest(sup);
            return;
        }
        int levels = sup->levels_left > 1 ? sup->levels_left-- : 1;
        enter_level(sup, level, levels + (sup->everybody ? 1 : 0));
    }
}

static void stop_timer_over(struct timer *t)
{
    struct supervisor *sup = of_timer(t);
    if (sup->stop_phase == STOP_OVER) {
        tell_done(sup);
        return;
    }
    supervisor_enter(sup);
    switch (sup->stop_phase) {
    case STOP_LEVELS: /* somebody can't be killed: the others are not made to wait for it */
        for (int i = 0; i < sup->count; i++)
            sup->services[i]->in_level = false;
        sup->level_left = 0;
        break;
    case STOP_REST:
    case STOP_REST_KILLED: rest_go_on(sup); break;
    case STOP_OVER:
    case STOP_NOT: break;
    }
    supervisor_leave(sup);
}

/* --- the request --- */

static void begin(struct supervisor *sup, int64_t budget_ms)
{
    int64_t reserve_ms = budget_ms / RESERVE_PART < RESERVE_MAX_MS ? budget_ms / RESERVE_PART : RESERVE_MAX_MS;
    sup->stop_due_ns = clock_ns() + budget_ms * NS_PER_MS;
    sup->stop_reserve_ns = reserve_ms * NS_PER_MS;
    sup->level_due_ns = sup->stop_due_ns - sup->stop_reserve_ns;
    sup->level = -1;
    sup->level_left = 0;
    for (int i = 0; i < sup->count; i++)
        sup->services[i]->wanted = false;
    make_levels(sup);
    sup->levels_left = count_levels(sup);
    sup->stop_phase = STOP_LEVELS; /* from here on nothing starts */
    for (int i = 0; i < sup->count; i++)
        if (!must_stop(sup->services[i]) && sup->services[i]->state != SERVICE_FAILED)
            service_feed(sup->services[i], EVENT_WANT_DOWN);
}

/* The second request: everybody at once, KILL soon. The third: KILL now. */
static void hurry(struct supervisor *sup)
{
    int64_t grace_ms = sup->hurried++ == 0 ? HURRY_MS : 0;
    int64_t due = clock_ns() + grace_ms * NS_PER_MS;
    if (due + sup->stop_reserve_ns < sup->stop_due_ns)
        sup->stop_due_ns = due + sup->stop_reserve_ns;
    if (sup->stop_phase == STOP_OVER)
        over(sup); /* somebody asks who comes late: tell him, too */
    if (sup->stop_phase == STOP_REST)
        timer_start_ns(&sup->stop_timer, sup->loop, due - clock_ns(), stop_timer_over);
    if (sup->stop_phase != STOP_LEVELS)
        return;
    if (due < sup->level_due_ns)
        sup->level_due_ns = due;
    for (int i = 0; i < sup->count; i++)
        sup->services[i]->level = sup->level;
    enter_level(sup, sup->level, 1);
}

void supervisor_stop_all(struct supervisor *sup, int64_t budget_ms, void (*done)(void *), void *argument)
{
    bool known = !done;
    for (int i = 0; i < sup->stop_waiter_count; i++)
        known |= sup->stop_waiters[i].done == done && sup->stop_waiters[i].argument == argument;
    if (!known && sup->stop_waiter_count < STOP_WAITERS)
        sup->stop_waiters[sup->stop_waiter_count++] = (struct stop_waiter){done, argument};
    supervisor_enter(sup);
    if (sup->stop_phase == STOP_NOT)
        begin(sup, budget_ms);
    else
        hurry(sup);
    supervisor_leave(sup);
}

bool supervisor_is_stopping(const struct supervisor *sup)
{
    return supervisor_stops(sup);
}

void supervisor_reopen(struct supervisor *sup)
{
    if (sup->stop_phase != STOP_OVER || timer_is_started(&sup->stop_timer))
        return;
    sup->stop_phase = STOP_NOT;
    sup->hurried = 0;
}
