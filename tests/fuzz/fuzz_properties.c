/* Properties files of others: no input may raise, and what is read is read again the same after it was written, in both forms. */
#include "lua_target.h"

static const char target[] =
    "local merge = require 'appliance.merge'\n"
    "local properties = require 'appliance.render.properties'\n"
    "local function essence(document)\n"
    "  local list = { below = document.below }\n"
    "  for i, item in ipairs(document.items) do list[i] = { item.key, item.value, item.above } end\n"
    "  return list\n"
    "end\n"
    "return function(text)\n"
    "  local document, err = properties.parse(text, 'input')\n"
    "  if not document then\n"
    "    assert(is_refusal(document, err))\n"
    "    assert(is_refusal(merge.file('spark-defaults.conf', { { layer = 'mounted', origin = 'input', text = text } })))\n"
    "    return\n"
    "  end\n"
    "  for _, separator in ipairs { '=', ' ' } do\n"
    "    local written = properties.render(document, separator)\n"
    "    assert(same(essence(document), essence(assert(properties.parse(written)))), written)\n"
    "  end\n"
    "  local made = assert(merge.file('spark-defaults.conf', { { layer = 'mounted', origin = 'input', text = text },\n"
    "    { layer = 'environment', origin = 'X', keys = { ['spark.a'] = 'b' } } }))\n"
    "  local map = properties.map(document)\n"
    "  map['spark.a'] = 'b'\n"
    "  assert(same(map, properties.map(assert(properties.parse(made.text)))), made.text)\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L)
        L = lua_target_open(target);
    return lua_target_run(L, data, size);
}
