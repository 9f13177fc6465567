--- `spark-appliance run`: settings -> profile -> facts -> plan -> services, and then again whenever something changes.
-- Walk: boot.run -> configure -> node:start -> node:turn (for ever). What may fail before the first service ends the program with its
-- exit code and every fault at once; what fails later is an event: it is told, and what runs goes on.
local facts = require "appliance.facts"
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local log = require "appliance.core.log"
local profile = require "appliance.profile"
local program = require "appliance.core.program"
local settings = require "appliance.settings"
local task = require "appliance.core.task"

local boot = {}

local EXIT_NO_FACT <const>, EXIT_CONFIGURATION <const>, EXIT_FAILURE <const> = 69, 78, 1

local node = {}
node.__index = node

--- Can this process write into that directory, or make it?
local function is_writable(path)
  local there = file.stat(path)
  if there then return there.kind == "dir" and there.writable end
  return (file.make_dirs(path, tonumber("700", 8)))
end

--- Settings and profile, read anew -> { env, profile } | nil, faults
local function configure()
  local environ = host.environ()
  if (environ.STATE_DIR or "") == "" and not environ.STATE_DIR_FILE then environ.STATE_DIR = settings.state_dir(environ, is_writable) end
  local object, faults = profile.load(nil, { environ = environ })
  if not object then return nil, faults end
  local env
  env, faults = settings.read(object.settings, environ, file.read)
  if not env then return nil, faults end
  return { env = env, environ = environ, profile = object, state_dir = env.STATE_DIR }
end

--- All faults, one a line, on stderr: the console is not there yet, and a person reads this.
local function refuse(faults, code)
  for _, fault in ipairs(faults) do log.error(tostring(fault)) end
  return code
end

local function options_of(env)
  return { stop_timeout = env.STOP_TIMEOUT, watchdog = env.WATCHDOG, json = env.LOG_FORMAT == "json" }
end

--- Layers of configuration files that facts brought (mounted files, EXT_CONF): { [file] = { layer, ... } }
local function layers_of(values)
  local layers = {}
  for _, value in pairs(values) do
    for name, list in pairs(type(value) == "table" and value.layers or {}) do
      layers[name] = table.move(list, 1, #list, #(layers[name] or {}) + 1, layers[name] or {})
    end
  end
  return layers
end

--- The plan of these settings and facts -> plan | nil, faults. Also what `spark-appliance plan` calls.
function boot.compute(configured, values)
  local draft, err = configured.profile.plan(configured.env, values)
  if not draft then return nil, { err } end
  return require("appliance.plan").normalise(draft, { profile = configured.profile.name, layers = layers_of(values) })
end

--- First values of all facts, and the plan of them; nothing is written or started -> configured, plan | nil, faults, exit code
function boot.plan()
  local configured, faults = configure()
  if not configured then return nil, faults, EXIT_CONFIGURATION end
  local sources = configured.profile.facts
  local followed <close> = facts.follow(sources, configured.env)
  local values
  values, faults = followed:first(sources, configured.env.FACTS_TIMEOUT)
  if not values then return nil, faults, EXIT_NO_FACT end
  local plan
  plan, faults = boot.compute(configured, values)
  if not plan then return nil, faults, EXIT_CONFIGURATION end
  return configured, plan
end

--- Follows the facts of the profile in force, from their first values on; a change is put into the inbox.
function node:follow_facts()
  if self.follower then self.follower:cancel() end
  if self.followed then self.followed:close() end
  local sources, env = self.configured.profile.facts, self.configured.env
  self.state = "it waits for facts"
  self.followed = facts.follow(sources, env)
  local values, faults = self.followed:first(sources, env.FACTS_TIMEOUT)
  self.state = nil
  if not values then return nil, faults end
  if next(self.followed.running) then
    self.follower = task.start("facts", function()
      while self.followed:next() do self.inbox:put "facts" end
    end)
  end
  return true
end

--- The plan of the facts as they are now, carried out. -> true | nil, faults; then whatever could not be computed stays as it was.
function node:replan(why)
  local values = self.followed.values
  local wanted, faults = boot.compute(self.configured, values)
  if not wanted then return nil, faults end
  local causes = why and { why } or self.planned_for and require("appliance.reconcile").causes(self.planned_for, values)
  self.planned_for = {}
  for name, value in pairs(values) do self.planned_for[name] = value end
  return self:apply(wanted, causes)
end

--- Carries out what differs from the plan in force; at the start, from the files that an earlier run left.
function node:apply(wanted, causes)
  local supervise, conf = require "appliance.supervise", self.state_dir .. "/conf"
  local states = {}
  for _, view in ipairs(self.supervise.list()) do states[view.name] = view end
  local steps = require("appliance.reconcile").steps(self.plan or supervise.found(conf), wanted, { states = states, causes = causes })
  if not self.plan then                                        -- at the start each service says so itself
    for _, step in ipairs(steps) do if step.kind == "start" then step.log = nil end end
  end
  local failures = supervise.apply(steps, conf)
  self.plan = supervise.in_force(wanted, failures, self.plan)
  if #failures > 0 then return nil, { ("%d of %d steps of the plan failed"):format(#failures, #steps) } end
  return true
end

local function tell(faults, consequence)
  for _, fault in ipairs(faults) do log.error(("%s: %s"):format(consequence, fault)) end
end

--- SIGHUP: settings files and profile again. Faults leave everything as it is.
function node:reload()
  local configured, faults = configure()
  if not configured then return tell(faults, "SIGHUP: nothing was changed") end
  local before = self.configured
  self.configured = configured
  local ok
  ok, faults = self:follow_facts()
  if ok then ok, faults = self:replan "settings or profile were read again" end
  if ok then
    program.supervise(options_of(configured.env))
    log.info "SIGHUP: settings and profile were read again and are in force"
  else
    tell(faults, "SIGHUP: nothing was changed")
    self.configured = before
    self:follow_facts()
  end
end

--- Facts that change in bursts are one change: waits until they have been quiet. -> what came instead, if it is more urgent
function node:wait_until_quiet()
  local settling = require("appliance.settle").new()
  settling:changed(task.now())
  while not settling:take(task.now()) do
    local more <close> = task.start("inbox", function() return self.inbox:get() end)
    local ok, what = more:join(settling:due() - task.now())
    if ok and what ~= "facts" then return what end
    if ok then settling:changed(task.now()) end
  end
end

--- For ever: something happens, the plan is computed again, the difference is carried out.
function node:follow_changes()
  local _ <close> = task.start("SIGHUP", function()
    while true do
      program.reload()
      self.inbox:put "reload"
    end
  end)
  while true do
    local what = self.inbox:get()
    if what == "facts" then what = self:wait_until_quiet() or what end
    if what == "reload" then
      self:reload()
    else
      local ok, faults = self:replan()
      if not ok then tell(faults, "the plan can't be computed, everything stays as it is") end
    end
  end
end

--- The control socket comes before anything is waited for, so that `status` can say what that is. It is also what makes this the only
--- program of its state directory: two would each take the other's processes for their own.
local function serve(self)
  local ok, err = file.make_dirs(self.state_dir, tonumber("700", 8))
  if not ok then return nil, ("STATE_DIR: %s; it must be a directory this user (uid %d) can write"):format(err, host.uid()) end
  return require("appliance.core.control").serve(self.state_dir .. "/control.sock", function(request)
    return require("appliance.control").answer(self, request)
  end)
end

--- A profile may hang in a call of C while it is loaded. How long that may last is a setting that is not read yet.
local function watch_over_loading()
  local types = require "appliance.settings.types"
  program.watch(types.duration(host.environ().WATCHDOG or "60s", {}) or 60)
end

function boot.run()
  watch_over_loading()
  local configured, faults = configure()
  if not configured then return refuse(faults, EXIT_CONFIGURATION) end
  local env = configured.env
  log.level(env.LOG_LEVEL)

  local self = setmetatable({ configured = configured, inbox = task.queue(), state_dir = configured.state_dir,
    supervise = require "appliance.core.supervise", profile = configured.profile.name, started = task.now() }, node)
  local server <close>, problem = serve(self)
  if not server then return refuse({ problem }, EXIT_FAILURE) end
  local ok, err = program.supervise(options_of(env))
  if not ok then return refuse({ err }, EXIT_FAILURE) end
  for _, note in ipairs(settings.notes(env)) do log.warn(note) end

  ok, faults = self:follow_facts()
  if not ok then return refuse(faults, EXIT_NO_FACT) end
  ok, faults = self:replan()
  if not ok then return refuse(faults, EXIT_CONFIGURATION) end

  program.trim()
  self:follow_changes()
end

return boot
