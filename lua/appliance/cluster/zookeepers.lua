--- Where ZooKeeper is: the word `zookeeper` of a profile.
---   facts = { zookeeper = zookeeper.servers() }
---   -> { servers = { "10.0.0.1:2181", ... sorted }, chroot = "/x" or "", from = "setting"|"exhibitor"|"stack"|"cache" }
--- A list in the settings is final. What an Exhibitor or a stack tells is asked again and again; a changed list is a changed fact, and
--- whatever goes wrong with asking never takes a good list away.
local address = require "appliance.cluster.address"
local facts = require "appliance.facts"
local failure = require "appliance.failure"

local zookeepers = {}

--- Pure: how the servers are learned -> { fixed = { servers, chroot } } | { stack =, chroot } | nil, err
function zookeepers.way(env)
  if not env.ZOOKEEPER then
    return nil, failure.new("invalid", "ZOOKEEPER is empty: give its servers, for example ZOOKEEPER=zk-1:2181,zk-2:2181,zk-3:2181")
  end
  local parsed, problem, example = address.parse(env.ZOOKEEPER)
  if not parsed then
    return nil, failure.new("invalid", "ZOOKEEPER=%s %s, for example ZOOKEEPER=%s", env.ZOOKEEPER, problem, example)
  end
  if parsed.stack then return { stack = parsed.stack, chroot = "" } end
  return { fixed = parsed, chroot = parsed.chroot }
end

local function start(emit, env)
  local way, err = zookeepers.way(env)
  if not way then return nil, err end
  if way.fixed then return emit { servers = way.fixed.servers, chroot = way.chroot, from = "setting" } end
  return nil, failure.new("invalid", "ZOOKEEPER=%s is the name of a stack, which can't be looked up: give the servers", way.stack)
end

--- A fact source.
function zookeepers.servers() return facts.source("where ZooKeeper is", start) end

return zookeepers
