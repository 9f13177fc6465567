--- `version`: of every part that matters in a report.
local function spark_version(file, home)
  local release = file.read(home .. "/RELEASE", 4096)
  local version = release and release:match "Spark (%S+)"
  if version then return version end
  for _, name in ipairs(file.list(home .. "/jars") or {}) do
    version = name:match "^spark%-core_[%d.]+%-(.+)%.jar$"
    if version then return version end
  end
end

--- What a node would run: its own search, so that this never names another. -> version, where | nil, why not
local function spark_found(environ, file)
  local home, err = require("appliance.facts.spark").find_home(environ, environ, file)
  if not home then return nil, tostring(err) end
  local version = spark_version(file, home)
  return version, version and home or home .. " holds no Spark release"
end

local function java_found(environ, file)
  local java, err = require("appliance.facts.spark").find_java(environ, environ, file)
  if not java then return nil, tostring(err) end
  local version = java.release:match 'JAVA_VERSION="([^"]+)"'
  return version, version and java.home or java.home .. "/release does not say which Java this is"
end

return {
  usage = "version [--json]",
  options = { json = "flag" },
  words = { 0, 0 },
  help = [[
Prints the versions of the program, of Lua, and of the Spark and Java that a node would run: those of SPARK_HOME and JAVA_HOME, else those
in PATH and in the usual places.]],
  run = function(options, _, term)
    local host = require "appliance.core.host"
    local environ, file = host.environ(), require "appliance.core.file"
    for _, name in ipairs { "SPARK_HOME", "JAVA_HOME" } do
      if environ[name] == "" then environ[name] = nil end
    end
    local spark, spark_where = spark_found(environ, file)
    local java, java_where = java_found(environ, file)
    if options.json then
      local json = require "appliance.json"
      term:say("%s", json.encode({ program = host.version(), lua = _VERSION:match "%S+$", spark = spark, java = java }, "  "))
      return 0
    end
    local function shown(version, where) return version and ("%s (%s)"):format(version, where) or where end
    term:say("%s", term:table {
      { "spark-appliance", host.version() }, { "Lua", _VERSION:match "%S+$" },
      { "Spark", shown(spark, spark_where) }, { "Java", shown(java, java_where) },
    })
    return 0
  end,
}
