--- The role `spark.master`: org.apache.spark.deploy.master.Master.
local java = require "appliance.spark.java"

return function(here, options)
  local env = here.env
  return {
    name = "master", role = "spark.master", critical = true,
    command = java.command {
      layout = here.layout, kind = "daemon", class = "org.apache.spark.deploy.master.Master",
      before = env.SPARK_DAEMON_CLASSPATH, conf = here.directories.conf, after = here.class_path_after,
      heap = here.shares.daemon_memory, flags = here:flags "master", properties = here:daemon_properties(),
      options = here:user_options("SPARK_DAEMON_JAVA_OPTS", "SPARK_MASTER_OPTS"),
      arguments = {
        "--host", options.host or here.node.ip, "--port", env.MASTER_PORT, "--webui-port", env.MASTER_UI_PORT,
        "--properties-file", here.directories.conf .. "/spark-defaults.conf",
      },
    },
    env = here:environment_for {},
    after = { prepare = "done" },
    -- A master that exits with 0 has lost its leadership or its port: that is a restart, not a success.
    restart = "always", clean = { 143 }, stop = { signal = "TERM", dump = "QUIT" },
    -- STANDBY and RECOVERING answer too. With TLS the page moves to another port and certificate, so there the port has to do.
    ready = env.SPARK_SSL_ENABLED and { kind = "tcp", host = here.node.ip, port = env.MASTER_PORT, deadline = 120 }
      or { kind = "http", host = here.node.probe, port = env.MASTER_UI_PORT, path = "/json/",
           has = here.cluster and '"status":"' or '"status":"ALIVE"', deadline = 120 },
    lease = here.cluster and "node" or nil, loose = here:loose(),
    inputs = here:inputs { "spark-defaults.conf", "log4j2.properties" },
  }
end
