/* Values of settings: the first byte picks the setting, the rest is its text. No value may raise; a refusal names the setting; and a
 * value is the same when it is read again. A secret never shows in what is said about it. */
#include "lua_target.h"

static const char target[] =
    "local settings = require 'appliance.settings'\n"
    "local types = require 'appliance.settings.types'\n"
    "local names, schema = {}, { FUZZ_SECRET = { type = 'size', secret = true, doc = 'x' },\n"
    "  FUZZ_LIST = { type = 'list', of = 'port', doc = 'x' }, FUZZ_FRACTION = { type = 'fraction', doc = 'x' } }\n"
    "for _, part in ipairs { require 'appliance.settings.core', (require 'appliance.settings.spark') } do\n"
    "  for name, def in pairs(part) do schema[name] = def end\n"
    "end\n"
    "for name in pairs(schema) do names[#names + 1] = name end\n"
    "table.sort(names)\n"
    "local function no_file() return nil, 'no files here' end\n"
    "return function(input)\n"
    "  if #input == 0 then return end\n"
    "  local name = names[input:byte() % #names + 1]\n"
    "  local text = input:sub(2):gsub('%z', '')\n" /* an environment has no zero bytes */
    "  local env, faults = settings.read(schema, { [name] = text }, no_file)\n"
    "  if not env then\n"
    "    assert(#faults > 0)\n"
    "    for _, fault in ipairs(faults) do\n"
    "      assert(is_refusal(nil, fault))\n"
    "      if name == 'FUZZ_SECRET' and #text > 12 then assert(not tostring(fault):find(text, 1, true), tostring(fault)) end\n"
    "    end\n"
    "    return\n"
    "  end\n"
    "  local again = assert(settings.read(schema, { [name] = text }, no_file))\n"
    "  assert(same(env[name], again[name]))\n"
    "  local def, value = schema[name], env[name]\n"
    "  if def.type == 'hosts' and value then assert(same(value, types.hosts(types.hosts_text(value), def))) end\n"
    "  if def.type == 'masters' and value then assert(value == types.masters(value, def)) end\n"
    "  if def.type == 'size' and value then assert(math.type(value) == 'integer' and value >= 0) end\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L)
        L = lua_target_open(target);
    return lua_target_run(L, data, size);
}
