/* appliance.core.control - small HTTP servers, mostly for this machine alone, for Lua: one task a request, cancelled when the client leaves.
 *
 *   local control = require "appliance.core.control"
 *   local server, err = control.serve(path, function(request)
 *     -- request.method ("GET" also for HEAD), .path (still escaped), .query (a table, unescaped), .body
 *     -- request:header(name) -> value of the first of that name | nil, how many there are; until it is answered
 *     return 200, "text\n", "text/plain"             -- status, body [, content type [, Allow of a 405]]
 *   end)
 *   server:close(); server:clients()                   -- number of connections
 *
 * control.serve({ port = 0, name = "...", clients = 64, idle = 60 }, handler) listens on 127.0.0.1 instead, where requests have no
 * bodies. port: 0 lets the kernel choose, server:port() tells what it chose; idle: seconds between two requests of a connection.
 *
 * control.serve({ port = 8099, address = "0.0.0.0", ... }, handler) listens there for whoever can reach it, a load balancer: only GET and
 * HEAD without bodies come to the handler, everything else is refused with 405 or 413. What it answers is for the world to read.
 *
 * A handler may wait. For an answer that goes on: `request:stream(status, content_type)`, then request:send(text) as often as needed
 * (waits while the client is slow); the stream ends with the handler. A handler that fails is a 500 and a traceback in the log. */
#include "appliance/bind.h"
#include "appliance/control.h"
#include "appliance/log.h"
#include "appliance/task.h"

#include <stdio.h>
#include <string.h>

#define SERVER  "appliance.control.server"
#define REQUEST "appliance.control.request"

/* Its user value is the handler. Lives on the stack of the task that accepts, and closes with it. */
struct server {
    struct control *control; /* NULL once closed */
    char name[48];           /* of the task, in the log */
    struct wait wait;        /* of the accepting task: something arrived or left */
    struct request *departed;
};

enum { FIELDS = 1, OF_SERVER = 2 }; /* user values of a request */
enum { GROWTH_KIB = 24, MOST_CLIENTS = 4096 };

/* Lives on the stack of its handler's task. */
struct request {
    struct control_client *client; /* NULL once answered, or when the client has left */
    struct server *server;         /* kept alive by a user value */
    struct task *task;
    struct wait wait; /* for room in the stream */
    bool streaming, departed;
    size_t sent;
    struct request *next_departed;
};

/* --- in the loop: no Lua --- */

static void arrived(void *argument)
{
    wait_finish(&((struct server *)argument)->wait);
}

static void left(void *argument, struct control_client *client)
{
    struct server *s = argument;
    struct request *r = control_data(client);
    if (!r)
        return;
    r->client = NULL;
    r->departed = true;
    r->next_departed = s->departed;
    s->departed = r;
    wait_finish(&r->wait);
    wait_finish(&s->wait);
}

static void room(void *argument, struct control_client *client)
{
    (void)argument;
    struct request *r = control_data(client);
    if (r)
        wait_finish(&r->wait);
}

/* --- a request --- */

static void forget_departed(struct request *r)
{
    if (!r->departed)
        return;
    r->departed = false;
    for (struct request **at = &r->server->departed; *at; at = &(*at)->next_departed)
        if (*at == r) {
            *at = r->next_departed;
            return;
        }
}

static void answer(struct request *r, const struct control_reply *reply)
{
    struct control_client *client = r->client;
    r->client = NULL;
    control_answer(client, reply);
}

/* However its task ended: returned, raised or was cancelled. */
static int request_close(lua_State *L)
{
    struct request *r = luaL_checkudata(L, 1, REQUEST);
    bool failed = !lua_isnoneornil(L, 2);
    forget_departed(r);
    r->task = NULL;
    if (!r->client)
        return 0;
    if (!r->streaming) {
        answer(r, &(struct control_reply){.status = 500,
                                          .body = bytes_of("this request could not be answered: the log of the node says why\n")});
        return 0;
    }
    struct control_client *client = r->client;
    r->client = NULL;
    if (failed)
        control_hang_up(client);
    else
        control_stream_end(client);
    return 0;
}

static void push_unescaped(lua_State *L, struct bytes text)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, text.length + 1);
    luaL_pushresultsize(&buffer, http_unescape(text, true, out));
}

static void push_fields(lua_State *L, const struct http_request *http)
{
    bool is_head = bytes_equal(http->method, bytes_of("HEAD"));
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, is_head ? "GET" : http->method.data, is_head ? 3 : http->method.length);
    lua_setfield(L, -2, "method");
    lua_pushlstring(L, http->path.data, http->path.length);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, http->body.length ? http->body.data : "", http->body.length);
    lua_setfield(L, -2, "body");
    lua_newtable(L);
    struct bytes query = http->query, name, value;
    while (http_query_next(&query, &name, &value)) {
        push_unescaped(L, name);
        push_unescaped(L, value);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "query");
}

static struct request *check_open(lua_State *L)
{
    struct request *r = luaL_checkudata(L, 1, REQUEST);
    if (!r->client && !r->departed)
        luaL_error(L, "this request is answered already");
    return r;
}

static int fail_left(lua_State *L)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "the client left");
    return bind_fail(L, &err);
}

static void check_header(lua_State *L, const char *text)
{
    for (const char *at = text; at && *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f || at - text > 90)
            luaL_error(L, "a content type of an answer is one short line");
}

/* request:stream(status [, content type]) -> request | nil, err */
static int request_stream(lua_State *L)
{
    struct request *r = check_open(L);
    int status = (int)luaL_checkinteger(L, 2);
    const char *type = luaL_optstring(L, 3, NULL);
    check_header(L, type);
    if (!r->client)
        return fail_left(L);
    if (r->streaming)
        return luaL_error(L, "this request is a stream already");
    if (!control_stream_start(r->client, status, type)) {
        struct err err;
        err_set(&err, ERR_THROTTLED, "%d clients follow something already: end one of them", CONTROL_STREAMS);
        lua_pushfstring(L, "%s\n", err.text);
        answer(r, &(struct control_reply){.status = 503, .body = bytes_of(lua_tostring(L, -1))});
        return bind_fail(L, &err);
    }
    r->streaming = true;
    lua_settop(L, 1);
    return 1;
}

static int send_more(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct request *r = luaL_checkudata(L, 1, REQUEST);
    size_t length;
    const char *text = lua_tolstring(L, 2, &length);
    while (r->client && r->sent < length) {
        size_t piece = length - r->sent < CONTROL_PIECE ? length - r->sent : CONTROL_PIECE;
        if (!control_stream_send(r->client, (struct bytes){text + r->sent, piece})) {
            wait_reset(&r->wait);
            return task_await(L, &r->wait, send_more);
        }
        r->sent += piece;
    }
    if (!r->client)
        return fail_left(L);
    lua_pushboolean(L, true);
    return 1;
}

/* request:send(text) -> true | nil, err (the client left) */
static int request_send(lua_State *L)
{
    struct request *r = check_open(L);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    if (!r->streaming)
        return luaL_error(L, "request:stream() comes before request:send()");
    r->sent = 0;
    return send_more(L, LUA_OK, 0);
}

/* request:header(name) -> value of the first | nil, how many there are */
static int request_header(lua_State *L)
{
    struct request *r = check_open(L);
    const char *name = luaL_checkstring(L, 2);
    struct bytes value = {0};
    int count = r->client ? http_header(control_request(r->client), name, &value) : 0;
    if (count)
        lua_pushlstring(L, value.length ? value.data : "", value.length);
    else
        lua_pushnil(L);
    lua_pushinteger(L, count);
    return 2;
}

/* request.method ...: the fields, else the methods (upvalue 1) */
static int request_index(lua_State *L)
{
    luaL_checkudata(L, 1, REQUEST);
    lua_getiuservalue(L, 1, FIELDS);
    lua_pushvalue(L, 2);
    if (lua_istable(L, -2) && lua_rawget(L, -2) != LUA_TNIL)
        return 1;
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

/* Stack: handler, request, then what the handler returned. */
static int handled(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct request *r = luaL_checkudata(L, 2, REQUEST);
    if (!r->client || r->streaming)
        return 0; /* __close ends the stream */
    struct control_reply reply = {.status = 500};
    size_t length = 0;
    if (lua_isnil(L, 3)) { /* nil, err */
        const char *text = luaL_tolstring(L, 4, &length);
        reply.body = (struct bytes){text, length};
    } else {
        if (!lua_isinteger(L, 3) || lua_tointeger(L, 3) < 200 || lua_tointeger(L, 3) > 599)
            return luaL_error(L, "a handler must return a status from 200 to 599, this one returned %s", luaL_tolstring(L, 3, NULL));
        reply.status = (int)lua_tointeger(L, 3);
        const char *text = luaL_optlstring(L, 4, "", &length);
        reply.body = (struct bytes){text, length};
        reply.content_type = luaL_optstring(L, 5, NULL);
        reply.allow = luaL_optstring(L, 6, NULL);
        check_header(L, reply.content_type);
        check_header(L, reply.allow);
    }
    answer(r, &reply);
    return 0;
}

/* The task of one request: (handler, request) */
static int handle(lua_State *L)
{
    struct request *r = luaL_checkudata(L, 2, REQUEST);
    lua_settop(L, 2);
    lua_toclose(L, 2);
    if (!r->client)
        return 0;
    push_fields(L, control_request(r->client));
    lua_setiuservalue(L, 2, FIELDS);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_callk(L, 1, 4, 0, handled);
    return handled(L, LUA_OK, 0);
}

/* --- the server --- */

static int server_close(lua_State *L)
{
    struct server *s = luaL_checkudata(L, 1, SERVER);
    control_free(s->control);
    s->control = NULL;
    wait_finish(&s->wait);
    return 0;
}

/* A request leaves a few KiB of garbage, and Lua by itself collects only when the heap has doubled. A health check every ten
 * seconds, for years, shall not cost that half of the memory; a collection takes about a millisecond. */
static void collect_after_requests(lua_State *L)
{
    static int collected_kib;
    if (lua_gc(L, LUA_GCCOUNT) < collected_kib + GROWTH_KIB)
        return;
    lua_gc(L, LUA_GCCOLLECT);
    collected_kib = lua_gc(L, LUA_GCCOUNT);
}

/* (server): takes one request and starts its task. Protected, so that a moment without memory costs a request, not the socket. */
static int start_handler(lua_State *L)
{
    struct server *s = luaL_checkudata(L, 1, SERVER);
    collect_after_requests(L);
    lua_pushcfunction(L, handle);
    lua_getiuservalue(L, 1, 1);
    struct request *r = lua_newuserdatauv(L, sizeof *r, 2);
    memset(r, 0, sizeof *r);
    luaL_setmetatable(L, REQUEST);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, OF_SERVER);
    r->server = s;
    r->client = control_take(s->control);
    control_set_data(r->client, r);

    const struct http_request *http = control_request(r->client);
    char name[48];
    if (control_port(s->control)) /* a path there may be a secret, and this name is for the log */
        snprintf(name, sizeof name, "%s", s->name);
    else
        snprintf(name, sizeof name, "%.*s %.*s", (int)http->method.length, http->method.data, (int)http->path.length, http->path.data);
    r->task = task_start(L, 2, name);
    return 0;
}

/* The accepting task; stack: server. */
static int attend(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct server *s = luaL_checkudata(L, 1, SERVER);
    do {
        wait_reset(&s->wait);
        while (s->departed) {
            struct request *r = s->departed;
            forget_departed(r);
            if (r->task)
                task_cancel(L, r->task);
        }
        while (s->control && control_has_arrived(s->control)) {
            lua_pushcfunction(L, start_handler);
            lua_pushvalue(L, 1);
            if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
                log_error("%s: a request was not taken: %s", s->name, lua_tostring(L, -1));
                lua_pop(L, 1);
                break;
            }
        }
    } while (s->wait.done && s->control);
    if (!s->control)
        return 0;
    return task_await(L, &s->wait, attend);
}

static int accept_requests(lua_State *L)
{
    lua_toclose(L, 1);
    return attend(L, LUA_OK, 0);
}

static struct control_place place_of(lua_State *L, int index)
{
    struct control_place place = {0};
    if (!lua_istable(L, index)) {
        place.path = luaL_checkstring(L, index);
        return place;
    }
    double port = bind_field_number(L, index, "port", 0), clients = bind_field_number(L, index, "clients", 0);
    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, index, "port must be from 0 to 65535");
    luaL_argcheck(L, clients >= 0 && clients <= MOST_CLIENTS, index, "clients must be from 1 to 4096");
    place.port = (uint16_t)port;
    place.address = bind_field_string(L, index, "address", NULL);
    place.clients = (int)clients;
    place.idle_ms = bind_field_ms(L, index, "idle", 0);
    place.without_bodies = true;
    return place;
}

/* control.serve(path | place, handler) -> server | nil, err */
static int serve(lua_State *L)
{
    struct control_place place = place_of(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct loop *loop = bind_loop(L);
    const char *name = lua_istable(L, 1) ? bind_field_string(L, 1, "name", "HTTP server") : "control socket";
    struct server *s = lua_newuserdatauv(L, sizeof *s, 1);
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    place.name = s->name;
    luaL_setmetatable(L, SERVER);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);

    const struct control_handler handler = {.arrived = arrived, .left = left, .room = room, .argument = s};
    struct err err;
    s->control = control_open(loop, &place, &handler, &err);
    if (!s->control)
        return bind_fail(L, &err);
    lua_pushcfunction(L, accept_requests);
    lua_pushvalue(L, -2);
    task_start(L, 1, s->name);
    lua_pop(L, 1);
    return 1;
}

/* server:port() -> number | nil: a unix socket, or closed */
static int server_port(lua_State *L)
{
    const struct server *s = luaL_checkudata(L, 1, SERVER);
    uint16_t port = s->control ? control_port(s->control) : 0;
    if (!port)
        return 0;
    lua_pushinteger(L, port);
    return 1;
}

static int server_clients(lua_State *L)
{
    const struct server *s = luaL_checkudata(L, 1, SERVER);
    lua_pushinteger(L, s->control ? control_client_count(s->control) : 0);
    return 1;
}

int luaopen_appliance_core_control(lua_State *L);

int luaopen_appliance_core_control(lua_State *L)
{
    static const luaL_Reg functions[] = {{"serve", serve}, {NULL, NULL}};
    static const luaL_Reg server_methods[] = {{"close", server_close}, {"clients", server_clients}, {"port", server_port}, {NULL, NULL}};
    static const luaL_Reg request_methods[] = {
        {"stream", request_stream}, {"send", request_send}, {"header", request_header}, {NULL, NULL}};
    bind_type(L, SERVER, server_close, server_methods);
    bind_type(L, REQUEST, request_close, NULL);
    luaL_getmetatable(L, REQUEST);
    luaL_newlib(L, request_methods);
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
