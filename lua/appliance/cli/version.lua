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

local function java_version(file, home)
  local release = file.read(home .. "/release", 8192)
  return release and release:match 'JAVA_VERSION="([^"]+)"'
end

local function found(environ, name, usual, version_of)
  local file = require "appliance.core.file"
  local candidates = { environ[name] or "", table.unpack(usual) }
  for _, home in ipairs(candidates) do
    local version = home ~= "" and version_of(file, home)
    if version then return version, home end
  end
  return nil, (environ[name] or "") ~= "" and ("none in %s=%s"):format(name, environ[name]) or ("not found: set %s"):format(name)
end

return {
  usage = "version [--json]",
  options = { json = "flag" },
  words = { 0, 0 },
  help = "Prints the versions of the program, of Lua, and of the Spark and Java that it finds (SPARK_HOME, JAVA_HOME).",
  run = function(options, _, term)
    local host = require "appliance.core.host"
    local environ = host.environ()
    local spark, spark_where = found(environ, "SPARK_HOME", { "/opt/spark" }, spark_version)
    local java, java_where = found(environ, "JAVA_HOME", { "/usr/lib/jvm/default-java" }, java_version)
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
