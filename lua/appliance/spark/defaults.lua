--- What a node's configuration files say before anybody mounts one: spark-defaults.conf, log4j2.properties, metrics.properties, and
--- client.json, by which `spark-appliance client` starts spark-submit and the like.
local java = require "appliance.spark.java"
local plan = require "appliance.plan"

local defaults = {}

--- A value somebody set beats mounted files; one that we chose beats none of them.
local function chosen(here, name, value)
  if here.env[name] ~= nil then return plan.setting(here.env, name) end
  return value
end

--- Bitnami's names, whose meaning outlived the image: setting -> keys. { key, value } or { key } for the setting's own value.
local SECURITY = {
  { "SPARK_RPC_AUTHENTICATION_ENABLED", "spark.authenticate" },
  { "SPARK_RPC_AUTHENTICATION_SECRET", "spark.authenticate.secret", needs = "SPARK_RPC_AUTHENTICATION_ENABLED" },
  { "SPARK_RPC_ENCRYPTION_ENABLED", "spark.network.crypto.enabled" },
  { "SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED", "spark.io.encryption.enabled" },
  { "SPARK_SSL_ENABLED", "spark.ssl.enabled" },
  { "SPARK_SSL_KEY_PASSWORD", "spark.ssl.keyPassword", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_SSL_KEYSTORE_FILE", "spark.ssl.keyStore", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_SSL_KEYSTORE_PASSWORD", "spark.ssl.keyStorePassword", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_SSL_TRUSTSTORE_FILE", "spark.ssl.trustStore", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_SSL_TRUSTSTORE_PASSWORD", "spark.ssl.trustStorePassword", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_SSL_NEED_CLIENT_AUTH", "spark.ssl.needClientAuth", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_SSL_PROTOCOL", "spark.ssl.protocol", needs = "SPARK_SSL_ENABLED" },
  { "SPARK_WEBUI_SSL_PORT", "spark.ssl.standalone.port", needs = "SPARK_SSL_ENABLED" },
}

local function add_security(here, keys)
  local env = here.env
  for _, entry in ipairs(SECURITY) do
    local name, key = entry[1], entry[2]
    local is_asked = entry.needs and env[entry.needs] or not entry.needs and env[name]
    if is_asked and env[name] ~= nil then
      local mark = plan.setting(env, name)
      if name:find "PASSWORD$" or name:find "SECRET$" then mark.secret = true end
      keys[key] = mark
    end
  end
end

--- Options that every executor gets before the user's own: collector, and the archive. On another machine the file may be missing, or be
--- another JDK's: then the JVM starts without.
local function executor_options(here)
  local words = require("appliance.spark.flags").of("executor", here.shares.worker_cores)
  local archive = here.env.CLASS_ARCHIVES and here.layout.archive
  local path = archive and (archive.path or here:builds_archive() and archive.target)
  local options = require("appliance.spark.archive").options(path)
  table.move(options, 1, #options, #words + 1, words)
  return table.concat(words, " ")
end

--- The keys of spark-defaults.conf.
function defaults.keys(here)
  local env, shares, at = here.env, here.shares, here.directories
  local keys = {
    ["spark.master"] = here.masters,
    ["spark.driver.memory"] = chosen(here, "DRIVER_MEMORY", java.megabytes(shares.driver_memory)),
    ["spark.executor.memory"] = chosen(here, "EXECUTOR_MEMORY", java.megabytes(shares.executor_memory)),
    ["spark.executor.defaultJavaOptions"] = executor_options(here),
    ["spark.scheduler.mode"] = "FAIR",
    ["spark.serializer"] = "org.apache.spark.serializer.KryoSerializer",
    ["spark.sql.warehouse.dir"] = "file:" .. at.state .. "/warehouse",
    ["spark.jars.ivy"] = at.state .. "/ivy",
    ["spark.worker.cleanup.enabled"] = true,
    ["spark.worker.cleanup.appDataTtl"] = 86400,
    -- 4.1 opens port 6066 by default, on which anybody can submit any program.
    ["spark.master.rest.enabled"] = chosen(here, "MASTER_REST", false),
  }
  if env.MASTER_REST then keys["spark.master.rest.port"] = chosen(here, "MASTER_REST_PORT", 6066) end
  if env.DEFAULT_CORES then keys["spark.deploy.defaultCores"] = plan.setting(env, "DEFAULT_CORES") end
  if here.cluster then
    if here.runs.master then
      for key, value in pairs(require("appliance.spark.ha").keys(here.cluster)) do keys[key] = value end
    end
  elseif here.runs.master and env.RECOVERY == "filesystem" then
    keys["spark.deploy.recoveryMode"] = "FILESYSTEM"
    keys["spark.deploy.recoveryDirectory"] = at.recovery
    -- A master that finds a dead worker in its records places nothing until it has given that one up. Since 4.0 this need not be the
    -- worker time-out of a minute; but a driver that pauses (collects garbage) must have the time to answer, or its application is over.
    keys["spark.deploy.recoveryTimeout"] = "20s"
  end
  for key, value in pairs(require("appliance.spark.s3a").defaults(here.layout.s3 or {})) do keys[key] = value end
  add_security(here, keys)
  return keys
end

--- What `spark-appliance client TOOL` needs to be a spark-submit without a launcher: read back by spark/client.lua.
function defaults.client(here)
  local layout, env = here.layout, here.env
  local environment = {
    SPARK_HOME = layout.home, JAVA_HOME = layout.java.home, SPARK_SCALA_VERSION = layout.scala, SPARK_CONF_DIR = here.directories.conf,
    SPARK_LOCAL_HOSTNAME = here.node.ip, SPARK_LOCAL_IP = here.node.bind, SPARK_LOCAL_DIRS = here.directories.locals,
    PYSPARK_PYTHON = env.PYSPARK_PYTHON, MALLOC_ARENA_MAX = "2",
    SPARK_DIST_CLASSPATH = here.dist_class_path ~= "" and here.dist_class_path or nil,   -- for tools that Spark's launcher starts
  }
  for _, name in ipairs { "LD_PRELOAD", "NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP" } do
    environment[name] = here.node.user and here.environment[name] or nil
  end
  local archive = env.CLASS_ARCHIVES and layout.archive or {}
  return require("appliance.json").encode {
    layout = { home = layout.home, version = layout.version, scala = layout.scala, java = layout.java, class_path = layout.class_path },
    archive = archive.path or archive.target or "", conf = here.directories.conf, state = here.directories.state,
    after = here.class_path_after, flags = require("appliance.spark.flags").of("driver", here.shares.worker_cores),
    environment = environment, sql = ("jdbc:hive2://%s:%d/"):format(here.node.probe, env.THRIFT_PORT),
  }
end

--- { [name of a file] = value of a plan }
function defaults.files(here)
  local env = here.env
  local log4j2 = require "appliance.render.log4j2"
  local files = {
    ["spark-defaults.conf"] = plan.properties(defaults.keys(here)),
    ["log4j2.properties"] = plan.properties(log4j2.keys {
      level = env.LOG_LEVEL == "debug" and "info" or env.LOG_LEVEL, format = env.LOG_FORMAT, json_layout = here.layout.has_json_layout,
      election = here.cluster ~= nil and here.runs.master }),
    ["client.json"] = plan.text(defaults.client(here)),
  }
  if env.SPARK_METRICS_ENABLED then
    files["metrics.properties"] = plan.properties(require("appliance.render.metrics").keys())
  end
  local core_site = require("appliance.spark.s3a").core_site(here.layout.s3 or {}, here.s3)
  if next(core_site) then files["core-site.xml"] = plan.xml(core_site) end
  local user = here.node.user
  if user then
    files[here.directories.state .. "/passwd"] = plan.text(("spark:x:%d:%d:Spark:%s:/usr/sbin/nologin\n"):format(user.uid, user.gid,
      here.directories.state))
  end
  return files
end

--- What is open to whoever reaches this node: a note for each kind, so that one that opens later (SQL, in a cluster) is told of alone.
--- Short: `status` repeats them; docs/operations.md has the cure.
local function note_doors(here, notes)
  local env = here.env
  local function doors(list)
    local open = {}
    for _, door in ipairs(list) do
      if door[1] then open[#open + 1] = ("%s %d"):format(door[2], door[3]) end
    end
    if open[1] and here.node.bind ~= "127.0.0.1" then
      notes[#notes + 1] = ("open without a password on %s: %s"):format(here.node.bind or here.node.ip, table.concat(open, ", "))
    end
  end
  doors { { here.runs.master and not env.SPARK_RPC_AUTHENTICATION_ENABLED, "master", env.MASTER_PORT },
          { here.runs.master and env.MASTER_REST, "REST submission", env.MASTER_REST_PORT } }
  doors { { here.runs.thriftserver or here.cluster and here.cluster.sql, "SQL", env.THRIFT_PORT },
          { here.cluster and here.runs.thriftserver and env.SQL_RELAY, "SQL server itself", env.THRIFT_BACKEND_PORT } }
  doors { { here.runs.master, "master page", env.MASTER_UI_PORT }, { here.runs.worker, "worker page", env.WORKER_UI_PORT },
          { (env.HEALTH_PORT or 0) > 0, "health", env.HEALTH_PORT } }
end

--- What everybody should know who starts this: how much is given to whom, and which doors are open.
function defaults.notes(here)
  local env, shares = here.env, here.shares
  local text = require("appliance.spark.memory").text
  local notes = {}
  if here.runs.worker then
    notes[1] = ("this node offers %d core%s and %s to applications, %s to each executor%s"):format(shares.worker_cores,
      shares.worker_cores == 1 and "" or "s", text(shares.worker_memory), text(shares.executor_memory),
      here.runs.thriftserver and (", of which SQL takes %d and %s"):format(shares.thrift_cores, text(shares.thrift_executor_memory)) or "")
  end
  note_doors(here, notes)
  if here.cluster then
    local site = here.has_file["hive-site.xml"]
    local note = here.runs.thriftserver
      and require("appliance.spark.ha").catalog_note(site and site[#site].text, here:mounted "spark.sql.warehouse.dir")
    if note then table.insert(notes, 1, note) end
    if env.MASTER_URI then
      notes[#notes + 1] = "MASTER_URI has no effect: this cluster's masters are those that share its ZooKeeper (CLUSTER_NAME); leave it out"
    end
    if env.START_THRIFTSERVER and not here.runs.master then
      notes[#notes + 1] = "START_THRIFTSERVER has no effect here: in a cluster SQL runs beside a master; set START_MASTER=true as well"
    end
  end
  if here.layout.s3 then
    local missing = require("appliance.spark.s3a").notes(here.layout, function(key) return here:mounted(key) end)
    table.move(missing, 1, #missing, #notes + 1, notes)
  end
  if here:wants_archive() and not here:builds_archive() then
    notes[#notes + 1] = "no class data archive fits this Java and Spark, and there is too little memory to make one: JVMs start slower"
  end
  return notes
end

return defaults
