/* main.c - from exec to the first Lua task: signals, descriptors, a Lua state with our paths, then the loop. */
#include "appliance/bind.h"
#include "appliance/child.h"
#include "appliance/inside.h"
#include "appliance/log.h"
#include "appliance/pool.h"
#include "appliance/program.h"
#include "appliance/signals.h"

#include <fcntl.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Whoever started us may have closed these; a descriptor of ours must never become somebody's stdout. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* Two descriptors a service: as many as the system lets us. Children get the old limit back. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    child_set_nofile(&limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void set_path(lua_State *L, const char *field, const char *format, const char *directory)
{
    lua_getglobal(L, "package");
    lua_pushfstring(L, format, directory, directory);
    lua_setfield(L, -2, field);
    lua_pop(L, 1);
}

/* Beside the program: build/{lua,modules} in a checkout; PREFIX/share and PREFIX/lib once installed. */
static void find_our_lua(lua_State *L)
{
    char program[PATH_MAX], path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    /* Room for the longest suffix is checked by snprintf; a path that long finds nothing and `require` says so. */
    snprintf(path, sizeof path, "%.*s/lua/appliance", PATH_MAX - 64, program);
    if (access(path, F_OK) == 0) {
        set_path(L, "path", "%s/lua/?.lua;%s/lua/?/init.lua", program);
        set_path(L, "cpath", "%s/modules/?.so", program);
        return;
    }
    snprintf(path, sizeof path, "%.*s/%s", PATH_MAX - 64, program, APPLIANCE_SHARE);
    set_path(L, "path", "%s/lua/?.lua;%s/lua/?/init.lua", path);
    snprintf(path, sizeof path, "%.*s/%s", PATH_MAX - 64, program, APPLIANCE_LIB);
    set_path(L, "cpath", "%s/?.so", path);
}

static int at_panic(lua_State *L)
{
    log_error("Lua without protection: %s", lua_tostring(L, -1));
    return 0;
}

static lua_State *open_lua(void)
{
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},       {LUA_LOADLIBNAME, luaopen_package}, {LUA_COLIBNAME, luaopen_coroutine},
        {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},   {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8}, {LUA_OSLIBNAME, luaopen_os},        {LUA_IOLIBNAME, luaopen_io},
        {LUA_DBLIBNAME, luaopen_debug},
    };
    lua_State *L = lua_newstate(pool_allocate, NULL);
    if (!L)
        return NULL;
    lua_atpanic(L, at_panic);
    lua_gc(L, LUA_GCSTOP); /* nothing of the start is garbage worth looking for; boot starts the collector */
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
        lua_pop(L, 1);
    }
    bind_preload(L);
    inside_preload(L);
    find_our_lua(L);
    return L;
}

int main(int argc, char **argv)
{
    signals_block();
    open_standard_descriptors();
    raise_descriptor_limit();
    lua_State *L = open_lua();
    if (!L) {
        log_error("no memory for Lua");
        return EXIT_BUG;
    }
    return program_run(L, argc, argv);
}
