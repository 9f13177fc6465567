--- The role `spark.archive`: makes the class data archive, once, when there is none that fits: at the lowest priority, after the node
--- works. Its failure is told and changes nothing. `false` where there is nothing to make.
return function(here)
  if not here:builds_archive() then return false end
  -- A cluster's SQL server may run on another node for ever.
  local after, waits = {}, here:waits()
  for _, role in ipairs { "master", "worker", not here.cluster and "thriftserver" or nil } do
    if here.runs[role] and not waits[role] then after[role] = "ready" end
  end
  return {
    name = "archive", role = "spark.archive", oneshot = true, critical = false, restart = "never", nice = 19, change = "keep",
    command = { here.layout.program, "archive", "--output", here.layout.archive.target, "--quiet" },
    env = here:environment_for { SPARK_CONF_DIR = false, SPARK_LOCAL_IP = "127.0.0.1", SPARK_LOCAL_HOSTNAME = "127.0.0.1",
      SPARK_PUBLIC_DNS = false, STATE_DIR = here.directories.state, AWS_EC2_METADATA_DISABLED = "true" },
    after = after, stop = { signal = "KILL" },             -- half an archive is worth nothing; the next start clears up (prepare)
  }
end
