--- XML of AWS's services as plain tables. Pure: from the trees of appliance.xml. There is no schema, so the rules must do:
---  - an element without elements inside is its text, "" when it is empty: no guess at numbers or dates;
---  - an element whose children are all <member>, all <item>, or all of its own name without the s (<HostedZones><HostedZone/>...) is a
---    list, of one entry, too; an empty one whose name ends in Set (EC2: <reservationSet/>) is an empty list;
---  - any other element is a table by the names of its children; of a name that comes again it holds a list.
--- So what may be an empty list is "" or a list, and what may be a list without being named as one is a table or a list: tree.list makes
--- a list of each of them.
local failure = require "appliance.failure"

local tree = {}

local function elements(node)
  local out, text = {}, {}
  for _, child in ipairs(node) do
    if type(child) == "string" then
      text[#text + 1] = child
    elseif child.name then
      out[#out + 1] = child
    end
  end
  return out, table.concat(text)
end

local function is_list(node, children)
  local name = children[1].name
  if name ~= "member" and name ~= "item" and name .. "s" ~= node.name then return false end
  for _, child in ipairs(children) do
    if child.name ~= name then return false end
  end
  return true
end

--- An element as a string, list or table.
function tree.value(node)
  local children, text = elements(node)
  if #children == 0 then
    if text == "" and node.name:find "Set$" then return {} end
    return text
  end
  if is_list(node, children) then
    local list = {}
    for i, child in ipairs(children) do list[i] = tree.value(child) end
    return list
  end
  local out, count = {}, {}
  for _, child in ipairs(children) do
    local name = child.name
    count[name] = (count[name] or 0) + 1
    local value = tree.value(child)
    if count[name] == 1 then
      out[name] = value
    elseif count[name] == 2 then
      out[name] = { out[name], value }
    else
      table.insert(out[name], value)
    end
  end
  return out
end

--- What may be one, as a list: nothing and "" are empty, and what stands alone is its only entry.
function tree.list(value)
  if value == nil or value == "" then return {} end
  if type(value) == "table" and (value[1] ~= nil or next(value) == nil) then return value end
  return { value }
end

--- The document that answers an action -> the table inside <ACTIONResult>, or of the whole answer (EC2, and those that answer nothing)
--- | nil, err
function tree.result(body, action, subject)
  local root, err = require("appliance.xml").parse(body)
  if not root then return nil, failure.new("protocol", "%s: the answer is no XML: %s", subject, tostring(err)) end
  if root.name ~= action .. "Response" then
    return nil, failure.new("protocol", "%s: the answer is <%s>, which was not asked for", subject, root.name)
  end
  for _, child in ipairs(root) do
    if type(child) == "table" and child.name == action .. "Result" then
      local value = tree.value(child)
      return value == "" and {} or value
    end
  end
  local value = tree.value(root)
  return value == "" and {} or value
end

return tree
