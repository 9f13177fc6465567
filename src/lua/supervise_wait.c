/* supervise_wait.c - what a task may wait for at the supervisor: the end of everything, a change, lines of a service. */
#include "supervise_wait.h"
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "appliance/output.h"
#include "appliance/program.h"

#include <stdlib.h>
#include <string.h>

#define STOP   "appliance.supervise.stop"
#define CHANGE "appliance.supervise.change"
#define FOLLOW "appliance.supervise.follow"
#define NEXT   "appliance.supervise.follow.next"

enum { CHANGES_KEPT = 128, CHUNK = 64 << 10 };

static void set_string(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

/* --- stop_all --- */

struct stop {
    struct wait wait;
    struct stop *next;
    bool listed;
};

static struct stop *stops;

static void everything_stopped(void *unused)
{
    (void)unused;
    for (struct stop *op = stops; op; op = op->next)
        wait_finish(&op->wait);
}

static int stop_close(lua_State *L)
{
    struct stop *op = luaL_checkudata(L, 1, STOP);
    for (struct stop **at = &stops; op->listed && *at; at = &(*at)->next)
        if (*at == op) {
            *at = op->next;
            break;
        }
    op->listed = false;
    return 0;
}

static int stopped(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    if (!program_is_supervising())
        supervisor_reopen(supervise_check(L));
    lua_pushboolean(L, true);
    return 1;
}

/* supervise.stop_all(seconds) -> true, when nothing is left. Again, meanwhile: hurries. */
static int stop_all(lua_State *L)
{
    struct supervisor *sup = supervise_check(L);
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds must not be negative");
    struct stop *op = bind_op(L, sizeof *op, STOP);
    op->next = stops;
    op->listed = true;
    stops = op;
    supervisor_stop_all(sup, clock_span_ns(seconds) / NS_PER_MS, everything_stopped, NULL);
    return task_await(L, &op->wait, stopped);
}

/* --- next_change --- */

struct change {
    char service[64], text[240];
    enum service_state state;
};

struct change_wait {
    struct wait wait;
    struct change_wait *next;
    bool listed;
};

/* The last changes, so that a task that is busy between two calls misses none of them. Made when somebody asks for the first time. */
static struct {
    struct change *kept;
    lua_Integer count; /* ever; the newest is kept[(count - 1) % CHANGES_KEPT] */
    struct change_wait *waits;
} changes;

static void changed(void *unused, const struct service_view *view, const char *text)
{
    (void)unused;
    struct change *c = &changes.kept[changes.count++ % CHANGES_KEPT];
    c->state = view->state;
    memccpy(c->service, view->name, 0, sizeof c->service);
    c->service[sizeof c->service - 1] = 0;
    memccpy(c->text, text, 0, sizeof c->text);
    c->text[sizeof c->text - 1] = 0;
    for (struct change_wait *op = changes.waits; op; op = op->next)
        wait_finish(&op->wait);
}

static int change_close(lua_State *L)
{
    struct change_wait *op = luaL_checkudata(L, 1, CHANGE);
    for (struct change_wait **at = &changes.waits; op->listed && *at; at = &(*at)->next)
        if (*at == op) {
            *at = op->next;
            break;
        }
    op->listed = false;
    return 0;
}

/* Pushes the table that knows how far each task has read: weak, so that a task that ended is forgotten. */
static void push_readers(lua_State *L)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, CHANGE ".readers"))
        return;
    lua_createtable(L, 0, 1);
    set_string(L, "__mode", "k");
    lua_setmetatable(L, -2);
}

static lua_Integer read_so_far(lua_State *L)
{
    push_readers(L);
    lua_pushthread(L);
    lua_Integer seen = lua_rawget(L, -2) == LUA_TNUMBER ? lua_tointeger(L, -1) : changes.count;
    lua_pop(L, 2);
    if (seen < changes.count - CHANGES_KEPT)
        seen = changes.count - CHANGES_KEPT; /* it was too slow: the oldest that is still known */
    return seen;
}

static void remember_read(lua_State *L, lua_Integer seen)
{
    push_readers(L);
    lua_pushthread(L);
    lua_pushinteger(L, seen);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static int change_came(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    lua_Integer seen = read_so_far(L);
    const struct change *c = &changes.kept[seen % CHANGES_KEPT];
    lua_createtable(L, 0, 3);
    set_string(L, "service", c->service);
    set_string(L, "state", service_state_name(c->state));
    set_string(L, "text", c->text);
    remember_read(L, seen + 1);
    return 1;
}

/* supervise.next_change() -> { service =, state =, text = }: the next one that this task has not seen; its first call begins now */
static int next_change(lua_State *L)
{
    struct supervisor *sup = supervise_check(L);
    if (!changes.kept) {
        changes.kept = calloc(CHANGES_KEPT, sizeof *changes.kept);
        if (!changes.kept)
            return luaL_error(L, "not enough memory");
        supervisor_observe(sup, changed, NULL);
    }
    lua_Integer seen = read_so_far(L);
    remember_read(L, seen);
    struct change_wait *op = bind_op(L, sizeof *op, CHANGE);
    op->next = changes.waits;
    op->listed = true;
    changes.waits = op;
    if (seen < changes.count)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, change_came);
}

/* --- follow --- */

struct follow {
    struct follower follower; /* first: see follow_ready */
    struct follow_next *next; /* who waits */
    bool closed;
};

struct follow_next {
    struct wait wait;
    struct follow *follow;
};

static void follow_ready(struct follower *follower)
{
    struct follow *f = (struct follow *)follower;
    if (f->next)
        wait_finish(&f->next->wait);
}

static int follow_close(lua_State *L)
{
    struct follow *f = luaL_checkudata(L, 1, FOLLOW);
    if (f->closed)
        return 0;
    f->closed = true;
    follower_stop(&f->follower);
    if (f->next)
        wait_finish(&f->next->wait);
    return 0;
}

static int next_close(lua_State *L)
{
    struct follow_next *op = luaL_checkudata(L, 1, NEXT);
    if (op->follow)
        op->follow->next = NULL;
    op->follow = NULL;
    return 0;
}

static int lines_came(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct follow *f = luaL_checkudata(L, 1, FOLLOW);
    struct follow_next *op = luaL_checkudata(L, 2, NEXT);
    if (f->closed)
        return 0;
    luaL_Buffer text;
    char *out = luaL_buffinitsize(L, &text, CHUNK);
    size_t length = follower_take(&f->follower, out, CHUNK);
    luaL_pushresultsize(&text, length);
    if (length > 0)
        return 1;
    if (!f->follower.output)
        return 0; /* the service was removed */
    lua_settop(L, 2);
    wait_reset(&op->wait);
    return task_await(L, &op->wait, lines_came);
}

/* f:next() -> the next whole lines, as one text; nil when the follower was closed or its service removed */
static int follow_next(lua_State *L)
{
    struct follow *f = luaL_checkudata(L, 1, FOLLOW);
    lua_settop(L, 1);
    if (f->next)
        return luaL_error(L, "another task waits for the next lines of this follower already");
    struct follow_next *op = bind_op(L, sizeof *op, NEXT);
    bind_pin(L, 1);
    op->follow = f;
    f->next = op;
    if (f->closed || !f->follower.output || f->follower.length > 0)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, lines_came);
}

/* supervise.follow(name) -> follower | nil, err. To be closed. */
static int follow(lua_State *L)
{
    struct output *output = supervise_output(L, 1);
    if (!output)
        return 2;
    struct follow *f = lua_newuserdatauv(L, sizeof *f, 1);
    memset(f, 0, sizeof *f);
    luaL_setmetatable(L, FOLLOW);
    follower_start(&f->follower, output, follow_ready);
    return 1;
}

void supervise_open_waits(lua_State *L)
{
    static const luaL_Reg functions[] = {{"stop_all", stop_all}, {"next_change", next_change}, {"follow", follow}, {NULL, NULL}};
    static const luaL_Reg follower_methods[] = {{"next", follow_next}, {"close", follow_close}, {NULL, NULL}};
    bind_type(L, STOP, stop_close, NULL);
    bind_type(L, CHANGE, change_close, NULL);
    bind_type(L, FOLLOW, follow_close, follower_methods);
    bind_type(L, NEXT, next_close, NULL);
    luaL_setfuncs(L, functions, 0);
}
