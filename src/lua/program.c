#include "appliance/program.h"
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "appliance/deadline.h"
#include "appliance/log.h"
#include "appliance/output.h"
#include "appliance/pool.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "appliance/supervise.h"
#include "appliance/supervisor.h"

#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RELOAD    "appliance.reload"
#define INTERRUPT "appliance.interrupt"
#define FAREWELL  "appliance.farewell"

enum { FLUSH_MS = 500, FAREWELL_MS = 1500 };

static struct {
    bool supervising, stopping, all_stopped, ended, has_code;
    int code;
    struct program_options options;
    struct task *main;
    int reloads; /* SIGHUPs nobody has taken yet */
    struct reload *waiter;
    struct interrupt *interruptee; /* a command that ends in its own way */
    struct farewell *farewell;     /* somebody who has something to do before and after the stop of everything */
    struct timer farewell_limit;
} self = {.options = {.stop_timeout_ms = 8000, .watchdog_ms = 60000}};

struct reload {
    struct wait wait;
};

struct interrupt {
    struct wait wait;
    int signal; /* 0: none came */
};

/* Somebody who must hear of the end: one at a time, as there is one node. */
struct farewell {
    struct wait wait;
    bool stopped; /* waits for the end of the last service, not for the beginning of the stop */
};

static void set_code(int code)
{
    if (!self.has_code) {
        self.has_code = true;
        self.code = code;
    }
}

static void farewell_is_late(struct timer *timer)
{
    (void)timer;
    self.ended = true;
}

/* Whoever says farewell has a little time left, and not for ever: Docker's patience is counted in seconds. */
static void everything_stopped(void *unused)
{
    (void)unused;
    self.all_stopped = true;
    if (!self.farewell) {
        self.ended = true;
        return;
    }
    timer_start(&self.farewell_limit, task_loop(), FAREWELL_MS, farewell_is_late);
    if (self.farewell->stopped)
        wait_finish(&self.farewell->wait);
}

static void tell_farewell(void)
{
    if (self.farewell && !self.farewell->stopped)
        wait_finish(&self.farewell->wait);
}

/* Somebody wants a command to end. True: it knows how; the second time it is ended. */
static bool tell_command(int signal)
{
    struct interrupt *i = self.interruptee;
    if (!i || i->signal)
        return false;
    i->signal = signal;
    wait_finish(&i->wait);
    return true;
}

static void stop_services(void)
{
    self.stopping = true;
    tell_farewell();
    supervisor_stop_all(supervise_instance(), self.options.stop_timeout_ms, everything_stopped, NULL);
}

void program_end(int code)
{
    set_code(code);
    if (self.supervising && !self.stopping)
        stop_services();
    else if (!self.supervising)
        self.ended = true;
}

void program_signal(int signal)
{
    switch (signal) {
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
        if (self.supervising) {
            log_info(self.stopping ? "%s again: hurrying" : "%s: stopping everything in order", signal == SIGTERM  ? "SIGTERM"
                                                                                                : signal == SIGINT ? "SIGINT"
                                                                                                                   : "SIGQUIT");
            set_code(EXIT_ASKED);
            stop_services(); /* a second call hurries */
        } else if (!tell_command(signal)) {
            program_end(128 + signal);
        }
        break;
    case SIGHUP:
        if (!self.supervising) {
            if (!tell_command(signal))
                program_end(128 + signal);
            break;
        }
        self.reloads = 1; /* two that come before anybody looked are one */
        if (self.waiter)
            wait_finish(&self.waiter->wait);
        break;
    case SIGUSR1:
        if (self.supervising)
            supervisor_dump(supervise_instance());
        break;
    default: break;
    }
}

static void beyond_help(void *unused)
{
    (void)unused;
    program_end(EXIT_GAVE_UP);
}

bool program_supervise(const struct program_options *options, struct err *err)
{
    self.options = *options;
    if (self.supervising) {
        console_set_format(options->json ? CONSOLE_JSON : CONSOLE_TEXT);
        return deadline_start(options->watchdog_ms, err);
    }
    struct loop *loop = task_loop();
    /* Lua first: what it needs of the loop, and the reaper, is made with the supervisor. */
    if (!reaper_start(loop, getpid() != 1, err) || !console_start(loop, options->json ? CONSOLE_JSON : CONSOLE_TEXT, err) ||
        !deadline_start(options->watchdog_ms, err))
        return false;
    if (!supervise_instance())
        return err_set(err, ERR_SYSTEM, "supervisor: no memory or descriptors");
    if (!supervisor_answer_for_all(supervise_instance(), err))
        return false;
    supervisor_on_fatal(supervise_instance(), beyond_help, NULL);
    self.supervising = true;
    return true;
}

bool program_is_supervising(void)
{
    return self.supervising;
}

static void main_ended(void *unused, bool failed)
{
    (void)unused;
    self.main = NULL;
    if (failed && !self.ended)
        program_end(EXIT_BUG);
}

int program_run(lua_State *L, int argc, char **argv)
{
    struct err err;
    if (!task_loop() || !signals_start(task_loop(), program_signal, &err)) {
        log_error("can't start: %s", task_loop() ? err.text : "no memory or descriptors");
        return EXIT_BUG;
    }
    static const char first[] = "require('appliance.core.program').finish(require('appliance.main')(...))";
    if (luaL_loadbuffer(L, first, sizeof first - 1, "=main") != LUA_OK)
        return EXIT_BUG;
    luaL_checkstack(L, argc, "arguments");
    for (int i = 1; i < argc; i++)
        lua_pushstring(L, argv[i]);
    self.main = task_start(L, argc - 1, "main");
    lua_pop(L, 1);
    task_on_end(self.main, main_ended, NULL);

    if (!task_turn_until(L, &self.ended, &err)) {
        log_error("%s", err.text); /* the loop itself is broken: nothing can be supervised any more */
        set_code(EXIT_BUG);
    }
    if (self.main) /* what it has open is closed: files that are only there for a program that runs go with it */
        task_cancel(L, self.main);
    const char *fatal = self.supervising ? supervisor_fatal(supervise_instance()) : NULL;
    if (fatal)
        self.code = EXIT_GAVE_UP;
    if (self.supervising)
        console_flush(FLUSH_MS);
    return self.code;
}

/* --- appliance.core.program --- */

static struct program_options options_of(lua_State *L, int index)
{
    struct program_options options = self.options;
    options.stop_timeout_ms = bind_field_ms(L, index, "stop_timeout", (double)options.stop_timeout_ms / 1000);
    options.watchdog_ms = bind_field_ms(L, index, "watchdog", (double)options.watchdog_ms / 1000);
    options.json = bind_field_boolean(L, index, "json", options.json);
    return options;
}

/* program.supervise{ stop_timeout = seconds, watchdog = seconds, json = boolean } -> true | nil, err; again: changes them */
static int supervise(lua_State *L)
{
    struct program_options options = options_of(L, 1);
    struct err err;
    if (!program_supervise(&options, &err))
        return bind_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* program.watch(seconds): the watchdog alone, for the time in which a profile is loaded and nothing is supervised yet */
static int watch(lua_State *L)
{
    struct err err;
    if (!deadline_start(clock_span_ns(luaL_checknumber(L, 1)) / NS_PER_MS, &err))
        return bind_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* program.finish(code): by the main function's return. A supervisor's main task only returns when it has to end. */
static int finish(lua_State *L)
{
    program_end((int)luaL_optinteger(L, 1, EXIT_ASKED));
    return 0;
}

static int reload_close(lua_State *L)
{
    if (self.waiter == luaL_checkudata(L, 1, RELOAD))
        self.waiter = NULL;
    return 0;
}

static int reload_came(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    self.reloads = 0;
    return 0;
}

/* program.reload(): waits for a SIGHUP. One task at a time. */
static int reload(lua_State *L)
{
    if (self.waiter)
        return luaL_error(L, "somebody waits for SIGHUP already");
    struct reload *op = bind_op(L, sizeof *op, RELOAD);
    self.waiter = op;
    if (self.reloads > 0)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, reload_came);
}

static int interrupt_close(lua_State *L)
{
    if (self.interruptee == luaL_checkudata(L, 1, INTERRUPT))
        self.interruptee = NULL;
    return 0;
}

static int interrupt_came(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    lua_pushinteger(L, ((struct interrupt *)luaL_checkudata(L, -1, INTERRUPT))->signal);
    return 1;
}

/* program.interrupted() -> number of the signal: waits until somebody wants this command to end (SIGINT, SIGTERM, SIGQUIT, SIGHUP), which
 * then has to end by itself. When this wait is over, or is given up, the next signal ends it as any other command. Not for a node. */
static int interrupted(lua_State *L)
{
    if (self.interruptee)
        return luaL_error(L, "somebody waits for the interruption already");
    struct interrupt *op = bind_op(L, sizeof *op, INTERRUPT);
    self.interruptee = op;
    return task_await(L, &op->wait, interrupt_came);
}

/* --- farewell: what a member of a cluster does when it leaves --- */

static struct farewell *check_farewell(lua_State *L)
{
    struct farewell *op = luaL_checkudata(L, 1, FAREWELL);
    if (self.farewell != op)
        luaL_error(L, "this farewell was said already");
    if (op->wait.task)
        luaL_error(L, "another task waits for this farewell already");
    return op;
}

static int farewell_close(lua_State *L)
{
    if (self.farewell != luaL_checkudata(L, 1, FAREWELL))
        return 0;
    self.farewell = NULL;
    timer_stop(&self.farewell_limit);
    if (self.all_stopped)
        self.ended = true;
    return 0;
}

static int farewell_time(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct farewell *op = luaL_checkudata(L, 1, FAREWELL);
    lua_pushnumber(L, (op->stopped ? (double)FAREWELL_MS : (double)self.options.stop_timeout_ms) / 1000);
    return 1;
}

/* farewell:stopping() -> seconds of the budget: waits until everything is about to be stopped */
static int farewell_stopping(lua_State *L)
{
    struct farewell *op = check_farewell(L);
    lua_settop(L, 1);
    wait_reset(&op->wait);
    if (self.stopping)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, farewell_time);
}

/* farewell:stopped() -> seconds left: waits until no service is left. The program ends when the farewell is closed, or when those
 * seconds are over. */
static int farewell_stopped(lua_State *L)
{
    struct farewell *op = check_farewell(L);
    lua_settop(L, 1);
    wait_reset(&op->wait);
    op->stopped = true;
    if (self.all_stopped)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, farewell_time);
}

/* program.farewell() -> a closable object: the end of the program waits for it a little. One at a time. */
static int farewell(lua_State *L)
{
    if (self.farewell)
        return luaL_error(L, "somebody says farewell already");
    struct farewell *op = lua_newuserdatauv(L, sizeof *op, 0);
    memset(op, 0, sizeof *op);
    luaL_setmetatable(L, FAREWELL);
    self.farewell = op;
    return 1;
}

/* Lets go of pages of code and constants: those that are still needed come back, from the page cache, as they are used. What only
 * the start ran is then nobody's. A debugger's breakpoints go, too: set them after this. */
static int forget_code(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size, (void)unused;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t at = object->dlpi_addr + segment->p_vaddr, past_page = at % (uintptr_t)sysconf(_SC_PAGESIZE);
        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
            madvise((void *)(at - past_page), segment->p_memsz + past_page, MADV_DONTNEED);
    }
    return 0;
}

/* program.trim(): the start, or a change of the plan, is over. Starts the collector, which main.c holds until here the first time, and
 * gives back what it needed. */
static int trim(lua_State *L)
{
    lua_gc(L, LUA_GCRESTART);
    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCCOLLECT);
    pool_trim();
    malloc_trim(0);
    dl_iterate_phdr(forget_code, NULL);
    return 0;
}

int luaopen_appliance_core_program(lua_State *L);

int luaopen_appliance_core_program(lua_State *L)
{
    static const luaL_Reg functions[] = {{"supervise", supervise},     {"watch", watch}, {"finish", finish},     {"reload", reload},
                                         {"interrupted", interrupted}, {"trim", trim},   {"farewell", farewell}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"stopping", farewell_stopping}, {"stopped", farewell_stopped}, {"close", farewell_close}, {NULL, NULL}};
    bind_type(L, RELOAD, reload_close, NULL);
    bind_type(L, INTERRUPT, interrupt_close, NULL);
    bind_type(L, FAREWELL, farewell_close, methods);
    luaL_newlib(L, functions);
    return 1;
}
