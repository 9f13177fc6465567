/* appliance.core.probe - waits until somebody answers on a numeric address, with the supervisor's own probe (probe.h): tries follow one another
 * soon at first, then every `period`.
 *
 *   probe.wait{ host = "127.0.0.1", port = 7077, period = 1 }      -- returns true; the caller's task.within bounds it
 *
 * A connection is all: nothing is sent, so that what listens there has nothing to complain of. */
#include "appliance/bind.h"
#include "appliance/probe.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PROBE "appliance.probe"

enum { HOST_SIZE = 64 };

struct lua_probe {
    struct probe probe;
    struct ready_spec spec;
    struct wait wait;
    char host[HOST_SIZE];
};

static int lua_probe_close(lua_State *L)
{
    struct lua_probe *p = luaL_checkudata(L, 1, PROBE);
    probe_stop(&p->probe);
    return 0;
}

static void answered(struct probe *probe)
{
    struct lua_probe *p = (struct lua_probe *)(void *)((char *)probe - offsetof(struct lua_probe, probe));
    probe_stop(probe);
    wait_finish(&p->wait);
}

static int has_answered(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    lua_pushboolean(L, true);
    return 1;
}

static int probe_wait(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *host = bind_field_string(L, 1, "host", NULL);
    double port = bind_field_number(L, 1, "port", 0);
    int64_t period_ms = bind_field_ms(L, 1, "period", 1);
    luaL_argcheck(L, host && strlen(host) < HOST_SIZE, 1, "host: a numeric address is needed");
    luaL_argcheck(L, port >= 1 && port <= 65535, 1, "port: 1 to 65535");
    luaL_argcheck(L, period_ms >= 1, 1, "period: at least a millisecond");
    struct loop *loop = bind_loop(L);
    struct lua_probe *p = bind_op(L, sizeof *p, PROBE);
    snprintf(p->host, sizeof p->host, "%s", host);
    p->spec = (struct ready_spec){.kind = READY_TCP, .host = p->host, .port = (int)port, .period_ms = period_ms};
    probe_start(&p->probe, loop, &p->spec, NULL, PROBE_READY, answered, NULL);
    return task_await(L, &p->wait, has_answered);
}

int luaopen_appliance_core_probe(lua_State *L);

int luaopen_appliance_core_probe(lua_State *L)
{
    static const luaL_Reg functions[] = {{"wait", probe_wait}, {NULL, NULL}};
    bind_type(L, PROBE, lua_probe_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
