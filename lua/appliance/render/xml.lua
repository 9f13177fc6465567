--- Hadoop's configuration files (core-site.xml, hive-site.xml ...): read through libxml2 (module appliance.xml, loaded by the
--- first parse), written in plain Lua, so that a plan which only writes one needs no native module.
--- A document has the shape of the other formats:
---   { items = { { key =, value =, final = true, description =, line =, above = { "a comment" } } }, below = { "a comment" } }
local failure = require "appliance.failure"

local xml = {}

--- All text inside an element; nil when it has elements where text is meant.
local function text_of(element)
  local parts = {}
  for _, child in ipairs(element) do
    if type(child) == "string" then parts[#parts + 1] = child
    elseif not child.comment then return nil end
  end
  return table.concat(parts)
end

local function trim(text) return text and text:match "^%s*(.-)%s*$" end

--- One <property>. Its fields are elements or, as Hadoop also takes them, attributes.
local function property(element, name)
  local fields = {}
  for field, value in pairs(element.attributes or {}) do fields[field] = value end
  for _, child in ipairs(element) do
    if type(child) == "table" and child.name then
      local value = text_of(child)
      if not value then
        return nil, failure.new("invalid", "%s:%d: <%s> holds elements where a text is meant", name, child.line, child.name)
      end
      fields[child.name] = value
    end
  end
  local key = trim(fields.name)
  if not key or key == "" then
    return nil, failure.new("invalid", "%s:%d: a <property> without a <name>", name, element.line)
  end
  return {
    key = key,
    value = fields.value,                                   -- Hadoop keeps its white space, so we do; nil: no <value>
    final = trim(fields.final) == "true" or nil,
    description = fields.description and fields.description ~= "" and fields.description or nil,
    line = element.line,
  }
end

--- xml.parse(text [, name]) -> document | nil, err. `name` is what a message calls the file.
function xml.parse(text, name)
  name = name or "configuration"
  local root, err = require("appliance.xml").parse(text)
  if not root then return nil, failure.new(err.kind, "%s: %s", name, err.text) end
  if root.name ~= "configuration" then
    return nil, failure.new("invalid", "%s:%d: <%s> where Hadoop's <configuration> is expected", name, root.line, root.name)
  end
  local items, above = {}, {}
  for _, child in ipairs(root) do
    if type(child) == "string" then
      if child:find "%S" then
        return nil, failure.new("invalid", '%s:%d: text between the properties: "%s"', name, root.line, trim(child):sub(1, 40))
      end
    elseif child.comment then
      above[#above + 1] = trim(child.comment)
    elseif child.name == "property" then
      local item, problem = property(child, name)
      if not item then return nil, problem end
      if item.value then                                    -- Hadoop, too, passes over a property that sets nothing
        item.above, above = above, {}
        items[#items + 1] = item
      end
    elseif child.name == "include" then
      return nil, failure.new("invalid", "%s:%d: <include> is not followed: mount one file that holds it all", name, child.line)
    else
      return nil, failure.new("invalid", "%s:%d: <%s> where a <property> is expected", name, child.line, child.name)
    end
  end
  return { items = items, below = above }
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\r"] = "&#13;" }

local function escape(text) return (text:gsub('[&<>"\r]', ENTITIES)) end

--- What XML 1.0 can't hold at all, not even as a character reference: most control characters, U+FFFE, U+FFFF, what is no UTF-8.
local function unwritable(text)
  if text:find "[%z\1-\8\11\12\14-\31]" or text:find("\xEF\xBF[\xBE\xBF]") then return "a control character" end
  if not utf8.len(text) then return "bytes that are not UTF-8" end
  return nil
end

--- "--" may not stand in a comment, nor "-" before its end.
local function comment(text)
  text = text:gsub("%-%-+", function(dashes) return ("- "):rep(#dashes - 1) .. "-" end):gsub("%-$", "- ")
  return "  <!-- " .. text .. " -->"
end

local function write_item(lines, item)
  for _, text in ipairs(item.above or {}) do lines[#lines + 1] = comment(text) end
  lines[#lines + 1] = "  <property>"
  lines[#lines + 1] = "    <name>" .. escape(item.key) .. "</name>"
  lines[#lines + 1] = "    <value>" .. escape(item.value) .. "</value>"
  if item.final then lines[#lines + 1] = "    <final>true</final>" end
  if item.description then lines[#lines + 1] = "    <description>" .. escape(item.description) .. "</description>" end
  lines[#lines + 1] = "  </property>"
end

--- xml.render(document [, name]) -> text | nil, err: a value may hold what XML has no way to say.
function xml.render(document, name)
  local lines = { '<?xml version="1.0" encoding="UTF-8"?>', "<configuration>" }
  for _, item in ipairs(document.items) do
    local problem = unwritable(item.key .. item.value .. (item.description or ""))
    if problem then
      return nil, failure.new("invalid", "%s: %s: its value has %s, which XML can't hold", name or "configuration", item.key, problem)
    end
    write_item(lines, item)
  end
  for _, text in ipairs(document.below or {}) do lines[#lines + 1] = comment(text) end
  lines[#lines + 1] = "</configuration>\n"
  return table.concat(lines, "\n")
end

return xml
