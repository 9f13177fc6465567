--- JSON (RFC 8259) in plain Lua. Our own and not lua-cjson, because PID 1 answers its control socket with it: a shared
--- library more costs about as much memory as the whole answer of `healthcheck` may (docs/design.md has the budget), and
--- what passes here is a few kilobytes. Output is stable: keys are sorted, so two equal values give equal texts.
local json = {}

local DEPTH = 64                                             -- both ways; also what ends a table that contains itself

--- Stands for null both ways, for a table can't hold nil.
json.null = setmetatable({}, { __tostring = function() return "null" end })
local array = {}

--- Marks a table as an array, which only an empty one needs: `{}` is written as an object.
function json.array(list) return setmetatable(list or {}, array) end

-- ---------------------------------------------------------------- writing
local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local function escape(char) return escapes[char] or ("\\u%04x"):format(char:byte()) end

--- Lines of services may hold any bytes; what is not UTF-8 becomes U+FFFD, byte by byte, so that a reader accepts the rest.
local function valid_utf8(text)
  local parts, start = {}, 1
  while true do
    local _, bad = utf8.len(text, start)
    if not bad then
      parts[#parts + 1] = text:sub(start)
      return table.concat(parts)
    end
    parts[#parts + 1] = text:sub(start, bad - 1) .. "\u{FFFD}"
    start = bad + 1
  end
end

local function quote(text)
  if not text:find '[%z\1-\31"\\\127-\255]' then return '"' .. text .. '"' end   -- nothing to look at: nearly all
  if not utf8.len(text) then text = valid_utf8(text) end
  return '"' .. text:gsub('[%z\1-\31"\\]', escape) .. '"'
end

local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if value ~= value or value == math.huge or value == -math.huge then
    error("JSON has no number for " .. tostring(value), 0)
  end
  local short = ("%.14g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

local write

local function write_array(out, list, indent, depth)
  local outer, inner = indent and "\n" .. indent:rep(depth) or "", indent and "\n" .. indent:rep(depth + 1) or ""
  local before = "[" .. inner
  for i = 1, #list do
    out[#out + 1] = before
    write(out, list[i], indent, depth + 1)
    before = "," .. inner
  end
  out[#out + 1] = #list > 0 and outer .. "]" or "[]"
end

local function write_object(out, object, indent, depth)
  local outer, inner = indent and "\n" .. indent:rep(depth) or "", indent and "\n" .. indent:rep(depth + 1) or ""
  local keys = {}
  for key in next, object do
    if type(key) ~= "string" then
      error(("JSON: a key is a %s (%s), it must be a string"):format(type(key), tostring(key)), 0)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  local before, colon = "{" .. inner, indent and ": " or ":"
  for _, key in ipairs(keys) do
    out[#out + 1] = before .. quote(key) .. colon
    write(out, object[key], indent, depth + 1)
    before = "," .. inner
  end
  out[#out + 1] = keys[1] and outer .. "}" or "{}"
end

function write(out, value, indent, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" or value == nil or value == json.null then
    out[#out + 1] = kind == "boolean" and tostring(value) or "null"
  elseif kind ~= "table" then
    error("JSON has no form for a " .. kind, 0)
  elseif depth >= DEPTH then
    error(("JSON: nested deeper than %d, or a table contains itself"):format(DEPTH), 0)
  elseif rawlen(value) > 0 or getmetatable(value) == array then
    write_array(out, value, indent, depth)
  else
    write_object(out, value, indent, depth)
  end
end

--- The text of a value; with `indent` ("  ") in lines for people. What JSON can't say (a function, NaN, a cycle) is misuse and raises.
function json.encode(value, indent)
  local out = {}
  local ok, why = pcall(write, out, value, indent, 0)
  if not ok then error(why, 2) end
  return table.concat(out)
end

-- ---------------------------------------------------------------- reading
local function fail(why, at) error({ why = why, at = at }, 0) end

local function skip(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

local unescapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function read_unicode(text, at)
  local hex = text:match("^%x%x%x%x", at)
  return hex and tonumber(hex, 16) or fail("\\u needs four hexadecimal digits", at), at + 4
end

--- One escape; `at` is behind the backslash. A lone half of a surrogate pair becomes U+FFFD.
local function read_escape(text, at)
  local letter = text:sub(at, at)
  if unescapes[letter] then return unescapes[letter], at + 1 end
  if letter ~= "u" then fail("unknown escape \\" .. letter, at) end
  local code, after = read_unicode(text, at + 1)
  if code >= 0xD800 and code < 0xDC00 and text:sub(after, after + 1) == "\\u" then
    local low, after_low = read_unicode(text, after + 2)
    if low >= 0xDC00 and low < 0xE000 then
      return utf8.char(0x10000 + (code - 0xD800 << 10) + low - 0xDC00), after_low
    end
  end
  return utf8.char(code >= 0xD800 and code < 0xE000 and 0xFFFD or code), after
end

--- `at` is behind the opening quote.
local function read_string(text, at)
  local parts
  while true do
    local stop = text:find('[%z\1-\31"\\]', at) or fail("a string has no end", at)
    local piece, mark = text:sub(at, stop - 1), text:sub(stop, stop)
    if mark == '"' then
      if not parts then return piece, stop + 1 end
      parts[#parts + 1] = piece
      return table.concat(parts), stop + 1
    end
    if mark ~= "\\" then fail("a control character inside a string must be escaped", stop) end
    parts = parts or {}
    parts[#parts + 1] = piece
    parts[#parts + 1], at = read_escape(text, stop + 1)
  end
end

local function read_number(text, at)
  local whole = text:match("^-?0", at) or text:match("^-?[1-9]%d*", at) or fail("not a value", at)
  local after = at + #whole
  local fraction = text:match("^%.%d+", after) or ""
  local exponent = text:match("^[eE][+-]?%d+", after + #fraction) or ""
  local value = tonumber(whole .. fraction .. exponent)
  if value == math.huge or value == -math.huge then fail("the number is too large", at) end
  return value, after + #fraction + #exponent
end

local words = { t = { "true", true }, f = { "false", false }, n = { "null", json.null } }
local read

local function read_array(text, at, depth)
  local list = json.array()
  at = skip(text, at)
  if text:sub(at, at) == "]" then return list, at + 1 end
  while true do
    list[#list + 1], at = read(text, at, depth)
    at = skip(text, at)
    local mark = text:sub(at, at)
    if mark == "]" then return list, at + 1 end
    if mark ~= "," then fail('"," or "]" expected', at) end
    at = skip(text, at + 1)
  end
end

local function read_object(text, at, depth)
  local object = {}
  at = skip(text, at)
  if text:sub(at, at) == "}" then return object, at + 1 end
  while true do
    if text:sub(at, at) ~= '"' then fail("a key in quotes expected", at) end
    local key
    key, at = read_string(text, at + 1)
    at = skip(text, at)
    if text:sub(at, at) ~= ":" then fail('":" expected', at) end
    object[key], at = read(text, skip(text, at + 1), depth)
    at = skip(text, at)
    local mark = text:sub(at, at)
    if mark == "}" then return object, at + 1 end
    if mark ~= "," then fail('"," or "}" expected', at) end
    at = skip(text, at + 1)
  end
end

function read(text, at, depth)
  if depth > DEPTH then fail(("nested deeper than %d"):format(DEPTH), at) end
  local mark = text:sub(at, at)
  if mark == '"' then return read_string(text, at + 1) end
  if mark == "{" then return read_object(text, at + 1, depth + 1) end
  if mark == "[" then return read_array(text, at + 1, depth + 1) end
  local word = words[mark]
  if not word then return read_number(text, at) end
  if text:sub(at, at + #word[1] - 1) ~= word[1] then fail("not a value", at) end
  return word[2], at + #word[1]
end

local function read_all(text)
  local value, at = read(text, skip(text, 1), 0)
  at = skip(text, at)
  if at <= #text then fail("something follows the value", at) end
  return value
end

--- The value of a text, or nil and a sentence with line and column. null comes as json.null; arrays are marked, so they encode as such.
function json.decode(text)
  local ok, value = pcall(read_all, text)
  if ok then return value end
  if type(value) ~= "table" then error(value, 2) end         -- not ours: misuse, or out of memory
  local before = text:sub(1, value.at - 1)
  local _, lines = before:gsub("\n", "")
  local column = #before:match("[^\n]*$") + 1
  return nil, ("JSON, line %d, column %d: %s"):format(lines + 1, column, value.why)
end

return json
