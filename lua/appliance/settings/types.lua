--- The types a setting can have: text in, value out.
--- types.NAME(text, definition) -> value | nil, what is wrong (a verb phrase), an example that would be right.
--- Text comes trimmed and not blank: a blank variable is an unset one, and never gets here.
local types = {}

--- `START_MASTER=true`: the older appliances' switch. Only `true`, in any case, is on; whatever else is off, never a fault.
function types.flag(text)
  return text:lower() == "true"
end

local booleans = {
  ["true"] = true, yes = true, on = true, ["1"] = true,
  ["false"] = false, no = false, off = false, ["0"] = false,
}

function types.boolean(text)
  local value = booleans[text:lower()]
  if value == nil then return nil, "is neither true nor false", "true" end
  return value
end

local function number_text(number)
  return ("%.14g"):format(number)
end

--- The definition's bounds, told in the words of its type.
local function within(value, def, show)
  local least, most = def.least, def.most
  if least and value < least then return nil, "is too little: at least " .. show(least), def.example or show(least) end
  if most and value > most then return nil, "is too much: at most " .. show(most), def.example or show(most) end
  return value
end

function types.integer(text, def)
  local value = text:match "^[+-]?%d+$" and math.tointeger(tonumber(text))
  if not value then return nil, "is not a whole number", def.example or "2" end
  return within(value, def, number_text)
end

function types.port(text, def)
  local value = text:match "^%d+$" and math.tointeger(tonumber(text))
  if not value or value > 65535 then return nil, "is not a port (1 to 65535)", def.example or "7077" end
  return within(value, { least = def.least or 1, example = def.example }, number_text)
end

local binary = { b = 0, k = 10, m = 20, g = 30, t = 40, p = 50 }

--- "2g", "512m", "1.5g", or a plain number in the definition's `unit` (bytes when it has none) -> bytes.
function types.size(text, def)
  local number, unit = text:match "^(%d+%.?%d*)%s*(%a*)$"
  local power = number and binary[unit == "" and (def.unit or "b") or unit:lower():match "^([bkmgtp])i?b?$"]
  local bytes = power and tonumber(number) * (1.0 * (1 << power))   -- not 2 ^ power, which is a call into libm
  if not bytes or bytes >= 2.0 ^ 62 then
    return nil, "is not a size: a number and its unit (k, m, g or t)", def.example or "2g"
  end
  return within(math.floor(bytes), def, types.size_text)
end

--- Bytes the way Spark and the JVM read them: the largest unit that says it exactly; Spark knows no fractions.
function types.size_text(bytes)
  for _, unit in ipairs { "t", "g", "m", "k" } do
    local scale = 1 << binary[unit]
    if bytes >= scale and bytes % scale == 0 then return ("%d%s"):format(bytes // scale, unit) end
  end
  if bytes >= 1 << 20 then return ("%dk"):format(bytes >> 10) end
  return ("%db"):format(bytes)
end

local seconds = {
  us = 1e-6, ms = 1e-3, s = 1, sec = 1, m = 60, min = 60, h = 3600, d = 86400,
}

--- "8s", "500ms", "2min", or a plain number of seconds -> seconds.
function types.duration(text, def)
  local number, unit = text:match "^(%d+%.?%d*)%s*(%a*)$"
  local scale = number and seconds[unit == "" and (def.unit or "s") or unit:lower()]
  if not scale or #number > 12 then
    return nil, "is not a time span: a number and its unit (ms, s, min, h or d)", def.example or "30s"
  end
  return within(tonumber(number) * scale, def, types.duration_text)
end

--- Seconds the way Spark reads them: it knows no fractions here either.
function types.duration_text(value)
  if value ~= math.floor(value) then return ("%.0fms"):format(value * 1000) end
  return ("%.0fs"):format(value)
end

--- "0.6" or "60%" -> 0.6
function types.fraction(text, def)
  local number, percent = text:match "^(%d*%.?%d+)%s*(%%?)$"
  local value = tonumber(number)
  if value and percent == "%" then value = value / 100 end
  if not value or value > 1 then return nil, "is not a share between 0 and 1", def.example or "0.6" end
  return within(value, def, number_text)
end

function types.enum(text, def)
  local wanted = text:lower()
  for _, value in ipairs(def.values) do
    if wanted == value:lower() then return value end
  end
  local hint = require("appliance.near").hint(text, def.values)
  return nil, "is none of " .. table.concat(def.values, ", ") .. hint, def.example or def.values[1]
end

function types.string(text)
  return text
end

function types.path(text, def)
  if text:sub(1, 1) ~= "/" then return nil, "is not an absolute path", def.example or "/data" end
  return text
end

--- Is it an address rather than a name, so that no name server is needed? host: without brackets.
function types.is_numeric(host)
  return host:find "^%d+%.%d+%.%d+%.%d+$" ~= nil or host:find(":", 1, true) ~= nil
end

--- A host name or an address, without port. IPv6 may stand in brackets, which the value has not.
function types.address(text, def)
  local inner = text:match "^%[([%x:%.%%%w]+)%]$" or text
  local ipv6 = inner:find(":", 1, true)
  if ipv6 and not (select(2, inner:gsub(":", "")) > 1 and inner:match "^[%x:%.]+%%?%w*$") or not ipv6 and not inner:match "^[%w%._-]+$" then
    return nil, "is not a host name or an address (no port here)", def.example or "10.0.0.5"
  end
  return inner
end

local function host_and_port(item, default_port)
  local host, port = item:match "^%[([%x:%.]+)%]:?(%d*)$"
  if not host then host, port = item:match "^([%w%._-]+):?(%d*)$" end
  port = host and (port == "" and default_port or tonumber(port))
  if not port or port < 1 or port > 65535 then return nil end
  return { host = host, port = math.tointeger(port) }
end

--- "a:2181,[fe80::1]:2181" -> { {host=,port=}, ... }; `port` in the definition serves for those without.
function types.hosts(text, def)
  local hosts = {}
  for item in text:gmatch "[^,%s]+" do
    local host = host_and_port(item, def.port)
    if not host then
      return nil, ('has "%s", which is not host:port (IPv6 goes in brackets)'):format(item), def.example or "10.0.0.5:2181,[fd00::5]:2181"
    end
    hosts[#hosts + 1] = host
  end
  if #hosts == 0 then return nil, "names no host", def.example or "10.0.0.5:2181" end
  return hosts
end

function types.hosts_text(hosts)
  local items = {}
  for i, host in ipairs(hosts) do
    items[i] = (host.host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host.host, host.port)
  end
  return table.concat(items, ",")
end

--- "spark://a:7077,b:7077" -> the same text, with 7077 where a port is missing. A second "spark://" inside the list is a slip that
--- people make and Spark refuses; here it means what they meant.
function types.masters(text, def)
  local example = def.example or "spark://10.0.0.5:7077,10.0.0.6:7077"
  local list = text:match "^[sS][pP][aA][rR][kK]://(.+)$"
  if not list then return nil, "does not begin with spark://", example end
  local hosts, problem = types.hosts(list:gsub("(,%s*)spark://", "%1"), { port = 7077 })
  if not hosts then return nil, problem, example end
  return "spark://" .. types.hosts_text(hosts)
end

--- Where ZooKeeper is: servers, or the name of a stack. As one text; lua/appliance/cluster/address.lua takes it apart.
function types.zookeeper(text)
  local address = require "appliance.cluster.address"
  local parsed, problem, example = address.parse(text)
  if not parsed then return nil, problem, example end
  return address.text(parsed)
end

--- A file by path or file:// -> its path.
function types.file(text, def)
  local example = def.example or "/data/" .. (text:match "([^/]+)$" or "file")
  if text:sub(1, 1) == "/" then return text end
  local scheme, rest = text:match "^(%a[%w+.-]*):(.*)$"
  if scheme and scheme:lower() == "file" then
    local path = rest:match "^//localhost(/.*)$" or rest:match "^//(/.*)$" or rest:match "^(/[^/].*)$"
    if not path then return nil, "has no absolute path after file:// (three slashes in all)", "file:///data/hive-site.xml" end
    return (path:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
  end
  if scheme and rest:sub(1, 2) == "//" then
    return nil, ("is an object behind %s://, and this reads only files of its own node: mount the file and give its "
      .. "path"):format(scheme:lower()), example
  end
  return nil, "is neither an absolute path nor a file:// URI", example
end

--- A file from anywhere: its path when it is this node's own, else the URI (s3://, https:// or http://).
function types.source(text, def)
  if text:sub(1, 1) == "/" then return text end
  local found, problem, example = require("appliance.fetch.address").parse(text)
  if not found then return nil, problem, def.example or example end
  return found.path or text
end

--- "a, b,,c" -> { "a", "b", "c" }; `of` in the definition is the type of the items.
function types.list(text, def)
  local items = {}
  for item in text:gmatch "[^,]+" do
    item = item:match "^%s*(.-)%s*$"
    if item ~= "" then
      local value, problem, example = item, nil, nil
      if def.of then value, problem, example = types[def.of](item, def) end
      if value == nil then return nil, ('has "%s", which %s'):format(item, problem), example end
      items[#items + 1] = value
    end
  end
  return items
end

--- The names, for those who check a definition: whatever is not a helper above.
function types.known(name)
  return type(name) == "string" and not name:find "_text$" and not name:find "^is_" and name ~= "known" and types[name] ~= nil
end

return types
