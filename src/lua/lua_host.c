/* lua_host.c - appliance.core.host: what this process and this machine are. Nothing here waits, but for host.resolve. */
#include "appliance/aws_host.h"
#include "appliance/bind.h"
#include "appliance/child.h"
#include "appliance/clock.h"
#include "appliance/resolve.h"
#include "appliance/task.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

/* host.environ() -> { NAME = value }; of a name given twice the first counts, as for getenv(3). An entry without a name is nobody's. */
static int environment(lua_State *L)
{
    lua_newtable(L);
    for (char **entry = environ; *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        if (!equals || equals == *entry)
            continue;
        lua_pushlstring(L, *entry, (size_t)(equals - *entry));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushstring(L, equals + 1);
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 2);
        }
    }
    return 1;
}

static int pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

static int is_pid1(lua_State *L)
{
    lua_pushboolean(L, getpid() == 1);
    return 1;
}

static int uid(lua_State *L)
{
    lua_pushinteger(L, geteuid());
    return 1;
}

static int gid(lua_State *L)
{
    lua_pushinteger(L, getegid());
    return 1;
}

/* host.name() -> the kernel's host name */
static int name(lua_State *L)
{
    struct utsname system;
    uname(&system);
    lua_pushstring(L, system.nodename);
    return 1;
}

/* host.addresses() -> { { interface, address, family = "ipv4" | "ipv6", loopback } ... } of interfaces that are up */
static int addresses(lua_State *L)
{
    struct ifaddrs *all;
    lua_newtable(L);
    if (getifaddrs(&all) < 0)
        return 1;
    int count = 0;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
            continue;
        char text[INET6_ADDRSTRLEN];
        const void *raw;
        int family = i->ifa_addr->sa_family;
        if (family == AF_INET)
            raw = &((struct sockaddr_in *)i->ifa_addr)->sin_addr;
        else if (family == AF_INET6)
            raw = &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
        else
            continue;
        inet_ntop(family, raw, text, sizeof text);
        lua_createtable(L, 0, 4);
        lua_pushstring(L, i->ifa_name);
        lua_setfield(L, -2, "interface");
        lua_pushstring(L, text);
        lua_setfield(L, -2, "address");
        lua_pushstring(L, family == AF_INET ? "ipv4" : "ipv6");
        lua_setfield(L, -2, "family");
        lua_pushboolean(L, (i->ifa_flags & IFF_LOOPBACK) != 0);
        lua_setfield(L, -2, "loopback");
        lua_rawseti(L, -2, ++count);
    }
    freeifaddrs(all);
    return 1;
}

#define RESOLVING "appliance.host.resolving"

struct resolving {
    struct resolve resolve;
    struct wait wait;
};

static void resolved(struct resolve *r)
{
    wait_finish(&((struct resolving *)(void *)((char *)r - offsetof(struct resolving, resolve)))->wait);
}

static int resolving_close(lua_State *L)
{
    resolve_stop(&((struct resolving *)luaL_checkudata(L, 1, RESOLVING))->resolve);
    return 0;
}

static int resolving_done(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct resolve_answer *answer = &((struct resolving *)luaL_checkudata(L, -1, RESOLVING))->resolve.answer;
    if (!answer->ok)
        return bind_fail(L, &answer->err);
    lua_createtable(L, (int)answer->count, 0);
    for (size_t i = 0; i < answer->count; i++) {
        lua_pushstring(L, answer->addresses[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* host.resolve(name) -> { "10.0.0.1", "fd00::1", ... } | nil, err: its addresses now, in the order in which to try them. Waits, for as long
 * as the system's resolver does (a dead name server: half a minute); task.within sets a shorter limit. An address is its own answer. */
static int resolve_name(lua_State *L)
{
    size_t length;
    const char *host = luaL_checklstring(L, 1, &length);
    luaL_argcheck(L, strlen(host) == length, 1, "a name has no zero bytes");
    struct loop *loop = bind_loop(L);
    struct resolving *op = bind_op(L, sizeof *op, RESOLVING);
    struct err err;
    if (!resolve_start(&op->resolve, loop, host, resolved, &err))
        return bind_fail(L, &err);
    if (op->resolve.done)
        wait_finish(&op->wait);
    return task_await(L, &op->wait, resolving_done);
}

static int is_tty(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* host.columns(fd) -> width of the terminal, 80 where there is none */
static int columns(lua_State *L)
{
    struct winsize size;
    bool known = ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    return 1;
}

/* host.write(fd, text) -> true | nil, err. Blocks: for the command line only. */
static int write_text(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    size_t length;
    const char *text = luaL_checklstring(L, 2, &length);
    while (length > 0) {
        ssize_t size = write(fd, text, length);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0) {
            struct err err;
            err_errno(&err, "write to descriptor %d", fd);
            return bind_fail(L, &err);
        }
        text += size;
        length -= (size_t)size;
    }
    lua_pushboolean(L, true);
    return 1;
}

/* host.program() -> the absolute path of this executable | nil */
static int program(lua_State *L)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    if (length <= 0)
        return 0;
    lua_pushlstring(L, path, (size_t)length);
    return 1;
}

static int version(lua_State *L)
{
    lua_pushstring(L, APPLIANCE_VERSION);
    return 1;
}

static int wall_ms(lua_State *L)
{
    lua_pushinteger(L, clock_wall_ms());
    return 1;
}

/* host.cpu_count() -> processors this process may run on */
static int cpu_count(lua_State *L)
{
    cpu_set_t set;
    lua_pushinteger(L, sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN));
    return 1;
}

/* host.memory() -> bytes of the machine */
static int memory(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    return 1;
}

/* host.has_user() -> whether our uid has a passwd entry; Hadoop's login fails without one */
static int has_user(lua_State *L)
{
    lua_pushboolean(L, getpwuid(geteuid()) != NULL);
    return 1;
}

/* host.exec(argv) -> nil, err; does not return when it works: this process becomes that program, with default signals and its limit of
 * open files again */
static int exec(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int count = (int)lua_rawlen(L, 1);
    if (count < 1)
        return luaL_argerror(L, 1, "a program is needed");
    char **argv = lua_newuserdatauv(L, sizeof *argv * ((size_t)count + 1), 0);
    luaL_checkstack(L, count, "arguments");
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 1, i + 1);
        argv[i] = (char *)luaL_checkstring(L, -1);
    }
    argv[count] = NULL;
    sigset_t none, before;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, &before);
    signal(SIGPIPE, SIG_DFL);
    child_take_nofile();
    execvp(argv[0], argv);
    struct err err;
    err_errno(&err, "%s", argv[0]);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return bind_fail(L, &err);
}

/* host.setenv(name, value | nil): for a program about to be exec'd; children of supervise have their own environment */
static int set_environment(lua_State *L)
{
    const char *key = luaL_checkstring(L, 1);
    if (lua_isnoneornil(L, 2))
        unsetenv(key);
    else
        setenv(key, luaL_checkstring(L, 2), 1);
    return 0;
}

/* host.is_ec2() -> whether the machine says by itself that it is an instance of EC2; asks nobody */
static int is_ec2(lua_State *L)
{
    lua_pushboolean(L, aws_host_is_ec2(""));
    return 1;
}

/* host.random(bytes) -> so many bytes (at most 256) that nobody can guess */
static int random_bytes(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    unsigned char bytes[256]; /* the most that getrandom(2) gives whole, whatever signals come */
    luaL_argcheck(L, count >= 1 && count <= (lua_Integer)sizeof bytes, 1, "must be from 1 to 256");
    ssize_t got;
    do
        got = getrandom(bytes, (size_t)count, 0);
    while (got < 0 && errno == EINTR);
    if (got != count)
        return luaL_error(L, "the kernel gives no random numbers: %s", strerror(errno));
    lua_pushlstring(L, (const char *)bytes, (size_t)count);
    return 1;
}

int luaopen_appliance_core_host(lua_State *L);

int luaopen_appliance_core_host(lua_State *L)
{
    static const luaL_Reg functions[] = {{"environ", environment},
                                         {"setenv", set_environment},
                                         {"pid", pid},
                                         {"is_pid1", is_pid1},
                                         {"uid", uid},
                                         {"gid", gid},
                                         {"name", name},
                                         {"addresses", addresses},
                                         {"resolve", resolve_name},
                                         {"is_ec2", is_ec2},
                                         {"isatty", is_tty},
                                         {"columns", columns},
                                         {"write", write_text},
                                         {"program", program},
                                         {"version", version},
                                         {"wall_ms", wall_ms},
                                         {"cpu_count", cpu_count},
                                         {"memory", memory},
                                         {"random", random_bytes},
                                         {"has_user", has_user},
                                         {"exec", exec},
                                         {NULL, NULL}};
    bind_type(L, RESOLVING, resolving_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
