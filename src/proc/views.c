/* views.c - what status and SIGUSR1 show of the services. */
#include "supervisor_parts.h"

#include "appliance/clock.h"
#include "appliance/log.h"

void service_fill_view(const struct service *s, struct service_view *view)
{
    *view = (struct service_view){
        .name = s->name,
        .reason = s->reason,
        .state = s->state,
        .wanted = s->wanted,
        .critical = s->spec->critical,
        .pid = s->child.pid,
        .since_ns = s->since_ns,
        .started_ns = s->started_ns,
        .restarts = s->starts > 0 ? s->starts - 1 : 0,
        .crashes = s->crashes,
        .retry_ns = s->state == SERVICE_UNSPAWNED ? s->supervisor->shortage.due_ns : s->retry_ns,
        .last_end = s->last_end,
        .has_ended = s->has_ended,
    };
}

uint64_t service_has_spoken(const struct service *s)
{
    struct output_counts seen;
    output_count(s->output, &seen);
    return seen.bytes;
}

bool supervisor_view(const struct supervisor *sup, const char *name, struct service_view *view)
{
    struct service *s = supervisor_find(sup, name);
    if (!s)
        return false;
    service_fill_view(s, view);
    return true;
}

int supervisor_count(const struct supervisor *sup)
{
    return sup->count;
}

bool supervisor_view_at(const struct supervisor *sup, int index, struct service_view *view)
{
    if (index < 0 || index >= sup->count)
        return false;
    service_fill_view(sup->services[index], view);
    return true;
}

struct output *supervisor_output(const struct supervisor *sup, const char *name)
{
    struct service *s = supervisor_find(sup, name);
    return s ? s->output : NULL;
}

const char *supervisor_fatal(const struct supervisor *sup)
{
    return sup->fatal ? sup->fatal->name : NULL;
}

void supervisor_dump(const struct supervisor *sup)
{
    log_info("%d service%s, %s", sup->count, sup->count == 1 ? "" : "s", supervisor_stops(sup) ? "stopping" : "running");
    for (int i = 0; i < sup->count; i++) {
        const struct service *s = sup->services[i];
        char since[24], pid[32] = "", crashes[48] = "", last[128] = "", how[96];
        words_duration(since, sizeof since, clock_ns() - s->since_ns);
        if (s->child.pid)
            words_set(pid, sizeof pid, ", pid %d", (int)s->child.pid);
        if (s->crashes > 0)
            words_set(crashes, sizeof crashes, ", %d crash%s in a row", s->crashes, s->crashes == 1 ? "" : "es");
        if (s->has_ended) {
            child_end_text(s->last_end, how, sizeof how);
            words_set(last, sizeof last, ", last %s", how);
        }
        log_info("%s: %s for %s%s%s%s, started %d times%s%s%s", s->name, service_state_name(s->state), since, pid, *s->reason ? ": " : "",
                 s->reason, s->starts, crashes, last, s->wanted ? "" : ", not wanted");
    }
}
