--- A whole cluster on hosts: three ZooKeeper servers, three nodes of which each is master and worker (and may run the SQL server), and who
--- watches them. Ours, or a stock one for comparison.
---   local it <close> = cluster.make { kind = "ours", sql = true }; it:converge(); local leader = it:leader(); it:revive(leader)
local ensemble = require "cluster.ensemble"
local hosts = require "cluster.hosts"
local nodes = require "cluster.nodes"
local postgres = require "cluster.postgres"
local sampler = require "cluster.sampler"
local shortages = require "cluster.shortages"
local sql = require "cluster.sql"
local task = require "appliance.task"

local cluster = {}
local methods = {}
methods.__index = methods

local NAMES <const> = { "a", "b", "c" }

--- options: { kind = "ours" | "stock", sql = true (with a metastore on PostgreSQL), workers = false (masters alone), period = of the
--- sampler's looks at pages, settings = more environment for ours, start = false: nothing is started yet, late = seconds: ZooKeeper is
--- started so much later than the nodes, short = true: its nodes may be short of something (shortages.lua), archive = false: their JVMs
--- have no class data archive }
function cluster.make(options)
  local self = setmetatable({ options = options, kind = options.kind, yard = hosts.yard(), masters = {}, by_name = {} }, methods)
  local archive = self.kind == "ours" and options.archive ~= false and nodes.archive() or nil
  local with_sql = options.sql and self.kind == "ours"
  local metastore <const> = with_sql and task.start("metastore", function() return postgres.start(self.yard) end)
  self.zookeepers = ensemble.start(self.yard, { start = not options.late and options.start })
  if metastore then
    local ok, made = metastore:join()
    if not ok then error(tostring(made), 2) end
    self.metastore = made
  end
  local urls = {}
  for i = 1, #NAMES do urls[i] = hosts.NETWORK .. 10 + i .. ":7077" end
  self.uri = "spark://" .. table.concat(urls, ",")
  local roles = { master = true, worker = options.workers ~= false, zookeeper = self.zookeepers.connect, masters = self.uri }
  for i, name in ipairs(NAMES) do
    local node
    if self.kind == "ours" then
      local settings = { ZOOKEEPER = self.zookeepers.names, CLUSTER_SIZE = "3", START_MASTER = "true",
        START_WORKER = tostring(options.workers ~= false), START_THRIFTSERVER = tostring(with_sql or false), NODE_NAME = name }
      if with_sql then
        settings.HIVE_SITE_XML = self.metastore:site(os.getenv "TMPDIR" .. "/warehouse")
        settings.EXT_JARS = postgres.driver()
      end
      for key, value in pairs(options.settings or {}) do settings[key] = value end
      node = nodes.ours(self.yard, name, 10 + i, settings, { archive = archive, disk = options.short and shortages.DISK })
      if options.short then shortages.prepare(node.host) end
    else
      node = nodes.stock(self.yard, name, 10 + i, roles)
    end
    self.masters[i], self.by_name[name] = node, node
  end
  self.watch = sampler.start(self.yard, self.masters, options.period)
  if options.start ~= false then
    for _, node in ipairs(self.masters) do node:start() end
    if options.late then
      task.sleep(options.late)
      self.zookeepers:start_all()
    end
    if with_sql then self.sql = sql.watch(self.masters) end
  end
  return self
end

function methods:__close()
  if self.sql then self.sql:__close() end
  self.watch:stop()
  for _, node in ipairs(self.masters) do shortages.close(node.host) end
  self.yard:stop()
end

--- --- who is who

function methods:leader() return self.watch:leader() end

function methods:node_of(host)
  return host and self.by_name[host.name]
end

--- The node that runs the SQL server | nil
function methods:sql_node()
  local jvm = self.watch:running "thriftserver" [1]
  return jvm and self:node_of(jvm.host)
end

--- The first node that is none of these
function methods:other(...)
  local not_these = {}
  for _, node in ipairs { ... } do not_these[node] = true end
  for _, node in ipairs(self.masters) do
    if not not_these[node] then return node end
  end
end

--- --- states

--- Is all as it should be? -> true | nil, what is not
function methods:is_whole()
  local alive, standby = nil, 0
  for _, node in ipairs(self.masters) do
    local status = self.watch.status[node.name]
    if status == "ALIVE" then alive = node elseif status == "STANDBY" then standby = standby + 1 end
  end
  if not alive then return nil, "no master is ALIVE" end
  if standby ~= #self.masters - 1 then return nil, ("%d masters are STANDBY"):format(standby) end
  if self.options.workers ~= false then
    local page = alive:page "master"
    if not page or page.status ~= "ALIVE" then return nil, "the leader's page does not answer" end
    local here = {}
    for _, worker in ipairs(page.workers) do
      if worker.state == "ALIVE" then here[worker.host] = (here[worker.host] or 0) + 1 end
    end
    for _, node in ipairs(self.masters) do
      if here[node.address] ~= 1 then return nil, ("%d workers of %s are ALIVE"):format(here[node.address] or 0, node.name) end
    end
  end
  if self.sql then
    if #self.watch:running "thriftserver" ~= 1 then return nil, ("%d SQL servers run"):format(#self.watch:running "thriftserver") end
    for _, node in ipairs(self.masters) do
      local answer = self.sql.last[node.address]
      if not answer or not answer.ok or task.now() - answer.ended > 10 then return nil, "SQL is not answered by " .. node.name end
    end
  end
  return true
end

--- Waits until the cluster is whole again, without anybody's help -> seconds it took (I7)
function methods:converge(limit)
  local began, why = task.now(), nil
  local kicked
  local ok = pcall(hosts.await, "a whole cluster", function()
    local whole
    whole, why = self:is_whole()
    -- A stock worker asks the master it knew for eleven minutes. For the next measurement somebody restarts it, as people do.
    if not whole and self.kind == "stock" and not kicked and task.now() - began > 40 and why:find "workers of" then
      kicked = true
      for _, node in ipairs(self.masters) do pcall(node.signal_jvm, node, "KILL", "worker") end
    end
    return whole
  end, limit or 180, 0.1)
  if not ok then error(("the cluster is not whole after %d s: %s\n%s"):format(limit or 180, why, self:story()), 2) end
  return task.now() - began
end

--- Brings back whatever a fault took: power, network, time, room.
function methods:repair()
  for _, host in ipairs(self.yard.hosts) do
    host:heal()
    host:thaw()
    shortages.relieve(host)
  end
  self.zookeepers:start_all()
  if self.metastore and not self.metastore.host:is_up() then self.metastore.host:start() end
  for _, node in ipairs(self.masters) do
    if not node:is_up() then node:start() end
  end
end

--- Waits until the leader is where the SQL server is, by killing leaders: a fault may then hit both. Ours only.
function methods:colocate()
  for _ = 1, 4 do
    local leader, home = self:leader(), self:sql_node()
    if leader and leader == home then return leader end
    if leader and home then
      local at = task.now()
      leader:signal_jvm("KILL", "master")
      self.watch:wait_leader(at)
    end
    self:converge()
  end
  error("leader and SQL server don't come together:\n" .. self:story(), 2)
end

--- The ZooKeeper server that the leader's latch lives on: losing that connection is what costs a stock master its leadership.
function methods:latch_server()
  local lowest, session
  -- dump: "0xSESSION:" and below it the ephemerals of that session; only ZooKeeper's leader knows them all.
  local current
  for line in (self.zookeepers:ask(self.zookeepers:leader(), "dump") or ""):gmatch "[^\n]+" do
    current = line:match "^(0x%x+):" or current
    local sequence = line:match "/leader_election/.*latch%-(%d+)"
    if sequence and (not lowest or sequence < lowest) then lowest, session = sequence, current end
  end
  for _, server in ipairs(self.zookeepers.servers) do
    if session and (self.zookeepers:ask(server, "cons") or ""):find("sid=" .. session, 1, true) then return server end
  end
  error "no ZooKeeper server has the session of the leader's latch"
end

--- What happened, for people.
function methods:story()
  local parts = { self.watch:story() }
  if self.sql then parts[2] = self.sql:story() end
  return table.concat(parts, "\n")
end

--- Keeps the logs of all hosts where those of the tests are.
function methods.keep_logs(_, name)
  local folder = os.getenv "LOGS"
  if not folder then return end
  hosts.sh("mkdir -p '%s/%s' && for log in '%s'/hosts/*/log; do cp \"$log\" '%s/%s/'$(basename $(dirname \"$log\")); done", folder, name,
    os.getenv "TMPDIR", folder, name)
end

return cluster
