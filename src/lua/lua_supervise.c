/* appliance.core.supervise - the supervisor for Lua. Everything answers at once but stop_all, next_change and a follower's next. */
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "appliance/output.h"
#include "appliance/program.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "appliance/supervise.h"
#include "supervise_spec.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SPEC   "appliance.supervise.spec"
#define STOP   "appliance.supervise.stop"
#define CHANGE "appliance.supervise.change"
#define FOLLOW "appliance.supervise.follow"
#define NEXT   "appliance.supervise.follow.next"

enum { CHANGES_KEPT = 128, TAIL_DEFAULT = 64 << 10, TAIL_MOST = 1 << 20, CHUNK = 64 << 10 };

/* --- the one supervisor --- */

/* Under the program signals are blocked by its first instruction and the reaper is its affair. Under busted or lua5.4 nobody has
 * done either: only SIGCHLD is taken then, so that Ctrl-C ends a test run as ever. */
static bool prepare_foreign_process(struct loop *loop)
{
    sigset_t blocked, child;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGCHLD))
        return true;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    return signals_start(loop, NULL, NULL) && reaper_start(loop, true, NULL);
}

struct supervisor *supervise_instance(void)
{
    static struct supervisor *instance;
    struct loop *loop = task_loop();
    if (!instance && loop && prepare_foreign_process(loop))
        instance = supervisor_new(loop, NULL);
    return instance;
}

static struct supervisor *supervisor_of(lua_State *L)
{
    struct supervisor *sup = supervise_instance();
    if (!sup)
        luaL_error(L, "supervisor: no memory or descriptors");
    return sup;
}

static int result(lua_State *L, bool ok, const struct err *err)
{
    if (!ok)
        return bind_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* --- declare and command --- */

static int spec_close(lua_State *L)
{
    struct service_spec **box = luaL_checkudata(L, 1, SPEC);
    service_spec_free(*box);
    *box = NULL;
    return 0;
}

/* supervise.declare(spec) -> true | nil, err. Raises when the table itself is wrong, with all its faults. */
static int declare(lua_State *L)
{
    struct supervisor *sup = supervisor_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct service_spec **box = bind_op(L, sizeof *box, SPEC);
    supervise_read_spec(L, 1, box);
    struct service_spec *spec = *box;
    *box = NULL;
    struct err err;
    return result(L, supervisor_declare(sup, spec, &err), &err);
}

static int remove_service(lua_State *L)
{
    struct err err;
    return result(L, supervisor_remove(supervisor_of(L), luaL_checkstring(L, 1), &err), &err);
}

/* supervise.want(name, up) -> true | nil, err */
static int want(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    struct err err;
    return result(L, supervisor_want(supervisor_of(L), name, lua_toboolean(L, 2), &err), &err);
}

static int restart(lua_State *L)
{
    struct err err;
    return result(L, supervisor_restart(supervisor_of(L), luaL_checkstring(L, 1), &err), &err);
}

static int ready(lua_State *L)
{
    struct err err;
    return result(L, supervisor_ready(supervisor_of(L), luaL_checkstring(L, 1), &err), &err);
}

/* --- views --- */

static void set_instant(lua_State *L, const char *field, int64_t ns)
{
    if (ns == 0)
        return;
    lua_pushnumber(L, (lua_Number)ns / (lua_Number)NS_PER_S);
    lua_setfield(L, -2, field);
}

static void set_string(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static void set_boolean(lua_State *L, const char *field, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, field);
}

/* Instants are on the clock of task.now(). */
static void push_view(lua_State *L, const struct service_view *view)
{
    lua_createtable(L, 0, 14);
    set_string(L, "name", view->name);
    set_string(L, "state", service_state_name(view->state));
    set_string(L, "reason", view->reason);
    set_boolean(L, "wanted", view->wanted);
    set_boolean(L, "critical", view->critical);
    set_integer(L, "restarts", view->restarts);
    set_integer(L, "crashes", view->crashes);
    set_instant(L, "since", view->since_ns);
    set_instant(L, "started", view->started_ns);
    set_instant(L, "retry", view->retry_ns);
    if (view->pid)
        set_integer(L, "pid", view->pid);
    if (!view->has_ended)
        return;
    char how[96];
    child_end_text(view->last_end, how, sizeof how);
    set_string(L, "last_end", how);
    if (view->last_end.signal)
        set_integer(L, "last_signal", view->last_end.signal);
    else
        set_integer(L, "last_status", view->last_end.status);
}

/* supervise.view(name) -> table | nil */
static int view(lua_State *L)
{
    struct service_view seen;
    if (!supervisor_view(supervisor_of(L), luaL_checkstring(L, 1), &seen))
        return 0;
    push_view(L, &seen);
    return 1;
}

static int list(lua_State *L)
{
    struct supervisor *sup = supervisor_of(L);
    int count = supervisor_count(sup);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        struct service_view seen;
        if (!supervisor_view_at(sup, i, &seen))
            break;
        push_view(L, &seen);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static struct output *output_of(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    struct output *output = supervisor_output(supervisor_of(L), name);
    if (output)
        return output;
    struct err err;
    err_set(&err, ERR_MISSING, "%s: there is no such service", name);
    bind_fail(L, &err);
    return NULL;
}

/* supervise.counts(name) -> table | nil, err */
static int counts(lua_State *L)
{
    struct output *output = output_of(L, 1);
    if (!output)
        return 2;
    struct output_counts seen;
    output_count(output, &seen);
    lua_createtable(L, 0, 6);
    set_integer(L, "bytes", (lua_Integer)seen.bytes);
    set_integer(L, "lines", (lua_Integer)seen.lines);
    set_integer(L, "dropped_lines", (lua_Integer)seen.dropped_lines);
    set_integer(L, "dropped_bytes", (lua_Integer)seen.dropped_bytes);
    set_boolean(L, "file_blocked", seen.file_blocked);
    set_string(L, "reason", seen.reason);
    return 1;
}

/* supervise.tail(name[, bytes]) -> text | nil, err */
static int tail(lua_State *L)
{
    lua_Integer limit = luaL_optinteger(L, 2, TAIL_DEFAULT);
    luaL_argcheck(L, limit >= 0 && limit <= TAIL_MOST, 2, "bytes must be from 0 to 1 MiB");
    struct output *output = output_of(L, 1);
    if (!output)
        return 2;
    luaL_Buffer text;
    char *out = luaL_buffinitsize(L, &text, (size_t)limit);
    luaL_pushresultsize(&text, output_tail(output, out, (size_t)limit));
    return 1;
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
        supervisor_reopen(supervisor_of(L));
    lua_pushboolean(L, true);
    return 1;
}

/* supervise.stop_all(seconds) -> true, when nothing is left. Again, meanwhile: hurries. */
static int stop_all(lua_State *L)
{
    struct supervisor *sup = supervisor_of(L);
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds must not be negative");
    struct stop *op = bind_op(L, sizeof *op, STOP);
    op->next = stops;
    op->listed = true;
    stops = op;
    supervisor_stop_all(sup, (int64_t)(seconds * 1000), everything_stopped, NULL);
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
    struct supervisor *sup = supervisor_of(L);
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
    struct output *output = output_of(L, 1);
    if (!output)
        return 2;
    struct follow *f = lua_newuserdatauv(L, sizeof *f, 1);
    memset(f, 0, sizeof *f);
    luaL_setmetatable(L, FOLLOW);
    follower_start(&f->follower, output, follow_ready);
    return 1;
}

int luaopen_appliance_core_supervise(lua_State *L);

int luaopen_appliance_core_supervise(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"declare", declare}, {"remove", remove_service}, {"want", want},     {"restart", restart}, {"ready", ready},
        {"view", view},       {"list", list},             {"counts", counts}, {"tail", tail},       {"follow", follow},
        {"stop_all", stop_all}, {"next_change", next_change}, {NULL, NULL},
    };
    static const luaL_Reg follower_methods[] = {{"next", follow_next}, {"close", follow_close}, {NULL, NULL}};
    bind_type(L, SPEC, spec_close, NULL);
    bind_type(L, STOP, stop_close, NULL);
    bind_type(L, CHANGE, change_close, NULL);
    bind_type(L, FOLLOW, follow_close, follower_methods);
    bind_type(L, NEXT, next_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
