/* appliance.core.hangup - waits until nobody reads any more what we print: `logs -f worker | grep -m1 ready` shall end with grep,
 * not with the next line of a service that may never say another.
 *
 *   hangup.wait(fd)      returns when the other side of a pipe, socket or terminal is gone; never for a file */
#include "appliance/bind.h"
#include "appliance/sys.h"
#include "appliance/task.h"

#include <fcntl.h>

#define HANGUP "appliance.hangup"

struct hangup {
    struct wait wait;
    struct watch watch;
    int fd; /* a copy, plus one; 0: none */
};

static int hangup_close(lua_State *L)
{
    struct hangup *h = luaL_checkudata(L, 1, HANGUP);
    watch_stop(&h->watch);
    if (h->fd)
        sys.close(h->fd - 1);
    h->fd = 0;
    return 0;
}

static void gone(struct watch *w, uint32_t events)
{
    (void)events; /* only errors and hang-ups are reported to who asks for nothing */
    struct hangup *h = (struct hangup *)(void *)((char *)w - offsetof(struct hangup, watch));
    watch_stop(w);
    wait_finish(&h->wait);
}

static int was_gone(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

static int hangup_wait(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    struct loop *loop = bind_loop(L);
    struct hangup *h = bind_op(L, sizeof *h, HANGUP);
    h->fd = sys.fcntl(fd, F_DUPFD_CLOEXEC, 3) + 1;
    /* A copy, lest the descriptor is closed while it is watched. What can't be watched is a file: it has no other side. */
    if (h->fd)
        watch_start(&h->watch, loop, h->fd - 1, 0, gone, NULL);
    return task_await(L, &h->wait, was_gone);
}

int luaopen_appliance_core_hangup(lua_State *L);

int luaopen_appliance_core_hangup(lua_State *L)
{
    static const luaL_Reg functions[] = {{"wait", hangup_wait}, {NULL, NULL}};
    bind_type(L, HANGUP, hangup_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
