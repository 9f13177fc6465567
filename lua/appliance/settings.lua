--- The environment, read by a declared schema: settings.read(wanted, environ, read_file) -> env | nil, faults.
--- `env` holds typed values by their own (canonical) name. Every fault is found in one reading and tells its cure: a person who starts
--- a container should correct the environment once, not once for each mistake. What the schema looks like is told in settings/spark.lua.
local failure = require "appliance.failure"
local types = require "appliance.settings.types"
local unknown = require "appliance.settings.unknown"

local settings = {}

local CEILING = 64 * 1024                                     -- of a NAME_FILE: a secret or a list, never a document
local readings = setmetatable({}, { __mode = "k" })           -- env -> what is known of its values

local core = require "appliance.settings.core"

--- The definition of a shipped setting, or nil. Spark's are loaded when a name is not among the core's.
function settings.shipped(name)
  return core[name] or require "appliance.settings.spark"[name]
end

local function nearest_shipped(name)
  local all = {}
  for known in pairs(core) do all[#all + 1] = known end
  for known in pairs(require "appliance.settings.spark") do all[#all + 1] = known end
  return require "appliance.near".hint(name, all)
end

local function check_definition(name, def)
  if type(def) ~= "table" then
    return ("setting %s: its definition is a %s; write a table, for example { type = \"size\", default = \"2g\" }"):format(
      name, type(def))
  end
  if not name:find "^%u[%u%d_]*$" then
    return ("setting %s: names of settings are upper case, digits and underscores, for example %s"):format(name,
      name:upper():gsub("[^%u%d]", "_"))
  end
  if not types.known(def.type) then
    local known = {}
    for word in pairs(types) do
      if types.known(word) then known[#known + 1] = word end
    end
    table.sort(known)
    return ("setting %s: there is no type %s%s; types are %s"):format(name, def.type and '"' .. tostring(def.type) .. '"' or "given",
      require "appliance.near".hint(tostring(def.type), known), table.concat(known, ", "))
  end
  if def.type == "enum" and type(def.values) ~= "table" then
    return ("setting %s: an enum needs its values, for example values = { \"on\", \"off\" }"):format(name)
  end
  if type(def.default) == "string" then
    local value, problem, example = types[def.type](def.default, def)
    if value == nil then return ("setting %s: its default \"%s\" %s, for example %s"):format(name, def.default, problem, example) end
  end
end

--- A shipped name with a table that has no type of its own changes some fields (a default, say) and keeps the rest.
local function refine(shipped, changes)
  local def = {}
  for key, value in pairs(shipped) do def[key] = value end
  for key, value in pairs(changes) do def[key] = value end
  return def
end

--- A profile's list of settings -> one schema, definitions by name. Items: the name of a shipped setting, "spark.*" for all of Spark's,
--- or NAME = definition. `inherited`: the schema of the profile it extends. The core's are not added here: profile.lua does that.
function settings.schema(wanted, inherited)
  local schema, faults = {}, {}
  for name, def in pairs(inherited or {}) do schema[name] = def end
  local function fault(name, text)
    local err = failure.new("invalid", "%s", text)
    err.name = name
    faults[#faults + 1] = err
  end
  for key, item in pairs(wanted) do
    if item == "spark.*" then
      for name, def in pairs(require "appliance.settings.spark") do schema[name] = schema[name] or def end
    elseif type(key) == "number" then
      local def = type(item) == "string" and settings.shipped(item)
      if def then
        schema[item] = schema[item] or def
      elseif type(item) == "string" then
        fault(item, ('setting "%s" is not known%s; define it (%s = { type = ..., doc = ... }) or see `spark-appliance settings`'):format(
          item, nearest_shipped(item), item))
      else
        fault(nil, ("item %d of settings is a %s; write a name, or NAME = { type = ... }"):format(key, type(item)))
      end
    else
      local def = item
      local known = type(item) == "table" and item.type == nil and (schema[key] or settings.shipped(key))
      if known then def = refine(known, item) end
      local problem = check_definition(tostring(key), def)
      if problem then fault(key, problem) else schema[key] = def end
    end
  end
  if #faults > 0 then
    table.sort(faults, function(a, b) return a.text < b.text end)
    return nil, faults
  end
  return schema
end

local function quoted(name, text, def)
  local secrets = require "appliance.secrets"
  if def.secret then return secrets.REDACTED end
  text = secrets.redact(name, text)
  if #text > 80 then text = text:sub(1, 77) .. "..." end
  return '"' .. text:gsub("%c", function(c) return ("\\x%02x"):format(c:byte()) end) .. '"'
end

local function read_plain(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text, problem = file:read(CEILING + 1)
  file:close()
  return text or not problem and "" or nil, problem
end

--- One reading: the state that its steps share.
local reading = {}
reading.__index = reading

function reading:fault(name, text)
  local err = failure.new("invalid", "%s", text)
  err.name = name
  self.faults[#self.faults + 1] = err
end

function reading:note(text)
  self.notes[#self.notes + 1] = text
end

--- Not blank, and not something Kubernetes put there for a service of the same name.
local function present(self, name)
  local value = self.environ[name]
  if value == nil or not value:find "%S" or unknown.is_service_link(name, value) then return nil end
  return value
end

--- The text under one name: the variable, or the content of the file that NAME_FILE names. -> text, where | nil
local function text_of(self, name)
  local text = present(self, name)
  local by_file = name .. "_FILE"
  local path = not self.schema[by_file] and present(self, by_file)
  if not path then return text, text and name .. " (environment)" end
  if text then
    return nil, nil, self:fault(name, ("%s and %s are both set: keep one"):format(name, by_file))
  end
  local content, err = self.read_file(path)
  if content and #content > CEILING then content, err = nil, ("more than %d KiB"):format(CEILING // 1024) end
  if not content then
    return nil, nil, self:fault(name, ("%s=%s can't be read: %s; correct the path, or set %s itself"):format(by_file, path,
      tostring(err), name))
  end
  content = content:gsub("\r?\n$", "")
  if not content:find "%S" then return nil end
  return content, ("%s (from %s)"):format(path, by_file)
end

local function parse(self, name, text, where, def)
  local given = text
  if not def.secret then text = text:match "^%s*(.-)%s*$" end
  local value, problem, example = types[def.type](text, def)
  if value == nil then
    local shown = quoted(name, given, def)
    local from = where:find "^/" and " (from " .. where:match "^%S+" .. ")" or ""
    local secrets = require "appliance.secrets"            -- a problem may quote a part of the value
    problem = def.secret and problem:gsub('"[^"]*"', secrets.REDACTED) or secrets.redact_value(problem)
    local sentence = ("%s=%s%s %s, for example %s=%s"):format(name, shown, from, problem, name, example)
    if def.lenient then self:note(sentence .. "; ignored") else self:fault(name, sentence) end
    return nil
  end
  if def.later and value ~= false and not (type(value) == "table" and #value == 0) then
    self:fault(name, ("%s=%s %s"):format(name, quoted(name, given, def), def.later))
    return nil
  end
  return value
end

--- Our own name wins over an alias, the first alias over later ones; a value that loses is told, not dropped in silence.
local function read_one(self, name, def)
  local value, origin, shown_name
  local function consider(source, rules, suffix)
    local text, where = text_of(self, source)
    if not text then return end
    local candidate = parse(self, source, text, where, rules)
    if candidate == nil then return end
    if value == nil then
      value, origin, shown_name = candidate, where .. suffix, source
    elseif not require "appliance.same"(value, candidate) then
      self:note(("%s is not used: %s says otherwise and comes first"):format(source, shown_name))
    end
  end
  consider(name, def, "")
  for _, alias in ipairs(def.aliases or {}) do
    local is_plain = type(alias) == "string"
    consider(is_plain and alias or alias[1], is_plain and def or refine(def, { unit = alias.unit }), ", for " .. name)
  end
  if value == nil and def.default ~= nil then
    value, origin = def.default, "default"
    if type(value) == "string" then value = types[def.type](value, def) end
  elseif value == nil and (def.type == "flag") then
    value, origin = false, "default"
  end
  self.env[name], self.origin[name] = value, origin
  if value ~= nil and origin ~= "default" then self.source[name] = shown_name end
end

--- What a definition's `check` may do: ask what was given at all (blank counts), report, and settle a value that follows from others.
local function checker(self)
  return {
    given = function(name)
      local def = self.schema[name]
      if self.environ[name] or self.environ[name .. "_FILE"] then return true end
      for _, alias in ipairs(def and def.aliases or {}) do
        if self.environ[type(alias) == "string" and alias or alias[1]] then return true end
      end
      return false
    end,
    is_given = function(name) return self.source[name] ~= nil end,
    --- The name that it was given by, which may be an alias.
    called = function(name) return self.source[name] or name end,
    --- "MASTER_UI_PORT=8081 (default)", under the name that it was given by
    told = function(name)
      local source, origin = self.source[name] or name, self.origin[name]
      if origin:sub(1, #source + 2) == source .. " (" then origin = origin:sub(#source + 3):gsub("%)", "", 1) end
      return ("%s=%s (%s)"):format(source, tostring(self.env[name]), origin)
    end,
    stat = self.stat,
    refuse = function(name, sentence) self:fault(self.source[name] or name, sentence) end,
    fault = function(name, problem, example)
      local source = self.source[name] or name
      local text = self.environ[source]
      local shown = text and text:find "%S" and "=" .. quoted(source, text, self.schema[name] or {}) or ""
      self:fault(source, ("%s%s %s%s"):format(source, shown, problem, example and (", for example %s=%s"):format(source, example) or ""))
    end,
    note = function(text) self:note(text) end,
    derive = function(name, value, why)
      if self.schema[name] then self.env[name], self.origin[name] = value, why end
    end,
  }
end

--- Every name that the schema answers to -> the setting it stands for.
local function declared_names(schema)
  local names = {}
  for name, def in pairs(schema) do
    names[name] = name
    for _, alias in ipairs(def.aliases or {}) do names[type(alias) == "string" and alias or alias[1]] = name end
  end
  return names
end

local function mistaken_for(schema, name)
  for right, def in pairs(schema) do
    for _, wrong in ipairs(def.mistaken or {}) do
      if wrong == name then return right end
    end
  end
end

local function report_unknown(self, mode)
  if mode == "ignore" then return end
  local declared = declared_names(self.schema)
  local find
  for name, value in pairs(self.environ) do
    local base = name:sub(-5) == "_FILE" and name:sub(1, -6) or name
    if not (declared[base] or declared[name] or unknown.is_ordinary(name) or unknown.is_service_link(name, value)) and value:find "%S" then
      local right = name:find "^SPARK_" and mistaken_for(self.schema, name)
      if not right then
        find = find or unknown.finder(declared)
        right = find(name)
        if not right and base ~= name and find(base) then right = find(base) .. "_FILE" end
      end
      local ours = name:find "^START_" or name:find "^APPLIANCE_"
      if not right and ours and require "appliance.settings.spark"[base] then
        self:note(("%s is set, but this profile has no such setting: it has no effect"):format(name))
      elseif right or ours then
        local hint = right and ("did you mean %s?"):format(right) or "see `spark-appliance settings`"
        local text = ("%s is no setting: %s"):format(name, hint)
        if mode == "warn" then self:note(text) else self:fault(name, text .. " (UNKNOWN_SETTINGS=warn lets it pass)") end
      end
    end
  end
end

--- As src/net/aws_uri.c takes one.
local function is_endpoint(url)
  local rest = url:match "^%s*[Hh][Tt][Tt][Pp][Ss]?://(.-)%s*$" or ""
  local port, path = (rest:match "^[%w._-]+(.*)$" or rest:match "^%[[%x:.]+%](.*)$" or "?"):match "^:?(%d*)(.*)$"
  return (port == "" or #port < 6 and tonumber(port) > 0 and tonumber(port) < 65536) and (path == "" or path:find "^/[%w._~/-]*$") ~= nil
end

--- AWS_ENDPOINT_URL and its kind are the SDKs', and no settings of ours; but whatever asks AWS refuses one that is no URL, here and in the
--- services, and says so in the middle of its work.
local function refuse_endpoints(self)
  for name, value in pairs(self.environ) do
    if name:sub(1, 16) == "AWS_ENDPOINT_URL" and value:find "%S" and not is_endpoint(value)
      and (self.environ.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or ""):lower() ~= "true" then
      local host = value:match "^[^?#]*@([%w.-]+:?%d*)" or value:gsub("^%s*%a*:/+", ""):match "^%s*([%w.-]+:?%d*)"
      local scheme = value:lower():match "^%s*(https?)://" or (host or ""):find ":%d" and "http" or "https"
      local right = ("%s://%s"):format(scheme, host)
      local shown = value:gsub("^(%s*%a*:?/*)[^/].*@", "%1" .. require("appliance.secrets").REDACTED .. "@")
      self:fault(name, ("%s=%s is no endpoint: it takes https:// or http://, a host, and perhaps a port and a path, for example %s=%s")
        :format(name, quoted(name, shown, {}), name, host and is_endpoint(right) and right or "https://s3.example.org"))
    end
  end
end

local function in_order(faults)
  table.sort(faults, function(a, b) return a.text < b.text end)
  return faults
end

--- wanted: a merged schema, or a list as in a profile. environ: a table. read_file(path) -> text | nil, err (plain files when absent).
--- stat(path) -> table | nil, err, as appliance.core.file has it: with it directories that a setting names are looked at.
function settings.read(wanted, environ, read_file, stat)
  local schema = wanted
  if #wanted > 0 then
    local problems
    schema, problems = settings.schema(wanted)
    if not schema then return nil, problems end
  end
  local self = setmetatable({ schema = schema, environ = environ, read_file = read_file or read_plain, stat = stat,
    env = {}, origin = {}, source = {}, faults = {}, notes = {} }, reading)
  for name, def in pairs(schema) do read_one(self, name, def) end
  local found = #self.faults
  for _, def in pairs(schema) do
    -- Checks compare values; after a fault some are missing for that reason alone, and a second sentence about it would mislead.
    if def.check and (found == 0 or def.check_always) then def.check(self.env, checker(self)) end
  end
  report_unknown(self, self.env.UNKNOWN_SETTINGS or "refuse")
  refuse_endpoints(self)
  if #self.faults > 0 then return nil, in_order(self.faults) end
  table.sort(self.notes)
  readings[self.env] = self
  return self.env
end

--- A table of values that somebody wrote by hand, as in a test of a profile, is all given and nothing else.
local function known_of(env)
  if readings[env] then return readings[env] end
  local origin = {}
  for name in pairs(env) do origin[name] = name end
  return { schema = setmetatable({}, { __index = function(_, name) return settings.shipped(name) or { type = "string" } end }),
    origin = origin, source = origin, notes = {} }
end

--- The same values for a plan, which should be told of a name that its profile did not ask for, and not get nil.
function settings.strict(env)
  local known = readings[env]
  if not known then return env end
  local view = setmetatable({}, { __index = function(_, name)
    if known.schema[name] or type(name) ~= "string" then return nil end
    local hint = require "appliance.near".hint(name, pairs(known.schema))
    error(("env.%s: this profile's settings have no %s%s"):format(name, name, hint ~= "" and hint or "; add it to `settings`"), 2)
  end })
  for name, value in pairs(env) do rawset(view, name, value) end
  readings[view] = known
  return view
end

--- Where a value comes from: "WORKER_CORES (environment)", "SPARK_WORKER_CORES (environment), for WORKER_CORES", "default", ... or nil
--- when it has none.
function settings.origin(env, name)
  return known_of(env).origin[name]
end

--- Did somebody give this value, rather than a default or a rule?
function settings.is_given(env, name)
  return known_of(env).source[name] ~= nil
end

local written = {
  size = types.size_text, duration = types.duration_text, hosts = types.hosts_text,
  list = function(items) return table.concat(items, ",") end,
}

--- A value as a configuration file of Spark wants it: "2g" for a size (Spark takes a plain number for MiB here and for bytes there).
function settings.written(env, name)
  local value, def = env[name], known_of(env).schema[name]
  if value == nil or not written[def.type] then return value end
  return written[def.type](value)
end

--- Sentences for the boot log: what was given but has no effect.
function settings.notes(env)
  return known_of(env).notes
end

--- All the faults as one text for people.
function settings.explain(faults)
  local lines = {}
  for i, fault in ipairs(faults) do lines[i] = tostring(fault) end
  return table.concat(lines, "\n")
end

--- The one writable directory when STATE_DIR is not set. `is_writable(path)`: can this process write there, or make it?
function settings.state_dir(environ, is_writable)
  local system = "/var/lib/spark-appliance"
  if is_writable(system) then return system end
  local state = environ.XDG_STATE_HOME
  if state and state:sub(1, 1) == "/" then return state .. "/spark-appliance" end
  local home = environ.HOME
  if home and home:sub(1, 1) == "/" and home ~= "/" then return home .. "/.local/state/spark-appliance" end
  return "/tmp/spark-appliance"
end

settings.size_text = types.size_text
settings.duration_text = types.duration_text

return settings
