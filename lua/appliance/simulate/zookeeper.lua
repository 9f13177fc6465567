--- A ZooKeeper in memory, in virtual time, with the client's interface of appliance.zk. For simulated clusters (docs/profiles.md).
---   local ensemble = zookeeper.new { clock =, random = }
---   local client = zookeeper.client(ensemble, host, { session = 4 })    host: of appliance.simulate.clock
-- Wires: each client has one connection, with an order of its own both ways. zookeeper.wire(ensemble, wire, up) holds whatever is on
-- its way over a wire, or lets it go on; wire.late makes messages slow (seconds); client:reset() loses the answers of what is on its
-- way, client.lose_create = true that of its next sequential create; client:freeze() and client:thaw() stop the client itself (its
-- process), as client:abandon() ends it. bounce, stop and serve, cut_off are what happens to servers.
local ensemble = require "appliance.simulate.ensemble"
local link = require "appliance.simulate.link"

local zookeeper = {}
local client = {}
client.__index = client

zookeeper.new = ensemble.new

--- options.session: asked for; the servers allow 2 to 20 ticks. options.wire: { up = true, late = 0 }, which clients of one machine share.
function zookeeper.client(servers, host, options)
  local asked = options and options.session or 4
  local self = setmetatable({ servers = servers, host = host, clock = servers.clock, random = servers.random, task = host.task,
    timeout = math.max(2 * servers.tick, math.min(20 * servers.tick, asked)), kind = "connecting", frozen = false,
    wire = options and options.wire or { up = true, late = 0 }, followers = {}, watching = {}, waiting = {},
    pending = {}, first = 1, last = 0 }, client)
  servers.clients[#servers.clients + 1] = self
  link.connect_later(self, 0.002)
  return self
end

-- ---------------------------------------------------------------- states

function client:state() return link.state(self) end

function client:changes()
  local queue = self.task.queue()
  queue:put(link.state(self))
  self.followers[#self.followers + 1] = queue
  local closer = setmetatable({}, { __close = function()
    for i, each in ipairs(self.followers) do
      if each == queue then table.remove(self.followers, i) break end
    end
  end })
  return function() return queue:get() end, nil, nil, closer
end

function client:connected()
  link.wait_connected(self)
  return self.session.id, self.timeout
end

-- ---------------------------------------------------------------- operations

local function write(self, operations) return link.ask(self, "write", operations) end

function client:get(path) return link.ask(self, "get", path) end

function client:exists(path)
  local data, stat = link.ask(self, "exists", path)
  if data then return stat end
  if stat.code == "NONODE" then return false end
  return nil, stat
end

function client:children(path) return link.ask(self, "children", path) end

function client:sync() return link.ask(self, "sync") end

function client:set(path, data, version)
  local results, err, sent = write(self, { { "set", path, data, version } })
  if not results then return nil, err end
  results[1].sent = sent
  return results[1]
end

function client:delete(path, version)
  local results, err = write(self, { { "delete", path, version } })
  return results and true, err
end

function client:multi(operations)
  local results, err, sent = write(self, operations)
  if not results then return nil, err end
  for _, result in ipairs(results) do
    if type(result) == "table" then result.sent = sent end
  end
  return results
end

local function guid_of(self)
  return ("%08x%08x"):format(self.random:index(0x7fffffff), self.random:index(0x7fffffff))
end

function client:create(path, data, options)
  options = options or {}
  local prefix
  if options.guid then
    local parent, name = path:match "^(.*)/([^/]*)$"
    prefix = "_c_" .. guid_of(self) .. "-"
    path = parent .. "/" .. prefix .. name
  end
  local session = self.session
  while true do
    local results, err = write(self, { { "create", path, data, options } })
    if results then return results[1] end
    if not prefix or err.code ~= "CONNECTIONLOSS" then return nil, err end
    local parent = path:match "^(.*)/[^/]*$"
    local ok
    ok, err = link.wait_connected(self, session, self.timeout)
    if not ok then return nil, err end
    for _, name in ipairs(self:children(parent) or {}) do
      if name:sub(1, #prefix) == prefix then return parent .. "/" .. name end
    end
  end
end

--- There are no access lists here.
function client.rights() return { "world:anyone:cdrwa" }, {} end

--- The node itself first, as the real client does: mostly it is there.
function client:ensure(path)
  while true do
    local results, err = write(self, { { "create", path, "" } })
    if results or err.code == "NODEEXISTS" then return true end
    if err.code ~= "NONODE" then return nil, err end
    results, err = self:ensure(path:match "^(.*)/[^/]*$")
    if not results then return nil, err end
  end
end

-- ---------------------------------------------------------------- watches

--- Like the real client it tells nobody twice of the same version, though it reads again after each new connection. `version`: the field
--- of the stat that counts changes.
local function follow(self, kind, path, field, version)
  local watch = { client = self, kind = kind, dirty = self.task.queue(1), fire = link.fire }
  watch.dirty:put(true)
  self.watching[#self.watching + 1] = watch
  local closer = setmetatable({}, { __close = function()
    watch.closed = true
    for i, each in ipairs(self.watching) do
      if each == watch then table.remove(self.watching, i) break end
    end
  end })
  local made, changed                                      -- what was told last; made is false where there was nothing
  return function()
    while true do
      watch.dirty:get()
      local value, stat = link.ask(self, kind, path, watch)
      if value then
        if stat.czxid ~= made or stat[version] ~= changed then
          made, changed = stat.czxid, stat[version]
          return { [field] = value, stat = stat }
        end
      elseif stat.code ~= "NONODE" then
        if self.kind == "connected" then watch.dirty:put(true) end
      elseif made ~= false then
        made = false
        return { absent = true }
      end
    end
  end, nil, nil, closer
end

function client:watch(path) return follow(self, "get", path, "data", "mzxid") end

function client:watch_children(path) return follow(self, "children", path, "names", "cversion") end

-- ---------------------------------------------------------------- ends and faults

--- In order: the session ends at once.
function client:close()
  if self.kind == "closed" then return end
  local session = self.session
  if session and link.is_healthy(self) then
    link.to_server(self, self.connection, function() self.servers:close_session(session) end)
  end
  self:abandon()
end

--- The client's process is gone: the session ends by itself.
function client:abandon()
  if self.kind == "closed" then return end
  self.kind = "closed"
  if self.connection then self.connection.lost = true end
  self.connection = nil
  link.look(self)
  for i, each in ipairs(self.servers.clients) do
    if each == self then table.remove(self.servers.clients, i) break end
  end
end

--- A wire goes down, or up again: for every client that uses it.
function zookeeper.wire(servers, wire, up)
  if wire.up == up then return end
  wire.up = up
  for _, each in ipairs({ table.unpack(servers.clients) }) do
    if each.wire == wire then
      if up then link.deliver(each) end
      link.look(each)
    end
  end
end

--- The connection breaks: what the server had got is carried out, and nobody hears of it.
function client:reset() link.lose(self) end

function client:freeze()
  self.frozen = true
  link.look(self)
end

function client:thaw()
  if not self.frozen then return end
  self.frozen = false
  link.look(self)
  if not self.connection then return link.connect_later(self, 0.01) end
  if not self.healthy then link.mind_silence(self) end
end

-- ---------------------------------------------------------------- faults of servers

local function each_connected(servers, f)
  for _, each in ipairs({ table.unpack(servers.clients) }) do
    if each.connection then f(each) end
  end
end

--- One of three servers restarts: its clients lose their connections, no session ends.
function zookeeper.bounce(servers, server)
  each_connected(servers, function(each)
    if each.connection.server == server then link.lose(each) end
  end)
end

--- No quorum: every connection breaks and none is taken until serve() is called.
function zookeeper.stop(servers)
  servers.serving = false
  each_connected(servers, function(each) link.lose(each) end)
end

function zookeeper.serve(servers)
  servers.serving = true
  servers:new_leader()
end

--- A server is cut off from its quorum, and notices after `seconds`: until then it answers reads with what it knows.
function zookeeper.cut_off(servers, server, seconds)
  local known = servers:snapshot()
  each_connected(servers, function(each)
    local connection = each.connection
    if connection.server ~= server then return end
    connection.stale = known
    link.look(each)
    servers.clock:after(seconds, function()
      if each.connection == connection then link.lose(each) end
    end)
  end)
end

return zookeeper
