--- `archive`: makes the class data archive by which Spark's JVMs start in half the time. An image is built with it; a node off an image
--- runs it once at low priority.
return {
  usage = "archive [--state | --output FILE] [--work DIR] [--quiet]",
  options = { state = "flag", output = "text", work = "text", quiet = "flag" },
  words = { 0, 0 },
  help = [[
Makes the class data archive for the Spark of SPARK_HOME and the Java of JAVA_HOME, when there is none that fits them. It runs a small
Spark on loopback for half a minute, needs 1.1 GiB of memory, and touches no running node.
It goes to $SPARK_HOME/archive/KEY/spark.jsa, where every node with this Spark finds it.
--state        to STATE_DIR instead, for the node that has its state there
--output FILE  to that file instead
--work DIR     an empty directory to work in; default: one below STATE_DIR, removed afterwards
--quiet        says nothing unless it fails]],
  run = function(options, _, term)
    local file = require "appliance.core.file"
    local host = require "appliance.core.host"
    local environ = host.environ()
    local env, faults = require("appliance.settings").read({ "SPARK_HOME", "JAVA_HOME", "PYSPARK_PYTHON", "STATE_DIR", "UNKNOWN_SETTINGS" },
      { SPARK_HOME = environ.SPARK_HOME, JAVA_HOME = environ.JAVA_HOME, PYSPARK_PYTHON = environ.PYSPARK_PYTHON,
        STATE_DIR = environ.STATE_DIR,
        UNKNOWN_SETTINGS = "ignore" })
    if not env then
      for _, fault in ipairs(faults) do term:complain("%s", tostring(fault)) end
      return 78
    end
    local state = env.STATE_DIR or "/tmp"
    local layout, err = require("appliance.facts.spark").discover(env, environ, state, file)
    if not layout then
      term:complain("%s", tostring(err))
      return 78
    end
    local output = options.output or options.state and layout.archive.target or ("%s/archive/%s/spark.jsa"):format(layout.home,
      layout.archive.key)
    local function say(sentence)
      if not options.quiet then term:say("%s", sentence) end
    end
    if file.stat(output) then
      say(("archive: %s is there and fits"):format(output))
      return 0
    end
    require("appliance.core.log").level "warn"
    require("appliance.core.program").supervise { stop_timeout = 5 }
    local work = options.work or ("%s/archive-work.%d"):format(state, host.pid())
    local trainer = require "appliance.spark.trainer"
    local node = require "appliance.facts.node"
    local inherited = node.inherited(environ, { require "appliance.settings.core", require "appliance.settings.spark" })
    inherited.SPARK_HOME, inherited.JAVA_HOME, inherited.SPARK_SCALA_VERSION = layout.home, layout.java.home, layout.scala
    inherited.SPARK_LOCAL_IP, inherited.SPARK_LOCAL_HOSTNAME, inherited.SPARK_LOCAL_DIRS = "127.0.0.1", "127.0.0.1", work .. "/tmp"
    inherited.AWS_EC2_METADATA_DISABLED, inherited.PYSPARK_PYTHON = "true", env.PYSPARK_PYTHON or "python3"
    inherited.PYTHONHASHSEED, inherited.HOME = "0", work
    local ok
    ok, err = trainer.make {
      layout = layout, output = output, work = work, environment = inherited, python = true, say = say,
      port = 21000 + host.pid() % 10000,                    -- below the ports the kernel gives away by itself
    }
    file.remove_tree(work)
    if not ok then
      term:complain("archive: not made, JVMs start without: %s", tostring(err))
      return 1
    end
    trainer.forget_others(output)
    say(("archive: %s, %d MiB"):format(output, file.stat(output).size >> 20))
    return 0
  end,
}
