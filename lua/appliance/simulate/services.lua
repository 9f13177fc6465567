--- Services without processes, on a clock that stands until it is told to go: what src/proc does, for a simulated node.
--- The decisions are the program's own: every move comes from the state table in C (appliance.core.service). Only the carrying out is
--- played: a process starts at once, ends at once when asked to, and is ready or dead when the test says so. Delays have no jitter.
local step = require("appliance.core.service").step

local services = {}
services.__index = services

--- As service_spec_new and retry.c have it.
local DEFAULT = { min = 0.5, max = 30, healthy = 10, grace = 10, deadline = 60, shortage = 0.1, margin = 0.2 }

function services.new()
  return setmetatable({ now = 0, by_name = {}, order = {}, log = {}, leases = {} }, services)
end

local function field(spec, group, name)
  local value = spec[group] and spec[group][name]
  if value == nil then return DEFAULT[name] end
  return value
end

local function arm(service, at, event) service.timer = { at = at, event = event } end

-- ---------------------------------------------------------------- actions; one may return the event that follows from it

local act = {}

act["disarm"] = function(_, service) service.timer = nil end

local function is_met(other, need)
  if not other then return false end
  if other.state == "done" then return true end
  if need == "done" then return false end
  return other.state == "up" or need == "started" and other.state == "starting"
end

local function needs_are_met(self, service)
  for name, need in pairs(service.spec.after or {}) do
    if not is_met(self.by_name[name], need) then return false end
  end
  local lease = service.spec.lease
  return not lease or (self.leases[lease] or 0) - self.now > DEFAULT.margin
end

act["check"] = function(self, service)
  service.spec = service.next_spec or service.spec
  service.next_spec = nil
  return needs_are_met(self, service) and "needs met" or nil
end

act["spawn"] = function(_, service)
  local failing = service.spawn_fails
  service.spawn_fails = nil
  if failing then return failing end
  service.starts = service.starts + 1
  service.up_at, service.put_down = nil, false
end

act["probe"] = function(self, service)
  if service.state == "up" then return nil end
  local ready = service.spec.ready
  if not ready then return not service.spec.oneshot and "ready" or nil end
  local deadline = field(service.spec, "ready", "deadline")
  if deadline > 0 then arm(service, self.now + deadline, "unready") end
end

act["term"] = function(self, service)
  local grace = field(service.spec, "stop", "grace")
  if service.lasts <= 0 then return "family gone" end
  if service.lasts <= grace then arm(service, self.now + service.lasts, "family gone") else arm(service, self.now + grace, "grace over") end
end

act["kill"] = function() return "family gone" end
act["clear"] = function() return "family gone" end

act["arm retry"] = function(self, service)
  if service.gave_up then return "give up" end
  if service.put_down then return "retry" end
  if service.healthy then return "retry" end
  local least, most = field(service.spec, "backoff", "min"), field(service.spec, "backoff", "max")
  service.delay = math.min(service.delay > 0 and service.delay * 2 or least, most)
  if service.delay <= 0 then return "retry" end
  arm(service, self.now + service.delay, "retry")
end

act["arm spawn"] = function(self, service) arm(service, self.now + DEFAULT.shortage, "retry") end

local function look_back(self, service)
  service.healthy = service.up_at ~= nil and self.now - service.up_at >= field(service.spec, "backoff", "healthy")
  if service.healthy then service.crashes, service.delay = 0, 0 end
end

act["count"] = function(self, service)
  look_back(self, service)
  service.crashes = service.crashes + 1
  local give_up = service.spec.backoff and service.spec.backoff.give_up or 0
  service.gave_up = service.spec.restart == "never" or give_up > 0 and service.crashes >= give_up
end

act["announce"] = function(self, service) self.log[#self.log + 1] = ("%s: %s"):format(service.name, service.state) end

-- ---------------------------------------------------------------- events

local function forget(self, service)
  self.by_name[service.name] = nil
  for i, name in ipairs(self.order) do
    if name == service.name then table.remove(self.order, i) end
  end
end

local function check_waiting(self)
  for _, name in ipairs({ table.unpack(self.order) }) do
    local service = self.by_name[name]
    if service and service.state == "waiting" and needs_are_met(self, service) then self:feed(service, "needs met") end
  end
end

function services:feed(service, event)
  local moved_at_all = false
  while event do
    local next_state, actions, known = step(service.state, event)
    if not known then break end
    local moved = next_state ~= service.state
    service.state = next_state
    if moved then
      moved_at_all = true
      service.since = self.now
      if next_state == "up" then service.up_at = self.now end
      if event == "want up" then service.crashes, service.delay, service.gave_up = 0, 0, false end
    end
    event = nil
    for _, action in ipairs(actions) do
      -- As in service_run.c: nothing is probed when the spawn before it failed.
      if not (action == "probe" and event) then event = act[action](self, service) or event end
    end
    if service.state == "down" and service.wanted then event = "want up" end
  end
  if service.removed and service.state == "down" then forget(self, service) end
  if moved_at_all then check_waiting(self) end
end

local RUNS = { starting = true, up = true, clearing = true, stopping = true }

local function put_down(self, service)
  if service.state == "starting" or service.state == "up" then look_back(self, service) end
  service.put_down = true
  self:feed(service, "put down")
end

local function find(self, name)
  return self.by_name[name] or error(("%s: the simulated node has no such service"):format(tostring(name)), 3)
end

-- ---------------------------------------------------------------- what appliance.core.supervise offers

function services:declare(spec)
  local service = self.by_name[spec.name]
  if service then
    service.next_spec, service.removed = spec, false
    return true
  end
  service = { name = spec.name, spec = spec, state = "down", wanted = false, since = self.now,
              starts = 0, crashes = 0, delay = 0, lasts = 0 }
  self.by_name[spec.name] = service
  self.order[#self.order + 1] = spec.name
  check_waiting(self)
  return true
end

function services:remove(name)
  local service = find(self, name)
  service.wanted, service.removed = false, true
  if service.state == "down" then forget(self, service) else self:feed(service, "want down") end
  return true
end

function services:want(name, up)
  local service = find(self, name)
  service.wanted = up
  self:feed(service, up and "want up" or "want down")
  return true
end

function services:restart(name)
  local service = find(self, name)
  service.wanted = true
  self:feed(service, service.state == "down" and "want up" or "want down")
  return true
end

function services:kill(name)
  local service = find(self, name)
  if not RUNS[service.state] then return true end
  service.gave_up = service.gave_up or service.spec.restart == "never"
  put_down(self, service)
  return true
end

--- Held until `due` on this clock (self.now); 0: no more.
function services:lease(name, due)
  self.leases[name] = due
  for _, each in ipairs({ table.unpack(self.order) }) do
    local service = self.by_name[each]
    if service and service.spec.lease == name and due <= self.now and RUNS[service.state] then put_down(self, service) end
  end
  check_waiting(self)
  return true
end

-- ---------------------------------------------------------------- what a test may do to them

function services:ready(name) self:feed(find(self, name), "ready") end
function services:unready(name) self:feed(find(self, name), "unready") end

--- The main process ended with an exit code, or by a signal ("KILL").
function services:exit(name, how)
  local service = find(self, name)
  if service.state ~= "starting" and service.state ~= "up" then
    error(("%s: is %s, so no process of it can end"):format(name, service.state), 3)
  end
  local spec = service.spec
  local success = how == 0
  for _, status in ipairs(spec.clean or {}) do success = success or how == status end
  local may_end = spec.oneshot or spec.restart == "on-failure" or spec.restart == "never"
  self:feed(service, success and may_end and "exited clean" or "exited bad")
end

--- The earliest timer, or nil.
function services:due()
  local at
  for _, service in pairs(self.by_name) do
    if service.timer and (not at or service.timer.at < at) then at = service.timer.at end
    local due = service.spec.lease and RUNS[service.state] and self.leases[service.spec.lease]
    if due and (not at or due < at) then at = due end
  end
  return at
end

--- The deadline thread's part: it does not wait for anybody.
local function end_leases(self)
  for _, name in ipairs({ table.unpack(self.order) }) do
    local service = self.by_name[name]
    local lease = service and service.spec.lease
    if lease and RUNS[service.state] and (self.leases[lease] or 0) <= self.now then put_down(self, service) end
  end
end

function services:fire(now)
  self.now = now
  end_leases(self)
  for _, name in ipairs({ table.unpack(self.order) }) do
    local service = self.by_name[name]
    local timer = service and service.timer
    if timer and timer.at <= now then
      service.timer = nil
      self:feed(service, timer.event)
    end
  end
end

return services
