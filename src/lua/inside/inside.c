/* inside.c - the program's Lua modules ride in its own file: a start opens none of sixty files, nor does the healthcheck every few
 * seconds, and a node at work never meets the modules of a newer version. What they are is decided in CMakeLists.txt.
 * They lie in a section that is not mapped but read: what a start reads once would be counted as our memory for ever. */
#include "appliance/inside.h"
#include "appliance/pool.h"

#include <elf.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 4096, SECTIONS = 64 };

struct module {
    uint32_t at, size; /* in the section */
    char name[56];
};

/* The assembler writes the section, known by its type (one that ELF leaves to users), and its index. */
#define SECTION_TYPE 0x81a9a1e5
/* clang-format off */
__asm__(".pushsection .appliance.lua,\"\",@0x81a9a1e5\n.Linside_chunks:\n"
#define MODULE(name, file) "\".L" name "\": .incbin \"" file "\"\n\".Lend " name "\":\n"
#include "inside_modules.h"
#undef MODULE
        ".popsection\n.pushsection .rodata\n.balign 4\n.globl inside_modules\n.hidden inside_modules\ninside_modules:\n"
#define MODULE(name, file) ".long \".L" name "\" - .Linside_chunks, \".Lend " name "\" - \".L" name "\"\n1: .ascii \"" name "\"\n.org 1b + 56\n"
#include "inside_modules.h"
#undef MODULE
        ".zero 64\n.popsection");
/* clang-format on */

extern const struct module inside_modules[] __attribute__((visibility("hidden"))); /* the last one is empty */

static struct {
    int fd; /* our own file, kept: it may have been replaced by the next version */
    uint64_t at;
} section = {.fd = -1};

static bool read_whole(int fd, void *out, size_t size, uint64_t at)
{
    return pread(fd, out, size, (off_t)at) == (ssize_t)size;
}

static bool find_section(void)
{
    if (section.fd >= 0)
        return true;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ElfW(Ehdr) head;
    ElfW(Shdr) sections[SECTIONS];
    if (read_whole(fd, &head, sizeof head, 0) && head.e_shnum <= SECTIONS && head.e_shentsize == sizeof *sections &&
        read_whole(fd, sections, head.e_shnum * sizeof *sections, head.e_shoff))
        for (int i = 0; i < head.e_shnum; i++)
            if (sections[i].sh_type == SECTION_TYPE) {
                section.at = sections[i].sh_offset;
                section.fd = fd;
                return true;
            }
    close(fd);
    return false;
}

struct reading {
    uint64_t at;
    size_t left;
    char text[READ_SIZE];
};

static const char *read_part(lua_State *L, void *argument, size_t *size)
{
    (void)L;
    struct reading *r = argument;
    *size = r->left < sizeof r->text ? r->left : sizeof r->text;
    if (*size == 0 || !read_whole(section.fd, r->text, *size, r->at)) /* a chunk that ends too early is refused by Lua */
        return NULL;
    r->at += *size;
    r->left -= *size;
    return r->text;
}

/* One of package.searchers: name -> loader, where it was found | why not */
static int find(lua_State *L)
{
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    for (const struct module *m = inside_modules; m->size; m++)
        if (length < sizeof m->name && m->name[length] == '\0' && m->name[length - 1] == name[length - 1] && strcmp(m->name, name) == 0 &&
            find_section()) {
            struct reading r;
            r.at = section.at + m->at;
            r.left = m->size;
            pool_lasting(true);
            int status = lua_load(L, read_part, &r, name, "b");
            pool_lasting(false);
            if (status != LUA_OK)
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
