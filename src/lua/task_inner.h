/* task_inner.h - what the scheduler (task.c), its Lua side (lua_task.c) and the plain waits (task_wait.c) share. */
#ifndef APPLIANCE_TASK_INNER_H
#define APPLIANCE_TASK_INNER_H

#include "appliance/loop.h"
#include "appliance/task.h"

#define TASK "appliance.task"
#define JOIN "appliance.join"

enum task_state { TASK_QUEUED, TASK_RUNNING, TASK_WAITING, TASK_ENDED };

/* A userdata whose first user value is its thread. The registry holds it until it ends, so a task nobody keeps still runs.
 * When it has ended its thread's stack holds its results, or the error value alone. */
struct task {
    lua_State *co;
    enum task_state state;
    bool failed, over_budget, cancelled;
    int arguments;        /* on co's stack, for the first resume */
    int anchor;           /* registry reference while it lives */
    struct wait *waiting; /* what it waits for */
    struct task *next;    /* in the run queue */
    unsigned long round;  /* in which it was queued */
    struct join *joiners;
    void (*ended)(void *, bool);
    void *ended_argument;
    char name[48];
};

/* One task that waits for the end of another. */
struct join {
    struct wait wait;
    struct task *task; /* NULL once closed */
    struct timer limit;
    struct join *next;
};

struct task *task_current(void);   /* the one that runs, or NULL */
int task_open_waits(lua_State *L); /* adds sleep and queue to the module on top */

#endif
