/* inside.c - the program's Lua modules are inside it: a start opens none of sixty files, and the healthcheck every few seconds neither.
 * What they are is decided in CMakeLists.txt, which compiles each of lua/ and has the assembler put them behind one another. */
#include "appliance/inside.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Named by the assembler, without pointers: nothing has to be relocated at the start. */
struct module {
    uint32_t at, size; /* in inside_chunks */
    char name[56];
};

#define SYMBOL(name) ".globl " name "\n.hidden " name "\n" name ":\n"
/* clang-format off */
__asm__(".pushsection .rodata\n.balign 16\n" SYMBOL("inside_chunks")
#define MODULE(name, file) "\".L" name "\": .incbin \"" file "\"\n\".Lend " name "\":\n"
#include "inside_modules.h"
#undef MODULE
        SYMBOL("inside_end") ".balign 4\n" SYMBOL("inside_modules")
#define MODULE(name, file) ".long \".L" name "\" - inside_chunks, \".Lend " name "\" - \".L" name "\"\n1: .ascii \"" name "\"\n.org 1b + 56\n"
#include "inside_modules.h"
#undef MODULE
        ".zero 64\n.popsection");
/* clang-format on */

extern const struct module inside_modules[] __attribute__((visibility("hidden")));
extern const unsigned char inside_chunks[] __attribute__((visibility("hidden"))), inside_end[] __attribute__((visibility("hidden")));

/* One of package.searchers: name -> loader, where it was found | why not */
static int find(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (const struct module *m = inside_modules; m->size; m++)
        if (strcmp(m->name, name) == 0) {
            if (luaL_loadbufferx(L, (const char *)inside_chunks + m->at, m->size, m->name, "b") != LUA_OK)
                return luaL_error(L, "module '%s' inside the program: %s", name, lua_tostring(L, -1));
            lua_pushliteral(L, "inside the program");
            return 2;
        }
    lua_pushfstring(L, "no module '%s' inside the program", name);
    return 1;
}

void inside_preload(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) { /* behind package.preload, before the files */
        lua_geti(L, -1, i);
        lua_seti(L, -2, i + 1);
    }
    lua_pushcfunction(L, find);
    lua_seti(L, -2, 2);
    lua_pop(L, 2);
}

void inside_forget(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)inside_chunks + page - 1) & ~(page - 1), to = (uintptr_t)inside_end & ~(page - 1);
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED); /* pages of our file that nobody writes: they come back when they are read */
}
