/* supervise_runs.c - runs of a service, and lines it prints, for a task that must miss none of them.
 *   local f <close> = supervise.runs(name [, { "needle", ... }]) | nil, err
 *   f:next() -> { event = "started", pid = } | { event = "ready", pid = } | { event = "ended", pid =, code = or signal =, unasked = bool }
 *               | { event = "line", line =, pid = }, where needles were given
 *   local f <close> = supervise.lines(name, { "needle", ... }) | nil, err
 *   f:next() -> line, pid           a line that holds one of the needles, without its newline; the first 16 KiB of it
 * Both wait; nil when the follower was closed or the service removed. One task at a time waits for a follower.
 * From the call on, in the order in which it happened: the lines of a run stand before its "ended". (With log.full = "block" the pipe of a
 * service is left unread while its log has no room; what it held then comes later.) What is not taken is kept up to 256 KiB, some thousand
 * events; then all is dropped until these have been taken, and told by `nil, err` at the place where it is missing; the next call goes on. */
#include "appliance/bind.h"
#include "appliance/output.h"
#include "supervise_wait.h"

#include <stdlib.h>
#include <string.h>

#define RUNS "appliance.supervise.runs"
#define NEXT "appliance.supervise.runs.next"

enum { NEEDLES = 32, CEILING = 256 << 10, LINE_MOST = 16 << 10 };
enum kind { EVENT_STARTED, EVENT_UP, EVENT_ENDED, EVENT_LINE };

struct event {
    struct event *next;
    enum kind kind;
    struct run run;
    size_t length; /* of the line */
    char line[];
};

struct runs {
    struct run_watcher watcher; /* first: see run_told */
    struct follower follower;
    struct runs_next *next; /* who waits */
    bool has_runs, closed, removed;
    char *needles[NEEDLES];
    int needle_count;
    struct event *first, **last;
    size_t bytes; /* of what is queued */
    uint64_t dropped;
    char name[64];
};

struct runs_next {
    struct wait wait;
    struct runs *runs;
};

/* --- what happens, on the loop --- */

static void wake(struct runs *r)
{
    if (r->next)
        wait_finish(&r->next->wait);
}

static void add(struct runs *r, enum kind kind, const char *line, size_t length)
{
    size_t size = sizeof(struct event) + length;
    struct event *e = r->dropped || r->bytes + size > CEILING ? NULL : malloc(size);
    if (e) {
        *e = (struct event){.kind = kind, .length = length};
        if (r->watcher.run)
            e->run = *r->watcher.run;
        if (length > 0)
            memcpy(e->line, line, length);
        *r->last = e;
        r->last = &e->next;
        r->bytes += size;
    } else {
        r->dropped++;
    }
    wake(r);
}

static void run_told(struct run_watcher *w, enum run_moment moment)
{
    static const enum kind kinds[] = {[RUN_STARTED] = EVENT_STARTED, [RUN_READY] = EVENT_UP, [RUN_ENDED] = EVENT_ENDED};
    struct runs *r = (struct runs *)w;
    if (moment == RUN_REMOVED) {
        r->removed = true;
        wake(r);
    } else if (r->has_runs) {
        add(r, kinds[moment], NULL, 0);
    }
}

/* Looks for all needles in all lines at once: most blocks hold none. */
static void take_lines(struct follower *f, const char *data, size_t length)
{
    struct runs *r = (struct runs *)((char *)f - offsetof(struct runs, follower));
    const char *end = data + length, *hits[NEEDLES], *none = end;
    for (int i = 0; i < r->needle_count; i++)
        hits[i] = data; /* to be looked for */
    for (const char *at = data; at < end;) {
        const char *hit = none;
        for (int i = 0; i < r->needle_count; i++) {
            if (hits[i] <= at)
                hits[i] = memmem(at, (size_t)(end - at), r->needles[i], strlen(r->needles[i]));
            if (!hits[i])
                hits[i] = none;
            if (hits[i] < hit)
                hit = hits[i];
        }
        if (hit == none)
            return;
        const char *before = memrchr(at, '\n', (size_t)(hit - at)), *newline = memchr(hit, '\n', (size_t)(end - hit));
        const char *line = before ? before + 1 : at, *after = newline ? newline : end;
        size_t size = (size_t)(after - line);
        add(r, EVENT_LINE, line, size < LINE_MOST ? size : LINE_MOST);
        at = after + 1;
    }
}

/* --- the follower --- */

static int runs_close(lua_State *L)
{
    struct runs *r = luaL_checkudata(L, 1, RUNS);
    if (r->closed)
        return 0;
    r->closed = true;
    run_unwatch(&r->watcher);
    follower_stop(&r->follower);
    while (r->first) {
        struct event *e = r->first;
        r->first = e->next;
        free(e);
    }
    for (int i = 0; i < r->needle_count; i++)
        free(r->needles[i]);
    wake(r);
    return 0;
}

static int next_close(lua_State *L)
{
    struct runs_next *op = luaL_checkudata(L, 1, NEXT);
    if (op->runs)
        op->runs->next = NULL;
    op->runs = NULL;
    return 0;
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static int push_event(lua_State *L, const struct runs *r, const struct event *e)
{
    static const char *const words[] = {"started", "ready", "ended", "line"};
    if (!r->has_runs) {
        lua_pushlstring(L, e->line, e->length);
        lua_pushinteger(L, e->run.pid);
        return 2;
    }
    lua_createtable(L, 0, 4);
    lua_pushstring(L, words[e->kind]);
    lua_setfield(L, -2, "event");
    set_integer(L, "pid", e->run.pid);
    if (e->kind == EVENT_LINE) {
        lua_pushlstring(L, e->line, e->length);
        lua_setfield(L, -2, "line");
    }
    if (e->kind != EVENT_ENDED)
        return 1;
    if (e->run.end.signal)
        set_integer(L, "signal", e->run.end.signal);
    else
        set_integer(L, "code", e->run.end.status);
    lua_pushboolean(L, e->run.unasked);
    lua_setfield(L, -2, "unasked");
    return 1;
}

static int event_came(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct runs *r = luaL_checkudata(L, 1, RUNS);
    struct runs_next *op = luaL_checkudata(L, 2, NEXT);
    if (r->closed)
        return 0;
    struct event *e = r->first;
    if (e) {
        int count = push_event(L, r, e); /* may raise for want of memory: nothing is lost by that */
        r->first = e->next;
        if (!r->first)
            r->last = &r->first;
        r->bytes -= sizeof *e + e->length;
        free(e);
        return count;
    }
    if (r->dropped) {
        struct err err;
        err_set(&err, ERR_SYSTEM, "%s: %llu event%s of its runs dropped here: not taken in time", r->name, (unsigned long long)r->dropped,
                r->dropped == 1 ? "" : "s");
        r->dropped = 0;
        return bind_fail(L, &err);
    }
    if (r->removed)
        return 0;
    lua_settop(L, 2);
    wait_reset(&op->wait);
    return task_await(L, &op->wait, event_came);
}

static int runs_next(lua_State *L)
{
    struct runs *r = luaL_checkudata(L, 1, RUNS);
    lua_settop(L, 1);
    if (r->next)
        return luaL_error(L, "another task waits for the next event of this follower already");
    struct runs_next *op = bind_op(L, sizeof *op, NEXT);
    bind_pin(L, 1);
    op->runs = r;
    r->next = op;
    if (r->closed || r->removed || r->first || r->dropped)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, event_came);
}

/* --- its making --- */

static void read_needles(lua_State *L, int index, struct runs *r)
{
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = lua_rawlen(L, index);
    luaL_argcheck(L, count >= 1 && count <= NEEDLES, index, "1 to 32 texts to look for");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        size_t length = 0;
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
        luaL_argcheck(L, length > 0 && strlen(text) == length && !strchr(text, '\n'), index,
                      "each text to look for is a part of one line, and not empty");
        char *copy = strdup(text);
        if (!copy)
            luaL_error(L, "not enough memory");
        r->needles[r->needle_count++] = copy;
        lua_pop(L, 1);
    }
}

static int make(lua_State *L, bool has_runs)
{
    struct supervisor *sup = supervise_check(L);
    const char *name = luaL_checkstring(L, 1);
    struct runs *r = lua_newuserdatauv(L, sizeof *r, 1);
    memset(r, 0, sizeof *r);
    r->last = &r->first;
    r->has_runs = has_runs;
    r->watcher.told = run_told;
    luaL_setmetatable(L, RUNS);
    if (!has_runs || !lua_isnoneornil(L, 2))
        read_needles(L, 2, r);
    struct err err;
    if (!supervisor_watch_runs(sup, name, &r->watcher, &err))
        return bind_fail(L, &err);
    memccpy(r->name, name, 0, sizeof r->name - 1);
    if (r->needle_count > 0)
        follower_tap(&r->follower, supervisor_output(sup, name), take_lines);
    lua_settop(L, 3);
    return 1;
}

static int runs(lua_State *L)
{
    lua_settop(L, 2);
    return make(L, true);
}

static int lines(lua_State *L)
{
    lua_settop(L, 2);
    return make(L, false);
}

void supervise_open_runs(lua_State *L)
{
    static const luaL_Reg functions[] = {{"runs", runs}, {"lines", lines}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"next", runs_next}, {"close", runs_close}, {NULL, NULL}};
    bind_type(L, RUNS, runs_close, methods);
    bind_type(L, NEXT, next_close, NULL);
    luaL_setfuncs(L, functions, 0);
}
