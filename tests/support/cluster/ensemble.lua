--- Three real ZooKeeper servers, each PID 1 of a host of its own, with ZooKeeper's default time-outs (tickTime 2000).
---   local zookeepers = ensemble.start(yard); zookeepers.connect, zookeepers.names; zookeepers:leader():kill(); zookeepers:bounce(host)
local hosts = require "cluster.hosts"

local ensemble = {}
local methods = {}
methods.__index = methods

local FIRST <const> = 21                                      -- the last part of the first one's address

local function command(host, id, servers)
  host:write("zoo.cfg", table.concat({
    "tickTime=2000", "initLimit=10", "syncLimit=5", "clientPort=2181", "dataDir=" .. host.folder .. "/disk",
    "admin.enableServer=false", "4lw.commands.whitelist=*", "standaloneEnabled=false", servers,
  }, "\n") .. "\n")
  host:write("disk/myid", id .. "\n")
  host:write("log4j2.properties", [[
rootLogger.level = info
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n
]])
  return { "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m",
    "-Dlog4j2.configurationFile=" .. host.folder .. "/log4j2.properties",
    "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=", -- super:test, to wipe what others own
    "-cp", os.getenv "SPARK_HOME" .. "/jars/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", host.folder .. "/zoo.cfg" }
end

--- options: { count = 3, start = true }
function ensemble.start(yard, options)
  options = options or {}
  local self = setmetatable({ servers = {} }, methods)
  local lines, addresses, names = {}, {}, {}
  for id = 1, options.count or 3 do
    local host = yard:host("zk" .. id, FIRST + id - 1)
    self.servers[id] = host
    lines[id] = ("server.%d=%s:2888:3888"):format(id, host.address)
    addresses[id], names[id] = host.address .. ":2181", host.name .. ":2181"
  end
  self.connect, self.names = table.concat(addresses, ","), table.concat(names, ",")
  for id, host in ipairs(self.servers) do host.command = command(host, id, table.concat(lines, "\n")) end
  if options.start ~= false then
    self:start_all()
    self:wait_quorum()
  end
  return self
end

function methods:start_all()
  for _, host in ipairs(self.servers) do
    if not host:is_up() then host:start() end
  end
end

--- What a four-letter word answers -> text | nil. Blocks for at most a second.
function methods.ask(_, host, word)
  local pipe = assert(io.popen(("timeout 1 bash -c 'exec 3<>/dev/tcp/%s/2181 && echo %s >&3 && cat <&3' 2>/dev/null")
    :format(host.address, word)))
  local text = pipe:read "a"
  pipe:close()
  return text ~= "" and text or nil
end

--- -> the host that leads | nil
function methods:leader()
  for _, host in ipairs(self.servers) do
    if host:is_up() and not host.is_frozen and (self:ask(host, "srvr") or ""):find "Mode: leader" then return host end
  end
end

--- -> one that follows, by its place among those that do
function methods:follower(place)
  for _, host in ipairs(self.servers) do
    if host:is_up() and (self:ask(host, "srvr") or ""):find "Mode: follower" then
      place = (place or 1) - 1
      if place == 0 then return host end
    end
  end
end

--- Waits until all that are up have a mode.
function methods:wait_quorum(limit)
  hosts.await("a quorum of ZooKeeper", function()
    for _, host in ipairs(self.servers) do
      if host:is_up() and not (self:ask(host, "srvr") or ""):find "Mode: %a+er" then return false end
    end
    return true
  end, limit, 0.1)
end

--- The server that a process on a host is connected to: the kernel of that host knows -> host | nil
function methods:server_of(host)
  local text = select(2, host:run({ "cat", "/proc/net/tcp", "/proc/net/tcp6" }, nil, 20))
  for _, server in ipairs(self.servers) do
    local a, b, c, d = server.address:match "(%d+)%.(%d+)%.(%d+)%.(%d+)"
    local remote = ("%02X%02X%02X%02X:%04X 01"):format(d, c, b, a, 2181)
    if text:find(remote, 1, true) then return server end
  end
end

--- Killed and started again at once.
function methods.bounce(_, host)
  host:kill()
  host:start()
end

--- ZooKeeper's own command line, as the super user: ensemble:command("deleteall /spark"). Takes a second or two -> code, output
function methods:command(words)
  local host = self.servers[1]
  host:write("commands", "addauth digest super:test\n" .. words .. "\nquit\n")
  return host:run { "sh", "-c", ("exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=ERROR -cp '%s/jars/*' "
    .. "org.apache.zookeeper.ZooKeeperMain -server %s <%s/commands"):format(os.getenv "SPARK_HOME", self.connect, host.folder) }
end

return ensemble
