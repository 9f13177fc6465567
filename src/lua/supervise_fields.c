#include "supervise_fields.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DURATION_MAX_S = 1000000000 };

void fields_fault(struct reading *r, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lua_pushstring(r->L, text);
    lua_rawseti(r->L, r->faults, (lua_Integer)lua_rawlen(r->L, r->faults) + 1);
}

char *fields_copy(struct reading *r, const char *text)
{
    char *out = strdup(text);
    if (!out)
        luaL_error(r->L, "not enough memory");
    return out;
}

void *fields_zeroed(struct reading *r, size_t count, size_t size)
{
    void *out = calloc(count, size);
    if (!out)
        luaL_error(r->L, "not enough memory");
    return out;
}

bool fields_get(struct reading *r, int table, const char *field, int type)
{
    int got = lua_getfield(r->L, table, field);
    if (got == type)
        return true;
    if (got != LUA_TNIL)
        fields_fault(r, "%s%s must be a %s, not a %s", r->prefix, field, lua_typename(r->L, type), lua_typename(r->L, got));
    lua_pop(r->L, 1);
    return false;
}

bool fields_has_zero(lua_State *L, int index)
{
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    return strlen(text) != length;
}

void fields_string(struct reading *r, int table, const char *field, char **out)
{
    if (!fields_get(r, table, field, LUA_TSTRING))
        return;
    if (fields_has_zero(r->L, -1))
        fields_fault(r, "%s%s holds a zero byte", r->prefix, field);
    else
        *out = fields_copy(r, lua_tostring(r->L, -1));
    lua_pop(r->L, 1);
}

void fields_boolean(struct reading *r, int table, const char *field, bool *out)
{
    if (!fields_get(r, table, field, LUA_TBOOLEAN))
        return;
    *out = lua_toboolean(r->L, -1);
    lua_pop(r->L, 1);
}

void fields_number(struct reading *r, int table, const char *field, double least, double most, double scale, int64_t *out)
{
    if (!fields_get(r, table, field, LUA_TNUMBER))
        return;
    double value = lua_tonumber(r->L, -1);
    if (!(value >= least && value <= most)) /* also what is no number */
        fields_fault(r, "%s%s must be from %.14g to %.14g, not %.14g", r->prefix, field, least, most, value);
    else
        *out = (int64_t)(value * scale + (value < 0 ? -0.5 : 0.5));
    lua_pop(r->L, 1);
}

void fields_seconds(struct reading *r, int table, const char *field, int64_t *out_ms)
{
    fields_number(r, table, field, 0, DURATION_MAX_S, 1000, out_ms);
}

void fields_int(struct reading *r, int table, const char *field, int least, int most, int *out)
{
    int64_t value = *out;
    fields_number(r, table, field, least, most, 1, &value);
    *out = (int)value;
}

void fields_word(struct reading *r, int table, const char *field, const char *const words[], int *out)
{
    if (!fields_get(r, table, field, LUA_TSTRING))
        return;
    const char *text = lua_tostring(r->L, -1);
    char all[120] = "";
    for (int i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            lua_pop(r->L, 1);
            return;
        }
        size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s\"%s\"", i ? ", " : "", words[i]);
    }
    fields_fault(r, "%s%s must be one of %s, not \"%s\"", r->prefix, field, all, text);
    lua_pop(r->L, 1);
}

void fields_refuse_unknown(struct reading *r, int table, const char *const known[])
{
    lua_State *L = r->L;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        bool found = false;
        if (lua_type(L, -2) != LUA_TSTRING) {
            fields_fault(r, "%s[%s] has no name", r->prefix, luaL_tolstring(L, -2, NULL));
            lua_pop(L, 1);
            continue;
        }
        for (int i = 0; known[i] && !found; i++)
            found = strcmp(lua_tostring(L, -2), known[i]) == 0;
        if (!found)
            fields_fault(r, "%s%s is no field of a service", r->prefix, lua_tostring(L, -2));
    }
}

void fields_raise(struct reading *r, const char *subject)
{
    lua_State *L = r->L;
    size_t count = lua_rawlen(L, r->faults);
    if (count == 0)
        return;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            luaL_addstring(&text, "; ");
        lua_rawgeti(L, r->faults, (lua_Integer)i + 1);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    luaL_error(L, "%s: %s", subject, lua_tostring(L, -1));
}
