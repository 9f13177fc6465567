--- `spark-appliance client TOOL ...`: spark-submit, spark-shell, spark-sql, beeline and the rest on a node, with master and configuration
--- found by themselves. Where the JVM is the driver it is started directly: no launcher JVM first, and with the class data archive,
--- which the stock scripts can't use because they put a directory and an unsorted `jars/*` on the class path.
--- client.prepare decides and is pure; client.run reads, sets the environment and becomes the program.
local failure = require "appliance.failure"
local java = require "appliance.spark.java"

local client = {}

client.TOOLS = { "spark-submit", "spark-shell", "spark-sql", "pyspark", "beeline", "run-example", "spark-class" }

local SUBMIT <const> = "org.apache.spark.deploy.SparkSubmit"

--- launcher/.../SparkSubmitOptionParser.java: what takes a value, and what does not. Everything behind the first other word is the job's.
local TAKES_VALUE = {}
for option in ([[--archives --class --conf -c --deploy-mode --driver-class-path --driver-cores --driver-java-options --driver-library-path
  --driver-memory --exclude-packages --executor-cores --executor-memory --files --jars --keytab --kill --master --name --num-executors
  --packages --principal --properties-file --proxy-user --py-files --queue --remote --repositories
  --status --total-executor-cores]]):gmatch "%S+" do
  TAKES_VALUE[option] = true
end
local FLAGS = { ["--help"] = true, ["-h"] = true, ["--supervise"] = true, ["--usage-error"] = true, ["--verbose"] = true, ["-v"] = true,
                ["--version"] = true, ["--load-spark-defaults"] = true }

local SHORT = {
  ["--driver-memory"] = "spark.driver.memory", ["--driver-class-path"] = "spark.driver.extraClassPath",
  ["--driver-java-options"] = "spark.driver.extraJavaOptions", ["--driver-library-path"] = "spark.driver.extraLibraryPath",
  ["--deploy-mode"] = "spark.submit.deployMode", ["--master"] = "spark.master",
}

--- What SparkSubmit itself should be asked: these end at once, or are another program's affair.
local LEAVE_TO_STOCK = { ["--help"] = true, ["-h"] = true, ["--version"] = true, ["--usage-error"] = true, ["--kill"] = true,
  ["--status"] = true,
                         ["--remote"] = true }

--- words -> { options = {...}, rest = {...}, conf = { key = value }, properties_file =, with_defaults =, to_stock = option or nil }
--- `mixed`: options of the job may stand among ours (spark-sql -e "..." --master ...).
function client.parse(words, mixed)
  local found = { options = {}, rest = {}, conf = {} }
  local i = 1
  while i <= #words do
    local word = words[i]
    local name, value = word:match "^(%-%-[^=]+)=(.*)$"
    name = name and TAKES_VALUE[name] and name or word
    if TAKES_VALUE[name] then
      if name == word then
        i = i + 1
        value = words[i]
      end
      table.move({ name, value }, 1, 2, #found.options + 1, found.options)
      if name == "--conf" or name == "-c" then
        local key, text = (value or ""):match "^([^=]+)=(.*)$"
        if key then found.conf[key] = text end
      elseif SHORT[name] then
        found.conf[SHORT[name]] = value
      elseif name == "--properties-file" then
        found.properties_file = value
      end
    elseif FLAGS[word] then
      found.options[#found.options + 1] = word
      found.with_defaults = found.with_defaults or word == "--load-spark-defaults"
    elseif mixed then
      found.rest[#found.rest + 1] = word
    else
      table.move(words, i, #words, 1, found.rest)
      break
    end
    if LEAVE_TO_STOCK[name] then found.to_stock = name end
    i = i + 1
  end
  return found
end

local binary = { [""] = 20, b = 0, k = 10, m = 20, g = 30, t = 40 }

--- A heap as Spark reads it: a plain number is MiB. -> bytes | nil
local function heap_bytes(text)
  local number, unit = text:lower():match "^%s*(%d+)(%a?)b?%s*$"
  return number and binary[unit] and tonumber(number) << binary[unit] or nil
end

--- Extra options of the user, refused where they hold a heap, as Spark's launcher does.
local function options_of(text, name)
  local words, problem = java.split(text or "")
  if not words then return nil, failure.new("invalid", "%s %s", name, problem) end
  local heap = java.heap_in(words)
  if heap then
    return nil, failure.new("invalid", "%s: %s sets the heap of the driver; use --driver-memory for that", name, heap)
  end
  return words
end

--- The driver's JVM. seen: client.json; keys: spark-defaults.conf and what overrides it; environ: ours.
local function driver(seen, keys, environ, class, arguments)
  local is_client = (keys["spark.submit.deployMode"] or "client") == "client"
  local heap_text = is_client and keys["spark.driver.memory"] or environ.SPARK_DRIVER_MEMORY or "1g"
  local heap = heap_bytes(heap_text)
  if not heap then return nil, failure.new("invalid", 'spark.driver.memory: "%s" is no size; write for example 2g', heap_text) end
  local options = {}
  for _, source in ipairs { { environ.SPARK_SUBMIT_OPTS, "SPARK_SUBMIT_OPTS" },
                            { is_client and keys["spark.driver.defaultJavaOptions"], "spark.driver.defaultJavaOptions" },
                            { is_client and keys["spark.driver.extraJavaOptions"], "spark.driver.extraJavaOptions" } } do
    local words, err = options_of(source[1] or "", source[2])
    if not words then return nil, err end
    table.move(words, 1, #words, #options + 1, options)
  end
  local flags = table.move(seen.flags, 1, #seen.flags, 1, {})
  if seen.archive ~= "" then
    local archive = require("appliance.spark.archive").options(seen.archive)
    table.move(archive, 1, #archive, #flags + 1, flags)
  end
  local command = java.command {
    layout = seen.layout, kind = "application", class = class, heap = heap, flags = flags, conf = seen.conf, after = seen.after,
    before = is_client and keys["spark.driver.extraClassPath"] or nil, options = options, arguments = arguments,
    -- As the launcher gives it to every SparkSubmit; Derby asks for it when it stores the catalog.
    properties = { ["derby.connection.requireAuthentication"] = "false" },
  }
  return command, is_client and keys["spark.driver.extraLibraryPath"] or nil
end

--- Tools that are SparkSubmit with a class of Spark's own: class, resource, more options.
local SHELLS = {
  ["spark-shell"] = { class = "org.apache.spark.repl.Main", resource = "spark-shell", name = "Spark shell",
    options = "-Dscala.usejavacp=true" },
  ["spark-sql"] = { class = "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver", resource = "spark-internal" },
}

local function stock(seen, tool, words)
  local command = { seen.layout.home .. "/bin/" .. tool }
  return { command = table.move(words, 1, #words, 2, command), environment = seen.environment }
end

local function has_word(words, ...)
  for _, word in ipairs(words) do
    for _, wanted in ipairs { ... } do
      if word == wanted then return true end
    end
  end
end

local function beeline(seen, words, environ)
  if not has_word(words, "-u", "-r", "-h", "--help", "--version") then words = { "-u", seen.sql, table.unpack(words) } end
  local command, err = driver(seen, { ["spark.driver.memory"] = "512m" }, environ, "org.apache.hive.beeline.BeeLine", words)
  if not command then return nil, err end
  return { command = command, environment = seen.environment }
end

--- client.prepare(tool, words, seen, environ, read) -> { command =, environment = { NAME = value } } | nil, err
--- seen: what client.json holds. read(path) -> text | nil, err.
function client.prepare(tool, words, seen, environ, read)
  if tool == "beeline" then return beeline(seen, words, environ) end
  local shell = SHELLS[tool]
  if tool ~= "spark-submit" and not shell then return stock(seen, tool, words) end
  local found = client.parse(words, shell ~= nil)
  -- A job without a resource, PySpark's shell and Spark Connect are the launcher's own affairs.
  if found.to_stock or environ.SPARK_REMOTE or (not shell and (not found.rest[1] or found.rest[1]:find "%-shell%-main$")) then
    return stock(seen, tool, words)
  end

  local keys, properties = {}, require "appliance.render.properties"
  local files = { found.properties_file or seen.conf .. "/spark-defaults.conf" }
  if found.properties_file and found.with_defaults then table.insert(files, 1, seen.conf .. "/spark-defaults.conf") end
  for _, path in ipairs(files) do
    local text, err = read(path)
    local document = text and properties.parse(text, path)
    if not document then return nil, failure.new("missing", "%s: %s", path, tostring(err or "can't be read as properties")) end
    for _, item in ipairs(document.items) do keys[item.key] = item.value end
  end
  for key, value in pairs(found.conf) do keys[key] = value end
  if keys["spark.api.mode"] == "connect" or keys["spark.remote"] then return stock(seen, tool, words) end

  local arguments = found.options
  local with = {}
  for name, value in pairs(environ) do with[name] = value end
  if shell then
    arguments = { "--class", shell.class }
    if shell.name then table.move({ "--name", shell.name }, 1, 2, #arguments + 1, arguments) end
    table.move(found.options, 1, #found.options, #arguments + 1, arguments)
    arguments[#arguments + 1] = shell.resource
    if shell.options then with.SPARK_SUBMIT_OPTS = (environ.SPARK_SUBMIT_OPTS or "") .. " " .. shell.options end
  end
  table.move(found.rest, 1, #found.rest, #arguments + 1, arguments)
  local command, library_path = driver(seen, keys, with, SUBMIT, arguments)
  if not command then return nil, library_path end
  local environment = {}
  for name, value in pairs(seen.environment) do environment[name] = value end
  environment.PYTHONHASHSEED = environ.PYTHONHASHSEED or "0"
  if shell and shell.name then environment.SPARK_SCALA_SHELL = "1" end
  if library_path then environment.LD_LIBRARY_PATH = library_path .. (environ.LD_LIBRARY_PATH and ":" .. environ.LD_LIBRARY_PATH or "") end
  return { command = command, environment = environment }
end

--- What a job says of itself to ROLE_MAPPING: a label (--conf spark.appliance.role-label, else JOB_LABEL) and the user it works for.
--- Claims both, not proofs: whoever may start jobs here may say anything (docs/credentials.md). -> { label =, user = }
function client.claims(tool, words, environ)
  local found = client.parse(words, tool ~= "spark-submit")
  local function given(text) return text and text:find "%S" and text or nil end
  local proxy
  for i, word in ipairs(found.options) do
    if word == "--proxy-user" then proxy = found.options[i + 1] end
  end
  return { label = given(found.conf["spark.appliance.role-label"]) or given(environ.JOB_LABEL),
           user = given(proxy) or given(environ.HADOOP_USER_NAME) or given(environ.SPARK_USER) }
end

--- What the node says should change in our environment, so that the job finds its credentials: { NAME = text or false }.
--- A node that serves none, or is not there, changes nothing; but a role that was asked for must be had.
--- -> changes, what its executors should have in theirs (or nil) | nil, err
function client.credentials(claims, environ, ask)
  local json = require "appliance.json"
  local body = { label = claims.label, user = claims.user, environ = {} }
  for name, value in pairs(environ) do
    if name:find "^AWS_" then body.environ[name] = value end
  end
  local answer, err = ask { method = "POST", path = "/credentials", body = json.encode(body), timeout = 10 }
  if answer and answer.status == 200 then
    local said = json.decode(answer.body) or {}
    return said.environment or {}, said.executors
  end
  if not claims.label and (not answer or answer.status == 404) then return {} end
  local why = answer and answer.body:gsub("%s+$", "") or tostring(err)
  return nil, failure.new("denied", "no credentials%s: %s", claims.label and " for the label " .. claims.label or "", why)
end

--- Tools that take --conf before all else.
local SUBMITTING <const> = { ["spark-submit"] = true, ["spark-shell"] = true, ["spark-sql"] = true, pyspark = true, ["run-example"] = true }

--- The words of a tool with an environment for its executors in front, but for what the words themselves say of it.
function client.with_executors(tool, words, executors)
  if not SUBMITTING[tool] or not executors then return words end
  local made = require("appliance.broker.environment").executor_words(executors, client.parse(words, tool ~= "spark-submit").conf)
  return table.move(words, 1, #words, #made + 1, made)
end

--- Becomes the tool. Returns nil, err when it could not.
function client.run(tool, words, state_dir)
  local file = require "appliance.core.file"
  local host = require "appliance.core.host"
  local path = state_dir .. "/conf/client.json"
  local text, err = file.read(path)
  if not text then
    return nil, failure.new("missing", "no node of ours has run here with STATE_DIR=%s (%s); start one, or set STATE_DIR to its "
      .. "directory", state_dir, tostring(err))
  end
  local environ = host.environ()
  local changes, executors = client.credentials(client.claims(tool, words, environ), environ, function(call)
    call.unix = state_dir .. "/control.sock"
    return require("appliance.client").request(call)
  end)
  if not changes then return nil, executors end
  local seen = require("appliance.json").decode(text)
  if executors and require("appliance.broker.environment").can_go_by_name(seen.layout.version or "") then
    words = client.with_executors(tool, words, executors)
  end
  local prepared
  prepared, err = client.prepare(tool, words, seen, environ, file.read)
  if not prepared then return nil, err end
  for name, value in pairs(changes) do host.setenv(name, value or nil) end
  for name, value in pairs(prepared.environment) do
    -- What a person set for this one call stays: SPARK_CONF_DIR aside, which decides what "the node's own configuration" is.
    if name == "SPARK_CONF_DIR" or environ[name] == nil or environ[name] == "" or name == "SPARK_HOME" then host.setenv(name, value) end
  end
  return host.exec(prepared.command)
end

return client
