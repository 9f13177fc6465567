--- log4j2.properties as Spark ships it, with what a node needs on top. Gives keys; merge.lua makes the file of them.
--- The names "stdout" and "console" are those of Spark's template, so that a mounted file made from it changes a key of ours
--- instead of adding a second appender.
local log4j2 = {}

--- Java's logger of the ZooKeeper client is what tells the session id; a quieter root must not take that away.
local ALWAYS = {
  ["logger.zookeeperClient.name"] = "org.apache.zookeeper.ClientCnxn",
  ["logger.zookeeperClient.level"] = "info",
}

--- What a node of a cluster must hear of its master and its SQL server, whatever the user's file says: cluster/daemons.lua reads these
--- lines from the console. Sessions come from the ZooKeeper client above, elections from the master itself, and what it was registered as
--- from the driver; that of a person at a terminal keeps the level there is.
local ELECTION = {
  ["logger.applianceMaster.name"] = "org.apache.spark.deploy.master.Master",
  ["logger.applianceMaster.level"] = "info",
  ["logger.applianceDriver.name"] = "org.apache.spark.scheduler.cluster.StandaloneSchedulerBackend",
  ["logger.applianceDriver.level"] = "",                       -- driver_level
}

--- A system property that our SQL server is started with, and no other driver.
log4j2.DRIVER_PROPERTY = "appliance.log.driver"
local function driver_level(level) return ("${sys:%s:-%s}"):format(log4j2.DRIVER_PROPERTY, level) end

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

--- log4j2.keys { level = "info", format = "text"|"json", json_layout = bool, loggers = { ["org.x"] = "debug" }, election = bool }
--- -> key -> value. `election`: a node of a cluster, which must hear how its master fares.
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
  for key, value in pairs(options.election and ELECTION or {}) do keys[key] = value end
  if options.election then keys["logger.applianceDriver.level"] = driver_level(level) end
  for class, its_level in pairs(options.loggers or {}) do
    local name = "logger." .. class:gsub("[^%w]", "_")
    keys[name .. ".name"], keys[name .. ".level"] = class, its_level
  end
  return keys
end

--- The pattern for a service whose lines already carry a time.
log4j2.SHORT_PATTERN = "%p %c{1}: %m%n%ex"

-- ---------------------------------------------------------------- what must be heard, over a user's file

--- Does everything that goes to the root logger reach the console, by what these documents say?
local function root_is_on_console(map)
  local is_console = {}
  for key, value in pairs(map) do
    local id = key:match "^appender%.([^.]+)%.type$"
    if id and value:lower() == "console" then is_console[map["appender." .. id .. ".name"] or id] = true end
  end
  for key, value in pairs(map) do
    local ref = key:match "^rootLogger%.appenderRef%.([^.]+)%.ref$"
    local its = ref and "rootLogger.appenderRef." .. ref
    local is_whole = its and not map[its .. ".level"] and not map[its .. ".filter.type"]
    if is_whole and is_console[value] then return true end
    if key == "rootLogger" then
      for name in value:gmatch ",%s*([^%s,]+)" do
        if is_console[name] then return true end
      end
    end
  end
  return false
end

--- Keys that have to win over the user's -> { key = value }, set of our keys that must go (the user has a logger of that name already).
local function demands(map)
  local on_console, wanted, dropped, needs_appender = root_is_on_console(map), {}, {}, false
  local root = map["rootLogger.level"] or (map.rootLogger or ""):match "^%s*(%a+)" or "error"
  for _, ours in ipairs { "zookeeperClient", "applianceMaster", "applianceDriver" } do
    local class = ALWAYS["logger." .. ours .. ".name"] or ELECTION["logger." .. ours .. ".name"]
    local id = ours
    for key, value in pairs(map) do
      local theirs = key:match "^logger%.([^.]+)%.name$"
      if theirs and value == class then id = theirs end
    end
    if id ~= ours then
      dropped["logger." .. ours .. ".name"], dropped["logger." .. ours .. ".level"] = true, true
    end
    wanted["logger." .. id .. ".level"] = ours == "applianceDriver" and driver_level(map["logger." .. id .. ".level"] or root) or "info"
    local is_apart = (map["logger." .. id .. ".additivity"] or "true"):lower() == "false"
    if is_apart or not on_console then
      wanted["logger." .. id .. ".appenderRef.appliance.ref"] = "appliance"
      needs_appender = true
    end
  end
  if needs_appender then
    wanted["appender.appliance.type"], wanted["appender.appliance.name"] = "Console", "appliance"
    wanted["appender.appliance.target"] = "SYSTEM_ERR"
    wanted["appender.appliance.layout.type"] = "PatternLayout"
    wanted["appender.appliance.layout.pattern"] = "%p %c{1}: %m%n%ex"
  end
  return wanted, dropped
end

--- On a node of a cluster: the layers with one on top that says what must be heard.
local function with_demands(layers)
  local map, hears, has_own = {}, false, false
  for _, layer in ipairs(layers) do
    for _, item in ipairs(layer.document and layer.document.items or {}) do map[item.key], has_own = item.value, true end
    for key, mark in pairs(layer.keys or {}) do
      if ELECTION[key] then hears = true elseif not ALWAYS[key] then map[key] = map[key] or tostring(mark.value) end
    end
  end
  if not (hears and has_own) then return layers end
  local wanted, dropped = demands(map)
  local top, kept = {}, {}
  for key, value in pairs(wanted) do
    if map[key] ~= value then top[key] = { value = value } end
  end
  for i, layer in ipairs(layers) do
    kept[i] = layer
    local keys = {}
    for key, value in pairs(layer.keys or {}) do
      if not dropped[key] then keys[key] = value end
    end
    if layer.keys then kept[i] = setmetatable({ keys = keys }, { __index = layer }) end
  end
  kept[#kept + 1] = { layer = "environment", origin = "needed to follow the election of masters", keys = top }
  return kept
end

--- A mounted file with a root logger of its own is a whole configuration: mixing our appenders into it would print lines twice.
--- What must hold in any case stays. Called by merge.lua with the layers of the file, lowest first.
function log4j2.merge_policy(layers)
  local whole
  for i, layer in ipairs(layers) do
    for _, item in ipairs(layer.document and layer.document.items or {}) do
      if item.key:find "^rootLogger" then whole = i end
    end
  end
  if not whole then return with_demands(layers) end
  local kept = {}
  for i, layer in ipairs(layers) do
    if i >= whole or layer.document then
      kept[#kept + 1] = layer
    else
      local keys = {}
      for key, value in pairs(layer.keys) do
        if ALWAYS[key] or ELECTION[key] then keys[key] = value end
      end
      kept[#kept + 1] = { layer = layer.layer, origin = layer.origin, keys = keys }
    end
  end
  return with_demands(kept)
end

return log4j2
