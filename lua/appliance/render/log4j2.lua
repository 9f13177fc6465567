--- log4j2.properties as Spark ships it, with what a node needs on top. Gives keys; merge.lua makes the file of them.
--- The names "stdout" and "console" are those of Spark's template, so that a mounted file made from it changes a key of ours
--- instead of adding a second appender.
local log4j2 = {}

--- Java's logger of the ZooKeeper client is what tells the session id; a quieter root must not take that away.
local ALWAYS = {
  ["logger.zookeeperClient.name"] = "org.apache.zookeeper.ClientCnxn",
  ["logger.zookeeperClient.level"] = "info",
}

--- What Spark's own defaults (org/apache/spark/log4j2-defaults.properties, the same in 3.5 and 4.1) turn down.
local QUIET = {
  { "jetty1", "org.sparkproject.jetty", "warn" },
  { "jetty2", "org.sparkproject.jetty.util.component.AbstractLifeCycle", "error" },
  { "replexprTyper", "org.apache.spark.repl.SparkIMain$exprTyper", "info" },
  { "replSparkILoopInterpreter", "org.apache.spark.repl.SparkILoop$SparkILoopInterpreter", "info" },
  { "repl", "org.apache.spark.repl.Main", "warn" },
  { "thriftserver", "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver", "warn" },
  { "RetryingHMSHandler", "org.apache.hadoop.hive.metastore.RetryingHMSHandler", "fatal" },
  { "FunctionRegistry", "org.apache.hadoop.hive.ql.exec.FunctionRegistry", "error" },
  { "parquet1", "org.apache.parquet.CorruptStatistics", "error" },
  { "parquet2", "parquet.CorruptStatistics", "error" },
}

local LEVELS = { trace = true, debug = true, info = true, warn = true, error = true, fatal = true, off = true }

--- log4j2.keys { level = "info", format = "text"|"json", json_layout = bool, loggers = { ["org.x"] = "debug" } } -> key -> value
--- `json_layout`: Spark's jars have log4j-layout-template-json (4.x does, 3.5 does not); without it text is all log4j can write.
function log4j2.keys(options)
  options = options or {}
  local level = (options.level or "info"):lower()
  if not LEVELS[level] then error(('log4j2: "%s" is no level; take trace, debug, info, warn, error, fatal or off'):format(level), 2) end
  local keys = {
    ["rootLogger.level"] = level,
    ["rootLogger.appenderRef.stdout.ref"] = "console",
    ["appender.console.type"] = "Console",
    ["appender.console.name"] = "console",
    -- To stderr, as in Spark: this file also serves `docker exec NODE spark-sql -e ... > result`, and 1 and 2 of a service are one pipe.
    ["appender.console.target"] = "SYSTEM_ERR",
  }
  if options.format == "json" and options.json_layout then
    keys["appender.console.layout.type"] = "JsonTemplateLayout"
    keys["appender.console.layout.eventTemplateUri"] = "classpath:org/apache/spark/SparkLayout.json"
  else
    keys["appender.console.layout.type"] = "PatternLayout"
    -- A service's lines get their time from us: its role says -Dappliance.log.pattern=... and leaves it out.
    keys["property.pattern"] = "%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex"
    keys["appender.console.layout.pattern"] = "${sys:appliance.log.pattern:-${pattern}}"
  end
  for _, logger in ipairs(QUIET) do
    keys["logger." .. logger[1] .. ".name"] = logger[2]
    keys["logger." .. logger[1] .. ".level"] = logger[3]
  end
  for key, value in pairs(ALWAYS) do keys[key] = value end
  for class, its_level in pairs(options.loggers or {}) do
    local name = "logger." .. class:gsub("[^%w]", "_")
    keys[name .. ".name"], keys[name .. ".level"] = class, its_level
  end
  return keys
end

--- The pattern for a service whose lines already carry a time.
log4j2.SHORT_PATTERN = "%p %c{1}: %m%n%ex"

--- A mounted file with a root logger of its own is a whole configuration: mixing our appenders into it would print lines twice.
--- What must hold in any case stays. Called by merge.lua with the layers of the file, lowest first.
function log4j2.merge_policy(layers)
  local whole
  for i, layer in ipairs(layers) do
    for _, item in ipairs(layer.document and layer.document.items or {}) do
      if item.key:find "^rootLogger" then whole = i end
    end
  end
  if not whole then return layers end
  local kept = {}
  for i, layer in ipairs(layers) do
    if i >= whole or layer.document then
      kept[#kept + 1] = layer
    else
      local keys = {}
      for key, value in pairs(layer.keys) do
        if ALWAYS[key] then keys[key] = value end
      end
      kept[#kept + 1] = { layer = layer.layer, origin = layer.origin, keys = keys }
    end
  end
  return kept
end

return log4j2
