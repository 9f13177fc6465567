--- A node of a simulated cluster: what src/proc does for its services, with leases that kill at their deadline whatever the agent does,
-- and the shipped agent over the world that it is given. appliance.simulate.cluster has what may be done to a node.
-- A run is from boot to crash: what was begun in an earlier one is told to nobody.
local agent = require "appliance.cluster.agent"
local spark = require "appliance.simulate.spark"
local zookeeper = require "appliance.simulate.zookeeper"

local node = {}
node.__index = node

local LEASE_OF = { master = "node", thriftserver = "sql" }
local SERVICES = { "master", "thriftserver" }
node.SERVICES = SERVICES

-- ---------------------------------------------------------------- services of a node: what src/proc does

local function note(self, text, ...)                       -- put together only if somebody reads it
  local trace = self.cluster.trace
  trace[#trace + 1] = { self.cluster.clock.now, self.name, text, ... }
end

local function tell(self, service, kind, fields)
  local run, process = self.run, self.services[service].process
  self.clock:after(0.002, function()
    if self.run ~= run then return end
    fields.kind, fields.service, fields.pid = kind, service, fields.pid or process and process.pid
    self.events:put(fields)
  end)
end

local function lease_left(self, name)
  local due = self.leases[LEASE_OF[name]]
  return due > 0 and (due - self.host:boot_ns()) / 1e9 or 0
end

local start_service

local function retry_later(self, name, seconds)
  local run, service = self.run, self.services[name]
  if service.retry then return end
  service.retry = true
  self.clock:after(seconds, function()
    if self.run ~= run then return end
    service.retry = false
    start_service(self, name)
  end)
end

function start_service(self, name)
  local service = self.services[name]
  if service.process or not service.wanted or not self.up or service.retry then return end
  if self.frozen then return retry_later(self, name, 0.5) end
  if lease_left(self, name) <= 0.1 or service.failed then return end       -- it waits; the next move of the lease comes here
  if self.unable == name then
    service.failed = true
    note(self, "%s can't be started", name)
    return tell(self, name, "failed", {})
  end
  self.cluster.pids = self.cluster.pids + 1
  service.starts = service.starts + 1
  service.last_start = self.clock.now
  note(self, "%s started", name)
  local host = self.jvms[name]
  local owner = { name = self.name, wire = self.wire, address = self.address, is_up = function() return self.up and not self.frozen end,
    tell = function(kind, fields) tell(self, name, kind, fields) end,
    is_blind = function()
      local blind = self.blind
      self.blind = false
      return blind
    end,
    ended = function(process, code) self:ended(name, process, code, true) end,
    changed = function(process)
      note(self, "%s is %s", name, process.state)
      self.cluster:look()
    end }
  service.process = spark[name](self.cluster, owner, host, self.dir)
  service.process.pid = self.cluster.pids
  tell(self, name, "started", {})
  self.cluster:look()
end

--- The process has ended.
function node:ended(name, process, code, unasked)
  local service = self.services[name]
  if service.process ~= process then return end
  note(self, "%s ended (%s)", name, tostring(code))
  local pid = process.pid
  tell(self, name, "ended", { pid = pid, code = code, unasked = unasked })
  service.process = nil
  process:die()
  for _, ended in ipairs(service.stopped or {}) do ended:put(true) end
  service.stopped = nil
  self.cluster:look()
  retry_later(self, name, 0.3)
end

--- KILL: nothing of it runs from that moment on, but it takes its time to be gone. It reaches a stopped process as well.
local function kill_service(self, name, why, unasked)
  local process = self.services[name].process
  if not process or process.dying then return end
  process.dying = true
  note(self, "%s is killed (%s)", name, why)
  self.cluster:look()
  self.clock:after(self.cluster.random:between(0.003, 0.3), function()
    if self.services[name].process == process then self:ended(name, process, "KILL", unasked) end
  end)
end

--- The deadline thread: a hardware clock and the kernel, nothing else. A frozen machine does it at its thaw.
local function deadline(self, name)
  local lease = LEASE_OF[name]
  self.timers[name] = nil
  local left = lease_left(self, name)
  if left > 0 then
    self.timers[name] = self.clock:after(left, deadline, self, name)
  elseif not self.frozen and self.leases[lease] > 0 and not self.cluster.without_deadlines then
    kill_service(self, name, "deadline")
  end
end

local function move_lease(self, lease, due)
  if not self.up then return end
  self.leases[lease] = due
  for _, name in ipairs(SERVICES) do
    if LEASE_OF[name] == lease then
      if due == 0 then
        kill_service(self, name, "its lease is given up")
      else
        if not self.timers[name] then deadline(self, name) end
        start_service(self, name)
      end
    end
  end
end

--- Orderly: waits until it has ended.
local function stop_service(self, name)
  local service = self.services[name]
  if not service then return end
  service.wanted, service.failed = false, nil
  local process = service.process
  if not process then return end
  local ended = self.host.task.queue()
  service.stopped = service.stopped or {}
  table.insert(service.stopped, ended)
  note(self, "%s is asked to stop", name)
  self.clock:after(0.1 + 0.4 * self.cluster.random:next(), function()
    if service.process == process and not self.frozen then self:ended(name, process, 143, false) end
  end)
  local run = self.run
  self.clock:after(5, function()
    if self.run == run and service.process == process then self:ended(name, process, "KILL", false) end
  end)
  ended:get()
end

-- ---------------------------------------------------------------- a node

--- As cluster:add takes; not booted yet.
function node.new(its, number, options)
  local version, is_master = options.version or "4.1.1", options.master ~= false
  return setmetatable({ cluster = its, clock = its.clock, name = options.name or "node" .. number, known_as = options.known_as,
    auth = options.auth,
    address = "10.0.0." .. number, ui = ("http://10.0.0.%d:8080"):format(number), page = ("http://10.0.0.%d:8081"):format(number),
    version = version, dir = its.root .. "/spark/" .. version,
    roles = { master = is_master, worker = true, sql = is_master }, wire = { up = true, late = 0 } }, node)
end

--- Does it serve now: its process runs and is not frozen. One thawed a moment ago has its KILL on the way, when it is due.
function node:is_serving(name)
  local process = self.up and self.services[name].process
  if not process or process.dying or self.frozen then return false end
  if self.thawed and self.clock.now - self.thawed < 0.01 then return false end
  if name == "master" then return not self.jvm_stopped and process:is_leading() end
  return true
end

local function world_of(self)
  local log = {}
  for _, level in ipairs { "info", "warn", "error" } do
    log[level] = function(text) note(self, "%s", text) end
  end
  local run, alter = self.run, self.cluster.alter_world
  local world = {
    zk = self.cluster.tamper and self.cluster.tamper(self.zk, self) or self.zk, task = self.host.task, log = log, events = self.events,
    boot_ns = function() return self.host:boot_ns() end,
    lease = function(name, due) if self.run == run then move_lease(self, name, due) end end,
    kill = function(name) kill_service(self, name, "the agent asks", true) end,
    stop = function(name) stop_service(self, name) end,
    start = function(name)
      if self.services[name] then
        self.services[name].wanted, self.services[name].failed = true, nil
        start_service(self, name)
      end
    end,
    probe = function(ui)
      self.host.task.sleep(0.01)
      for _, other in ipairs(self.cluster.nodes) do
        if other.page == ui and other.up and not other.frozen and self.wire.up and other.wire.up then return { id = other.worker } end
        local process = other.ui == ui and other.up and not other.frozen and other.services.master.process
        if process and not other.jvm_stopped and self.wire.up and other.wire.up then return { status = process.state } end
      end
      return nil, { kind = "timeout", text = "no answer" }
    end,
  }
  if alter then alter(world, self) end
  return world
end

--- The program starts: a run of its own.
function node:boot()
  if self.up then return end
  local its = self.cluster
  self.run, self.up, self.frozen, self.jvm_stopped = (self.run or 0) + 1, true, false, false
  self.host = its.clock:host(self.name, its.random:between(10, 100000))
  self.jvms = { master = its.clock:host(self.name, 0), thriftserver = its.clock:host(self.name, 0) }
  self.events = self.host.task.queue()
  self.worker = ("worker-%d-%s-7078"):format(20260101000000 + self.run, self.address)
  self.leases, self.timers = { node = 0, sql = 0 }, {}
  for _, name in ipairs(SERVICES) do
    local before = self.services and self.services[name]
    self.services = self.services or {}
    self.services[name] = { wanted = self.roles[name == "master" and "master" or "sql"], starts = before and before.starts or 0 }
  end
  self.zk = zookeeper.client(its.servers, self.host, { session = its.session, wire = self.wire })
  self.agent = agent.new {
    world = world_of(self), root = its.root, dir = self.dir, size = its.size, auth = self.auth, limits = its.limits,
    node = { name = self.known_as or self.name, host = self.address, guid = ("%s-%d"):format(self.name, self.run), roles = self.roles,
      version = self.version, url = "spark://" .. self.address .. ":7077", ui = self.ui, sql = { host = self.address, port = 10010 },
      worker = self.roles.worker and { port = 7078, ui = self.page } or nil },
    emit = function(view) self.view = view end,
  }
  local own = self.agent
  self.running = self.host.task.start("agent of " .. self.name, function() own:run() end)
  note(self, "boots")
end

--- Power off: nothing of it is left, and nobody is told.
function node:crash()
  if not self.up then return end
  note(self, "crashes")
  self.up = false
  self.run = self.run + 1
  for _, name in ipairs(SERVICES) do
    local process = self.services[name].process
    self.services[name].process = nil
    if process then process:die() end
  end
  self.zk:abandon()
  self.running:cancel()
  self.view = nil
  self.cluster:look()
end

local function pause_jvm(self, name, paused)
  local host, process = self.jvms[name], self.services[name].process
  if paused then host:pause() else host:resume() end
  if process then
    if paused then process:freeze() else process:thaw() end
  end
end

--- The whole machine stands still; its clock does not.
function node:freeze()
  if not self.up or self.frozen then return end
  note(self, "freezes")
  self.frozen = true
  self.host:pause()
  self.zk:freeze()
  for _, name in ipairs(SERVICES) do pause_jvm(self, name, true) end
  self.cluster:look()
end

function node:thaw()
  if not self.up or not self.frozen then return end
  note(self, "thaws")
  self.frozen = false
  self.thawed = self.clock.now
  for _, name in ipairs(SERVICES) do
    if not (name == "master" and self.jvm_stopped) then pause_jvm(self, name, false) end
    if not self.timers[name] then deadline(self, name) end       -- the thread, already due
  end
  self.zk:thaw()
  self.host:resume()
  self.cluster:look()
  self.clock:after(0.011, function() self.cluster:look() end)
end

--- The agent alone is stopped: the library's own thread keeps the session, the kernel keeps the deadlines.
function node:wedge()
  note(self, "is wedged")
  self.host:pause()
end

function node:unwedge()
  if self.frozen then return end
  note(self, "is no longer wedged")
  self.host:resume()
end

--- SIGSTOP and SIGCONT of the master alone.
function node:stop_jvm()
  if not self.up or self.frozen or self.jvm_stopped then return end
  note(self, "its master is stopped")
  self.jvm_stopped = true
  pause_jvm(self, "master", true)
  self.cluster:look()
end

function node:continue_jvm()
  if not self.up or not self.jvm_stopped then return end
  note(self, "its master goes on")
  self.jvm_stopped = false
  if not self.frozen then pause_jvm(self, "master", false) end
  self.cluster:look()
end

function node:kill(name)
  kill_service(self, name, "the test", true)
end

--- Its wire to ZooKeeper (and to others) is cut, or mended: what is on its way waits, and arrives late or never.
function node:cut()
  note(self, "is cut off")
  zookeeper.wire(self.cluster.servers, self.wire, false)
end

function node:mend()
  note(self, "is connected again")
  zookeeper.wire(self.cluster.servers, self.wire, true)
end

--- SIGTERM: an ordered leave, and the end of the program.
function node:leave()
  note(self, "leaves")
  local run = self.run
  self.host.task.start("leave", function()
    self.events:put { kind = "leave" }
    for _, name in ipairs { "thriftserver", "master" } do stop_service(self, name) end
    self.host.task.sleep(0.005)
    self.events:put { kind = "left" }
    self.running:join(1.5)
    if self.run == run then
      self.zk:close()
      self:crash()
    end
  end)
end

return node
