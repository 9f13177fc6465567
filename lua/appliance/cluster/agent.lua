--- The agent of a node of an HA cluster: it keeps the node's leases alive and tells the cluster's picture to the rest of the program.
-- docs/ha.md has the protocol and the argument why it is safe; each file here carries out one part of it:
--   member      our ephemeral, which says that this node lives, and what it says of itself
--   beats       the writes that leases live from
--   peers       what the others say, and what stands of their masters' records and latches
--   masters     our own master: its record, its latch after its death, its death after its latch
--   undertaker  what a dead node leaves behind
--   sql         who runs the thrift server
--   switch      which Spark version's masters may run
--   view        what of all this the rest of the program sees
-- Each part is a step that looks at what is known and does what is to be done next (or nothing): whatever changes wakes all of them.
-- So nothing depends on the order in which the world's news arrive, and a failed step is simply taken again.
--
-- Pure over a *world*, so that appliance.simulate runs this very code:
--   zk (client), task (module), boot_ns(), random(n) -> bytes, log { info, warn, error },
--   lease(name, due_boot_ns): "node" for the master, "sql" for the thrift server; 0 ends it now
--   kill(service); stop(service): orderly, waits; start(service): wanted again (it then waits for its lease)
--   probe(page) -> what a master or worker says of itself there, { status = "ALIVE" ... } | nil, err; waits
--   events: a queue of { kind =, service =, pid =, id = (session), state =, app =, unasked = }, where kind is
--     "started", "ended", "ready", "unready", "failed" (it can't be started, so it has no run), "session", "state" or "app"; "leave"
--     (everything is about to be stopped) and "left" (it has)
--     session, state and app come in the order of its log; ended is the last of a pid: nobody of it is left
-- Invariants: a lease is given only as the answer to a write of this session that proved membership (beats.lua), and is taken back
-- by nobody but this agent and its own deadline. Who ends the agent or closes its client gives up both leases first: `close` does.
local member = require "appliance.cluster.member"
local beats = require "appliance.cluster.beats"
local masters = require "appliance.cluster.masters"
local peers = require "appliance.cluster.peers"
local sql = require "appliance.cluster.sql"
local switch = require "appliance.cluster.switch"
local tree = require "appliance.cluster.tree"
local undertaker = require "appliance.cluster.undertaker"
local view = require "appliance.cluster.view"

local agent = {}
agent.__index = agent

--- Seconds. A test may give others as `limits`.
agent.LIMITS = {
  kill = 0.5,          -- from a deadline until nothing of the service is left
  retry = 0.3,         -- until a failed step is taken again
  refused = 5,         -- until one is that somebody else's ZOOKEEPER_AUTH forbids
  size = 60,           -- how long fewer masters than CLUSTER_SIZE are waited for
  settle = 0,          -- from a master's end until its latch goes (masters.lua says what for; place.lua gives the real one)
  prefer = 1,          -- how long a vacant thrift server waits to learn who leads
  stuck = 60,          -- no leader for so long: Spark's own session (40) and recovery (15) are over
  latchless = 25,      -- a master that has had a session, and no latch, for so long never gets one
  standby = 2,         -- a standby may lose its latch for so long: it makes another after a new connection
  disputed = 2,        -- we lead and another's latch is the first, for so long: one of the two is wrong
  answer = 0.25,       -- a worker that lives answers within so long
  linger = 20,         -- a dead latch of ours behind others may stand so much longer, until our SQL server's record can go (masters.lua)
  forget = 90,         -- a dead master's session can't make another latch: Spark's sessions end after 40
  failures = 3,        -- failed thrift servers until another node tries
  healthy = 600,       -- a failure is forgotten after so long
  alone = 30,          -- a thrift server that can't be started is tried again so often where no other node would take it
  leave = 1,           -- how long the end of the program waits for ZooKeeper
  penalty = 120,       -- then this node is no candidate for so long
}

--- agent.new { world =, node = { name, host, guid, roles, version, url, ui, sql = {host, port}, worker }, root =, dir =, size =,
--- auth = what we make in ZooKeeper is ours alone (a ZOOKEEPER_AUTH), emit = function(view), limits = { } } -> agent. node.guid names
--- this run of the program, not the machine.
function agent.new(options)
  local node, world = options.node, options.world
  local self = setmetatable({
    world = world, zk = world.zk, task = world.task, log = world.log, node = node, me = node.name,
    root = options.root, dir = options.dir, path = tree.paths(options.root, node.name, options.dir),
    size = options.size or 1, auth = options.auth == true,
    emit = options.emit or function() end,
    limit = setmetatable(options.limits or {}, { __index = agent.LIMITS }),
    listeners = {}, said = {}, epoch = 0, granted = {},  -- granted: until when each lease was given last
    session = nil,                                -- { id, timeout, joined, recorded, ... }: all that ends with it
    peers = {}, latches = {}, latch_stat = {},
    active = nil,                                 -- { version, number of it } as ROOT/version has it
    sessions_told = 0, master = nil, dead = {},   -- the running master; sessions of those that ended, and
    turns = {},                                   -- since when, within one connection, such a latch waits for those before it
    app = nil, dead_apps = {},                    -- as what masters know our thrift server; what those that ended were
    joins = 0, failures = {}, holding = nil, tasks = {}, last_task = 0, began = world.task.now(),
  }, agent)
  self.beat_now, self.done = self.task.queue(1), self.task.queue()
  return self
end

-- ---------------------------------------------------------------- tasks and waking

-- A task of the agent's: it ends with it. And the other way round: an agent of which a part broke is none, so it ends, and its leases.
local part = {}

function part.__close(its, err)
  local self = its.agent
  self.tasks[its.key] = nil
  if self.closed or not err and not its.lasts then return end
  self.broken = ("cluster %s: %s"):format(its.name, tostring(err or "it ended"))
  self.done:put(false)
end

local function run(its, f, ...)
  local _ <close> = its
  return f(...)
end

local function start(self, lasts, name, f, ...)
  local key = self.last_task + 1
  self.last_task = key
  local its = setmetatable({ agent = self, key = key, name = name, lasts = lasts }, part)
  local task = self.task.start("cluster " .. name, run, its, f, ...)
  self.tasks[key] = task
  return task
end

--- One that may end when it has done what it is for.
function agent:spawn(name, f, ...) return start(self, false, name, f, ...) end

--- One that goes on as long as the agent.
function agent:keep(name, f, ...) return start(self, true, name, f, ...) end

--- Something is known that was not: every part looks again, but those that see at once that there is nothing for them. `inside`: it
--- is nothing that the view shows.
function agent:changed(inside)
  if not inside then self.view_stale = true end
  for _, listener in ipairs(self.listeners) do
    if not listener.idle or not listener.idle(self) then listener.wake:put(true) end
  end
end

--- Runs step(self) now and after each change; it may return seconds after which it wants to look again in any case.
-- idle(self), if given: step would do nothing now.
local function follow(self, name, step, idle)
  local wake = self.task.queue(1)
  self.listeners[#self.listeners + 1] = { wake = wake, idle = idle }
  return self:keep(name, function()
    local due
    while true do
      local seconds = step(self)
      if seconds then
        local at = self.task.now() + seconds
        if not due or due <= self.task.now() or at < due then      -- one sleeper is enough: it wakes us earlier, we look, it is set anew
          due = at
          self:spawn(name .. " later", function()
            self.task.sleep(seconds)
            wake:put(true)
          end)
        end
      end
      wake:get()
    end
  end)
end

--- A sentence for status. `key` is its subject: one sentence each; nil takes it back. -> is it new?
function agent:show(key, sentence)
  if self.said[key] == sentence then return false end
  self.said[key] = sentence
  self:changed()
  return sentence ~= nil
end

--- The same, and for the log when it is new.
function agent:say(key, sentence, ...)
  if sentence and select("#", ...) > 0 then sentence = sentence:format(...) end
  if self:show(key, sentence) then self.log.warn(sentence) end
end

-- ---------------------------------------------------------------- leases

--- What we knew is no longer so: what was asked before is answered in vain (beats.lua looks at the epoch).
function agent:drop_leases()
  self.epoch, self.granted = self.epoch + 1, {}
  self.world.lease("node", 0)
  self.world.lease("sql", 0)
  self:forget_holding()
end

function agent:forget_holding()
  self.holding, self.queue_stale = nil, true
  if self.session then self.session.looked = nil end       -- it may be ours still: sql.lua looks
end

--- Only the thrift server's.
function agent:drop_sql()
  self.epoch, self.granted.sql = self.epoch + 1, nil
  self:forget_holding()
  self.world.lease("sql", 0)
end

--- May masters run here? Then beats give the lease.
function agent:may_lead()
  local session = self.session
  return session ~= nil and session.joined == true and session.recorded == true and not self.gone and switch.is_ours(self)
end

-- ---------------------------------------------------------------- the session

local function lose(self)
  if not self.session then return end
  self:drop_leases()
  self.session = nil
end

local function session_changed(self, state)
  local connected = state.state == "connected"
  self.connected, self.turns = connected, {}
  if state.state == "expired" or state.state == "closed" or state.state == "auth_failed" then
    lose(self)
  elseif connected and state.id and (not self.session or self.session.id ~= state.id) then
    lose(self)
    self.session, self.queue_stale = { id = state.id, timeout = state.timeout, began = self.task.now() }, true
  end
  local refused = "ZooKeeper refuses our credentials; ZOOKEEPER_AUTH has to be that of the cluster's other nodes"
  self:say("zookeeper", state.state == "auth_failed" and refused or nil)
  if connected then self.beat_now:put(true) end
  self:changed()
end

-- The node leaves in order (the end of the program). What runs is stopped by others, in order: thrift server, worker, master. Nothing is
-- taken any more; the thrift server is released and the master's latch removed as soon as each has ended; when all have, our
-- ephemerals go, so that nobody has to wait for a session to end.
local leaving = {}

function leaving.leave(self)
  self.leaving = true
end

function leaving.left(self)
  self.leaving = true
  self:spawn("leaving", function()
    if self.session then
      sql.leave(self)
      masters.leave(self)
      self.gone = true
      self:drop_leases()
      member.leave(self)
    end
    self.done:put(true)
  end)
end

--- agent.run { as new takes } or made:run(). Runs for ever, or until the node has left: true. What it started ends with it, both
--- leases first; ending the task that called ends the agent. Raises when a part of it broke.
function agent:run()
  if getmetatable(self) ~= agent then self = agent.new(self) end
  local _ <close> = setmetatable({}, { __close = function() self:close() end })
  self:drop_leases()                                     -- an agent before us may have left some
  self:keep("session", function()
    for state in self.zk:changes() do session_changed(self, state) end
  end)
  self:keep("events", function()
    while true do
      local event = self.world.events:get()
      if not event then return end
      if leaving[event.kind] then leaving[event.kind](self) end
      masters.event(self, event)
      sql.event(self, event)
      self:changed(true)                                   -- others learn of it by what this node publishes, and so do we
    end
  end)
  self:keep("beats", beats.run, self)
  peers.start(self)
  follow(self, "member", member.step, member.is_settled)
  follow(self, "publishing", member.publish, member.is_said)
  follow(self, "switch", switch.step, switch.is_settled)
  if self.node.roles.master then
    follow(self, "record", masters.record, masters.is_recorded)
    follow(self, "masters", masters.step)
  end
  follow(self, "undertaker", undertaker.step, undertaker.is_settled)
  if self.node.roles.sql then follow(self, "sql", sql.step) end
  follow(self, "view", view.step, view.is_shown)
  local left = self.done:get()
  if self.broken then error(self.broken, 0) end
  return left
end

--- Gives up both leases and ends every task. Never waits. The client is its owner's: to be closed after this.
function agent:close()
  if self.closed then return end
  self.closed = true
  self:drop_leases()
  for key = 1, self.last_task do
    local running = self.tasks[key]
    if running then running:cancel() end
  end
end

return agent
