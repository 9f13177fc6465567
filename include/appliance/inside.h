/* inside.h - the Lua modules that are part of the program's own file, and the searcher that `require` finds them with.
 * The same modules lie beside the program too, as files: for busted, and for people. The program reads its own. */
#ifndef APPLIANCE_INSIDE_H
#define APPLIANCE_INSIDE_H

#include <lua.h>

void inside_preload(lua_State *);

#endif
