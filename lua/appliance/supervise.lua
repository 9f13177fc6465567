--- Carries the reconciler's steps out. Decides nothing: what fails is said and returned, and the rest is done all the same.
local supervise = {}

local LATER <const> = 600                                      -- seconds for a fetch while the node is at work: other changes wait for it
local PIECE <const> = 256                                      -- steps without a look at anything else, such as a SIGTERM

local does = {
  drop = function(world, step) return world.drop(step.object) end,
  write = function(world, step) return world.write(step.file, step.text, step.mode) end,
  remove = function(world, step) return world.remove_file(step.file) end,
  declare = function(world, step) return world.declare(step.spec) end,
  stop = function(world, step) return world.remove(step.service) end,
  restart = function(world, step) return world.restart(step.service) end,
  start = function(world, step) return world.want(step.service, true) end,
  keep = function() return true end,
  say = function() return true end,
}

--- Which of a service's files could not be written in this round? With half of its configuration it must not start.
local function lacking(inputs, unwritten)
  for _, name in ipairs(inputs or {}) do
    if unwritten[name] then return name end
  end
end

--- Fetches what the first steps ask for, all at once; adds those that failed to `failures`. -> how many steps that was
local function fetch_all(steps, world, failures, unwritten)
  local wanted = {}
  for _, step in ipairs(steps) do
    if step.kind ~= "fetch" then break end
    wanted[#wanted + 1] = step
  end
  if not wanted[1] then return 0 end
  local errors = world.fetch(wanted)
  for _, step in ipairs(wanted) do
    local err = errors[step.object]
    if err then
      failures[#failures + 1] = { step = step, err = err }
      unwritten[step.object] = true
    end
  end
  return #wanted
end

--- supervise.carry_out(steps, world) -> failures: a list, empty when all went well, of { step =, err = }, with lacks = file where
--- that is why.
--- `world` has write, remove_file, declare, remove, want, restart (each -> true | nil, err) and log(sentence), and may have rest(), called
--- now and then between two steps; where a plan fetches, fetch(steps) -> { [object] = err }, which tells itself what it did, and
--- drop(object).
--- A service that reads a file which could not be written or fetched is left as it is: neither declared nor started anew.
function supervise.carry_out(steps, world)
  local failures, postponed, undeclared, unwritten = {}, {}, {}, {}
  local fetched = fetch_all(steps, world, failures, unwritten)
  local function carry(step)
    if step.service and undeclared[step.service] then return end   -- one failure is told once
    local file = lacking(step.kind == "declare" and step.spec.inputs or step.inputs, unwritten)
    if file then
      undeclared[step.service] = true
      failures[#failures + 1] = { step = step, lacks = file,
        err = ("its %s was not written; tried again with the next change"):format(file) }
      return
    end
    local is_thing = step.file or step.object
    if step.log and not is_thing then world.log(step.log) end      -- a decision before what follows from it
    local ok, err = does[step.kind](world, step)
    if ok and step.log and is_thing then world.log(step.log) end   -- a file when it is there
    if not ok then
      failures[#failures + 1] = { step = step, err = err }
      if step.kind == "declare" then undeclared[step.service] = true end
      if step.kind == "write" then unwritten[step.file] = true end
    end
  end
  for i = fetched + 1, #steps do
    local step = steps[i]
    if i % PIECE == 0 and world.rest then world.rest() end
    if step.kind == "declare" then
      -- Two services that swap who waits for whom look like a circle until both are declared: such a one is tried again behind the others.
      if lacking(step.spec.inputs, unwritten) or not world.declare(step.spec) then postponed[#postponed + 1] = step end
    else
      carry(step)
    end
    local following = steps[i + 1]
    if step.kind == "declare" and not (following and following.kind == "declare") then
      for _, late in ipairs(postponed) do carry(late) end
      postponed = {}
    end
  end
  return failures
end

--- The plan that is in force after some steps failed: what could not be written or declared is as it was `before` (nil: not there),
--- so that the next reconciling tries it again.
function supervise.in_force(wanted, failures, before)
  if #failures == 0 then return wanted end
  local old_files, old_services = before and before.files or {}, {}
  for _, service in ipairs(before and before.services or {}) do old_services[service.name] = service end
  local plan = {}
  for field, value in pairs(wanted) do plan[field] = value end
  plan.files, plan.services = {}, {}
  for name, file in pairs(wanted.files) do plan.files[name] = file end
  local old_fetch = before and before.fetch or {}
  plan.fetch = wanted.fetch and {}
  for name, object in pairs(wanted.fetch or {}) do plan.fetch[name] = object end
  local undeclared = {}
  for _, failed in ipairs(failures) do
    if failed.step.kind == "write" then plan.files[failed.step.file] = old_files[failed.step.file] end
    if failed.step.kind == "fetch" then plan.fetch[failed.step.object] = old_fetch[failed.step.object] end
    if failed.step.kind == "declare" then undeclared[failed.step.service] = true end
    -- Its other files are new already, but it has not read them: they are the reason for its restart should the first come back as it was.
    for _, name in ipairs(failed.lacks and (failed.step.inputs or failed.step.spec.inputs) or {}) do
      plan.files[name] = old_files[name]
      if plan.fetch then plan.fetch[name] = old_fetch[name] end
    end
  end
  for _, service in ipairs(wanted.services) do
    if undeclared[service.name] then service = old_services[service.name] end
    plan.services[#plan.services + 1] = service
  end
  return plan
end

--- The files that an earlier run left in the conf directory, as the current plan's: what is right is not written again, what no plan
--- has any more is removed; and what it fetched for its plan, which is asked for again.
function supervise.found(directory, state_dir)
  local file = require "appliance.core.file"
  local files = {}
  for _, name in ipairs(file.list(directory) or {}) do
    local path = directory .. "/" .. name
    local stat = file.stat(path)
    if stat and stat.kind == "file" then
      local text = file.read(path)
      if text then files[name] = { text = text, mode = stat.mode & 4095 } end
    end
  end
  local fetched = state_dir and file.stat(state_dir .. "/fetched") and require("appliance.fetch.record").of_plan(state_dir)
  return { files = files, services = {}, fetch = fetched and next(fetched) and fetched or nil }
end

--- supervise.fetch(steps, state_dir, at_start) -> { [object] = err }, { [object] = why a copy of an earlier start was taken }. At the
--- start it is all of them or none.
function supervise.fetch(steps, state_dir, at_start)
  local log = require "appliance.core.log"
  local path_of = require("appliance.plan.objects").path
  local list, errors, copies = {}, {}, {}
  for i, step in ipairs(steps) do
    local entry = step.entry
    list[i] = { from = entry.from, to = path_of(step.object, state_dir), sha256 = entry.sha256, mode = entry.mode, kind = entry.kind,
                plan = step.object }
  end
  local ok, result, report = require("appliance.fetch").all(list, { state_dir = state_dir, partial = not at_start,
    strict = not at_start, seconds = not at_start and LATER or nil })
  report = ok and result or report
  for i, step in ipairs(steps) do
    local its = report[list[i].to]
    errors[step.object], copies[step.object] = its.err, its.stale
    if its.stale then
      log.warn(("%s: the copy of an earlier start is used: %s"):format(step.object, tostring(its.stale)))
    elseif step.log and not its.kept and not its.err and (ok or not at_start) then
      log.info(("%s, %s"):format(step.log, require("appliance.settings.types").size_text(its.size)))
    end
  end
  return errors, copies
end

--- The real world: files below the conf directory (or absolute), what is fetched below STATE_DIR, services under the program's supervisor.
--- environment(spec) -> env | nil, err, when given: what a service is started with instead of its env, which no plan shows (broker.lua).
function supervise.world(directory, state_dir, environment)
  local file = require "appliance.core.file"
  local log = require "appliance.core.log"
  local core = require "appliance.core.supervise"
  local function path_of(name) return name:sub(1, 1) == "/" and name or directory .. "/" .. name end
  return {
    log = log.info,
    rest = require "appliance.core.task".yield,
    write = function(name, text, mode)
      local path = path_of(name)
      local folder = path:match "^(.*)/[^/]*$"
      if folder ~= "" then
        local made, err = file.make_dirs(folder)
        if not made then return nil, err end
      end
      return file.replace(path, text, mode, false)           -- made anew at each start, so a power cut can't harm it
    end,
    remove_file = function(name) return file.remove(path_of(name)) end,
    fetch = function(steps) return supervise.fetch(steps, state_dir, false) end,
    drop = function(name)
      local path = require("appliance.plan.objects").path(name, state_dir)
      require("appliance.fetch.record").forget(state_dir, path)
      local removed, err = file.remove(path)
      return removed or err.kind == "missing", err
    end,
    declare = function(spec)
      if environment then
        local env, err = environment(spec)
        if not env then return nil, err end
        local whole = {}
        for field, value in pairs(spec) do whole[field] = value end
        whole.env = env
        spec = whole
      end
      -- It raises on a spec that makes no sense here, such as a user who does not exist: for a node at work that is a failure like others.
      local is_sound, declared, problem = pcall(core.declare, spec)
      if not is_sound then return nil, declared end
      return declared, problem
    end,
    remove = core.remove,
    want = core.want,
    restart = core.restart,
  }
end

--- supervise.apply(steps, directory, state_dir [, environment]) -> failures, each of them logged.
function supervise.apply(steps, directory, state_dir, environment)
  local failures = supervise.carry_out(steps, supervise.world(directory, state_dir, environment))
  for _, failed in ipairs(failures) do
    require("appliance.core.log").error(("%s: not carried out: %s"):format(failed.step.service or failed.step.file or failed.step.object,
      tostring(failed.err)))
  end
  return failures
end

return supervise
