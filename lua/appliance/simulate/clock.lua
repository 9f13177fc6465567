--- Virtual time: a scheduler with the interface of appliance.task, where nothing takes time but waiting. For simulated clusters.
--- A run is a function of what was started: no wall clock, no hidden order, so a seed replays it.
---   local clock = require "appliance.simulate.clock".new()
---   local host = clock:host("node1")          tasks of one machine: host.task is their task module
---   host:pause(); host:resume()               what is ready to run meanwhile runs at resume, in its order
---   clock:after(seconds, f, up to four arguments) -> timer    a plain call, of no host (a packet, a hardware clock); clock.forget(timer)
---   clock:run(until_seconds)                  clock.errors holds what tasks raised
local clock = {}
clock.__index = clock

function clock.new()
  return setmetatable({ now = 0, timers = {}, size = 0, ready = {}, first = 1, last = 0, idle = {}, errors = {} }, clock)
end

-- ---------------------------------------------------------------- timers: a list, the next one last; ties in the order they were set

-- A timer is { at, f, its arguments }. A simulated cluster has a few dozen of them, and most of those that are set (messages) are among
-- the next to fire: looking from the end for the place of a new one is a few steps, and firing the next one is none.
function clock:after(seconds, f, a, b, c, d) return self:at(seconds > 0 and self.now + seconds or self.now, f, a, b, c, d) end

--- The same, at a moment that is not over.
function clock:at(when, f, a, b, c, d)
  local timer = { when, f, a, b, c, d }
  local timers, at = self.timers, self.size
  self.size = at + 1
  local other = timers[at]
  while other and other[1] <= when do                      -- it fires before this one; of equals the older stays nearer to the end
    timers[at + 1] = other
    at = at - 1
    other = timers[at]
  end
  timers[at + 1] = timer
  return timer
end

local function nothing() end

--- It fires no more.
function clock.forget(timer) timer[2] = nothing end

-- ---------------------------------------------------------------- tasks

local current

--- It runs when those before it have; on a paused host when that goes on.
local function make_ready(self, task)
  local host = task.host
  if host.paused then
    host.held[#host.held + 1] = task
  else
    local last = self.last + 1
    self.last, self.ready[last] = last, task
  end
end

--- Ends the wait that `token` names; a later wait of the task has another token, so late news fall to the ground.
local function wake(self, task, token, value)
  if task.token ~= token or not task.waiting then return false end
  task.waiting, task.value = false, value
  make_ready(self, task)
  return true
end
clock.wake = wake

local NONE <const> = { n = 0 }

local function finished(self, task, ok, ...)
  task.alive, task.waiting, task.ok = false, false, ok
  task.results = select("#", ...) > 0 and table.pack(...) or NONE
  if not ok and not task.cancelled then self.errors[#self.errors + 1] = ("%s: %s"):format(task.name, tostring((...))) end
  for _, joiner in ipairs(task.joiners or NONE) do wake(self, joiner[1], joiner[2]) end
end

local WAITS <const>, ENDED <const> = {}, {}                 -- what a coroutine yields first

--- A coroutine runs one task after the other: making one costs as much as several waits.
local function one_after_another(f, ...) return one_after_another(coroutine.yield(ENDED, f(...))) end

local function resumed(self, task, outer, ok, first, ...)
  current = outer
  if first == WAITS then return end
  if ok then
    self.idle[#self.idle + 1] = task.co
    return finished(self, task, true, ...)
  end
  local text = debug.traceback(task.co, tostring(first))
  coroutine.close(task.co)
  return finished(self, task, false, text)
end

local function resume(self, task)
  if not task.alive then return end
  local outer = current
  current = task
  local arguments = task.arguments
  if arguments then
    task.arguments = nil
    return resumed(self, task, outer, coroutine.resume(task.co, table.unpack(arguments, 2, arguments[1])))
  end
  return resumed(self, task, outer, coroutine.resume(task.co, task.value))
end

local methods = {}

function methods:is_alive() return self.alive end

function methods:cancel()
  if not self.alive or current == self then return end
  if coroutine.status(self.co) == "normal" then self.doomed = true return end
  self.cancelled, self.waiting = true, false
  self.token = self.token + 1
  local outer = current
  current = self
  coroutine.close(self.co)
  current = outer
  finished(self.clock, self, false, { kind = "cancelled", text = self.name .. " was cancelled" })
end

--- The running task is about to wait -> it, and the token that wake(task, token, value) takes; then await() waits -> value.
function clock.expect()
  local task = current or error("no task is running that could wait", 2)
  local token = task.token + 1
  task.token, task.waiting = token, true
  return task, token
end
local expect = clock.expect

function clock.await() return coroutine.yield(WAITS) end
local await = clock.await

function methods:join(seconds)
  if self.alive then
    local task, token = expect()
    self.joiners = self.joiners or {}
    self.joiners[#self.joiners + 1] = { task, token }
    local timer = seconds and self.clock:after(seconds, wake, self.clock, task, token)
    await()
    if timer then clock.forget(timer) end
  end
  if self.alive then return nil, { kind = "timeout", code = "", text = ("task %s did not end within %g s"):format(self.name, seconds) } end
  if not self.ok then return nil, table.unpack(self.results, 1, self.results.n) end
  return true, table.unpack(self.results, 1, self.results.n)
end

local task_meta = { __index = methods, __close = function(task) task:cancel() end }

local function start(self, host, name, f, ...)
  if type(name) == "function" then return start(self, host, "task", name, f, ...) end
  local task = setmetatable({ clock = self, host = host, name = name, co = table.remove(self.idle) or coroutine.create(one_after_another),
    token = 0, alive = true, waiting = false, arguments = { select("#", ...) + 2, f, ... } }, task_meta)
  make_ready(self, task)
  return task
end

-- ---------------------------------------------------------------- a host's task module

local queue = {}
queue.__index = queue

--- The oldest who still waits; one who was cancelled does not.
local function wake_getter(self)
  local getters = self.getters
  while getters[1] do
    local getter = getters[1]
    if getters[2] then table.remove(getters, 1) else getters[1] = nil end
    if wake(self.clock, getter, getter.token) then return end
  end
end

function queue:put(value)
  local tail = self.tail
  if self.closed or self.limit > 0 and tail - self.head >= self.limit then return false end
  self.values[tail] = value
  self.tail = tail + 1
  if self.getters[1] then wake_getter(self) end
  return true
end

function queue:get()
  while self.head == self.tail do
    if self.closed then return nil end
    self.getters[#self.getters + 1] = expect()
    await()
  end
  local head = self.head
  local value = self.values[head]
  self.values[head] = nil
  head = head + 1
  if head == self.tail then
    self.head, self.tail = 1, 1
  else
    self.head = head
    wake_getter(self)                                      -- one who was cancelled after it was woken took a wake-up with it
  end
  return value
end

function queue:length() return self.tail - self.head end

function queue:close()
  self.closed = true
  for _, getter in ipairs(self.getters) do wake(self.clock, getter, getter.token) end
  self.getters = {}
end

queue.__close = queue.close

local host = {}
host.__index = host

--- A machine. Its clocks begin anywhere: nobody may compare them with another's.
function clock:host(name, boot_offset)
  local made = setmetatable({ clock = self, name = name, held = {}, paused = false, boot_offset = boot_offset or 0 }, host)
  local module = {}
  function module.start(...) return start(self, made, ...) end
  function module.now() return self.now + made.boot_offset end
  function module.sleep(seconds)
    local task, token = expect()
    self:after(seconds, wake, self, task, token)
    await()
  end
  function module.yield()
    wake(self, expect())
    await()
  end
  function module.queue(limit)
    return setmetatable({ clock = self, limit = limit or 0, values = {}, head = 1, tail = 1, getters = {} }, queue)
  end
  function module.within(seconds, f, ...)
    local running <close> = module.start("within", f, ...)
    return (function(ok, ...)
      if ok then return ... end
      return nil, ...
    end)(running:join(seconds))
  end
  made.task = module
  return made
end

--- What CLOCK_BOOTTIME shows there, in ns.
function host:boot_ns() return math.floor((self.clock.now + self.boot_offset) * 1000000000) end

function host:pause() self.paused = true end

function host:resume()
  self.paused = false
  local held, its = self.held, self.clock
  self.held = {}
  for _, task in ipairs(held) do
    its.last = its.last + 1
    its.ready[its.last] = task
  end
end

--- Is a task running?
function clock.running() return current end

-- ---------------------------------------------------------------- time

local function run_ready(self)
  while self.first <= self.last do
    local task = self.ready[self.first]
    self.ready[self.first] = nil
    self.first = self.first + 1
    if task.host.paused then
      table.insert(task.host.held, task)
    else
      resume(self, task)
    end
  end
  self.first, self.last = 1, 0
end

--- Runs everything that is due up to the moment.
function clock:run(stop)
  run_ready(self)
  local timers = self.timers
  while self.size > 0 do
    local size = self.size
    local timer = timers[size]
    local when = timer[1]
    if when > stop then break end
    timers[size] = nil
    self.size = size - 1
    if when > self.now then self.now = when end
    timer[2](timer[3], timer[4], timer[5], timer[6])
    if self.first <= self.last then run_ready(self) end
  end
  self.now = stop
end

return clock
