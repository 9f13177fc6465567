--- Hosts for tests: each a network namespace on one bridge, with PIDs, mounts and a name of its own, and one program as its PID 1.
--- Works only inside tests/cluster/nest, which is what removes everything at the end; the test itself stands on the bridge, at .254, so
--- that it sees every host whatever is cut between them.
---   local yard = hosts.yard()
---   local a = yard:host("a", 11); a:start({ "program" }, { NAME = "value" }); a:cut(b); a:heal(); a:kill(); a:freeze(); a:thaw()
local file = require "appliance.core.file"
local supervise = require "appliance.core.supervise"
local task = require "appliance.task"

local hosts = {}

require("appliance.core.log").level "error"                -- what counts is the log of the hosts

hosts.NETWORK = "10.77.0."
hosts.LIMIT = tonumber(os.getenv "CLUSTER_LIMIT") or 120      -- seconds; generous, for two cores are shared

--- Where hosts keep their files; the caller's test logs where there are such, so that a failed run can be looked at.
local FOLDER <const> = os.getenv "TMPDIR" .. "/hosts"

local function sh(format, ...)
  local command = format:format(...)
  local ok, how, code = os.execute(command)
  if not ok then error(("%s\nended with %s %d"):format(command, how, code), 2) end
end
hosts.sh = sh

--- Waits until condition() gives something -> that; an error after the limit.
function hosts.await(what, condition, limit, step)
  local deadline = task.now() + (limit or hosts.LIMIT)
  while true do
    local found = condition()
    if found then return found end
    if task.now() > deadline then error(("did not come within %d s: %s"):format(limit or hosts.LIMIT, what), 2) end
    task.sleep(step or 0.02)
  end
end

--- --- what runs where

local function stat(pid)
  local text = file.read("/proc/" .. pid .. "/stat")
  if not text then return nil end
  local name, state, parent, rest = text:match "^%d+ %((.*)%) (%a) (%d+) (.*)$"
  if not name then return nil end
  local start = rest:match(("%S+ "):rep(17) .. "(%d+)")       -- field 22, its start in ticks: with the pid, who it is
  return { pid = tonumber(pid), name = name, state = state, parent = tonumber(parent), start = start }
end

--- Every process of the nest -> { [pid] = { pid, name, state, parent, start } }. Not at one instant: it takes a few milliseconds.
function hosts.processes()
  local found = {}
  for _, entry in ipairs(file.list "/proc") do
    if entry:find "^%d+$" then
      local seen = stat(entry)
      if seen then found[seen.pid] = seen end
    end
  end
  return found
end

local KINDS <const> = {
  ["org.apache.spark.deploy.master.Master"] = "master",
  ["org.apache.spark.deploy.worker.Worker"] = "worker",
  ["org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"] = "thriftserver",
  ["org.apache.spark.executor.CoarseGrainedExecutorBackend"] = "executor",
  ["org.apache.zookeeper.server.quorum.QuorumPeerMain"] = "zookeeper",
  ["org.apache.spark.launcher.Main"] = "launcher",             -- names the class that it prepares the command of
}

--- What a JVM is, by its command line -> "master" ... | "other"; nil: its command line can't be read (any more).
function hosts.kind(pid)
  local line = file.read("/proc/" .. pid .. "/cmdline")
  if not line or line == "" then return nil end
  for word in line:gmatch "[^\0]+" do
    if KINDS[word] then return KINDS[word] end
  end
  return "other"
end

--- Was the whole process killed (SIGKILL, by anybody), though it is not gone yet, and how many threads has it left? -> bool, integer
--- The kernel sends it to all threads in one step, under the lock that /proc reads under (kernel/signal.c: complete_signal), interrupts
--- those that are running, and lets none of them back into user space: none can block or catch it (signal(7)). What it leaves in ShdPnd,
--- "pending signals for the process as whole" (Documentation/filesystems/proc.rst), stands there until the process is reaped. So from this
--- sight on it executes none of its code: no answer, no write to a table. That it is still listed is the kernel's work on its memory.
function hosts.is_killed(pid)
  local text = file.read("/proc/" .. pid .. "/status") or ""
  local pending = tonumber(text:match "ShdPnd:%s*(%x+)" or "0", 16)
  return pending >> 8 & 1 == 1, tonumber(text:match "Threads:%s*(%d+)" or "0")
end

local count = 0

--- Runs a program of the test's own to its end, and lets tasks go on meanwhile -> exit code, output (both streams)
function hosts.run(command, env, limit)
  count = count + 1
  local name = "program" .. count
  local environment = { PATH = os.getenv "PATH" }
  for key, value in pairs(env or {}) do environment[key] = tostring(value) end
  assert(supervise.declare { name = name, command = command, env = environment, oneshot = true, restart = "never",
    log = { console = false } })
  assert(supervise.want(name, true))
  local ok, err = pcall(hosts.await, table.concat(command, " "):sub(1, 200), function()
    local state = supervise.view(name).state
    return state == "done" or state == "failed"
  end, limit)
  local view, output = supervise.view(name), supervise.tail(name, 1 << 20)
  supervise.remove(name)
  if not ok then error(("%s; it said:\n%s"):format(err, output), 2) end
  return view.last_status or -1, output
end

--- --- the yard

local yard = {}
yard.__index = yard

function hosts.yard()
  sh("ip link add bridge type bridge && ip link set bridge up && ip address add %s254/24 dev bridge", hosts.NETWORK)
  assert(file.make_dirs(FOLDER))
  return setmetatable({ hosts = {}, by_name = {} }, yard)
end

local host = {}
host.__index = host

--- A host: number is the last part of its address. options: { disk = "64m" (a small disk instead of plenty) }
function yard:host(name, number, options)
  local self_ = setmetatable({ name = name, number = number, address = hosts.NETWORK .. number, folder = FOLDER .. "/" .. name, yard = self,
    options = options or {}, cuts = {} }, host)
  assert(file.make_dirs(self_.folder .. "/disk"))
  sh([[ip -batch - <<END
netns add %s
link add v%d type veth peer name eth0 netns %s
link set v%d master bridge up
END
ip -netns %s -batch - <<END
address add %s/24 dev eth0
link set eth0 up
link set lo up
END]], name, number, name, number, name, self_.address)
  if self_.options.disk then sh("mount -t tmpfs -o size=%s disk %s/disk", self_.options.disk, self_.folder) end
  self.hosts[#self.hosts + 1] = self_
  self.by_name[name] = self_
  self:write_names()
  return self_
end

--- Everybody's /etc/hosts. There is no name server: who asks one waits.
function yard:write_names()
  local lines = { "127.0.0.1 localhost" }
  for _, each in ipairs(self.hosts) do lines[#lines + 1] = each.address .. " " .. each.name end
  for _, each in ipairs(self.hosts) do
    local own = { "127.0.0.1 localhost", each.address .. " " .. each.name }
    each:write("hosts", table.concat(each.nameless and own or lines, "\n") .. "\n")
    each:write("resolv.conf", ("nameserver %s253\noptions timeout:5 attempts:2\n"):format(hosts.NETWORK))
  end
end

--- In place, for these files are bind mounts of running hosts.
function host:write(name, text)
  local out <close> = assert(io.open(self.folder .. "/" .. name, "w"))
  out:write(text)
end

--- Which host a process is on, by its ancestors -> host | nil
function yard:host_of(pid, processes)
  local seen = processes[pid]
  while seen do
    for _, each in ipairs(self.hosts) do
      if each.init == seen.pid then return each end
    end
    seen = processes[seen.parent]
  end
end

--- Everything that was made is gone: another yard may follow in the same nest.
function yard:stop()
  for _, each in ipairs(self.hosts) do
    each:thaw()
    if each:is_up() then supervise.want(each.service, false) end
  end
  for _, each in ipairs(self.hosts) do
    if each.service then
      hosts.await("the end of " .. each.name, function() return not each:is_up() end, 30)
      supervise.remove(each.service)
      each.service = nil
    end
    if each.options.disk then sh("umount %s/disk", each.folder) end
    sh("ip link delete v%d && ip netns delete %s", each.number, each.name)
  end
  sh("ip link delete bridge && rm -rf '%s'", FOLDER)
end

--- --- one host

--- Starts its PID 1, or starts it again with the same words. The disk stays as it was.
function host:start(command, env)
  self.command, self.env = command or self.command, env or self.env
  local name = "host-" .. self.name
  if self.service and not self:is_up() then supervise.remove(name) end   -- it ended by itself
  local words = { "ip", "netns", "exec", self.name, "unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child",
    "--mount-proc", "tests/cluster/host", self.name, self.folder }
  table.move(self.command, 1, #self.command, #words + 1, words)
  local environment = { PATH = os.getenv "PATH", LANG = "C.UTF-8", HOME = self.folder, TMPDIR = "/tmp", PYTHONDONTWRITEBYTECODE = "1",
    AWS_EC2_METADATA_DISABLED = "true" }
  for key, value in pairs(self.env or {}) do environment[key] = tostring(value) end
  -- TERM is for the host's PID 1, not for unshare, which would wait in vain: see stop().
  assert(supervise.declare { name = name, command = words, env = environment, restart = "never", stop = { grace = 1 },
    log = { console = false } })
  self.service = name
  os.remove(self.folder .. "/up")
  self.is_dying = nil
  assert(supervise.want(name, true))
  self.init = hosts.await("PID 1 of " .. self.name, function() return self:find_init() end, 30, 0.002)
  hosts.await("the inside of " .. self.name, function() return file.stat(self.folder .. "/up") or not self:is_up() end, 30, 0.002)
  return self
end

--- unshare is the supervisor's child, and PID 1 is unshare's.
function host:find_init()
  local pid = supervise.view(self.service).pid
  if not pid or pid == 0 then
    error(("%s did not start: %s"):format(self.name, supervise.tail(self.service, 2000) or ""), 0)
  end
  local children = file.read(("/proc/%d/task/%d/children"):format(pid, pid))
  return children and tonumber(children:match "^%d+")
end

function host:is_up()
  local view = self.service and supervise.view(self.service)
  return view ~= nil and (view.pid or 0) ~= 0
end

--- Its processes -> { pid ... } (its PID 1 first); kind: only JVMs of that kind
function host:pids(kind)
  local processes, found = hosts.processes(), {}
  for pid, seen in pairs(processes) do
    local wanted = not kind or seen.name == "java" and hosts.kind(pid) == kind
    if seen.state ~= "Z" and wanted and self.yard:host_of(pid, processes) == self then found[#found + 1] = pid end
  end
  table.sort(found, function(a, b) return a == self.init or b ~= self.init and a < b end)
  return found
end

function host.signal(_, signal, pids)
  if pids[1] then os.execute(("kill -s %s %s 2>/dev/null"):format(signal, table.concat(pids, " "))) end
end

--- A signal to its JVMs of a kind -> how many; raises when there is none.
function host:signal_jvm(signal, kind)
  local pids = self:pids(kind)
  if not pids[1] then error(("%s has no %s"):format(self.name, kind), 2) end
  self:signal(signal, pids)
  return #pids
end

--- As if its power were cut: all its processes are gone when this returns.
function host:kill()
  self.is_dying = true
  self:signal("KILL", { self.init })
  hosts.await("the end of " .. self.name, function() return not self:is_up() end, 30, 0.005)
  self.init = nil
  supervise.remove(self.service)
  self.service = nil
end

--- As `docker stop` does it: TERM to its PID 1 -> seconds it took. Does not wait with wait = false.
function host:stop(wait)
  local began = task.now()
  self:signal("TERM", { self.init })
  if wait == false then return end
  hosts.await("the stop of " .. self.name, function() return not self:is_up() end, 60)
  self.init = nil
  supervise.remove(self.service)
  self.service = nil
  return task.now() - began
end

--- The whole tree, PID 1 first: nobody is left who could notice. Returns when all stand still.
function host:freeze()
  self.frozen = {}
  local processes
  repeat
    local moving = false
    processes = hosts.processes()
    for _, pid in ipairs(self:pids()) do
      if processes[pid] and processes[pid].state ~= "T" then
        self:signal("STOP", { pid })
        moving = true
      end
    end
  until not moving
  self.is_frozen = true
end

--- All at once, in one system call each; JVMs first, for that is the harder order.
function host:thaw()
  if not self.is_frozen then return end
  self.is_frozen = nil
  local pids = self:pids()
  table.sort(pids, function(a, b) return a > b end)
  self:signal("CONT", pids)
end

--- --- the network

local function filter(self, format, ...)
  sh("ip netns exec %s iptables -w %s", self.name, format:format(...))
end

--- Nothing gets through to or from that host. way: "in" (what it sends is lost on the way here), "out"; else both.
function host:cut(other, way)
  if way ~= "out" then filter(self, "-I INPUT -s %s -j DROP", other.address) end
  if way ~= "in" then filter(self, "-I OUTPUT -d %s -j DROP", other.address) end
end

--- A share of the packets from and to that host is lost.
function host:lose(other, share)
  filter(self, "-I INPUT -s %s -m statistic --mode random --probability %g -j DROP", other.address, share)
  filter(self, "-I OUTPUT -d %s -m statistic --mode random --probability %g -j DROP", other.address, share)
end

local DELAYER <const> = "tests/support/cluster/delay.py"

--- What goes to that host and what comes from it arrives so much later (the same for all others of one host). Not by netem, which many
--- kernels lack.
function host:delay(other, seconds)
  if not self.delayer then
    self.delayer = "delay-" .. self.name
    assert(supervise.declare { name = self.delayer, command = { "ip", "netns", "exec", self.name, "python3", "-BIS", DELAYER,
      tostring(seconds) }, env = { PATH = os.getenv "PATH", PYENV_ROOT = os.getenv "PYENV_ROOT" }, restart = "never",
      ready = { kind = "line", has = "ready" }, log = { console = false } })
    assert(supervise.want(self.delayer, true))
    hosts.await("who delays packets", function()
      local state = supervise.view(self.delayer).state
      if state == "failed" or state == "backoff" then error(supervise.tail(self.delayer), 0) end
      return state == "up"
    end, 20)
  end
  filter(self, "-I INPUT -s %s -j NFQUEUE --queue-num 0 --queue-bypass", other.address)
  filter(self, "-I OUTPUT -d %s -j NFQUEUE --queue-num 0 --queue-bypass", other.address)
end

--- From and to everybody but the test.
function host:isolate()
  for _, other in ipairs(self.yard.hosts) do
    if other ~= self then self:cut(other) end
  end
end

function host:heal()
  filter(self, "-F")
  if not self.delayer then return end
  local name = self.delayer
  self.delayer = nil
  supervise.want(name, false)
  hosts.await("the end of who delays packets", function() return (supervise.view(name).pid or 0) == 0 end, 20)
  supervise.remove(name)
end

--- Every name but its own stops being known here.
function host:forget_names(nameless)
  self.nameless = nameless ~= false
  self.yard:write_names()
end

--- Runs a program on it, as `docker exec` does -> exit code, output. It may take a while, so others go on meanwhile.
function host:run(command, env, limit)
  local words = { "nsenter", "-t", tostring(self.init), "-n", "-m", "-p", "-u", "-i", "--" }
  table.move(command, 1, #command, #words + 1, words)
  local environment = {}
  for key, value in pairs(self.env or {}) do environment[key] = tostring(value) end
  for key, value in pairs(env or {}) do environment[key] = tostring(value) end
  return hosts.run(words, environment, limit)
end

--- All it has printed.
function host:log() return file.read(self.folder .. "/log", 64 << 20) or "" end

return hosts
