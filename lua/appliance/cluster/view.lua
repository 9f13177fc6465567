--- What the rest of the program sees of the cluster: for the plan, status, health and the SQL relay.
-- { session = bool, nodes = { [name] = data }, masters = { "10.0.0.1:7077" }, uri = "spark://...", leader = { node, url, ui } or nil,
--   sql = { holder, held (by us, and live), address = "host:port" once it answers }, version = { ours, active, waits },
--   enough = bool, refused = bool (by our ZOOKEEPER_AUTH), said = { sentences },
--   joins = how often this node has joined: after the first time it was away, or taken for dead }
local peers = require "appliance.cluster.peers"
local same = require "appliance.same"
local tree = require "appliance.cluster.tree"

local view = {}

--- host:port of a master's URL.
local function address(url) return type(url) == "string" and url:match "^spark://(.+)$" or nil end

--- Since when we wait for the others: from where we can be waited for. A node that is refused itself has something else to say.
local function counts_since(self)
  if self.version_waits then
    self.counted_since = nil
  elseif not self.counted_since and self.session and self.session.joined then
    self.counted_since = self.task.now()
  end
  return self.counted_since
end

local function count_masters(self, masters)
  if self.enough then
    if #masters >= self.size then self:say("size", nil) end
    return
  end
  local since = counts_since(self)
  if #masters >= self.size then
    self.enough = true
  elseif since and self.task.now() - since >= self.limit.size then
    self.enough = true
    self:say("size", "%d of CLUSTER_SIZE %d master nodes came within %g s: the cluster starts without the others", #masters, self.size,
      self.limit.size)
  end
end

function view.compute(self)
  local masters, nodes = {}, {}
  for _, peer in ipairs(peers.with_role(self, "master")) do
    masters[#masters + 1] = address(peer.data.master and peer.data.master.url)
  end
  table.sort(masters)
  count_masters(self, masters)
  local shown = { session = self.session ~= nil and self.connected == true, nodes = nodes, masters = masters, enough = self.enough == true,
    refused = self.said.auth ~= nil or nil,
    uri = masters[1] and "spark://" .. table.concat(masters, ",") or nil, said = {}, joins = self.joins,
    sql = { held = self.holding ~= nil and self.holding.live == true and not self.holding.released },
    version = { ours = self.node.version, active = self.active and (self.active.version or self.active.old), waits = self.version_waits } }
  for _, name in ipairs(peers.names(self)) do
    local peer = self.peers[name]
    if peer.standing then
      nodes[name] = peer.data
      local its = peer.data.sql
      if type(its) == "table" and its.holding then
        shown.sql.holder = name
        if its.ready and its.host and its.port then shown.sql.address = its.host .. ":" .. its.port end
      end
    end
  end
  local leader = peers.leader(self)
  if leader and leader.data.master.state == "ALIVE" then
    shown.leader = { node = leader.name, url = leader.data.master.url, ui = leader.data.master.ui }
  end
  for _, key in ipairs(tree.keys(self.said)) do shown.said[#shown.said + 1] = self.said[key] end
  return shown
end

function view.is_shown(self) return not self.view_stale end

--- Emits it when it has changed.
function view.step(self)
  self.view_stale = false
  local shown = view.compute(self)
  if not self.shown or not same(shown, self.shown) then
    self.shown = shown
    self.emit(shown)
  end
  if not self.enough and self.counted_since then return math.max(0.05, self.limit.size - (self.task.now() - self.counted_since)) end
end

return view
