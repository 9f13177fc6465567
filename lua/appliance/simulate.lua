--- A node without Spark, for the busted specs of site authors:
---   local simulate = require "appliance.simulate"
---   local node <close> = simulate("worker", { masters = { "10.0.0.1" } })
---   node.fact("masters", { "10.0.0.3" }); node.pass(2)
---   assert.same({ "worker: restarted, masters are now 10.0.0.3" }, node.decisions)
--- Profile, plan, reconciler and the state table of services are the program's own. Time passes only by node.pass.
local plan = require "appliance.plan"
local reconcile = require "appliance.reconcile"
local services = require "appliance.simulate.services"
local settle = require "appliance.settle"
local supervise = require "appliance.supervise"

local simulate = {}

local function copy(value)
  if type(value) ~= "table" then return value end
  local twin = {}
  for key, item in pairs(value) do twin[key] = copy(item) end
  return twin
end

local function explain(faults)
  local lines = {}
  for i, fault in ipairs(faults) do lines[i] = tostring(fault) end
  return table.concat(lines, "\n")
end

--- The directory of the spec that asks: the first caller outside of this file.
local function directory_of_caller()
  local own = debug.getinfo(1, "S").source
  for level = 2, 20 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    if info.what ~= "C" and info.source ~= own and info.source:sub(1, 1) == "@" then return info.source:match "^@(.*)/[^/]*$" or "." end
  end
  return "."
end

--- Beside the spec, in profiles/ there or next to its directory, then where the program looks.
local function search_path(options)
  if options.path then return options.path end
  local spec = directory_of_caller()
  local path = require("appliance.profile").search_path { APPLIANCE_PROFILES = os.getenv "APPLIANCE_PROFILES" }
  return { spec, spec .. "/profiles", spec .. "/../profiles", table.unpack(path) }
end

--- A name is looked for; a table is a profile right away.
local function load_profile(profile, options)
  if type(profile) == "table" then return { name = profile.name or "simulated", plan = profile.plan, settings = profile.settings } end
  local object, faults = require("appliance.profile").load(profile, { environ = options.settings, path = search_path(options) })
  if not object then error(explain(faults), 3) end
  return object
end

local function read_settings(object, given)
  if not object.settings then return given or {} end
  local env, faults = require("appliance.settings").read(object.settings, given or {})
  if not env then return nil, faults end
  return env
end

local function make_plan(object, env, facts, layers)
  local draft, err = object.plan(env, facts)
  if not draft and err then return nil, { err } end
  return plan.normalise(draft, { profile = object.name, layers = layers })
end

--- A whole cluster without machines: nodes that run the agent of profile ha over a simulated ZooKeeper (appliance.simulate.cluster).
---   local cluster = simulate.cluster { nodes = 3, seed = 1 }
function simulate.cluster(options) return require("appliance.simulate.cluster").new(options) end

--- simulate(profile, facts [, { settings = { NAME = "text" }, layers =, path = { directories }, fetch_fails = { [name] = "why" } }])
--- -> node
function simulate.node(profile, facts, options)
  options = options or {}
  local object = load_profile(profile, options)
  local env, faults = read_settings(object, options.settings)
  if not env then error(explain(faults), 2) end
  local known, planned_with = copy(facts or {}), nil
  local running = services.new()
  local burst = settle.new(options.settle)
  local node = { decisions = {}, steps = {}, log = running.log, services = running.by_name, files = {}, fetched = {} }
  local versions, unreachable = {}, copy(options.fetch_fails or {})

  --- The world a plan is carried out in: files in a table, services without processes.
  local world = {
    log = function(sentence)
      if planned_with then node.decisions[#node.decisions + 1] = sentence end
    end,
    write = function(name, text) node.files[name] = text; return true end,
    remove_file = function(name) node.files[name] = nil; return true end,
    fetch = function(steps)
      local errors = {}
      for _, step in ipairs(steps) do
        local why = unreachable[step.object]
        errors[step.object] = why and (why == true and "there is no such file" or why) or nil
        if not why then
          node.fetched[step.object] = step.entry.from
          if planned_with and step.log then node.decisions[#node.decisions + 1] = step.log end
        end
      end
      return errors
    end,
    drop = function(name) node.fetched[name] = nil; return true end,
    declare = function(spec) return running:declare(spec) end,
    remove = function(name) return running:remove(name) end,
    want = function(name, up) return running:want(name, up) end,
    restart = function(name) return running:restart(name) end,
  }

  local function compute()
    local wanted, problems = make_plan(object, env, copy(known), options.layers)
    if not wanted then return nil, problems end
    for name, its in pairs(wanted.fetch or {}) do its.version = versions[name] end
    local causes = planned_with and reconcile.causes(planned_with, known)
    node.steps = reconcile.steps(node.plan, wanted, { states = running.by_name, causes = causes })
    local lacking = {}
    local failures = supervise.carry_out(node.steps, world)
    for _, failed in ipairs(failures) do
      if failed.step.kind == "fetch" then lacking[#lacking + 1] = ("%s: %s"):format(failed.step.object, failed.err) end
    end
    if not planned_with and lacking[1] then return nil, lacking end      -- a real node ends with 69 then
    for _, sentence in ipairs(lacking) do node.decisions[#node.decisions + 1] = "not fetched: " .. sentence end
    node.plan, planned_with = supervise.in_force(wanted, failures, node.plan), copy(known)
    return true
  end

  local function replan()
    local ok, problems = compute()
    if not ok then node.decisions[#node.decisions + 1] = "the plan in force stays: " .. explain(problems) end
  end

  --- What is learned from the world, now. The plan follows when things have settled.
  function node.fact(name, value)
    known[name] = copy(value)
    burst:changed(running.now)
  end

  --- What the plan fetches: another version is at its source (where the plan watches it); it can't be had from now on, or again.
  function node.new_version(name)
    local planned = node.plan.fetch and node.plan.fetch[name]
    if not planned or not planned.watch then return end
    versions[name] = (versions[name] or 0) + 1
    burst:changed(running.now)
  end
  function node.fetch_fails(name, why) unreachable[name] = why end

  --- Lets time pass: timers fire in their order, changed facts take effect.
  function node.pass(seconds)
    local stop = running.now + seconds
    while true do
      local timer, change = running:due(), burst:due()
      local at = timer and change and math.min(timer, change) or timer or change
      if not at or at > stop then break end
      running:fire(math.max(at, running.now))
      if burst:take(running.now) then replan() end
    end
    running.now = stop
  end

  --- SIGHUP with other settings: { NAME = "text" }. Takes effect at once, or not at all.
  function node.reload(given)
    local fresh, problems = read_settings(object, given)
    if not fresh then
      node.decisions[#node.decisions + 1] = "the plan in force stays: " .. explain(problems)
      return
    end
    env = fresh
    replan()
  end

  --- Events of services. ready() without a name: everybody who is starting.
  function node.ready(name)
    if name then return running:ready(name) end
    for _, each in ipairs({ table.unpack(running.order) }) do
      if running.by_name[each] and running.by_name[each].state == "starting" then running:ready(each) end
    end
  end
  function node.unready(name) running:unready(name) end
  function node.exit(name, how) running:exit(name, how) end
  function node.stop(name) running:want(name, false) end
  function node.start(name) running:want(name, true) end
  function node.restart(name) running:restart(name) end
  function node.kill(name) running:kill(name) end
  --- The lease is held for so many seconds from now on; 0: no more.
  function node.lease(name, seconds) running:lease(name, seconds > 0 and running.now + seconds or 0) end
  --- From now on the service takes so long to end when asked to (0 at first); beyond its grace it is killed.
  function node.lasts(name, seconds) running.by_name[name].lasts = seconds end
  --- The next start of the service fails: "later" (no process to be had) or "never" (no such program).
  function node.spawn_fails(name, when) running.by_name[name].spawn_fails = "spawn " .. (when or "later") end
  function node.now() return running.now end

  local ok, problems = compute()
  if not ok then error(explain(problems), 2) end
  return setmetatable(node, { __close = function() end })
end

return setmetatable(simulate, { __call = function(_, ...) return simulate.node(...) end })
