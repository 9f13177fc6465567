/* bind.h - the few things every lua_*.c needs: errors as values, options from tables, closable operations. */
#ifndef APPLIANCE_BIND_H
#define APPLIANCE_BIND_H

#include "appliance/err.h"
#include "appliance/task.h"

#include <lauxlib.h>
#include <lua.h>

/* Pushes nil and an error value { kind, code, text } with __tostring; returns 2. */
int bind_fail(lua_State *L, const struct err *);
/* Pushes only the error value. */
void bind_push_err(lua_State *L, const struct err *);
/* A zeroed userdata with the metatable `type` (made by bind_type), marked to-be-closed: from here on its __close owns everything. */
void *bind_op(lua_State *L, size_t size, const char *type);
/* Registers a metatable: __close and __gc call `close` (which must be idempotent), methods may be NULL. */
void bind_type(lua_State *L, const char *type, lua_CFunction close, const luaL_Reg *methods);
/* Keeps the value at `index` alive as long as the userdata on top (user value 1). */
void bind_pin(lua_State *L, int index);

/* Optional fields of the table at `index`; the default when absent, a raised error on a wrong type that names the field. */
const char *bind_field_string(lua_State *L, int index, const char *field, const char *otherwise);
double bind_field_number(lua_State *L, int index, const char *field, double otherwise);
bool bind_field_boolean(lua_State *L, int index, const char *field, bool otherwise);
/* Durations are seconds in Lua and milliseconds in C. */
int64_t bind_field_ms(lua_State *L, int index, const char *field, double otherwise_seconds);

/* task_loop(), or raises. */
struct loop *bind_loop(lua_State *L);

/* The core's modules are functions luaopen_appliance_core_NAME. The program finds them through package.preload, which this fills;
 * under a plain lua5.4 or busted the module appliance.so brings them by Lua's all-in-one loader. */
void bind_preload(lua_State *L);

#endif
