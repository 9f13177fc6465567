--- A cluster without machines: nodes that run the shipped agent (appliance.cluster.agent) over a simulated ZooKeeper, with masters and
-- thrift servers that behave like Spark's and leases that kill at their deadline whatever the agent does. In virtual time, from a seed.
---   local cluster <close> = require "appliance.simulate.cluster".new { nodes = 3, seed = 1 }
---   cluster:pass(10); cluster.nodes[1]:crash(); cluster:pass(10)
---   assert.equal("node2", cluster:leader().name)
-- What a test may do to a node: crash, boot, freeze, thaw, cut, mend, wedge, unwedge (the agent alone), leave; kill "master";
-- stop_jvm, continue_jvm; node.blind = true: its next master does not find ZooKeeper; node.unable = "thriftserver": that can't be started;
-- node.zk:reset(); node.wire.late = seconds.
-- cluster.trace has what happened, with its time.
-- Watched at every change: cluster.double.master and .thriftserver are the seconds with two serving at once (a frozen one serves nobody).
local clocks = require "appliance.simulate.clock"
local node = require "appliance.simulate.node"
local random = require "appliance.simulate.random"
local zookeeper = require "appliance.simulate.zookeeper"

local cluster = {}
cluster.__index = cluster

local SERVICES = node.SERVICES

--- { nodes = 3, workers = 0 (more nodes, with a worker only), seed = 1, session = 4, version = "4.1.1", size =, limits = },
--- and for tests of tests: tamper = function(client, node) -> client, world = function(world, node), without_deadlines = true
function cluster.new(options)
  options = options or {}
  local clock = clocks.new()
  local chance = random.new(options.seed or 1)
  local self = setmetatable({ clock = clock, random = chance, nodes = {}, trace = {}, pids = 0, root = "/spark-appliance/test",
    session = options.session or 4, size = options.size, tamper = options.tamper, without_deadlines = options.without_deadlines,
    alter_world = options.world,
    double = { master = 0, thriftserver = 0 }, since = {},
    limits = options.limits or { stuck = 30, latchless = 6, forget = 25, penalty = 20 } }, cluster)
  self.servers = zookeeper.new { clock = clock, random = chance }
  for i = 1, (options.nodes or 3) + (options.workers or 0) do
    self:add { master = i <= (options.nodes or 3), version = options.version }
  end
  return self
end

--- Another node, which boots at once. { name =, master = true, version =, known_as = (the name it thinks it has), auth = true: it has a
--- ZOOKEEPER_AUTH (the tree is one that was made without) } -> node
function cluster:add(options)
  local number = #self.nodes + 1
  local its = node.new(self, number, options)
  self.nodes[number] = its
  its:boot()
  return its
end

--- The workers that would answer a new leader, by the names of their records.
function cluster:workers()
  local living = {}
  for _, each in ipairs(self.nodes) do
    if each.up and not each.frozen and each.roles.worker then
      living["worker_" .. each.worker] = true
    end
  end
  return living
end

--- What would answer a new leader: the workers, and thrift servers that were registered.
function cluster:answering()
  local living = self:workers()
  for _, each in ipairs(self.nodes) do
    local process = each.up and not each.frozen and each.services.thriftserver.process
    if process and not process.dying and process.app then living["app_" .. process.app] = true end
  end
  return living
end

--- A master of a version that is ALIVE and goes on, as those see it who are connected to it: a process, or nil.
function cluster:alive_master(dir)
  for _, each in ipairs(self.nodes) do
    local process = each.up and not each.frozen and not each.jvm_stopped and each.wire.up and each.services.master.process
    if process and not process.dying and process.state == "ALIVE" and process.dir == dir then return process end
  end
end

function cluster:serving(name)
  local found = {}
  for _, each in ipairs(self.nodes) do
    if each:is_serving(name) then found[#found + 1] = each end
  end
  return found
end

--- Measures: how long two of a kind serve at once.
function cluster:look()
  local now = self.clock.now
  for _, name in ipairs(SERVICES) do
    if self.since[name] then self.double[name] = self.double[name] + now - self.since[name] end
    local count = 0
    for _, each in ipairs(self.nodes) do
      if each:is_serving(name) then count = count + 1 end
    end
    if count > 1 and not self.since[name] then
      self.trace[#self.trace + 1] = { now, "cluster", "TWO: " .. name }
    end
    self.since[name] = count > 1 and now or nil
  end
end

function cluster:pass(seconds)
  self.clock:run(self.clock.now + seconds)
  self:look()
  if self.clock.errors[1] then error(self.clock.errors[1], 2) end
end

--- Calls f after so many seconds.
function cluster:after(seconds, f) self.clock:after(seconds, f) end

--- The one node whose master is ALIVE, or nil.
function cluster:leader()
  local leader
  for _, each in ipairs(self.nodes) do
    local process = each.up and each.services.master.process
    if process and process.state == "ALIVE" then
      if leader then return nil end
      leader = each
    end
  end
  return leader
end

--- The one node whose thrift server is ready, or nil.
function cluster:sql()
  local found
  for _, each in ipairs(self.nodes) do
    local process = each.up and each.services.thriftserver.process
    if process then
      if found or not process.is_ready then return nil end
      found = each
    end
  end
  return found
end

--- What is wrong, when nothing should be: sentences.
function cluster:faults(quiet)
  local faults, now = {}, self.clock.now
  local function wrong(text, ...) faults[#faults + 1] = text:format(...) end
  local leader, sql = self:leader(), self:sql()
  if not leader then wrong("not exactly one master is ALIVE") end
  if not sql then wrong("not exactly one thrift server is ready") end
  local latches, owners = self.servers.nodes[self.nodes[1].dir .. "/leader_election"], {}
  for name in pairs(latches and latches.children or {}) do
    owners[self.servers.nodes[self.nodes[1].dir .. "/leader_election/" .. name].owner] = name
  end
  for _, each in ipairs(self.nodes) do
    local master = each.up and each.services.master.process
    if each.up and each.roles.master then
      if not master then
        wrong("%s has no master", each.name)
      elseif not master.id or not owners[master.id] then
        wrong("%s: its master has no latch", each.name)
      else
        owners[master.id] = nil
      end
    end
    if each.up then
      for _, name in ipairs(SERVICES) do
        local started = each.services[name].last_start
        if started and quiet and now - started < quiet then wrong("%s: its %s was started %.1f s ago", each.name, name, now - started) end
      end
      local view = each.view
      if leader and not (view and view.leader and view.leader.node == leader.name) then wrong("%s does not know who leads", each.name) end
      if sql and not (view and view.sql.holder == sql.name and view.sql.address) then wrong("%s does not know where SQL is", each.name) end
    end
  end
  local app = sql and sql.services.thriftserver.process.app
  if leader and app and not self.servers.nodes[("%s/master_status/app_%s"):format(leader.dir, app)] then
    wrong("the leader has no record of the thrift server")
  end
  for _, name in pairs(owners) do wrong("the latch %s is nobody's", name) end
  return faults
end

--- The trace as text.
function cluster:story()
  local lines = {}
  for i, line in ipairs(self.trace) do
    lines[i] = ("%8.3f %s: %s"):format(line[1], line[2], line[3]:format(table.unpack(line, 4)))
  end
  return table.concat(lines, "\n")
end

function cluster.__close() end

return cluster
