--- The SQL server in ZooKeeper as HiveServer2 registers itself, so that
---   jdbc:hive2://zk-1:2181,zk-2:2181/;serviceDiscoveryMode=zooKeeper;zooKeeperNamespace=hiveserver2
--- finds it: an ephemeral sequential node of our session below the namespace, there only while this node's server is ready.
--- Hive's client takes a child by chance, so there must never be a second one: an older one of ours goes before the new one comes.
local task = require "appliance.task"

local discovery = {}
discovery.__index = discovery

--- Version that Spark's own Hive has; clients only print it.
local HIVE <const> = "2.3.10"
local AGAIN <const> = 1                                        -- seconds until a failed step is taken again

--- Pure: name and data of the node for a server. qop etc. as HiveServer2 2.3 writes them. login: hive.server2.authentication.
function discovery.entry(host, port, login)
  return ("serverUri=%s:%d;version=%s;sequence="):format(host, port, HIVE),
    ("hive.server2.thrift.bind.host=%s;hive.server2.transport.mode=binary;hive.server2.thrift.port=%d;"
      .. "hive.server2.thrift.sasl.qop=auth;hive.server2.authentication=%s"):format(host, port, login or "NONE")
end

--- discovery.new(client, namespace, host, port, log) -> object; :ready(bool) says what should be; :run() is its task.
function discovery.new(client, namespace, host, port, log)
  return setmetatable({ client = client, path = "/" .. namespace, host = host, port = port, log = log, wake = task.queue(1) }, discovery)
end

--- Should it be found? Never waits.
function discovery:ready(is_ready)
  if self.wanted == is_ready then return end
  self.wanted = is_ready
  self.wake:put(true)
end

local function is_mine(self, name)
  return name:sub(1, #self.prefix) == self.prefix
end

--- The namespace, for all to read: whoever connects by it knows no password of ours. -> true | nil
local function make_namespace(self)
  if not self.client:ensure("/", { open = "/" }) then return nil end
  local at = ""
  for part in self.path:gmatch "[^/]+" do
    at = at .. "/" .. part
    local made, err = self.client:create(at, "", { open = true })
    if not made and err.code ~= "NODEEXISTS" then return nil end
  end
  return true
end

--- What an earlier session of this node left, or a lost answer made. -> true | nil
local function clear(self)
  local names, err = self.client:children(self.path)
  if not names then return err.code == "NONODE" or nil end
  for _, name in ipairs(names) do
    if is_mine(self, name) and not self.client:delete(self.path .. "/" .. name) then return nil end
  end
  return true
end

--- One step towards what should be. -> true when it is so
local function step(self)
  local state = self.client:state()
  if state.state ~= "connected" then return false end
  if self.wanted then
    if self.made and self.session == state.id then return true end
    local name, data = discovery.entry(self.host, self.port)
    self.prefix = name
    if not make_namespace(self) or not clear(self) then return false end
    local path, err = self.client:create(self.path .. "/" .. name, data, { ephemeral = true, sequential = true, open = true })
    if not path then
      if not self.complained then self.log.warn(("HiveServer2 discovery: %s; tried again"):format(tostring(err))) end
      self.complained = true
      return false
    end
    self.made, self.session, self.complained = path, state.id, nil
    return true
  end
  if not self.made then return true end
  if self.session == state.id then
    local gone, err = self.client:delete(self.made)
    if not gone and err.code ~= "NONODE" then return false end
  end
  self.made = nil
  return true
end

--- For ever.
function discovery:run()
  local watching <close> = task.start("sessions for discovery", function() -- luacheck: ignore
    for _ in self.client:changes() do self.wake:put(true) end
  end)
  while true do
    if step(self) then
      self.wake:get()
    else
      task.within(AGAIN, self.wake.get, self.wake)
    end
  end
end

return discovery
