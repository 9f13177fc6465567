/* lua_task.c - appliance.core.task: start, join, cancel. lua/appliance/task.lua builds `within` and groups on it. */
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "task_inner.h"

static struct task *check_task(lua_State *L, int index)
{
    return luaL_checkudata(L, index, TASK);
}

/* task.start([name,] f, ...) -> task */
static int start(lua_State *L)
{
    const char *name = NULL;
    if (lua_type(L, 1) == LUA_TSTRING) {
        name = lua_tostring(L, 1); /* stays below the function, and so alive */
    } else {
        lua_pushnil(L);
        lua_insert(L, 1);
    }
    luaL_checktype(L, 2, LUA_TFUNCTION);
    task_start(L, lua_gettop(L) - 2, name);
    return 1;
}

static int join_close(lua_State *L)
{
    struct join *j = luaL_checkudata(L, 1, JOIN);
    timer_stop(&j->limit);
    if (j->task)
        for (struct join **at = &j->task->joiners; *at; at = &(*at)->next)
            if (*at == j) {
                *at = j->next;
                break;
            }
    j->task = NULL;
    return 0;
}

static void join_limit(struct timer *timer)
{
    struct join *j = (struct join *)((char *)timer - offsetof(struct join, limit));
    wait_finish(&j->wait);
}

static int push_outcome(lua_State *L, struct task *t)
{
    int count = lua_gettop(t->co);
    luaL_checkstack(L, count + 1, "task results");
    if (!lua_checkstack(t->co, count))
        return luaL_error(L, "task results: too many");
    if (t->failed)
        lua_pushnil(L);
    else
        lua_pushboolean(L, true);
    for (int i = 1; i <= count; i++)
        lua_pushvalue(t->co, i);
    lua_xmove(t->co, L, count);
    return count + 1;
}

/* The stack as join left it: task, limit, join operation. */
static int joined(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct task *t = check_task(L, 1);
    if (t->state == TASK_ENDED)
        return push_outcome(L, t);
    struct err err;
    err_set(&err, ERR_TIMEOUT, "task %s did not end within %g s", t->name, lua_tonumber(L, 2));
    return bind_fail(L, &err);
}

/* task:join([seconds]) -> true, results... | nil, err. A limit does not cancel the task. */
static int join(lua_State *L)
{
    struct task *t = check_task(L, 1);
    bool is_limited = !lua_isnoneornil(L, 2); /* less than nothing is a limit too: a moment that has just passed */
    lua_Number seconds = luaL_optnumber(L, 2, 0);
    lua_settop(L, 2);
    if (t == task_current())
        return luaL_error(L, "a task can't wait for its own end");
    if (t->state == TASK_ENDED)
        return push_outcome(L, t);
    struct join *j = bind_op(L, sizeof *j, JOIN);
    bind_pin(L, 1);
    j->task = t;
    j->next = t->joiners;
    t->joiners = j;
    if (is_limited)
        timer_start_ns(&j->limit, bind_loop(L), clock_span_ns(seconds), join_limit);
    return task_await(L, &j->wait, joined);
}

static int cancel(lua_State *L)
{
    task_cancel(L, check_task(L, 1));
    return 0;
}

/* __close: leaving the block ends the task; from inside the task itself there is nothing to do. */
static int close_task(lua_State *L)
{
    struct task *t = check_task(L, 1);
    if (t->state != TASK_RUNNING)
        task_cancel(L, t);
    return 0;
}

static int is_alive(lua_State *L)
{
    lua_pushboolean(L, check_task(L, 1)->state != TASK_ENDED);
    return 1;
}

/* task.yield(): lets every other queued task go first. */
static int yield(lua_State *L)
{
    if (!task_current())
        return 0;
    return lua_yield(L, 0);
}

static int now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_ns() / (lua_Number)NS_PER_S);
    return 1;
}

/* task.boot_ns() -> integer: the clock of leases, which goes on while the machine is suspended. */
static int boot_ns(lua_State *L)
{
    lua_pushinteger(L, clock_boot_ns());
    return 1;
}

static int count(lua_State *L)
{
    lua_pushinteger(L, task_count());
    return 1;
}

int luaopen_appliance_core_task(lua_State *L);

int luaopen_appliance_core_task(lua_State *L)
{
    static const luaL_Reg methods[] = {{"join", join}, {"cancel", cancel}, {"is_alive", is_alive}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"start", start},     {"yield", yield}, {"now", now},
                                         {"boot_ns", boot_ns}, {"count", count}, {NULL, NULL}};
    bind_loop(L);
    if (luaL_newmetatable(L, TASK)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, close_task);
        lua_setfield(L, -2, "__close");
    }
    lua_pop(L, 1);
    bind_type(L, JOIN, join_close, NULL);
    luaL_newlib(L, functions);
    return task_open_waits(L);
}
