#include "aws_push.h"

#include "appliance/err.h"

#include <ctype.h>
#include <lauxlib.h>

/* The value on top; what can't be a header raises, as it is the caller's doing. */
static void add_header(lua_State *L, struct headers *headers, const char *name)
{
    struct err err;
    struct bytes value;
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "headers: %s: a string expected, got %s", name, luaL_typename(L, -1));
    value.data = lua_tolstring(L, -1, &value.length);
    if (!headers_add(headers, name, value, &err))
        luaL_error(L, "%s", err.text);
}

void aws_check_headers(lua_State *L, int index, struct headers *headers)
{
    int kind = lua_getfield(L, index, "headers");
    if (kind == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    luaL_argexpected(L, kind == LUA_TTABLE, index, "table with a table of headers");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "headers: the names must be strings");
        const char *name = lua_tostring(L, -2);
        if (lua_type(L, -1) != LUA_TTABLE) {
            add_header(L, headers, name);
            continue;
        }
        for (lua_Integer i = 1; lua_geti(L, -1, i) != LUA_TNIL; i++, lua_pop(L, 1))
            add_header(L, headers, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void push_lower(lua_State *L, const char *name)
{
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (; *name; name++)
        luaL_addchar(&text, (char)tolower((unsigned char)*name));
    luaL_pushresult(&text);
}

void aws_push_headers(lua_State *L, const struct headers *headers)
{
    const char *name, *value;
    lua_createtable(L, 0, headers->count);
    for (size_t at = 0; headers_next(headers, &at, &name, &value);) {
        push_lower(L, name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TSTRING)
            lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), value);
        else
            lua_pushstring(L, value);
        lua_remove(L, -2);
        lua_rawset(L, -3);
    }
}

void aws_push_text(lua_State *L, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

void aws_guard(lua_State *L, const char *type)
{
    lua_pushfstring(L, "%s.guard", type);
    lua_pushvalue(L, -1);
    if (lua_gettable(L, LUA_REGISTRYINDEX) == LUA_TNIL) {
        lua_newuserdatauv(L, 0, 0);
        luaL_setmetatable(L, type);
        lua_replace(L, -2);
        lua_settable(L, LUA_REGISTRYINDEX);
    } else {
        lua_pop(L, 2);
    }
}
