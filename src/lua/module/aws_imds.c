/* appliance.native.aws.imds - one path of the instance's metadata; the rest is lua/appliance/imds.lua. */
#include "appliance/aws_shared.h"
#include "appliance/bind.h"

#define GET "appliance.imds.get"

struct get {
    struct imds_get get;
    struct wait wait;
    bool holds;
};

static void done(struct imds_get *get)
{
    wait_finish(&((struct get *)(void *)((char *)get - offsetof(struct get, get)))->wait);
}

static int get_close(lua_State *L)
{
    struct get *op = luaL_checkudata(L, 1, GET);
    imds_get_stop(&op->get);
    if (op->holds)
        aws_shared_release();
    op->holds = false;
    return 0;
}

/* Stack: path, the operation. */
static int get_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct imds_get *get = &((struct get *)luaL_checkudata(L, 2, GET))->get;
    if (!get->ok)
        return bind_fail(L, &get->err);
    lua_pushlstring(L, get->text.data ? get->text.data : "", get->text.length);
    return 1;
}

/* imds.get(path) -> text | nil, err */
static int get(lua_State *L)
{
    struct err err;
    const char *path = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    struct get *op = bind_op(L, sizeof *op, GET);
    struct credentials_store *store = aws_shared_credentials(&err);
    if (!store || !imds_get_start(&op->get, credentials_imds(store), path, done, &err))
        return bind_fail(L, &err);
    op->holds = true;
    aws_shared_hold();
    return task_await(L, &op->wait, get_ended);
}

int aws_open_imds(lua_State *L);
int aws_open_imds(lua_State *L)
{
    static const luaL_Reg functions[] = {{"get", get}, {NULL, NULL}};
    bind_type(L, GET, get_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
