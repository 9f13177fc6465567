/* appliance.native.aws.request - signed requests to AWS that wait as tasks do, by the engine of aws_request.h; lua/appliance/aws.lua wraps it.
 *
 *   send(spec) -> { status, headers (names in lower case), body, attempts, request_id, region, verified, url } | nil, err
 *   err: kind, code (HTTP status), text, name ("NoSuchKey", or why there was no answer), request_id, attempts
 *   settings() -> { region, attempts, ca_file, profile, checksum_requests, ... } | nil, err
 *
 * Fields of a spec: service ("s3"), method ("GET"), bucket, key (S3) or path; query ({ name = value } or { { name, value }, ... },
 * numbers are fine), headers ({ name = value or list }); body (a string), or fd, offset and length (bytes of a file); region, role (ARN),
 * endpoint (URL), path_style (boolean), anonymous, request_payer, keys ({ access_key_id, secret_access_key, session_token }), ca_file,
 * no_proxy, dualstack, fips; checksum (false, or a name such as "SHA256"), checksum_needed, may_fail_in_200, no_retry, expect_continue,
 * subject; ceiling (bytes of the answer, 1 MiB); in seconds: timeout (of all tries; none), connect_timeout, first_byte_timeout,
 * stall_timeout; presign (seconds): nothing is sent, and the answer is { url = }. */
#include "appliance/aws_shared.h"
#include "appliance/bind.h"

#include "aws_given.h"
#include "aws_push.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST "appliance.aws.request"

enum { SPEC = AWS_GIVEN_SPEC, PINS = AWS_GIVEN_PINS, QUERY = 3, OP = 4 };

struct send {
    struct aws_request request;
    struct wait wait;
    struct aws_given given;
    struct aws_pair query[];
};

static void done(struct aws_request *request)
{
    wait_finish(&((struct send *)(void *)((char *)request - offsetof(struct send, request)))->wait);
}

static int send_close(lua_State *L)
{
    struct send *s = luaL_checkudata(L, 1, REQUEST);
    aws_request_stop(&s->request);
    aws_given_free(&s->given);
    return 0;
}

/* --- the query --- */

/* Pushes field `query` of the spec, which may be nil; how many pairs it has. */
static int push_query(lua_State *L)
{
    int count = 0, kind = lua_getfield(L, SPEC, "query");
    if (kind == LUA_TNIL)
        return 0;
    luaL_argexpected(L, kind == LUA_TTABLE, SPEC, "table with a table of query parameters");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        count++;
    if (count > SIGV4_PAIRS_LIMIT)
        luaL_error(L, "query: more than %d parameters", SIGV4_PAIRS_LIMIT);
    return count;
}

static struct bytes query_text(lua_State *L, const char *what)
{
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_pushstring(L, lua_tostring(L, -1)); /* on a copy: a converted key would confuse lua_next */
        lua_remove(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "query: %s must be a string or a number, not %s", what, luaL_typename(L, -1));
    return aws_pin(L);
}

/* `room`: as many as push_query has counted; a metamethod of one of its pairs may add others meanwhile. */
static void read_query(lua_State *L, struct send *s, int room)
{
    for (lua_pushnil(L); lua_next(L, QUERY);) {
        if (room-- == 0)
            luaL_error(L, "query: it was changed while it was read");
        struct aws_pair *pair = &s->query[s->given.spec.query_count++];
        if (lua_type(L, -2) == LUA_TNUMBER) { /* { name, value } */
            if (lua_type(L, -1) != LUA_TTABLE)
                luaL_error(L, "query: a list holds { name, value }");
            lua_geti(L, -1, 1);
            pair->name = query_text(L, "a name");
            lua_geti(L, -1, 2);
            pair->value = query_text(L, pair->name.data);
            lua_pop(L, 1);
        } else {
            lua_pushvalue(L, -2);
            pair->name = query_text(L, "a name");
            pair->value = query_text(L, pair->name.data);
        }
    }
}

static void read_body(lua_State *L, struct aws_spec *spec)
{
    double fd = bind_field_number(L, SPEC, "fd", -1);
    if (bind_field_string(L, SPEC, "body", NULL)) {
        struct bytes body = aws_bytes_field(L, SPEC, "body");
        spec->body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = body.data, .length = (int64_t)body.length};
    } else if (fd >= 0) {
        spec->body = (struct aws_body){.kind = HTTP_FROM_FILE,
                                       .fd = (int)fd,
                                       .offset = (int64_t)bind_field_number(L, SPEC, "offset", 0),
                                       .length = (int64_t)bind_field_number(L, SPEC, "length", 0)};
    }
}

/* --- the answer --- */

static void push_common(lua_State *L, const struct aws_request *r)
{
    aws_push_text(L, "request_id", r->request_id);
    aws_push_text(L, "region", r->region);
    lua_pushinteger(L, r->attempts);
    lua_setfield(L, -2, "attempts");
}

static int sent(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct send *s = luaL_checkudata(L, OP, REQUEST);
    const struct aws_request *r = &s->request;
    const struct http_fetch *fetch = &r->fetch;
    if (!r->ok) {
        bind_fail(L, &r->err);
        aws_push_text(L, "name", r->name);
        push_common(L, r);
        return 2;
    }
    lua_createtable(L, 0, 8);
    push_common(L, r);
    lua_pushlstring(L, fetch->body.data ? fetch->body.data : "", fetch->body.length);
    lua_setfield(L, -2, s->given.spec.presign_s ? "url" : "body");
    if (s->given.spec.presign_s)
        return 1;
    lua_pushinteger(L, fetch->status);
    lua_setfield(L, -2, "status");
    aws_push_headers(L, &fetch->headers);
    lua_setfield(L, -2, "headers");
    aws_push_text(L, "verified", aws_checksum_name(r->verified));
    return 1;
}

static int send(lua_State *L)
{
    struct err err;
    luaL_checktype(L, SPEC, LUA_TTABLE);
    bind_loop(L);
    lua_settop(L, SPEC);
    lua_newtable(L); /* PINS */
    int count = push_query(L);
    struct send *s = bind_op(L, sizeof *s + (size_t)count * sizeof s->query[0], REQUEST);
    aws_given_init(&s->given);
    lua_pushvalue(L, PINS);
    lua_setiuservalue(L, -2, 1);
    if (count)
        read_query(L, s, count);
    struct aws_spec *spec = &s->given.spec;
    aws_given_read(L, &s->given);
    spec->query = s->query;
    read_body(L, spec);
    struct aws_client *client = aws_shared_client(&err);
    if (!client || !aws_request_start(&s->request, client, spec, done, &err))
        return bind_fail(L, &err);
    return task_await(L, &s->wait, sent);
}

/* --- settings --- */

static int settings(lua_State *L)
{
    struct err err;
    bind_loop(L);
    struct aws_client *client = aws_shared_client(&err);
    if (!client)
        return bind_fail(L, &err);
    const struct aws_settings *s = aws_client_settings(client);
    lua_createtable(L, 0, 12);
    aws_push_text(L, "region", s->region);
    aws_push_text(L, "ca_file", s->ca_file);
    aws_push_text(L, "profile", s->profile);
    lua_pushinteger(L, s->attempts);
    lua_setfield(L, -2, "attempts");
    lua_pushboolean(L, s->checksum_requests);
    lua_setfield(L, -2, "checksum_requests");
    lua_pushboolean(L, s->checksum_answers);
    lua_setfield(L, -2, "checksum_answers");
    lua_createtable(L, 0, s->endpoint_count);
    for (int i = s->endpoint_count - 1; i >= 0; i--) { /* those that go before others last, so that they stay */
        lua_pushstring(L, s->endpoints[i].from);
        lua_setfield(L, -2, s->endpoints[i].service ? s->endpoints[i].service : "*");
    }
    lua_setfield(L, -2, "endpoints");
    return 1;
}

/* request.check_endpoint(url) -> true | nil, err: may this be the endpoint of a request? For what people type: send raises. */
static int check_endpoint(lua_State *L)
{
    struct err err;
    struct aws_endpoint endpoint;
    struct bytes url;
    url.data = luaL_checklstring(L, 1, &url.length);
    if (!aws_endpoint_read(url, &endpoint, &err))
        return bind_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

int aws_open_request(lua_State *L);
int aws_open_request(lua_State *L)
{
    static const luaL_Reg functions[] = {{"send", send}, {"settings", settings}, {"check_endpoint", check_endpoint}, {NULL, NULL}};
    bind_type(L, REQUEST, send_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
