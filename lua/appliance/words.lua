--- The words of a profile: its whole _ENV. A profile decides and does nothing, so there is no way to run a program, to open a file or
--- to leave; what it may use of Lua is what computes. The roles, facts and renderers behind a word are loaded when it is first used.
local budget = require "appliance.budget"
local strict = require "appliance.strict"

local words = {}

local plain = {
  "assert", "error", "ipairs", "next", "pairs", "rawequal", "rawget", "rawlen", "rawset", "select", "tonumber", "tostring", "type",
}

local withheld = {
  os = "a profile is the same at any time and on any node; settings come by `env`, what the world knows by `facts`",
  io = "a profile writes files by its plan (files = { ... }) and learns what is outside by facts",
  debug = "a profile has no use for it",
  package = "`require` finds files beside the profile",
  coroutine = "a plan is computed in one go; what waits is a fact",
  dofile = "use `require` for a file beside the profile",
  loadfile = "use `require` for a file beside the profile",
  collectgarbage = "a profile has no use for it",
  print = "a plan may say things: plan { notes = { \"...\" } } puts them into the log",
}

--- A library without some of its functions. A copy, so that a profile can't change ours.
local function library(from, ...)
  local copy = {}
  for name, value in pairs(from) do copy[name] = value end
  for _, name in ipairs { ... } do copy[name] = nil end
  return copy
end

--- The modules a profile may require: they compute, and touch nothing.
local pure = {
  json = true, merge = true, near = true, plan = true, secrets = true, settings = true, failure = true, facts = true, simulate = true,
}

local function is_pure(name)
  local first = name:match "^appliance%.([%w_]+)"
  return first and (pure[first] or first == "spark" or first == "render")
end

--- A number of bytes as Spark wants it. Where a key speaks of memory Spark takes a plain number for MiB, so a number of a million there
--- (a terabyte) is bytes that somebody took from `env`.
local function sizes_written(keys)
  local types, copy = nil, nil
  for key, value in pairs(keys) do
    if math.type(value) == "integer" and value >= 1 << 20 and type(key) == "string" and key:find "[mM]emory" then
      types = types or require "appliance.settings.types"
      copy = copy or table.move(keys, 1, #keys, 1, {})
      copy[key] = types.size_text(value)
    end
  end
  if not copy then return keys end
  for key, value in pairs(keys) do
    if copy[key] == nil then copy[key] = value end
  end
  return copy
end

--- Behind each word the least that has to be loaded for it, when a profile first says it.
local lazy = {
  profile = function() return words.profile end,
  properties = function()
    local properties = require "appliance.plan".properties
    return function(keys) return properties(type(keys) == "table" and sizes_written(keys) or keys) end
  end,
  size = function() return require "appliance.settings.types".size_text end,
  spark = function() return require "appliance.spark" end,
  node = function() return require "appliance.facts.node" end,
  aws = function() return require "appliance.facts.aws" end,
  zookeeper = function() return require "appliance.cluster.zookeepers" end,
  cluster = function() return require "appliance.cluster" end,
  math = function() return library(math, "random", "randomseed") end,
  string = function() return library(string, "dump") end,
  table = function() return library(table) end,
  utf8 = function() return library(utf8) end,
}

for _, word in ipairs { "plan", "service", "xml", "text", "setting", "tcp", "http", "line" } do
  lazy[word] = function() return require "appliance.plan"[word] end
end

local made = setmetatable({}, { __mode = "k" })

--- `profile { ... }`: marks the table as a profile, so that a file which returns anything else is told what it should return.
function words.profile(definition)
  if type(definition) ~= "table" then
    error(("profile takes a table, not a %s: write `return profile { doc = ..., plan = ... }`"):format(type(definition)), 2)
  end
  made[definition] = true
  return definition
end

function words.is_profile(value)
  return made[value] == true
end

--- A finalizer runs where no hook can stop it, and at a time nobody knows.
local function set_metatable(value, meta)
  if type(meta) == "table" and rawget(meta, "__gc") then error("__gc: a profile has nothing to finalize", 2) end
  return setmetatable(value, meta)
end

local function get_metatable(value)
  if type(value) == "string" then return nil end
  return getmetatable(value)
end

local function loader(env)
  return function(chunk, name, _, own)
    return load(chunk, name, "t", own or env)
  end
end

--- `require`: our pure modules, and files beside the profile, which get the same words.
local function requirer(env, directory, read)
  local loaded = {}
  return function(name)
    if type(name) ~= "string" then error("require takes the name of a module", 2) end
    if name:find "^appliance%." then
      if is_pure(name) then return require(name) end
      error(('require "%s": not for profiles, which compute and touch nothing; what must be learned from the world is a '
        .. 'fact'):format(name), 2)
    end
    if loaded[name] ~= nil then return loaded[name] end
    if not name:find "^[%w_-]+[%w_.-]*$" or name:find("..", 1, true) then
      error(('require "%s": no name of a module; for a file lib/x.lua beside the profile write require "lib.x"'):format(name), 2)
    end
    local path = directory .. "/" .. name:gsub("%.", "/") .. ".lua"
    local source, err = read(path)
    if not source then
      error(('require "%s": %s; modules of a profile stand beside it'):format(name, err), 2)
    end
    local chunk, problem = load(source, "@" .. path, "t", env)
    if not chunk then error(problem, 0) end
    loaded[name] = true
    local value = chunk(name, path)
    if value ~= nil then loaded[name] = value end
    return loaded[name]
  end
end

--- A new _ENV for the profile in `directory`; read(path) -> text | nil, err serves its `require`.
function words.environment(directory, read)
  local env = { _VERSION = _VERSION, pcall = budget.pcall, xpcall = budget.xpcall, setmetatable = set_metatable,
    getmetatable = get_metatable }
  for _, name in ipairs(plain) do env[name] = _G[name] end
  env._G, env.load, env.require = env, loader(env), requirer(env, directory, read)
  return strict.guard(env, function(name)
    return lazy[name] and lazy[name]()
  end, function()
    local names = {}
    for name in pairs(lazy) do names[#names + 1] = name end
    for name in pairs(env) do names[#names + 1] = name end
    return names
  end, withheld)
end

return words
