--- This node's place in its cluster, for the life of the program: the session with ZooKeeper, the agent (cluster/agent.lua) in the real
--- world, and the relays. The fact source of it is cluster/membership.lua; status, health and the plan read what is here.
--- Nothing of this is loaded on a node without a cluster.
local daemons = require "appliance.cluster.daemons"
local failure = require "appliance.failure"
local log = require "appliance.core.log"
local picture = require "appliance.cluster.picture"
local program = require "appliance.core.program"
local roster = require "appliance.cluster.roster"
local supervise = require "appliance.core.supervise"
local task = require "appliance.task"
local tree = require "appliance.cluster.tree"

local place = {}
place.__index = place

local function in_uri(ip) return ip:find(":", 1, true) and "[" .. ip .. "]" or ip end

--- Which of the two a master's page is at; a page with TLS can't be asked by our own HTTP.
local function ui_of(env, ip)
  if env.SPARK_SSL_ENABLED then return nil end
  return ("http://%s:%d"):format(in_uri(ip), env.MASTER_UI_PORT)
end

--- Where the SQL server of this node is for the relays of all.
local function sql_of(env, identity)
  return { host = in_uri(identity.ip), port = env.SQL_RELAY and env.THRIFT_BACKEND_PORT or env.THRIFT_PORT }
end

--- What this node says of itself. Pure. identity: facts/node.lua's; version: Spark's.
function place.node(env, identity, version)
  local ip = identity.ip
  return {
    name = env.NODE_NAME or ip, host = ip, version = version,
    roles = { master = env.START_MASTER, worker = env.START_WORKER, sql = env.START_MASTER and env.START_THRIFTSERVER },
    url = env.START_MASTER and ("spark://%s:%d"):format(in_uri(ip), env.MASTER_PORT) or nil,
    ui = env.START_MASTER and ui_of(env, ip) or nil,
    worker = env.START_WORKER and {
      host = ip, port = (env.WORKER_PORT or 0) > 0 and env.WORKER_PORT or nil,
      ui = ("http://%s:%d"):format(in_uri(ip), env.WORKER_UI_PORT),
    } or nil,
    sql = env.START_MASTER and env.START_THRIFTSERVER and sql_of(env, identity) or nil,
  }
end

-- ---------------------------------------------------------------- the agent's world

local AT_REST <const> = { down = true, failed = true, done = true }
local function is_at_rest(view) return not view or AT_REST[view.state] == true end

--- Orderly; waits until nobody of it is left.
local function stop(name)
  if not supervise.view(name) then return end
  supervise.want(name, false)
  while not is_at_rest(supervise.view(name)) do supervise.next_change() end
end

--- http://10.0.0.1:8080 -> what that master says of itself | nil, err
local function probe(ui)
  local ip, port = tostring(ui):match "^http://%[?([^%]/]-)%]?:(%d+)$"
  if not ip then return nil, failure.new("invalid", "%s: its page can't be asked", tostring(ui)) end
  local found, err = require("appliance.core.host").resolve(ip)
  if not found then return nil, err end
  local text
  text, err = require("appliance.cluster.leader").page(found[1], math.tointeger(tonumber(port)), 3)
  if not text then return nil, err end
  local status, problem = require("appliance.json").decode(text)
  if type(status) ~= "table" then return nil, failure.new("protocol", "%s: %s", ui, problem or "no JSON object") end
  return status
end

local function world(self)
  return {
    random = require("appliance.core.host").random,
    zk = self.client, task = task, boot_ns = task.boot_ns, log = log, events = self.events, probe = probe, stop = stop,
    lease = supervise.lease,
    kill = function(name) if supervise.view(name) then supervise.kill(name) end end,
    start = function(name) if supervise.view(name) then supervise.want(name, true) end end,
  }
end

-- ---------------------------------------------------------------- what is known

--- Why there is no list of masters yet.
local function why_none(self, view)
  if not self.servers then return "it is not known yet where ZooKeeper is" end
  if not view or not view.session then return ("there is no session with ZooKeeper yet (%s)"):format(self.servers) end
  if self.taken then return ("the name %s is another node's, or that of an earlier run of this one (NODE_NAME)"):format(self.node.name) end
  if view.refused then return "ZOOKEEPER_AUTH keeps this node out of the cluster" end
  if not self.joined then return "this node has not joined the cluster yet" end
  if not view.enough then return ("%d of %d masters are here (CLUSTER_SIZE)"):format(#view.masters, self.env.CLUSTER_SIZE) end
  return "the cluster has no master node yet"
end

--- Is the node of our name in the picture ours? A second node of a name must start nothing, not even a worker.
local function look_for_ourselves(self, view)
  local own = view.nodes and view.nodes[self.node.name]
  self.taken = own ~= nil and own.guid ~= self.node.guid
  self.joined = self.joined or own ~= nil and not self.taken   -- a lost session takes nothing back
end

--- What the plan depends on; all else of the picture changes no plan.
local function fact_of(self, view)
  local masters = {}
  if view then look_for_ourselves(self, view) end
  if view and view.enough and self.joined and not self.taken then masters, self.again = self.roster:update(task.now(), view.masters) end
  return {
    name = self.env.CLUSTER_NAME, node = self.node.name, dir = self.dir, zookeeper = self.zookeeper,
    masters = masters, uri = masters[1] and "spark://" .. table.concat(masters, ",") or nil,
    why = not masters[1] and why_none(self, view) or nil,
    sql = self.sql ~= nil or nil, waits = view and view.version and view.version.waits or nil,
  }
end

--- Whoever follows looks again.
local function tell(self)
  for queue in pairs(self.listeners) do queue:put(true) end
end

--- Every node's THRIFT_PORT leads to the SQL server, once there is a node in the cluster that may run one.
local function open_sql(self)
  local relay, err = require("appliance.cluster.front").sql(self.bind or "0.0.0.0", self.env.THRIFT_PORT)
  self.sql = relay
  if not relay and not self.sql_refused then
    log.error(("%s; tried again (THRIFT_PORT, or SQL_RELAY=false)"):format(tostring(err)))
  end
  self.sql_refused = not relay
  return relay ~= nil, err
end

local function has_sql(view)
  for _, data in pairs(view.nodes or {}) do
    if type(data.roles) == "table" and data.roles.sql then return true end
  end
  return false
end

local function refresh(self)
  local fact = fact_of(self, self.view)
  if not require "appliance.same"(fact, self.fact) then
    self.fact = fact
    tell(self)
  end
end

--- A node that was away (its session ended, or somebody wiped ZooKeeper, and it has joined again) may find its worker's record removed
--- with those of the dead: a new leader will never call that worker, and Spark's worker asks nobody but the master it knew last. The
--- executors of a lost node were given up by then; after a wipe no master knows the applications either. So little is lost by a restart:
--- so long a leader must not have known it, and for so long after a return that is looked at.
local AWAY_PATIENCE <const>, AWAY_FOR <const> = 8, 300

local function look_for_returns(self, view)
  local joins = view.joins or 0
  if joins > 1 and joins ~= self.joins then
    self.returned = task.now()
    if self.minded then self.minded:put(true) end
  end
  self.joins = joins
end

--- The agent has another picture.
local function seen(self, view)
  self.view = view
  look_for_returns(self, view)
  local sentence
  self.told_leader, sentence = picture.news(self.told_leader, view)
  if sentence then log.info(sentence) end
  local here = view.sql and view.sql.holder == self.node.name and view.sql.address ~= nil
  if self.env.SQL_RELAY and not self.sql and has_sql(view) then open_sql(self) end
  if self.sql then self.sql:lead(view.sql and view.sql.address or nil) end
  if self.discovery then self.discovery:ready(here) end
  refresh(self)
  local changes = package.loaded["appliance.control.changes"]
  if changes then changes.tell() end
end

--- For status: see cluster/picture.lua.
function place:shown() return picture.of(self.view, { name = self.env.CLUSTER_NAME, node = self.node.name, zookeeper = self.servers }) end

--- Why a service of ours is not up, where we know more than the supervisor does; nil: it says all there is.
function place:reason(service) return picture.reason(self.view, service, self.node.name) end

--- The same as a sentence.
function place:says(service)
  local why = self:reason(service) or service.reason
  if service.state == "waiting" and why and why:find "^waits " then return service.name .. " " .. why end
  return ("%s is %s%s"):format(service.name, service.state, why and why ~= "" and ": " .. why or "")
end

--- Connections through the relays of this node.
function place:relays()
  return { sql = self.sql and self.sql:counts() or nil, zookeeper = self.relay and self.relay.relay:counts() or nil }
end

--- emit(fact) now and whenever it changes, for ever; nil, err when it can't be known where ZooKeeper is. The first one waits for a picture,
--- but not for long: a node whose ZooKeeper is not there (yet), or whose Exhibitor is silent, has its plan all the same, and its services
--- wait for their leases.
local PATIENCE <const> = 3

function place:follow(emit)
  local queue = task.queue(1)
  local listening <close> = setmetatable({}, { __close = function() self.listeners[queue] = nil end }) -- luacheck: ignore
  self.listeners[queue] = true
  local is_whole = function() return self.failed or self.fact and (self.fact.uri or self.fact.waits) end
  local limit = task.now() + PATIENCE
  while not is_whole() and task.now() < limit do
    local waiting <close> = task.start("picture of the cluster", function() return queue:get() end)
    waiting:join(limit - task.now())
  end
  while true do
    if self.failed then return nil, self.failed end
    self.fact = self.fact or fact_of(self, self.view)
    emit(self.fact)
    queue:get()
  end
end

-- ---------------------------------------------------------------- from start to end

local function spawn(self, name, f, ...)
  self.tasks[#self.tasks + 1] = task.start(name, f, ...)
end

--- The node leaves with everything: what it holds is handed on before the others would have to wait for a session to end.
local function say_farewell(self)
  local farewell <close> = program.farewell()
  farewell:stopping()
  self.events:put { kind = "leave" }
  local seconds = farewell:stopped()
  self.events:put { kind = "left" }
  self.running:join(seconds)                                   -- the agent ends when it has left
  self.farewell = nil
  self:close()
end

--- Masters for who asks their pages: { { host =, port = }, ... }
local function pages_of(self)
  local masters = self.view and self.view.masters or {}
  return masters[1] and require("appliance.settings.types").hosts(table.concat(masters, ","), { port = self.env.MASTER_PORT }) or {}
end

--- A worker that no leader knows is of no use to anybody: cluster/minder.lua.
local function mind_worker(self, identity)
  local env, minder = self.env, require "appliance.cluster.minder"
  if not minder.is_wanted(env) then return end
  self.minded = task.queue()
  spawn(self, "worker's registration", minder.run, {
    env = env, probe = identity.probe, masters = function() return pages_of(self) end, inbox = self.minded,
    patience = function()
      local is_back = self.returned and task.now() - self.returned < AWAY_FOR
      return is_back and math.min(AWAY_PATIENCE, env.WORKER_LOST_AFTER) or env.WORKER_LOST_AFTER
    end,
  })
end

--- The list of masters changes by itself, too: one that has been away for long is left out.
local function forget_masters(self)
  while true do
    task.sleep(math.min(self.again or 60, 60) + 0.1)
    if self.again then refresh(self) end
  end
end

--- So long a vacant SQL server waits for somebody to lead, so that it starts there: without a leader it would give up anyhow.
local PREFER <const> = 30
local SETTLE <const> = 0.25                                    -- workers that lost their master have asked all others by then: masters.lua

--- Runs the agent until the node has left. One that broke has given up its leases, so the daemons are gone, and the next one begins anew.
local function keep_agent(options)
  while true do
    local running <close> = task.start("agent", require("appliance.cluster.agent").run, options)
    local ok, err = running:join()
    if ok then return end
    log.error(("the agent of the cluster broke and is started again in 5 s: %s"):format(tostring(err)))
    task.sleep(5)
  end
end

--- The servers are known: from here on the node belongs to the cluster.
local function enter(self, identity)
  local env = self.env
  self.client = require("appliance.zk").open { servers = self.servers, session = env.ZOOKEEPER_SESSION, auth = env.ZOOKEEPER_AUTH,
    name = "cluster" }
  if self.node.roles.sql then
    self.discovery = require("appliance.cluster.discovery").new(self.client, env.ZOOKEEPER_SQL_NAMESPACE, identity.public, env.THRIFT_PORT,
      log)
    spawn(self, "HiveServer2 discovery", self.discovery.run, self.discovery)
  end
  for _, each in ipairs(daemons.follow(supervise, function(event) self.events:put(event) end, log)) do
    self.tasks[#self.tasks + 1] = each
  end
  self.running = task.start("cluster", keep_agent, {
    world = world(self), node = self.node, root = self.root, dir = self.dir, size = env.CLUSTER_SIZE,
    auth = env.ZOOKEEPER_AUTH ~= nil, limits = { size = env.CLUSTER_WAIT, prefer = PREFER, settle = SETTLE },
    emit = function(view) seen(self, view) end,
  })
  mind_worker(self, identity)
  spawn(self, "masters that went", forget_masters, self)
  self.farewell = task.start("farewell to the cluster", say_farewell, self)
end

--- Where ZooKeeper is, again and again: the first time we enter, later its new servers are for new connections.
local function follow_servers(self, identity)
  local source = require("appliance.cluster.zookeepers").servers()
  local result, err = source.start(function(found)
    self.servers = table.concat(found.servers, ",") .. found.chroot
    if self.relay then self.relay:lead(found.servers) else self.zookeeper = self.servers end
    if self.client then self.client:servers(self.servers) else enter(self, identity) end
  end, self.env)
  if result == nil and err and not self.client then
    self.failed = err
    tell(self)
  end
end

local function open(self, identity)
  local env = self.env
  local way, err = require("appliance.cluster.zookeepers").way(env)
  if not way then return nil, err end
  self.bind = identity.bind
  if env.ZOOKEEPER_RELAY and env.START_MASTER then
    self.relay, err = require("appliance.cluster.front").zookeeper()
    if not self.relay then return nil, err end
    self.zookeeper = ("127.0.0.1:%d%s"):format(self.relay.port, way.chroot)
  else
    self.zookeeper = "not-known-yet:2181"                      -- no master is started with it: it has no lease
  end
  if env.SQL_RELAY and self.node.roles.sql then
    local is_open
    is_open, err = open_sql(self)
    if not is_open then return nil, err end
  end
  spawn(self, "where ZooKeeper is", follow_servers, self, identity)
  return true
end

--- place.new(env, identity, version) -> place | nil, err. Waits for nobody.
function place.new(env, identity, version)
  local self = setmetatable({ env = env, tasks = {}, listeners = {}, events = task.queue(), roster = roster.new(),
    root = tree.root(env.CLUSTER_NAME), node = place.node(env, identity, version) }, place)
  self.dir = tree.dir(self.root, version)
  self.node.guid = require "appliance.nonce"(8)
  local ok, err = open(self, identity)
  if ok then return self end
  self:close()
  return nil, err
end

--- Never waits. Leases go first; what must follow an orderly leave was done by it.
function place:close()
  if self.closed then return end
  self.closed = true
  if self.running then self.running:cancel() end               -- gives up both leases, before the client goes
  if self.farewell then self.farewell:cancel() end
  for _, each in ipairs(self.tasks) do each:cancel() end
  if self.sql then self.sql:close() end
  if self.relay then self.relay:close() end
  if self.client then self.client:close() end
end

return place
