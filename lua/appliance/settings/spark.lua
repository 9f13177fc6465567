--- The settings of a Spark node, loaded when a profile names one of them that core.lua has not.
--- A definition: type and its bounds, default (as text), secret, aliases, `later` (why this version can't do what a value would ask for),
--- `lenient` (a wrong value is told and dropped, as the older appliance did), `check` (what must hold between settings, run when all are
--- read).
--- An alias: a name, or { name, unit=, convert= } where its text means something else than under our own name (docs.lua tells people how).
local MIB = 1 << 20

--- Heaps below this can't hold a JVM with Spark in it; a smaller number is nearly always a forgotten unit.
local function memory(def)
  def.type, def.least, def.unit, def.example = "size", def.least or 64 * MIB, "m", def.example or "2g"
  return def
end

local roles = { "START_MASTER", "START_WORKER", "START_THRIFTSERVER" }

--- What runs here, said by START_*, else by SPARK_MODE, else (nobody said anything) a whole node, or a worker when a master is named.
local function settle_roles(env, all)
  local given, asked = false, false
  for _, name in ipairs(roles) do
    given = given or all.given(name)
    asked = asked or env[name]
  end
  if env.SPARK_MODE and asked then
    all.fault("SPARK_MODE", "says what runs here, and so do START_MASTER, START_WORKER and START_THRIFTSERVER: keep one of the two")
  elseif env.SPARK_MODE then
    all.derive("START_MASTER", env.SPARK_MODE == "master", "SPARK_MODE")
    all.derive("START_WORKER", env.SPARK_MODE == "worker", "SPARK_MODE")
  elseif not given then
    all.derive("START_MASTER", env.MASTER_URI == nil and env.MASTER_STACK_NAME == nil, "default: no START_* is set")
    all.derive("START_WORKER", true, "default: no START_* is set")
  elseif not asked and not env.START_WEBAPP and not env.START_NOTEBOOK then
    all.fault("START_MASTER", "is not true, nor is START_WORKER or START_THRIFTSERVER, so nothing would run: set what should, "
      .. "for example START_MASTER=true START_WORKER=true, or leave all three out, which runs a master and a worker")
  end
  if given and env.START_WORKER and not env.START_MASTER and not env.WORKER_PORT and not env.SPARK_MODE then
    -- The older appliance's load balancers ask for a listener there on every node. Spark takes the next port when it is taken.
    all.derive("WORKER_PORT", 7077, "default: START_WORKER without START_MASTER")
  end
end

--- Does this node share a ZooKeeper with others, and its profile use it?
local function shares_zookeeper(env)
  return (env.ZOOKEEPER or env.EXHIBITOR_HOSTS) and env.PROFILE ~= "single-node" and env.PROFILE ~= "cluster"
end

--- What of this node opens which port; a page with TLS leaves a redirection at its old one. A worker's 0 means any that is free.
local function ports_in_use(env)
  local is_node = env.START_MASTER or env.START_WORKER
  -- With a ZooKeeper every node has the SQL server's port, which leads to where it runs, and the server itself another one.
  local has_sql_relay = env.SQL_RELAY and shares_zookeeper(env)
  return {
    { "MASTER_PORT", env.START_MASTER }, { "MASTER_UI_PORT", env.START_MASTER },
    { "MASTER_REST_PORT", env.START_MASTER and env.MASTER_REST },
    { "WORKER_PORT", env.START_WORKER and env.WORKER_PORT ~= 0 }, { "WORKER_UI_PORT", env.START_WORKER },
    { "SPARK_WEBUI_SSL_PORT", is_node and env.SPARK_SSL_ENABLED },
    { "THRIFT_PORT", env.START_THRIFTSERVER or has_sql_relay },
    { "THRIFT_BACKEND_PORT", env.START_THRIFTSERVER and has_sql_relay },
    { "HEALTH_PORT", env.HEALTH_PORT and env.HEALTH_PORT ~= 0 },
  }
end

--- Two that open the same port: the second would end with a failed bind, again and again.
local function distinct_ports(env, all)
  local first, used, clashes = {}, {}, {}
  for _, entry in ipairs(ports_in_use(env)) do
    local name, port = entry[1], entry[2] and env[entry[1]]
    if port and first[port] then
      clashes[#clashes + 1] = { first[port], name, port }
    elseif port then
      first[port] = name
    end
    if port then used[port] = true end
  end
  for _, clash in ipairs(clashes) do
    local one, other, free = clash[1], clash[2], clash[3]
    if not all.is_given(other) then one, other = other, one end  -- the example changes the one that somebody set
    while used[free] do free = free % 65535 + 1 end
    used[free] = true
    all.refuse(other, ("%s and %s are the same port, and this node would open both: give one of them another, for example %s=%d"):format(
      all.told(other), all.told(one), other, free))
  end
end

local function settle_roles_and_ports(env, all)
  settle_roles(env, all)
  distinct_ports(env, all)
  if env.CLUSTER_SIZE and env.CLUSTER_SIZE > 1 and env.START_MASTER and not shares_zookeeper(env) then
    all.note(("CLUSTER_SIZE=%d has no effect: it counts masters that share a ZooKeeper, and none is given"):format(env.CLUSTER_SIZE))
  end
end

--- A directory that somebody named is looked at before anything is started; without a name it is looked for later, as a fact.
local function home_check(name, fault_of)
  return function(env, all)
    local problem = all.stat and env[name] and require("appliance.facts.spark")[fault_of](env[name], all.stat)
    if problem then all.fault(name, problem) end
  end
end

--- The masters themselves, or the name of the stack that they are in, which the fact cluster.masters() looks up.
local function literal_masters(env, all)
  local name = env.MASTER_STACK_NAME
  if not name then return end
  if not name:lower():find "^spark://" then
    if not name:find "^%a[%w-]*$" then
      all.fault("MASTER_STACK_NAME", "is neither the name of a stack (letters, digits and dashes) nor spark://host:7077,...",
        "spark-masters")
    elseif env.PROFILE == "single-node" then
      all.fault("MASTER_STACK_NAME", "is the name of a stack, which PROFILE=single-node doesn't look up: leave PROFILE out, or give the "
        .. "masters themselves", "spark://10.0.0.5:7077")
    end
    return
  end
  local masters, problem, example = require("appliance.settings.types").masters(name, {})
  if not masters then return all.fault("MASTER_STACK_NAME", problem, example) end
  if not env.MASTER_URI then all.derive("MASTER_URI", masters, "MASTER_STACK_NAME") end
end

local function need_secret(env, all)
  if env.SPARK_RPC_AUTHENTICATION_ENABLED and not env.SPARK_RPC_AUTHENTICATION_SECRET then
    all.fault("SPARK_RPC_AUTHENTICATION_ENABLED", "needs a secret that all nodes share: set SPARK_RPC_AUTHENTICATION_SECRET_FILE to "
      .. "a file that holds it "
      .. "(openssl rand -hex 32 makes one)")
  elseif env.SPARK_RPC_AUTHENTICATION_SECRET and not env.SPARK_RPC_AUTHENTICATION_ENABLED then
    all.note("SPARK_RPC_AUTHENTICATION_SECRET is set but not used: SPARK_RPC_AUTHENTICATION_ENABLED is not true")
  end
end

local function need_authentication(env, all)
  if env.SPARK_RPC_ENCRYPTION_ENABLED and not env.SPARK_RPC_AUTHENTICATION_ENABLED then
    all.fault("SPARK_RPC_ENCRYPTION_ENABLED", "needs authentication, whose secret makes the keys: set "
      .. "SPARK_RPC_AUTHENTICATION_ENABLED=true as well")
  end
end

--- A class path passes over what is not there in silence, and the job that misses it ends hours later.
local function jars_are_there(env, all)
  for _, path in ipairs(all.stat and env.EXT_JARS or {}) do
    if path:sub(1, 1) == "/" then
      local there, err = all.stat((path:gsub("/%*$", "")))
      local problem
      if not there then
        problem = ("can't be used (%s)"):format(tostring(err))
      elseif there.kind == "file" then
        problem = require("appliance.fetch.kind").fault("jar", path)
      end
      if problem then all.fault("EXT_JARS", ("names %s, which %s"):format(path, problem), "/data/jars/one.jar") end
    end
  end
end

local function bucket_address(env, all)
  if not env.S3_CHECK then return end
  local place, problem = require("appliance.fetch.address").bucket(env.S3_CHECK)
  if not place then all.fault("S3_CHECK", problem, "s3://bucket/prefix") end
end

--- Key and trust store default to the places where mounted images have always had them.
local function need_stores(env, all)
  if not env.SPARK_SSL_ENABLED then return end
  for store, file in pairs { KEYSTORE = "spark-keystore.jks", TRUSTSTORE = "spark-truststore.jks" } do
    local name = "SPARK_SSL_" .. store .. "_FILE"
    if store == "KEYSTORE" or env.SPARK_SSL_NEED_CLIENT_AUTH then
      if not env[name] and env.SPARK_CONF_DIR then
        all.derive(name, env.SPARK_CONF_DIR .. "/certs/" .. file, "default: in SPARK_CONF_DIR")
      elseif not env[name] then
        all.fault("SPARK_SSL_ENABLED", ("needs %s"):format(name), "true " .. name .. "=/run/secrets/" .. file)
      end
      local password = "SPARK_SSL_" .. store .. "_PASSWORD"
      if not env[password] then
        all.fault("SPARK_SSL_ENABLED", ("needs the password of the store: set %s_FILE to a file that holds it"):format(password))
      end
    end
  end
end

local function one_worker(env, all)
  if env.SPARK_WORKER_INSTANCES > 1 then
    all.fault("SPARK_WORKER_INSTANCES", "asks for several workers on one node, which Spark has deprecated: leave it out and let "
      .. "WORKER_CORES and WORKER_MEMORY say how much the one worker offers")
  end
end

local schema = {
  -- what runs
  START_MASTER = { type = "flag", check = settle_roles_and_ports },
  START_WORKER = { type = "flag" },
  START_THRIFTSERVER = { type = "flag" },
  SPARK_MODE = { type = "enum", values = { "master", "worker" } },
  START_WEBAPP = { type = "flag", later = "asks for the REST gateway, which this version has not: leave it empty" },
  START_NOTEBOOK = { type = "flag", later = "asks for a notebook server, which this version has not: leave it empty" },

  -- whom it belongs to
  MASTER_URI = { type = "masters", aliases = { "SPARK_MASTER_URL", "SPARK_MASTER" } },
  MASTER_STACK_NAME = { type = "string", check = literal_masters },
  WORKER_LOST_AFTER = { type = "duration", default = "150s", most = 86400, example = "150s" },
  APPLICATION_ID = { type = "string", default = "spark" },
  APPLICATION_VERSION = { type = "string" },

  -- files of the user's
  HIVE_SITE_XML = { type = "source", example = "s3://bucket/hive-site.xml" },
  EXT_CONF = { type = "source", example = "s3://bucket/spark-defaults.conf" },
  EXT_JARS = { type = "list", of = "source", example = "s3://bucket/jars/one.jar,/data/jars/two.jar",
    check = jars_are_there },
  EXT_WATCH = { type = "boolean", default = "false" },
  S3_CHECK = { type = "string", example = "s3://bucket/prefix", check = bucket_address },
  S3_CHECK_REQUIRED = { type = "boolean", default = "false" },
  PYTHON_LIBS = { type = "list", later = "asks for Python packages to be installed at start, which this version doesn't do: install "
    .. "them in an image made from this one, and leave it empty" },
  SPARK_CONF_DIR = { type = "path" },

  -- how much
  DEFAULT_CORES = { type = "integer", least = 1, lenient = true },
  WORKER_CORES = { type = "integer", least = 1, aliases = { "SPARK_WORKER_CORES" } },
  WORKER_MEMORY = memory { aliases = { { "SPARK_WORKER_MEMORY", unit = "b" } } },
  DRIVER_MEMORY = memory { aliases = { { "SPARK_DRIVER_MEMORY", unit = "b" } } },
  EXECUTOR_MEMORY = memory { aliases = { { "SPARK_EXECUTOR_MEMORY", unit = "b" } } },
  DAEMON_MEMORY = memory { aliases = { { "SPARK_DAEMON_MEMORY", unit = "b" } }, example = "512m" },
  THRIFT_CORES = { type = "integer", least = 1 },
  THRIFT_MEMORY = memory {},
  THRIFT_EXECUTOR_MEMORY = memory {},
  SPARK_WORKER_INSTANCES = { type = "integer", default = "1", least = 1, check = one_worker },

  -- where on the network
  ADVERTISE_ADDRESS = { type = "address", aliases = { "SPARK_LOCAL_HOSTNAME" } },
  BIND_ADDRESS = { type = "address", aliases = { "SPARK_LOCAL_IP" } },
  MASTER_HOST = { type = "address", aliases = { "SPARK_MASTER_HOST" } },
  MASTER_PORT = { type = "port", default = "7077", aliases = { "SPARK_MASTER_PORT" } },
  MASTER_UI_PORT = { type = "port", default = "8080", aliases = { "SPARK_MASTER_WEBUI_PORT" } },
  MASTER_REST = { type = "boolean", default = "false" },
  MASTER_REST_PORT = { type = "port", default = "6066" },
  WORKER_PORT = { type = "port", least = 0, aliases = { "SPARK_WORKER_PORT" } },
  WORKER_UI_PORT = { type = "port", default = "8081", aliases = { "SPARK_WORKER_WEBUI_PORT" } },
  THRIFT_PORT = { type = "port", default = "10000", aliases = { "HIVE_SERVER2_THRIFT_PORT" } },
  SPARK_PUBLIC_DNS = { type = "address" },

  -- where on the disk, and with what
  SPARK_HOME = { type = "path", aliases = { "SPARK_DIR" }, check = home_check("SPARK_HOME", "home_fault"), check_always = true },
  JAVA_HOME = { type = "path", check = home_check("JAVA_HOME", "java_fault"), check_always = true },
  WORKER_DIR = { type = "path", aliases = { "SPARK_WORKER_DIR" } },
  LOCAL_DIRS = { type = "list", of = "path", aliases = { "SPARK_LOCAL_DIRS" } },
  RECOVERY = { type = "enum", values = { "filesystem", "none" }, default = "filesystem" },
  CLASS_ARCHIVES = { type = "boolean", default = "true" },
  HADOOP_CONF_DIR = { type = "path" },
  PYSPARK_PYTHON = { type = "string" },
  PYSPARK_DRIVER_PYTHON = { type = "string" },
  SPARK_EXTRA_CLASSPATH = { type = "string" },
  SPARK_DIST_CLASSPATH = { type = "string" },
  SPARK_DAEMON_CLASSPATH = { type = "string" },
  SPARK_DAEMON_JAVA_OPTS = { type = "string" },
  SPARK_MASTER_OPTS = { type = "string" },
  SPARK_WORKER_OPTS = { type = "string" },
  SPARK_METRICS_ENABLED = { type = "boolean", default = "true" },

  -- who may talk to it
  SPARK_RPC_AUTHENTICATION_ENABLED = { type = "boolean", default = "false", check = need_secret },
  SPARK_RPC_AUTHENTICATION_SECRET = { type = "string", secret = true },
  SPARK_RPC_ENCRYPTION_ENABLED = { type = "boolean", default = "false", mistaken = { "SPARK_RPC_ENCRYPTION" },
    check = need_authentication },
  SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED = { type = "boolean", default = "false", mistaken = { "SPARK_LOCAL_STORAGE_ENCRYPTION" } },
  SPARK_SSL_ENABLED = { type = "boolean", default = "false", mistaken = { "SPARK_SSL" }, check = need_stores },
  SPARK_SSL_KEY_PASSWORD = { type = "string", secret = true },
  SPARK_SSL_KEYSTORE_PASSWORD = { type = "string", secret = true },
  SPARK_SSL_KEYSTORE_FILE = { type = "path" },
  SPARK_SSL_TRUSTSTORE_PASSWORD = { type = "string", secret = true },
  SPARK_SSL_TRUSTSTORE_FILE = { type = "path" },
  SPARK_SSL_NEED_CLIENT_AUTH = { type = "boolean", default = "true" },
  SPARK_SSL_PROTOCOL = { type = "string", default = "TLSv1.2" },
  SPARK_WEBUI_SSL_PORT = { type = "port" },
  TOKENINFO_URL = { type = "string", later = "asks for a bearer token on every endpoint of the REST gateway, which this version has "
    .. "not: leave it empty" },
  AUTH_URL = { type = "string", later = "belongs to the REST gateway, which this version has not: leave it empty" },
  OAUTH2_SCOPE = { type = "string", default = "uid" },
}

for name, def in pairs(require "appliance.settings.cluster") do schema[name] = def end

return schema
