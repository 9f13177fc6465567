--- The writes that leases live from.
-- A lease's deadline is counted from *before* a write of our own was sent that ZooKeeper then acknowledged. A mere answer proves
-- nothing: a server cut off from its quorum goes on answering reads for seconds after the quorum has ended the session; and an answer
-- that lay in a buffer while we were frozen is old. The write is a multi that also checks what the lease rests on, so that
-- each of these is true at the moment the quorum commits it:
--   our ephemeral stands               (else somebody may already be burying us)
--   the version that may run is ours   (else masters of another may start)
--   sql/holder is as we wrote it       (else another has taken the thrift server)
-- Whoever changes one of them and then waits for as long as a lease lasts is alone.
-- Why session - tick/2: a follower tells its leader only every half tick of whom it has heard, so the session may end so much
-- earlier; the tick is at most half the session (ZooKeeper's least session is two ticks).
local member = require "appliance.cluster.member"

local beats = {}

local NS = 1000000000
local IN_FLIGHT = 8                                        -- beats are pipelined; more than these say nothing that these don't

--- How long a lease lasts from the sending of its write (seconds), when sessions last `timeout`.
function beats.lasts(self, timeout) return timeout - timeout / 4 - self.limit.kill end

--- After so long nothing is left of what ran under a lease that can't be renewed any more.
function beats.outlived(self, timeout) return beats.lasts(self, timeout) + self.limit.kill end

--- When the lease of a write that was sent at `sent` ends.
function beats.due(self, sent, timeout) return sent + math.floor(beats.lasts(self, timeout) * NS) end

--- What the lease rests on, as checks. -> operations, who is what: { "node", "version", "holder", "beat" }
function beats.operations(self)
  local operations, subjects = { { "check", self.path.node, -1 } }, { "node" }
  if self.active and self.active.version == self.node.version then
    operations[#operations + 1], subjects[#subjects + 1] = { "check", self.path.version, self.active.number }, "version"
  end
  if self.holding then
    operations[#operations + 1], subjects[#subjects + 1] = { "check", self.path.holder, self.holding.number }, "holder"
  end
  operations[#operations + 1], subjects[#subjects + 1] = { "set", self.path.beat, "", -1 }, "beat"
  return operations, subjects
end

local refused = {
  node = function(self) member.lost(self) end,
  version = function(self)
    self:drop_leases()
    self.active = nil                                      -- switch.lua reads it anew
  end,
  holder = function(self)
    self.log.warn("another node has taken the thrift server: ours ends")
    self:drop_sql()
  end,
  beat = function(self, session)                           -- somebody deleted it
    if self.session == session then self.zk:create(self.path.beat, "", { ephemeral = true }) end
  end,
}

--- Moves a deadline. A lease that is over begins anew only with half of its time before it: while ZooKeeper is so slow that less is
--- left of each, daemons would only be started to be killed.
local function grant(self, name, due, timeout)
  local now = self.world.boot_ns()
  if (self.granted[name] or 0) < now and due - now < beats.lasts(self, timeout) / 2 * NS then return end
  self.granted[name] = due
  self.world.lease(name, due)
end

--- One beat: sends, waits for the answer, moves the deadlines.
function beats.beat(self, session)
  local epoch, holding, sent = self.epoch, self.holding, self.world.boot_ns()
  local operations, subjects = beats.operations(self)
  local checked = { holder = holding ~= nil, version = false }
  for _, subject in ipairs(subjects) do checked[subject] = true end
  local done, err = self.zk:multi(operations)
  if self.session ~= session or self.epoch ~= epoch then return end      -- said of a state that is over
  if done then
    local due = beats.due(self, sent, session.timeout)
    if checked.version and self:may_lead() then
      grant(self, "node", due, session.timeout)
      if holding and self.holding == holding and holding.live and not holding.released then grant(self, "sql", due, session.timeout) end
    end
    return
  end
  local subject = err.index and subjects[err.index]
  if subject and (err.code == "NONODE" or err.code == "BADVERSION") then
    refused[subject](self, session)
    self:changed()
    self.beat_now:put(true)                                -- what is left of our leases goes on
  end
end

--- A beat each quarter of the session, and at once when there is reason to.
function beats.run(self)
  local in_flight = 0
  local function send(session)
    local _ <close> = setmetatable({}, { __close = function() in_flight = in_flight - 1 end })
    beats.beat(self, session)
  end
  self:keep("beat clock", function()
    while true do
      self.beat_now:put(true)
      self.task.sleep(self.session and self.session.timeout / 4 or 0.5)
    end
  end)
  while true do
    self.beat_now:get()
    local session = self.session
    if session and session.joined and self.connected and in_flight < IN_FLIGHT then
      in_flight = in_flight + 1
      self:spawn("beat", send, session)
    end
  end
end

return beats
