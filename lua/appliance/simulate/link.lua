--- What lies between a client of the simulated ZooKeeper and its servers: the connection, its health, the session's life as both ends see
-- it, and each request's way there and back. appliance.simulate.zookeeper has what a client offers; `self` is that client throughout.
-- Each client has one connection at a time, with an order of its own both ways; a broken one delivers nothing more to the client, while
-- what the server had got is carried out all the same.
local clock = require "appliance.simulate.clock"
local ensemble = require "appliance.simulate.ensemble"
local random = require "appliance.simulate.random"

local link = {}

local failure = ensemble.failure
local call_at, wake, draw = clock.at, clock.wake, random.next  -- not looked up in each message

-- ---------------------------------------------------------------- health

function link.is_healthy(self)
  return self.wire.up and not self.frozen and self.connection ~= nil and self.servers.serving and not self.connection.stale
end

--- The client hears nothing for two thirds of its session: it gives the connection up. (One at a cut-off server hears enough.)
function link.mind_silence(self)
  local connection = self.connection
  if not connection or connection.stale or self.notice then return end
  self.notice = self.clock:after(self.timeout * 2 / 3, function()
    self.notice = nil
    if self.connection == connection and not self.frozen and not link.is_healthy(self) then link.lose(self) end
  end)
end

--- The servers have closed the connection of a session that has ended: found after what still lay in the buffers.
local function find_ended(self)
  local session, connection = self.session, self.connection
  if not session or self.servers.sessions[session.id] == session then return end
  self.clock:after(0.01, function()
    if self.connection == connection then link.lose(self) end
  end)
end

--- Something about the wire has changed: the servers' idea of this session, and the client's of its connection.
function link.look(self)
  local healthy = link.is_healthy(self)
  if healthy == self.healthy then return end
  self.healthy = healthy
  local session = self.session
  if healthy then
    if self.notice then clock.forget(self.notice) end
    self.notice = nil
    if session then self.servers:heard(session) end
    return find_ended(self)
  end
  if session then self.servers:silent(session) end
  link.mind_silence(self)
end

-- ---------------------------------------------------------------- states

function link.state(self)
  return { state = self.kind, id = self.session and self.session.id, timeout = self.session and self.timeout,
    server = self.connection and "10.0.0.1:2181" or nil }
end

local function set_state(self, kind)
  self.kind = kind
  local state = link.state(self)
  for _, queue in ipairs(self.followers) do queue:put(state) end
  if kind == "connected" then
    local waiting = self.waiting
    self.waiting = {}
    for _, each in ipairs(waiting) do wake(self.clock, each[1], each[2]) end
    for _, watch in ipairs(self.watching) do watch.dirty:put(true) end
  end
end

--- Waits for a connection, so long as `session` is the one -> true | nil, err
function link.wait_connected(self, session, seconds)
  while self.kind ~= "connected" do
    if self.kind == "closed" then return nil, failure "SESSIONEXPIRED" end
    local task, token = clock.expect()
    self.waiting[#self.waiting + 1] = { task, token }
    if seconds then self.clock:after(seconds, wake, self.clock, task, token, true) end
    local late = clock.await()
    if late then return nil, failure "CONNECTIONLOSS" end
  end
  if session and self.session ~= session then return nil, failure "SESSIONEXPIRED" end
  return true
end

--- The one who asked goes on. Answers come in the order of their questions, but for those that nobody answers.
local function answered(request, self)
  if not request.task then return end
  wake(self.clock, request.task, request.token)
  request.task = nil
  local pending = self.pending
  while self.first <= self.last and not pending[self.first].task do
    pending[self.first] = nil
    self.first = self.first + 1
  end
end

-- ---------------------------------------------------------------- connections

function link.connect_later(self, seconds)
  self.clock:after(seconds, link.connect, self)
end

function link.connect(self)
  if self.kind == "closed" or self.connection or self.frozen then return end
  if not self.wire.up or not self.servers.serving then return link.connect_later(self, self.random:between(0.2, 0.6)) end
  local session = self.session
  if session and self.servers.sessions[session.id] ~= session then
    set_state(self, "expired")                             -- told on this reconnect only
    self.session = nil
    self.kind = "connecting"
    return link.connect_later(self, 0.003)
  end
  self.connection = { out_at = 0, in_at = 0, held_out = {}, held_in = {}, server = self.random:index(3) }
  if not session then
    self.session = self.servers:open_session(self.timeout)
    self.session.client = self
  end
  self.session.connection = self.connection
  self.healthy = nil
  link.look(self)
  set_state(self, "connected")
end

--- The connection is gone for the client: nothing that is on its way to it arrives.
function link.lose(self)
  if not self.connection then return end
  self.connection.lost = true
  self.connection = nil
  link.look(self)
  local pending, first, last = self.pending, self.first, self.last
  self.pending, self.first, self.last = {}, 1, 0
  for at = first, last do
    local request = pending[at]
    if request.task then
      request.lost = true                                  -- the server may carry it out all the same
      answered(request, self)
    end
  end
  set_state(self, "connecting")
  link.connect_later(self, self.random:between(0.02, 0.5))
end

-- ---------------------------------------------------------------- messages

--- When something sent now arrives; nothing overtakes what was sent before it, which arrives at `before`.
local function arrival(self, before)
  local at = self.clock.now + 0.001 + 0.003 * draw(self.random)
  if self.wire.late > 0 then at = at + self.wire.late * draw(self.random) end
  return at < before and before or at
end

local function arrive_out(self, connection, f, subject)
  if self.wire.up then return f(self, connection, subject) end
  connection.held_out[#connection.held_out + 1] = { f, subject }
end

--- Runs f(self, connection, subject) at the server's end, in order, when the wire lets it through.
function link.to_server(self, connection, f, subject)
  local at = arrival(self, connection.out_at)
  connection.out_at = at
  call_at(self.clock, at, arrive_out, self, connection, f, subject)
end

local function arrive_back(self, connection, f, subject)
  if not self.wire.up then
    connection.held_in[#connection.held_in + 1] = { f, subject }
  elseif not connection.lost then
    f(subject, self)
  end
end

--- f(subject, self) at the client's.
local function to_client(self, connection, f, subject)
  local at = arrival(self, connection.in_at)
  connection.in_at = at
  call_at(self.clock, at, arrive_back, self, connection, f, subject)
end

local function dirty(watch) watch.dirty:put(true) end

--- A watch that the servers tell of a change: its client hears of it in its time.
function link.fire(watch)
  local self, connection = watch.client, watch.connection
  if watch.closed or connection.lost or connection.stale then return end
  to_client(self, connection, dirty, watch)
end

-- ---------------------------------------------------------------- requests

-- A request: kind "get", "exists" or "children" of a path (with a watch, if there is one), "write" of operations, or "sync"; its session,
-- the task that waits for it, and then value and stat, or an error in the place of stat.

--- What the server does with it. -> true, or nil: there is no answer, ever
local function carry_out(self, connection, request)
  local servers, kind, session = self.servers, request.kind, request.session
  if connection.stale then
    if kind == "write" or kind == "sync" then return nil end           -- it can't ask its quorum
    request.value, request.stat = servers:read(kind, request.subject, connection.stale)
    return true
  end
  if not servers.serving or session.connection ~= connection then return nil end
  if servers.sessions[session.id] ~= session then
    request.stat = failure "SESSIONEXPIRED"
    return true
  end
  session.touched = self.clock.now
  if kind == "write" then
    request.value, request.stat = servers:commit(session, request.subject)
  elseif kind == "sync" then
    request.value = true
  else
    request.value, request.stat = servers:read(kind, request.subject)
    local watch = request.watch
    if watch and not watch.closed then
      watch.connection = connection
      servers:add_watch((kind == "children" and request.value) and "children" or "data", request.subject, watch)
    end
  end
  return true
end

--- Is it a create that a client would look for?
local function is_guarded(request)
  local first = request.kind == "write" and request.subject[1]
  return first and first[1] == "create" and first[4] and first[4].sequential
end

local function at_server(self, connection, request)
  if not carry_out(self, connection, request) then return end
  if self.lose_create and is_guarded(request) then
    self.lose_create = false
    return link.lose(self)
  end
  to_client(self, connection, answered, request)
end

--- One request, within the session that is there now -> value, stat, sent (boot ns) | nil, err
function link.ask(self, kind, subject, watch)
  local session = self.session
  if self.kind ~= "connected" then
    local ok, err = link.wait_connected(self, session, self.timeout)
    if not ok then return nil, err end
    session = self.session
  end
  local sent = self.host:boot_ns()
  local task, token = clock.expect()
  local request = { kind = kind, subject = subject, watch = watch, session = session, task = task, token = token }
  local last = self.last + 1
  self.pending[last], self.last = request, last
  link.to_server(self, self.connection, at_server, request)
  clock.await()
  if request.lost then return nil, failure "CONNECTIONLOSS" end
  local value, stat = request.value, request.stat
  if not value then return nil, stat end
  if self.session ~= session then return nil, failure "SESSIONEXPIRED" end
  if stat then stat.sent = sent end
  return value, stat, sent
end

--- What was held arrives now, if its connection still stands.
function link.deliver(self)
  local connection = self.connection
  if not connection then return end
  local out, back = connection.held_out, connection.held_in
  connection.held_out, connection.held_in = {}, {}
  for _, held in ipairs(back) do to_client(self, connection, held[1], held[2]) end
  for _, held in ipairs(out) do link.to_server(self, connection, held[1], held[2]) end
end

return link
