/* XML of others: the bounded reader on its own, then Hadoop's files in Lua: no input may raise, and what is read is read again the
 * same after it was written. */
#include "lua_target.h"

#include "appliance/xml.h"

#include <string.h>

int luaopen_appliance_xml(lua_State *L);

static const char target[] = "local xml = require 'appliance.render.xml'\n"
                             "local function essence(document)\n"
                             "  local list = { below = document.below }\n"
                             "  for i, item in ipairs(document.items) do\n"
                             "    list[i] = { item.key, item.value, item.above, item.final or false, item.description or false }\n"
                             "  end\n"
                             "  return list\n"
                             "end\n"
                             "return function(text)\n"
                             "  local document, err = xml.parse(text, 'input')\n"
                             "  if not document then\n"
                             "    assert(is_refusal(document, err))\n"
                             "    return\n"
                             "  end\n"
                             "  local written = assert(xml.render(document))\n"
                             "  local again = assert(xml.parse(written))\n"
                             "  assert(same(essence(document), essence(again)), written)\n"
                             "end\n";

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void read_bounded(struct bytes input)
{
    const struct xml_limits limits = {.bytes = 4096, .depth = 8, .nodes = 100};
    struct xml_document document;
    struct err err = {0};
    if (!xml_read(&document, input, &limits, &err)) {
        must(err.kind != ERR_NONE && err.text[0] && !document.nodes);
        return;
    }
    must(input.length <= limits.bytes && document.count <= limits.nodes && document.count > 0);
    for (size_t i = 0; i < document.count; i++) {
        const struct xml_node *node = &document.nodes[i];
        must(node->depth >= 1 && node->depth <= limits.depth + 1 && node->line >= 1);
        must(node->text.data[node->text.length] == 0 && strlen(node->text.data) == node->text.length);
        must((node->name[0] != 0) == (node->kind == XML_ELEMENT || node->kind == XML_ATTRIBUTE));
        must(i == 0 || node->depth <= document.nodes[i - 1].depth + 1);
    }
    xml_free(&document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L) {
        L = lua_target_open("return nil");
        luaL_requiref(L, "appliance.xml", luaopen_appliance_xml, 0);
        lua_settop(L, 1);
        must_be_fine(L, luaL_dostring(L, target));
    }
    read_bounded((struct bytes){(const char *)data, size});
    return lua_target_run(L, data, size);
}
