#include "appliance/task.h"
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "appliance/log.h"
#include "task_inner.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#if LUA_VERSION_RELEASE_NUM >= 50406
#define RESET_THREAD(co, from) lua_closethread(co, from)
#else
#define RESET_THREAD(co, from) ((void)(from), lua_resetthread(co))
#endif

enum { HOOK_INSTRUCTIONS = 100000 }; /* between two looks at the clock: well under a millisecond */

static struct {
    struct loop *loop;
    struct task *current;
    struct task *first, **last; /* run queue */
    unsigned long round;
    int count, closing;                          /* closing: __close handlers of an ended task run, and must not wait */
    int64_t budget_ns, resumed_ns, processor_ns; /* processor_ns: its time when the present task first computed for long; 0: not yet */
} self = {.last = &self.first, .budget_ns = 2 * NS_PER_S};

struct loop *task_loop(void)
{
    if (!self.loop)
        self.loop = loop_new(NULL);
    return self.loop;
}

void task_set_budget(int64_t ms)
{
    self.budget_ns = ms * NS_PER_MS;
}

int task_count(void)
{
    return self.count;
}

struct task *task_current(void)
{
    return self.current;
}

static void enqueue(struct task *t)
{
    t->state = TASK_QUEUED;
    t->round = self.round;
    t->next = NULL;
    *self.last = t;
    self.last = &t->next;
}

static void dequeue(struct task *t)
{
    for (struct task **at = &self.first; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            if (self.last == &t->next)
                self.last = at;
            return;
        }
}

void wait_finish(struct wait *w)
{
    if (w->done)
        return;
    w->done = true;
    struct task *t = w->task;
    w->task = NULL;
    if (!t)
        return;
    t->waiting = NULL;
    enqueue(t);
}

static int64_t processor_time_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * NS_PER_S + used.tv_nsec;
}

/* Has the task that runs computed for too long? Time that passed while we were stopped, frozen with our container, or kept from the
 * processor by others is not its doing, so the processor's time decides; that costs a system call, which a short task never makes. */
static bool is_over_budget(void)
{
    if (self.processor_ns == 0) {
        self.processor_ns = processor_time_ns();
        return false;
    }
    return clock_ns() - self.resumed_ns >= self.budget_ns && processor_time_ns() - self.processor_ns >= self.budget_ns;
}

/* Lua that computes without waiting holds up everything else. Yielding here, and closing the task in the scheduler, is what no
 * pcall can catch; under a C function that can't yield an error has to do. A coroutine inside the task is made to yield too:
 * whoever resumes it has a hook of its own. The hook never fires inside a C function: that is the watchdog's (deadline.h). */
static void look_at_clock(lua_State *L, lua_Debug *where)
{
    (void)where;
    struct task *t = self.current;
    if (!t || !is_over_budget())
        return;
    t->over_budget = true;
    if (lua_isyieldable(L))
        lua_yield(L, 0);
    else
        luaL_error(L, "computed for %d ms without waiting", (int)(self.budget_ns / NS_PER_MS));
}

int task_await(lua_State *L, struct wait *w, lua_KFunction k)
{
    if (w->done)
        return k(L, LUA_OK, 0);
    if (self.closing)
        return luaL_error(L, "can't wait here: a __close that runs because its task ended must not wait; start a task for it");
    if (!self.current) {
        struct err err;
        if (!task_turn_until(L, &w->done, &err))
            return luaL_error(L, "%s", err.text);
        return k(L, LUA_OK, 0);
    }
    if (self.current->co != L)
        return luaL_error(L, "a coroutine inside a task can't wait: start a task instead");
    if (!lua_isyieldable(L))
        return luaL_error(L, "can't wait here: inside a function that C called (table.sort, string.gsub ...)");
    w->task = self.current;
    self.current->waiting = w;
    self.current->state = TASK_WAITING;
    return lua_yieldk(L, 0, 0, k);
}

struct task *task_start(lua_State *L, int arguments, const char *name)
{
    struct task *t = lua_newuserdatauv(L, sizeof *t, 1);
    memset(t, 0, sizeof *t);
    t->anchor = LUA_NOREF;
    t->state = TASK_ENDED; /* until it is whole, for __gc */
    luaL_setmetatable(L, TASK);
    t->co = lua_newthread(L);
    lua_setiuservalue(L, -2, 1);
    if (!lua_checkstack(t->co, arguments + 1))
        luaL_error(L, "task %s: too many arguments (%d)", name ? name : "", arguments);
    lua_pushvalue(L, -1);
    t->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_insert(L, -(arguments + 2));
    lua_xmove(L, t->co, arguments + 1);
    lua_sethook(t->co, look_at_clock, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    strncpy(t->name, name ? name : "task", sizeof t->name - 1);
    t->arguments = arguments;
    self.count++;
    enqueue(t);
    return t;
}

void task_on_end(struct task *t, void (*ended)(void *, bool), void *argument)
{
    t->ended = ended;
    t->ended_argument = argument;
}

/* Results, or the error value, are alone on t->co by now. */
static void settle(lua_State *L, struct task *t, bool failed)
{
    t->state = TASK_ENDED;
    t->failed = failed;
    self.count--;
    if (t->ended)
        t->ended(t->ended_argument, failed);
    for (struct join *j = t->joiners; j; j = j->next)
        wait_finish(&j->wait);
    int anchor = t->anchor;
    t->anchor = LUA_NOREF;
    luaL_unref(L, LUA_REGISTRYINDEX, anchor); /* t may be garbage from here on */
}

/* Closes what the task left open; the error value on top of co becomes its outcome. */
static void close_failed(lua_State *L, struct task *t)
{
    lua_State *co = t->co;
    lua_sethook(co, NULL, 0, 0); /* its __close handlers get all the time they need to let go */
    lua_pushvalue(co, -1);       /* the original stays on top: Lua hands it to each __close */
    lua_xmove(co, L, 1);
    self.closing++;
    RESET_THREAD(co, L);
    self.closing--;
    lua_settop(co, 0);
    lua_xmove(L, co, 1);
    settle(L, t, true);
}

/* Nobody above the scheduler catches an error, so what may raise (memory, an error value's own __tostring) runs protected.
 * `f` gets the task and pushes one value; without success that value is what it raised. Allocates nothing itself. */
static bool protected(lua_State *L, struct task *t, lua_CFunction f)
{
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, t);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

/* The innermost line of Lua the task was at. Needs no memory. */
static bool find_line(lua_State *co, lua_Debug *where)
{
    for (int level = 0; lua_getstack(co, level, where); level++) {
        lua_getinfo(co, "Sl", where);
        if (where->currentline > 0)
            return true;
    }
    return false;
}

static int tell_failure(lua_State *L)
{
    struct task *t = lua_touserdata(L, 1);
    lua_pushvalue(t->co, -1);
    lua_xmove(t->co, L, 1);
    luaL_traceback(L, t->co, luaL_tolstring(L, -1, NULL), 0);
    log_error("task %s failed: %s", t->name, lua_tostring(L, -1));
    return 0;
}

/* When there is no memory for a traceback, or the error value can't be told. */
static void tell_failure_briefly(const struct task *t)
{
    lua_Debug where;
    const char *why = lua_type(t->co, -1) == LUA_TSTRING ? lua_tostring(t->co, -1) : luaL_typename(t->co, -1);
    if (find_line(t->co, &where))
        log_error("task %s failed at %s:%d: %s", t->name, where.short_src, where.currentline, why);
    else
        log_error("task %s failed: %s", t->name, why);
}

static void fail(lua_State *L, struct task *t)
{
    /* __tostring is the task's own code: it computes on the task's account, and may not wait. */
    lua_Hook hook = lua_gethook(L);
    int mask = lua_gethookmask(L), count = lua_gethookcount(L);
    struct task *outer = self.current;
    lua_sethook(L, look_at_clock, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    self.current = t;
    if (!protected(L, t, tell_failure))
        tell_failure_briefly(t);
    self.current = outer;
    lua_sethook(L, hook, mask, count);
    lua_pop(L, 1);
    close_failed(L, t);
}

static int make_over_budget(lua_State *L)
{
    struct task *t = lua_touserdata(L, 1);
    int budget_ms = (int)(self.budget_ns / NS_PER_MS);
    struct err err;
    err_set(&err, ERR_TIMEOUT, "task %s computed for %d ms without waiting and was ended", t->name, budget_ms);
    luaL_traceback(L, t->co, err.text, 0);
    log_error("%s", lua_tostring(L, -1));
    lua_Debug where; /* what its author needs most */
    if (find_line(t->co, &where))
        err_set(&err, ERR_TIMEOUT, "%s:%d: computed for %d ms without waiting and was ended", where.short_src, where.currentline,
                budget_ms);
    bind_push_err(L, &err);
    return 1;
}

static int make_cancelled(lua_State *L)
{
    const struct task *t = lua_touserdata(L, 1);
    struct err err;
    err_set(&err, ERR_CANCELLED, "task %s was cancelled", t->name);
    bind_push_err(L, &err);
    return 1;
}

/* Ends a task that is suspended. Its stack is as it was: variables that handlers of __close still see are on it. */
static void close_suspended(lua_State *L, struct task *t, lua_CFunction make_error)
{
    protected(L, t, make_error);
    lua_checkstack(t->co, 2); /* where it waits, LUA_MINSTACK places are free: this only tells Lua that we use two */
    lua_xmove(L, t->co, 1);
    close_failed(L, t);
}

static void resume(lua_State *L, struct task *t)
{
    int results = 0, arguments = t->arguments;
    t->arguments = 0;
    t->state = TASK_RUNNING;
    struct task *outer = self.current; /* a task may turn the loop only through task_await, so this is NULL; kept for safety */
    self.current = t;
    self.resumed_ns = clock_ns();
    self.processor_ns = 0;
    int status = lua_resume(t->co, L, arguments, &results);
    self.current = outer;

    if (status == LUA_OK) {
        settle(L, t, false); /* its results are alone on its stack */
    } else if (status != LUA_YIELD) {
        if (t->cancelled)
            close_failed(L, t);
        else
            fail(L, t);
    } else if (t->over_budget) {
        close_suspended(L, t, make_over_budget);
    } else if (t->state == TASK_RUNNING) {
        lua_settop(t->co, 0);
        enqueue(t); /* a bare coroutine.yield(): the others first */
    }
}

void task_cancel(lua_State *L, struct task *t)
{
    if (t->state == TASK_ENDED)
        return;
    if (t->state == TASK_RUNNING) { /* itself, or somebody it resumed: takes effect as an error at the call */
        t->cancelled = true;
        protected(L, t, make_cancelled);
        lua_error(L);
    }
    if (t->state == TASK_QUEUED)
        dequeue(t);
    if (t->waiting) {
        t->waiting->task = NULL;
        t->waiting = NULL;
    }
    t->state = TASK_RUNNING; /* while its __close handlers run */
    close_suspended(L, t, make_cancelled);
}

/* Only what is queued now: tasks that wake each other must not keep the loop from its events. */
static void run_queue(lua_State *L)
{
    self.round++;
    while (self.first && self.first->round != self.round) {
        struct task *t = self.first;
        self.first = t->next;
        if (!self.first)
            self.last = &self.first;
        resume(L, t);
    }
}

bool task_turn_until(lua_State *L, const bool *stop, struct err *err)
{
    struct loop *loop = task_loop();
    if (!loop)
        return err_set(err, ERR_SYSTEM, "event loop: no memory or descriptors");
    while (!*stop) {
        run_queue(L);
        if (!*stop && !loop_turn(loop, self.first ? 0 : INT64_MAX, err))
            return false;
    }
    return true;
}

void task_shutdown(lua_State *L)
{
    lua_pushnil(L);
    for (bool found = true; found;) { /* ending one may start or end others */
        found = false;
        lua_settop(L, lua_gettop(L) - 1);
        lua_pushnil(L);
        while (lua_next(L, LUA_REGISTRYINDEX)) {
            struct task *t = luaL_testudata(L, -1, TASK);
            if (t && t->state != TASK_ENDED) {
                task_cancel(L, t);
                found = true;
                lua_pop(L, 1);
                break;
            }
            lua_pop(L, 1);
        }
    }
    loop_free(self.loop);
    self.loop = NULL;
}
