--- The settings of a node that shares a ZooKeeper with others, a part of spark.lua's, where the fields are explained.
--- No check here asks the world: names and stacks are looked up by facts (lua/appliance/cluster/zookeepers.lua).

--- Does somebody say where ZooKeeper is?
local function has_zookeeper(env) return env.ZOOKEEPER ~= nil or env.EXHIBITOR_HOSTS ~= nil end

--- It becomes a part of paths in ZooKeeper, where all nodes must spell it alike.
local function settle_cluster_name(env, all)
  local name = env.CLUSTER_NAME
  if not name then
    name = env.APPLICATION_ID
    all.derive("CLUSTER_NAME", name, "default: APPLICATION_ID")
  end
  if not has_zookeeper(env) and not all.is_given "CLUSTER_NAME" then return end
  if not name:find "^[%w._-]+$" or name:find "^%.+$" or #name > 100 then
    all.fault("CLUSTER_NAME", ('is "%s", which can\'t be a part of a path in ZooKeeper: letters, digits, dot, dash and underscore, 100 at '
      .. "most"):format(name), "spark-production")
  end
end

local function check_node_name(env, all)
  local name = env.NODE_NAME
  if name and (not name:find "^[%w._-]+$" or name:find "^%.+$" or #name > 100) then
    all.fault("NODE_NAME", "can't be a part of a path in ZooKeeper: letters, digits, dot, dash and underscore, 100 at most", "node-1")
  end
end

--- A profile that runs no cluster would pass over it in silence.
local function zookeeper_has_use(env, all)
  if env.ZOOKEEPER and env.EXHIBITOR_HOSTS and require("appliance.cluster.address").parse(env.ZOOKEEPER).stack then
    return all.fault("ZOOKEEPER", "is the name of a stack, and EXHIBITOR_HOSTS says whom to ask: keep one of the two, or give the servers "
      .. "to use while no Exhibitor answers", "zk-1:2181,zk-2:2181,zk-3:2181")
  end
  if env.PROFILE == "ha" and not has_zookeeper(env) then
    all.fault("ZOOKEEPER", "is empty, and the profile ha is for masters that share one", "zk-1:2181,zk-2:2181,zk-3:2181")
  elseif has_zookeeper(env) and (env.PROFILE == "single-node" or env.PROFILE == "cluster") then
    all.note(("%s has no effect: PROFILE=%s asks no ZooKeeper; leave PROFILE out, or set PROFILE=ha"):format(
      all.called(env.ZOOKEEPER and "ZOOKEEPER" or "EXHIBITOR_HOSTS"), env.PROFILE))
  end
end

local function check_session(env, all)
  if env.ZOOKEEPER_AUTH and not env.ZOOKEEPER_AUTH:find "^[^:]+:." then
    all.fault("ZOOKEEPER_AUTH", "is not user:password", "spark:... or better ZOOKEEPER_AUTH_FILE=/run/secrets/zookeeper")
  end
end

--- Hive's clients take it without a leading slash.
local function settle_namespace(env, all)
  local name = env.ZOOKEEPER_SQL_NAMESPACE:gsub("^/+", ""):gsub("/+$", "")
  if not name:find "^[%w._/-]+$" or name:find("//", 1, true) or ("/" .. name .. "/"):find "/%.+/" then
    return all.fault("ZOOKEEPER_SQL_NAMESPACE", "is no path in ZooKeeper", "hiveserver2")
  end
  if name ~= env.ZOOKEEPER_SQL_NAMESPACE then all.derive("ZOOKEEPER_SQL_NAMESPACE", name, "ZOOKEEPER_SQL_NAMESPACE") end
end

local function need_both(env, all)
  if env.EXHIBITOR_USER and not env.EXHIBITOR_PASSWORD then
    all.fault("EXHIBITOR_USER", "needs a password: set EXHIBITOR_PASSWORD_FILE to a file that holds it")
  elseif env.EXHIBITOR_PASSWORD and not env.EXHIBITOR_USER then
    all.fault("EXHIBITOR_PASSWORD", "needs EXHIBITOR_USER, the user that it belongs to")
  end
end

return {
  ZOOKEEPER = { type = "zookeeper", aliases = { "ZOOKEEPER_STACK_NAME", "ZOOKEEPER_CONN_STRING", "ZK_CONN_STR", "ZookeeperConnString" },
    check = zookeeper_has_use },
  CLUSTER_NAME = { type = "string", check = settle_cluster_name },
  CLUSTER_SIZE = { type = "integer", default = "1", least = 1, most = 1000 },
  CLUSTER_WAIT = { type = "duration", default = "60s", most = 86400 },
  NODE_NAME = { type = "string", check = check_node_name },
  ZOOKEEPER_SESSION = { type = "duration", default = "4s", least = 1, most = 60, example = "4s" },
  ZOOKEEPER_AUTH = { type = "string", secret = true, check = check_session },
  ZOOKEEPER_RELAY = { type = "boolean", default = "true" },
  ZOOKEEPER_SQL_NAMESPACE = { type = "string", default = "hiveserver2", check = settle_namespace },
  SQL_RELAY = { type = "boolean", default = "true" },
  THRIFT_BACKEND_PORT = { type = "port", default = "10010" },
  HEALTH_PORT = { type = "port", default = "0", least = 0, example = "8008" },
  EXHIBITOR_HOSTS = { type = "list", of = "address", example = "exhibitor.example.org" },
  EXHIBITOR_PORT = { type = "port", default = "8181" },
  EXHIBITOR_POLL = { type = "duration", default = "300s", least = 1, most = 86400, example = "300s" },
  EXHIBITOR_USER = { type = "string", check = need_both },
  EXHIBITOR_PASSWORD = { type = "string", secret = true },
}
