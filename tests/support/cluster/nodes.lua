--- Nodes of a cluster on hosts (hosts.lua): ours, or stock ones: the same Spark with its own high availability and a service manager that
--- restarts what ends. Heaps are small, for all of it shares two cores.
local file = require "appliance.core.file"
local hosts = require "cluster.hosts"
local http = require "appliance.core.http"
local json = require "appliance.json"
local supervise = require "appliance.core.supervise"

local nodes = {}

local APPLIANCE = os.getenv "APPLIANCE" or "build/spark-appliance"
local SPARK_HOME = os.getenv "SPARK_HOME"

nodes.MASTER_PORT, nodes.MASTER_UI, nodes.WORKER_UI, nodes.SQL = 7077, 8080, 8081, 10000

local PASSED <const> = { "PATH", "JAVA_HOME", "PYENV_ROOT" }

local function base()
  local env = { SPARK_HOME = SPARK_HOME, LANG = "C.UTF-8", AWS_EC2_METADATA_DISABLED = "true" }
  for _, name in ipairs(PASSED) do env[name] = os.getenv(name) end
  return env
end

--- Class data archives halve the time to start of each JVM. Made once, kept in the cache, and shown to each node as its own.
function nodes.archive()
  local cache = require("archives").folder()
  local env = base()
  env.STATE_DIR, env.HOME = cache, os.getenv "HOME"
  assert(supervise.declare { name = "archive", command = { APPLIANCE, "archive", "--state" }, env = env, oneshot = true, restart = "never",
    log = { console = false } })
  assert(supervise.want("archive", true))
  hosts.await("a class data archive", function()
    local state = supervise.view("archive").state
    return state == "done" or state == "failed"
  end, 300)
  local view, said = supervise.view "archive", supervise.tail "archive"
  supervise.remove "archive"
  if view.state ~= "done" then error("no class data archive: " .. said, 2) end
  return cache .. "/archive"
end

local node = {}
node.__index = node

--- Everything of a host, too: node:kill(), node:cut(other.host) ...
local function wrap(host, kind, roles)
  return setmetatable({ host = host, name = host.name, address = host.address, kind = kind, roles = roles },
    { __index = function(_, name)
      local method = node[name]
      if method then return method end
      method = host[name]
      if type(method) ~= "function" then return method end
      return function(_, ...) return method(host, ...) end
    end })
end

--- One of ours. settings: its environment on top of what every node of a test has.
--- options: { disk = "64m", archive = directory, command = words in the place of the program's }
function nodes.ours(yard, name, number, settings, options)
  options = options or {}
  local host = yard:host(name, number, options)
  local env = base()
  env.STATE_DIR, env.HOME = host.folder .. "/disk", host.folder .. "/disk"
  env.APPLIANCE_PROFILES = os.getenv "PWD" .. "/profiles"
  env.DAEMON_MEMORY, env.WORKER_MEMORY, env.WORKER_CORES = "200m", "1500m", "2"
  for _, key in ipairs { "THRIFT_MEMORY", "THRIFT_EXECUTOR_MEMORY", "EXECUTOR_MEMORY", "DRIVER_MEMORY" } do env[key] = "512m" end
  env.THRIFT_CORES = "1"
  env.DEFAULT_CORES, env.STOP_TIMEOUT = "1", "8s"
  for key, value in pairs(settings) do env[key] = value or nil end
  if options.archive then
    hosts.sh("ln -s %s %s/disk/archive", options.archive, host.folder)
  else
    env.CLASS_ARCHIVES = "false"
  end
  host.command, host.env = options.command or { APPLIANCE, "run" }, env
  return wrap(host, "ours", { master = settings.START_MASTER == "true", worker = settings.START_WORKER == "true",
    thriftserver = settings.START_THRIFTSERVER == "true" })
end

--- A stock one. options: { zookeeper = "host:2181,...", masters = "spark://...", master = true, worker = true, sql = true }
function nodes.stock(yard, name, number, options)
  local host = yard:host(name, number, options)
  local disk = host.folder .. "/disk"
  local env = base()
  env.SPARK_LOCAL_IP, env.SPARK_DAEMON_MEMORY, env.HOME = host.address, "200m", disk
  env.SPARK_CONF_DIR, env.SPARK_LOCAL_DIRS, env.SPARK_WORKER_DIR = disk .. "/conf", disk .. "/local", disk .. "/work"
  env.SPARK_MASTER_OPTS = ("-Dspark.deploy.recoveryMode=ZOOKEEPER -Dspark.deploy.zookeeper.url=%s -Dspark.deploy.zookeeper.dir=/stock")
    :format(options.zookeeper)
  assert(file.make_dirs(disk .. "/conf"))
  local command = { "tests/cluster/stock" }
  local function daemon(format, ...)
    command[#command + 1] = ("%s/bin/spark-class org.apache.spark.deploy." .. format):format(SPARK_HOME, ...)
  end
  if options.master then daemon("master.Master --host %s --port %d --webui-port %d", host.address, nodes.MASTER_PORT, nodes.MASTER_UI) end
  if options.worker then
    daemon("worker.Worker --host %s --webui-port %d --cores 2 --memory 1500m %s", host.address, nodes.WORKER_UI, options.masters)
  end
  host.command, host.env = command, env
  return wrap(host, "stock", { master = options.master, worker = options.worker })
end

--- What a daemon's page says -> table | nil
function node:page(service, timeout)
  local answer = http.request { host = self.address, port = service == "worker" and nodes.WORKER_UI or nodes.MASTER_UI, path = "/json/",
    timeout = timeout or 2 }
  return answer and answer.status == 200 and json.decode(answer.body) or nil
end

--- ALIVE, STANDBY, RECOVERING ... | nil
function node:status()
  local page = self:page "master"
  return page and page.status
end

--- A command of the program on that node -> exit code, output
function node:appliance(...) return self:run { APPLIANCE, ... } end

--- spark-submit and the like, on that node -> exit code, output
function node:client(words, limit) return self:run(table.move(words, 1, #words, 3, { APPLIANCE, "client" }), nil, limit) end

return nodes
