/* aws_push.h - what the parts of appliance.native.aws share: headers to and from Lua tables, texts into them, an end that comes once. */
#ifndef APPLIANCE_AWS_PUSH_H
#define APPLIANCE_AWS_PUSH_H

#include "appliance/headers.h"

#include <lua.h>

/* Adds field `headers` ({ name = value or list of values }) of the table at `index`, if it is there. What can't be a header raises, as it
 * is the caller's doing; so `headers` must have an owner already. */
void aws_check_headers(lua_State *L, int index, struct headers *headers);
/* Pushes { name in lower case = value }. Several of one name are one value with commas between (RFC 9110, 5.3). */
void aws_push_headers(lua_State *L, const struct headers *headers);
/* Sets a field of the table on top, unless the text is NULL or empty. */
void aws_push_text(lua_State *L, const char *name, const char *text);
/* Has the __gc of `type` called when Lua closes. Once for each Lua: who loads the module anew (busted, for each file) must not have the
 * first guard collected, and all shut down. What was guarded later is ended earlier. */
void aws_guard(lua_State *L, const char *type);

#endif
