/* appliance.xml - XML documents of others as Lua tables. A shared object of its own: only a node that has a *-site.xml loads libxml2.
 * parse(text [, { ceiling = bytes, depth = n }]) -> root | nil, err
 *   an element is { name =, line =, attributes = { name = value } or nil, ... }; its children follow in order: a string is text,
 *   a table with `comment` is a comment, else it is an element.
 * escape(text) -> text for the inside of an element or attribute | nil, err */
#include "appliance/bind.h"
#include "appliance/xml.h"

#define DOCUMENT "appliance.xml.document"
#define ESCAPED  "appliance.xml.escaped"

static int document_close(lua_State *L)
{
    xml_free(luaL_checkudata(L, 1, DOCUMENT));
    return 0;
}

static int escaped_close(lua_State *L)
{
    buf_free(luaL_checkudata(L, 1, ESCAPED));
    return 0;
}

static void push_element(lua_State *L, const struct xml_node *node)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, node->name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, node->line);
    lua_setfield(L, -2, "line");
}

static void set_attribute(lua_State *L, const struct xml_node *node)
{
    if (lua_getfield(L, -1, "attributes") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "attributes");
    }
    lua_pushlstring(L, node->text.data, node->text.length);
    lua_setfield(L, -2, node->name);
    lua_pop(L, 1);
}

/* On the stack from `base` on: the open elements, the root first. */
static int push_tree(lua_State *L, const struct xml_document *document)
{
    int base = lua_gettop(L);
    for (size_t i = 0; i < document->count; i++) {
        const struct xml_node *node = &document->nodes[i];
        int parent = base + node->depth - 1;
        if (node->depth == 1 && node->kind != XML_ELEMENT)
            continue; /* comments around the root */
        if (lua_gettop(L) > parent && parent > base)
            lua_settop(L, parent);
        if (node->kind == XML_ATTRIBUTE) {
            set_attribute(L, node);
            continue;
        }
        if (node->kind == XML_ELEMENT) {
            push_element(L, node);
        } else {
            lua_pushlstring(L, node->text.data, node->text.length);
            if (node->kind == XML_COMMENT) {
                lua_createtable(L, 0, 1);
                lua_insert(L, -2);
                lua_setfield(L, -2, "comment");
            }
        }
        if (parent > base) {
            lua_pushvalue(L, -1);
            lua_rawseti(L, parent, (lua_Integer)lua_rawlen(L, parent) + 1);
        }
    }
    lua_settop(L, base + 1);
    return 1;
}

static int xml_parse(lua_State *L)
{
    struct bytes text;
    text.data = luaL_checklstring(L, 1, &text.length);
    struct xml_limits limits = XML_LIMITS_DEFAULT;
    limits.bytes = (size_t)bind_field_number(L, 2, "ceiling", (double)limits.bytes);
    limits.depth = (int)bind_field_number(L, 2, "depth", limits.depth);
    luaL_checkstack(L, limits.depth + 8, "XML nested too deep");
    struct xml_document *document = bind_op(L, sizeof *document, DOCUMENT);
    struct err err;
    if (!xml_read(document, text, &limits, &err))
        return bind_fail(L, &err);
    return push_tree(L, document);
}

static int xml_escape_text(lua_State *L)
{
    struct bytes text;
    text.data = luaL_checklstring(L, 1, &text.length);
    struct buf *out = bind_op(L, sizeof *out, ESCAPED);
    buf_init(out, 6 * text.length + 1);
    struct err err;
    if (!xml_escape(out, text, &err))
        return bind_fail(L, &err);
    lua_pushlstring(L, out->length ? out->data : "", out->length);
    return 1;
}

int luaopen_appliance_xml(lua_State *L);
int luaopen_appliance_xml(lua_State *L)
{
    static const luaL_Reg functions[] = {{"parse", xml_parse}, {"escape", xml_escape_text}, {NULL, NULL}};
    bind_type(L, DOCUMENT, document_close, NULL);
    bind_type(L, ESCAPED, escaped_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
