--- The fact `cluster.membership()`: who this node's masters are, and what waits. Where a node runs it joins the cluster; `plan` and
--- `check` only ask the node that runs here, or look.
--- Joining is for the life of the program: a SIGHUP follows anew what is there (the old followers go when the new ones are in place), so
--- neither session nor leases know of it.
local facts = require "appliance.facts"
local failure = require "appliance.failure"

local membership = { here = nil, followers = 0 }

--- Settings that are read once: what they say is in other nodes' memory, or a port that is open.
local FIXED <const> = {
  "CLUSTER_NAME", "NODE_NAME", "ZOOKEEPER", "ZOOKEEPER_SESSION", "ZOOKEEPER_AUTH", "ZOOKEEPER_RELAY", "SQL_RELAY", "THRIFT_PORT",
  "THRIFT_BACKEND_PORT", "START_MASTER", "START_WORKER", "START_THRIFTSERVER", "MASTER_PORT", "MASTER_UI_PORT", "BIND_ADDRESS",
}

local function tell_of_changes(here, env)
  local same = require "appliance.same"
  for _, name in ipairs(FIXED) do
    if not same(here.env[name], env[name]) then
      require("appliance.core.log").warn(("%s: another value takes effect with the next start of this node: its place in the cluster "
        .. "stays as it is"):format(name))
    end
  end
end

--- One value of a source that has one.
local function once(source, env)
  local value
  local _, err = source.start(function(found) value = value or found end, env)
  return value, err
end

--- identity, Spark's version | nil, nil, err
local function who(env)
  local identity = once(require("appliance.facts.node").identity(), env)
  local file = require "appliance.core.file"
  local found, err = require("appliance.facts.spark").discover(env, require("appliance.core.host").environ(), env.STATE_DIR, file)
  if not found then return nil, nil, err end
  return identity, found.version
end

local function join(env)
  local identity, version, err = who(env)
  if not identity then return nil, err end
  return require("appliance.cluster.place").new(env, identity, version)
end

--- What the node that runs here knows -> the fact | nil
local function asked(env)
  local answer = require("appliance.core.http").request { unix = env.STATE_DIR .. "/control.sock", path = "/cluster", timeout = 5 }
  local known = answer and answer.status == 200 and require("appliance.json").decode(answer.body)
  return type(known) == "table" and known.fact or nil
end

--- Without a node that runs: what the plan would be before anybody has joined.
local function imagined(env)
  local identity, version, err = who(env)
  if not identity then return nil, err end
  local servers
  servers, err = once(require("appliance.cluster.zookeepers").servers(), env)
  if not servers then return nil, err end
  local tree = require "appliance.cluster.tree"
  local own = env.START_MASTER and ("%s:%d"):format(identity.ip, env.MASTER_PORT) or nil
  return {
    name = env.CLUSTER_NAME, node = env.NODE_NAME or identity.ip, dir = tree.dir(tree.root(env.CLUSTER_NAME), version),
    sql = env.SQL_RELAY and env.START_MASTER and env.START_THRIFTSERVER or nil,
    zookeeper = env.ZOOKEEPER_RELAY and env.START_MASTER and "127.0.0.1:PORT" .. servers.chroot
      or table.concat(servers.servers, ",") .. servers.chroot,
    masters = { own }, uri = own and "spark://" .. own or nil,
    why = not own and "no node runs here to ask who the masters are" or nil,
  }
end

local function start(emit, env)
  if not facts.at_work then
    local known, err = asked(env), nil
    if not known then known, err = imagined(env) end
    if not known then return nil, err end
    emit(known)
    return
  end
  local following <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    membership.followers = membership.followers - 1
    if membership.followers == 0 and membership.here then
      membership.here:close()
      membership.here = nil
    end
  end })
  membership.followers = membership.followers + 1
  if not membership.here then
    local here, err = join(env)
    if not here then return nil, failure.new(err.kind or "system", "%s", tostring(err)) end
    membership.here = here
  else
    tell_of_changes(membership.here, env)
  end
  membership.here:follow(emit)
end

--- A fact source.
function membership.source() return facts.source("its place in the cluster", start) end

return membership
