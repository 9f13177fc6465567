--- Our own master: its record before it may lead, its latch after its death, its death after its latch.
-- Spark's master tells the ids of its ZooKeeper sessions in its log; its latch is the child of leader_election that one of them owns.
-- A dead master's latch blocks the election until its session ends (40 s), so it is removed as soon as the supervisor says *ended*
-- (waitpid, and nobody of it left), and never before: the latch of a living leader elects a second one, and nobody tells the first.
-- A new leader would also wait for our SQL server to answer, if that has ended while nobody led who would have missed it: so its record in
-- master_status goes first, by the id that its log told, under a latch of ours that is the first (undertaker.lua says why).
-- So the other way round: a latch of a living master that vanished means that somebody else may be elected, and a LeaderLatch
-- doesn't watch its own node. We do, and kill that master.
local json = require "appliance.json"
local peers = require "appliance.cluster.peers"
local tree = require "appliance.cluster.tree"
local undertaker = require "appliance.cluster.undertaker"

local masters = {}

-- ---------------------------------------------------------------- what the supervisor tells

function masters.event(self, event)
  if event.service ~= "master" then return end
  local now = self.task.now()
  if event.kind == "started" then
    self.master = { pid = event.pid, sessions = {}, state = "STANDBY", since = now, state_since = now }
    return
  end
  local master = self.master
  if not master or event.pid and event.pid ~= master.pid then return end
  if event.kind == "session" then
    master.sessions[tree.session(event.id)] = true
    master.session_since = now
    self.sessions_told = self.sessions_told + 1            -- the record is to be written
  elseif event.kind == "state" then
    if event.state ~= master.state then master.state, master.state_since = event.state, now end
  elseif event.kind == "ended" then
    for _, session in ipairs(tree.keys(master.sessions)) do self.dead[session] = now end
    self.master = nil
  end
end

-- ---------------------------------------------------------------- the record

--- What Spark's masters may have recorded of ours: the thrift server, and those that have ended.
local function own_apps(self)
  local all = {}
  for app in pairs(self.dead_apps) do all[app] = true end
  if self.app then all[self.app] = true end
  return tree.keys(all)
end

local function own_sessions(self)
  local all = {}
  for session in pairs(self.dead) do all[session] = true end
  for session in pairs(self.master and self.master.sessions or {}) do all[session] = true end
  return tree.keys(all)
end

--- What an earlier run of ours wrote: its masters are dead, for its ephemeral is gone (else we had not joined). What an earlier
--- agent in this very run wrote may name a master that was killed a moment ago, when that agent's leases were dropped.
local function adopt(self, data)
  local living = self.master and self.master.sessions or {}
  if data.guid == self.node.guid and self.task.now() - self.began < 2 * self.limit.kill then return false end
  for _, session in ipairs(data.sessions or {}) do
    if not living[session] and not self.dead[session] then self.dead[session] = self.task.now() end
  end
  for _, app in ipairs(type(data.apps) == "table" and data.apps or {}) do
    if app ~= self.app and not self.dead_apps[app] then self.dead_apps[app] = self.task.now() end
  end
  return true
end

function masters.is_recorded(self)
  local session = self.session
  return session == nil or session.recorded and session.of == self.sessions_told
end

--- The record is written anew by each run and each session of ours before a master may start (beats.lua asks `recorded`), so that
--- it has another version than any that a peer has read, and whenever the sessions change.
function masters.record(self)
  local session = self.session
  if not session or not session.joined or not self.connected or self.gone then return end
  if masters.is_recorded(self) then return end
  local told = self.sessions_told
  local text, stat = self.zk:get(self.path.record)
  if self.session ~= session then return 0 end
  if not text and stat.code ~= "NONODE" then return self.limit.retry end
  if text and not session.recorded and not adopt(self, tree.decode(text)) then return self.limit.retry end
  local sessions = own_sessions(self)
  local data = tree.encode { node = self.me, host = self.node.host, guid = self.node.guid, dir = self.dir, sessions = json.array(sessions),
    apps = json.array(own_apps(self)) }
  -- The check says that the name is still ours at the moment of the write.
  local done = self.zk:multi { { "check", self.path.node, -1 },
    text and { "set", self.path.record, data, stat.version } or { "create", self.path.record, data, {} } }
  if self.session ~= session or not session.joined then return 0 end
  if not done then return self.limit.retry end
  session.recorded, session.of = true, told
  self.beat_now:put(true)
  return 0
end

-- ---------------------------------------------------------------- latches

--- Does our latch, behind others, have to wait? Once it is the first the record of our dead SQL server may go, which must happen before
--- anybody is elected. A leader that lives has missed that SQL server, and removes the record by itself.
local function waits_for_its_turn(self, latch)
  local now = self.task.now()
  local since = self.turns[latch.owner] or now
  self.turns[latch.owner] = since
  return now - since < self.limit.linger and undertaker.has_apps_left(self)
end

--- Removes what dead masters of ours left, as it was read. -> is nothing of it left, seconds until another latch may go or nil
-- A latch goes `settle` after its master, not at once: a worker that loses its master asks all others in the same moment, and one that has
-- just been elected, and not yet heard from all, would take what it tells of its executors for unknown and have them killed (seen on
-- 4.1.1; a STANDBY only says that it is one).
function masters.bury(self)
  local clean, soon, is_first = true, nil, true
  if self.leaving then undertaker.clear_own(self) end
  for _, latch in ipairs(self.latches) do
    local is_dead = self.dead[latch.owner] and not (self.master and self.master.sessions[latch.owner])
    local left = is_dead and self.dead[latch.owner] + self.limit.settle - self.task.now() or 0
    local stands = true
    if left > 0 then
      clean, soon = false, math.max(left, soon or 0)
    elseif is_dead and (is_first and not undertaker.clear_apps(self, latch) or not is_first and waits_for_its_turn(self, latch)) then
      clean = false
    elseif is_dead then
      local gone, err = self.zk:delete(self.path.latches .. "/" .. latch.name, latch.version)
      stands = not gone and err.code ~= "NONODE"
      if gone then self.log.info(("the latch of our ended master (session %s) is removed"):format(latch.owner)) end
      clean = clean and not stands
    end
    is_first = is_first and not stands
  end
  local now = self.task.now()
  for _, session in ipairs(tree.keys(self.dead)) do
    if clean and now - self.dead[session] > self.limit.forget then
      self.dead[session] = nil
      self.sessions_told = self.sessions_told + 1
    end
  end
  for _, app in ipairs(tree.keys(self.dead_apps)) do
    if clean and now - self.dead_apps[app] > self.limit.forget then self.dead_apps[app] = nil end
  end
  return clean, soon
end

local function own_latch(self, latches)
  for _, latch in ipairs(latches) do
    if self.master and self.master.sessions[latch.owner] then return latch end
  end
end

local function kill(self, why)
  local master = self.master
  if not master or master.killed then return end
  master.killed = true
  self.log.warn("master: " .. why .. "; it is killed and started anew")
  self.world.kill("master")
end

local look = {}
masters.look = look

--- Our master lives, and its latch was there and is not. -> seconds until it is to be looked at again
function look.latch(self)
  local master, now = self.master, self.task.now()
  local latch = own_latch(self, self.latches)
  if latch then
    master.latch, master.latchless = latch, nil
    return
  end
  if not master.latch then return end
  master.latchless = master.latchless or now
  local may_return = not peers.is_leading(master.state) and now - master.latchless < self.limit.standby
  if may_return then return self.limit.standby end       -- a standby makes another latch after it has lost its connection
  if peers.is_leading(master.state) then                 -- our list may be behind the log: ask
    local latches = peers.latches_now(self)
    if self.master ~= master then return 0 end
    if not latches then return self.limit.retry end
    if own_latch(self, latches) then return self.limit.retry end
  end
  kill(self, ("its latch %s is gone while it lives, so another may be elected"):format(master.latch.name))
end

--- Our master leads, and another's latch is the first. One of the two leads wrongly; the first latch is kept.
function look.rival(self)
  local master, first, now = self.master, self.latches[1], self.task.now()
  local is_disputed = peers.is_leading(master.state) and first and not master.sessions[first.owner]
  local rival = is_disputed and peers.of_session(self, first.owner)
  local peer = rival and rival ~= self.me and self.peers[rival]
  if not peer or not peer.standing then
    master.disputed = nil
    return
  end
  master.disputed = master.disputed or now
  if now - master.disputed < self.limit.disputed then return self.limit.disputed end
  local answer = self.world.probe(peer.data.master and peer.data.master.ui)
  if self.master ~= master then return 0 end
  local latches = peers.latches_now(self)
  if self.master ~= master or not latches then return self.limit.retry end
  if not latches[1] or latches[1].name ~= first.name then return 0 end
  if not (answer and peers.is_leading(answer.status)) and now - master.disputed < 5 * self.limit.disputed then return self.limit.retry end
  kill(self, ("two masters are ALIVE, here and on %s; that one's latch is the first"):format(rival))
end

--- Nobody leads for longer than a session and a recovery may take: a master without a latch (it was started before ZooKeeper
--- answered it) or with the first one is stuck; the others wait for it, and go twice as late.
function look.stuck(self)
  local master, now = self.master, self.task.now()
  if peers.leaders(self)[1] or peers.is_leading(master.state) then
    master.leaderless = nil
    return
  end
  master.leaderless = master.leaderless or now
  local latch = own_latch(self, self.latches)
  local patience = self.limit.stuck                        -- without a session it may still be starting, on a busy machine
  if not latch then
    patience = master.session_since and self.limit.latchless or patience
  elseif latch ~= self.latches[1] then
    patience = 2 * patience
  end
  local waited = now - math.max(master.leaderless, master.since, master.session_since or 0)
  if waited < patience then return patience - waited end
  kill(self, ("STANDBY for %.0f s while no master leads%s"):format(waited, latch and "" or ", and it has no latch"))
end

--- A master without a latch is of no use even while another leads: it would never follow it.
function look.zombie(self)
  local master, now = self.master, self.task.now()
  if master.latch or peers.is_leading(master.state) then return end
  for _, latch in ipairs(self.latches) do                -- nobody's may be ours, whose session its log did not tell
    if not peers.of_session(self, latch.owner) then return self.limit.stuck end
  end
  local waited = now - (master.session_since or master.since)
  if waited < self.limit.stuck then return self.limit.stuck - waited end
  kill(self, ("no latch of its own for %.0f s"):format(waited))
end

function masters.step(self)
  if not self.connected or not self.session then return end
  local clean, soon = masters.bury(self)
  local again = soon or not clean and self.limit.retry or nil
  for _, what in ipairs { "latch", "rival", "stuck", "zombie" } do
    if not self.master or self.master.killed or not self.latches_known then return again end
    local seconds = look[what](self)
    if seconds then again = math.min(again or seconds, seconds) end
  end
  return again
end

--- The node has left, and its master has ended: its latch goes now, if it has not.
function masters.leave(self)
  local latches = self.session and peers.latches_now(self)
  if not latches then return end
  self.latches = latches
  local _, soon = masters.bury(self)
  if soon then
    self.task.sleep(soon)
    masters.bury(self)
  end
end

return masters
