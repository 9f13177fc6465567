--- Which Spark version's masters may run: ROOT/version { active = "4.1.1" } or { active = "4.1.1", next = "4.2.0" }.
-- Two versions can't share recovery state, so each has its own election, and only one of the two may be open. Beats check
-- this node's version, so a lease stands only while it is as that node read it.
-- A node of another version waits and says so. When no master node of the active version is left, one of the waiting writes
-- `next`: from that write on no lease of the old version is renewed. It waits until all of them are over and writes `active`.
local beats = require "appliance.cluster.beats"
local peers = require "appliance.cluster.peers"
local tree = require "appliance.cluster.tree"

local switch = {}

--- Is ours the version that may run, as far as is known? (The beat that follows proves it.)
function switch.is_ours(self)
  local active = self.active
  return active ~= nil and active.version == self.node.version
end

local function read(self)
  local text, stat = self.zk:get(self.path.version)
  if not text then return stat.code == "NONODE" and { missing = true } or nil end
  local data = tree.decode(text)
  return { active = data.active, next = data.next, number = stat.version, czxid = stat.czxid }
end

--- Takes what stands there. With `next` set nobody is active.
local function adopt(self, seen)
  local version = not seen.next and seen.active or nil
  local active = self.active
  if active and active.version == version and active.number == seen.number and active.czxid == seen.czxid then return end
  self.active = { version = version, old = seen.active, next = seen.next, number = seen.number, czxid = seen.czxid,
    since = self.task.now() }
  if version ~= self.node.version then
    self:drop_leases()
  else
    self.epoch = self.epoch + 1
    self.beat_now:put(true)
  end
  self:changed()
end

--- Why we wait: for the log and the plan a sentence that stays the same until we don't; `status` shows for whom, as they come and go.
local function explain(self)
  local active = self.active
  if not active or active.version == self.node.version then
    self.version_waits = nil
    self:show("version", nil)
    return
  end
  local old = {}
  for _, peer in ipairs(peers.with_role(self, "master")) do
    if peer.data.version == active.old then old[#old + 1] = peer.name end
  end
  local why = ("the cluster runs Spark %s, and this node has %s"):format(tostring(active.old), self.node.version)
  if self.version_waits ~= why then
    self.log.warn(("Spark %s waits: the cluster runs %s, and switches when its master nodes have left"):format(self.node.version,
      tostring(active.old)))
  end
  self.version_waits = why
  self:show("version", ("Spark %s waits: the cluster runs %s%s"):format(self.node.version, tostring(active.old),
    old[1] and (" on the master nodes " .. table.concat(old, ", ") .. ", and switches when they have left") or ", and is being switched"))
end

--- The longest session any node has told of, for leases of nodes that we can't see any more.
local function longest(self)
  local timeout = self.session.timeout
  for _, name in ipairs(peers.names(self)) do
    timeout = math.max(timeout, tonumber(self.peers[name].data.timeout) or 0)
  end
  return timeout
end

local function old_masters(self, version)
  for _, peer in ipairs(peers.with_role(self, "master")) do
    if peer.data.version == version then return true end
  end
end

local function write(self, seen, data)
  local text = tree.encode(data)
  if seen.missing then return self.zk:create(self.path.version, text) end
  return self.zk:set(self.path.version, text, seen.number)
end

--- -> seconds until the next look, or nil
local function advance(self, seen)
  local ours, now = self.node.version, self.task.now()
  if seen.next then                                        -- somebody's switch: ours, or one who has died in it
    local since = self.active.since
    local waited = now - since
    local needed = beats.outlived(self, longest(self))
    if seen.next ~= ours and old_masters(self, seen.next) then return needed end
    if waited < needed then return needed - waited end
    write(self, seen, { active = ours })
    return 0
  end
  if old_masters(self, seen.active) then
    self.old_seen = now
    return
  end
  -- A whole cluster that comes back after an outage should find its old version's nodes before it takes another for alone.
  local quiet = now - math.max(self.old_seen or 0, self.session.began)
  if quiet < self.session.timeout then return self.session.timeout - quiet end
  write(self, seen, { active = seen.active, next = ours })
  return 0
end

function switch.is_settled(self)
  return self.session == nil or switch.is_ours(self) and self.version_watch ~= nil and not self.version_stale and not self.version_waits
end

function switch.step(self)
  local session = self.session
  if not session or not session.joined or not self.connected or self.gone then return end
  if not self.version_watch then
    self.version_watch = self:spawn("version", function()
      for _ in self.zk:watch(self.path.version) do
        self.version_stale = true
        self:changed(true)
      end
    end)
  end
  if self.version_stale or not self.active then
    self.version_stale = false
    local seen = read(self)
    if not seen then
      self.version_stale = true
      return self.limit.retry
    end
    if self.session ~= session then return 0 end
    if seen.missing then
      if not self.node.roles.master then return self.limit.retry * 5 end
      write(self, seen, { active = self.node.version })
      self.version_stale = true
      return 0
    end
    self.version_seen = seen
    adopt(self, seen)
  end
  explain(self)
  if switch.is_ours(self) or not self.node.roles.master then return end
  local seconds = advance(self, self.version_seen)
  if seconds == 0 then self.version_stale = true end
  return seconds and math.max(seconds, 0.05)
end

return switch
