--- An ensemble of real ZooKeeper servers on loopback, of the jars of $SPARK_HOME. Each may be killed, frozen, thawed and started again.
--
--   local zookeepers = require "zookeepers"
--   local ensemble <close> = zookeepers.start { servers = 3, tick = 500 }      -- waits until all serve
--   ensemble.addresses                    "127.0.0.1:41234,127.0.0.1:41235,..."; ensemble[1].address, .port, .pid, .log
--   ensemble[1]:kill() :stop() :freeze() :thaw() :start(); ensemble:freeze() :thaw(); ensemble:ready(); ensemble:leader() -> index
--   local gate <close> = zookeepers.gate(ensemble[1].port)   -- a TCP relay that can lose what passes: gate.address
--   gate:pass() :mute() (answers are lost) :deaf() (requests are lost) :cut() (all connections end) :shut() (and no new ones come)
-- They end with their variable, and with the process that started them.
local zookeepers = {}

local function quoted(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function shell(command)
  local pipe = assert(io.popen(command, "r"))
  local out = pipe:read("a")
  pipe:close()
  return out
end

local function home()
  local given = os.getenv "SPARK_HOME"
  return given and given ~= "" and given or error("SPARK_HOME is not set: run ./dev test zookeeper, or set what ./dev spark prints", 3)
end

local function free_ports(count)
  local ports = {}
  for port in shell(([[python3 -IS -c '
import socket
held = [socket.socket() for _ in range(%d)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])']]):format(count)):gmatch "%d+" do ports[#ports + 1] = tonumber(port) end
  assert(#ports == count, "no free ports")
  return ports
end

local LOG = [[
status = error
appenders = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = ${sys:log.file}
appender.file.append = true
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
]]

local JARS = { "zookeeper-*.jar", "slf4j-api-*.jar", "log4j-api-*.jar", "log4j-core-*.jar", "log4j-slf4j2-impl-*.jar", "metrics-core-*.jar",
  "snappy-java-*.jar", "netty-*.jar", "commons-io-*.jar" }

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

-- ---------------------------------------------------------------- one server
local server = {}
server.__index = server

--- Starts it again, after kill or stop; ensemble:ready() waits until it serves.
function server:start()
  if self.pid then return end
  local command = ("echo $$; exec env -u LD_PRELOAD setpriv --pdeathsig=KILL " ..
    "java -Xmx%dm -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto "  ..
    "-Dzookeeper.admin.enableServer=false -Dzookeeper.forceSync=no -Dzookeeper.jmx.log4j.disable=true -Djava.net.preferIPv4Stack=true " ..
    "-Dzookeeper.4lw.commands.whitelist=srvr,ruok,cons,wchs,stat -Dlog4j2.configurationFile=%s -Dlog.file=%s -cp %s " ..
    "org.apache.zookeeper.server.quorum.QuorumPeerMain %s >>%s 2>&1 </dev/null"):format(self.heap,
    quoted(self.directory .. "/log4j2.properties"), quoted(self.log), quoted(self.classpath), quoted(self.directory .. "/zoo.cfg"),
    quoted(self.directory .. "/out"))
  self.pipe = assert(io.popen(command, "r"))                 -- our own child, so that it ends with us, and is reaped by us
  self.pid = math.tointeger(self.pipe:read("l"))
end

local function signal(self, name)
  if self.pid then os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid)) end
end

local function gone(self)
  if not self.pid then return end
  self.pipe:close()                                          -- waits for its end
  self.pid, self.pipe = nil, nil
end

function server:kill()
  signal(self, "KILL")
  gone(self)
end

function server:stop()
  signal(self, "TERM")
  gone(self)
end

function server:freeze() signal(self, "STOP") end
function server:thaw() signal(self, "CONT") end

--- What it answers to a word of four letters, or "" within the seconds given (default 1).
function server:ask(word, seconds)
  return shell(("timeout %g bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d && printf %s >&3 && cat <&3' 2>/dev/null")
    :format(seconds or 1, self.port, word))
end

-- ---------------------------------------------------------------- all of them
local ensemble = {}
ensemble.__index = function(self, name)
  if ensemble[name] then return ensemble[name] end
  if name == "freeze" or name == "thaw" or name == "kill" then
    return function() for _, one in ipairs(self) do one[name](one) end end
  end
end

--- Waits until all that are started serve: they have a leader.
function ensemble:ready()
  local ports = {}
  for _, one in ipairs(self) do if one.pid then ports[#ports + 1] = tostring(one.port) end end
  local out = shell(([[for i in $(seq 1 600); do
    waits=
    for port in %s; do
      timeout 1 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port && printf srvr >&3 && cat <&3" 2>/dev/null | grep -q ^Mode: ||
        { waits=$port; break; }
    done
    [ -z "$waits" ] && echo ready && break
    sleep 0.05
  done]]):format(table.concat(ports, " ")))
  if not out:find "ready" then
    for _, one in ipairs(self) do io.stderr:write(shell("tail -n 20 " .. quoted(one.log) .. " " .. quoted(one.directory .. "/out"))) end
    error("the ZooKeeper servers do not serve", 2)
  end
  return self
end

--- The index of the server that leads (or stands alone), or nil.
function ensemble:leader()
  for index, one in ipairs(self) do
    local mode = one.pid and one:ask("srvr"):match "Mode: (%a+)"
    if mode == "leader" or mode == "standalone" then return index end
  end
end

function ensemble:close()
  for _, one in ipairs(self) do signal(one, "KILL") end
  for _, one in ipairs(self) do gone(one) end
  if self.directory then os.execute("rm -rf " .. quoted(self.directory)) end
  self.directory = nil
end
ensemble.__close = function(self) ensemble.close(self) end

--- Fields: servers (1), tick (ms, 500: sessions of 1 to 10 s), heap (MiB, 64), config (more lines of zoo.cfg), wait (true).
function zookeepers.start(options)
  options = options or {}
  local count, tick = options.servers or 1, options.tick or 500
  local jars = home() .. "/jars/"
  local classpath = shell("cd " .. quoted(jars) .. " && ls " .. table.concat(JARS, " ") .. " 2>/dev/null"):gsub("(%S+)%s+", jars .. "%1:")
  local directory = shell("mktemp -d " .. quoted((os.getenv "TMPDIR" or "/tmp") .. "/zookeepers.XXXXXX")):match "%S+"
  local self = setmetatable({ directory = directory }, ensemble)
  local ports = free_ports(3 * count)
  local peers, addresses = {}, {}
  for index = 1, count do
    peers[index] = ("server.%d=127.0.0.1:%d:%d"):format(index, ports[3 * index - 1], ports[3 * index])
    addresses[index] = "127.0.0.1:" .. ports[3 * index - 2]
  end
  for index = 1, count do
    local own = directory .. "/" .. index
    os.execute("mkdir -p " .. quoted(own .. "/data"))
    write(own .. "/log4j2.properties", LOG)
    write(own .. "/data/myid", tostring(index))
    write(own .. "/zoo.cfg", table.concat({
      "tickTime=" .. tick, "initLimit=20", "syncLimit=5", "dataDir=" .. own .. "/data", "clientPort=" .. ports[3 * index - 2],
      "clientPortAddress=127.0.0.1", "admin.enableServer=false", "maxClientCnxns=0", "standaloneEnabled=true",
      count > 1 and table.concat(peers, "\n") or "", options.config or "", "" }, "\n"))
    self[index] = setmetatable({
      directory = own, port = ports[3 * index - 2], address = addresses[index], log = own .. "/log", classpath = classpath,
      heap = options.heap or 64,
    }, server)
    self[index]:start()
  end
  self.addresses = table.concat(addresses, ",")
  if options.wait ~= false then self:ready() end
  return self
end

-- ---------------------------------------------------------------- a gate
local gate = {}
gate.__index = function(self, name)
  if gate[name] then return gate[name] end
  if ({ pass = true, mute = true, deaf = true, cut = true, shut = true })[name] then
    return function()
      self.orders:write(name, "\n")
      self.orders:flush()
      assert(self.pipe:read("l") == name, "the gate does not answer")
    end
  end
end

function gate:close()
  if not self.pipe then return end
  self.orders:write "end\n"                                  -- and not only its close: programs started since may hold it open
  self.orders:close()
  self.pipe:close()
  self.pipe = nil
end
gate.__close = function(self) gate.close(self) end

--- A relay in front of a port of loopback; see above.
function zookeepers.gate(port)
  local fifo = shell("mktemp -u " .. quoted((os.getenv "TMPDIR" or "/tmp") .. "/gate.XXXXXX")):match "%S+"
  assert(os.execute("mkfifo -m 600 " .. quoted(fifo)))
  local pipe = assert(io.popen(("exec env -u LD_PRELOAD setpriv --pdeathsig=KILL python3 -IS tests/support/gate.py %d <%s")
    :format(port, quoted(fifo)), "r"))
  local orders = assert(io.open(fifo, "w"))
  local own = pipe:read("l")
  os.remove(fifo)                                            -- both have it open
  return setmetatable({ pipe = pipe, orders = orders, port = tonumber(own), address = "127.0.0.1:" .. own }, gate)
end

--- So long, in seconds, tests wait for what has to come.
zookeepers.PATIENCE = 30

--- f's results, within that time; its nil, err is raised.
function zookeepers.within(f, ...)
  local results = table.pack(require("appliance.task").within(zookeepers.PATIENCE, f, ...))
  if results[1] == nil and results.n > 1 then error(results[2], 2) end
  return table.unpack(results, 1, results.n)
end

--- The client's view once it is in that state.
function zookeepers.state_of(client, wanted)
  return zookeepers.within(function()
    for view in client:changes() do if view.state == wanted then return view end end
  end)
end

return zookeepers
