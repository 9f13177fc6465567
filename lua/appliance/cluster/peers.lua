--- What the other nodes say, kept by watches: who stands (nodes/), what their masters' records say (masters/), and which latches
-- Spark's masters hold. Nothing here decides anything.
-- self.peers[name] = { name, standing, data, owner, joined (grows), seen (it stood while we looked), since (of standing or not),
--   record = { number (version), data } or nil, absent (since when it was not standing, as far as we know) }
-- self.latches = sorted { { name, owner, version } }, the leader's first; self.latches_known: they were read at least once;
-- self.latches_whole: none was left out because its owner could not be read.
local member = require "appliance.cluster.member"
local tree = require "appliance.cluster.tree"

local peers = {}

--- Of all nodes we have heard of, sorted. Not to be changed.
function peers.names(self)
  self.peer_names = self.peer_names or tree.keys(self.peers)
  return self.peer_names
end

--- A node nobody will hear of again.
function peers.forget(self, name)
  self.peers[name], self.peer_names = nil, nil
end

local function peer_of(self, name)
  local peer = self.peers[name]
  if not peer then
    peer = { name = name, standing = false, data = {}, since = self.task.now() }
    self.peers[name], self.peer_names = peer, nil
  end
  return peer
end

local function set_standing(self, peer, standing)
  if peer.standing == standing then return end
  peer.standing, peer.since = standing, self.task.now()
  if standing then peer.seen = true end
end

-- ---------------------------------------------------------------- nodes

local function saw_node(self, name, got)
  local peer = peer_of(self, name)
  if got.absent then
    set_standing(self, peer, false)
  else
    peer.data, peer.owner, peer.joined = tree.decode(got.data), got.stat.owner, got.stat.czxid
    set_standing(self, peer, true)
  end
  if name == self.me then member.seen(self, got.stat) end
  self:changed()
end

local function saw_record(self, name, got)
  local peer = peer_of(self, name)
  peer.record = not got.absent and { number = got.stat.version, data = tree.decode(got.data) } or nil
  peer.record_since = self.task.now()
  self:changed(true)
end

--- Gives take(list) the children of a path, now and whenever they change, for as long as the client is open. With another ZOOKEEPER_AUTH
--- than the others have they can't be read: that is said, and tried again; the agent is not broken by it.
local function each_list(self, path, take)
  while true do
    for list in self.zk:watch_children(path) do take(list) end
    local names, err = self.zk:children(path)
    if not names and err.code ~= "NOAUTH" then return end
    if not names then member.refused(self, err) end
    self.task.sleep(self.limit.refused)
  end
end

--- Follows the children of a path, each with a task of its own that ends with the child.
local function follow_children(self, what, path, saw, gone)
  self:keep(what, function()
    local followed = {}
    each_list(self, path, function(list)
      local there = {}
      for _, name in ipairs(list.names or {}) do
        there[name] = true
        followed[name] = followed[name] or self:spawn(what .. " " .. name, function()
          for got in self.zk:watch(path .. "/" .. name) do saw(self, name, got) end
        end)
      end
      for _, name in ipairs(tree.keys(followed)) do
        if not there[name] then
          followed[name]:cancel()
          followed[name] = nil
          gone(self, name, { absent = true })
        end
      end
    end)
  end)
end

-- ---------------------------------------------------------------- latches

--- Reads whose latch a name is; a latch never changes hands.
local function latch_of(self, path, name)
  local known = self.latch_stat[name]
  if known then return known end
  local stat = self.zk:exists(path .. "/" .. name)
  if not stat then return nil end
  known = { name = name, owner = tree.session(stat.owner), version = stat.version }
  self.latch_stat[name] = known
  return known
end

--- The latches of a list of names, the leader's first. One that can't be read is left out: nil then as the second value.
function peers.read_latches(self, path, names)
  local latches, whole = {}, true
  for _, name in ipairs(tree.by_sequence(names)) do
    local latch = latch_of(self, path, name)
    if latch then latches[#latches + 1] = latch else whole = nil end
  end
  return latches, whole
end

--- The latches as they are now, past a sync: for decisions that must not rest on what a follower has not heard of yet. -> list | nil
function peers.latches_now(self)
  if not self.zk:sync(self.path.latches) then return nil end
  local names, err = self.zk:children(self.path.latches)
  if not names then return type(err) == "table" and err.code == "NONODE" and {} or nil end
  local latches, whole = peers.read_latches(self, self.path.latches, names)
  return whole and latches
end

--- Is this latch certainly the first of all? Waits, where the list has a gap.
function peers.is_first(self, latch)
  local latches = self.latches_whole and self.latches or peers.latches_now(self)
  return latches ~= nil and latches[1] ~= nil and latches[1].name == latch.name
end

local function follow_latches(self)
  local path = self.path.latches
  each_list(self, path, function(list)
    local latches, whole = peers.read_latches(self, path, list.names or {})
    local there = {}
    for _, latch in ipairs(latches) do there[latch.name] = latch end
    self.latch_stat, self.latches, self.latches_known, self.latches_whole = there, latches, true, whole
    self:changed(#peers.leaders(self) < 2)                 -- of several who say they lead, the view shows the first latch's
  end)
end

function peers.start(self)
  follow_children(self, "nodes", self.path.nodes, saw_node, saw_node)
  follow_children(self, "records", self.path.masters, saw_record, saw_record)
  self:keep("latches", follow_latches, self)
end

-- ---------------------------------------------------------------- questions

--- Whose session is it? -> the node's name, by its master's record, or nil.
function peers.of_session(self, session)
  for _, name in ipairs(peers.names(self)) do
    local record = self.peers[name].record
    for _, its in ipairs(record and record.data.sessions or {}) do
      if its == session then return name end
    end
  end
end

local leading = { ALIVE = true, RECOVERING = true, COMPLETING_RECOVERY = true }

--- Does a master's state mean that it leads, or is about to?
function peers.is_leading(state) return leading[state] == true end

--- The standing nodes whose masters say so, sorted by name.
function peers.leaders(self)
  local found = {}
  for _, name in ipairs(peers.names(self)) do
    local peer = self.peers[name]
    local master = peer.standing and peer.data.master
    if type(master) == "table" and leading[master.state] then found[#found + 1] = peer end
  end
  return found
end

--- Who leads, so far as nodes say it: of several the one whose latch is first. nil: nobody, or nobody knows.
function peers.leader(self)
  local found = peers.leaders(self)
  if not found[2] then return found[1] end
  local first = self.latches[1] and peers.of_session(self, self.latches[1].owner)
  for _, peer in ipairs(found) do
    if peer.name == first then return peer end
  end
  return found[1]
end

--- The standing nodes with a role, sorted by name.
function peers.with_role(self, role)
  local found = {}
  for _, name in ipairs(peers.names(self)) do
    local peer = self.peers[name]
    if peer.standing and type(peer.data.roles) == "table" and peer.data.roles[role] then found[#found + 1] = peer end
  end
  return found
end

return peers
