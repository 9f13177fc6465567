#include "supervisor_parts.h"

#include "appliance/clock.h"
#include "appliance/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- names --- */

static uint32_t hash(const char *name)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

struct service *supervisor_find(const struct supervisor *sup, const char *name)
{
    if (sup->bucket_count == 0)
        return NULL;
    struct service *s = sup->buckets[hash(name) & (uint32_t)(sup->bucket_count - 1)];
    while (s && strcmp(s->name, name) != 0)
        s = s->bucket_next;
    return s;
}

static void put_in_bucket(struct supervisor *sup, struct service *s)
{
    struct service **bucket = &sup->buckets[hash(s->name) & (uint32_t)(sup->bucket_count - 1)];
    s->bucket_next = *bucket;
    *bucket = s;
}

/* Room for one more in the list and in the table; changes nothing when there is no memory. */
static bool make_room(struct supervisor *sup)
{
    if (sup->count < sup->capacity)
        return true;
    int capacity = sup->capacity ? sup->capacity * 2 : 16;
    struct service **services = realloc(sup->services, (size_t)capacity * sizeof(struct service *));
    if (!services)
        return false;
    sup->services = services;
    struct service **buckets = calloc((size_t)capacity, sizeof(struct service *));
    if (!buckets)
        return false;
    free(sup->buckets);
    sup->buckets = buckets;
    sup->bucket_count = sup->capacity = capacity;
    for (int i = 0; i < sup->count; i++)
        put_in_bucket(sup, sup->services[i]);
    return true;
}

struct service *supervisor_find_or_fail(const struct supervisor *sup, const char *name, struct err *err)
{
    struct service *s = supervisor_find(sup, name);
    if (!s || s->removed) {
        err_set(err, ERR_MISSING, "%s: there is no such service", name);
        return NULL;
    }
    return s;
}

/* --- one service --- */

static void family_gone(struct family *family, void *argument)
{
    (void)family;
    struct service *s = argument;
    s->family_watched = false;
    if (!child_is_alive(&s->child))
        service_feed(s, EVENT_FAMILY_GONE);
}

static void service_free(struct service *s)
{
    if (!s)
        return;
    timer_stop(&s->phase);
    probe_stop(&s->probe);
    link_leave(&s->order);
    link_move_all(&s->waiters, &s->supervisor->lost);
    family_free(s->family);
    output_free(s->output); /* whoever follows it may get its last lines: only then the watchers of its runs are let go */
    service_tell_run(s, RUN_REMOVED);
    service_spec_free(s->spec);
    service_spec_free(s->next_spec);
    needle_free(s->needle);
    needle_free(s->next_needle);
    free(s->name);
    free(s);
}

/* Takes the spec and the needle over only when it succeeds. */
static struct service *service_new(struct supervisor *sup, struct service_spec *spec, struct needle *needle, struct err *err)
{
    char marker[CHILD_MARKER_SIZE];
    if (!child_marker(spec->name, marker)) {
        err_set(err, ERR_INVALID, "%.60s...: the name of the service is too long", spec->name);
        return NULL;
    }
    struct service *s = calloc(1, sizeof *s);
    if (!s) {
        err_errno(err, "%s: declare", spec->name);
        return NULL;
    }
    link_init(&s->order);
    link_init(&s->waiters);
    s->supervisor = sup;
    s->since_ns = clock_ns();
    s->child.pidfd = -1;
    s->name = strdup(spec->name);
    if (!s->name) {
        err_errno(err, "%s: declare", spec->name);
        service_free(s);
        return NULL;
    }
    s->output = output_new(sup->loop, spec, err);
    s->family = s->output ? family_new(sup->loop, marker, family_gone, s, err) : NULL;
    if (!s->family) {
        service_free(s);
        return NULL;
    }
    s->spec = spec;
    s->needle = needle;
    s->lease = spec->lease ? leases_get(&sup->leases, spec->lease) : NULL;
    return s;
}

static void take_out(struct supervisor *sup, struct service *s)
{
    struct service **at = &sup->buckets[hash(s->name) & (uint32_t)(sup->bucket_count - 1)];
    while (*at != s)
        at = &(*at)->bucket_next;
    *at = s->bucket_next;
    int index = 0;
    while (sup->services[index] != s)
        index++;
    memmove(&sup->services[index], &sup->services[index + 1], (size_t)(--sup->count - index) * sizeof(struct service *));
}

static void free_removed(struct timer *t)
{
    struct supervisor *sup = (struct supervisor *)((char *)t - offsetof(struct supervisor, free_removed));
    struct link line, *next;
    link_init(&line);
    link_move_all(&sup->removed, &line);
    for (struct link *l = line.next; l != &line; l = next) {
        next = l->next;
        link_init(l); /* alone: the line itself is given up */
        service_free((struct service *)((char *)l - offsetof(struct service, order)));
    }
}

void supervisor_take_removed_out(struct supervisor *sup)
{
    sup->has_down = false;
    for (int i = sup->count - 1; i >= 0; i--) {
        struct service *s = sup->services[i];
        if (!s->removed || s->state != SERVICE_DOWN)
            continue;
        take_out(sup, s);
        if (sup->fatal == s)
            sup->fatal = NULL;
        link_move_all(&s->waiters, &sup->to_check);
        link_append(&sup->removed, &s->order);
        timer_start(&sup->free_removed, sup->loop, 0, free_removed);
    }
}

/* --- the set --- */

struct supervisor *supervisor_new(struct loop *loop, struct err *err)
{
    struct supervisor *sup = calloc(1, sizeof *sup);
    if (!sup) {
        err_errno(err, "supervisor");
        return NULL;
    }
    sup->loop = loop;
    sup->is_pid1 = getpid() == 1;
    sup->random = ((uint64_t)clock_ns() ^ ((uint64_t)getpid() << 32)) | 1;
    sup->oom_kills = -1;
    link_init(&sup->to_check);
    link_init(&sup->lost);
    link_init(&sup->unspawned);
    link_init(&sup->removed);
    return sup;
}

void supervisor_free(struct supervisor *sup)
{
    if (!sup)
        return;
    timer_stop(&sup->shortage);
    timer_stop(&sup->oom_look);
    timer_stop(&sup->stop_timer);
    timer_stop(&sup->free_removed);
    free_removed(&sup->free_removed);
    for (int i = 0; i < sup->count; i++)
        service_free(sup->services[i]);
    family_free(sup->everybody);
    leases_free(&sup->leases);
    while (sup->observers) {
        struct observer *o = sup->observers;
        sup->observers = o->next;
        free(o);
    }
    free(sup->services);
    free(sup->buckets);
    free(sup);
}

void supervisor_observe(struct supervisor *sup, supervisor_observer *call, void *argument)
{
    struct observer *o = malloc(sizeof *o);
    if (!o) {
        log_error("no memory to watch services: their changes are only in this log");
        return;
    }
    *o = (struct observer){sup->observers, call, argument};
    sup->observers = o;
}

void supervisor_on_fatal(struct supervisor *sup, void (*call)(void *), void *argument)
{
    sup->on_fatal = call;
    sup->on_fatal_argument = argument;
}

bool supervisor_answer_for_all(struct supervisor *sup, struct err *err)
{
    if (!sup->everybody)
        sup->everybody = family_new(sup->loop, NULL, stop_rest_gone, sup, err);
    return sup->everybody != NULL;
}

static bool needs_needle(const struct service_spec *spec)
{
    return spec->ready.kind == READY_HTTP && spec->ready.has;
}

static bool redeclare(struct supervisor *sup, struct service *s, struct service_spec *spec, struct needle *needle, struct err *err)
{
    struct service_spec *old_spec = s->next_spec;
    s->next_spec = spec;
    if (!needs_are_acyclic(sup, s, err)) {
        s->next_spec = old_spec;
        return false;
    }
    service_spec_free(old_spec);
    needle_free(s->next_needle);
    s->next_needle = needle;
    s->removed = false;
    if (s->state == SERVICE_WAITING)
        link_append(&sup->to_check, &s->order); /* it may need less now, or something else */
    return true;
}

static bool declare_new(struct supervisor *sup, struct service_spec *spec, struct needle *needle, struct err *err)
{
    if (!make_room(sup))
        return err_errno(err, "%s: declare", spec->name);
    struct service *s = service_new(sup, spec, needle, err);
    if (!s)
        return false;
    sup->services[sup->count++] = s;
    put_in_bucket(sup, s);
    if (needs_are_acyclic(sup, s, err))
        return true;
    take_out(sup, s);
    s->spec = NULL; /* still the caller's */
    s->needle = NULL;
    service_free(s);
    return false;
}

bool supervisor_declare(struct supervisor *sup, struct service_spec *spec, struct err *err)
{
    struct needle *needle = needs_needle(spec) ? needle_new(spec->ready.has) : NULL;
    bool ok = true;
    /* Its lease is made here, so that to take the spec into use can't fail. */
    if ((!needle && needs_needle(spec)) || (spec->lease && !leases_get(&sup->leases, spec->lease))) {
        ok = err_errno(err, "%s: declare", spec->name);
    } else {
        struct service *known = supervisor_find(sup, spec->name);
        ok = known ? redeclare(sup, known, spec, needle, err) : declare_new(sup, spec, needle, err);
    }
    if (!ok) {
        service_spec_free(spec);
        needle_free(needle);
        return false;
    }
    supervisor_enter(sup);
    link_move_all(&sup->lost, &sup->to_check); /* somebody may have waited for just this one */
    supervisor_leave(sup);
    return true;
}

bool supervisor_remove(struct supervisor *sup, const char *name, struct err *err)
{
    struct service *s = supervisor_find_or_fail(sup, name, err);
    if (!s)
        return false;
    supervisor_enter(sup);
    s->wanted = false;
    s->removed = true;
    sup->has_down |= s->state == SERVICE_DOWN;
    service_feed(s, EVENT_WANT_DOWN);
    supervisor_leave(sup);
    return true;
}

/* --- commands --- */

static bool may_start(const struct service *s, struct err *err)
{
    if (supervisor_stops(s->supervisor))
        return err_set(err, ERR_CONFLICT, "%s: everything is being stopped, nothing starts any more", s->name);
    return needs_are_known(s, err);
}

bool supervisor_want(struct supervisor *sup, const char *name, bool up, struct err *err)
{
    struct service *s = supervisor_find_or_fail(sup, name, err);
    if (!s || (up && !may_start(s, err)))
        return false;
    supervisor_enter(sup);
    s->wanted = up;
    if (!up)
        s->restarting = false;
    service_feed(s, up ? EVENT_WANT_UP : EVENT_WANT_DOWN);
    link_move_all(&s->waiters, &sup->to_check); /* their reason may say "not wanted" */
    supervisor_leave(sup);
    return true;
}

bool supervisor_restart(struct supervisor *sup, const char *name, struct err *err)
{
    struct service *s = supervisor_find_or_fail(sup, name, err);
    if (!s || !may_start(s, err))
        return false;
    supervisor_enter(sup);
    s->wanted = s->restarting = true;
    service_feed(s, s->state == SERVICE_DOWN ? EVENT_WANT_UP : EVENT_WANT_DOWN);
    supervisor_leave(sup);
    return true;
}

bool supervisor_ready(struct supervisor *sup, const char *name, struct err *err)
{
    struct service *s = supervisor_find_or_fail(sup, name, err);
    if (!s)
        return false;
    if (s->spec->ready.kind != READY_LUA)
        return err_set(err, ERR_CONFLICT, "%s: finds out by itself when it is ready; only a service with ready.kind \"lua\" is told", name);
    if (s->state != SERVICE_STARTING && s->state != SERVICE_UP)
        return err_set(err, ERR_CONFLICT, "%s: is %s, so it can't be ready", name, service_state_name(s->state));
    service_feed(s, EVENT_READY);
    return true;
}
