--- The relays in front of a cluster's moving parts, on this node: ZooKeeper on loopback, and SQL on THRIFT_PORT.
--- They are opened once for the life of the program; only where they lead to changes.
local address = require "appliance.cluster.address"
local task = require "appliance.core.task"
local types = require "appliance.settings.types"

local front = {}

--- A look-up of names is repeated this often, seconds: what they stand for may move, and a connection that stands is never cut.
local LOOK_AGAIN <const>, LOOK_SOON <const> = 60, 2

local function open(options) return require("appliance.native.relay").open(options) end

-- ---------------------------------------------------------------- ZooKeeper

--- Addresses of servers that may be named -> list, whether all names could be looked up. A name that can't is left out.
local function looked_up(servers)
  local resolve = require("appliance.core.host").resolve
  local list, is_whole = {}, true
  for _, server in ipairs(servers) do
    local host, port = address.split(server)
    local found = resolve(host)
    is_whole = is_whole and found ~= nil
    for _, each in ipairs(found or {}) do list[#list + 1] = types.hosts_text { { host = each, port = port } } end
  end
  return list, is_whole
end

local function has_names(servers)
  for _, server in ipairs(servers) do
    if not types.is_numeric((address.split(server))) then return true end
  end
  return false
end

local zookeeper = {}
zookeeper.__index = zookeeper

--- front.zookeeper() -> { port, lead = function(servers) } (closable) | nil, err
--- A leader that loses its connection to ZooKeeper ends (LeaderLatch), so a changed list is for new connections only.
function front.zookeeper()
  -- The session's own hand-shake gives up after seconds: to be held longer is worth nothing.
  local relay, err = open { bind = "127.0.0.1", port = 0, name = "ZooKeeper relay", keep = true, hold = 5, connect = 2 }
  if not relay then return nil, err end
  return setmetatable({ relay = relay, port = relay:port() }, zookeeper)
end

--- Where new connections go from now on. Names are looked up here, again and again.
function zookeeper:lead(servers)
  if self.looking then self.looking:cancel() end
  if not has_names(servers) then
    self.looking = nil
    return self.relay:target(servers)
  end
  self.looking = task.start("addresses of ZooKeeper", function()
    local known = {}
    while true do
      local list, is_whole = looked_up(servers)
      if is_whole or list[1] and not known[1] then
        known = list
        self.relay:target(list)
      end
      task.sleep(is_whole and LOOK_AGAIN or LOOK_SOON)
    end
  end)
end

function zookeeper:close()
  if self.looking then self.looking:cancel() end
  self.relay:close()
end
zookeeper.__close = zookeeper.close

-- ---------------------------------------------------------------- SQL

local sql = {}
sql.__index = sql

--- How long a client that connects while the server moves is held: a move takes its start, and JDBC drivers wait without a limit.
local HOLD <const> = 120

--- front.sql(bind, port) -> { lead = function(address or nil), counts = function() } (closable) | nil, err
function front.sql(bind, port)
  local relay, err = open { bind = bind, port = port, name = "SQL relay", hold = HOLD, keep = false, connect = 5 }
  if not relay then return nil, err end
  return setmetatable({ relay = relay }, sql)
end

--- The server is there now; nil: nowhere. Sessions with another one are reset, for nobody answers them any more. A node may go by a name
--- (MASTER_HOST): that is looked up until it is found.
function sql:lead(to)
  if self.to == to then return end
  self.to = to
  if self.looking then self.looking:cancel() end
  self.looking = nil
  if not to or not has_names { to } then return self.relay:target { to } end
  self.looking = task.start("address of SQL", function()
    while true do
      local list = looked_up { to }
      if list[1] then return self.relay:target(list) end
      task.sleep(LOOK_SOON)
    end
  end)
end

function sql:counts() return self.relay:counts() end

function sql:close()
  if self.looking then self.looking:cancel() end
  self.relay:close()
end
sql.__close = sql.close

return front
