/* retry.c - when a service is tried again: after a crash by its own growing delay, after a failed fork by one that all share. */
#include "supervisor_parts.h"

#include "appliance/clock.h"

/* --- a crash --- */

void retry_look_back(struct service *s)
{
    s->healthy = s->up_ns != 0 && clock_ns() - s->up_ns >= s->spec->healthy_ms * NS_PER_MS;
    if (s->healthy) {
        s->crashes = 0;
        s->backoff_ms = 0;
    }
}

void retry_count(struct service *s)
{
    retry_look_back(s);
    s->crashes++;
    s->gave_up = s->spec->restart == RESTART_NEVER || (s->spec->give_up > 0 && s->crashes >= s->spec->give_up);
}

/* The last quarter of each delay is left to chance, so that what crashed together does not come back together. */
static int64_t jittered(struct supervisor *sup, int64_t delay_ms)
{
    sup->random ^= sup->random << 13;
    sup->random ^= sup->random >> 7;
    sup->random ^= sup->random << 17;
    return delay_ms - (int64_t)(sup->random % (uint64_t)(delay_ms / 4 + 1));
}

enum service_event retry_arm(struct service *s)
{
    if (s->gave_up)
        return EVENT_GIVE_UP;
    if (s->put_down)
        return EVENT_RETRY;
    if (s->healthy)
        return EVENT_RETRY;
    const struct service_spec *spec = s->spec;
    s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : spec->backoff_min_ms;
    if (s->backoff_ms > spec->backoff_max_ms)
        s->backoff_ms = spec->backoff_max_ms;
    int64_t delay_ms = jittered(s->supervisor, s->backoff_ms);
    if (delay_ms <= 0)
        return EVENT_RETRY;
    s->retry_ns = clock_ns() + delay_ms * NS_PER_MS;
    timer_start(&s->phase, s->supervisor->loop, delay_ms, service_phase_over);
    return NO_EVENT;
}

/* --- the kernel has no process for us: all who wait for one share one timer, for the reason is the same --- */

static void shortage_over(struct timer *t)
{
    struct supervisor *sup = (struct supervisor *)((char *)t - offsetof(struct supervisor, shortage));
    struct link line;
    link_init(&line);
    link_move_all(&sup->unspawned, &line);
    sup->in_shortage_tick = true;
    sup->spawned_in_tick = false;
    supervisor_enter(sup);
    while (!link_is_alone(&line)) {
        struct service *s = (struct service *)((char *)line.next - offsetof(struct service, order));
        link_leave(&s->order);
        service_feed(s, EVENT_RETRY);
    }
    sup->in_shortage_tick = false;
    if (!link_is_alone(&sup->unspawned)) {
        sup->shortage_ms = sup->spawned_in_tick ? SHORTAGE_FIRST_MS : sup->shortage_ms * 2;
        if (sup->shortage_ms > SHORTAGE_LAST_MS)
            sup->shortage_ms = SHORTAGE_LAST_MS;
        timer_start(&sup->shortage, sup->loop, sup->shortage_ms, shortage_over);
    }
    supervisor_leave(sup);
}

void retry_arm_spawn(struct service *s)
{
    struct supervisor *sup = s->supervisor;
    link_append(&sup->unspawned, &s->order);
    if (sup->in_shortage_tick || timer_is_started(&sup->shortage))
        return;
    sup->shortage_ms = SHORTAGE_FIRST_MS;
    timer_start(&sup->shortage, sup->loop, sup->shortage_ms, shortage_over);
}

void retry_spawned(struct supervisor *sup)
{
    if (sup->in_shortage_tick)
        sup->spawned_in_tick = true;
    else if (!link_is_alone(&sup->unspawned)) /* the kernel has processes again: everybody in line may try */
        timer_start(&sup->shortage, sup->loop, 0, shortage_over);
}
