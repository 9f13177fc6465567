/* zk_call.c - one request, as a call that waits.
 *
 *   client:call("get", path, nil, nil, nil, watch)      -> data, stat
 *   client:call("exists", path, nil, nil, nil, watch)   -> stat | false
 *   client:call("children", path, nil, nil, nil, watch) -> { names }, stat
 *   client:call("rights", path)                         -> { "world:anyone:cdrwa" ... }, stat
 *   client:call("set", path, data, version)             -> stat
 *   client:call("create", path, data, nil, mode)        -> path; mode: or-ed 1 ephemeral, 2 sequential, 4 container, 8 open
 *   client:call("delete", path, nil, version), client:call("sync", path) -> true
 *   client:multi { { "check", path, version }, { "create", path, data, mode }, { "set", path, data, version }, { "delete", path, version } }
 *     -> { true | path | stat ... } | nil, err with `index`, and `failed`: ZooKeeper's word for each part
 * All: nil, err { kind, code = "NONODE" ..., text }. */
#include "zk_push.h"

#include <string.h>

#define CALL "appliance.zk.call"

enum { PARTS_CEILING = 1000 };

struct call { /* user value 1: the watch, or the table of parts */
    struct zk_request request;
    struct wait wait;
};

static void ended(struct zk_request *r)
{
    wait_finish(&((struct call *)(void *)((char *)r - offsetof(struct call, request)))->wait);
}

static int call_close(lua_State *L)
{
    zk_request_stop(&((struct call *)luaL_checkudata(L, 1, CALL))->request);
    return 0;
}

static void set_integer(lua_State *L, const char *field, int64_t value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static void push_stat(lua_State *L, const struct zk_stat *stat, int64_t sent_ns)
{
    lua_createtable(L, 0, 9);
    set_integer(L, "czxid", stat->czxid);
    set_integer(L, "mzxid", stat->mzxid);
    set_integer(L, "pzxid", stat->pzxid);
    set_integer(L, "version", stat->version);
    set_integer(L, "cversion", stat->cversion);
    set_integer(L, "owner", stat->owner);
    set_integer(L, "children", stat->children);
    set_integer(L, "length", stat->length);
    set_integer(L, "sent", sent_ns);
}

static void push_names(lua_State *L, const struct zk_request *r)
{
    lua_createtable(L, r->count, 0);
    const char *name = r->text.data;
    for (int i = 1; i <= r->count; i++) {
        lua_pushstring(L, name);
        lua_seti(L, -2, i);
        name += strlen(name) + 1;
    }
}

static int push_result(lua_State *L, const struct zk_request *r)
{
    switch (r->what.verb) {
    case ZK_GET:
        lua_pushlstring(L, r->text.data, r->text.length);
        push_stat(L, &r->stat, r->sent_ns);
        return 2;
    case ZK_CHILDREN:
    case ZK_RIGHTS:
        push_names(L, r);
        push_stat(L, &r->stat, r->sent_ns);
        return 2;
    case ZK_EXISTS:
    case ZK_SET: push_stat(L, &r->stat, r->sent_ns); return 1;
    case ZK_CREATE: lua_pushlstring(L, r->text.data, r->text.length); return 1;
    default: lua_pushboolean(L, true); return 1;
    }
}

/* What never left us was not done: nobody need look for it. */
static int push_loss(lua_State *L, const struct zk_request *r, const char *path)
{
    struct err err;
    err_set(&err, zk_code_kind(r->code), "zk %s%s%s: not sent, for there was no connection to ZooKeeper (%s)", zk_verb_name(r->what.verb),
            path ? " " : "", path ? path : "", zk_code_name(r->code));
    zk_push_fail(L, &err, r->code);
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "unsent");
    return 2;
}

/* Stack: client, verb, path, ... the operation on top. */
static int call_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct zk_request *r = &((struct call *)luaL_checkudata(L, -1, CALL))->request;
    if (r->code == ZK_OK)
        return push_result(L, r);
    if (r->code == ZK_NONODE && r->what.verb == ZK_EXISTS) {
        lua_pushboolean(L, false);
        return 1;
    }
    if (r->code == ZK_CONNECTIONLOSS && r->sent_ns == 0)
        return push_loss(L, r, lua_tostring(L, 3));
    struct err err;
    zk_fail(&err, r->code, lua_tostring(L, 2), lua_tostring(L, 3));
    return zk_push_fail(L, &err, r->code);
}

static int start(lua_State *L, struct call *call, struct zk_client *client, lua_KFunction k)
{
    struct err err = {0};
    call->request.ended = ended;
    if (!zk_request_start(&call->request, client, &err))
        return zk_push_fail(L, &err, err.code);
    return task_await(L, &call->wait, k);
}

/* A path has no zero inside: C would see another one. */
static const char *check_path(lua_State *L, int index)
{
    size_t length;
    const char *path = luaL_checklstring(L, index, &length);
    luaL_argcheck(L, strlen(path) == length, index, "a path has no zero byte");
    return path;
}

static struct bytes opt_bytes(lua_State *L, int index)
{
    size_t length;
    const char *data = luaL_optlstring(L, index, "", &length);
    return (struct bytes){data, length};
}

static int32_t opt_version(lua_State *L, int index)
{
    lua_Integer version = luaL_optinteger(L, index, -1);
    luaL_argcheck(L, version >= INT32_MIN && version <= INT32_MAX, index, "no such version");
    return (int32_t)version;
}

static int client_call(lua_State *L)
{
    static const char *const verbs[] = {"get", "exists", "children", "set", "create", "delete", "sync", "rights", NULL};
    static const enum zk_verb meant[] = {ZK_GET, ZK_EXISTS, ZK_CHILDREN, ZK_SET, ZK_CREATE, ZK_DELETE, ZK_SYNC, ZK_RIGHTS};
    struct zk_client *client = zk_check_client(L, 1);
    lua_settop(L, 7);
    struct zk_part what = {.verb = meant[luaL_checkoption(L, 2, NULL, verbs)],
                           .path = check_path(L, 3),
                           .data = opt_bytes(L, 4),
                           .version = opt_version(L, 5),
                           .mode = (int)luaL_optinteger(L, 6, 0)};
    struct zk_looking *watch = lua_isnil(L, 7) ? NULL : luaL_checkudata(L, 7, ZK_WATCH);
    luaL_argcheck(L, !watch || watch->watch.point, 7, "this watch is closed");
    struct call *call = bind_op(L, sizeof *call, CALL);
    if (watch)
        bind_pin(L, 7);
    call->request.what = what;
    call->request.watch = watch ? &watch->watch : NULL;
    return start(L, call, client, call_ended);
}

/* --- multi --- */

static bool is_of_session(int code)
{
    return code > ZK_NONODE || code == ZK_SESSIONEXPIRED || code == ZK_CLOSING || code == ZK_AUTHFAILED;
}

static int push_fault(lua_State *L, const struct zk_request *r)
{
    if (r->code == ZK_CONNECTIONLOSS && r->sent_ns == 0)
        return push_loss(L, r, NULL);
    int index = 0;
    for (int i = 0; i < r->count && r->outcomes; i++)
        if (index == 0 && r->outcomes[i].code != ZK_OK && r->outcomes[i].code != ZK_RUNTIME)
            index = i + 1;
    /* Of a lost connection or session each part has the same: none of them is to blame. */
    const struct zk_part *part = index > 0 && !is_of_session(r->code) ? &r->parts[index - 1] : NULL;
    struct err err;
    zk_fail(&err, r->code, part ? zk_verb_name(part->verb) : "multi", part ? part->path : NULL);
    zk_push_fail(L, &err, r->code);
    if (part) {
        lua_pushinteger(L, index);
        lua_setfield(L, -2, "index");
    }
    return 2;
}

static int multi_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct zk_request *r = &((struct call *)luaL_checkudata(L, -1, CALL))->request;
    if (r->code != ZK_OK)
        return push_fault(L, r);
    lua_createtable(L, r->count, 0);
    for (int i = 0; i < r->count; i++) {
        if (r->parts[i].verb == ZK_CREATE)
            lua_pushstring(L, r->outcomes[i].path);
        else if (r->parts[i].verb == ZK_SET)
            push_stat(L, &r->outcomes[i].stat, r->sent_ns);
        else
            lua_pushboolean(L, true);
        lua_seti(L, -2, i + 1);
    }
    return 1;
}

/* Fills one part from the table on top. Its strings are kept alive by a copy of the table of tables: see client_multi. */
static void check_part(lua_State *L, struct zk_part *part, int kept, int number)
{
    static const char *const verbs[] = {"check", "create", "set", "delete", NULL};
    static const enum zk_verb meant[] = {ZK_CHECK, ZK_CREATE, ZK_SET, ZK_DELETE};
    int top = lua_gettop(L);
    if (!lua_istable(L, top))
        luaL_error(L, "part %d: a table is needed", number);
    for (int i = 1; i <= 4; i++)
        lua_geti(L, top, i);
    const char *verb = lua_tostring(L, top + 1);
    int at = 0;
    while (verb && verbs[at] && strcmp(verbs[at], verb) != 0)
        at++;
    if (!verb || !verbs[at])
        luaL_error(L, "part %d: check, create, set or delete, not %s", number, verb ? verb : "this");
    part->verb = meant[at];
    part->path = check_path(L, top + 2);
    part->version = -1;
    if (part->verb == ZK_CREATE || part->verb == ZK_SET) {
        part->data = opt_bytes(L, top + 3);
        if (part->verb == ZK_SET)
            part->version = opt_version(L, top + 4);
        else
            part->mode = (int)luaL_optinteger(L, top + 4, 0);
        /* The server answers it in more words than the library reads, which takes the rest for the next part, and aborts. */
        if (part->mode & ZK_CONTAINER)
            luaL_error(L, "part %d: a container can't be made in a multi", number);
    } else {
        part->version = opt_version(L, top + 3);
    }
    for (int i = 2; i <= 3; i++) {
        lua_pushvalue(L, top + i);
        lua_seti(L, kept, luaL_len(L, kept) + 1);
    }
    lua_settop(L, top - 1);
}

static int client_multi(lua_State *L)
{
    struct zk_client *client = zk_check_client(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_Integer count = luaL_len(L, 2);
    luaL_argcheck(L, count >= 1 && count <= PARTS_CEILING, 2, "1 to 1000 parts");
    lua_newtable(L); /* 3: what the parts point to */
    struct zk_part *parts = lua_newuserdatauv(L, sizeof *parts * (size_t)count, 0);
    memset(parts, 0, sizeof *parts * (size_t)count);
    for (int i = 0; i < count; i++) {
        lua_geti(L, 2, i + 1);
        check_part(L, &parts[i], 3, i + 1);
    }
    struct call *call = bind_op(L, sizeof *call, CALL);
    call->request.what.verb = ZK_MULTI;
    call->request.parts = parts;
    call->request.part_count = (int)count;
    return start(L, call, client, multi_ended);
}

const luaL_Reg zk_call_methods[] = {{"call", client_call}, {"multi", client_multi}, {NULL, NULL}};

void zk_open_calls(lua_State *L)
{
    bind_type(L, CALL, call_close, NULL);
}
