--- What a dead node leaves behind: its master's latch, which blocks the election until that master's own session ends (40 s), and
-- Spark's records of its worker and of drivers there, for which a new leader waits (recoveryTimeout).
-- "Dead" is proved in the multi that acts: it creates and deletes the path of the node's ephemeral, so at that moment there
-- is none; a node without one has no session, so its lease is over, so its master was killed (beats.lua; the deadline thread). And
-- it checks the version of the record that says which sessions are meant: a node that came back has written another.
-- The records of a node go first, for the election follows the latch at once; and only when that latch is the first one: under a
-- living leader nobody else may touch Spark's records. A worker that answers is left its record, whatever became of its node's session:
-- it will answer the new leader, too, and keep its executors.
-- Each removal of a record checks, in its own multi, that the dead latch still stands. While the first latch stands nobody else is
-- elected, so nobody has read the record: a master that has, and does not find it when it wants to remove it, breaks off and never
-- completes its recovery.
local peers = require "appliance.cluster.peers"
local tree = require "appliance.cluster.tree"

local undertaker = {}

local RECENT = 120                                         -- a leader declares a silent worker dead after 60-120 s by itself
local FORGOTTEN = 3600                                     -- a name that nobody has had for so long does not come back

--- At this moment the node has no ephemeral.
function undertaker.proof(self, name)
  local path = self.path.nodes .. "/" .. name
  return { { "create", path, "", { ephemeral = true } }, { "delete", path, -1 } }
end

local function with(operations, more)
  for _, operation in ipairs(more) do operations[#operations + 1] = operation end
  return operations
end

-- ---------------------------------------------------------------- Spark's records

--- Where a node's workers may be found in Spark's records. Several nodes on one host (a developer's machine) tell by the port;
--- nil then if the node has not said its own.
local function address_of(self, peer)
  local host = peer.data.host or peer.record and peer.record.data.host
  local worker = type(peer.data.worker) == "table" and peer.data.worker or {}
  for _, name in ipairs(peers.names(self)) do
    local other = self.peers[name]
    if other ~= peer and other.standing and other.data.host == host then
      return worker.port and host, worker.port and { [worker.port] = true }, true
    end
  end
  return host
end

--- Does the worker of a record still answer? One that was started anew has another id, and does not know of the old one's executors.
local function is_alive(self, peer, name)
  local worker = peer.data.worker
  local page = type(worker) == "table" and worker.ui
  local answer = page and self.task.within(self.limit.answer, self.world.probe, page)
  return type(answer) == "table" and name == "worker_" .. tostring(answer.id)
end

--- That no one may be leading but the dead one whose latch it is, the first.
local function stands(self, latch) return { "check", self.path.latches .. "/" .. latch.name, latch.version } end

--- Of a record's name: is it an application that this node said was its own?
local function is_told(peer, name)
  local apps = peer.record and peer.record.data.apps
  for _, app in ipairs(type(apps) == "table" and apps or {}) do
    if name == "app_" .. app then return true end
  end
  return false
end

--- Removes them, while that latch stands, under the operations that prove our right to. -> true, or nil: to be tried again
function undertaker.clear_records(self, dir, peer, proof, latch)
  local host, ports, shared = address_of(self, peer)
  if not host then return true end
  local status = dir .. "/master_status"
  local names, err = self.zk:children(status)
  if not names then return err.code == "NONODE" end
  for _, name in ipairs(names) do
    local doomed = tree.worker_is_of(name, host, ports)
    if doomed and proof[1] then
      doomed = not is_alive(self, peer, name)
    elseif not doomed and is_told(peer, name) then
      doomed = true
    elseif not doomed and not shared and name:find("^app_") then
      local data = self.zk:get(status .. "/" .. name)
      doomed = data and tree.driver_host(data) == host
    end
    if doomed then
      local done, why = self.zk:multi(with({ { "delete", status .. "/" .. name, -1 }, stands(self, latch) }, proof))
      if not done and why.index == 2 then return true end    -- the latch is gone: it is the next leader's affair
      if not done and not (why.index == 1 and why.code == "NONODE") then return nil end
      if done then self.log.info(("%s: Spark's record %s is removed, so that no new leader waits for it"):format(peer.name, name)) end
    end
  end
  return true
end

--- On leaving: our worker is stopped and our master has ended, so what a new leader would wait for goes before our latch does.
function undertaker.clear_own(self)
  local first, me = self.latches[1], self.peers[self.me]
  if not me or not first or not self.dead[first.owner] or not peers.is_first(self, first) then return end
  undertaker.clear_records(self, self.dir, me, {}, first)
end

local function app_path(self, app) return self.path.status .. "/app_" .. app end

--- Is anything recorded of our thrift servers that have ended?
function undertaker.has_apps_left(self)
  local found = false
  for _, app in ipairs(tree.keys(self.dead_apps)) do
    local stat = self.zk:exists(app_path(self, app))
    if stat == false then self.dead_apps[app] = nil else found = true end
  end
  return found
end

--- Our thrift servers that have ended, while a dead latch of ours is the first: nobody was elected since our master led, and nobody is
--- until we remove that latch, after this. -> true, or nil: to be tried again
function undertaker.clear_apps(self, latch)
  if not self.latches_whole and next(self.dead_apps) and not peers.is_first(self, latch) then return nil end
  for _, app in ipairs(tree.keys(self.dead_apps)) do
    local done, err = self.zk:multi { { "delete", app_path(self, app), -1 }, stands(self, latch) }
    if not done and not err.index then return nil end
    if not done and err.index == 2 then return true end
    self.dead_apps[app] = nil
    if done then
      self.log.info(("Spark's record of our ended SQL server (%s) is removed, so that no new leader waits for it"):format(app))
    end
  end
  return true
end

-- ---------------------------------------------------------------- the dead

local function latches_of(self, peer)
  local sessions, found = {}, {}
  for _, session in ipairs(peer.record.data.sessions or {}) do sessions[session] = true end
  for _, latch in ipairs(self.latches) do
    if sessions[latch.owner] then found[#found + 1] = latch end
  end
  return found
end

--- Seconds: one we never saw standing (it died before we came) must have been absent for longer than any lease lasts, in our own sight.
function undertaker.wait_for_absence(self, peer)
  if peer.seen then return 0 end
  local timeout = self.session.timeout
  return math.max(0, 2.5 * timeout - (self.task.now() - math.max(peer.since, peer.record_since or 0, self.session.began)))
end

--- Everybody sees a death; to try one after the other saves ZooKeeper's time, not more. Masters first.
local function turn(self)
  local rank = 0
  for _, role in ipairs { "master", "worker" } do
    for _, peer in ipairs(peers.with_role(self, role)) do
      if peer.name == self.me then return math.min(rank, 10) * 0.25 end
      rank = rank + 1
    end
  end
  return 2.5
end

--- -> true when done with, or nil
local function bury(self, peer, latches)
  local proof, record = undertaker.proof(self, peer.name), peer.record
  if peers.is_first(self, latches[1]) then
    if not undertaker.clear_records(self, self.dir, peer, proof, latches[1]) then return nil end
    for _, name in ipairs(peers.names(self)) do        -- a new leader would wait for other dead workers just so
      local other = self.peers[name]
      if other ~= peer and not other.standing and other.seen and self.task.now() - other.since < RECENT then
        undertaker.clear_records(self, self.dir, other, undertaker.proof(self, name), latches[1])
      end
    end
  end
  for _, latch in ipairs(latches) do
    local done, err = self.zk:multi(with({ { "check", self.path.masters .. "/" .. peer.name, record.number } },
      with(undertaker.proof(self, peer.name), { { "delete", self.path.latches .. "/" .. latch.name, latch.version } })))
    if done then
      self.log.info(("%s is gone: the latch of its master (session %s) is removed"):format(peer.name, latch.owner))
    elseif not (err.index == 4 and err.code == "NONODE") then
      return nil
    end
  end
  return true
end

--- Nodes come and go under new names; the record of one that left no latch is of no use to anybody after a while.
local function forget(self, peer)
  if self.task.now() - math.max(peer.since, peer.record_since) < FORGOTTEN then return end
  self.zk:multi(with({ { "delete", self.path.masters .. "/" .. peer.name, peer.record.number } }, undertaker.proof(self, peer.name)))
end

function undertaker.is_settled(self)
  for _, peer in pairs(self.peers) do
    if not peer.standing then return false end
  end
  return true
end

function undertaker.step(self)
  if not self.session or not self.session.joined or not self.connected or self.gone then return end
  local again
  local function later(seconds) again = math.min(again or seconds, seconds) end
  for _, name in ipairs(peers.names(self)) do
    local peer = self.peers[name]
    if name ~= self.me and not peer.standing and peer.record and peer.record.data.dir == self.dir then
      local latches = latches_of(self, peer)
      if latches[1] then
        local wait = math.max(undertaker.wait_for_absence(self, peer), peer.since + turn(self) - self.task.now())
        if wait > 0 then
          later(wait)
        elseif not bury(self, peer, latches) then
          later(self.limit.retry)
        end
      else
        forget(self, peer)
      end
    elseif not peer.standing and not peer.record and self.task.now() - peer.since > FORGOTTEN then
      peers.forget(self, name)
    end
  end
  return again
end

return undertaker
