/* appliance.core.service - the state table of a service, for who reasons about services without running any (appliance.simulate).
 * step(state, event) -> next state, { actions }, known: names in, names out, exactly what supervisor.c asks. */
#include "appliance/bind.h"
#include "appliance/service.h"

#include <string.h>

static const struct {
    enum service_action bit;
    const char *name;
} actions[] = {
    {DO_DISARM, "disarm"},       {DO_CHECK, "check"}, {DO_SPAWN, "spawn"},       {DO_PROBE, "probe"},
    {DO_TERM, "term"},           {DO_KILL, "kill"},   {DO_CLEAR, "clear"},       {DO_ARM_RETRY, "arm retry"},
    {DO_ARM_SPAWN, "arm spawn"}, {DO_COUNT, "count"}, {DO_ANNOUNCE, "announce"},
};

static int check_state(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (int state = 0; state < SERVICE_STATES; state++)
        if (strcmp(name, service_state_name(state)) == 0)
            return state;
    return luaL_argerror(L, index, lua_pushfstring(L, "no state of a service is called \"%s\"", name));
}

static int check_event(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (int event = 0; event < SERVICE_EVENTS; event++)
        if (strcmp(name, service_event_name(event)) == 0)
            return event;
    return luaL_argerror(L, index, lua_pushfstring(L, "no event of a service is called \"%s\"", name));
}

static int service_lua_step(lua_State *L)
{
    struct service_step step = service_step(check_state(L, 1), check_event(L, 2));
    lua_pushstring(L, service_state_name(step.next));
    lua_newtable(L);
    for (size_t i = 0, count = 0; i < sizeof actions / sizeof *actions; i++)
        if (step.actions & actions[i].bit) {
            lua_pushstring(L, actions[i].name);
            lua_rawseti(L, -2, ++count);
        }
    lua_pushboolean(L, step.known);
    return 3;
}

static int service_states(lua_State *L)
{
    lua_newtable(L);
    for (int state = 0; state < SERVICE_STATES; state++) {
        lua_pushstring(L, service_state_name(state));
        lua_rawseti(L, -2, state + 1);
    }
    return 1;
}

static int service_events(lua_State *L)
{
    lua_newtable(L);
    for (int event = 0; event < SERVICE_EVENTS; event++) {
        lua_pushstring(L, service_event_name(event));
        lua_rawseti(L, -2, event + 1);
    }
    return 1;
}

int luaopen_appliance_core_service(lua_State *L);
int luaopen_appliance_core_service(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"step", service_lua_step},
        {"states", service_states},
        {"events", service_events},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
