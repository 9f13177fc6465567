/* task.h - the scheduler: the only place that resumes Lua, and how a C operation lets a task wait.
 * A native call that waits: check arguments -> make the operation (userdata with __close) -> lua_toclose -> start ->
 * `return task_await(L, &op->wait, k)`. Return, raise and cancel all pass through the same __close. */
#ifndef APPLIANCE_TASK_H
#define APPLIANCE_TASK_H

#include "appliance/loop.h"

#include <lua.h>
#include <stdbool.h>

struct task;

/* Embedded in an operation. Zeroed = not waiting. */
struct wait {
    bool done;
    struct task *task; /* who waits; NULL: nobody, or the loop is turned in place */
};

/* Called from loop callbacks when the operation has its result. Queues the task; never runs Lua. Harmless twice. */
void wait_finish(struct wait *);
/* Begin another wait on the same operation (an iterator's next step). */
static inline void wait_reset(struct wait *w)
{
    w->done = false;
    w->task = NULL;
}

/* done: k at once; in a task: yields; no task running (busted, scripts): turns the loop here until done;
 * in a foreign coroutine or under a non-yieldable C frame: raises and says so. k pushes the results and returns their number. */
int task_await(lua_State *L, struct wait *, lua_KFunction k);

/* The process's one loop and scheduler, made by the first call. NULL only without memory or descriptors (raised by bind.c). */
struct loop *task_loop(void);
void task_shutdown(lua_State *L); /* closes every task, frees the loop; nothing may be called after it but task_loop */
/* Starts a task: the function and its `arguments` arguments are popped from L, a task userdata is pushed. `name` is for messages. */
struct task *task_start(lua_State *L, int arguments, const char *name);
/* Ends a task now: its to-be-closed variables are closed, its joiners get a `cancelled` error. Harmless when it has ended. */
void task_cancel(lua_State *L, struct task *);
/* Called in the loop when the task ends, before joiners run; `failed` by an error (cancelled included). One per task. */
void task_on_end(struct task *, void (*ended)(void *argument, bool failed), void *argument);

/* Turns by the contract of docs/design.md 4 (every queued task until it waits or ends, then the loop) until *stop, which a task or
 * a loop callback sets. L is any state of the program; it is only used to resume from. False: the loop is broken. */
bool task_turn_until(lua_State *L, const bool *stop, struct err *);
int task_count(void);             /* tasks that have not ended */
void task_set_budget(int64_t ms); /* how long a task may compute between waits before it is closed; default 2000 */

#endif
