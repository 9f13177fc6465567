--- Spark's daemons as a simulated cluster sees them: a master that elects itself by Curator's latch, and a thrift server.
-- What real masters were seen to do (docs/ha.md): the log names the session, a master started while ZooKeeper does not answer stays
-- STANDBY for ever, a leader that loses its connection exits 0 at once, a standby makes another latch, nobody watches its own latch,
-- a new leader waits for recorded workers and applications that are dead, and never gets through with it when one of their records is
-- gone by then; a leader misses an application whose connection ends; the latch of a dead process stays until its session ends.
local zookeeper = require "appliance.simulate.zookeeper"

local spark = {}

--- Seconds. Sessions and recovery are shorter than Spark's 40 and 15, so that schedules are.
spark.TIMES = { session = 24, connect = 1.5, recovery = 4, start = 0.5, more = 0.3, answer = 0.1 }

-- ---------------------------------------------------------------- a master

local master = {}
master.__index = master

--- A process of its own, running at once. `owner`: { name, wire, tell(kind, fields), ended(process, code), changed(process),
--- is_blind() }
function spark.master(cluster, owner, host, dir)
  local self = setmetatable({ cluster = cluster, owner = owner, host = host, dir = dir, state = "STANDBY", running = true }, master)
  self.main = host.task.start("master of " .. owner.name, function() self:run() end)
  return self
end

function master:is_leading() return self.state ~= "STANDBY" end

local function set_state(self, state)
  self.state = state
  self.owner.changed(self)
  self.owner.tell("state", { state = state })
end

function master:run()
  local times, task = spark.TIMES, self.host.task
  task.sleep(times.start + times.more * self.cluster.random:next())
  if self.owner.is_blind() then return end                 -- the zombie: it runs, and never leads
  self.client = zookeeper.client(self.cluster.servers, self.host, { session = times.session, wire = self.owner.wire })
  local reached = task.within(times.connect, function() return self.client:connected() end)
  if not reached then return end                           -- another
  local wake = task.queue()
  self.following = task.start("latch of " .. self.owner.name, function()
    for state in self.client:changes() do wake:put(state.state) end
  end)
  while self.running do                                    -- one that has ended itself returns to here
    local id = self.client:connected()
    if id ~= self.id then
      self.id = id
      self.owner.tell("session", { id = id })
    end
    self:campaign(wake)
  end
end

--- From making a latch until the connection is lost. A leader that loses it exits.
function master:campaign(wake)
  local task, elections = self.host.task, self.dir .. "/leader_election"
  if not self.client:ensure(elections) then return task.sleep(0.2) end
  if self.latch then self.client:delete(self.latch) end
  self.latch = self.client:create(elections .. "/latch-", "", { ephemeral = true, sequential = true, guid = true })
  if not self.latch then return task.sleep(0.2) end
  local watching
  while true do
    local names = self.client:children(elections)
    if names then
      table.sort(names, function(a, b) return a:sub(-10) < b:sub(-10) end)
      local at
      for i, name in ipairs(names) do
        if elections .. "/" .. name == self.latch then at = i end
      end
      if not at and self.state == "STANDBY" then return end      -- "Can't find our node. Resetting"
      if at == 1 and self.state == "STANDBY" then
        set_state(self, "RECOVERING")
        self.recovering = task.start("recovery", function() self:recover() end)
      elseif at and at > 1 and self.state == "STANDBY" then
        if watching then watching:cancel() end
        watching = task.start("predecessor", function()
          for got in self.client:watch(elections .. "/" .. names[at - 1]) do
            if got.absent then wake:put "look" end
          end
        end)
      end
    end
    repeat
      local news = wake:get()
      local lost = news == "connecting" or news == "expired"
      if lost and self.state ~= "STANDBY" then return self.owner.ended(self, 0) end
      if lost then
        if watching then watching:cancel() end
        return
      end
    until news == "look" or news == "connected"
  end
end

function master:recover()
  local status, task, times = self.dir .. "/master_status", self.host.task, spark.TIMES
  self.client:ensure(status)
  local names = self.client:children(status) or {}
  local living, waits = self.cluster:answering(), false
  for _, name in ipairs(names) do
    if not living[name] then waits = true end
  end
  if names[1] then task.sleep(waits and times.recovery or times.answer) end
  local late = self.cluster:answering()
  for _, name in ipairs(names) do
    if not living[name] and not late[name] then
      local gone, err = self.client:delete(status .. "/" .. name)
      if not gone and err.code == "NONODE" then return end     -- an exception; its state is COMPLETING_RECOVERY from here on
    end
  end
  living = self.cluster:workers()
  local sorted = {}
  for name in pairs(living) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  set_state(self, "ALIVE")
  for _, name in ipairs(sorted) do self.client:create(status .. "/" .. name, "") end
end

--- A driver registers, or its connection ends. The record is the master's.
function master:registers(app, host)
  local path = ("%s/master_status/app_%s"):format(self.dir, app)
  return self.client:create(path, ("\xac\xed\0\5 spark://CoarseGrainedScheduler@%s:40123"):format(host)) ~= nil
end

function master:misses(app)
  self.host.task.start("application ends", function() self.client:delete(("%s/master_status/app_%s"):format(self.dir, app)) end)
end

--- The process is gone, now.
function master:die()
  if not self.running then return end
  self.running = false
  if self.client then self.client:abandon() end
  for _, each in ipairs { "recovering", "following", "main" } do
    if self[each] then self[each]:cancel() end
  end
end

function master:freeze()
  if self.client then self.client:freeze() end
end

function master:thaw()
  if self.client then self.client:thaw() end
end

-- ---------------------------------------------------------------- a thrift server

local thriftserver = {}
thriftserver.__index = thriftserver

function spark.thriftserver(cluster, owner, host, dir)
  local self = setmetatable({ cluster = cluster, owner = owner, host = host, dir = dir, running = true }, thriftserver)
  self.main = host.task.start("thriftserver of " .. owner.name, function()
    host.task.sleep(1.5)
    self.is_ready = true
    owner.tell("ready", {})
  end)
  self.registering = host.task.start("registration of " .. owner.name, function()
    local app = ("app-20260101000000-%04d"):format(cluster.pids)
    while true do
      host.task.sleep(0.5)
      local leader = owner.wire.up and cluster:alive_master(self.dir)
      if leader and leader:registers(app, owner.address) then break end
    end
    self.app = app
    owner.tell("app", { app = app })
  end)
  return self
end

--- A leader that lives misses it, unless nothing tells it: the power of its node went, or the network.
function thriftserver:die()
  if not self.running then return end
  self.running = false
  self.main:cancel()
  self.registering:cancel()
  local leader = self.app and self.owner.is_up() and self.owner.wire.up and self.cluster:alive_master(self.dir)
  if leader then leader:misses(self.app) end
end

function thriftserver.freeze() end
function thriftserver.thaw() end

return spark
