--- Java properties, read and written as java.util.Properties does (Spark reads spark-defaults.conf with it).
--- A document keeps what a person wrote around the keys:
---   { items = { { key =, value =, line =, above = { "# why", "" } } }, below = { "# last words" } }
--- `above` and `below` hold comments and blank lines as they stood. Keys and values are UTF-8; a lone surrogate
--- ("\ud800" in the file) is kept as its three bytes, so that Java reads back what it wrote.
local failure = require "appliance.failure"

local properties = {}

--- A settings file of a person has kilobytes; more than this is a mistake or an attack.
properties.CEILING = 4 * 1024 * 1024

local REPLACEMENT = "\u{FFFD}"
local SURROGATE = "^\xED[\xA0-\xBF][\x80-\xBF]"

--- Bytes that are no UTF-8 become U+FFFD, as Java's decoder has it.
local function wellformed(text, keep_surrogates)
  local length, bad = utf8.len(text)
  if length then return text end
  local parts, from = {}, 1
  while not length do
    local last = bad
    if keep_surrogates and text:find(SURROGATE, bad) then
      last = bad + 2
      parts[#parts + 1] = text:sub(from, last)
    else
      parts[#parts + 1] = text:sub(from, bad - 1)
      parts[#parts + 1] = REPLACEMENT
    end
    from = last + 1
    if from > #text then break end
    length, bad = utf8.len(text, from)
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

local ESCAPED = { t = "\t", n = "\n", r = "\r", f = "\f" }

local function join_surrogates(high, high_low, low, low_low)
  local lead = (high:byte() & 0x3F) << 6 | high_low:byte() & 0x3F
  local tail = (low:byte() & 0x3F) << 6 | low_low:byte() & 0x3F
  return utf8.char(0x10000 + ((lead & 0x3FF) << 10 | tail & 0x3FF))
end

--- Returns nil for "\u" without four hex digits, which Java refuses too.
local function unescape(text)
  if not text:find("\\", 1, true) then return text end
  local malformed = false
  text = text:gsub("\\(.?)(%x?%x?%x?%x?)", function(letter, digits)
    if letter ~= "u" then return (ESCAPED[letter] or letter) .. digits end
    if #digits < 4 then malformed = true end
    return not malformed and utf8.char(tonumber(digits, 16)) or nil
  end)
  if malformed then return nil end
  return (text:gsub("\xED([\xA0-\xAF])([\x80-\xBF])\xED([\xB0-\xBF])([\x80-\xBF])", join_surrogates))
end

--- Key and value of one logical line, still escaped. The first bare `=`, `:` or blank ends the key.
local function split(line)
  local from, at = 1
  while true do
    at = line:find("[\\=: \t\f]", from)
    if not at then return line, "" end
    if line:byte(at) ~= 92 then break end
    from = at + 2
  end
  local value = line:find("[^ \t\f]", at) or #line + 1
  if line:find("^[=:]", value) then
    value = line:find("[^ \t\f]", value + 1) or #line + 1
  end
  return line:sub(1, at - 1), line:sub(value)
end

--- Lines of the file as Java counts them: ended by LF, CR or CRLF.
local function natural_lines(text)
  local position, number = 1, 0
  return function()
    if position > #text then return nil end
    local stop = text:find("[\r\n]", position)
    local line = text:sub(position, (stop or #text + 1) - 1)
    position = (stop or #text) + 1
    if stop and text:find("^\r\n", stop) then position = position + 1 end
    number = number + 1
    return line, number
  end
end

--- properties.parse(text [, name]) -> document | nil, err. `name` is what a message calls the file.
function properties.parse(text, name)
  name = name or "properties"
  if #text > properties.CEILING then
    return nil, failure.new("invalid", "%s: %d bytes, more than the %d a properties file may have", name, #text, properties.CEILING)
  end
  -- Java would take a byte order mark for a part of the first key. Nobody means that.
  text = wellformed((text:gsub("^\xEF\xBB\xBF", "", 1)))
  local items, above = {}, {}
  local logical, first_line                                 -- a line that goes on, in pieces

  local function finish()
    local key, value = split(table.concat(logical))
    key, value = unescape(key), unescape(value)
    if not key or not value then
      return nil, failure.new("invalid", "%s:%d: \\u needs four hex digits behind it; a backslash itself is written \\\\", name, first_line)
    end
    items[#items + 1] = { key = key, value = value, line = first_line, above = above }
    above, logical = {}, nil
    return true
  end

  for line, number in natural_lines(text) do
    local content = line:match("^[ \t\f]*(.*)$")
    if not logical and (content == "" or content:find("^[#!]")) then
      above[#above + 1] = content == "" and "" or line
    else
      local goes_on = #content:match("\\*$") % 2 == 1
      if goes_on then content = content:sub(1, -2) end
      if logical or content ~= "" then                      -- a lone backslash begins nothing
        if not logical then logical, first_line = {}, number end
        logical[#logical + 1] = content
      end
      if logical and not goes_on then
        local ok, err = finish()
        if not ok then return nil, err end
      end
    end
  end
  if logical then                                           -- the file ended in a backslash
    local ok, err = finish()
    if not ok then return nil, err end
  end
  return { items = items, below = above }
end

--- key -> value; of equal keys the last wins, as in Java.
function properties.map(document)
  local map = {}
  for _, item in ipairs(document.items) do map[item.key] = item.value end
  return map
end

local NAMED = { ["\t"] = "\\t", ["\n"] = "\\n", ["\r"] = "\\r", ["\f"] = "\\f" }

--- ASCII only: Spark reads UTF-8, log4j and the metrics system read Latin-1, and "\u00e9" is the same to all of them.
local function escape_beyond_ascii(text)
  if text:find("[\x80-\xFF]") then
    text = wellformed(text, true):gsub("[\xC2-\xF4][\x80-\xBF]+", function(character)
      local code = utf8.codepoint(character, 1, 1, true)
      if code < 0x10000 then return ("\\u%04x"):format(code) end
      code = code - 0x10000
      return ("\\u%04x\\u%04x"):format(0xD800 | code >> 10, 0xDC00 | code & 0x3FF)
    end)
  end
  return (text:gsub("[%c]", function(control) return NAMED[control] or ("\\u%04x"):format(control:byte()) end))
end

local function escape_key(key)
  return (escape_beyond_ascii(key:gsub("[\\ =:]", "\\%0")):gsub("^[#!]", "\\%0"))
end

local function escape_value(value)
  value = escape_beyond_ascii(value:gsub("\\", "\\\\"))
  -- White space at either end would be skipped by Java or lost by the next editor; a leading = or : would be the separator.
  return (value:gsub(" $", "\\u0020"):gsub("^[ =:]", "\\%0"))
end

--- One line of a file. `separator` is "=" (default) or " ".
function properties.entry(key, value, separator)
  -- Without a value or a key only "=" says where the one ends and the other begins.
  if value == "" or key == "" then separator = "=" end
  return escape_key(key) .. (separator or "=") .. escape_value(value)
end

--- properties.render(document [, separator]) -> text that java.util.Properties reads back identically.
function properties.render(document, separator)
  local lines = {}
  for _, item in ipairs(document.items) do
    table.move(item.above or {}, 1, #(item.above or {}), #lines + 1, lines)
    lines[#lines + 1] = properties.entry(item.key, item.value, separator)
  end
  local below = document.below or {}
  table.move(below, 1, #below, #lines + 1, lines)
  if #lines == 0 then return "" end
  return table.concat(lines, "\n") .. "\n"
end

--- What a profile may write as a value, as the text of it; nil for what has none (a table, a function).
function properties.text(value)
  if type(value) == "string" then return value end
  if type(value) == "boolean" then return tostring(value) end
  if type(value) ~= "number" or value ~= value or value == math.huge or value == -math.huge then return nil end
  return value == math.floor(value) and ("%.0f"):format(value) or tostring(value)
end

return properties
