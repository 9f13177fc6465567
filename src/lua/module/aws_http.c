/* appliance.http - HTTP(S) requests that wait as tasks do. Through libcurl; for a unix socket or a health check there is appliance.core.http.
 *
 *   local http = require "appliance.http"
 *   local answer, err = http.request { url = "https://example.org/x?y=1", timeout = 10 }
 *   answer.status, answer.headers["content-type"] (names in lower case), answer.body; answer.address, answer.seconds, answer.reused
 *   err.failure: why there is no answer, one word of http_failure_name (http.h); err.transient: worth another try
 *
 * Fields: method ("GET"), url (sent as it is), headers ({ name = value or list of values }), body (a string); to: the path of a file that is
 * made anew (mode 0600) and takes the body of a 2xx instead of answer.body; answer.size says how long it is. After a failure a part of the
 * body may lie there: it is the caller's to remove. Written to the page cache as it comes; see appliance.native.aws.digest for what follows.
 * in seconds: timeout (of all, default 60), connect_timeout (5), first_byte_timeout (30), stall_timeout (30, slower than stall_rate
 * bytes per second, 1); ceiling (bytes of the answer, 1 MiB; with `to` no limit), ca_file, no_proxy, fresh, expect_continue. */
#include "appliance/bind.h"
#include "appliance/http.h"

#include "aws_push.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST  "appliance.http.request"
#define HEADERS  "appliance.http.headers"
#define SHUTDOWN "appliance.http.shutdown"

enum { HEADERS_CEILING = 64 * 1024, CEILING_LIMIT = 256 * 1024 * 1024 };
#define NO_LIMIT 0x1p62

struct request {
    struct http_fetch fetch;
    struct wait wait;
    struct sink {
        int fd;           /* valid when `path` is set */
        const char *path; /* NULL: the body is kept in memory. Lives on the stack of the call */
        int64_t ceiling, size;
        bool is_full, is_broken; /* why the body was stopped: above the ceiling, or `broken` */
        int broken;              /* errno */
    } sink;
};

static struct request *request_of(struct http_fetch *fetch)
{
    return (struct request *)(void *)((char *)fetch - offsetof(struct request, fetch));
}

static void done(struct http_fetch *fetch)
{
    wait_finish(&request_of(fetch)->wait);
}

static void sink_close(struct sink *sink)
{
    if (sink->path)
        close(sink->fd);
    sink->path = NULL;
}

static int request_close(lua_State *L)
{
    struct request *r = luaL_checkudata(L, 1, REQUEST);
    http_fetch_stop(&r->fetch);
    sink_close(&r->sink);
    return 0;
}

static bool sink_open(struct sink *sink, const char *path, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, "create %s", path);
    *sink = (struct sink){.fd = fd, .path = path, .ceiling = sink->ceiling};
    return true;
}

static ssize_t push(struct http_fetch *fetch, const char *data, size_t length)
{
    struct sink *sink = &request_of(fetch)->sink;
    if (sink->ceiling - sink->size < (int64_t)length || fetch->length > sink->ceiling) {
        sink->is_full = true;
        return HTTP_STOP;
    }
    for (size_t at = 0; at < length;) {
        ssize_t count = write(sink->fd, data + at, length - at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            sink->is_broken = true;
            sink->broken = count < 0 ? errno : EIO;
            return HTTP_STOP;
        }
        at += (size_t)count;
    }
    sink->size += (int64_t)length;
    return (ssize_t)length;
}

static int headers_close(lua_State *L)
{
    headers_free(luaL_checkudata(L, 1, HEADERS));
    return 0;
}

/* The loop goes away with Lua, and what libcurl keeps open would outlive it. */
static int shutdown_close(lua_State *L)
{
    (void)L;
    http_shutdown();
    return 0;
}

static struct http_spec check_spec(lua_State *L, struct sink *sink)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct http_spec spec = HTTP_SPEC_DEFAULT;
    spec.method = bind_field_string(L, 1, "method", spec.method);
    spec.url = bind_field_string(L, 1, "url", NULL);
    if (!spec.url)
        luaL_error(L, "url: a string is needed");
    spec.deadline_ms = bind_field_ms(L, 1, "timeout", 60);
    spec.connect_ms = bind_field_ms(L, 1, "connect_timeout", 5);
    spec.first_byte_ms = bind_field_ms(L, 1, "first_byte_timeout", 30);
    spec.stall_ms = bind_field_ms(L, 1, "stall_timeout", 30);
    spec.stall_bytes = (int64_t)bind_field_number(L, 1, "stall_rate", 1);
    spec.ca_file = bind_field_string(L, 1, "ca_file", NULL);
    spec.no_proxy = bind_field_boolean(L, 1, "no_proxy", false);
    spec.fresh = bind_field_boolean(L, 1, "fresh", false);
    spec.expect_continue = bind_field_boolean(L, 1, "expect_continue", false);
    bool to_file = bind_field_string(L, 1, "to", NULL) != NULL;
    double ceiling = bind_field_number(L, 1, "ceiling", to_file ? NO_LIMIT : (double)spec.ceiling);
    if (!(ceiling >= 0 && ceiling <= (to_file ? NO_LIMIT : CEILING_LIMIT)))
        luaL_error(L, to_file ? "ceiling: a number of bytes" : "ceiling: 0 to 256 MiB");
    sink->ceiling = (int64_t)ceiling;
    if (to_file)
        spec.push = push;
    else
        spec.ceiling = (size_t)ceiling;
    if (bind_field_string(L, 1, "body", NULL)) {
        size_t length;
        lua_getfield(L, 1, "body");
        spec.body.kind = HTTP_FROM_MEMORY;
        spec.body.data = lua_tolstring(L, -1, &length);
        spec.body.length = (int64_t)length;
        lua_pop(L, 1); /* request pins the string itself: the table may change while we wait */
    }
    return spec;
}

/* Whoever stopped the body knows better why than the request does. */
static struct err why_it_failed(const struct request *r)
{
    struct err err = r->fetch.err;
    if (r->sink.is_full)
        err_set(&err, ERR_INVALID, "the answer is larger than the %lld bytes it may have", (long long)r->sink.ceiling);
    if (r->sink.is_broken) {
        errno = r->sink.broken;
        err_errno(&err, "write %s", r->sink.path);
    }
    return err;
}

/* Stack: options, headers, request. */
static int request_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct request *r = luaL_checkudata(L, 3, REQUEST);
    const struct http_fetch *fetch = &r->fetch;
    if (fetch->failure) {
        struct err err = why_it_failed(r);
        bind_fail(L, &err);
        lua_pushstring(L, http_failure_name(fetch->failure));
        lua_setfield(L, -2, "failure");
        lua_pushboolean(L, http_failure_is_transient(fetch->failure));
        lua_setfield(L, -2, "transient");
        return 2;
    }
    lua_createtable(L, 0, 7);
    if (r->sink.path) {
        lua_pushinteger(L, r->sink.size);
        lua_setfield(L, -2, "size");
    }
    lua_pushinteger(L, fetch->status);
    lua_setfield(L, -2, "status");
    aws_push_headers(L, &fetch->headers);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, fetch->body.data ? fetch->body.data : "", fetch->body.length);
    lua_setfield(L, -2, "body");
    lua_pushstring(L, fetch->address);
    lua_setfield(L, -2, "address");
    lua_pushnumber(L, (lua_Number)fetch->total_ns / 1e9);
    lua_setfield(L, -2, "seconds");
    lua_pushboolean(L, fetch->reused);
    lua_setfield(L, -2, "reused");
    return 1;
}

static int request(lua_State *L)
{
    struct sink sink = {0};
    struct http_spec spec = check_spec(L, &sink);
    struct loop *loop = bind_loop(L);
    lua_settop(L, 1);
    struct headers *headers = bind_op(L, sizeof *headers, HEADERS);
    headers_init(headers, HEADERS_CEILING);
    aws_check_headers(L, 1, headers);
    struct request *r = bind_op(L, sizeof *r, REQUEST);
    lua_getfield(L, 1, "body");
    lua_setiuservalue(L, 3, 1);
    spec.headers = headers;
    struct err err;
    r->sink.ceiling = sink.ceiling;
    lua_getfield(L, 1, "to"); /* stays on the stack: the table may change while we wait */
    if (spec.push && !sink_open(&r->sink, lua_tostring(L, 4), &err))
        return bind_fail(L, &err);
    if (!http_fetch_start(&r->fetch, loop, &spec, done, &err))
        return bind_fail(L, &err);
    return task_await(L, &r->wait, request_ended);
}

int aws_open_http(lua_State *L);
int aws_open_http(lua_State *L)
{
    static const luaL_Reg functions[] = {{"request", request}, {NULL, NULL}};
    bind_type(L, REQUEST, request_close, NULL);
    bind_type(L, HEADERS, headers_close, NULL);
    bind_type(L, SHUTDOWN, shutdown_close, NULL);
    luaL_newlib(L, functions);
    aws_guard(L, SHUTDOWN);
    return 1;
}
