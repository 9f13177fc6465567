--- The shipped profile `single-node`: what the older START_* variables and their kin make of a node.
local profile = require "appliance.profile"
local settings = require "appliance.settings"

local function layout()
  return assert(require "appliance.spark.layout".describe {
    home = "/opt/spark", java = { home = "/jdk", release = 'JAVA_VERSION="17.0.12"' },
    jars = { { name = "spark-core_2.13-4.1.1.jar" }, { name = "spark-hive-thriftserver_2.13-4.1.1.jar" },
      { name = "slf4j-api-2.0.17.jar" } },
  })
end

local function facts()
  return {
    node = { ip = "10.0.0.5", probe = "127.0.0.1", public = "10.0.0.5", name = "host", environ = { PATH = "/usr/bin:/bin" } },
    limits = { memory = 4 << 30, machine = 16 << 30, cpus = 4 },
    spark = layout(),
    casualties = {},
  }
end

local function check(environ)
  environ.STATE_DIR, environ.PROFILE = "/state", environ.PROFILE or "single-node"  -- else some of them were parts of a cluster
  return profile.check(nil, { environ = environ, path = { "profiles" }, facts = facts() })
end

local function node(environ)
  local checked, faults = check(environ)
  assert(checked, faults and settings.explain(faults))
  assert.equal("single-node", checked.profile.name)
  local by_name, names = {}, {}
  for i, spec in ipairs(checked.plan.services) do
    by_name[spec.name], names[i] = spec, spec.name
  end
  return { names = table.concat(names, " "), services = by_name, files = checked.plan.files, notes = checked.plan.notes }
end

--- The word after `flag` in a command, or whether `flag` is there as the last.
local function argument(spec, flag)
  for i, word in ipairs(spec.command) do
    if word == flag then return spec.command[i + 1] end
  end
end

local function last(spec) return spec.command[#spec.command] end

describe("single-node", function()
  it("runs master and worker when nothing is said, and when the older README's line says so", function()
    assert.equal("prepare master worker", node({}).names)
    local made = node { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "", MASTER_URI = "",
      ZOOKEEPER_STACK_NAME = "", HIVE_SITE_XML = "" }
    assert.equal("prepare master worker", made.names)
    assert.equal("10.0.0.5", argument(made.services.master, "--host"))
    assert.equal("7077", argument(made.services.master, "--port"))
    assert.equal("8080", argument(made.services.master, "--webui-port"))
    assert.equal("spark://10.0.0.5:7077", last(made.services.worker))
    assert.equal("0", argument(made.services.worker, "--port"))
    assert.equal("8081", argument(made.services.worker, "--webui-port"))
    assert.equal("spark://10.0.0.5:7077", made.files["spark-defaults.conf"].keys["spark.master"].value)
  end)

  it("adds the SQL server when asked, which leaves cores and memory to others", function()
    local made = node { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true" }
    assert.equal("prepare master worker thriftserver", made.names)
    assert.is_true(tonumber(argument(made.services.worker, "--cores")) > 1)
    local text = table.concat(made.services.thriftserver.command, " ")
    assert.truthy(text:find "hive.server2.thrift.port=10000")
    local cores = tonumber(text:match "spark.cores.max=(%d+)")
    assert.is_true(cores < tonumber(argument(made.services.worker, "--cores")))
  end)

  it("is a lone master", function()
    assert.equal("prepare master", node { START_MASTER = "true" }.names)
    assert.equal("prepare master", node { SPARK_MODE = "master" }.names)
  end)

  it("is a worker of masters elsewhere", function()
    for _, environ in ipairs {
      { START_WORKER = "true", MASTER_URI = "spark://a:7077,b:7077" },
      { MASTER_URI = "spark://a:7077,b:7077" },
      { SPARK_MODE = "worker", SPARK_MASTER_URL = "spark://a:7077,b:7077" },
      { START_WORKER = "true", MASTER_STACK_NAME = "spark://a:7077,b:7077" },
    } do
      local made = node(environ)
      assert.equal("prepare worker", made.names)
      assert.equal("spark://a:7077,b:7077", last(made.services.worker))
      assert.is_nil(made.files["spark-defaults.conf"].keys["spark.deploy.recoveryMode"])
    end
  end)

  it("is a worker of this host's master in another container when no master is named", function()
    assert.equal("spark://10.0.0.5:7077", last(node { START_WORKER = "true" }.services.worker))
  end)

  it("is an SQL server of masters elsewhere", function()
    local made = node { START_THRIFTSERVER = "true", MASTER_URI = "spark://a:7077,b:7077" }
    assert.equal("prepare thriftserver", made.names)
    assert.equal("spark://a:7077,b:7077", argument(made.services.thriftserver, "--master"))
  end)

  it("uses the master it is told even where one runs", function()
    local made = node { START_MASTER = "true", START_WORKER = "true", MASTER_URI = "spark://a:7077,10.0.0.5:7077" }
    assert.equal("spark://a:7077,10.0.0.5:7077", last(made.services.worker))
  end)

  it("gives a setting's value its layer", function()
    local keys = node { EXECUTOR_MEMORY = "768m", SPARK_DRIVER_MEMORY = "1g", DEFAULT_CORES = "2" }.files["spark-defaults.conf"].keys
    assert.equal("768m", keys["spark.executor.memory"].value)
    assert.equal("EXECUTOR_MEMORY (environment)", keys["spark.executor.memory"].origin)
    assert.equal("1g", keys["spark.driver.memory"].value)
    assert.equal("SPARK_DRIVER_MEMORY (environment), for DRIVER_MEMORY", keys["spark.driver.memory"].origin)
    assert.equal("2", tostring(keys["spark.deploy.defaultCores"].value))
  end)

  it("keeps a secret out of every command line, and marks it in the file", function()
    local made = node { SPARK_RPC_AUTHENTICATION_ENABLED = "yes", SPARK_RPC_AUTHENTICATION_SECRET = "sesame-opens" }
    for name, spec in pairs(made.services) do
      assert.is_nil(table.concat(spec.command, " "):find("sesame", 1, true), name)
      for variable, value in pairs(spec.env or {}) do assert.is_nil(value:find("sesame", 1, true), variable) end
    end
    assert.is_true(made.files["spark-defaults.conf"].keys["spark.authenticate.secret"].secret)
  end)

  it("says all that is wrong at once", function()
    local _, faults = check { START_MASTER = "", WORKER_MEMORY = "lots", WORKER_COERS = "2" }
    assert.equal(2, #faults)
    assert.truthy(settings.explain(faults):find 'WORKER_COERS is no setting: did you mean WORKER_CORES?')
    _, faults = check { START_MASTER = "" }
    assert.truthy(settings.explain(faults):find "^START_MASTER is not true, nor is START_WORKER or START_THRIFTSERVER")
    _, faults = check { PROFILE = "highly-available" }
    assert.truthy(settings.explain(faults):find("PROFILE=highly-available: there is no such profile", 1, true))
  end)

  it("refuses a share of memory that can't work, with the cure", function()
    local _, faults = check { WORKER_MEMORY = "8g" }
    assert.truthy(settings.explain(faults):find("WORKER_MEMORY=8g", 1, true), settings.explain(faults))
  end)
end)
