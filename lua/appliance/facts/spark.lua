--- The fact `spark.layout()`: which Spark and which Java there are, the class data archive that fits them, and the configuration files
--- that somebody mounted. Read at the start and again at SIGHUP.
local facts = require "appliance.facts"
local failure = require "appliance.failure"

local spark = {}

--- Directories that may hold a JDK or JRE, best first: what JAVA_HOME says, the `java` of PATH, then what Debian installs.
local function java_candidates(env, environ, file)
  if env.JAVA_HOME then return { env.JAVA_HOME } end
  local found = {}
  for directory in (environ.PATH or ""):gmatch "[^:]+" do
    local real = file.real(directory .. "/java")
    local home = real and real:match "^(.*)/bin/java$"
    if home then
      found[1] = home:gsub("/jre$", "")
      break
    end
  end
  local installed = {}
  for _, name in ipairs(file.list "/usr/lib/jvm" or {}) do
    if name:find "^[%w_.-]*%d" and not name:find "^%." then installed[#installed + 1] = "/usr/lib/jvm/" .. name end
  end
  return table.move(installed, 1, #installed, #found + 1, found)
end

local function major(release) return tonumber(release:match 'JAVA_VERSION="(%d+)') or 0 end

--- What is wrong with a JAVA_HOME that somebody set, as the end of a sentence; nil when it is one. stat: appliance.core.file's
function spark.java_fault(home, stat)
  for _, part in ipairs { "", "/bin/java", "/release" } do
    local there, err = stat(home .. part)
    if not there then
      return ("is no Java (%s): set it to the directory of a JDK or JRE 17 or 21, or leave it out"):format(tostring(err))
    end
  end
end

--- The same for a SPARK_HOME.
function spark.home_fault(home, stat)
  for _, part in ipairs { "", "/jars" } do
    local there, err = stat(home .. part)
    if not there then return ("is no Spark (%s): set it to the directory of a Spark release"):format(tostring(err)) end
  end
end

--- -> { home, release = text of its `release` file } | nil, failure
function spark.find_java(env, environ, file)
  local candidates = java_candidates(env, environ, file)
  local fallback
  for _, home in ipairs(candidates) do
    local release = file.stat(home .. "/bin/java") and file.read(home .. "/release")
    if release then
      if env.JAVA_HOME or major(release) >= 17 then return { home = home, release = release } end
      fallback = fallback or { home = home, release = release }
    end
  end
  if fallback then return fallback end
  if env.JAVA_HOME then
    return nil, failure.new("missing", "JAVA_HOME=%s holds no bin/java and release file; set it to a JDK or JRE 17", env.JAVA_HOME)
  end
  return nil, failure.new("missing", "there is no Java: install openjdk-17-jre-headless, or set JAVA_HOME")
end

--- SPARK_HOME, else the directory above a spark-submit in PATH, else the image's.
function spark.find_home(env, environ, file)
  if env.SPARK_HOME then
    local there, err = file.stat(env.SPARK_HOME .. "/jars")
    if there then return env.SPARK_HOME end
    return nil, failure.new("missing", "SPARK_HOME=%s has no jars/ (%s); set it to the directory of a Spark release", env.SPARK_HOME, err)
  end
  for directory in (environ.PATH or ""):gmatch "[^:]+" do
    local home = (file.real(directory .. "/spark-submit") or ""):match "^(.*)/bin/spark%-submit$"
    if home and file.stat(home .. "/jars") then return home end
  end
  if file.stat "/opt/spark/jars" then return "/opt/spark" end
  return nil, failure.new("missing", "SPARK_HOME is not set, and there is no Spark in PATH or /opt/spark; set SPARK_HOME to the directory "
    .. "of a Spark release")
end

local function jars_of(home, file)
  local jars = {}
  for _, name in ipairs(file.list(home .. "/jars") or {}) do
    if name:find "%.jar$" then
      local seen = file.stat(home .. "/jars/" .. name) or {}
      jars[#jars + 1] = { name = name, size = seen.size, mtime = seen.mtime }
    end
  end
  return jars
end

--- What SPARK_HOME and JAVA_HOME are -> layout.describe's table with archive = { key, path (nil: there is none yet), target } | nil, err
function spark.discover(env, environ, state_dir, file)
  local home, java, found, err
  home, err = spark.find_home(env, environ, file)
  if not home then return nil, err end
  java, err = spark.find_java(env, environ, file)
  if not java then return nil, err end
  found, err = require("appliance.spark.layout").describe { home = home, java = java, jars = jars_of(home, file) }
  if not found then return nil, err end
  local archive = require "appliance.spark.archive"
  local key = archive.key(found, file.fingerprint)
  local candidates = archive.candidates(found, state_dir, key)
  found.archive = { key = key, target = candidates[#candidates] }
  for _, path in ipairs(candidates) do
    if not found.archive.path and file.stat(path) then found.archive.path = path end
  end
  found.identity = nil                                        -- its key says the same in 16 letters
  return found
end

local MOST <const> = 1 << 20    -- a configuration file larger than this is none

--- A spark-env.sh is a shell program; nothing here runs it, so one that says something must not pass unseen.
function spark.env_script_fault(path, text)
  for line in text:gmatch "[^\n]+" do
    local name = line:match "^%s*export%s+([%w_]+)" or line:match "^%s*([%w_]+)="
    if name then
      return failure.new("invalid", "%s sets %s, and no shell runs it here: give the container %s in its environment instead "
        .. "(`spark-appliance settings` lists the names), "
        .. "and remove it from that file", path, name, name)
    elseif line:find "%S" and not line:find "^%s*#" then
      return failure.new("invalid", "%s holds shell commands, which nothing runs here: say the same by the environment (`spark-appliance "
        .. "settings` lists the names)", path)
    end
  end
end

local function is_configuration(name)
  return not name:find "%.template$" and not name:find "^%." and not name:find "%.jks$" and not name:find "%.jsa$"
end

--- Texts of the mounted directory and of the files that settings name, as layers of the plan's files: { [name] = { layer } } | nil, err
--- found: what spark.discover gave. copies: where those lie that settings name by a URI, { EXT_CONF = path }; see facts/fetched.lua.
function spark.layers(env, found, file, copies)
  local layers = {}
  local function add(name, layer, origin, path)
    local text, err = file.read(path, MOST)
    if not text then return failure.new("missing", "%s: %s", origin, tostring(err)) end
    if text:find("\0", 1, true) then
      return failure.new("invalid", "%s: this is no text, so no configuration file: correct which file is meant", origin)
    end
    layers[name] = layers[name] or {}
    table.insert(layers[name], { layer = layer, origin = origin, text = text })
  end
  -- HADOOP_CONF_DIR stands behind our directory on every class path, and Hadoop reads the first core-site.xml only: where there is one of
  -- ours (spark/s3a.lua), what that of HADOOP_CONF_DIR says must be in it.
  local of_hadoop = found.s3.aws and env.HADOOP_CONF_DIR and env.HADOOP_CONF_DIR .. "/core-site.xml"
  if of_hadoop and file.stat(of_hadoop) then
    local err = add("core-site.xml", "mounted", of_hadoop, of_hadoop)
    if err then return nil, err end
  end
  local directory = env.SPARK_CONF_DIR or found.home .. "/conf"
  if file.real(directory) ~= file.real(env.STATE_DIR .. "/conf") then          -- our own output is no input
    for _, name in ipairs(file.list(directory) or {}) do
      local path = directory .. "/" .. name
      local seen = file.stat(path)
      if seen and seen.kind == "file" and name == "spark-env.sh" then
        local fault = spark.env_script_fault(path, file.read(path, MOST) or "")
        if fault then return nil, fault end
      elseif seen and seen.kind == "file" and is_configuration(name) then
        local err = add(name, "mounted", path, path)
        if err then return nil, err end
      end
    end
  end
  for name, of in pairs { EXT_CONF = "spark-defaults.conf", HIVE_SITE_XML = "hive-site.xml" } do
    local copy = copies and copies[name]
    local origin = env[name] and name .. " " .. (copy and require("appliance.fetch.address").shown(env[name]) or env[name])
    local err = env[name] and add(of, "EXT_CONF", origin, copy or env[name])
    if err then return nil, err end
  end
  return layers
end

--- One of the fetched files is another: the same fact with new layers. -> false when it could not be had; it is tried again then.
function spark.renew(env, found, file, emit)
  local copies, err = require("appliance.facts.fetched").bring(env, true)
  local layers
  if copies then layers, err = spark.layers(env, found, file, copies) end
  if not layers then
    require("appliance.core.log").warn(("everything stays as it is: %s"):format(tostring(err)))
    return false
  end
  local anew = {}
  for field, value in pairs(found) do anew[field] = value end
  anew.layers = layers
  emit(anew)
  return true
end

--- The fact source.
function spark.source()
  return facts.source("Spark and Java", function(emit, env)
    local file = require "appliance.core.file"
    local host = require "appliance.core.host"
    local found, err = spark.discover(env, host.environ(), env.STATE_DIR, file)
    if not found then return nil, err end
    local fetched = (env.EXT_CONF or env.HIVE_SITE_XML) and require "appliance.facts.fetched"
    local copies, entries
    if fetched and fetched.is_needed(env) then
      copies, entries = fetched.bring(env)
      if not copies then return nil, entries end
    end
    found.layers, err = spark.layers(env, found, file, copies)
    if not found.layers then return nil, err end
    found.program = host.program()
    emit(found)
    if copies and env.EXT_WATCH then
      fetched.watch(entries, function() return spark.renew(env, found, file, emit) end)
    end
  end)
end

return spark
