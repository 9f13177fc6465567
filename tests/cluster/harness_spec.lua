-- The harness itself: its hosts are hosts, its faults are faults, its sampler sees what must not be, and nothing is left of it.
local file = require "appliance.core.file"
local hosts = require "cluster.hosts"
local sampler = require "cluster.sampler"
local task = require "appliance.task"

-- Something that looks like a JVM of Spark: its name is "java", and it was started with that class.
local FAKE <const> = os.getenv "TMPDIR" .. "/java"
local THRIFT <const> = FAKE .. " org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"
local MASTER <const> = FAKE .. " org.apache.spark.deploy.master.Master"

-- And a master's page, which says what the file `status` of the host's folder holds.
local PAGE <const> = [[
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(b'{ "status" : "%s" }' % open(sys.argv[1], "rb").read())
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", 8080), Page).serve_forever()]]

local function reaches(from, to, seconds)
  -- Nobody listens there: refused means that it was reached.
  return from:run { "timeout", tostring(seconds or 1), "bash", "-c", ("exec 3<>/dev/tcp/%s/9"):format(to.address) } == 1
end

-- Looks like an SQL server, and when FILE is there its first thread ends, and another goes on: the process is listed as a zombie then.
local HEADLESS <const> = [[
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
libc.prctl(15, b"java", 0, 0, 0)
threading.Thread(target=time.sleep, args=(1000,)).start()
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)]]

-- Holds a process at the door: killed, it executes nothing any more, but is not gone until this ends.
local TRACER <const> = [[
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, TRACEEXIT = 0x4206, 0x40
if libc.ptrace(SEIZE, int(sys.argv[1]), None, ctypes.c_void_p(TRACEEXIT)) != 0: sys.exit("ptrace: %d" % ctypes.get_errno())
open(sys.argv[2], "w").close()
signal.pause()]]

describe("the harness", function()
  local yard, a, b

  setup(function()
    local out <close> = assert(io.open(FAKE, "w"))
    out:write "#!/bin/sh\nwhile :; do sleep 1000; done\n"
    out:close()
    hosts.sh("chmod 755 %s", FAKE)
    yard = hosts.yard()
    a, b = yard:host("a", 11), yard:host("b", 12, { disk = "1m" })
  end)
  teardown(function() yard:stop() end)
  before_each(function()
    for _, host in ipairs(yard.hosts) do
      if not host:is_up() then host:start({ "tini", "--", "sleep", "1000" }) end
    end
  end)

  it("gives each host a name, an address, a PID 1 and a network of its own", function()
    local code, output = a:run { "sh", "-c", "hostname; cat /proc/1/comm; ls /sys/class/net; grep b /etc/hosts; ls /tmp" }
    assert.equal(0, code, output)
    assert.same("a\ntini\neth0\nlo\n10.77.0.12 b\n", output)
    assert.is_true(reaches(a, b))
  end)

  it("cuts what is between two hosts, in one direction or both, and mends it", function()
    a:cut(b)
    assert.is_false(reaches(a, b))
    assert.is_false(reaches(b, a))
    a:heal()
    assert.is_true(reaches(a, b))
    a:cut(b, "in")
    assert.is_false(reaches(b, a))
    a:heal()
    assert.is_true(reaches(b, a))
  end)

  it("delays what goes between two hosts, in both directions", function()
    local function takes(from, to)
      local began = task.now()
      assert.is_true(reaches(from, to, 20))
      return task.now() - began
    end
    a:delay(b, 1)
    assert.is_true(takes(a, b) >= 2)                           -- there and back
    assert.is_true(takes(b, a) >= 2)
    a:heal()
    assert.is_true(takes(b, a) < 2)
  end)

  it("freezes all of a host and thaws it", function()
    a:freeze()
    local processes = hosts.processes()
    for _, pid in ipairs(a:pids()) do assert.equal("T", processes[pid].state) end
    a:thaw()
    assert.equal(0, (a:run { "true" }))
  end)

  it("cuts a host's power, and nothing is left of it but its disk", function()
    a:run { "sh", "-c", "setsid sleep 1000 & echo kept >" .. a.folder .. "/disk/file" }
    hosts.await("a stray process", function() return #a:pids() == 3 end, 20)
    local pids = a:pids()
    a:kill()
    for _, pid in ipairs(pids) do assert.is_nil(file.stat("/proc/" .. pid)) end
    assert.equal("kept\n", file.read(a.folder .. "/disk/file"))
  end)

  it("has small disks, which are full one day", function()
    local code = b:run { "sh", "-c", "dd if=/dev/zero of=" .. b.folder .. "/disk/big bs=1k count=2048" }
    assert.equal(1, code)
    os.remove(b.folder .. "/disk/big")
  end)

  it("sees two SQL servers, but not one that is stopped", function()
    local watch <close> = sampler.start(yard, {})
    for _, host in ipairs { a, b } do
      host:kill()
      host:start({ "tini", "--", "sh", "-c", THRIFT .. " & exec " .. MASTER })
    end
    hosts.await("both", function() return #watch:running "thriftserver" == 2 end, 20)
    hosts.await("a verdict", function() return watch.bad.thrift end, 20)
    assert.matches("SQL servers on a and b", select(2, watch:check()), 1, true)
    a:signal_jvm("STOP", "thriftserver")
    task.sleep(0.2)
    watch:begin "one of them stopped"
    local samples = watch.samples
    hosts.await("more samples", function() return watch.samples > samples + 3 end, 20)
    assert.is_true(watch:check())
    a:signal_jvm("CONT", "thriftserver")                       -- and again when it goes on
    hosts.await("another verdict", function() return watch.bad.thrift end, 20)
    a:kill()
    b:kill()
  end)

  it("takes an SQL server that was killed for none that runs, but misses it until it is gone", function()
    local watch <close> = sampler.start(yard, {})
    for _, host in ipairs { a, b } do
      host:kill()
      host:start({ "tini", "--", "sh", "-c", THRIFT .. " & exec " .. MASTER })
    end
    local home = watch:wait_jvm("thriftserver", 0, 20).host
    hosts.await("both", function() return #watch:running "thriftserver" == 2 end, 20)
    local pid, held = home:pids("thriftserver")[1], home.folder .. "/held"
    os.remove(held)
    local tracer <const> = task.start("tracer", hosts.run, { "python3", "-BISc", TRACER, tostring(pid), held },
      { PYENV_ROOT = os.getenv "PYENV_ROOT" })
    hosts.await("the tracer", function() return file.stat(held) end, 20)
    watch:begin "traced"
    hosts.await("a verdict", function() return watch.bad.thrift end, 20)       -- a traced one is alive
    home:signal("KILL", { pid })
    hosts.await("its end", function() return (hosts.is_killed(pid)) end, 20)
    watch:begin "one of them killed"
    local samples = watch.samples
    hosts.await("more samples", function() return watch.samples > samples + 3 end, 20)
    assert.is_true(watch:check())
    assert.equal(2, #watch:running "thriftserver")
    for each in pairs(hosts.processes()) do
      local line = file.read("/proc/" .. each .. "/cmdline") or ""
      if line:find("SEIZE, TRACEEXIT", 1, true) then hosts.sh("kill -KILL %d", each) end
    end
    hosts.await("it to be gone", function() return #watch:running "thriftserver" == 1 end, 20)
    tracer:join()
    a:kill()
    b:kill()
  end)

  it("sees one that goes on after its first thread has ended, and zombies are the others", function()
    local watch <close> = sampler.start(yard, {})
    a:kill()
    a:start({ "tini", "--", "sh", "-c", THRIFT .. " & exec " .. MASTER })
    local go = b.folder .. "/go"
    os.remove(go)
    b:kill()
    b:start({ "tini", "--", "python3", "-BISc", HEADLESS, go, "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2" },
      { PYENV_ROOT = os.getenv "PYENV_ROOT" })
    hosts.await("both", function() return #watch:running "thriftserver" == 2 end, 20)
    local pid = b:pids("thriftserver")[1]
    assert(io.open(go, "w")):close()
    hosts.await("the end of its first thread", function() return hosts.processes()[pid].state == "Z" end, 20)
    watch:begin "headless"
    local samples = watch.samples
    hosts.await("more samples", function() return watch.samples > samples + 12 end, 20)      -- longer than a zombie may stand
    assert.matches("SQL servers on a and b", select(2, watch:check { colocated = true }), 1, true)
    assert.is_nil(watch.bad.zombies)
    a:kill()
    b:kill()
  end)

  it("sees two masters that say ALIVE, and for how long", function()
    a:write("status", "ALIVE")
    b:write("status", "STANDBY")
    for _, host in ipairs { a, b } do
      host:kill()
      host:start({ "python3", "-BISc", PAGE, host.folder .. "/status" }, { PYENV_ROOT = os.getenv "PYENV_ROOT" })
    end
    local nodes = { { name = "a", address = a.address, host = a }, { name = "b", address = b.address, host = b } }
    local watch <close> = sampler.start(yard, nodes)
    assert.equal("a", watch:wait_leader().name)
    hosts.await("the other page", function() return watch.status.b end, 20)
    assert.is_true(watch:check())
    b:write("status", "ALIVE")
    hosts.await("a verdict", function() return watch.bad.leaders end, 20)
    task.sleep(0.5)
    a:write("status", "RECOVERING")
    hosts.await("the end of it", function() return watch.status.a == "RECOVERING" end, 20)
    local ok, why = watch:check()
    assert.is_nil(ok)
    assert.matches("both ALIVE", why, 1, true)
    assert.is_true(watch.both > 0.4)
    assert.is_true(watch:check { leaders = 20 })
    a:kill()
    b:kill()
  end)

  it("sees zombies, and starts that come too often", function()
    local watch <close> = sampler.start(yard, {})
    a:kill()
    a:start({ "sh", "-c", "true & exec sleep 1000" })         -- its PID 1 waits for nobody
    b:kill()
    b:start({ "sh", "-c", ("while :; do timeout 0.3 %s; done"):format(MASTER) })
    hosts.await("both verdicts", function() return watch.bad.zombies and watch.bad.restarts end, 30)
    assert.matches("on a", watch.bad.zombies[1].text, 1, true)
    assert.matches("b/master", watch.bad.restarts[1].text, 1, true)
    a:kill()
    b:kill()
  end)

  it("leaves nothing behind when it is killed", function()
    local marker = "864" .. math.random(100, 999)
    local inner = ("ip netns add x; ip netns exec x unshare --pid --fork --kill-child sleep %s & sleep %s; true"):format(marker, marker)
    local pipe = assert(io.popen("tests/cluster/nest sh -c '" .. inner .. "' & echo $!"))
    local pid = pipe:read "n"
    local function left()
      local found = 0
      for each in pairs(hosts.processes()) do
        local line = file.read("/proc/" .. each .. "/cmdline")
        if line and line:find("sleep\0" .. marker, 1, true) then found = found + 1 end
      end
      return found
    end
    hosts.await("the inner world", function() return left() >= 2 end, 20)
    os.execute("kill -KILL " .. pid)
    hosts.await("its end", function() return left() == 0 end, 20)
    pipe:close()
    assert.is_nil(file.stat "/run/netns/x")
  end)
end)
