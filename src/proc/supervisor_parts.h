/* supervisor_parts.h - what the files of the supervisor share; nobody else includes it.
 *   supervisor.c  the set: declare, remove, commands, views      needs.c  who waits for whom, cycles
 *   service_run.c one service: events in, actions out            stop.c   the ordered stop of everything
 *   retry.c       when it is tried again                         words.c  the sentences people read
 *   views.c       what status and SIGUSR1 show                  put_down.c  killed at once: a lease that is over, an order; who watches runs */
#ifndef APPLIANCE_SUPERVISOR_PARTS_H
#define APPLIANCE_SUPERVISOR_PARTS_H

#include "appliance/family.h"
#include "appliance/leases.h"
#include "appliance/output.h"
#include "appliance/probe.h"
#include "appliance/supervisor.h"

#define NO_EVENT SERVICE_EVENTS

enum {
    SHORTAGE_FIRST_MS = 100,
    SHORTAGE_LAST_MS = 1600, /* doubling stops here, so that everybody is up within 2 s after the kernel has room again */
    DUMP_LEAD_MS = 500,      /* the dump signal comes so long before the KILL */
    KILL_AGAIN_MS = 200,     /* a member may have forked while it was swept */
    KILL_AGAIN_LAST_MS = 3200,
    HURRY_MS = 500,
};

/* A member of at most one circular list at a time. Zeroed is not valid: link_init. */
struct link {
    struct link *next, *previous;
};

static inline void link_init(struct link *l)
{
    l->next = l->previous = l;
}
static inline bool link_is_alone(const struct link *l)
{
    return l->next == l;
}
static inline void link_leave(struct link *l)
{
    l->next->previous = l->previous;
    l->previous->next = l->next;
    link_init(l);
}
static inline void link_append(struct link *list, struct link *l)
{
    link_leave(l);
    l->previous = list->previous;
    l->next = list;
    list->previous->next = l;
    list->previous = l;
}
/* Moves all members of `from` behind those of `to`. */
static inline void link_move_all(struct link *from, struct link *to)
{
    if (link_is_alone(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    link_init(from);
}

struct service {
    struct supervisor *supervisor;
    struct service *bucket_next;
    char *name;
    struct service_spec *spec, *next_spec; /* next: from the next start on */
    struct needle *needle, *next_needle;   /* of ready.has */
    struct lease *lease;                   /* of `spec`, so of what runs; NULL: it needs none */
    enum service_state state;
    bool wanted, removed;
    bool restarting; /* it goes down only to come up again */

    struct child child;
    struct family *family;
    bool family_watched; /* family.h has found somebody and will call `gone` */
    struct output *output;
    uint64_t spoken_before, spoken_before_last; /* bytes of output before this run, and before the one that ended */
    struct probe probe;
    struct timer phase; /* starting: readiness deadline; clearing, stopping: dump, then KILL; backoff: next try */
    int64_t kill_due_ns, kill_again_ms;
    bool dumped, kill_sent;
    bool put_down; /* this run was ended by its lease or by an order: it is no crash, and the next one need not wait */
    bool is_late;  /* killed by its deadline already, or as good as: only within supervisor_lease */
    struct run run;
    bool run_is_open; /* its watchers were not told of its end */
    struct run_watcher *run_watchers;

    struct link order;   /* waiting: in `waiters` of what it needs, or to be checked; unspawned: in line for the kernel */
    struct link waiters; /* those that wait for this one */

    int64_t since_ns, started_ns, up_ns, ran_ns, stop_ns; /* ran: how long the run that ended had lasted */
    bool has_ended, asked_to_end, short_of_processes;
    struct child_end last_end;
    int starts, crashes;
    bool healthy; /* the run that ended had been up long enough: try again at once */
    int64_t backoff_ms, retry_ns;
    bool gave_up;

    char cause[240]; /* why it was taken down unasked, when its exit does not tell: not ready in time ... */
    char reason[300];
    bool death_unsaid; /* restarted at once: the sentence about its death follows the start */

    unsigned walk;
    int walk_next, level; /* of a walk through the graph: needs.c, stop.c */
    struct service *walk_from;
    bool in_level; /* the current level of the stop waits for it */
};

struct observer {
    struct observer *next;
    supervisor_observer *call;
    void *argument;
};

enum { STOP_WAITERS = 4 }; /* the program and Lua's module, each of which asks once */
struct stop_waiter {
    void (*done)(void *);
    void *argument;
};

enum stop_phase { STOP_NOT, STOP_LEVELS, STOP_REST, STOP_REST_KILLED, STOP_OVER };

struct supervisor {
    struct loop *loop;
    struct service **services; /* in order of declaration */
    int count, capacity;
    struct service **buckets;
    int bucket_count; /* a power of two, 0 at first */
    bool is_pid1;
    uint64_t random;
    int depth;            /* of calls that may change states; at 0 what they left over is settled */
    struct link to_check; /* waiting services whose needs may have been met */
    unsigned walk;        /* how many walks there were */
    struct link lost;     /* waiting services that need an unknown one */
    struct lease *leases;
    bool has_down;       /* of the removed ones */
    struct link removed; /* taken out, to be freed in the next turn: now may be in the middle of a line of its output */
    struct timer free_removed;
    struct observer *observers;
    void (*on_fatal)(void *);
    void *on_fatal_argument;
    struct service *fatal;
    char fatal_text[400];

    struct link unspawned;
    struct timer shortage;
    int64_t shortage_ms;
    bool in_shortage_tick, spawned_in_tick;

    int64_t oom_kills; /* of our cgroup when last looked; -1: not yet */
    int64_t oom_looked_ns;
    bool oom_found; /* at that look */
    struct timer oom_look;

    enum stop_phase stop_phase;
    struct stop_waiter stop_waiters[STOP_WAITERS];
    int stop_waiter_count;
    struct timer stop_timer;
    struct family *everybody; /* all we answer for, service or not; NULL: only services are stopped */
    int64_t stop_due_ns;      /* the budget's end */
    int64_t stop_reserve_ns;  /* of it, for what was killed to end */
    int64_t level_due_ns;
    int level, levels_left, level_left, hurried;
};

/* service_run.c */
void service_feed(struct service *, enum service_event);
void supervisor_enter(struct supervisor *);
void supervisor_leave(struct supervisor *); /* settles at depth 0 */
void service_arm_grace(struct service *, int64_t grace_ms);
bool service_runs(const struct service *); /* its process, or what is left of it, may be alive */
void service_phase_over(struct timer *);

/* put_down.c */
bool service_is_overdue(const struct service *); /* its lease is over: whatever it seems to have ended of, it was that */
void service_end_of_lease(struct service *);
void service_put_down(struct service *, const char *why, ...) __attribute__((format(printf, 2, 3)));
void service_tell_run(struct service *, enum run_moment);

/* retry.c */
void retry_count(struct service *);
void retry_look_back(struct service *); /* was the run that ends a healthy one? Then its crashes are forgotten */
enum service_event retry_arm(struct service *);
void retry_arm_spawn(struct service *);
void retry_spawned(struct supervisor *);

/* supervisor.c */
struct service *supervisor_find(const struct supervisor *, const char *name);
struct service *supervisor_find_or_fail(const struct supervisor *, const char *name, struct err *);
void supervisor_take_removed_out(struct supervisor *); /* those that are down */
void service_fill_view(const struct service *, struct service_view *);

/* needs.c */
bool needs_are_acyclic(struct supervisor *, struct service *, struct err *);
bool needs_are_known(const struct service *, struct err *);
/* True: all met. Else the service is linked to the first it waits for, and `reason` says for whom. */
bool needs_are_met(struct service *);
static inline const struct service_spec *service_newest_spec(const struct service *s)
{
    return s->next_spec ? s->next_spec : s->spec;
}

/* stop.c */
static inline bool supervisor_stops(const struct supervisor *sup)
{
    return sup->stop_phase != STOP_NOT;
}
void stop_member_is_down(struct service *);
void stop_rest_gone(struct family *, void *supervisor);
void stop_go_on(struct supervisor *); /* when a level may be over */

/* views.c */
uint64_t service_has_spoken(const struct service *); /* bytes of output in all its runs */

/* words.c */
void service_announce(struct service *, enum service_event why, enum service_event next);
/* snprintf for sentences: one that is too long is cut, and that is fine. */
void words_set(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void words_duration(char *out, size_t size, int64_t ns);
void service_tell_late_death(struct service *);

#endif
