--- The role `spark.thriftserver`: HiveServer2's protocol on Spark SQL, an application of the cluster that never ends.
--- It is held to a part of the node, so that another job always finds a core and memory for an executor.
local java = require "appliance.spark.java"

local CLASS <const> = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"

--- What it reads when it starts; the catalog's files count only where somebody gave them.
local function inputs(here)
  local names = here:inputs { "spark-defaults.conf", "log4j2.properties" }
  for _, name in ipairs { "hive-site.xml", "core-site.xml" } do
    if here.has_file[name] then names[#names + 1] = name end
  end
  return names
end

--- The role that ROLE_MAPPING gives this service, for its executors: they are children of workers, which have another.
local function executor_role(env, layout)
  local environment = require "appliance.broker.environment"
  local executors = environment.of_executors("thriftserver", env, layout.version)
  return executors and environment.executor_words(executors, {}) or {}
end

--- A login that we don't have, or another transport: then the port has to do.
local function opens_plain_sessions(site)
  local function value_of(name) return site:match("<name>%s*" .. name:gsub("%.", "%%.") .. "%s*</name>%s*<value>%s*(.-)%s*</value>") end
  local login = (value_of "hive.server2.authentication" or "NONE"):upper()
  return (value_of "hive.server2.transport.mode" or "binary"):lower() == "binary" and login ~= "NOSASL" and login ~= "KERBEROS"
    and (value_of "hive.server2.use.SSL" or "false"):lower() ~= "true"
end

--- It answers when it opens a session. In a cluster it goes on being asked: one that hangs is killed, and if that does not help, another
--- node has it.
local function readiness(here, port)
  local site = here.has_file["hive-site.xml"]
  local ready = { kind = opens_plain_sessions(site and site[#site].text or "") and "hive" or "tcp", host = here.node.probe, port = port,
                  deadline = 180 }
  if here.cluster then ready.misses, ready.health_period = 3, 10 end
  return ready
end

local function joined(...)
  local all = {}
  for _, words in ipairs { ... } do table.move(words, 1, #words, #all + 1, all) end
  return all
end

return function(here, options)
  local env, shares = here.env, here.shares
  if here.cluster and not (here.cluster.uri and here.runs.master) then return false end
  local port = here:sql_port()
  if not here.layout.has_thriftserver then
    error(("START_THRIFTSERVER: %s has no spark-hive-thriftserver jar; use a Spark release built with Hive, or leave it "
      .. "off"):format(here.layout.home), 0)
  end
  return {
    name = "thriftserver", role = "spark.thriftserver", critical = false,
    command = java.command {
      layout = here.layout, kind = "application", class = "org.apache.spark.deploy.SparkSubmit",
      before = options.class_path or here:mounted "spark.driver.extraClassPath",
      conf = here.directories.conf, after = here.class_path_after,
      heap = shares.thrift_memory, flags = here:flags "thriftserver",
      properties = here:properties { ["derby.system.home"] = here.directories.sql, ["derby.connection.requireAuthentication"] = "false",
        [require("appliance.render.log4j2").DRIVER_PROPERTY] = here.cluster and "info" or nil },
      options = here:driver_options(),
      arguments = joined({
        "--master", options.masters or here.masters, "--class", CLASS, "--name", "Thrift JDBC/ODBC Server",
        "--conf", "spark.driver.memory=" .. java.megabytes(shares.thrift_memory),
        "--conf", "spark.cores.max=" .. (options.cores or shares.thrift_cores),
        "--conf", "spark.executor.memory=" .. java.megabytes(options.executor_memory or shares.thrift_executor_memory),
      }, env.ROLE_MAPPING and executor_role(env, here.layout) or {}, {
        "spark-internal",
        "--hiveconf", "hive.server2.thrift.port=" .. port,
        "--hiveconf", "hive.server2.thrift.bind.host=" .. (here.node.bind or "0.0.0.0"),
        "--hiveconf", "hive.server2.logging.operation.enabled=false",
      }),
    },
    env = here:environment_for { SPARK_CONF_DIR = here.directories.conf, PYTHONHASHSEED = "0",
      LD_LIBRARY_PATH = here:mounted "spark.driver.extraLibraryPath" or here.environment.LD_LIBRARY_PATH },
    dir = here.directories.sql,
    -- Its first minute without an ALIVE master would be its last.
    after = here.runs.master and { master = "ready" } or { prepare = "done" },
    restart = "always", clean = { 143 }, stop = { signal = "TERM", dump = "QUIT" },
    ready = readiness(here, port),
    lease = here.cluster and "sql" or nil, loose = here:loose(),
    inputs = inputs(here),
  }
end
