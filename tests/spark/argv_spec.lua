-- Our command lines against those that Spark's own launcher builds, for whatever version SPARK_HOME is.
-- Intended differences: the class path names the jars one by one with the conf directory last; the heap, collector, compiler, archive
-- and temporary directory are ours; the master's and worker's arguments come from the plan. All else must be there.
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local json = require "appliance.json"
local java = require "appliance.spark.java"
local spark_fact = require "appliance.facts.spark"
local spark_node = require "spark_node"

local SUBMIT <const> = "org.apache.spark.deploy.SparkSubmit"

describe("the command lines of java", function()
  local layout

  setup(function()
    layout = assert(spark_fact.discover({ SPARK_HOME = os.getenv "SPARK_HOME" }, host.environ(), "/nonexistent", file))
  end)

  --- What bin/spark-class would exec: the launcher prints it, NUL-separated.
  local function launcher(...)
    local code, output = spark_node.run({ layout.java.program, "-Xmx64m", "-cp", layout.home .. "/jars/*",
      "org.apache.spark.launcher.Main", ... },
      { SPARK_HOME = layout.home, SPARK_SCALA_VERSION = layout.scala, PATH = os.getenv "PATH", JAVA_HOME = layout.java.home })
    assert.equal(0, code, output)
    local words = {}
    for word in output:gsub("^%s*%z?\n?", ""):gmatch "[^%z\n]+" do words[#words + 1] = word end
    return words
  end

  local function index(words, wanted)
    for i, word in ipairs(words) do
      if word == wanted then return i end
    end
  end

  --- What differs on purpose.
  local OURS <const> = {
    "^%-Xmx", "^%-Xshare", "^%-Xlog", "^%-XX:%+Use%a+GC$", "^%-XX:Tiered", "^%-XX:%+ExitOn", "^%-XX:SharedArchive", "^%-Djava%.io%.tmpdir",
    "^%-Dappliance%.", "^%-Dderby%.system%.home", "^%-Dspark%.port%.maxRetries=0$",
  }

  local function is_ours(word)
    for _, pattern in ipairs(OURS) do
      if word:find(pattern) then return true end
    end
    return false
  end

  --- JVM options without what differs on purpose, as a set; the class; its arguments.
  local function parts(words, class)
    local at = assert(index(words, class), class .. " is not in " .. table.concat(words, " "))
    local options, i = {}, 2
    while i < at do
      local word = words[i]
      if word == "-cp" then
        i = i + 1
      elseif not is_ours(word) then
        options[#options + 1] = word
      end
      i = i + 1
    end
    table.sort(options)
    return options, words[at], table.move(words, at + 1, #words, 1, {})
  end

  local function jars(words)
    local names = {}
    for path in words[index(words, "-cp") + 1]:gmatch "[^:]+" do
      if path:find "/jars/%*$" then
        for _, name in ipairs(file.list(path:sub(1, -2))) do
          if name:find "%.jar$" then names[name] = true end
        end
      elseif path:find "%.jar$" then
        names[path:match "[^/]+$"] = true
      end
    end
    return names
  end

  local function plan_commands()
    local directory = spark_node.temporary()
    local env = { STATE_DIR = directory, SPARK_HOME = layout.home, JAVA_HOME = layout.java.home, PATH = os.getenv "PATH",
      BIND_ADDRESS = "127.0.0.1",
      START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true", APPLIANCE_PROFILES = spark_node.SOURCE .. "/profiles" }
    local path = directory .. "/plan.json"
    local code, output = spark_node.run({ "/bin/sh", "-c", 'exec "$0" plan --json >"$1"',
      os.getenv "APPLIANCE" or "build/spark-appliance", path }, env)
    local plan = file.read(path)
    file.remove_tree(directory)
    assert.equal(0, code, output)
    local commands = {}
    for _, service in ipairs(json.decode(plan).services) do commands[service.name] = service.command end
    return commands
  end

  it("have the launcher's options, classes and jars", function()
    local ours = plan_commands()
    for service, class in pairs { master = "org.apache.spark.deploy.master.Master", worker = "org.apache.spark.deploy.worker.Worker" } do
      local stock = launcher(class, "--host", "h")
      local stock_options, stock_class = parts(stock, class)
      local options, our_class = parts(ours[service], class)
      assert.same(stock_options, options, service)
      assert.equal(stock_class, our_class)
      assert.same(jars(stock), jars(ours[service]))
    end
  end)

  it("have them for SparkSubmit, with the same class and resource", function()
    local stock = launcher(SUBMIT, "--master", "spark://h:7077", "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2")
    local ours = plan_commands().thriftserver
    local stock_options, _, stock_arguments = parts(stock, SUBMIT)
    local options, _, arguments = parts(ours, SUBMIT)
    -- 3.5 leaves it to Derby's default, which is the same.
    if not index(stock_options, "-Dderby.connection.requireAuthentication=false") then
      table.remove(options, index(options, "-Dderby.connection.requireAuthentication=false"))
    end
    assert.same(stock_options, options)
    for _, word in ipairs { "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal" } do
      assert.is_number(index(stock_arguments, word))
      assert.is_number(index(arguments, word))
    end
  end)

  it("give a driver the heap and options its user asked for, as the launcher does", function()
    local words = { "--conf", "spark.driver.memory=700m", "--driver-java-options", "-Da='b c' -Dd=e", "--class", "X", "x.jar", "1" }
    local directory = spark_node.temporary()
    assert(file.replace(directory .. "/spark-defaults.conf", "spark.master local\n", tonumber("644", 8), false))
    local seen = { layout = layout, archive = "", conf = directory, state = directory, after = "", flags = {}, environment = {}, sql = "" }
    local prepared = assert(require("appliance.spark.client").prepare("spark-submit", words, seen, {}, file.read))
    file.remove_tree(directory)
    local stock = launcher(SUBMIT, table.unpack(words))
    assert.is_number(index(stock, "-Xmx700m"))
    assert.is_number(index(prepared.command, "-Xmx700m"))
    for _, word in ipairs { "-Da=b c", "-Dd=e" } do
      assert.is_number(index(stock, word))
      assert.is_number(index(prepared.command, word))
    end
    assert.same({ "x.jar", "1" }, table.move(prepared.command, #prepared.command - 1, #prepared.command, 1, {}))
    assert.same({ "x.jar", "1" }, table.move(stock, #stock - 1, #stock, 1, {}))
  end)

  it("split options as the launcher does", function()
    for _, text in ipairs { [[-Da=b -Dc="d e"]], [['-Da=b c' -Dd\ e=f]], [[-Da=\"b\"]], [[  -Da=b   ]] } do
      local stock = launcher(SUBMIT, "--driver-java-options", text, "--class", "X", "x.jar")
      for _, word in ipairs(java.split(text)) do assert.is_number(index(stock, word), word) end
    end
  end)
end)
