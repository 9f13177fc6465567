--- Profiles: found by name, loaded into an _ENV of words, checked, and joined with those they extend.
--- profile.load(name, options) -> { name, path, doc, settings, facts, plan } | nil, faults. Whatever is wrong with a site's file is
--- told with file, line and cure. options: environ (for the search path and the choice), path (directories instead), read, list.
local budget = require "appliance.budget"
local failure = require "appliance.failure"
local settings = require "appliance.settings"
local words = require "appliance.words"

local profile = {}

local function read_file(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text, problem = file:read "a"
  file:close()
  return text, problem
end

--- Beside lua/ in a checkout, a build and an installation alike.
local function shipped_directory()
  local path = package.searchpath("appliance.profile", package.path)
  return path and path:gsub("lua/appliance/profile%.lua$", "profiles") or "profiles"
end

--- Where profiles are looked for, first to last.
function profile.search_path(environ)
  local directories = {}
  for directory in (environ.APPLIANCE_PROFILES or ""):gmatch "[^:]+" do directories[#directories + 1] = directory end
  directories[#directories + 1] = "/etc/spark-appliance"
  directories[#directories + 1] = shipped_directory()
  return directories
end

local function list_directory(directory)
  local has_core, file = pcall(require, "appliance.core.file")
  return has_core and file.list(directory) or {}
end

--- The names of the profiles there are, for people.
function profile.names(options)
  local seen, names = {}, {}
  for _, directory in ipairs(options.path or profile.search_path(options.environ or {})) do
    for _, entry in ipairs((options.list or list_directory)(directory) or {}) do
      local name = entry:match "^([%w_-][%w_.-]*)%.lua$"
      if name and not name:find "_spec$" and not seen[name] then           -- a site's tests lie beside its profiles
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

local function is_set(environ, ...)
  for _, name in ipairs { ... } do
    for _, source in ipairs { name, name .. "_FILE" } do
      if (environ[source] or ""):find "%S" then return name end
    end
  end
  return false
end

local function is_on(environ, name)
  return (environ[name] or ""):lower():match "^%s*true%s*$" ~= nil
end

--- Which profile is meant: PROFILE, else what the older variables ask for. -> names in order of preference, why
--- A single node can also be a lone master, or the worker of masters elsewhere, so it serves where there is no `cluster`.
function profile.choose(environ)
  if is_set(environ, "PROFILE") then
    local only = { PROFILE = environ.PROFILE, PROFILE_FILE = environ.PROFILE_FILE, UNKNOWN_SETTINGS = "ignore" }
    local chosen = settings.read({ "PROFILE", "UNKNOWN_SETTINGS" }, only)
    return { chosen and chosen.PROFILE or environ.PROFILE }, "PROFILE"
  end
  local zookeeper = is_set(environ, "ZOOKEEPER", "ZOOKEEPER_STACK_NAME", "ZOOKEEPER_CONN_STRING", "ZK_CONN_STR", "ZookeeperConnString",
    "EXHIBITOR_HOSTS")
  if zookeeper then return { "ha" }, zookeeper end
  local masters = is_set(environ, "MASTER_URI", "SPARK_MASTER_URL", "SPARK_MASTER", "MASTER_STACK_NAME", "SPARK_MODE")
  if masters then return { "cluster", "single-node" }, masters end
  if is_on(environ, "START_MASTER") ~= is_on(environ, "START_WORKER") then
    return { "cluster", "single-node" }, "START_MASTER and START_WORKER"
  end
  return { "single-node" }, "default"
end

local function one_fault(text, ...)
  return { failure.new("invalid", select("#", ...) > 0 and text:format(...) or text) }
end

--- -> path, text, index of the directory | nil, why it could not be read
local function find(name, directories, read, from)
  if name:find("/", 1, true) then
    local text, err = read(name)
    return text and name, text or err, 0
  end
  for i = from, #directories do
    local path = directories[i]:gsub("/+$", "") .. "/" .. name .. ".lua"
    local text, err = read(path)
    if text then return path, text, i end
    if err and not tostring(err):lower():find "no such file or directory" then return nil, tostring(err) end
  end
end

local function not_found(name, why, directories, options, err)
  if err then return one_fault("profile %s can't be read: %s", name, err) end
  local names = profile.names(options)
  local best = require "appliance.near".best(name, names)
  local hint = best and best ~= name and (', did you mean "%s"?'):format(best) or ""
  local there = #names > 0 and "there are: " .. table.concat(names, ", ") or "there is none"
  if why == "PROFILE" then
    return one_fault("PROFILE=%s: there is no such profile%s; %s (looked in %s)", name, hint, there, table.concat(directories, ", "))
  end
  if name == "ha" then
    return one_fault("%s is set, which asks for the profile ha, and that is not here; %s. Leave %s empty for a node with a master of "
      .. "its own, or set PROFILE",
      why, there, why)
  end
  return one_fault('profile "%s" (%s): there is no such profile%s; %s (looked in %s)', name, why, hint, there,
    table.concat(directories, ", "))
end

--- The line of `field = ` in a profile's text, else that of `profile {`: a table does not know where it was written.
local function line_of(text, field)
  local number, opening = 0, 1
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    if field and (line:find("%f[%w_]" .. field .. "%s*=[^=]") or line:find('"' .. field .. '"', 1, true)) then return number end
    if line:find "^%s*return%s+profile" then opening = number end
  end
  return opening
end

local fields = {
  doc = { "string", 'one sentence for people, for example doc = "A worker beside our own cache."' },
  settings = { "table", 'names and definitions, for example settings = { "WORKER_MEMORY", MY_LIMIT = { type = "size", doc = "..." } }' },
  facts = { "table", "what must be learned, for example facts = { limits = node.limits() }" },
  plan = { "function", "a function, for example plan = function(env, facts) return plan { services = { ... } } end" },
  extends = { "string", 'the name of another profile, for example extends = "single-node"' },
}

--- Everything that is wrong with the table itself.
local function check_fields(definition, path, text)
  local faults = {}
  local function fault(field, sentence, ...)
    faults[#faults + 1] = failure.new("invalid", "%s:%d: %s", path, line_of(text, field), sentence:format(...))
  end
  for field, value in pairs(definition) do
    local rule = fields[field]
    if not rule then
      fault(type(field) == "string" and field or nil, "a profile has no field %s%s; it has doc, settings, facts, plan and extends",
        tostring(field),
        require "appliance.near".hint(tostring(field), pairs(fields)))
    elseif type(value) ~= rule[1] then
      fault(field, "%s is a %s; write %s", field, type(value), rule[2])
    end
  end
  if definition.doc == nil then fault(nil, "the profile has no doc; add %s", fields.doc[2]) end
  if definition.plan == nil and definition.extends == nil then fault(nil, "the profile has no plan; add %s", fields.plan[2]) end
  for name in pairs(type(definition.facts) == "table" and definition.facts or {}) do
    if type(name) ~= "string" then fault("facts", "facts holds an item without a name; write %s", fields.facts[2]) end
  end
  table.sort(faults, function(a, b) return a.text < b.text end)
  return faults
end

--- Runs a profile's text. -> its definition | nil, faults
local function evaluate(path, text, read)
  if text:sub(1, 1) == "\27" then return nil, one_fault("%s: is compiled; a profile is a text", path) end
  local env = words.environment(path:match "^(.*)/[^/]*$" or ".", read)
  local chunk, err = load(text, "@" .. path, "t", env)
  if not chunk then return nil, one_fault("%s: a slip in the writing; is a comma, quote or bracket missing there or on the line before?",
    err) end
  local ok, result = budget.run(chunk)
  if not ok then
    -- `return profile 5` is a tail call, whose caller has left no trace.
    local has_position = tostring(result):find "^[^\n]-:%d+: "
    return nil, one_fault("%s%s", has_position and "" or ("%s:%d: "):format(path, line_of(text)), tostring(result))
  end
  if not words.is_profile(result) then
    return nil, one_fault("%s:%d: gives %s; a profile file ends with `return profile { doc = ..., plan = ... }`", path, line_of(text),
      result == nil and "nothing" or type(result) == "table" and "a table without the word `profile`" or "a " .. type(result))
  end
  local faults = check_fields(result, path, text)
  if #faults > 0 then return nil, faults end
  return result
end

--- The facts as the plan sees them: a fact that the profile did not ask for is a slip, not nil.
local function guarded_facts(values, declared)
  local view = {}
  for name, value in pairs(values or {}) do view[name] = value end
  return setmetatable(view, { __index = function(_, name)
    if declared[name] ~= nil then return nil end
    local hint = require "appliance.near".hint(tostring(name), pairs(declared))
    error(("facts.%s: this profile has no such fact%s"):format(tostring(name), hint ~= "" and hint or "; add it to `facts`"), 2)
  end })
end

--- plan(env, facts) -> draft | nil, err. The plan of the extended profile comes first and is handed over as the third argument.
local function planner(definition, object, base)
  if not definition.plan then return base.plan end
  return function(env, facts)
    local ground, err
    if base then
      ground, err = base.plan(env, facts)
      if not ground then return nil, err end
    end
    local ok, made = budget.run(definition.plan, settings.strict(env), guarded_facts(facts, object.facts), ground)
    if not ok then return nil, failure.new("invalid", "%s (in the plan of profile %s)", tostring(made), object.name) end
    local plan = require "appliance.plan"
    if not plan.is_draft(made) then
      return nil, failure.new("invalid", "%s:%d: plan gives %s; end it with `return plan { files = {...}, services = {...} }`", object.path,
        debug.getinfo(definition.plan, "S").linedefined, made == nil and "nothing" or "a " .. type(made))
    end
    return plan.attribute(made, object.name)
  end
end

--- LOG_DIR, LOG_SIZE, LOG_KEEP and LOG_FULL are every profile's: what a service does not say about its output, they do.
local function with_log_settings(made, env)
  if not env.LOG_DIR and (env.LOG_FULL or "drop") == "drop" then return made end
  for i, service in ipairs(made.services) do
    if type(service) == "table" and type(service.log or {}) == "table" then
      local spec, output = {}, { full = env.LOG_FULL }
      if env.LOG_DIR and type(service.name) == "string" then
        output.file, output.size, output.keep = env.LOG_DIR .. "/" .. service.name .. ".log", env.LOG_SIZE, env.LOG_KEEP
      end
      for field, value in pairs(service.log or {}) do output[field] = value end
      for field, value in pairs(service) do spec[field] = value end
      spec.log = output
      made.services[i] = spec
    end
  end
  return made
end

local function core_schema()
  local schema = {}
  for name, def in pairs(require "appliance.settings.core") do schema[name] = def end
  return schema
end

local load_one

--- The profile that this one extends. One of the same name means the next of that name on the search path: a site's "single-node" may
--- build on the shipped one.
local function load_base(definition, name, path, text, index, chain)
  if not definition.extends then return nil end
  for _, earlier in ipairs(chain.paths) do
    if earlier == path then
      return nil, one_fault("%s:%d: extends goes round in a circle: %s", path, line_of(text, "extends"), table.concat(chain.names, " -> "))
    end
  end
  chain.paths[#chain.paths + 1], chain.names[#chain.names + 1] = path, definition.extends
  local why = ("extended by %s:%d"):format(path, line_of(text, "extends"))
  return load_one(definition.extends, why, chain, definition.extends == name and index + 1 or 1)
end

function load_one(name, why, chain, from)
  local path, text, index = find(name, chain.directories, chain.read, from)
  if not path then return nil, not_found(name, why, chain.directories, chain.options, text) end
  local definition, faults = evaluate(path, text, chain.read)
  if not definition then return nil, faults end
  local base
  base, faults = load_base(definition, name, path, text, index, chain)
  if faults then return nil, faults end

  local schema
  schema, faults = settings.schema(definition.settings or {}, base and base.settings or core_schema())
  if not schema then
    for i, fault in ipairs(faults) do
      faults[i] = failure.new("invalid", "%s:%d: %s", path, line_of(text, fault.name or "settings"), fault.text)
    end
    return nil, faults
  end
  local facts = {}
  for _, from_profile in ipairs { base and base.facts or {}, definition.facts or {} } do
    for fact, source in pairs(from_profile) do facts[fact] = source end
  end
  local object = { name = name:match "([^/]+)%.lua$" or name, path = path, doc = definition.doc, settings = schema, facts = facts }
  object.plan = planner(definition, object, base)
  return object
end

--- Without a name, the one that the environment asks for.
function profile.load(name, options)
  options = options or {}
  local names, why = { name }, "asked for"
  if not name then names, why = profile.choose(options.environ or {}) end
  local directories = options.path or profile.search_path(options.environ or {})
  local object, faults
  for i, candidate in ipairs(names) do
    local read = options.read or read_file
    if i == #names or find(candidate, directories, read, 1) then
      local chain = { directories = directories, read = read, options = options, paths = {}, names = { candidate } }
      object, faults = load_one(candidate, why, chain, 1)
      break
    end
  end
  if not object then return nil, faults end
  local draft = object.plan
  object.plan = function(env, values)
    local made, err = draft(env, values)
    if not made then return nil, err end
    return with_log_settings(made, env)
  end
  return object
end

--- What can be told without touching the world: the profile, and the environment read by its settings; with `facts` also its plan.
--- options.stat: as in settings.read.
--- -> { profile =, env =, plan = } | nil, faults
function profile.check(name, options)
  local object, faults = profile.load(name, options)
  if not object then return nil, faults end
  local env
  env, faults = settings.read(object.settings, options.environ or {}, options.read, options.stat)
  if not env then return nil, faults end
  if not options.facts then return { profile = object, env = env } end
  local draft, err = object.plan(env, options.facts)
  if not draft then return nil, { err } end
  local made
  made, faults = require "appliance.plan".normalise(draft, { profile = object.name })
  if not made then return nil, faults end
  return { profile = object, env = env, plan = made }
end

return profile
