/* put_down.c - runs that we end at once, by a lease that is over or by an order, and who is told of the runs of a service. */
#include "supervisor_parts.h"

#include "appliance/deadline.h"

#include <stdarg.h>
#include <stdio.h>

void service_put_down(struct service *s, const char *format, ...)
{
    if (s->state == SERVICE_STARTING || s->state == SERVICE_UP) { /* else it ends already, of something else */
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(s->cause, sizeof s->cause, format, arguments);
        va_end(arguments);
        retry_look_back(s);
    }
    s->put_down = true;
    service_feed(s, EVENT_PUT_DOWN);
}

bool supervisor_kill(struct supervisor *sup, const char *name, struct err *err)
{
    struct service *s = supervisor_find_or_fail(sup, name, err);
    if (!s)
        return false;
    if (!service_runs(s))
        return true;
    supervisor_enter(sup);
    s->gave_up |= s->spec->restart == RESTART_NEVER;
    service_put_down(s, "killed on command");
    supervisor_leave(sup);
    return true;
}

/* --- leases --- */

bool service_is_overdue(const struct service *s)
{
    return s->lease && lease_is_over(s->lease, clock_boot_ns());
}

void service_end_of_lease(struct service *s)
{
    service_put_down(s, "killed at the end of its lease %s", s->lease->name);
}

bool supervisor_lease(struct supervisor *sup, const char *name, int64_t due_boot_ns, struct err *err)
{
    struct lease *lease = leases_get(&sup->leases, name);
    if (!lease)
        return err_errno(err, "lease %s", name);
    lease->due_boot_ns = due_boot_ns;
    /* Nobody's deadline waits for what is done about somebody else. */
    for (int i = 0; i < sup->count; i++) {
        struct service *s = sup->services[i];
        if (s->lease == lease && s->child.pid)
            s->is_late = !deadline_set(s->child.pid, due_boot_ns);
    }
    supervisor_enter(sup);
    for (int i = 0; i < sup->count; i++) {
        struct service *s = sup->services[i];
        if (s->lease != lease)
            continue;
        if (s->is_late && !s->put_down && s->child.pid)
            service_end_of_lease(s);
        else if (s->state == SERVICE_WAITING && link_is_alone(&s->order)) /* it waits for nothing else */
            link_append(&sup->to_check, &s->order);
        s->is_late = false;
    }
    supervisor_leave(sup);
    return true;
}

/* --- runs --- */

void service_tell_run(struct service *s, enum run_moment moment)
{
    for (struct run_watcher *w = s->run_watchers, *next; w; w = next) {
        next = w->next;
        if (moment == RUN_REMOVED) {
            w->run = NULL;
            w->place = NULL;
        }
        w->told(w, moment);
    }
    if (moment == RUN_REMOVED)
        s->run_watchers = NULL;
}

bool supervisor_watch_runs(struct supervisor *sup, const char *name, struct run_watcher *w, struct err *err)
{
    struct service *s = supervisor_find_or_fail(sup, name, err);
    if (!s)
        return false;
    w->run = &s->run;
    w->next = s->run_watchers;
    if (w->next)
        w->next->place = &w->next;
    w->place = &s->run_watchers;
    s->run_watchers = w;
    return true;
}

void run_unwatch(struct run_watcher *w)
{
    if (!w->place)
        return;
    *w->place = w->next;
    if (w->next)
        w->next->place = w->place;
    w->place = NULL;
}
