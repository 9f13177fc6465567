/* core.c - appliance.so: lets a plain lua5.4, or busted, `require "appliance.core.NAME"`.
 * It has no code of its own. Lua's all-in-one loader opens it by its root name and finds luaopen_appliance_core_NAME in the core
 * that it links, so that tests use the very code PID 1 runs. */
const char appliance_module[] = "appliance.core";
