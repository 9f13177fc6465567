--- Virtual time: a scheduler with the interface of appliance.task, where nothing takes time but waiting. For simulated clusters.
--- A run is a function of what was started: no wall clock, no hidden order, so a seed replays it.
---   local clock = require "appliance.simulate.clock".new()
---   local host = clock:host("node1")          tasks of one machine: host.task is their task module
---   host:pause(); host:resume()               what is ready to run meanwhile runs at resume, in its order
---   clock:after(seconds, f, up to six arguments) -> timer    a plain call, of no host (a packet, a hardware clock); clock.forget(timer)
---   clock:run(until_seconds)                  clock.errors holds what tasks raised
local clock = {}
clock.__index = clock

function clock.new()
  return setmetatable({ now = 0, timers = {}, size = 0, ready = {}, first = 1, last = 0, errors = {} }, clock)
end

-- ---------------------------------------------------------------- timers: a list, the next one last; ties in the order they were set

-- A timer is { at, f, its arguments }. A simulated cluster has a few dozen of them, and most of those that are set (messages) are among
-- the next to fire: looking from the end for the place of a new one is a few steps, and firing the next one is none.
function clock:after(seconds, f, a, b, c, d, e, g)
  local when = seconds > 0 and self.now + seconds or self.now
  local timer = { when, f, a, b, c, d, e, g }
  local timers, at = self.timers, self.size
  self.size = at + 1
  while at > 0 do
    local earlier = timers[at]
    if earlier[1] > when then break end                    -- it fires after this one; of equals the older stays nearer to the end
    timers[at + 1] = earlier
    at = at - 1
  end
  timers[at + 1] = timer
  return timer
end

local function nothing() end

--- It fires no more.
function clock.forget(timer) timer[2] = nothing end

-- ---------------------------------------------------------------- tasks

local current

local function make_ready(self, task, value)
  task.value = value
  local host = task.host
  if host.paused then
    host.held[#host.held + 1] = task
  else
    self.last = self.last + 1
    self.ready[self.last] = task
  end
end

--- Ends the wait that `token` names; a later wait of the task has another token, so late news fall to the ground.
local function wake(self, task, token, value)
  if task.token ~= token or not task.waiting then return false end
  task.waiting = false
  make_ready(self, task, value)
  return true
end

local function finished(self, task, ok, ...)
  task.alive, task.waiting, task.ok = false, false, ok
  task.results = table.pack(...)
  if not ok and not task.cancelled then self.errors[#self.errors + 1] = ("%s: %s"):format(task.name, tostring((...))) end
  for _, joiner in ipairs(task.joiners) do wake(self, joiner[1], joiner[2]) end
end

local function resumed(self, task, ok, ...)
  current = task.outer
  if coroutine.status(task.co) == "dead" then
    if not ok then
      local text = debug.traceback(task.co, tostring((...)))
      coroutine.close(task.co)
      return finished(self, task, false, text)
    end
    return finished(self, task, true, ...)
  end
end

local function resume(self, task)
  if not task.alive then return end
  task.outer, current = current, task
  local value = task.value
  task.value = nil
  if task.arguments then
    local arguments = task.arguments
    task.arguments = nil
    return resumed(self, task, coroutine.resume(task.co, table.unpack(arguments, 1, arguments.n)))
  end
  return resumed(self, task, coroutine.resume(task.co, value))
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

--- Waits until wake(token) is called -> the value given there.
local function await(task)
  task.waiting = true
  return coroutine.yield()
end

function methods:join(seconds)
  if self.alive then
    local task = assert(current, "join: no task is running")
    task.token = task.token + 1
    local token = task.token
    self.joiners[#self.joiners + 1] = { task, token }
    local timer = seconds and self.clock:after(seconds, wake, self.clock, task, token)
    await(task)
    if timer then clock.forget(timer) end
  end
  if self.alive then return nil, { kind = "timeout", code = "", text = ("task %s did not end within %g s"):format(self.name, seconds) } end
  if not self.ok then return nil, table.unpack(self.results, 1, self.results.n) end
  return true, table.unpack(self.results, 1, self.results.n)
end

local task_meta = { __index = methods, __close = function(task) task:cancel() end }

local function start(self, host, name, f, ...)
  if type(name) == "function" then return start(self, host, "task", name, f, ...) end
  local task = setmetatable({ clock = self, host = host, name = name, co = coroutine.create(f), token = 0, alive = true, joiners = {},
    arguments = table.pack(...) }, task_meta)
  make_ready(self, task)
  return task
end

-- ---------------------------------------------------------------- a host's task module

local queue = {}
queue.__index = queue

--- The oldest who still waits.
local function wake_getter(self)
  repeat
    local getter = table.remove(self.getters, 1)
  until not getter or wake(self.clock, getter[1], getter[2])
end

function queue:put(value)
  if self.closed or self.limit > 0 and self.tail - self.head >= self.limit then return false end
  self.values[self.tail] = value
  self.tail = self.tail + 1
  wake_getter(self)
  return true
end

function queue:get()
  while self.head == self.tail do
    if self.closed then return nil end
    local task = assert(current, "queue:get: no task is running")
    task.token = task.token + 1
    self.getters[#self.getters + 1] = { task, task.token }
    await(task)
  end
  local value = self.values[self.head]
  self.values[self.head] = nil
  self.head = self.head + 1
  if self.head < self.tail then wake_getter(self) end      -- one who was cancelled after it was woken took a wake-up with it
  return value
end

function queue:length() return self.tail - self.head end

function queue:close()
  self.closed = true
  for _, getter in ipairs(self.getters) do wake(self.clock, getter[1], getter[2]) end
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
    local task = assert(current, "sleep: no task is running")
    task.token = task.token + 1
    self:after(seconds, wake, self, task, task.token)
    await(task)
  end
  function module.yield()
    local task = assert(current, "yield: no task is running")
    task.token, task.waiting = task.token + 1, true
    wake(self, task, task.token)
    coroutine.yield()
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

--- For simulated clients: the running task waits until `done(value)` is called, which begin(done) arranges. -> value
function clock:wait(begin)
  local task = assert(current, "wait: no task is running")
  task.token = task.token + 1
  local token = task.token
  task.waiting = true
  begin(function(value) wake(self, task, token, value) end)
  return coroutine.yield()
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
    timer[2](timer[3], timer[4], timer[5], timer[6], timer[7], timer[8])
    if self.first <= self.last then run_ready(self) end
  end
  self.now = stop
end

return clock
