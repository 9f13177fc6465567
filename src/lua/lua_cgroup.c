/* lua_cgroup.c - appliance.core.cgroup: what the kernel allows this container. `root` stands in for "/" in tests. */
#include "appliance/bind.h"
#include "appliance/cgroup.h"

/* cgroup.limits([root]) -> { version = 0|1|2, memory = bytes or nil, cpus = number } | nil, err */
static int limits(lua_State *L)
{
    const char *root = luaL_optstring(L, 1, "/");
    struct cgroup_limits found;
    struct err err;
    if (!cgroup_read(root, &found, &err))
        return bind_fail(L, &err);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, found.version);
    lua_setfield(L, -2, "version");
    if (found.memory_bytes >= 0) {
        lua_pushinteger(L, found.memory_bytes);
        lua_setfield(L, -2, "memory");
    }
    lua_pushnumber(L, found.cpus);
    lua_setfield(L, -2, "cpus");
    return 1;
}

static int push_known(lua_State *L, int64_t value)
{
    if (value < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, value);
    return 1;
}

/* cgroup.oom_kills([root]) -> number, or nil where it can't be told */
static int oom_kills(lua_State *L)
{
    return push_known(L, cgroup_oom_kills(luaL_optstring(L, 1, "/")));
}

/* cgroup.used([root]) -> bytes, or nil where it can't be told */
static int used(lua_State *L)
{
    return push_known(L, cgroup_memory_used(luaL_optstring(L, 1, "/")));
}

int luaopen_appliance_core_cgroup(lua_State *L);
int luaopen_appliance_core_cgroup(lua_State *L)
{
    static const luaL_Reg functions[] = {{"limits", limits}, {"oom_kills", oom_kills}, {"used", used}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
