--- Who runs the thrift server. Candidates stand in a queue of ephemeral sequential nodes, each watching only the one before it; the
-- first looks after ROOT/sql/holder, the persistent truth about who holds: { node, session, candidate, token, timeout, released }.
-- The holder's lease lives from beats that check holder's version, so whoever writes it has ended that lease from renewing. A
-- healthy holder never loses it: the first candidate takes it only when it is vacant, and
--   released in order, or its node's ephemeral is proved gone (so that session is over, and with it the lease): starts at once;
--   else (holder wiped or unreadable): starts after as long as a lease can last from the moment of its own write.
-- Where leadership is known at that moment, the leader's node is let go first; for that a vacancy waits `prefer` seconds at most. After
-- an ordered stop it is the node that came last.
-- A node whose thrift server fails again and again, or can't be started at all, hands it over when there is somebody to take it.
local beats = require "appliance.cluster.beats"
local peers = require "appliance.cluster.peers"
local tree = require "appliance.cluster.tree"
local undertaker = require "appliance.cluster.undertaker"

local sql = {}

-- ---------------------------------------------------------------- what the supervisor tells

function sql.event(self, event)
  if event.service ~= "thriftserver" then return end
  if event.kind == "ready" or event.kind == "unready" then
    self.sql_ready = event.kind == "ready"
  elseif event.kind == "started" then
    self.sql_ready, self.sql_runs, self.sql_refused, self.app = false, true, nil, nil
  elseif event.kind == "failed" then                       -- there was no run that could end, and none will be tried
    self.sql_refused, self.queue_stale = self.task.now(), true
  elseif event.kind == "app" then
    self.app, self.sessions_told = event.app, self.sessions_told + 1       -- into the record: masters.lua
  elseif event.kind == "ended" then
    self.sql_ready, self.sql_runs = false, false
    if self.app then self.dead_apps[self.app] = self.task.now() end
    self.app = nil
    if event.unasked and self.holding and self.holding.live then
      local now, recent = self.task.now(), {}
      for _, at in ipairs(self.failures) do
        if now - at < self.limit.healthy then recent[#recent + 1] = at end
      end
      recent[#recent + 1] = now
      self.failures, self.queue_stale = recent, true
    end
  end
end

-- ---------------------------------------------------------------- watches

--- While we hold: is holder still what we wrote? A holder that was deleted and made anew may have our version's number.
function sql.seen_holder(self, got)
  local holding = self.holding
  if not holding then return end
  if not got.absent and got.stat.version == holding.number then
    holding.czxid = holding.czxid or got.stat.czxid
    if holding.czxid == got.stat.czxid then return end
  elseif not got.absent and got.stat.version < holding.number and not holding.czxid then
    return                                                 -- read before our own write
  end
  if holding.released then return end
  self.log.warn("what says who runs the thrift server was written by another: ours ends")
  self:drop_sql()
end

--- A task that wakes us when the path changes; one per purpose.
local function watch(self, purpose, path)
  local watches = self.sql_watches or {}
  self.sql_watches = watches
  local current = watches[purpose]
  if current and current.path == path then return end
  if current then current.task:cancel() end
  watches[purpose] = path and {
    path = path,
    task = self:spawn("sql " .. purpose, function()
      for got in self.zk:watch(path) do
        if purpose == "holder" then sql.seen_holder(self, got) end
        self.queue_stale = true
        self:changed(true)
      end
    end),
  } or nil
end

-- ---------------------------------------------------------------- the queue

--- May this node run it?
local function is_eligible(self)
  local session = self.session
  if not session or not session.joined or self.leaving then return false end
  if self.penalty_until and self.task.now() < self.penalty_until then return false end
  if self.node.roles.master and self.holding == nil and not self.master then return false end      -- it belongs beside a master
  return session.recorded and self.active ~= nil and self.active.version == self.node.version
end

local function enter(self, session)
  local made = self.zk:create(self.path.candidates .. "/n-", self.me, { ephemeral = true, sequential = true, guid = true })
  if not made or self.session ~= session then return false end
  session.candidate = made:match "([^/]+)$"
  return true
end

local function withdraw(self, session)
  if not session.candidate then return true end
  local gone, err = self.zk:delete(self.path.candidates .. "/" .. session.candidate)
  if gone or err.code == "NONODE" then
    if self.session == session then session.candidate = nil end
    return true
  end
end

-- ---------------------------------------------------------------- vacancy

--- Is nobody holding? -> how: "released" | "proved" | "unknown" (nobody to be found: any lease must be waited out), operations that
--- prove it in the multi that takes it; or nil: somebody holds.
function sql.vacancy(self, holder)
  if not holder or not holder.node or not holder.session then return "unknown", {} end
  if holder.released then return "released", {} end
  local data, stat = self.zk:get(self.path.nodes .. "/" .. holder.node)
  if data then
    -- The name stands again in another session: the one that held is over.
    if tree.session(stat.owner) ~= holder.session then return "proved", {} end
    return nil
  end
  if stat.code ~= "NONODE" then return nil end
  return "proved", undertaker.proof(self, holder.node)
end

--- Is one of the candidates' nodes better(peer)?
local function any_candidate(self, others, better)
  for _, name in ipairs(others) do
    local node = self.zk:get(self.path.candidates .. "/" .. name)
    local peer = node and self.peers[node]
    if peer and peer.standing and not peer.data.leaving and better(peer) then return true end
  end
  return false
end

--- How long to wait for a better one -> seconds, or 0: take it; or nil: we let another go first, once in each vacancy.
local function preference(self, session, vacancy, holder, others)
  local now = self.task.now()
  session.vacant_since = session.vacant_since or now
  if session.yielded == vacancy then return 0 end
  -- Where the holder's node was stopped in order, others may be next: in a rolling restart the one that came last is the one that
  -- will not be, so that the thrift server does not move along before it.
  local before = holder and self.peers[holder.node]
  if before and before.data.leaving then
    local me = self.peers[self.me]
    return not any_candidate(self, others, function(peer) return peer.joined > (me and me.joined or 0) end) and 0 or nil
  end
  local leader = peers.leader(self)
  if leader and leader.name == self.me then return 0 end
  if not leader or leader.data.leaving then return math.max(0, self.limit.prefer - (now - session.vacant_since)) end
  return not any_candidate(self, others, function(peer) return peer.name == leader.name end) and 0 or nil
end

--- Whatever kept it from being started may have been mended.
local function tried_again(self)
  self.sql_refused = nil
  self.world.start("thriftserver")
end

local function hold(self, session, number, how, timeout)
  session.vacant_since, self.queue_stale = nil, true
  local holding = { number = number, how = how, live = how ~= "unknown" }
  self.holding, self.failures = holding, {}
  self.epoch = self.epoch + 1                              -- beats on their way were sent as nobody
  watch(self, "holder", self.path.holder)
  if self.sql_refused then tried_again(self) end
  if not holding.live then holding.from = self.task.now() + beats.outlived(self, timeout) end
  self.log.info(("this node runs the thrift server (%s)"):format(how == "released" and "its holder has released it"
    or how == "proved" and "its holder's session is over" or "its holder is unknown: its lease is waited out"))
  self.beat_now:put(true)
  self:changed()
end

local function take(self, session, holder, stat, how, proof)
  local owner = self.zk:exists(self.path.candidates .. "/" .. session.candidate)
  if not owner or owner.owner ~= session.id or self.session ~= session then return false end
  local timeout = math.max(session.timeout, holder and tonumber(holder.timeout) or 0)
  local text = tree.encode { node = self.me, session = tree.session(session.id), candidate = session.candidate, token = owner.czxid,
    timeout = session.timeout, how = how, released = false }
  local operations = { stat and { "set", self.path.holder, text, stat.version } or { "create", self.path.holder, text, {} } }
  for _, operation in ipairs(proof) do operations[#operations + 1] = operation end
  local done = self.zk:multi(operations)
  if not done or self.session ~= session then return false end
  hold(self, session, stat and stat.version + 1 or 0, how, timeout)
  return true
end

--- Reads holder; takes up what is ours already: by a write whose answer was lost, or because we had let go of the lease only.
-- -> true: read; data or nil, stat or nil
local function read_holder(self, session)
  local text, stat = self.zk:get(self.path.holder)
  if not text and stat.code ~= "NONODE" or self.session ~= session then return false end
  session.looked = true
  if not text then return true end
  local holder = tree.decode(text)
  if holder.session == tree.session(session.id) and not holder.released and not self.holding then
    hold(self, session, stat.version, holder.how, session.timeout)
  end
  return true, holder, stat
end

--- The first candidate's look. -> seconds until the next, or nil
local function first(self, session, others)
  watch(self, "holder", self.path.holder)
  local ok, holder, stat = read_holder(self, session)
  if not ok then return self.limit.retry end
  if self.holding then return 0 end
  local how, proof = sql.vacancy(self, holder)
  if self.session ~= session then return 0 end
  if not how then
    watch(self, "holder's node", self.path.nodes .. "/" .. holder.node)
    session.vacant_since = nil
    return
  end
  local vacancy = stat and stat.mzxid or 0                 -- by the write that began it
  local seconds = preference(self, session, vacancy, holder, others)
  if self.session ~= session then return 0 end
  if not seconds then
    session.yielded = vacancy
    return withdraw(self, session) and 0 or self.limit.retry
  end
  if seconds > 0 then return seconds end
  return take(self, session, holder, stat, how, proof) and 0 or self.limit.retry
end

-- ---------------------------------------------------------------- handing over

--- In order: nothing of it is left when another may start. -> true, or nil: to be tried again
local function release(self, session)
  local holding = self.holding
  if holding and holding.stopping then return nil end      -- another of our tasks is at it
  if holding then
    holding.released, holding.stopping = true, true        -- no beat renews it from here on
    self.epoch = self.epoch + 1
    if not self.leaving then self.world.stop("thriftserver") end
    self.world.lease("sql", 0)
    if not self.leaving then self.world.start("thriftserver") end        -- wanted again: it waits for its lease
    holding.stopping = false
    if self.session ~= session or self.holding ~= holding then return true end
    local text = tree.encode { node = self.me, session = tree.session(session.id), candidate = session.candidate, timeout = session.timeout,
      released = true }
    local done, err = self.zk:multi { { "set", self.path.holder, text, holding.number } }
    if not done and not err.index then return nil end
    if self.holding == holding then self:drop_sql() end
    self:changed()
  end
  return withdraw(self, session)
end

--- -> what another node should hear of our thrift server, or nil: it is (or may be) well
local function trouble(self)
  if not self.holding.live then return nil end
  if self.sql_refused then return "can't be started here" end
  local count = #self.failures
  return not self.sql_ready and count >= self.limit.failures and ("failed %d times here"):format(count) or nil
end

--- Nobody else would take it. -> seconds until the next look, or nil
local function alone(self)
  if not self.sql_refused then return nil end
  local left = self.sql_refused + self.limit.alone - self.task.now()
  if left > 0 then return left end
  tried_again(self)
end

--- Our place in the queue, and what follows from it. -> seconds until the next look, or nil: the watches tell
local function look(self, session)
  if not session.candidate and not enter(self, session) then return self.limit.retry end
  watch(self, "our place", self.path.candidates .. "/" .. session.candidate)
  local names, err = self.zk:children(self.path.candidates)
  if self.session ~= session then return 0 end
  if not names then
    if err.code == "NONODE" then self.zk:ensure(self.path.candidates) end
    return self.limit.retry
  end
  local queue, others, at = tree.by_sequence(names), {}, nil
  for i, name in ipairs(queue) do
    if name == session.candidate then at = i else others[#others + 1] = name end
  end
  if not at then                                           -- wiped: the holder stays who holder says
    session.candidate = nil
    return self.limit.retry
  end
  if self.holding then
    watch(self, "before us", nil)
    local why = trouble(self)
    if not why then return nil end
    if not others[1] then return alone(self) end
    self.penalty_until = self.task.now() + self.limit.penalty
    self:say("sql", "the thrift server %s: another node takes it", why)
    return release(self, session) and 0 or self.limit.retry
  end
  self:say("sql", nil)
  if at > 1 then
    watch(self, "holder", nil)
    watch(self, "holder's node", nil)
    watch(self, "before us", self.path.candidates .. "/" .. queue[at - 1])
    session.vacant_since = nil
    if not session.looked and not read_holder(self, session) then return self.limit.retry end
    return self.holding and 0 or nil
  end
  watch(self, "before us", nil)
  return first(self, session, others)
end

function sql.step(self)
  local session = self.session
  if not session or not session.joined or not self.connected or self.gone then return end
  local holding, now = self.holding, self.task.now()
  if holding and holding.released then return release(self, session) and 0 or self.limit.retry end
  if not is_eligible(self) then
    if holding and self.leaving and not self.sql_runs then return release(self, session) and 0 or self.limit.retry end
    if holding then return end                             -- what ends that ends the lease
    withdraw(self, session)
    return self.penalty_until and math.max(0.1, self.penalty_until - now)
  end
  if holding and not holding.live then
    if now < holding.from then return holding.from - now end
    holding.live = true
    self.beat_now:put(true)
    self:changed()
  end
  if session.candidate and not self.queue_stale then return end
  self.queue_stale = false
  local seconds = look(self, session)
  if seconds then self.queue_stale = true end
  return seconds
end

--- The node has left: what is not yet released is, within a moment.
function sql.leave(self)
  local until_when = self.task.now() + self.limit.leave
  while self.session and self.session.joined and self.node.roles.sql and self.task.now() < until_when do
    if release(self, self.session) then return end
    self.task.sleep(0.05)
  end
end

return sql
