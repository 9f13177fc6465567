--- Membership: ROOT/nodes/<node> and ROOT/beats/<node>, ephemerals of our session.
-- Whoever sees nodes/<node> absent knows: that session is over, so its lease is over, so its master and its thrift server are dead.
-- Hence a name has one owner. A second node of the same name is told so and gets no lease; what an earlier run of ours left
-- is the same thing to the eye, and is waited out: a session ends at most its timeout after its owner.
local tree = require "appliance.cluster.tree"

local member = {}

--- What of it changes, so that its text is made only then.
local function key(self)
  return (self.master and self.master.state or "DOWN") .. (self.leaving and " leaving" or "") .. (self.holding and " holding" or "")
    .. (self.sql_ready and " ready" or "")
end

--- What we say of ourselves.
function member.data(self)
  local node, master = self.node, self.master
  return tree.encode {
    node = node.name, guid = node.guid, host = node.host, roles = node.roles, version = node.version,
    timeout = self.session and self.session.timeout,
    master = node.roles.master and { url = node.url, ui = node.ui, state = master and master.state or "DOWN" } or nil,
    worker = node.worker, leaving = self.leaving or nil,
    sql = node.roles.sql and { host = node.sql and node.sql.host, port = node.sql and node.sql.port,
      holding = self.holding ~= nil, ready = self.holding ~= nil and self.sql_ready == true } or nil,
  }
end

--- The tree is there and its owners have a password that we don't: without a sentence this node would wait for ever, and nobody knew why.
function member.refused(self, err)
  if not err or err.code ~= "NOAUTH" then return end
  self:say("auth", "node %s: ZooKeeper lets it take no part in %s (NOAUTH), so it starts no daemon: ZOOKEEPER_AUTH %shas to be that of the "
    .. "cluster's other nodes; for a cluster of its own give it another CLUSTER_NAME", self.me, self.path.root,
    self.auth and "" or "is missing here, and ")
end

--- The cluster is not there yet, and what is above it belongs to somebody else: another CLUSTER_NAME is no help then.
local function shut_out(self, err)
  if err.code ~= "NOAUTH" or self.zk:exists(self.path.root) ~= false then return member.refused(self, err) end
  self:say("auth", "node %s: ZooKeeper lets it make nothing in %s (NOAUTH), so it starts no daemon: others have closed that with a "
    .. "ZOOKEEPER_AUTH of theirs; give it the same, or a part of its own, as ZOOKEEPER=host:2181/other", self.me, self.path.above)
end

--- What we make with a ZOOKEEPER_AUTH nobody can read who has none. In a cluster without one this node would be invisible, and what it
--- writes (who runs the thrift server, what its dead master leaves) a riddle to all others. Who made `nodes` has decided it for all.
local function is_like_ours(self)
  local rights, err = self.zk:rights(self.path.nodes)
  if not rights then return false, err end
  for _, each in ipairs(rights) do
    if self.auth and each:find "^world:anyone:.*c" then
      self:say("auth", "node %s: the cluster in %s was made without ZOOKEEPER_AUTH, and this node has one, so the others could not read "
        .. "what it writes; it starts no daemon: leave ZOOKEEPER_AUTH out here, or stop all nodes and give them both it and another "
        .. "CLUSTER_NAME", self.me, self.path.root)
      return false, { code = "NOTOURS" }
    end
  end
  return true
end

--- Ours, and below it what Spark's masters write, who know no password: open to all. (Who may write there may end the leader: docs/ha.md.)
--- What is above belongs to nobody: other clusters, with passwords of their own, are there as well.
local function ensure_tree(self)
  local path = self.path
  for _, each in ipairs { path.nodes, path.beats, path.masters, path.candidates } do
    local is_there, err = self.zk:ensure(each, { open = path.above })
    if not is_there then
      shut_out(self, err)
      return false
    end
    if each == path.nodes then
      is_there, err = is_like_ours(self)
      if not is_there then return false, err end
    end
  end
  local at = path.root
  for part in (self.dir:sub(1, #at + 1) == at .. "/" and self.dir:sub(#at + 1) or ""):gmatch "[^/]+" do
    at = at .. "/" .. part
    local made, err = self.zk:create(at, "", { open = true })
    if not made and err.code ~= "NODEEXISTS" then return false, err end
  end
  return true
end

--- Somebody else has our name: a leftover of ours, or a second node?
local function taken(self, session, stat, data)
  local now = self.task.now()
  if not session.other or session.other.owner ~= stat.owner then
    session.other = { owner = stat.owner, since = now }
  end
  local waits = 1.5 * math.max(session.timeout, tonumber(data.timeout) or 0) + 1
  if now - session.other.since < waits then return end
  self:say("name", "node %s: another node of this name is in the cluster (host %s, run %s), so this one starts no daemon; "
    .. "each needs a NODE_NAME of its own, or the other has to be stopped", self.me, tostring(data.host), tostring(data.guid):sub(1, 8))
end

local function own_beat(self)
  local made, err = self.zk:create(self.path.beat, "", { ephemeral = true })
  member.refused(self, err)
  return made or err and err.code == "NODEEXISTS"          -- somebody's leftover: it goes with its session, and beats say so
end

local function joined(self, session, number)
  if self.session ~= session then return end
  session.said, session.number, session.other = nil, number, nil
  session.joined, session.recorded, self.joins = true, not self.node.roles.master, self.joins + 1
  self:say("name", nil)
  self:say("auth", nil)
  self:say("wiped", nil)
  self.beat_now:put(true)
  self:changed()
end

function member.is_settled(self) return self.session ~= nil and self.session.joined == true end

function member.step(self)
  local session = self.session
  if not session or not self.connected or session.joined or self.gone then return end
  local is_there, why_not = ensure_tree(self)
  member.refused(self, why_not)
  if not is_there and self.said.auth then return self.limit.refused end
  if not is_there or self.session ~= session then return self.limit.retry end
  local text = member.data(self)
  local path, err = self.zk:create(self.path.node, text, { ephemeral = true })
  if self.session ~= session then return self.limit.retry end
  if path then
    if own_beat(self) then joined(self, session, 0) end
    return self.limit.retry
  end
  member.refused(self, err)
  if err.code ~= "NODEEXISTS" then return self.limit.retry end
  local data, stat = self.zk:get(self.path.node)
  if not data or self.session ~= session then return self.limit.retry end
  if stat.owner ~= session.id then
    taken(self, session, stat, tree.decode(data))
  elseif own_beat(self) then                               -- made by a request whose answer was lost
    joined(self, session, stat.version)
  end
  return self.limit.retry
end

--- Our own node as the watch sees it. Gone or another's: from now on nobody knows that we live, so nothing of us may.
function member.seen(self, stat)
  local session = self.session
  if not session or not session.joined then return end
  if stat and stat.owner == session.id then return end
  member.lost(self)
end

function member.lost(self)
  local session = self.session
  if not session then return end
  session.joined, session.recorded = false, false
  self:drop_leases()
  self:changed()
end

function member.is_said(self) return self.session == nil or self.session.said == key(self) end

--- Keeps what we say of ourselves true.
function member.publish(self)
  local session = self.session
  if not session or not session.joined or not self.connected or self.gone then return end
  local said = key(self)
  if said == session.said then return end
  local text = member.data(self)
  local stat, err = self.zk:set(self.path.node, text, session.number)
  if self.session ~= session then return end
  if stat then
    session.said, session.number = said, stat.version
    return key(self) ~= said and 0 or nil                  -- it may have changed while we wrote
  end
  if err.code == "BADVERSION" then                         -- a write of ours whose answer was lost; or another's node by now
    local now_there, there = self.zk:get(self.path.node)
    if now_there and self.session == session then
      member.seen(self, there)
      session.said, session.number = nil, there.version
    end
  end
  return self.limit.retry
end

--- Out of the cluster, in order: from here on nobody waits for us.
function member.leave(self)
  self.zk:delete(self.path.beat)
  self.zk:delete(self.path.node)
end

return member
