/* appliance.core.http - one HTTP request to a unix socket or a numeric address.
 *
 *   local http = require "appliance.core.http"
 *   local answer, err = http.request{ unix = path, path = "/status" }               -- { status =, body = }
 *   local answer, err = http.request{ host = "127.0.0.1", port = 8080, path = "/json/", timeout = 2 }
 *   local stream <close>, err = http.open{ unix = path, path = "/logs/worker?follow=1" }
 *   stream.status; stream:read() -> text | nil (its end) | nil, err; stream:close()
 *
 * Fields: method ("GET"), body, timeout (seconds, default 10; for `open` until the answer begins), ceiling (bytes of the answer, default 1 MiB). */
#include "appliance/bind.h"
#include "appliance/http_client.h"
#include "appliance/task.h"

#include <string.h>

#define CALL    "appliance.http.call"
#define STREAM  "appliance.http.stream"
#define OPENING "appliance.http.opening"

enum { STREAM_WINDOW = 64 * 1024, CEILING = 1024 * 1024, CEILING_LIMIT = 64 * 1024 * 1024 };

struct call {
    struct http_exchange exchange;
    struct wait wait;
};

/* Closes a stream whose `open` did not come to its end. */
struct opening {
    struct call *stream;
};

static void moved(struct http_exchange *x)
{
    wait_finish(&((struct call *)(void *)((char *)x - offsetof(struct call, exchange)))->wait);
}

static void moved_to_end(struct http_exchange *x)
{
    if (x->ended || x->failed)
        moved(x);
}

static int call_close(lua_State *L)
{
    struct call *c = luaL_testudata(L, 1, CALL);
    http_exchange_stop(c ? &c->exchange : &((struct call *)luaL_checkudata(L, 1, STREAM))->exchange);
    return 0;
}

/* All checks of the options table at index 1; what it points to is kept alive by the table. */
static struct http_call check_call(lua_State *L, bool hold)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct http_call call = {
        .unix_path = bind_field_string(L, 1, "unix", NULL),
        .host = bind_field_string(L, 1, "host", NULL),
        .port = (int)bind_field_number(L, 1, "port", 0),
        .method = bind_field_string(L, 1, "method", "GET"),
        .path = bind_field_string(L, 1, "path", "/"),
        .timeout_ms = bind_field_ms(L, 1, "timeout", 10),
        .hold = hold,
    };
    if (!call.unix_path == !call.host)
        luaL_error(L, "either unix (a path) or host and port must be given");
    if (lua_getfield(L, 1, "body") == LUA_TSTRING)
        call.body.data = lua_tolstring(L, -1, &call.body.length);
    lua_pop(L, 1);
    double ceiling = bind_field_number(L, 1, "ceiling", hold ? STREAM_WINDOW : CEILING);
    if (ceiling < 0 || ceiling > CEILING_LIMIT)
        luaL_error(L, "ceiling: 0 to 64 MiB");
    call.ceiling = (size_t)ceiling;
    return call;
}

/* --- request --- */

static int call_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct call *c = luaL_checkudata(L, 2, CALL);
    if (c->exchange.failed)
        return bind_fail(L, &c->exchange.err);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, c->exchange.response.status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, c->exchange.body.data ? c->exchange.body.data : "", c->exchange.body.length);
    lua_setfield(L, -2, "body");
    return 1;
}

static int request(lua_State *L)
{
    struct http_call call = check_call(L, false);
    struct loop *loop = bind_loop(L);
    lua_settop(L, 1);
    struct call *c = bind_op(L, sizeof *c, CALL);
    bind_pin(L, 1);
    struct err err;
    if (!http_exchange_start(&c->exchange, loop, &call, moved_to_end, &err))
        return bind_fail(L, &err);
    return task_await(L, &c->wait, call_ended);
}

/* --- open --- */

static int opening_close(lua_State *L)
{
    struct opening *o = luaL_checkudata(L, 1, OPENING);
    if (o->stream)
        http_exchange_stop(&o->stream->exchange);
    o->stream = NULL;
    return 0;
}

/* Stack: options, stream, opening. */
static int opened(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct call *c = luaL_checkudata(L, 2, STREAM);
    struct opening *o = luaL_checkudata(L, 3, OPENING);
    if (c->exchange.failed)
        return bind_fail(L, &c->exchange.err);
    o->stream = NULL;
    lua_pushvalue(L, 2);
    return 1;
}

static int open_stream(lua_State *L)
{
    struct http_call call = check_call(L, true);
    struct loop *loop = bind_loop(L);
    lua_settop(L, 1);
    struct call *c = lua_newuserdatauv(L, sizeof *c, 1);
    memset(c, 0, sizeof *c);
    luaL_setmetatable(L, STREAM);
    struct opening *o = bind_op(L, sizeof *o, OPENING);
    bind_pin(L, 2);
    struct err err;
    if (!http_exchange_start(&c->exchange, loop, &call, moved, &err))
        return bind_fail(L, &err);
    o->stream = c;
    return task_await(L, &c->wait, opened);
}

/* --- a stream --- */

static int stream_has(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct call *c = luaL_checkudata(L, 1, STREAM);
    struct http_exchange *x = &c->exchange;
    if (x->body.length) {
        size_t length = x->body.length;
        lua_pushlstring(L, x->body.data, length);
        http_exchange_consume(x, length);
        return 1;
    }
    if (x->failed)
        return bind_fail(L, &x->err);
    if (x->ended || !x->started) {
        lua_pushnil(L);
        return 1;
    }
    wait_reset(&c->wait);
    return task_await(L, &c->wait, stream_has);
}

static int stream_read(lua_State *L)
{
    struct call *c = luaL_checkudata(L, 1, STREAM);
    lua_settop(L, 1);
    if (c->wait.task)
        return luaL_error(L, "another task reads this stream already");
    return stream_has(L, LUA_OK, 0);
}

static int stream_index(lua_State *L)
{
    const struct call *c = luaL_checkudata(L, 1, STREAM);
    if (strcmp(luaL_checkstring(L, 2), "status") == 0) {
        lua_pushinteger(L, c->exchange.response.status);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

int luaopen_appliance_core_http(lua_State *L);

int luaopen_appliance_core_http(lua_State *L)
{
    static const luaL_Reg functions[] = {{"request", request}, {"open", open_stream}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"read", stream_read}, {"close", call_close}, {NULL, NULL}};
    bind_type(L, CALL, call_close, NULL);
    bind_type(L, OPENING, opening_close, NULL);
    bind_type(L, STREAM, call_close, NULL);
    luaL_getmetatable(L, STREAM);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, stream_index, 1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
