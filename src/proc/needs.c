/* needs.c - who waits for whom. Names are looked up when they are needed, so that services may be declared in any order. */
#include "supervisor_parts.h"

#include "appliance/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *kind_words(enum need_kind kind)
{
    return kind == NEED_STARTED ? " to be started" : kind == NEED_DONE ? " to be done" : " to be ready";
}

static bool is_met(const struct service *needed, enum need_kind kind)
{
    switch (kind) {
    case NEED_DONE: return needed->state == SERVICE_DONE;
    case NEED_STARTED: return needed->state == SERVICE_STARTING || needed->state == SERVICE_UP || needed->state == SERVICE_DONE;
    case NEED_READY: break;
    }
    /* A one-shot is as ready as it will ever be once it is done. */
    return needed->state == SERVICE_UP || needed->state == SERVICE_DONE;
}

__attribute__((format(printf, 3, 4))) static void add(char *out, size_t size, const char *format, ...)
{
    size_t length = strlen(out);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out + length, size - length, format, arguments);
    va_end(arguments);
}

static void add_need(char *out, size_t size, const struct need *need, const struct service *needed)
{
    add(out, size, "%s%s%s", *out ? ", " : "waits for ", need->service, kind_words(need->kind));
    if (!needed)
        add(out, size, " (not declared)");
    else if (needed->state == SERVICE_FAILED)
        add(out, size, " (failed)");
    else if (!needed->wanted)
        add(out, size, " (not wanted)");
}

bool needs_are_met(struct service *s)
{
    struct supervisor *sup = s->supervisor;
    link_leave(&s->order);
    s->reason[0] = 0;
    for (int i = 0; i < s->spec->after_count; i++) {
        const struct need *need = &s->spec->after[i];
        struct service *needed = supervisor_find(sup, need->service);
        if (needed && is_met(needed, need->kind))
            continue;
        if (link_is_alone(&s->order))
            link_append(needed ? &needed->waiters : &sup->lost, &s->order);
        add_need(s->reason, sizeof s->reason, need, needed);
    }
    if (s->lease && !lease_may_start(s->lease, clock_boot_ns())) /* in no list of those who wait: supervisor_lease asks all it concerns */
        add(s->reason, sizeof s->reason, "%sthe lease %s", s->reason[0] ? ", " : "waits for ", s->lease->name);
    return s->reason[0] == 0;
}

bool needs_are_known(const struct service *s, struct err *err)
{
    const struct service_spec *spec = service_newest_spec(s);
    char names[160] = "";
    int count = 0;
    for (int i = 0; i < spec->after_count; i++)
        if (!supervisor_find(s->supervisor, spec->after[i].service))
            add(names, sizeof names, "%s%s", count++ ? ", " : "", spec->after[i].service);
    if (count == 0)
        return true;
    return err_set(err, ERR_MISSING, "%s: needs %s, which %s not declared: correct `after`, or declare %s", s->name, names,
                   count == 1 ? "is" : "are", count == 1 ? "it" : "them");
}

/* --- cycles: a walk in depth from `start`; what is on the way back to it is the cycle --- */

static bool refuse_cycle(const struct service *start, const struct service *last, struct err *err)
{
    /* walk_from leads from the last back to the start: turned round for the reader, "a needs b needs a". */
    char names[160] = "";
    int length = 0;
    for (const struct service *s = last; s; s = s == start ? NULL : s->walk_from)
        length++;
    for (int at = length - 1; at >= 0; at--) {
        const struct service *s = last;
        for (int back = 0; back < at; back++)
            s = s->walk_from;
        add(names, sizeof names, "%s needs ", s->name);
    }
    return err_set(err, ERR_INVALID, "%s: `after` is a cycle (%s%s): drop one of these needs", start->name, names, start->name);
}

bool needs_are_acyclic(struct supervisor *sup, struct service *start, struct err *err)
{
    if (service_newest_spec(start)->after_count == 0)
        return true;
    start->walk = ++sup->walk; /* whoever carries this number was seen */
    start->walk_next = 0;
    start->walk_from = NULL;
    for (struct service *at = start; at;) {
        const struct service_spec *spec = service_newest_spec(at);
        if (at->walk_next == spec->after_count) {
            at = at->walk_from;
            continue;
        }
        struct service *needed = supervisor_find(sup, spec->after[at->walk_next++].service);
        if (needed == start)
            return refuse_cycle(start, at, err);
        if (!needed || needed->walk == sup->walk)
            continue;
        needed->walk = sup->walk;
        needed->walk_next = 0;
        needed->walk_from = at;
        at = needed;
    }
    return true;
}
