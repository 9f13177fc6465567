--- What a host may lack, or have wrong: room on its disk, file descriptors of its PID 1, a reader of its log, a port, the time of day.
---   shortages.prepare(host)                                   once, before it is started
---   shortages.fill(host); shortages.limit_files(host, 3); shortages.stop_reading(host); shortages.occupy(host, 7077)
---   shortages.shift_clock(host, 3600); shortages.relieve(host)       all of it is over
local file = require "appliance.core.file"
local hosts = require "cluster.hosts"
local supervise = require "appliance.core.supervise"

local shortages = {}

--- How large the disk of a host that may run full is (yard:host's option `disk`).
shortages.DISK = "1g"

--- A program of the test's own, which is there once it has printed "ready".
local function start(name, words)
  assert(supervise.declare { name = name, command = words, env = { PATH = os.getenv "PATH", PYENV_ROOT = os.getenv "PYENV_ROOT" },
    restart = "never", ready = { kind = "line", has = "ready" }, log = { console = false } })
  assert(supervise.want(name, true))
  hosts.await(name, function()
    local state = supervise.view(name).state
    if state == "failed" or state == "backoff" then error(supervise.tail(name), 0) end
    return state == "up"
  end, 40)
end

local function stop(name)
  supervise.want(name, false)
  hosts.await("the end of " .. name, function() return (supervise.view(name).pid or 0) == 0 end, 20)
  supervise.remove(name)
end

-- ---------------------------------------------------------------- what hosts are given before

--- Goes on for ever, whoever writes comes and goes: it has both ends. A small pipe is full soon.
local READER <const> = [[
import fcntl, os, sys
pipe = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
print("ready", flush=True)
while True: os.write(log, os.read(pipe, 65536))]]

local library

local function clock_library()
  if not library then
    library = os.getenv "TMPDIR" .. "/clock.so"
    hosts.sh("cc -O2 -shared -fPIC -o %s tests/support/cluster/clock.c -ldl", library)
  end
  return library
end

--- Its log goes through a pipe, as a container's does, and its time of day is ours to set.
function shortages.prepare(host)
  hosts.sh("mkfifo '%s/pipe'", host.folder)
  host.reader = "log-of-" .. host.name
  start(host.reader, { "python3", "-BISc", READER, host.folder .. "/pipe", host.folder .. "/log" })
  host:write("clock", ("<i8"):pack(0))
  host.env.LD_PRELOAD, host.env.WALL_CLOCK = clock_library(), host.folder .. "/clock"
end

function shortages.close(host)
  shortages.relieve(host)
  if host.reader then stop(host.reader) end
  host.reader = nil
end

-- ---------------------------------------------------------------- shortages

--- Not a byte more gets on its disk.
function shortages.fill(host)
  host.is_full = true
  hosts.sh("mount -o remount,size=$(df --output=used -B1 '%s/disk' | tail -n 1) '%s/disk'", host.folder, host.folder)
end

--- Nobody takes what its PID 1 prints.
function shortages.stop_reading(host)
  host.is_unread = true
  host:signal("STOP", { supervise.view(host.reader).pid })
end

--- Its PID 1 gets no file descriptor of that number or above; what it has it keeps.
function shortages.limit_files(host, most)
  local limits = file.read(("/proc/%d/limits"):format(host.init))
  host.files = { pid = host.init, soft = limits:match "Max open files%s+(%d+)" }
  hosts.sh("prlimit --pid %d --nofile=%d:", host.init, most)
end

--- Another program has the port, or gets it as soon as it is free: a web server that knows nothing of Spark.
local SQUATTER <const> = [[
import http.server, sys, time
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(b"another program")
    def log_message(self, *words): pass
while True:
    try:
        server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Page)
        break
    except OSError: time.sleep(0.005)
print("ready", flush=True)
server.serve_forever()]]

function shortages.occupy(host, port)
  host.squatters = host.squatters or {}
  local name = ("port-%d-of-%s"):format(port, host.name)
  host.squatters[#host.squatters + 1] = name
  start(name, { "ip", "netns", "exec", host.name, "python3", "-BISc", SQUATTER, tostring(port) })
end

--- Off by so many seconds, from now on.
function shortages.shift_clock(host, seconds)
  local out <close> = assert(io.open(host.folder .. "/clock", "r+"))  -- in place: it is mapped
  out:write(("<i8"):pack(seconds))
end

--- All is as it was. For hosts that were not prepared nothing is to be done.
function shortages.relieve(host)
  for _, name in ipairs(host.squatters or {}) do stop(name) end
  host.squatters = nil
  if host.is_full then hosts.sh("mount -o remount,size=%s '%s/disk'", shortages.DISK, host.folder) end
  if host.is_unread then host:signal("CONT", { supervise.view(host.reader).pid }) end
  if host.files and host.files.pid == host.init then hosts.sh("prlimit --pid %d --nofile=%s:", host.init, host.files.soft) end
  host.is_full, host.is_unread, host.files = nil, nil, nil
  if host.reader then shortages.shift_clock(host, 0) end
end

return shortages
