/* appliance.credentials - the keys of this process, from the SDKs' chain; described for its users in lua/appliance/credentials.lua. */
#include "appliance/aws_shared.h"
#include "appliance/bind.h"
#include "appliance/credentials_look.h"

#include "aws_push.h"

#define GET    "appliance.credentials.get"
#define REGION "appliance.credentials.region"
#define LOOK   "appliance.credentials.look"
#define CLOSE  "appliance.credentials.close"

struct get {
    struct credentials_ask ask;
    struct wait wait;
};

struct region {
    struct credentials_region ask;
    struct wait wait;
};

struct look {
    struct credentials_look *look;
};

/* --- get --- */

static void told(struct credentials_ask *ask)
{
    wait_finish(&((struct get *)(void *)((char *)ask - offsetof(struct get, ask)))->wait);
}

static int get_close(lua_State *L)
{
    credentials_ask_stop(&((struct get *)luaL_checkudata(L, 1, GET))->ask);
    return 0;
}

static void text_field(lua_State *L, const char *name, const char *text)
{
    if (!text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* Stack: options, the operation. */
static int get_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct credentials_ask *ask = &((struct get *)luaL_checkudata(L, 2, GET))->ask;
    if (!ask->ok)
        return bind_fail(L, &ask->err);
    lua_createtable(L, 0, 8);
    text_field(L, "access_key_id", ask->keys.access_key_id);
    text_field(L, "secret_access_key", ask->keys.secret_access_key);
    text_field(L, "session_token", ask->keys.session_token);
    text_field(L, "account_id", ask->keys.account_id);
    text_field(L, "source", ask->source);
    if (ask->keys.expires_wall_ms != CREDENTIALS_NEVER) {
        lua_pushnumber(L, (lua_Number)ask->keys.expires_wall_ms / 1000);
        lua_setfield(L, -2, "expires");
    }
    lua_pushinteger(L, (lua_Integer)ask->generation);
    lua_setfield(L, -2, "generation");
    lua_pushboolean(L, ask->extended);
    lua_setfield(L, -2, "extended");
    return 1;
}

static int get(lua_State *L)
{
    struct err err;
    const char *role = bind_field_string(L, 1, "role", NULL);
    lua_settop(L, 1);
    struct get *op = bind_op(L, sizeof *op, GET);
    bind_pin(L, 1);
    struct credentials_store *store = aws_shared_credentials(&err);
    if (!store || !credentials_ask_start(&op->ask, store, role, told, &err))
        return bind_fail(L, &err);
    return task_await(L, &op->wait, get_ended);
}

static int refused(lua_State *L)
{
    struct err err;
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *role = bind_field_string(L, 1, "role", NULL);
    double generation = bind_field_number(L, 1, "generation", 0);
    struct credentials_store *store = aws_shared_credentials(&err);
    if (!store)
        return bind_fail(L, &err);
    lua_pushboolean(L, credentials_refused(store, role, generation >= 0 ? (uint64_t)generation : 0));
    return 1;
}

/* --- the region --- */

static void found(struct credentials_region *ask)
{
    wait_finish(&((struct region *)(void *)((char *)ask - offsetof(struct region, ask)))->wait);
}

static int region_close(lua_State *L)
{
    credentials_region_stop(&((struct region *)luaL_checkudata(L, 1, REGION))->ask);
    return 0;
}

static int region_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct credentials_region *ask = &((struct region *)luaL_checkudata(L, 1, REGION))->ask;
    if (!ask->region[0])
        return bind_fail(L, &ask->err);
    lua_pushstring(L, ask->region);
    return 1;
}

static int region(lua_State *L)
{
    struct err err;
    lua_settop(L, 0);
    struct region *op = bind_op(L, sizeof *op, REGION);
    struct credentials_store *store = aws_shared_credentials(&err);
    if (!store)
        return bind_fail(L, &err);
    credentials_region_start(&op->ask, store, found);
    return task_await(L, &op->wait, region_ended);
}

/* --- what is configured --- */

static int look_close(lua_State *L)
{
    struct look *look = luaL_checkudata(L, 1, LOOK);
    credentials_look_free(look->look);
    look->look = NULL;
    return 0;
}

/* Pushes its owner. NULL with err. */
static const struct credentials_look *look_now(lua_State *L, struct err *err)
{
    struct look *look = bind_op(L, sizeof *look, LOOK);
    struct credentials_store *store = aws_shared_credentials(err);
    look->look = store ? credentials_look_now(store, err) : NULL;
    return look->look;
}

static int steps(lua_State *L)
{
    static const char *const answers[] = {"unset", "ready", "broken"};
    struct err err;
    lua_settop(L, 0);
    const struct credentials_look *look = look_now(L, &err);
    if (!look)
        return bind_fail(L, &err);
    lua_createtable(L, SOURCE_COUNT, 0);
    for (int i = 0; i < SOURCE_COUNT; i++) {
        lua_createtable(L, 0, 3);
        text_field(L, "source", credentials_source_name((enum credentials_source)i));
        text_field(L, "answer", answers[look->chain.steps[i].answer]);
        text_field(L, "text", look->chain.steps[i].text);
        lua_seti(L, -2, i + 1);
    }
    if (look->chain.chosen >= 0)
        lua_pushstring(L, credentials_source_name((enum credentials_source)look->chain.chosen));
    else
        lua_pushnil(L);
    return 2;
}

static int configured(lua_State *L)
{
    struct err err;
    lua_settop(L, 0);
    const struct credentials_look *look = look_now(L, &err);
    if (!look || look->answer != CREDENTIALS_READY)
        return bind_fail(L, look ? &look->err : &err);
    lua_pushstring(L, credentials_source_name((enum credentials_source)look->chain.chosen));
    return 1;
}

/* --- the end --- */

static int forget(lua_State *L)
{
    struct err err;
    if (aws_shared_is_busy()) {
        err_set(&err, ERR_CONFLICT, "somebody waits for credentials, or for an answer, just now");
        return bind_fail(L, &err);
    }
    aws_shared_close();
    lua_pushboolean(L, true);
    return 1;
}

static int shared_close(lua_State *L)
{
    (void)L;
    aws_shared_close();
    return 0;
}

int aws_open_credentials(lua_State *L);
int aws_open_credentials(lua_State *L)
{
    static const luaL_Reg functions[] = {{"get", get},     {"refused", refused},       {"region", region},
                                         {"steps", steps}, {"configured", configured}, {"forget", forget},
                                         {NULL, NULL}};
    bind_type(L, GET, get_close, NULL);
    bind_type(L, REGION, region_close, NULL);
    bind_type(L, LOOK, look_close, NULL);
    bind_type(L, CLOSE, shared_close, NULL);
    luaL_newlib(L, functions);
    aws_guard(L, CLOSE); /* later than that of http: its requests go before their connections */
    return 1;
}
