--- One node as its plan sees it: what runs here, who gets how much, which directories and addresses, what the configuration files say.
--- `new` puts settings and facts together once; roles take from it. Pure: same settings and facts, same node.
local java = require "appliance.spark.java"

local node = {}
node.__index = node

local function directories(env)
  local state = env.STATE_DIR
  return {
    state = state, conf = state .. "/conf", work = env.WORKER_DIR or state .. "/work", recovery = state .. "/recovery",
    temporary = state .. "/tmp", sql = state .. "/sql",
    locals = env.LOCAL_DIRS and table.concat(env.LOCAL_DIRS, ",") or state .. "/tmp",
  }
end

local function shares_of(env, facts, runs)
  return require("appliance.spark.memory").share(facts.limits, {
    master = runs.master, worker = runs.worker, thrift = runs.thriftserver,
    worker_memory = env.WORKER_MEMORY, worker_cores = env.WORKER_CORES, executor_memory = env.EXECUTOR_MEMORY,
    driver_memory = env.DRIVER_MEMORY, daemon_memory = env.DAEMON_MEMORY, thrift_memory = env.THRIFT_MEMORY,
    thrift_cores = env.THRIFT_CORES, thrift_executor_memory = env.THRIFT_EXECUTOR_MEMORY,
  })
end

--- An address in a URI: IPv6 in brackets.
local function in_uri(address) return address:find(":", 1, true) and "[" .. address .. "]" or address end

local function join(...)
  local parts = {}
  for _, part in ipairs { ... } do
    if part and part ~= "" then parts[#parts + 1] = part end
  end
  return table.concat(parts, ":")
end

--- facts: { node = node.identity(), limits = node.limits(), spark = spark.layout(), s3 = spark.s3() or nil }
--- cluster: what a node of several masters is told (spark/ha.lua), nil for others. Its SQL server runs beside a master, wherever the lease
--- is; a node without one has none.
function node.new(env, facts, cluster)
  local runs = { master = env.START_MASTER, worker = env.START_WORKER,
                 thriftserver = env.START_THRIFTSERVER and (env.START_MASTER or not cluster) }
  local shares, err = shares_of(env, facts, runs)
  if not shares then error(err.text, 0) end
  local layout = facts.spark
  if env.SPARK_RPC_AUTHENTICATION_ENABLED and env.MASTER_REST then
    error("MASTER_REST: a master that authenticates (SPARK_RPC_AUTHENTICATION_ENABLED) ends at once when its REST port is on; leave "
      .. "MASTER_REST out", 0)
  end
  local self = setmetatable({
    env = env, node = facts.node, limits = facts.limits, layout = layout, shares = shares, directories = directories(env),
    runs = runs, cluster = cluster,
    has_file = layout.layers or {}, s3 = facts.s3 or {},
  }, node)
  self.masters = ("spark://%s:%d"):format(in_uri(facts.node.ip), env.MASTER_PORT)
  if cluster then self.masters = cluster.uri or self.masters else self.masters = env.MASTER_URI or self.masters end
  self.jars, self.fetched_jars = {}, {}
  if env.EXT_JARS and env.EXT_JARS[1] then self.jars, self.fetched_jars = require("appliance.spark.jars").of(env) end
  -- Behind Spark's own jars: a class data archive is good for a class path that begins with them.
  self.class_path_after = join(env.SPARK_EXTRA_CLASSPATH or "", env.HADOOP_CONF_DIR or "", env.SPARK_DIST_CLASSPATH or "",
    table.concat(self.jars, ":"))
  self.dist_class_path = join(env.SPARK_DIST_CLASSPATH or "", table.concat(self.jars, ":"))
  self.environment = self:base_environment()
  if cluster and runs.master then
    local fault = require("appliance.spark.ha").fault(env, function(key) return self:mounted(key) end)
    if fault then error(fault, 0) end
  end
  return self
end

--- The environment of every service. HOME is where Ivy, Derby and Python write, and a user id without a passwd entry has none.
function node:base_environment()
  local identity, at, env = self.node, self.directories, self.env
  local made = {}
  for name, value in pairs(identity.environ or {}) do made[name] = value end
  made.SPARK_HOME, made.JAVA_HOME = self.layout.home, self.layout.java.home
  -- Without it a worker started by its class finds no jars for its executors: "Cannot find any build directories".
  made.SPARK_SCALA_VERSION = self.layout.scala
  made.SPARK_LOCAL_DIRS = at.locals
  made.SPARK_LOCAL_HOSTNAME = identity.ip                 -- else a look-up of our own name, which may wait for a dead name server
  made.SPARK_LOCAL_IP = identity.bind
  made.SPARK_PUBLIC_DNS = identity.public
  made.PYSPARK_PYTHON, made.PYSPARK_DRIVER_PYTHON = env.PYSPARK_PYTHON, env.PYSPARK_DRIVER_PYTHON
  -- glibc keeps 64 MiB for each of many threads otherwise, out of the cgroup's limit
  made.MALLOC_ARENA_MAX = made.MALLOC_ARENA_MAX or "2"
  if identity.user then
    made.LD_PRELOAD = identity.user.library
    made.NSS_WRAPPER_PASSWD, made.NSS_WRAPPER_GROUP = at.state .. "/passwd", "/etc/group"
    made.HOME = at.state
  end
  made.HOME = made.HOME and made.HOME ~= "/" and made.HOME or at.state
  return made
end

--- That environment with more in it; `false` takes a variable away.
function node:environment_for(more)
  local made = {}
  for name, value in pairs(self.environment) do made[name] = value end
  for name, value in pairs(more) do made[name] = value or nil end
  return made
end

--- Flags of a role: collector and compiler, and the archive when there is one.
function node:flags(role)
  local list = require("appliance.spark.flags").of(role, self.shares.worker_cores)
  local archive = require("appliance.spark.archive").options(self:archive_in_use())
  return table.move(archive, 1, #archive, #list + 1, list)
end

function node:archive_in_use()
  return self.env.CLASS_ARCHIVES and self.layout.archive and self.layout.archive.path or nil
end

--- Making an archive takes 1.1 GiB for a minute, which a small container has not got to spare.
local ARCHIVE_NEEDS <const> = 4 << 30

function node:wants_archive()
  return self.env.CLASS_ARCHIVES and self.layout.archive and not self.layout.archive.path and self.layout.program ~= nil
end

function node:builds_archive()
  return self:wants_archive() and math.min(self.limits.memory or self.limits.machine, self.limits.machine) >= ARCHIVE_NEEDS
end

--- System properties of every service of ours: lines without a time (we put it in front), temporary files where we may write.
function node:properties(more)
  local made = {
    ["java.io.tmpdir"] = self.directories.temporary,
    ["appliance.log.pattern"] = require("appliance.render.log4j2").SHORT_PATTERN,
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

--- The same for master and worker. Spark would take the next port where one is in use, and be where nobody asks for it: workers, links and
--- our own probe know the port that was set. Without another try it ends and says which port it could not have.
function node:daemon_properties() return self:properties { ["spark.port.maxRetries"] = 0 } end

--- Adds the words of the option text called `name` to a list. A heap among them is refused, as Spark's launcher does.
local function add_options(list, name, text, heap_setting)
  local words, problem = java.split(text or "")
  if not words then error(("%s %s"):format(name, problem), 0) end
  local heap = java.heap_in(words)
  if heap then error(("%s: %s sets the heap; use %s for that"):format(name, heap, heap_setting), 0) end
  return table.move(words, 1, #words, #list + 1, list)
end

--- The user's own JVM options from settings.
function node:user_options(...)
  local list = {}
  for _, name in ipairs { ... } do add_options(list, name, self.env[name], "DAEMON_MEMORY") end
  return list
end

--- What mounted files and EXT_CONF say of a key of spark-defaults.conf, the highest layer's word. Only for what a JVM must be started with:
--- all else Spark reads from the merged file itself.
function node:mounted(key)
  local rank, best, found = require("appliance.merge").LAYERS, 0, nil
  for _, layer in ipairs(self.has_file["spark-defaults.conf"] or {}) do
    local document = require("appliance.render.properties").parse(layer.text, layer.origin)
    for at, name in ipairs(rank) do
      if name == layer.layer and at >= best then
        for _, item in ipairs(document and document.items or {}) do
          if item.key == key then best, found = at, item.value end
        end
      end
    end
  end
  return found
end

--- JVM options for a driver that we start ourselves, where spark-submit's launcher would have taken them from spark-defaults.conf.
function node:driver_options()
  local list = {}
  for _, key in ipairs { "spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions" } do
    add_options(list, key, self:mounted(key), "THRIFT_MEMORY")
  end
  return list
end

--- What must be fetched before anything runs: plan { fetch = here:fetch() }.
function node:fetch()
  local objects = {}
  for name, object in pairs(self.fetched_jars) do objects[name] = object end
  return objects
end

--- What a JVM of ours reads at its start: `names`, and the jars that are fetched for it.
function node:inputs(names)
  local jars = {}
  for name in pairs(self.fetched_jars) do jars[#jars + 1] = name end
  table.sort(jars)
  return table.move(jars, 1, #jars, #names + 1, names)
end

--- The configuration files: { [name] = keys }, and texts. What each key means is in spark/defaults.lua.
function node:files() return require("appliance.spark.defaults").files(self) end

--- Where the SQL server itself listens: behind the relay that owns THRIFT_PORT on every node of a cluster, else there.
function node:sql_port()
  return self.cluster and self.env.SQL_RELAY and self.env.THRIFT_BACKEND_PORT or self.env.THRIFT_PORT
end

--- Which words of a command line, and values of files, may change under a running service: see reconcile.lua.
function node:loose()
  local is_learned = self.cluster or self.elsewhere and self.elsewhere.from == "stack"   -- what a person set is meant at once
  return is_learned and { self.masters } or nil
end

--- Its masters are those of the fact cluster.masters(), not those of settings; called before anything is made of the node. -> self
function node:follow(masters)
  self.masters = masters.uri
  self.elsewhere = (self.env.MASTER_URI or self.env.MASTER_STACK_NAME or not self.runs.master) and masters or nil
  return self
end

--- Services that belong here and can't be started yet -> { [name] = why } for the plan.
function node:waits()
  local waits, cluster = {}, self.cluster
  if self.elsewhere and not self.elsewhere.answers then
    local why = "no master answers yet at " .. self.masters
    waits.worker, waits.thriftserver = self.runs.worker and why or nil, self.runs.thriftserver and why or nil
  end
  if not cluster then return waits end
  local why = not cluster.uri and (cluster.why or "no master of the cluster is known yet")
  -- A worker of another Spark than the masters' would not get along with them. Masters and SQL of another one have no lease.
  if self.runs.worker then waits.worker = cluster.waits or why or nil end
  if self.runs.thriftserver then waits.thriftserver = why or nil end
  return waits
end

--- Sentences for the boot log.
function node:notes() return require("appliance.spark.defaults").notes(self) end

--- Where a person finds what runs here.
function node:urls()
  local links, at = {}, in_uri(self.node.public)
  local function link(runs, name, scheme, port)
    if runs then links[#links + 1] = { name = name, url = ("%s://%s:%d"):format(scheme, at, port) } end
  end
  link(self.runs.master, "master page", "http", self.env.MASTER_UI_PORT)
  link(self.runs.worker, "worker page", "http", self.env.WORKER_UI_PORT)
  link(self.runs.thriftserver or self.cluster and self.cluster.sql, "SQL", "jdbc:hive2", self.env.THRIFT_PORT)
  if self.runs.master and not (self.cluster and not self.cluster.uri) then links[#links + 1] = { name = "jobs", url = self.masters } end
  return links
end

return node
