--- `spark-appliance run`: settings -> profile -> facts -> plan -> services, and then again whenever something changes.
-- Walk: boot.run -> configure -> node:learn -> node:decide -> node:carry_out -> node:follow_changes (for ever).
-- What may fail before the first service ends the program with its exit code and every fault at once; what fails later is an event: it
-- is told, and what runs goes on.
local facts = require "appliance.facts"
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local log = require "appliance.core.log"
local profile = require "appliance.profile"
local program = require "appliance.core.program"
local settings = require "appliance.settings"
local task = require "appliance.core.task"

local boot = {}

local EXIT_FAILURE <const>, EXIT_NO_FACT <const>, EXIT_BUG <const>, EXIT_CONFIGURATION <const> = 1, 69, 70, 78

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
  env, faults = settings.read(object.settings, environ, file.read, file.stat)
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

--- Runs f as a task: whatever a profile made of it (a plan of a million services, a table that contains itself) can end that task,
--- and nothing else. -> its results | nil, faults, true when it broke
local function apart(name, f, ...)
  local running <close> = task.start(name, f, ...)
  return (function(ok, ...)
    if ok then return ... end
    return nil, { require("appliance.budget").in_words((...)) }, true
  end)(running:join())
end

--- Something happened. Until somebody has heard of it, twice is once, so that neither a storm of SIGHUPs nor facts that change all the
--- time pile up.
function node:tell(what)
  if self.pending[what] then return end
  self.pending[what] = true
  self.inbox:put(what)
end

function node:hear()
  local what = self.inbox:get()
  self.pending[what] = nil
  return what
end

--- First values of all facts of these settings and this profile -> followed facts | nil, faults
function node:learn(configured)
  local sources, env = configured.profile.facts, configured.env
  local followed = facts.follow(sources, env)
  self.state, self.learning = "it waits for facts", followed
  local values, faults = followed:first(sources, env.FACTS_TIMEOUT)
  self.state, self.learning = nil, nil
  if values then return followed end
  followed:close()
  return nil, faults
end

function node:follow_no_more()
  if self.follower then self.follower:cancel() end
  if self.followed then self.followed:close() end
end

function node:__close()
  self:follow_no_more()
  if self.trimmer then self.trimmer:cancel() end
  if self.learning then self.learning:close() end              -- it ends while it waits for facts
  if self.objects then self.objects:close() end
  if self.health then self.health:close() end
  if self.server then self.server:close() end
  if self.broker then self.broker:close() end                  -- after the services: they may have had something to upload
  if self.lock then self.lock:close() end                      -- last: until here nobody else may bind
end

--- From here on these are in force; a change of the facts is told.
function node:adopt(configured, followed)
  self:follow_no_more()
  self.configured, self.followed, self.follower = configured, followed, nil
  if next(followed.running) then
    self.follower = task.start("facts", function()
      while followed:next() do self:tell "facts" end
    end)
  end
end

--- What these settings and facts ask for, and what of it is not there yet; at the start, compared with the files that an earlier run
--- left. -> { wanted =, steps =, facts = } | nil, faults. Nothing is done yet.
function node:decide(configured, followed, why)
  return apart("plan", function()
    local known = {}
    for name, value in pairs(followed.values) do known[name] = value end
    local wanted, faults = boot.compute(configured, followed.values)
    if not wanted then return nil, faults end
    if wanted.fetch then self:with_versions(wanted.fetch) end
    local reconcile = require "appliance.reconcile"
    local states = {}
    for _, view in ipairs(self.supervise.list()) do states[view.name] = view end
    local steps = reconcile.steps(self.plan or require("appliance.supervise").found(self:conf(), self.state_dir), wanted, {
      states = states, causes = why and { why } or self.planned_for and reconcile.causes(self.planned_for, known),
    })
    return { wanted = wanted, steps = steps, facts = known }
  end)
end

--- What is known to have changed at its source is another object to the reconciler.
function node:with_versions(fetch)
  for name, object in pairs(fetch) do object.version = self.objects and self.objects:version(name, object.from) or nil end
end

--- At the start: what the plan fetches is there before anything else is done, or nothing is done.
--- -> true | nil, faults, exit code or nil
function node:fetch_first(decision)
  local steps = decision.steps
  local count = 0
  while steps[count + 1] and steps[count + 1].kind == "fetch" do count = count + 1 end
  if count == 0 then return true end
  local served, problem, code = self:serve()                   -- this may take long: `status` says what is waited for
  if not served then return nil, { problem }, code end
  self.state = count == 1 and "it fetches a file" or ("it fetches %d files"):format(count)
  local errors, copies = apart("fetch", require("appliance.supervise").fetch, table.move(steps, 1, count, 1, {}), self.state_dir, true)
  self.state = nil
  if not errors then return nil, copies end
  local faults = {}
  for i = 1, count do faults[#faults + 1] = errors[steps[i].object] end
  if faults[1] then return nil, faults end
  table.move(steps, count + 1, #steps + count, 1)
  self:follower_of_objects():took_copies(copies)
  return true
end

function node:follower_of_objects()
  self.objects = self.objects or require("appliance.objects").new(self.state_dir, function() self:tell "facts" end)
  return self.objects
end

--- Where services find their configuration.
function node:conf() return self.state_dir .. "/conf" end

--- What only a new plan needs: a node may sit for weeks between two, and the next one loads it again in a millisecond. None of these
--- may keep anything between two plans, or make values that are known by their metatable (plan.lua does: it stays).
local PLANNING <const> = {
  "plan.check", "reconcile", "supervise", "merge", "near", "render.properties", "render.xml", "render.log4j2", "render.metrics",
}

local function forget_planning()
  for _, module in ipairs(PLANNING) do package.loaded["appliance." .. module] = nil end
end

--- -> true | nil, faults: what failed is tried again with the next change
function node:carry_out(decision)
  local supervise = require "appliance.supervise"
  if not self.plan then                                        -- at the start each service says so itself
    for _, step in ipairs(decision.steps) do if step.kind == "start" then step.log = nil end end
  end
  self.planned_for = decision.facts
  local credentials = self.broker
  local failures = supervise.apply(decision.steps, self:conf(), self.state_dir,
    credentials and function(spec) return credentials:environment(spec) end)
  self.plan = supervise.in_force(decision.wanted, failures, self.plan)
  if self.plan.fetch or self.objects then
    self:follower_of_objects():follow(self.plan.fetch or {}, failures, decision.steps)
  end
  if credentials then
    credentials:sweep(function(name) return self.supervise.view(name) end)
    for _, note in ipairs(credentials:strangers(self.plan.services)) do log.warn(note) end
  end
  forget_planning()
  -- Its services may all be up before it is in force. Who follows the node has loaded this.
  local changes = package.loaded["appliance.control.changes"]
  if changes then changes.tell() end
  if #failures > 0 then return nil, { ("%d of %d steps failed"):format(#failures, #decision.steps) } end
  return true
end

local function tell(faults, consequence)
  for _, fault in ipairs(faults) do log.error(("%s: %s"):format(consequence, fault)) end
end

--- The plan of the facts as they are now.
function node:replan()
  local decision, faults = self:decide(self.configured, self.followed)
  if not decision then return tell(faults, "the plan can't be computed, everything stays as it is") end
  local ok
  ok, faults = self:carry_out(decision)
  if not ok then tell(faults, "the plan is in force but for what failed, which is tried again with the next change") end
end

--- What the broker is, and where: services have its address in their environment, so only a start can change these.
local OF_THE_START <const> = { "CREDENTIALS_BROKER", "BROKER_PORT" }

function node:tell_what_waits(env)
  for _, name in ipairs(OF_THE_START) do
    local now, wanted = tostring(self.of_the_start[name]), tostring(env[name])
    if wanted ~= now then
      log.warn(("SIGHUP: %s=%s counts from the next start of this program; until then it stays %s=%s"):format(name, wanted, name, now))
    end
  end
end

--- SIGHUP: settings files and profile again. Until there is a plan of them everything goes on as it is, and after a fault so it stays.
--- -> whether there is a new plan
function node:reload()
  local configured, faults = apart("settings", configure)
  local followed, decision
  if configured then followed, faults = self:learn(configured) end
  if followed then decision, faults = self:decide(configured, followed, "settings or profile were read again") end
  if not decision then
    if followed then followed:close() end
    tell(faults, "SIGHUP: nothing was changed")
    return false
  end
  self:adopt(configured, followed)
  log.level(configured.env.LOG_LEVEL)
  if self.broker then self.broker:reload(configured.env) end
  self:tell_what_waits(configured.env)
  local ok, err = program.supervise(options_of(configured.env))
  if not ok then log.error(("SIGHUP: %s"):format(err)) end
  ok, faults = self:carry_out(decision)
  if ok then
    log.info "SIGHUP: settings and profile were read again and are in force"
  else
    tell(faults, "SIGHUP: settings and profile are in force but for what failed, which is tried again with the next change")
  end
  return true
end

--- Facts that change in bursts are one change: waits until they have been quiet. -> what came instead, if it is more urgent
function node:wait_until_quiet()
  local settling = require("appliance.settle").new()
  settling:changed(task.now())
  while not settling:take(task.now()) do
    local more <close> = task.start("inbox", self.hear, self)
    local ok, what = more:join(settling:due() - task.now())
    if ok and what ~= "facts" then return what end
    if ok then settling:changed(task.now()) end
  end
end

--- Gives back what planning needed, a moment later: the services that were just started need the processors more, and changes may
--- follow one another.
function node:trim_after(seconds)
  if self.trimmer then self.trimmer:cancel() end
  self.trimmer = task.start("trim", function()
    task.sleep(seconds)
    program.trim()
  end)
end

--- For ever: something happens, the plan is computed again, the difference is carried out.
function node:follow_changes()
  local _ <close> = task.start("SIGHUP", function()
    while true do
      program.reload()
      self:tell "reload"
    end
  end)
  while true do
    local what = self:hear()
    local is_fact = what == "facts"
    if is_fact then what = self:wait_until_quiet() end
    local is_new = what == "reload" and self:reload()
    if is_fact and not is_new then self:replan() end           -- a reload that failed must not swallow the change
    self:trim_after(1)
  end
end

--- Makes this the only program of its state directory: two would each take the other's processes for their own. There are two locks,
-- both held until we end. This one is on the directory itself and makes no file; where a file system has no such locks the other one
-- does, that of the socket. -> true | nil, problem, exit code
function node:claim()
  local ok, err = file.make_dirs(self.state_dir, tonumber("700", 8))
  if not ok then
    return nil, ("STATE_DIR: %s; it must be a directory this user (uid %d) can write"):format(err, host.uid()), EXIT_CONFIGURATION
  end
  self.lock, err = file.lock(self.state_dir)
  if self.lock then return true end
  local served, problem, code = self:serve()
  if served and err.kind == "conflict" then                    -- it holds the directory, and has no socket yet
    return nil, "another spark-appliance already runs here: STATE_DIR=" .. self.state_dir, EXIT_FAILURE
  end
  return served, problem, code                                 -- in a conflict about the socket the problem says with whom
end

--- Opens the control socket, unless it is open. With its lock it is two new files on a disk, a fifth of the time to the first service:
--- see boot.run for when. -> true | nil, problem, exit code
function node:serve()
  if self.server then return true end
  local err
  self.server, err = require("appliance.core.control").serve(self.state_dir .. "/control.sock", function(request)
    return require("appliance.control").answer(self, request)
  end)
  if self.server then return true end
  -- Another one that runs here may be about to end: to try again can help, which it can't with a directory that is not ours.
  return nil, err, err.kind == "conflict" and EXIT_FAILURE or EXIT_CONFIGURATION
end

--- Opens the health pages to others -> true | nil, problem, exit code
function node:serve_health(env)
  local err
  self.health, err = require("appliance.cluster.health").serve(self, env)
  if self.health then return true end
  return nil, ("HEALTH_PORT=%d: %s"):format(env.HEALTH_PORT, tostring(err)), EXIT_CONFIGURATION
end

--- Where this node has credentials of AWS its services get them from us: see broker.lua. Nothing is asked of AWS here.
--- -> true | nil, problem
function node:serve_credentials(configured)
  local env, environ = configured.env, configured.environ
  self.of_the_start = {}
  for _, name in ipairs(OF_THE_START) do self.of_the_start[name] = env[name] end
  local is_wanted = require("appliance.broker.signs").call_for_broker(env, environ, file)
  package.loaded["appliance.broker.signs"] = nil               -- nobody asks a second time
  if not is_wanted then return true end
  local err
  self.broker, err = require("appliance.broker").start { env = env, state_dir = self.state_dir, environ = environ }
  if self.broker then return true end
  return nil, ("credentials broker: %s; services would have no credentials (BROKER_PORT=0 takes any port, CREDENTIALS_BROKER=false does "
    .. "without)"):format(tostring(err))
end

--- A profile may hang in a call of C while it is loaded. How long that may last is a setting that is not read yet.
local function watch_over_loading()
  local types = require "appliance.settings.types"
  program.watch(types.duration(os.getenv "WATCHDOG" or "60s", {}) or 60)
end

function boot.run()
  watch_over_loading()
  local configured, faults = configure()
  if not configured then return refuse(faults, EXIT_CONFIGURATION) end
  local env = configured.env
  log.level(env.LOG_LEVEL)

  local self <close> = setmetatable({ inbox = task.queue(), pending = {}, state_dir = configured.state_dir,
    supervise = require "appliance.core.supervise", profile = configured.profile.name, started = task.now() }, node)
  local ok, problem, code = self:claim()
  -- The socket is there before facts are waited for, so that `status` can say for which; else after the first services.
  if ok and next(configured.profile.facts) then ok, problem, code = self:serve() end
  if ok and (env.HEALTH_PORT or 0) > 0 then ok, problem, code = self:serve_health(env) end
  if not ok then return refuse({ problem }, code) end
  local err
  ok, err = program.supervise(options_of(env))
  if not ok then return refuse({ err }, EXIT_FAILURE) end
  for _, note in ipairs(settings.notes(env)) do log.warn(note) end

  facts.at_work = true
  local followed, decision, is_broken
  followed, faults = self:learn(configured)
  if not followed then return refuse(faults, EXIT_NO_FACT) end
  self:adopt(configured, followed)
  decision, faults, is_broken = self:decide(configured, followed)
  if not decision then return refuse(faults, is_broken and EXIT_BUG or EXIT_CONFIGURATION) end
  if env.S3_CHECK and env.S3_CHECK_REQUIRED then
    ok, problem, code = self:serve()
    if not ok then return refuse({ problem }, code) end
    self.state = "it waits for S3_CHECK"
    ok, problem = require("appliance.bucket").at_start(env)
    self.state = nil
    if not ok then return refuse({ problem }, EXIT_NO_FACT) end
  end
  ok, faults, code = self:fetch_first(decision)
  if not ok then return refuse(faults, code or EXIT_NO_FACT) end
  ok, problem = self:serve_credentials(configured)
  if not ok then return refuse({ problem }, EXIT_CONFIGURATION) end
  ok, faults = self:carry_out(decision)
  if not ok then return refuse(faults, EXIT_CONFIGURATION) end
  ok, problem, code = self:serve()
  if not ok then return refuse({ problem }, code) end

  local checking <close> = env.S3_CHECK and not env.S3_CHECK_REQUIRED -- luacheck: ignore
    and task.start("S3_CHECK", function() require("appliance.bucket").at_start(env) end) or nil

  self:trim_after(0.05)
  self:follow_changes()
end

return boot
