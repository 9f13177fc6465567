#include "appliance/bind.h"
#include "appliance/clock.h"

#include <lualib.h>
#include <string.h>

#define ERR "appliance.err"

static int err_tostring(lua_State *L)
{
    lua_getfield(L, 1, "text");
    return 1;
}

void bind_push_err(lua_State *L, const struct err *err)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, err_kind_name(err->kind));
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, err->code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, err->text);
    lua_setfield(L, -2, "text");
    if (luaL_newmetatable(L, ERR)) {
        lua_pushcfunction(L, err_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
}

int bind_fail(lua_State *L, const struct err *err)
{
    lua_pushnil(L);
    bind_push_err(L, err);
    return 2;
}

void *bind_op(lua_State *L, size_t size, const char *type)
{
    void *op = lua_newuserdatauv(L, size, 1);
    memset(op, 0, size);
    luaL_setmetatable(L, type);
    lua_toclose(L, -1);
    return op;
}

void bind_type(lua_State *L, const char *type, lua_CFunction close, const luaL_Reg *methods)
{
    if (luaL_newmetatable(L, type)) {
        lua_pushcfunction(L, close);
        lua_setfield(L, -2, "__close");
        lua_pushcfunction(L, close);
        lua_setfield(L, -2, "__gc");
        if (methods) {
            lua_newtable(L);
            luaL_setfuncs(L, methods, 0);
            lua_setfield(L, -2, "__index");
        }
    }
    lua_pop(L, 1);
}

void bind_pin(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
}

struct loop *bind_loop(lua_State *L)
{
    struct loop *loop = task_loop();
    if (!loop)
        luaL_error(L, "event loop: no memory or descriptors");
    return loop;
}

/* Pushes the field; false (and nothing pushed) when it is absent. */
static bool field(lua_State *L, int index, const char *name, int type)
{
    if (lua_isnoneornil(L, index))
        return false;
    luaL_checktype(L, index, LUA_TTABLE);
    int got = lua_getfield(L, index, name);
    if (got == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (got != type)
        luaL_error(L, "%s: %s expected, got %s", name, lua_typename(L, type), lua_typename(L, got));
    return true;
}

const char *bind_field_string(lua_State *L, int index, const char *name, const char *otherwise)
{
    if (!field(L, index, name, LUA_TSTRING))
        return otherwise;
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps it alive */
    return text;
}

double bind_field_number(lua_State *L, int index, const char *name, double otherwise)
{
    if (!field(L, index, name, LUA_TNUMBER))
        return otherwise;
    double number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

bool bind_field_boolean(lua_State *L, int index, const char *name, bool otherwise)
{
    if (!field(L, index, name, LUA_TBOOLEAN))
        return otherwise;
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

int64_t bind_field_ms(lua_State *L, int index, const char *name, double otherwise_seconds)
{
    return clock_span_ns(bind_field_number(L, index, name, otherwise_seconds)) / NS_PER_MS;
}

int luaopen_appliance_core_task(lua_State *L);
int luaopen_appliance_core_file(lua_State *L);
int luaopen_appliance_core_log(lua_State *L);
int luaopen_appliance_core_host(lua_State *L);
int luaopen_appliance_core_program(lua_State *L);
int luaopen_appliance_core_cgroup(lua_State *L) __attribute__((weak));
int luaopen_appliance_core_supervise(lua_State *L) __attribute__((weak));
int luaopen_appliance_core_service(lua_State *L) __attribute__((weak));
int luaopen_appliance_core_control(lua_State *L) __attribute__((weak));
int luaopen_appliance_core_http(lua_State *L) __attribute__((weak));
int luaopen_appliance_core_hangup(lua_State *L) __attribute__((weak));
int luaopen_appliance_core_probe(lua_State *L) __attribute__((weak));

void bind_preload(lua_State *L)
{
    const luaL_Reg modules[] = {
        {"appliance.core.task", luaopen_appliance_core_task},
        {"appliance.core.file", luaopen_appliance_core_file},
        {"appliance.core.log", luaopen_appliance_core_log},
        {"appliance.core.host", luaopen_appliance_core_host},
        {"appliance.core.program", luaopen_appliance_core_program},
        {"appliance.core.cgroup", luaopen_appliance_core_cgroup},
        {"appliance.core.supervise", luaopen_appliance_core_supervise},
        {"appliance.core.service", luaopen_appliance_core_service},
        {"appliance.core.control", luaopen_appliance_core_control},
        {"appliance.core.http", luaopen_appliance_core_http},
        {"appliance.core.hangup", luaopen_appliance_core_hangup},
        {"appliance.core.probe", luaopen_appliance_core_probe},
    };
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (modules[i].func) {
            lua_pushcfunction(L, modules[i].func);
            lua_setfield(L, -2, modules[i].name);
        }
    lua_pop(L, 1);
}
