--- Where ZooKeeper is: the word `zookeeper` of a profile.
---   facts = { zookeeper = zookeeper.servers() }
---   -> { servers = { "10.0.0.1:2181", ... sorted }, chroot = "/x" or "", from = "setting"|"exhibitor"|"stack"|"cache" }
--- A list in the settings is final. What an Exhibitor or a stack tells is asked again and again; a changed list is a changed fact, and
--- whatever goes wrong with asking never takes a good list away.
local address = require "appliance.cluster.address"
local facts = require "appliance.facts"
local failure = require "appliance.failure"
local types = require "appliance.settings.types"

local zookeepers = {}

local PORT <const> = 2181
local STACK_EVERY <const> = 60                                 -- seconds between two looks at a stack

--- One host by name may be the older appliance's load balancer, behind which Exhibitor tells the servers.
local function may_be_exhibitor(servers)
  return #servers == 1 and not types.is_numeric((address.split(servers[1])))
end

--- Pure: how the servers are learned -> { chroot =, one of
---   fixed = servers                                        final
---   stack = name                                           the instances of a stack
---   exhibitors = hosts, fallback = servers or nil, quiet = bool    Exhibitor; quiet: perhaps there is none }
function zookeepers.way(env)
  local parsed, problem, example
  if env.ZOOKEEPER then
    parsed, problem, example = address.parse(env.ZOOKEEPER)
    if not parsed then
      return nil, failure.new("invalid", "ZOOKEEPER=%s %s, for example ZOOKEEPER=%s", env.ZOOKEEPER, problem, example)
    end
  end
  local hosts = env.EXHIBITOR_HOSTS and #env.EXHIBITOR_HOSTS > 0 and env.EXHIBITOR_HOSTS
  if not parsed and not hosts then
    return nil, failure.new("invalid", "ZOOKEEPER is empty: give its servers, for example ZOOKEEPER=zk-1:2181,zk-2:2181,zk-3:2181")
  elseif hosts then
    return { exhibitors = hosts, fallback = parsed and parsed.servers, chroot = parsed and parsed.chroot or "" }
  elseif parsed.stack then
    return { stack = parsed.stack, chroot = "" }
  elseif may_be_exhibitor(parsed.servers) then
    return { exhibitors = { (address.split(parsed.servers[1])) }, fallback = parsed.servers, quiet = true, chroot = parsed.chroot }
  end
  return { fixed = parsed.servers, chroot = parsed.chroot }
end

local function asker(way, env)
  if way.stack then
    return function()
      local addresses, err = require("appliance.cluster.stacks").addresses(way.stack)
      if not addresses then
        return nil, failure.new(err.kind, "%s (where %s is a host and no stack: ZOOKEEPER=%s:%d)", tostring(err), way.stack, way.stack,
          PORT)
      end
      for i, ip in ipairs(addresses) do addresses[i] = types.hosts_text { { host = ip, port = PORT } } end
      return address.sorted(addresses)
    end
  end
  local cluster = require("appliance.cluster.exhibitor").new { hosts = way.exhibitors, port = env.EXHIBITOR_PORT, user = env.EXHIBITOR_USER,
    password = env.EXHIBITOR_PASSWORD }
  return function() return cluster:ask() end, function(servers) cluster:knows(servers) end
end

local function start(emit, env)
  local way, err = zookeepers.way(env)
  if not way then return nil, err end
  if way.fixed then return emit { servers = way.fixed, chroot = way.chroot, from = "setting" } end
  local origin = { asked = way.stack and "stack" or "exhibitor", cache = "cache", setting = "setting" }
  local ask, knows = asker(way, env)
  require("appliance.cluster.learned").follow {
    what = "ZooKeeper's servers", ask = ask, knows = knows, every = way.stack and STACK_EVERY or env.EXHIBITOR_POLL,
    cache = env.STATE_DIR and env.STATE_DIR .. "/zookeepers.json", key = way.stack or table.concat(way.exhibitors, ","),
    fallback = way.fallback, quiet = way.quiet,
    emit = function(servers, from) emit { servers = servers, chroot = way.chroot, from = origin[from] } end,
  }
end

--- A fact source.
function zookeepers.servers() return facts.source("where ZooKeeper is", start) end

return zookeepers
