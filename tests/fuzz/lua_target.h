/* lua_target.h - fuzzing what is written in Lua. A target is a Lua chunk that returns a function; it gets the input as a string and
 * raises when something does not hold, which ends the program as a crash would.
 * liblua counts no edges, so the fuzzer would fly blind: a line hook counts pairs of lines into counters that libFuzzer looks at. */
#ifndef FUZZ_LUA_TARGET_H
#define FUZZ_LUA_TARGET_H

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { LINE_COUNTERS = 1 << 14 };
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t line_counters[LINE_COUNTERS];

static void count_line(lua_State *L, lua_Debug *at)
{
    (void)L; /* lua_getinfo would tell the file, too, at ten times the price */
    static uint32_t last;
    uint32_t here = (uint32_t)at->currentline * 2654435761u;
    uint8_t *counter = &line_counters[(here ^ last >> 1) % LINE_COUNTERS];
    if (*counter < UINT8_MAX)
        ++*counter;
    last = here;
}

/* Lua's memory is its own affair: a collector frees later than it allocates, which libFuzzer would take for leaks, and look for them
 * after each input. Blocks of powers of two, kept by size when they are free. */
enum { ARENA = 1 << 30, SMALLEST = 5, CLASSES = 31 };

static unsigned class_of(size_t size)
{
    unsigned class = SMALLEST;
    while ((size_t)1 << class < size && class < CLASSES - 1)
        class ++;
    return class;
}

static void *take_block(void **free_block, size_t size)
{
    static char *arena;
    static size_t used;
    if (!arena)
        arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *block = *free_block;
    if (block) {
        memcpy(free_block, block, sizeof *free_block);
        return block;
    }
    if (arena == MAP_FAILED || used + size > ARENA)
        return NULL;
    used += size;
    return arena + used - size;
}

static void *arena_allocate(void *unused, void *old, size_t old_size, size_t size)
{
    static void *free_blocks[CLASSES];
    (void)unused;
    unsigned old_class = class_of(old ? old_size : 0), class = class_of(size);
    if (old && size && class == old_class)
        return old;
    void *block = size ? take_block(&free_blocks[class], (size_t)1 << class) : NULL;
    if (size && !block)
        return NULL;
    if (old && block)
        memcpy(block, old, old_size < size ? old_size : size);
    if (old) {
        memcpy(old, &free_blocks[old_class], sizeof(void *));
        free_blocks[old_class] = old;
    }
    return block;
}

static void must_be_fine(lua_State *L, int status)
{
    if (status == LUA_OK)
        return;
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
}

static int with_traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* `same(a, b)` compares deeply, for the targets. */
static const char prelude[] = "function same(a, b)\n"
                              "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
                              "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
                              "  for k in pairs(b) do if a[k] == nil then return false end end\n"
                              "  return true\n"
                              "end\n"
                              /* What a parser answers when it takes something for wrong: a kind and a sentence, never less. */
                              "function is_refusal(value, err)\n"
                              "  return value == nil and type(err) == 'table' and type(err.kind) == 'string' and #tostring(err) > 0\n"
                              "end\n";

static lua_State *lua_target_open(const char *chunk)
{
    lua_State *L = lua_newstate(arena_allocate, NULL);
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushliteral(L, FUZZ_LUA "/?.lua");
    lua_setfield(L, -2, "path");
    lua_settop(L, 0);
    must_be_fine(L, luaL_dostring(L, prelude));
    lua_pushcfunction(L, with_traceback);
    must_be_fine(L, luaL_loadstring(L, chunk) || lua_pcall(L, 0, 1, 0));
    lua_sethook(L, count_line, LUA_MASKLINE, 0);
    return L;
}

/* On the stack: the traceback function, the target. */
static int lua_target_run(lua_State *L, const uint8_t *data, size_t size)
{
    lua_pushvalue(L, 2);
    lua_pushlstring(L, (const char *)data, size);
    must_be_fine(L, lua_pcall(L, 1, 0, 1));
    return 0;
}

#endif
