--- The role `spark.worker`: org.apache.spark.deploy.worker.Worker. Executors are its children and inherit its environment.
local java = require "appliance.spark.java"

--- The worker puts SPARK_CONF_DIR before the jars of every executor it starts, and `jars/*` behind it, in whatever order the disk has.
--- A class data archive is valid only for the class path it was made with, and with no directory in front. The launcher splits that
--- variable at colons (AbstractCommandBuilder.addToClassPath), so naming the jars there gives executors exactly our class path; their
--- configuration comes last, by HADOOP_CONF_DIR. Nothing else reads SPARK_CONF_DIR there: the worker has its --properties-file.
local function executor_class_path(here)
  return here.layout.class_path
end

return function(here, options)
  local env = here.env
  local masters = options.masters or here.masters
  if here.cluster and not here.cluster.uri then return false end
  local has_own_master = here.runs.master and not here.cluster and not here.elsewhere   -- in a cluster the leader may be anywhere
  return {
    name = "worker", role = "spark.worker", critical = true,
    command = java.command {
      layout = here.layout, kind = "daemon", class = "org.apache.spark.deploy.worker.Worker",
      before = env.SPARK_DAEMON_CLASSPATH, conf = here.directories.conf, after = here.class_path_after,
      heap = here.shares.daemon_memory, flags = here:flags "worker", properties = here:daemon_properties(),
      options = here:user_options("SPARK_DAEMON_JAVA_OPTS", "SPARK_WORKER_OPTS"),
      arguments = {
        "--host", options.host or here.node.ip, "--port", env.WORKER_PORT or 0, "--webui-port", env.WORKER_UI_PORT,
        "--cores", here.shares.worker_cores, "--memory", java.megabytes(options.memory or here.shares.worker_memory),
        "--work-dir", here.directories.work, "--properties-file", here.directories.conf .. "/spark-defaults.conf", masters,
      },
    },
    env = here:environment_for {
      SPARK_CONF_DIR = executor_class_path(here),
      HADOOP_CONF_DIR = here.directories.conf .. (env.HADOOP_CONF_DIR and ":" .. env.HADOOP_CONF_DIR or ""),
      -- Of executors, too: the launcher puts this behind everything else.
      SPARK_DIST_CLASSPATH = here.dist_class_path ~= "" and here.dist_class_path or nil,
    },
    -- Beside the master, not after it: it registers once the master answers, and its JVM needs as long to get there.
    after = has_own_master and { prepare = "done", master = "started" } or { prepare = "done" },
    restart = "always", clean = { 143 }, stop = { signal = "TERM", dump = "QUIT" },
    -- Its page names a master only once it has registered there. Masters elsewhere may come much later: no deadline then.
    ready = env.SPARK_SSL_ENABLED and { kind = "line", has = "Successfully registered with master",
      deadline = has_own_master and 120 or 0 }
      or { kind = "http", host = here.node.probe, port = env.WORKER_UI_PORT, path = "/json/", has = '"masterurl":"spark://',
           deadline = has_own_master and 120 or 0 },
    loose = here:loose(), loose_from = "up",
    inputs = here:inputs { "spark-defaults.conf", "log4j2.properties" },
  }
end
