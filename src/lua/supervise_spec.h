/* supervise_spec.h - a service as a Lua table (docs/profiles.md) read into a service_spec. */
#ifndef APPLIANCE_SUPERVISE_SPEC_H
#define APPLIANCE_SUPERVISE_SPEC_H

#include "appliance/service.h"

#include <lua.h>

/* Reads the table at `index` into the spec that *box owns; raises one error that names every field at fault.
 * `box` is memory of the caller that a __close or __gc frees, so nothing is lost when Lua raises in between. */
void supervise_read_spec(lua_State *L, int index, struct service_spec **box);

#endif
