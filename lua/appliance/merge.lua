--- One configuration file out of its layers, key by key. Pure: it gets texts and tables, reads nothing itself.
--- Lowest to highest: shipped default < profile < mounted file < object of EXT_CONF < environment. Every key of the result knows
--- the layer it comes from and what that hides.
local failure = require "appliance.failure"
local secrets = require "appliance.secrets"

local merge = {}

merge.LAYERS = { "default", "profile", "mounted", "EXT_CONF", "environment" }
local RANK = {}
for rank, layer in ipairs(merge.LAYERS) do RANK[layer] = rank end

local HEADER = "Written by spark-appliance: the next start writes it anew. `spark-appliance plan` tells where each value comes from."

--- How the merger sees a format: parse, render and how a comment line stands above an item.
local FORMATS = {
  properties = function(name)
    local properties = require "appliance.render.properties"
    local separator = name:find "%.properties$" and "=" or " "
    return {
      parse = properties.parse,
      render = function(document) return properties.render(document, separator) end,
      comment = function(text) return "# " .. (text:gsub("%c", " ")) end,
    }
  end,
  xml = function()
    local xml = require "appliance.render.xml"
    return { parse = xml.parse, render = xml.render, comment = function(text) return (text:gsub("%c", " ")) end }
  end,
}

--- What a file is by its name. Only Hadoop's *-site.xml are key by key; fairscheduler.xml, jaas.conf and the like are texts.
function merge.format_of(name)
  local base = name:match "[^/]+$" or name
  if base == "spark-defaults.conf" or base:find "%.properties$" then return "properties" end
  if base:find "%-site%.xml$" then return "xml" end
  return "text"
end

--- A key may name its own layer: { value = "2g", layer = "environment", origin = "EXECUTOR_MEMORY (environment)" }.
local function expand(layers)
  local flat = {}
  for position, layer in ipairs(layers) do
    if not RANK[layer.layer] then error(('merge: "%s" is no layer'):format(tostring(layer.layer)), 3) end
    local own = { layer = layer.layer, origin = layer.origin, text = layer.text, keys = layer.keys and {}, mode = layer.mode,
                  secret = layer.secret, position = position }
    flat[#flat + 1] = own
    local raised = {}
    for key, value in pairs(layer.keys or {}) do
      local mark = type(value) == "table" and value[1] == nil and value or { value = value }
      if not mark.layer and not mark.origin then
        own.keys[key] = mark
      else
        local into = mark.layer or layer.layer
        local origin = mark.origin or layer.origin
        local id = into .. "\0" .. origin
        if not raised[id] then
          raised[id] = { layer = into, origin = origin, keys = {}, position = position }
          flat[#flat + 1] = raised[id]
        end
        raised[id].keys[key] = mark
      end
    end
  end
  table.sort(flat, function(a, b)
    if a.layer ~= b.layer then return RANK[a.layer] < RANK[b.layer] end
    if a.position ~= b.position then return a.position < b.position end
    return a.origin < b.origin
  end)
  return flat
end

--- Sizes are bytes on our side. Spark takes a bare number for MiB in its memory settings, so there a unit is written.
local function text_for(key, value)
  if type(value) == "number" and (key:find "%.memory$" or key:find "%.memoryOverhead$") then
    return require("appliance.settings.types").size_text(math.tointeger(value) or math.floor(value))
  end
  local text = require("appliance.render.properties").text
  if type(value) ~= "table" or value[1] == nil then return text(value) end
  local parts = {}                                          -- lists are told with commas, in Spark as in Hadoop
  for i, item in ipairs(value) do
    parts[i] = text(item)
    if not parts[i] then return nil end
  end
  return table.concat(parts, ",")
end

--- All that claim to set each key, lowest first: key -> { { value =, origin =, final =, ... }, ... }
local function claims_of(layers, name)
  local claims = {}
  local function claim(key, what)
    local list = claims[key] or {}
    claims[key] = list
    if list[#list] and list[#list].from == what.from then list[#list] = nil end   -- twice in one file: the last counts
    list[#list + 1] = what
  end
  for _, layer in ipairs(layers) do
    for _, item in ipairs(layer.document and layer.document.items or {}) do
      claim(item.key, { value = item.value, origin = layer.origin, from = layer, final = item.final, description = item.description })
    end
    for key, mark in pairs(layer.keys or {}) do
      local text = type(key) == "string" and text_for(key, mark.value)
      if not text then
        return nil, failure.new("invalid", "%s: %s: a %s can't be written there; give a text, a number, true or false",
          name, tostring(key), type(mark.value))
      end
      claim(key, { value = text, origin = layer.origin, from = layer,
                   final = mark.final, description = mark.description, secret = mark.secret })
    end
  end
  return claims
end

--- The highest claim wins, unless a lower one is <final>: Hadoop lets no later resource change that.
local function settle(list)
  for i, claim in ipairs(list) do
    if claim.final then return i end
  end
  return #list
end

local function decide(claims)
  local keys, winners = {}, {}
  for key, list in pairs(claims) do
    local at = settle(list)
    local winner = list[at]
    local decided = { value = winner.value, origin = winner.origin, final = winner.final }
    local shadowed = {}
    for i = #list, 1, -1 do
      if i ~= at then shadowed[#shadowed + 1] = { value = list[i].value, origin = list[i].origin } end
      if list[i].secret then decided.secret = true end
    end
    if shadowed[1] then decided.shadowed = shadowed end
    if secrets.is_secret(key) then decided.secret = true end
    keys[key], winners[key] = decided, winner
  end
  return keys, winners
end

--- Why the value that stands here is not the one the file beside it had.
local function override_note(key, item, layer)
  local instead = key.secret and "the one" or '"' .. secrets.redact_value(item.value) .. '"'
  return ("%s instead of %s of %s"):format(key.origin, instead, layer.origin)
end

local function without_header(above, header)
  local kept = {}
  for _, line in ipairs(above or {}) do
    if line ~= header then kept[#kept + 1] = line end
  end
  return kept
end

--- Items in the order in which the files have them, comments included; then what no file has, by origin.
local function arrange(layers, keys, winners, format)
  local items, seen, below = {}, {}, {}
  local header = format.comment(HEADER)
  for _, layer in ipairs(layers) do
    for _, item in ipairs(layer.document and layer.document.items or {}) do
      local place = seen[item.key]
      local above = without_header(item.above, header)
      if not place then
        local key, winner = keys[item.key], winners[item.key]
        place = { key = item.key, value = key.value, final = key.final,
                  description = winner.description or item.description, above = above }
        if winner.value ~= item.value then place.above[#above + 1] = format.comment(override_note(key, item, layer)) end
        items[#items + 1], seen[item.key] = place, place
      else
        table.move(above, 1, #above, #place.above + 1, place.above)
      end
    end
    local last = without_header(layer.document and layer.document.below, header)
    table.move(last, 1, #last, #below + 1, below)
  end
  local ours = {}
  for key, decided in pairs(keys) do
    if not seen[key] then
      ours[#ours + 1] = { key = key, value = decided.value, final = decided.final, description = winners[key].description,
                          rank = RANK[winners[key].from.layer], origin = decided.origin }
    end
  end
  table.sort(ours, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    if a.origin ~= b.origin then return a.origin < b.origin end
    return a.key < b.key
  end)
  local origin
  for _, item in ipairs(ours) do
    if item.origin ~= origin then
      item.above = below                                    -- the last words of the files stand before our part
      below = {}
      item.above[#item.above + 1] = format.comment(item.origin)
      origin = item.origin
    end
    items[#items + 1] = item
  end
  local first = items[1]
  if first then
    first.above = first.above or {}
    table.insert(first.above, 1, header)
  else
    table.insert(below, 1, header)
  end
  return { items = items, below = below }
end

--- A file that has no keys: the highest layer gives all of it.
local function merge_text(name, layers)
  local top = layers[#layers]
  if not top.text then
    return nil, failure.new("invalid",
      "%s: has keys, but is a plain text by its name; write it as properties{...} or xml{...} in each layer", name)
  end
  local file = { format = "text", text = top.text, origin = top.origin, mode = top.mode, secret = top.secret or nil }
  local shadowed = {}
  for i = #layers - 1, 1, -1 do shadowed[#shadowed + 1] = { origin = layers[i].origin } end
  if shadowed[1] then file.shadowed = shadowed end
  return file
end

local function mode_of(file, layers)
  for i = #layers, 1, -1 do
    if layers[i].mode then return layers[i].mode end
  end
  local secret = file.secret
  for _, key in pairs(file.keys or {}) do secret = secret or key.secret end
  return secret and 384 or 420                              -- 0600, 0644
end

--- merge.file(name, layers [, format]) -> { format =, text =, mode =, keys = } | nil, err
--- A layer is { layer = one of merge.LAYERS, origin = "who, in words", and text = "..." or keys = { key = value } }; their order
--- matters only among layers of the same kind, where the later wins.
function merge.file(name, layers, format)
  format = format or merge.format_of(name)
  layers = expand(layers)
  if format == "text" then
    local file, err = merge_text(name, layers)
    if not file then return nil, err end
    file.mode = mode_of(file, layers)
    return file
  end
  local adapter = FORMATS[format](name)
  for _, layer in ipairs(layers) do
    if layer.text then
      local document, err = adapter.parse(layer.text, layer.origin)
      if not document then return nil, err end
      layer.document = document
    end
  end
  if name:find "log4j2%.properties$" then layers = require("appliance.render.log4j2").merge_policy(layers) end
  local claims, err = claims_of(layers, name)
  if not claims then return nil, err end
  local keys, winners = decide(claims)
  local text, problem = adapter.render(arrange(layers, keys, winners, adapter), name)
  if not text then return nil, problem end
  local file = { format = format, text = text, keys = keys }
  file.mode = mode_of(file, layers)
  return file
end

return merge
