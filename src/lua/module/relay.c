/* appliance.native.relay - TCP ports of this node that always lead to the present target. A shared object of its own: few nodes have one.
 *
 *   local relay = require "appliance.native.relay"
 *   local r <close> = assert(relay.open { name = "sql", bind = "0.0.0.0", port = 10000 })     -- | nil, err
 *     -- port: 0 (the default) lets the kernel choose; hold (60): seconds a new connection waits for a target that answers;
 *     -- keep (false): whether a working connection to a former target lives on, or is reset; connect (5): seconds a target has to
 *     -- answer; most (1024): connections at once
 *   r:target { "10.0.0.2:10010", "[fd00::3]:10010" }  -- -> true | nil, err; addresses, in the order in which they are tried; {}: none
 *   r:port()                                          -- where it listens
 *   r:counts()                                        -- { established, held: now; served, refused, expired, cut: so far }
 *   r:close()                                         -- resets what is left; twice is fine; no other method may follow
 *
 * Nothing here waits: the relay lives in the loop, and goes on while Lua does other things (include/appliance/relay.h has the rules). */
#include "appliance/bind.h"
#include "appliance/relay.h"

#define RELAY "appliance.relay"

struct lua_relay {
    struct relay *relay; /* NULL once closed */
};

static int relay_gone(lua_State *L)
{
    struct lua_relay *r = luaL_checkudata(L, 1, RELAY);
    struct relay *relay = r->relay;
    r->relay = NULL;
    relay_close(relay);
    return 0;
}

static struct relay *check_open(lua_State *L)
{
    struct lua_relay *r = luaL_checkudata(L, 1, RELAY);
    if (!r->relay)
        luaL_error(L, "this relay is closed");
    return r->relay;
}

static int open_relay(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    double port = bind_field_number(L, 1, "port", 0), most = bind_field_number(L, 1, "most", RELAY_MOST);
    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, 1, "port must be from 0 to 65535");
    luaL_argcheck(L, most >= 1 && most <= RELAY_MOST_CEILING, 1, "most must be from 1 to 65536");
    struct relay_spec spec = {.bind = bind_field_string(L, 1, "bind", NULL),
                              .port = (uint16_t)port,
                              .name = bind_field_string(L, 1, "name", NULL),
                              .hold_ms = bind_field_ms(L, 1, "hold", (double)RELAY_HOLD_MS / 1000),
                              .connect_ms = bind_field_ms(L, 1, "connect", (double)RELAY_CONNECT_MS / 1000),
                              .keep = bind_field_boolean(L, 1, "keep", false),
                              .most = (int)most};
    luaL_argcheck(L, spec.connect_ms > 0, 1, "connect must be more than nothing");
    struct loop *loop = bind_loop(L);
    struct lua_relay *r = lua_newuserdatauv(L, sizeof *r, 0);
    r->relay = NULL;
    luaL_setmetatable(L, RELAY);
    struct err err;
    r->relay = relay_open(loop, &spec, &err);
    return r->relay ? 1 : bind_fail(L, &err);
}

static int set_targets(lua_State *L)
{
    struct relay *relay = check_open(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Unsigned count = lua_rawlen(L, 2);
    struct err err;
    if (count > RELAY_TARGETS) {
        err_set(&err, ERR_INVALID, "%d targets: at most %d can be tried in turns", (int)count, RELAY_TARGETS);
        return bind_fail(L, &err);
    }
    const char *addresses[RELAY_TARGETS];
    luaL_checkstack(L, RELAY_TARGETS, "targets");
    for (lua_Unsigned i = 0; i < count; i++) {
        if (lua_rawgeti(L, 2, (lua_Integer)i + 1) != LUA_TSTRING)
            return luaL_argerror(L, 2, "each target must be a string like 10.0.0.2:10010");
        addresses[i] = lua_tostring(L, -1);
    }
    if (!relay_target(relay, addresses, count, &err))
        return bind_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

static int port(lua_State *L)
{
    lua_pushinteger(L, relay_port(check_open(L)));
    return 1;
}

static int counts(lua_State *L)
{
    struct relay_counts now = relay_count(check_open(L));
    const struct {
        const char *name;
        lua_Integer count;
    } fields[] = {{"established", now.established},      {"held", now.held},
                  {"served", (lua_Integer)now.served},   {"refused", (lua_Integer)now.refused},
                  {"expired", (lua_Integer)now.expired}, {"cut", (lua_Integer)now.cut}};
    lua_createtable(L, 0, sizeof fields / sizeof *fields);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, fields[i].count);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

int luaopen_appliance_native_relay(lua_State *L);
int luaopen_appliance_native_relay(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", open_relay}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"target", set_targets}, {"port", port}, {"counts", counts}, {"close", relay_gone}, {NULL, NULL}};
    bind_type(L, RELAY, relay_gone, methods);
    luaL_newlib(L, functions);
    return 1;
}
