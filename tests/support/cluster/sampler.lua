--- Looks at a cluster ten times a second, without asking it: at the kernel's list of processes (all hosts are in it), and at the page of
--- every master. It keeps the times, and checks what must hold at every moment (check):
---   thrift      at most one SQL server that runs (one that is stopped, or was killed, serves nobody: see is_serving)  I1
---   colocated   an SQL server only where a master is                                                               I2
---   leaders     at most one master that says ALIVE                                                                 I3
---   orphans     nobody outlives its PID 1                                                                          I4
---   zombies     nobody stays unreaped                                                                              I5
---   restarts    no service is started more often than its back-off allows                                          I6
--- How long something took (I7) the scenarios ask themselves: sampler:wait_leader() ...
local hosts = require "cluster.hosts"
local http = require "appliance.core.http"
local task = require "appliance.task"

local sampler = {}
local methods = {}
methods.__index = methods

local PERIOD <const> = 0.1
-- A service that ends at once is started again after growing delays: ten starts in ten seconds are none.
local STARTS <const>, WINDOW <const> = 8, 10
local GRACE <const> = 1                                       -- seconds for a zombie to be reaped, an orphan to be gone
local COLOCATED <const> = 30                                  -- for a master that is started again beside its SQL server

--- masters: the nodes that have one. period: of asking their pages, for a bench that measures below a tenth of a second.
function sampler.start(yard, masters, period)
  local self = setmetatable({ yard = yard, masters = masters, period = period or PERIOD, jvms = {}, events = {}, runs = {}, bad = {},
    seen = {}, starts = {}, status = {}, samples = 0, began = task.now() }, methods)
  self.tasks = { task.start("processes", function()
    while true do
      self:look()
      task.sleep(PERIOD)
    end
  end) }
  for _, node in ipairs(masters) do
    self.tasks[#self.tasks + 1] = task.start("page of " .. node.name, function()
      while true do
        self:ask(node)
        task.sleep(self.period)
      end
    end)
  end
  return self
end

function methods:stop()
  for _, running in ipairs(self.tasks) do running:cancel() end
end
methods.__close = methods.stop

--- A line of what happened, with its time; faults are told here, too.
function methods:note(format, ...)
  self.events[#self.events + 1] = { at = task.now(), text = select("#", ...) > 0 and format:format(...) or format }
end

--- --- processes

local function violate(self, name, at, text)
  local list = self.bad[name]
  if not list then
    list = {}
    self.bad[name] = list
  end
  list[#list + 1] = { at = at, text = text }
  if #list == 1 or at - list[#list - 1].at > 1 then self:note("VIOLATION %s: %s", name, text) end
end

--- Who of this kind runs -> jvms
function methods:running(kind)
  local found = {}
  for _, jvm in pairs(self.jvms) do
    if jvm.kind == kind then found[#found + 1] = jvm end
  end
  table.sort(found, function(a, b) return a.host.name < b.host.name end)
  return found
end

local function count_start(self, jvm, at)
  local key = jvm.host.name .. "/" .. jvm.kind
  local list = self.starts[key] or {}
  self.starts[key] = list
  list[#list + 1] = at
  local first = list[#list - STARTS + 1]
  if jvm.kind ~= "executor" and first and at - first < WINDOW then
    violate(self, "restarts", at, ("%s: %d starts in %.1f s"):format(key, STARTS, at - first))
  end
end

local function persists(self, key, now, grace)
  self.seen[key] = self.seen[key] or now
  self.kept[key] = true
  return now - self.seen[key] > grace
end

function methods:look()
  local now, processes = task.now(), hosts.processes()
  self.samples = self.samples + 1
  self.kept = {}
  local jvms = {}
  for pid, process in pairs(processes) do
    local key = pid .. "@" .. process.start
    local is_dead = process.state == "Z"
    if is_dead and self.jvms[key] then                         -- its first thread has ended; have the others?
      local killed, threads = hosts.is_killed(pid)
      is_dead = killed or threads < 2
    end
    if is_dead then
      -- The dead of a host whose PID 1 was killed are reaped by the kernel, as fast as it frees their memory.
      local host = self.yard:host_of(pid, processes)
      -- And a PID 1 that stands still reaps nobody.
      if host and not host.is_dying and not host.is_frozen and persists(self, "zombie " .. key, now, GRACE) then
        violate(self, "zombies", now, ("%s (%d) on %s"):format(process.name, pid, host.name))
      end
    elseif process.name == "java" then
      local host = self.yard:host_of(pid, processes)
      local known = self.jvms[key]
      local kind = known and known.kind or hosts.kind(pid)
      -- A JVM that starts a program looks like two of itself until that program is executed.
      local parent = processes[process.parent]
      if kind and not known and parent and parent.name == "java" and hosts.kind(parent.pid) == kind then kind = nil end
      if kind and not host then
        -- A program that the test runs on a host (host:run) is no descendant of its PID 1; no daemon is started that way.
        local is_daemon = kind ~= "other" and kind ~= "launcher"
        if is_daemon and persists(self, "orphan " .. key, now, GRACE) then
          violate(self, "orphans", now, ("%s (%d)"):format(kind, pid))
        end
      elseif kind then
        if not known then
          known = { pid = pid, kind = kind, host = host, at = now }
          self:note("%s: %s starts (%d)", host.name, kind, pid)
          count_start(self, known, now)
        end
        known.stopped, known.killed = process.state == "T", kind == "thriftserver" and hosts.is_killed(pid)
        jvms[key] = known
      end
    end
  end
  for key, jvm in pairs(self.jvms) do
    if not jvms[key] then self:note("%s: %s is gone (%d)", jvm.host.name, jvm.kind, jvm.pid) end
  end
  self.jvms = jvms
  self:judge(now)
  for key in pairs(self.seen) do
    if not self.kept[key] then self.seen[key] = nil end
  end
end

--- One that is stopped executes nothing, nor does one that was killed (hosts.is_killed says why). Whoever is neither does, as busy, idle
--- or hung as it may be, and one look at two of them is enough. It is not gone, though: who asks for who runs gets it, a cluster is not
--- whole with it, and it may not outlive its PID 1.
local function is_serving(jvm) return not jvm.stopped and not jvm.killed end

function methods:judge(now)
  local serving, with_master = {}, {}
  for _, jvm in pairs(self.jvms) do
    if jvm.kind == "master" then with_master[jvm.host] = true end
  end
  for _, jvm in pairs(self.jvms) do
    if jvm.kind == "thriftserver" then
      if is_serving(jvm) then serving[#serving + 1] = jvm.host.name end
      if not with_master[jvm.host] and persists(self, "alone " .. jvm.host.name, now, COLOCATED) then
        violate(self, "colocated", now, jvm.host.name .. " has an SQL server and no master")
      end
    end
  end
  if #serving > 1 then
    table.sort(serving)
    violate(self, "thrift", now, "SQL servers on " .. table.concat(serving, " and "))
  end
end

--- --- pages

function methods:ask(node)
  local sent = task.now()
  local answer = http.request { host = node.address, port = 8080, path = "/json/", timeout = 1 }
  local now = task.now()
  local status = answer and answer.status == 200 and answer.body:match '"status"%s*:%s*"(%u+)"' or nil
  if status ~= self.status[node.name] then
    self:note("%s: master says %s", node.name, status or "nothing")
    self.status[node.name] = status
  end
  local run = self.runs[node.name]
  if status ~= "ALIVE" then
    if run then run.ended = true end
    return
  end
  -- It was ALIVE at some moment before `now` and at another after `sent`. A gap may hide anything, so a new run begins behind it.
  if not run or run.ended or sent - run.last > 1 then
    run = { first = now, last = now, name = node.name }
    self.runs[node.name] = run
  end
  run.last = math.max(run.last, sent)
  for name, other in pairs(self.runs) do
    if name ~= node.name and math.min(run.last, other.last) > math.max(run.first, other.first) then
      local from = math.max(run.first, other.first)
      violate(self, "leaders", now, ("%s and %s both ALIVE for %.2f s"):format(node.name, name, math.min(run.last, other.last) - from))
      self.both = math.max(self.both or 0, math.min(run.last, other.last) - from)
    end
  end
end

--- The node whose master says ALIVE now | nil
function methods:leader()
  for _, node in ipairs(self.masters) do
    if self.status[node.name] == "ALIVE" then return node end
  end
end

--- Waits for a master that says ALIVE: since a time, and not on `other` -> the node, when
function methods:wait_leader(since, other, limit)
  since = since or 0
  return table.unpack(hosts.await("a master that is ALIVE", function()
    local ended = 0
    for _, node in ipairs(self.masters) do
      local run = self.runs[node.name]
      if not node.host:is_up() then ended = ended + 1 end
      if node ~= other and run and not run.ended and run.first >= since and self.status[node.name] == "ALIVE" then
        return { node, run.first }
      end
    end
    -- Waiting for nobody would only hide why.
    if ended == #self.masters then
      error("no host with a master is up; the first one said:\n" .. self.masters[1]:log():sub(-3000), 0)
    end
  end, limit, 0.005))
end

--- Waits until a JVM of that kind runs that was started after a time -> jvm
function methods:wait_jvm(kind, since, limit)
  return hosts.await("a " .. kind, function()
    for _, jvm in ipairs(self:running(kind)) do
      if jvm.at >= (since or 0) then return jvm end
    end
  end, limit)
end

--- --- what is asked at the end

--- Forgets what was seen so far: the next scenario begins.
function methods:begin(name)
  self.bad, self.both, self.events = {}, nil, {}
  self:note("--- %s", name)
end

--- The invariants since begin(): allowed = { thrift = seconds of two SQL servers, leaders = of two ALIVE, zombies = true ... }; none: 0.
--- -> true | nil, what was broken
function methods:check(allowed)
  allowed = allowed or {}
  local broken = {}
  for name, list in pairs(self.bad) do
    local may = allowed[name]
    local seconds = name == "leaders" and self.both or #list * PERIOD
    if may ~= true and seconds > (may or 0) then
      broken[#broken + 1] = ("%s (%.2f s where %.2f are allowed): %s"):format(name, seconds, may or 0, list[1].text)
    end
  end
  if not broken[1] then return true end
  table.sort(broken)
  return nil, table.concat(broken, "; ")
end

--- What happened since begin(), for people.
function methods:story()
  local lines = {}
  local zero = self.events[1] and self.events[1].at or 0
  for i, event in ipairs(self.events) do lines[i] = ("%8.2f  %s"):format(event.at - zero, event.text) end
  return table.concat(lines, "\n")
end

return sampler
