/* appliance.native.zk - ZooKeeper, as C has it: loaded by the first require of it, with libzookeeper_mt. People use lua/appliance/zk.lua.
 *
 *   native.open { name =, servers = "10.0.0.1:2181,...", auth = "user:secret", session = seconds } -> client
 *   client:call(...), client:multi(...)          zk_call.c
 *   client:view() -> { state =, id =, timeout =, server = }
 *   client:change(n) -> n, view                  the nth change since the start; waits for it. n of 0: as it is now
 *   client:servers("...")                        addresses
 *   client:watch(path, of_children) -> watch     a call arms it; watch:wait() waits until something has changed since
 *   client:close()
 *   native.handles() -> how many handles there are, those included that are being closed on helper threads */
#include "zk_push.h"

#include <string.h>

#define CHANGE   "appliance.zk.change"
#define LOOK     "appliance.zk.look"
#define SHUTDOWN "appliance.zk.shutdown"

struct zk_client *zk_check_client(lua_State *L, int index)
{
    struct zk_held *held = luaL_checkudata(L, index, ZK_CLIENT);
    luaL_argcheck(L, held->client, index, "the client is gone");
    return held->client;
}

int zk_push_fail(lua_State *L, const struct err *err, int code)
{
    bind_fail(L, err);
    lua_pushstring(L, zk_code_name(code));
    lua_setfield(L, -2, "code");
    return 2;
}

static int client_close(lua_State *L)
{
    zk_client_close(zk_check_client(L, 1));
    return 0;
}

static int client_collect(lua_State *L)
{
    struct zk_held *held = luaL_checkudata(L, 1, ZK_CLIENT);
    zk_client_drop(held->client);
    held->client = NULL;
    return 0;
}

static void push_view(lua_State *L, const struct zk_view *view)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, zk_state_name(view->state));
    lua_setfield(L, -2, "state");
    if (view->id != 0) {
        lua_pushinteger(L, view->id);
        lua_setfield(L, -2, "id");
    }
    if (view->timeout_ms > 0) {
        lua_pushnumber(L, view->timeout_ms / 1e3);
        lua_setfield(L, -2, "timeout");
    }
    if (view->server[0]) {
        lua_pushstring(L, view->server);
        lua_setfield(L, -2, "server");
    }
}

static int client_view(lua_State *L)
{
    push_view(L, zk_client_view(zk_check_client(L, 1)));
    return 1;
}

static int client_servers(lua_State *L)
{
    struct err err;
    if (!zk_client_servers(zk_check_client(L, 1), luaL_checkstring(L, 2), &err))
        return luaL_error(L, "%s", err.text);
    return 0;
}

/* --- changes --- */

struct change {
    struct zk_listener listener;
    struct wait wait;
    uint64_t wanted;
};

static int change_close(lua_State *L)
{
    zk_unlisten(&((struct change *)luaL_checkudata(L, 1, CHANGE))->listener);
    return 0;
}

static void changed(struct zk_listener *listener)
{
    struct change *c = (struct change *)(void *)((char *)listener - offsetof(struct change, listener));
    wait_finish(&c->wait);
}

/* Stack: client, number, operation. */
static int change_came(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct change *c = luaL_checkudata(L, 3, CHANGE);
    const struct zk_view *view = zk_client_change(zk_check_client(L, 1), &c->wanted);
    lua_pushinteger(L, (lua_Integer)c->wanted);
    push_view(L, view);
    return 2;
}

static int client_change(lua_State *L)
{
    struct zk_client *client = zk_check_client(L, 1);
    lua_Integer wanted = luaL_checkinteger(L, 2);
    lua_settop(L, 2);
    struct change *c = bind_op(L, sizeof *c, CHANGE);
    c->wanted = wanted > 0 ? (uint64_t)wanted : zk_client_changes(client);
    zk_listen(&c->listener, client, changed);
    if (c->wanted <= zk_client_changes(client))
        wait_finish(&c->wait);
    return task_await(L, &c->wait, change_came);
}

/* --- watches --- */

struct look { /* watch:wait() under way: it goes when its task is cancelled, and the watch stays */
    struct wait wait;
    struct zk_looking *at; /* NULL when closed; else it lies below us on the stack */
};

static int look_close(lua_State *L)
{
    struct look *look = luaL_checkudata(L, 1, LOOK);
    if (look->at)
        look->at->look = NULL;
    look->at = NULL;
    return 0;
}

static void tell_look(struct zk_looking *w)
{
    if (w->look)
        wait_finish(&w->look->wait);
}

static int watch_close(lua_State *L)
{
    struct zk_looking *w = luaL_checkudata(L, 1, ZK_WATCH);
    zk_watch_stop(&w->watch);
    tell_look(w);
    return 0;
}

static void fired(struct zk_watch *watch)
{
    tell_look((struct zk_looking *)(void *)((char *)watch - offsetof(struct zk_looking, watch)));
}

static int client_watch(lua_State *L)
{
    struct zk_client *client = zk_check_client(L, 1);
    const char *path = luaL_checkstring(L, 2);
    bool of_children = lua_toboolean(L, 3);
    struct zk_looking *w = lua_newuserdatauv(L, sizeof *w, 1);
    memset(w, 0, sizeof *w);
    luaL_setmetatable(L, ZK_WATCH);
    bind_pin(L, 1);
    struct err err;
    if (!zk_watch_start(&w->watch, client, path, of_children, fired, &err))
        return luaL_error(L, "%s", err.text);
    return 1;
}

static int watch_ended(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

/* watch:wait(): one task at a time */
static int watch_wait(lua_State *L)
{
    struct zk_looking *w = luaL_checkudata(L, 1, ZK_WATCH);
    luaL_argcheck(L, !w->look, 1, "another task waits for this watch");
    lua_settop(L, 1);
    struct look *look = bind_op(L, sizeof *look, LOOK);
    bind_pin(L, 1);
    look->at = w;
    w->look = look;
    if (w->watch.is_fired || !w->watch.point)
        wait_finish(&look->wait);
    return task_await(L, &look->wait, watch_ended);
}

/* --- the module --- */

static int open_client(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct zk_spec spec = {.name = bind_field_string(L, 1, "name", ""),
                           .servers = bind_field_string(L, 1, "servers", ""),
                           .auth = bind_field_string(L, 1, "auth", NULL),
                           .session_ms = bind_field_ms(L, 1, "session", 4)};
    luaL_argcheck(L, spec.session_ms >= 100 && spec.session_ms <= 3600 * 1000, 1, "session: 0.1 to 3600 seconds");
    struct loop *loop = bind_loop(L);
    struct zk_held *held = lua_newuserdatauv(L, sizeof *held, 1);
    held->client = NULL;
    luaL_setmetatable(L, ZK_CLIENT);
    struct err err;
    held->client = zk_client_open(loop, &spec, &err);
    if (!held->client)
        return luaL_error(L, "%s", err.text);
    return 1;
}

static int count_handles(lua_State *L)
{
    lua_pushinteger(L, zk_handles());
    return 1;
}

static int shutdown_close(lua_State *L)
{
    (void)L;
    zk_shutdown();
    return 0;
}

int luaopen_appliance_native_zk(lua_State *L);
int luaopen_appliance_native_zk(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", client_close},   {"view", client_view},   {"servers", client_servers},
                                       {"change", client_change}, {"watch", client_watch}, {NULL, NULL}};
    static const luaL_Reg watch_methods[] = {{"wait", watch_wait}, {"close", watch_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", open_client}, {"handles", count_handles}, {NULL, NULL}};
    if (luaL_newmetatable(L, ZK_CLIENT)) {
        luaL_newlib(L, methods);
        luaL_setfuncs(L, zk_call_methods, 0);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, client_close);
        lua_setfield(L, -2, "__close");
        lua_pushcfunction(L, client_collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    bind_type(L, ZK_WATCH, watch_close, watch_methods);
    bind_type(L, CHANGE, change_close, NULL);
    bind_type(L, LOOK, look_close, NULL);
    zk_open_calls(L);
    luaL_newlib(L, functions);
    /* Once for each Lua, and not collected with a module that is loaded anew: the loop goes away with Lua, handles must go before. */
    if (lua_getfield(L, LUA_REGISTRYINDEX, SHUTDOWN ".guard") == LUA_TNIL) {
        bind_type(L, SHUTDOWN, shutdown_close, NULL);
        lua_newuserdatauv(L, 0, 0);
        luaL_setmetatable(L, SHUTDOWN);
        lua_setfield(L, LUA_REGISTRYINDEX, SHUTDOWN ".guard");
    }
    lua_pop(L, 1);
    return 1;
}
