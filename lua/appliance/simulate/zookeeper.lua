--- A ZooKeeper in memory, in virtual time, with the client's interface of appliance.zk. For simulated clusters (docs/profiles.md).
---   local ensemble = zookeeper.new { clock =, random = }
---   local client = zookeeper.client(ensemble, host, { session = 4 })    host: of appliance.simulate.clock
-- Wires: each client has one connection, with an order of its own both ways. zookeeper.wire(ensemble, wire, up) holds whatever is on
-- its way over a wire, or lets it go on; wire.late makes messages slow (seconds); client:reset() loses the answers of what is on its
-- way, client.lose_create = true that of its next sequential create; client:freeze() and client:thaw() stop the client itself (its
-- process), as client:abandon() ends it. bounce, stop and serve, cut_off are what happens to servers.
local ensemble = require "appliance.simulate.ensemble"

local zookeeper = {}
local client = {}
client.__index = client

zookeeper.new = ensemble.new

local failure = ensemble.failure

--- options.session: asked for; the servers allow 2 to 20 ticks. options.wire: { up = true, late = 0 }, which clients of one machine share.
function zookeeper.client(servers, host, options)
  local asked = options and options.session or 4
  local self = setmetatable({ servers = servers, host = host, clock = servers.clock, random = servers.random, task = host.task,
    timeout = math.max(2 * servers.tick, math.min(20 * servers.tick, asked)), kind = "connecting", frozen = false,
    wire = options and options.wire or { up = true, late = 0 }, followers = {}, watching = {}, pending = {}, waiting = {} }, client)
  servers.clients[#servers.clients + 1] = self
  self:connect_later(0.002)
  return self
end

-- ---------------------------------------------------------------- health

local function is_healthy(self)
  return self.wire.up and not self.frozen and self.connection ~= nil and self.servers.serving and not self.connection.stale
end

--- The client hears nothing for two thirds of its session: it gives the connection up. (One at a cut-off server hears enough.)
local function mind_silence(self)
  local connection = self.connection
  if not connection or connection.stale or self.notice then return end
  self.notice = self.clock:after(self.timeout * 2 / 3, function()
    self.notice = nil
    if self.connection == connection and not self.frozen and not is_healthy(self) then self:lose_connection() end
  end)
end

--- The servers have closed the connection of a session that has ended: found after what still lay in the buffers.
local function find_ended(self)
  local session, connection = self.session, self.connection
  if not session or self.servers.sessions[session.id] == session then return end
  self.clock:after(0.01, function()
    if self.connection == connection then self:lose_connection() end
  end)
end

--- Something about the wire has changed: the servers' idea of this session, and the client's of its connection.
local function look(self)
  local healthy = is_healthy(self)
  if healthy == self.healthy then return end
  self.healthy = healthy
  local session = self.session
  if healthy then
    if self.notice then self.clock.forget(self.notice) end
    self.notice = nil
    if session then self.servers:heard(session) end
    return find_ended(self)
  end
  if session then self.servers:silent(session) end
  mind_silence(self)
end

-- ---------------------------------------------------------------- states

local function shown(self)
  return { state = self.kind, id = self.session and self.session.id, timeout = self.session and self.timeout,
    server = self.connection and "10.0.0.1:2181" or nil }
end

local function set_state(self, kind)
  self.kind = kind
  local state = shown(self)
  for _, queue in ipairs(self.followers) do queue:put(state) end
  if kind == "connected" then
    local waiting = self.waiting
    self.waiting = {}
    for _, each in ipairs(waiting) do each() end
    for _, watch in ipairs(self.watching) do watch.dirty:put(true) end
  end
end

function client:state() return shown(self) end

function client:changes()
  local queue = self.task.queue()
  queue:put(shown(self))
  self.followers[#self.followers + 1] = queue
  local closer = setmetatable({}, { __close = function()
    for i, each in ipairs(self.followers) do
      if each == queue then table.remove(self.followers, i) break end
    end
  end })
  return function() return queue:get() end, nil, nil, closer
end

--- Waits for a connection, so long as `session` is the one -> true | nil, err
local function wait_connected(self, session, seconds)
  while self.kind ~= "connected" do
    if self.kind == "closed" then return nil, failure "SESSIONEXPIRED" end
    local late = self.clock:wait(function(done)
      self.waiting[#self.waiting + 1] = done
      if seconds then self.clock:after(seconds, done, true) end
    end)
    if late then return nil, failure "CONNECTIONLOSS" end
  end
  if session and self.session ~= session then return nil, failure "SESSIONEXPIRED" end
  return true
end

function client:connected()
  wait_connected(self)
  return self.session.id, self.timeout
end

-- ---------------------------------------------------------------- connections

function client:connect_later(seconds)
  self.clock:after(seconds, function() self:connect() end)
end

function client:connect()
  if self.kind == "closed" or self.connection or self.frozen then return end
  if not self.wire.up or not self.servers.serving then return self:connect_later(self.random:between(0.2, 0.6)) end
  local session = self.session
  if session and self.servers.sessions[session.id] ~= session then
    set_state(self, "expired")                             -- told on this reconnect only
    self.session = nil
    self.kind = "connecting"
    return self:connect_later(0.003)
  end
  self.connection = { out_at = 0, in_at = 0, held_out = {}, held_in = {}, server = self.random:index(3) }
  if not session then
    self.session = self.servers:open_session(self.timeout)
    self.session.client = self
  end
  self.session.connection = self.connection
  self.healthy = nil
  look(self)
  set_state(self, "connected")
end

--- The connection is gone for the client: nothing that is on its way to it arrives.
function client:lose_connection()
  if not self.connection then return end
  self.connection.lost = true
  self.connection = nil
  look(self)
  local pending = self.pending
  self.pending = {}
  for _, request in ipairs(pending) do
    if not request.answered then
      request.answered, request.lost = true, true
      request.done()
    end
  end
  set_state(self, "connecting")
  self:connect_later(self.random:between(0.02, 0.5))
end

-- ---------------------------------------------------------------- the wire

local function delay(self)
  local quick = 0.001 + 0.003 * self.random:next()
  return self.wire.late > 0 and quick + self.wire.late * self.random:next() or quick
end

local function arrive_out(self, connection, f, one, other)
  if self.wire.up then return f(self, connection, one, other) end
  connection.held_out[#connection.held_out + 1] = { f, one, other }
end

--- Runs f(self, connection, one, other) at the server's end, in order, when the wire lets it through.
local function to_server(self, connection, f, one, other)
  local now = self.clock.now
  local at = now + delay(self)
  if at < connection.out_at then at = connection.out_at end
  connection.out_at = at
  self.clock:after(at - now, arrive_out, self, connection, f, one, other)
end

local function arrive_back(self, connection, f, one)
  if not self.wire.up then
    connection.held_in[#connection.held_in + 1] = { f, one }
  elseif not connection.lost then
    f(one)
  end
end

--- f(one) at the client's.
local function to_client(self, connection, f, one)
  local now = self.clock.now
  local at = now + delay(self)
  if at < connection.in_at then at = connection.in_at end
  connection.in_at = at
  self.clock:after(at - now, arrive_back, self, connection, f, one)
end

local function dirty(watch) watch.dirty:put(true) end

local function fire(watch)
  local self, connection = watch.client, watch.connection
  if watch.closed or connection.lost or connection.stale then return end
  to_client(self, connection, dirty, watch)
end

--- What the server does with a request: puts the answer into it. -> true, or nil: there is none, ever
local function carry_out(self, connection, session, request)
  local servers = self.servers
  if connection.stale then
    if request.writes then return nil end                  -- it can't ask its quorum
    request.value, request.err = servers:read(request.kind, request.path, connection.stale)
    return true
  end
  if not servers.serving or session.connection ~= connection then return nil end
  if servers.sessions[session.id] ~= session then
    request.err = failure "SESSIONEXPIRED"
    return true
  end
  session.touched = self.clock.now
  if request.kind == "write" then
    request.value, request.err = servers:commit(session, request.operations)
  elseif request.kind == "sync" then
    request.value = true
  else
    request.value, request.err = servers:read(request.kind, request.path)
    local watch = request.watch
    if watch and not watch.closed then
      watch.connection = connection
      servers:add_watch((request.kind == "children" and request.value) and "children" or "data", request.path, watch)
    end
  end
  return true
end

local function answered(request)
  if request.answered then return end
  request.answered = true
  request.done()
end

local function at_server(self, connection, session, request)
  if not carry_out(self, connection, session, request) then return end
  if request.protected and self.lose_create then
    self.lose_create = false
    return self:lose_connection()
  end
  to_client(self, connection, answered, request)
end

local function send(self, session, request)
  if #self.pending > 20 then
    local kept = {}
    for _, each in ipairs(self.pending) do
      if not each.answered then kept[#kept + 1] = each end
    end
    self.pending = kept
  end
  self.pending[#self.pending + 1] = request
  to_server(self, self.connection, at_server, session, request)
end

--- One request, within the session that is there now -> results of the server | nil, err
local function ask(self, request)
  local session = self.session
  if self.kind ~= "connected" then
    local ok, err = wait_connected(self, session, self.timeout)
    if not ok then return nil, err end
    session = self.session
  end
  local sent = self.host:boot_ns()
  self.clock:wait(function(done)
    request.done = done
    send(self, session, request)
  end)
  if request.lost then return nil, failure "CONNECTIONLOSS" end
  if not request.value then return nil, request.err end
  if self.session ~= session then return nil, failure "SESSIONEXPIRED" end
  return request.value, nil, sent
end

-- ---------------------------------------------------------------- operations

local function write(self, operations) return ask(self, { kind = "write", writes = true, operations = operations }) end

local function with_sent(stat, sent)
  stat.sent = sent
  return stat
end

function client:get(path)
  local answer, err, sent = ask(self, { kind = "get", path = path })
  if not answer then return nil, err end
  return answer[1], with_sent(answer[2], sent)
end

function client:exists(path)
  local answer, err, sent = ask(self, { kind = "exists", path = path })
  if answer then return with_sent(answer[2], sent) end
  if err.code == "NONODE" then return false end
  return nil, err
end

function client:children(path)
  local answer, err, sent = ask(self, { kind = "children", path = path })
  if not answer then return nil, err end
  return answer[1], with_sent(answer[2], sent)
end

function client:sync() return ask(self, { kind = "sync", writes = true }) end

function client:set(path, data, version)
  local results, err, sent = write(self, { { "set", path, data, version } })
  if not results then return nil, err end
  return with_sent(results[1], sent)
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
    local results, err = ask(self, { kind = "write", writes = true, protected = options.sequential,
      operations = { { "create", path, data, options } } })
    if results then return results[1] end
    if not prefix or err.code ~= "CONNECTIONLOSS" then return nil, err end
    local parent = path:match "^(.*)/[^/]*$"
    local ok
    ok, err = wait_connected(self, session, self.timeout)
    if not ok then return nil, err end
    for _, name in ipairs(self:children(parent) or {}) do
      if name:sub(1, #prefix) == prefix then return parent .. "/" .. name end
    end
  end
end

--- There are no access lists here.
function client.rights() return { "world:anyone:cdrwa" }, {} end

function client:ensure(path)
  local at = ""
  for part in path:gmatch "[^/]+" do
    at = at .. "/" .. part
    local results, err = write(self, { { "create", at, "" } })
    if not results and err.code ~= "NODEEXISTS" then return nil, err end
  end
  return true
end

-- ---------------------------------------------------------------- watches

local function follow(self, kind, path, read)
  local watch = { client = self, kind = kind, dirty = self.task.queue(1), fire = fire }
  watch.dirty:put(true)
  self.watching[#self.watching + 1] = watch
  local closer = setmetatable({}, { __close = function()
    watch.closed = true
    for i, each in ipairs(self.watching) do
      if each == watch then table.remove(self.watching, i) break end
    end
  end })
  return function()
    while true do
      watch.dirty:get()
      local answer, err, sent = ask(self, { kind = kind, path = path, watch = watch })
      if answer then return read(answer[1], with_sent(answer[2], sent)) end
      if err.code == "NONODE" then return { absent = true } end
      if self.kind == "connected" then watch.dirty:put(true) end
    end
  end, nil, nil, closer
end

function client:watch(path)
  return follow(self, "get", path, function(data, stat) return { data = data, stat = stat } end)
end

function client:watch_children(path)
  return follow(self, "children", path, function(names, stat) return { names = names, stat = stat } end)
end

-- ---------------------------------------------------------------- ends and faults

--- In order: the session ends at once.
function client:close()
  if self.kind == "closed" then return end
  local session = self.session
  if session and is_healthy(self) then
    to_server(self, self.connection, function() self.servers:close_session(session) end)
  end
  self:abandon()
end

--- The client's process is gone: the session ends by itself.
function client:abandon()
  if self.kind == "closed" then return end
  self.kind = "closed"
  if self.connection then self.connection.lost = true end
  self.connection = nil
  look(self)
  for i, each in ipairs(self.servers.clients) do
    if each == self then table.remove(self.servers.clients, i) break end
  end
end

--- What was held arrives now, if its connection still stands.
local function deliver(self)
  local connection = self.connection
  if not connection then return end
  local out, back = connection.held_out, connection.held_in
  connection.held_out, connection.held_in = {}, {}
  for _, held in ipairs(back) do to_client(self, connection, held[1], held[2]) end
  for _, held in ipairs(out) do to_server(self, connection, held[1], held[2], held[3]) end
end

--- A wire goes down, or up again: for every client that uses it.
function zookeeper.wire(servers, wire, up)
  if wire.up == up then return end
  wire.up = up
  for _, each in ipairs({ table.unpack(servers.clients) }) do
    if each.wire == wire then
      if up then deliver(each) end
      look(each)
    end
  end
end

--- The connection breaks: what the server had got is carried out, and nobody hears of it.
function client:reset() self:lose_connection() end

function client:freeze()
  self.frozen = true
  look(self)
end

function client:thaw()
  if not self.frozen then return end
  self.frozen = false
  look(self)
  if not self.connection then return self:connect_later(0.01) end
  if not self.healthy then mind_silence(self) end
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
    if each.connection.server == server then each:lose_connection() end
  end)
end

--- No quorum: every connection breaks and none is taken until serve() is called.
function zookeeper.stop(servers)
  servers.serving = false
  each_connected(servers, function(each) each:lose_connection() end)
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
    look(each)
    servers.clock:after(seconds, function()
      if each.connection == connection then each:lose_connection() end
    end)
  end)
end

return zookeeper
