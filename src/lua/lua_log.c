/* lua_log.c - appliance.core.log: the program's own lines. */
#include "appliance/bind.h"
#include "appliance/log.h"

static int say(lua_State *L, enum log_level level)
{
    log_line(level, "%s", luaL_tolstring(L, 1, NULL));
    return 0;
}

static int debug(lua_State *L)
{
    return say(L, LOG_DEBUG);
}
static int info(lua_State *L)
{
    return say(L, LOG_INFO);
}
static int warn(lua_State *L)
{
    return say(L, LOG_WARN);
}
static int error(lua_State *L)
{
    return say(L, LOG_ERROR);
}

/* log.level("debug" | "info" | "warn" | "error"): what is below is not said */
static int level(lua_State *L)
{
    static const char *const names[] = {"debug", "info", "warn", "error", NULL};
    log_set_level((enum log_level)luaL_checkoption(L, 1, NULL, names));
    return 0;
}

int luaopen_appliance_core_log(lua_State *L);

int luaopen_appliance_core_log(lua_State *L)
{
    static const luaL_Reg functions[] = {{"debug", debug}, {"info", info},   {"warn", warn},
                                         {"error", error}, {"level", level}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
