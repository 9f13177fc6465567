/* appliance.core.supervise - the supervisor for Lua. What waits is in supervise_wait.c; everything here answers at once. */
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "appliance/output.h"
#include "appliance/supervise.h"
#include "supervise_spec.h"
#include "supervise_wait.h"

#include <string.h>

#define SPEC "appliance.supervise.spec"

enum { TAIL_DEFAULT = 64 << 10, TAIL_MOST = 1 << 20 };

struct supervisor *supervise_check(lua_State *L)
{
    struct supervisor *sup = supervise_instance();
    if (!sup)
        luaL_error(L, "supervisor: no memory or descriptors");
    return sup;
}

static int result(lua_State *L, bool ok, const struct err *err)
{
    if (!ok)
        return bind_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* --- declare and command --- */

static int spec_close(lua_State *L)
{
    struct service_spec **box = luaL_checkudata(L, 1, SPEC);
    service_spec_free(*box);
    *box = NULL;
    return 0;
}

/* supervise.declare(spec) -> true | nil, err. Raises when the table itself is wrong, with all its faults. */
static int declare(lua_State *L)
{
    struct supervisor *sup = supervise_check(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct service_spec **box = bind_op(L, sizeof *box, SPEC);
    supervise_read_spec(L, 1, box);
    struct service_spec *spec = *box;
    *box = NULL;
    struct err err;
    return result(L, supervisor_declare(sup, spec, &err), &err);
}

static int remove_service(lua_State *L)
{
    struct err err;
    return result(L, supervisor_remove(supervise_check(L), luaL_checkstring(L, 1), &err), &err);
}

/* supervise.want(name, up) -> true | nil, err */
static int want(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    struct err err;
    return result(L, supervisor_want(supervise_check(L), name, lua_toboolean(L, 2), &err), &err);
}

static int restart(lua_State *L)
{
    struct err err;
    return result(L, supervisor_restart(supervise_check(L), luaL_checkstring(L, 1), &err), &err);
}

static int ready(lua_State *L)
{
    struct err err;
    return result(L, supervisor_ready(supervise_check(L), luaL_checkstring(L, 1), &err), &err);
}

/* supervise.kill(name) -> true | nil, err */
static int kill_service(lua_State *L)
{
    struct err err;
    return result(L, supervisor_kill(supervise_check(L), luaL_checkstring(L, 1), &err), &err);
}

/* supervise.lease(name, due) -> true | nil, err. `due` on the clock of task.boot_ns(); 0: no more. */
static int lease(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_Integer due = luaL_checkinteger(L, 2);
    struct err err;
    return result(L, supervisor_lease(supervise_check(L), name, due, &err), &err);
}

/* --- views --- */

static void set_instant(lua_State *L, const char *field, int64_t ns)
{
    if (ns == 0)
        return;
    lua_pushnumber(L, (lua_Number)ns / (lua_Number)NS_PER_S);
    lua_setfield(L, -2, field);
}

static void set_string(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static void set_boolean(lua_State *L, const char *field, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, field);
}

/* Instants are on the clock of task.now(). */
static void push_view(lua_State *L, const struct service_view *view)
{
    lua_createtable(L, 0, 14);
    set_string(L, "name", view->name);
    set_string(L, "state", service_state_name(view->state));
    set_string(L, "reason", view->reason);
    set_boolean(L, "wanted", view->wanted);
    set_boolean(L, "critical", view->critical);
    set_integer(L, "restarts", view->restarts);
    set_integer(L, "crashes", view->crashes);
    set_instant(L, "since", view->since_ns);
    set_instant(L, "started", view->started_ns);
    set_instant(L, "retry", view->retry_ns);
    if (view->pid)
        set_integer(L, "pid", view->pid);
    if (!view->has_ended)
        return;
    char how[96];
    child_end_text(view->last_end, how, sizeof how);
    set_string(L, "last_end", how);
    if (view->last_end.signal)
        set_integer(L, "last_signal", view->last_end.signal);
    else
        set_integer(L, "last_status", view->last_end.status);
}

/* supervise.view(name) -> table | nil */
static int view(lua_State *L)
{
    struct service_view seen;
    if (!supervisor_view(supervise_check(L), luaL_checkstring(L, 1), &seen))
        return 0;
    push_view(L, &seen);
    return 1;
}

static int list(lua_State *L)
{
    struct supervisor *sup = supervise_check(L);
    int count = supervisor_count(sup);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        struct service_view seen;
        if (!supervisor_view_at(sup, i, &seen))
            break;
        push_view(L, &seen);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

struct output *supervise_output(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    struct output *output = supervisor_output(supervise_check(L), name);
    if (output)
        return output;
    struct err err;
    err_set(&err, ERR_MISSING, "%s: there is no such service", name);
    bind_fail(L, &err);
    return NULL;
}

/* supervise.counts(name) -> table | nil, err */
static int counts(lua_State *L)
{
    struct output *output = supervise_output(L, 1);
    if (!output)
        return 2;
    struct output_counts seen;
    output_count(output, &seen);
    lua_createtable(L, 0, 6);
    set_integer(L, "bytes", (lua_Integer)seen.bytes);
    set_integer(L, "lines", (lua_Integer)seen.lines);
    set_integer(L, "dropped_lines", (lua_Integer)seen.dropped_lines);
    set_integer(L, "dropped_bytes", (lua_Integer)seen.dropped_bytes);
    set_boolean(L, "file_blocked", seen.file_blocked);
    set_string(L, "reason", seen.reason);
    return 1;
}

/* supervise.tail(name[, bytes]) -> text | nil, err */
static int tail(lua_State *L)
{
    lua_Integer limit = luaL_optinteger(L, 2, TAIL_DEFAULT);
    luaL_argcheck(L, limit >= 0 && limit <= TAIL_MOST, 2, "bytes must be from 0 to 1 MiB");
    struct output *output = supervise_output(L, 1);
    if (!output)
        return 2;
    luaL_Buffer text;
    char *out = luaL_buffinitsize(L, &text, (size_t)limit);
    luaL_pushresultsize(&text, output_tail(output, out, (size_t)limit));
    return 1;
}

int luaopen_appliance_core_supervise(lua_State *L);

int luaopen_appliance_core_supervise(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"declare", declare}, {"remove", remove_service}, {"want", want},   {"restart", restart},
        {"ready", ready},     {"kill", kill_service},     {"lease", lease}, {"view", view},
        {"list", list},       {"counts", counts},         {"tail", tail},   {NULL, NULL},
    };
    bind_type(L, SPEC, spec_close, NULL);
    luaL_newlib(L, functions);
    supervise_open_waits(L);
    supervise_open_runs(L);
    return 1;
}
