/* appliance.native.aws.transfer - whole objects of S3 from and to files, descriptors and memory, in parts at a time (s3_get.h, s3_put.h); they
 * wait as tasks do. lua/appliance/s3.lua wraps it.
 *
 *   get(spec) -> { status, headers (names in lower case), size (of the object), received, body (only without `to` and `fd`), verified, checksum
 *                  ("crc64nvme:..."), attempts, request_id } | nil, err
 *   put(spec) -> { etag, version, size, parts, checksum, attempts, request_id } | nil, err
 *   settle(seconds) -> whether all uploads that were stopped are aborted by now; waits for that
 *   err: kind, code (HTTP status; errno of a file), text, name ("NoSuchKey", or why there was no answer), request_id, attempts
 *
 * Fields of both: those of appliance.native.aws.request (aws_request.c) but query, body and presign; timeout (seconds) is for the whole
 * transfer; jobs (connections at most), part (bytes), progress (function(done, total or nil), called five times a second and at the end;
 * it must not wait).
 * Of get: version; to (path), fd (open descriptor) or neither: then into memory, up to ceiling bytes; range ({ first, last }, { first } or { -n }), or
 * as a header Range; durable (synced before the file appears), keep_time (the file gets the object's), mode; checksum = false: unchecked.
 * Of put: from (path), fd (open descriptor: a file from where it stands, else to its end) or text; expected (bytes that a pipe will bring). */
#include "appliance/aws_shared.h"
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "appliance/s3_get.h"
#include "appliance/s3_parts.h"
#include "appliance/s3_put.h"

#include "aws_given.h"
#include "aws_push.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GET    "appliance.s3.get"
#define PUT    "appliance.s3.put"
#define SETTLE "appliance.s3.settle"

enum { SPEC = AWS_GIVEN_SPEC, PINS = AWS_GIVEN_PINS, OP = 3, PROGRESS_MS = 200, SETTLE_MS = 20 };
#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* --- what get and put have in common --- */

struct watched {
    struct wait wait;
    struct timer tick, limit;
    struct loop *loop;
    bool over, late, told;
    int64_t limit_ms;
};

static void on_tick(struct timer *timer)
{
    wait_finish(&OWNER(timer, struct watched, tick)->wait);
}

static void on_limit(struct timer *timer)
{
    struct watched *w = OWNER(timer, struct watched, limit);
    w->late = true;
    wait_finish(&w->wait);
}

static void watch(struct watched *w, struct loop *loop, int64_t limit_ms, bool told)
{
    w->loop = loop;
    w->told = told;
    w->limit_ms = limit_ms;
    if (limit_ms)
        timer_start(&w->limit, loop, limit_ms, on_limit);
    if (told)
        timer_start(&w->tick, loop, PROGRESS_MS, on_tick);
}

static void unwatch(struct watched *w)
{
    timer_stop(&w->tick);
    timer_stop(&w->limit);
}

/* Calls progress(done, total); it may raise, and then the transfer is closed as by any other error. */
static void tell(lua_State *L, struct watched *w, int64_t done, int64_t total)
{
    if (!w->told)
        return;
    lua_getfield(L, PINS, "progress");
    lua_pushinteger(L, done);
    if (total >= 0)
        lua_pushinteger(L, total);
    else
        lua_pushnil(L);
    lua_call(L, 2, 0);
}

/* True: it is over. Otherwise another wait has been prepared. */
static bool is_over(struct watched *w)
{
    if (w->over || w->late) {
        unwatch(w);
        return true;
    }
    wait_reset(&w->wait);
    timer_start(&w->tick, w->loop, PROGRESS_MS, on_tick);
    return false;
}

static int64_t integer_field(lua_State *L, const char *name, int64_t least, int64_t most)
{
    double value = bind_field_number(L, SPEC, name, 0);
    if (value != 0 && !(value >= (double)least && value <= (double)most))
        luaL_error(L, "%s: %f is not within %f and %f", name, value, (double)least, (double)most);
    return (int64_t)value;
}

/* The spec is at SPEC and nothing else on the stack; leaves the pins at PINS. */
static bool begin(lua_State *L)
{
    luaL_checktype(L, SPEC, LUA_TTABLE);
    bind_loop(L);
    lua_settop(L, SPEC);
    lua_newtable(L); /* PINS */
    bool told = lua_getfield(L, SPEC, "progress") != LUA_TNIL;
    if (told && lua_type(L, -1) != LUA_TFUNCTION)
        luaL_error(L, "progress: a function expected, got %s", luaL_typename(L, -1));
    lua_setfield(L, PINS, "progress");
    return told;
}

static void read_given(lua_State *L, struct aws_given *given)
{
    aws_given_init(given);
    lua_pushvalue(L, PINS);
    lua_setiuservalue(L, OP, 1);
    aws_given_read(L, given);
    given->spec.deadline_ms = 0; /* that of the whole is ours */
    given->spec.presign_s = 0;
}

static void set_integer(lua_State *L, const char *name, int64_t value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void set_checksum(lua_State *L, enum aws_checksum_kind kind, const char *text)
{
    if (kind == AWS_CHECKSUM_NONE || !*text)
        return;
    lua_pushfstring(L, "%s:%s", aws_checksum_header(kind) + strlen("x-amz-checksum-"), text);
    lua_setfield(L, -2, "checksum");
}

static int fail(lua_State *L, const struct err *err, const char *name, const char *request_id, int attempts)
{
    bind_fail(L, err);
    aws_push_text(L, "name", name);
    aws_push_text(L, "request_id", request_id);
    set_integer(L, "attempts", attempts);
    return 2;
}

static int fail_late(lua_State *L, const struct watched *w, const struct aws_spec *spec, int64_t done)
{
    struct err err;
    char bucket[64], key[100];
    err_set(&err, ERR_TIMEOUT, "s3://%s/%s: not done within %g s (%" PRId64 " bytes are)", bytes_shown(spec->bucket, bucket, sizeof bucket),
            bytes_shown(spec->key, key, sizeof key), (double)w->limit_ms / 1000, done);
    return fail(L, &err, "deadline", "", 0);
}

/* --- get --- */

struct got {
    struct watched watched;
    struct s3_get get;
    struct s3_get_spec spec;
    struct aws_given given;
};

static int get_close(lua_State *L)
{
    struct got *op = luaL_checkudata(L, 1, GET);
    unwatch(&op->watched);
    s3_get_stop(&op->get);
    aws_given_free(&op->given);
    return 0;
}

static void on_got(struct s3_get *get)
{
    struct got *op = OWNER(get, struct got, get);
    op->watched.over = true;
    wait_finish(&op->watched.wait);
}

/* range = { first, last }, { first } or { -n }; or the header Range, which says the same. */
static void read_range(lua_State *L, struct got *op)
{
    struct s3_get_spec *spec = &op->spec;
    const char *header = headers_find(&op->given.headers, "Range");
    int used = 0;
    int64_t first = 0, last = -1;
    if (header && sscanf(header, "bytes=%" SCNd64 "-%n", &first, &used) == 1 && used && first >= 0) {
        if (header[used] && sscanf(header + used, "%" SCNd64, &last) != 1)
            luaL_error(L, "headers: Range: \"%s\" is none: bytes=FIRST-LAST", header);
    } else if (header && sscanf(header, "bytes=-%" SCNd64, &last) == 1 && last > 0) {
        spec->last = last;
    } else if (header) {
        luaL_error(L, "headers: Range: \"%s\" is none: bytes=FIRST-LAST", header);
    }
    if (header && !spec->last) {
        spec->start = first;
        spec->end = last < 0 ? 0 : last < INT64_MAX ? last + 1 : INT64_MAX;
    }
    headers_remove(&op->given.headers, "Range");
    if (lua_getfield(L, SPEC, "range") == LUA_TTABLE) {
        bool has_last = lua_geti(L, -1, 2) != LUA_TNIL;
        lua_geti(L, -2, 1);
        first = luaL_checkinteger(L, -1);
        last = has_last ? luaL_checkinteger(L, -2) : -1;
        spec->last = first < 0 && !has_last ? -first : 0;
        spec->start = spec->last ? 0 : first;
        spec->end = has_last ? last + 1 : 0;
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

static void read_get(lua_State *L, struct got *op)
{
    struct s3_get_spec *spec = &op->spec;
    read_given(L, &op->given);
    spec->request = op->given.spec;
    spec->version = aws_bytes_field(L, SPEC, "version");
    spec->path = aws_text_field(L, SPEC, "to", NULL);
    spec->to = spec->path ? S3_TO_FILE : S3_TO_MEMORY;
    if (!spec->path && lua_getfield(L, SPEC, "fd") != LUA_TNIL) {
        spec->to = S3_TO_DESCRIPTOR;
        spec->fd = (int)luaL_checkinteger(L, -1);
    }
    spec->ceiling = op->given.spec.ceiling;
    spec->mode = (mode_t)integer_field(L, "mode", 1, 07777);
    spec->durable = bind_field_boolean(L, SPEC, "durable", false);
    spec->keep_time = bind_field_boolean(L, SPEC, "keep_time", false);
    spec->part = integer_field(L, "part", 1, S3_OBJECT_MOST);
    spec->connections = (int)integer_field(L, "jobs", 1, HTTP_CONNECTIONS);
    spec->unchecked = op->given.spec.flags & AWS_CHECKSUM_OFF;
    read_range(L, op);
}

static int get_goes_on(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct got *op = luaL_checkudata(L, OP, GET);
    struct s3_get *get = &op->get;
    if (!is_over(&op->watched)) {
        tell(L, &op->watched, get->received, get->length);
        return task_await(L, &op->watched.wait, get_goes_on);
    }
    if (!op->watched.over)
        return fail_late(L, &op->watched, &op->spec.request, get->received);
    if (!get->ok)
        return fail(L, &get->err, get->name, get->request_id, get->requests);
    tell(L, &op->watched, get->received, get->length);
    lua_createtable(L, 0, 9);
    set_integer(L, "status", get->status);
    set_integer(L, "size", get->size);
    set_integer(L, "received", get->received);
    set_integer(L, "attempts", get->requests);
    aws_push_text(L, "request_id", get->request_id);
    if (get->verified != AWS_CHECKSUM_NONE)
        aws_push_text(L, "verified", aws_checksum_name(get->verified));
    set_checksum(L, get->verified, get->checksum);
    aws_push_headers(L, &get->headers);
    lua_setfield(L, -2, "headers");
    if (op->spec.to == S3_TO_MEMORY) {
        lua_pushlstring(L, get->body.data ? get->body.data : "", get->body.length);
        lua_setfield(L, -2, "body");
    }
    return 1;
}

static int transfer_get(lua_State *L)
{
    struct err err;
    bool told = begin(L);
    struct got *op = bind_op(L, sizeof *op, GET);
    read_get(L, op);
    int64_t limit_ms = bind_field_ms(L, SPEC, "timeout", 0);
    struct aws_client *client = aws_shared_client(&err);
    if (!client || !s3_get_start(&op->get, bind_loop(L), client, &op->spec, on_got, &err))
        return bind_fail(L, &err);
    watch(&op->watched, bind_loop(L), limit_ms, told);
    return task_await(L, &op->watched.wait, get_goes_on);
}

/* --- put --- */

struct putting {
    struct watched watched;
    struct s3_put put;
    struct s3_put_spec spec;
    struct aws_given given;
    int opened; /* of our own, and one more: 0 is none */
};

static int put_close(lua_State *L)
{
    struct putting *op = luaL_checkudata(L, 1, PUT);
    unwatch(&op->watched);
    s3_put_stop(&op->put);
    aws_given_free(&op->given);
    if (op->opened)
        close(op->opened - 1);
    op->opened = 0;
    return 0;
}

static void on_put(struct s3_put *put)
{
    struct putting *op = OWNER(put, struct putting, put);
    op->watched.over = true;
    wait_finish(&op->watched.wait);
}

static void read_put(lua_State *L, struct putting *op)
{
    struct s3_put_spec *spec = &op->spec;
    read_given(L, &op->given);
    spec->request = op->given.spec;
    spec->part = integer_field(L, "part", S3_PART_LEAST, S3_PART_MOST);
    spec->connections = (int)integer_field(L, "jobs", 1, HTTP_CONNECTIONS);
    spec->expected = integer_field(L, "expected", 0, S3_OBJECT_MOST);
    spec->name = aws_text_field(L, SPEC, "from", NULL);
    spec->from = S3_FROM_FILE; /* or a pipe, which shows when it is open */
    spec->fd = -1;
    spec->from = S3_FROM_PIPE;
    if (bind_field_string(L, SPEC, "text", NULL)) {
        struct bytes text = aws_bytes_field(L, SPEC, "text");
        spec->from = S3_FROM_MEMORY;
        spec->data = text.data;
        spec->length = (int64_t)text.length;
    } else if (!spec->name) {
        if (lua_getfield(L, SPEC, "fd") != LUA_TNUMBER)
            luaL_error(L, "from (a path), fd or text is needed");
        spec->fd = (int)luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
}

/* A file is read by its length, anything else to its end; so are files that claim to be empty, as those of /proc do. */
static bool open_source(struct putting *op, struct err *err)
{
    struct s3_put_spec *spec = &op->spec;
    struct stat status;
    if (spec->name && spec->from != S3_FROM_MEMORY) {
        spec->fd = open(spec->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (spec->fd < 0)
            return err_errno(err, "%s", spec->name);
        op->opened = spec->fd + 1;
    }
    if (spec->fd < 0)
        return true;
    if (fstat(spec->fd, &status) < 0)
        return err_errno(err, "descriptor %d", spec->fd);
    if (S_ISDIR(status.st_mode))
        return err_set(err, ERR_INVALID, "%s: is a directory: name a file in it", spec->name ? spec->name : "the descriptor");
    spec->from = S_ISREG(status.st_mode) && status.st_size > 0 ? S3_FROM_FILE : S3_FROM_PIPE;
    spec->length = -1;
    if (spec->from == S3_FROM_FILE && !op->opened)
        spec->start = lseek(spec->fd, 0, SEEK_CUR);
    return true;
}

static int put_goes_on(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct putting *op = luaL_checkudata(L, OP, PUT);
    struct s3_put *put = &op->put;
    if (!is_over(&op->watched)) {
        tell(L, &op->watched, s3_put_sent(put), put->size);
        return task_await(L, &op->watched.wait, put_goes_on);
    }
    if (!op->watched.over)
        return fail_late(L, &op->watched, &op->spec.request, s3_put_sent(put));
    if (!put->ok)
        return fail(L, &put->err, put->name, put->request_id, put->requests);
    tell(L, &op->watched, put->size, put->size);
    lua_createtable(L, 0, 7);
    aws_push_text(L, "etag", put->etag);
    aws_push_text(L, "version", put->version);
    aws_push_text(L, "request_id", put->request_id);
    set_integer(L, "size", put->size);
    set_integer(L, "attempts", put->requests);
    if (put->parts)
        set_integer(L, "parts", put->parts);
    set_checksum(L, put->checksum_kind, put->checksum);
    return 1;
}

static int transfer_put(lua_State *L)
{
    struct err err;
    bool told = begin(L);
    struct putting *op = bind_op(L, sizeof *op, PUT);
    read_put(L, op);
    int64_t limit_ms = bind_field_ms(L, SPEC, "timeout", 0);
    struct aws_client *client = aws_shared_client(&err);
    if (!client || !open_source(op, &err) || !s3_put_start(&op->put, bind_loop(L), client, &op->spec, on_put, &err))
        return bind_fail(L, &err);
    watch(&op->watched, bind_loop(L), limit_ms, told);
    return task_await(L, &op->watched.wait, put_goes_on);
}

/* --- what goes on behind our back --- */

struct settle {
    struct wait wait;
    struct timer timer;
    struct loop *loop;
    int64_t until_ns;
};

static int settle_close(lua_State *L)
{
    timer_stop(&((struct settle *)luaL_checkudata(L, 1, SETTLE))->timer);
    return 0;
}

static void on_look(struct timer *timer)
{
    struct settle *op = OWNER(timer, struct settle, timer);
    if (s3_put_leftovers() == 0 || clock_ns() >= op->until_ns)
        wait_finish(&op->wait);
    else
        timer_start(&op->timer, op->loop, SETTLE_MS, on_look);
}

static int settled(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    lua_pushboolean(L, s3_put_leftovers() == 0);
    return 1;
}

static int transfer_settle(lua_State *L)
{
    int64_t span = clock_span_ns(luaL_checknumber(L, 1));
    struct settle *op = bind_op(L, sizeof *op, SETTLE);
    op->loop = bind_loop(L);
    op->until_ns = clock_ns() + span;
    on_look(&op->timer);
    return task_await(L, &op->wait, settled);
}

int aws_open_transfer(lua_State *L);
int aws_open_transfer(lua_State *L)
{
    static const luaL_Reg functions[] = {{"get", transfer_get}, {"put", transfer_put}, {"settle", transfer_settle}, {NULL, NULL}};
    bind_type(L, GET, get_close, NULL);
    bind_type(L, PUT, put_close, NULL);
    bind_type(L, SETTLE, settle_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
