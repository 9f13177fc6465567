/* supervisor.h - the set of services: who waits for whom, who restarts, and how everything stops in order.
 * Keeps working, and can stop everything, with Lua dead. All calls are made on the loop's thread and none of them waits. */
#ifndef APPLIANCE_SUPERVISOR_H
#define APPLIANCE_SUPERVISOR_H

#include "appliance/child.h"
#include "appliance/service.h"

struct supervisor;

struct service_view {          /* what status shows; strings live until the service changes */
    const char *name, *reason; /* reason: "exited with 1", "waits for master", "fork: EAGAIN" or "" */
    enum service_state state;
    bool wanted, critical;
    pid_t pid;
    int64_t since_ns, started_ns; /* clock_ns */
    int restarts, crashes;        /* in all; in a row */
    int64_t retry_ns;             /* next try, 0: none */
    struct child_end last_end;
    bool has_ended;
};

/* Every announced change of a service's state; `text` is the sentence that was logged. Runs in the loop: no Lua. */
typedef void supervisor_observer(void *argument, const struct service_view *, const char *text);

struct supervisor *supervisor_new(struct loop *, struct err *);
void supervisor_free(struct supervisor *);                                           /* nothing may run any more */
void supervisor_observe(struct supervisor *, supervisor_observer *, void *argument); /* adds one; all are called */
/* Called once when a critical service is beyond help. Whoever listens calls supervisor_stop_all; its last log line then names
 * the service and why. */
void supervisor_on_fatal(struct supervisor *, void (*call)(void *), void *argument);

/* The stop of everything is of everything: also of processes that are no service's (see family_new without a marker). */
bool supervisor_answer_for_all(struct supervisor *, struct err *);

/* Takes the spec over, also when it refuses. What `after` names may be declared later; a cycle is refused here, a name that is
 * still unknown by supervisor_want. A new name is added, not wanted yet; a known name keeps running and uses the new spec from its next start. */
bool supervisor_declare(struct supervisor *, struct service_spec *, struct err *);
/* Stops it if need be, then forgets it. */
bool supervisor_remove(struct supervisor *, const char *name, struct err *);
bool supervisor_want(struct supervisor *, const char *name, bool up, struct err *);
bool supervisor_restart(struct supervisor *, const char *name, struct err *); /* stop, then start; also brings a FAILED one back */
bool supervisor_ready(struct supervisor *, const char *name, struct err *);   /* for READY_LUA */
/* KILL of its family now; it comes back by its restart policy, without a delay and without a crash counted. Fine when it does not run. */
bool supervisor_kill(struct supervisor *, const char *name, struct err *);
bool supervisor_view(const struct supervisor *, const char *name, struct service_view *);
struct output;
struct output *supervisor_output(const struct supervisor *, const char *name); /* NULL: no such service; lives as long as the service */
int supervisor_count(const struct supervisor *);
bool supervisor_view_at(const struct supervisor *, int index, struct service_view *);

/* Moves a lease: it is held until `due_boot_ns` (clock_boot_ns), 0: no more. Services whose spec names it are started only while it is
 * held (and some time of it is left), and are killed at that moment by deadline.h's thread, whatever we do or fail to do then; if it has
 * come already, before this returns. Then they wait for it: that is no crash, and no delay is kept. Whom the deadline has killed no later
 * one brings back: it starts anew. When the main process of such a service ends, for whatever reason, the rest of its family is killed
 * at once, for the thread knows nobody but main and its group. False: no memory. */
bool supervisor_lease(struct supervisor *, const char *name, int64_t due_boot_ns, struct err *);

/* Runs of one service, told as they happen (in the loop: no Lua). */
enum run_moment {
    RUN_STARTED,
    RUN_READY,
    RUN_ENDED,  /* its main process is reaped and nobody of its family is left (a one-shot's family is not looked at) */
    RUN_REMOVED /* the service is gone, and the watcher with it; no run is told of any more */
};
struct run {
    pid_t pid;
    struct child_end end; /* once it has ended */
    bool unasked;         /* a failure of its own: a crash, or an answer that did not come; no stop, restart, kill or lease did it */
};
struct run_watcher {
    void (*told)(struct run_watcher *, enum run_moment);
    const struct run *run; /* the current one, or the last; NULL once the service is removed */
    /* the rest is the supervisor's */
    struct run_watcher *next, **place;
};
bool supervisor_watch_runs(struct supervisor *, const char *name, struct run_watcher *, struct err *);
void run_unwatch(struct run_watcher *); /* fine when it is not watching, or zeroed; not from `told` */

/* Ordered stop of everything: those that nobody running needs first, level by level, each level with its share of what is
 * left of the budget; then, when we answer for all, TERM to whoever is left, then KILL. `done` runs in the loop when nothing is left.
 * A second call hurries: the budget shrinks to a KILL soon. No service starts any more. */
void supervisor_stop_all(struct supervisor *, int64_t budget_ms, void (*done)(void *), void *argument);
/* After `done` has run: services may start again. For tests and scripts, which go on living; the program ends instead. */
void supervisor_reopen(struct supervisor *);
bool supervisor_is_stopping(const struct supervisor *);
/* The critical service that is beyond help, or NULL. */
const char *supervisor_fatal(const struct supervisor *);
/* One line of state for each service into the log (SIGUSR1). */
void supervisor_dump(const struct supervisor *);

#endif
