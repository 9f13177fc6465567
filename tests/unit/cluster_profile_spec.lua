--- The shipped profile `cluster`: nodes whose masters are known beforehand, planned and simulated.
local profile = require "appliance.profile"
local settings = require "appliance.settings"
local simulate = require "appliance.simulate"

local function layout()
  return assert(require "appliance.spark.layout".describe {
    home = "/opt/spark", java = { home = "/jdk", release = 'JAVA_VERSION="17.0.12"' },
    jars = { { name = "spark-core_2.13-4.1.1.jar" }, { name = "spark-hive-thriftserver_2.13-4.1.1.jar" },
      { name = "slf4j-api-2.0.17.jar" } },
  })
end

local function masters(answers, ...)
  local names = { ... }
  return { uri = "spark://" .. table.concat(names, ","), masters = names, answers = answers, from = "stack" }
end

local function facts(of_masters)
  return {
    node = { ip = "10.0.0.5", probe = "127.0.0.1", public = "10.0.0.5", name = "host", environ = { PATH = "/usr/bin:/bin" } },
    limits = { memory = 4 << 30, machine = 16 << 30, cpus = 4 }, spark = layout(), casualties = {}, s3 = {}, masters = of_masters,
  }
end

local function node(environ, of_masters)
  environ.STATE_DIR = "/state"
  local checked, faults = profile.check(nil, { environ = environ, path = { "profiles" }, facts = facts(of_masters) })
  assert(checked, faults and settings.explain(faults))
  assert.equal("cluster", checked.profile.name)
  local by_name, names = {}, {}
  for i, spec in ipairs(checked.plan.services) do
    by_name[spec.name], names[i] = spec, spec.name
  end
  return { names = table.concat(names, " "), services = by_name, files = checked.plan.files, waits = checked.plan.waits,
    urls = checked.plan.urls }
end

local function last(spec) return spec.command[#spec.command] end

describe("cluster", function()
  it("is chosen where masters are elsewhere, or only one of master and worker runs", function()
    for _, environ in ipairs { { MASTER_URI = "spark://a:7077" }, { START_MASTER = "true" }, { START_WORKER = "true" },
      { MASTER_STACK_NAME = "spark-masters" }, { SPARK_MODE = "master" } } do
      node(environ, masters(true, "a:7077"))
    end
  end)

  it("waits with worker and SQL server until a master answers", function()
    local environ = { START_WORKER = "true", START_THRIFTSERVER = "true", MASTER_URI = "spark://a:7077,b:7077" }
    local made = node(environ, masters(false, "a:7077", "b:7077"))
    assert.equal("prepare", made.names)
    assert.same({ worker = "no master answers yet at spark://a:7077,b:7077",
      thriftserver = "no master answers yet at spark://a:7077,b:7077" }, made.waits)
    made = node(environ, masters(true, "a:7077", "b:7077"))
    assert.equal("prepare worker thriftserver", made.names)
    assert.is_nil(made.waits)
  end)

  it("gives the list of masters to all who need it, as it is", function()
    local made = node({ START_WORKER = "true", START_THRIFTSERVER = "true", MASTER_URI = "spark://b:7077,a:7077" },
      masters(true, "b:7077", "a:7077"))
    assert.equal("spark://b:7077,a:7077", last(made.services.worker))
    assert.equal("spark://b:7077,a:7077", made.files["spark-defaults.conf"].keys["spark.master"].value)
    local words = table.concat(made.services.thriftserver.command, " ")
    assert.truthy(words:find("--master spark://b:7077,a:7077", 1, true))
    assert.is_nil(made.files["spark-defaults.conf"].keys["spark.deploy.recoveryMode"])
    assert.same({ prepare = "done" }, made.services.worker.after)
    assert.equal(0, made.services.worker.ready.deadline)
  end)

  it("follows the stack that its masters are in", function()
    local made = node({ START_WORKER = "true", MASTER_STACK_NAME = "spark-masters" }, masters(true, "10.0.0.7:7077", "10.0.0.8:7077"))
    assert.equal("spark://10.0.0.7:7077,10.0.0.8:7077", last(made.services.worker))
  end)

  it("runs a lone master that others join, and waits for nobody", function()
    local made = node({ START_MASTER = "true" }, masters(true, "10.0.0.5:7077"))
    assert.equal("prepare master", made.names)
    assert.equal("FILESYSTEM", made.files["spark-defaults.conf"].keys["spark.deploy.recoveryMode"].value)
    made = node({ START_MASTER = "true", START_THRIFTSERVER = "true" }, masters(true, "10.0.0.5:7077"))
    assert.equal("prepare master thriftserver", made.names)
    assert.same({ master = "ready" }, made.services.thriftserver.after)
  end)

  it("starts the worker beside its own master's start only where that master is the one", function()
    local environ = { START_MASTER = "true", START_WORKER = "true", PROFILE = "cluster" }
    local made = node(environ, masters(true, "10.0.0.5:7077"))
    assert.same({ prepare = "done", master = "started" }, made.services.worker.after)
    environ.MASTER_URI = "spark://a:7077"
    made = node(environ, masters(true, "a:7077"))
    assert.same({ prepare = "done" }, made.services.worker.after)
  end)
end)

describe("cluster, simulated", function()
  local WORKER = { START_WORKER = "true", MASTER_STACK_NAME = "spark-masters", STATE_DIR = "/state" }

  local function start(of_masters, given)
    return simulate("cluster", facts(of_masters), { settings = given or WORKER, path = { "profiles" } })
  end

  it("starts the worker once when a master answers", function()
    local it_is <close> = start(masters(false, "a:7077"))
    it_is.exit("prepare", 0)
    it_is.fact("masters", masters(true, "a:7077"))
    it_is.pass(2)
    assert.same({ "worker: started, a master answers" }, it_is.decisions)
    assert.equal(1, it_is.services.worker.starts)
  end)

  it("leaves a registered worker alone when the masters' stack changes, and gives its next run the new list", function()
    local it_is <close> = start(masters(true, "a:7077"))
    it_is.exit("prepare", 0)
    it_is.ready "worker"
    it_is.fact("masters", masters(true, "a:7077", "b:7077"))
    it_is.pass(2)
    assert.equal(1, it_is.services.worker.starts)
    it_is.exit("worker", 1)                          -- Spark gave up
    it_is.pass(60)
    assert.equal(2, it_is.services.worker.starts)
    assert.equal("spark://a:7077,b:7077", it_is.services.worker.spec.command[#it_is.services.worker.spec.command])
  end)

  it("restarts the worker when a person names another master", function()
    local function by_hand(uri) return { uri = uri, masters = { uri:sub(9) }, answers = true, from = "setting" } end
    local it_is <close> = start(by_hand "spark://a:7077", { START_WORKER = "true", MASTER_URI = "spark://a:7077", STATE_DIR = "/state" })
    it_is.exit("prepare", 0)
    it_is.ready "worker"
    it_is.fact("masters", by_hand "spark://b:7077")
    it_is.pass(2)
    assert.equal(2, it_is.services.worker.starts)
  end)

  it("restarts a worker that has not registered yet with the new list", function()
    local it_is <close> = start(masters(true, "a:7077"))
    it_is.exit("prepare", 0)
    it_is.fact("masters", masters(true, "b:7077"))
    it_is.pass(5)
    assert.equal(2, it_is.services.worker.starts)
  end)
end)

describe("where masters are", function()
  local elsewhere = require "appliance.cluster.elsewhere"
  local pages = require "appliance.cluster.pages"

  it("is told by settings", function()
    assert.same({ from = "setting", uri = "spark://a:7077" }, elsewhere.way { MASTER_URI = "spark://a:7077", MASTER_STACK_NAME = "s" })
    assert.same({ from = "stack", stack = "s" }, elsewhere.way { MASTER_STACK_NAME = "s" })
    assert.same({ from = "own" }, elsewhere.way { START_WORKER = true })
    assert.same(masters(true, "a:7077", "[fd00::1]:7078"),
      elsewhere.value(elsewhere.list "spark://a:7077,[fd00::1]:7078", true, "stack"))
  end)

  local PAGE <const> = [[{
  "url" : "spark://10.0.0.7:7077",
  "workers" : [ { "id" : "worker-20261122-10.0.0.5-7077", "host" : "10.0.0.5", "port" : 7077, "resources" : { }, "state" : "DEAD",
    "lastheartbeat" : 1 }, { "id" : "worker-20261123-10.0.0.5-7077", "host" : "10.0.0.5", "state" : "ALIVE", "lastheartbeat" : 2 } ],
  "completedapps" : [ { "id" : "app-1", "state" : "FINISHED" } ],
  "status" : "ALIVE"
}]]

  it("is seen on a master's page: does it lead, and whom does it know", function()
    assert.same({ status = "ALIVE", port = 7077 }, pages.master(PAGE))
    assert.same({ status = "STANDBY", port = 7078 }, pages.master '{"url":"spark://[fd00::1]:7078","workers":[],"status":"STANDBY"}')
    assert.is_nil(pages.master '{"status":"ok"}')
    assert.is_nil(pages.master "<html>")
    assert.equal("ALIVE", pages.state_of(PAGE, "worker-20261123-10.0.0.5-7077"))
    assert.equal("DEAD", pages.state_of(PAGE, "worker-20261122-10.0.0.5-7077"))
    assert.is_nil(pages.state_of(PAGE, "worker-20261124-10.0.0.5-7077"))
    assert.equal("worker-20261123-10.0.0.5-7077", pages.worker_id '{"id" : "worker-20261123-10.0.0.5-7077", "masterurl" : ""}')
    assert.is_nil(pages.worker_id "{}")
  end)
end)

describe("a worker", function()
  local lost = require "appliance.cluster.lost"

  it("is lost when a leader goes on not knowing it, and only then", function()
    local watch = lost.new(100)
    assert.is_false(watch:observe(0, "unregistered", 7))
    assert.is_false(watch:observe(99, "unregistered", 7))
    assert.is_true(watch:observe(100, "unregistered", 7))
    assert.is_false(watch:observe(110, "unregistered", 8))        -- another process: its own time
    assert.is_false(watch:observe(205, "unregistered", 8))
    assert.is_false(watch:observe(206, "registered", 8))
    assert.is_false(watch:observe(300, "unregistered", 8))
    assert.is_false(watch:observe(350, "unknown", 8))             -- nobody leads: Spark may well be right to wait
    assert.is_false(watch:observe(420, "unregistered", 8))
    assert.is_false(watch:observe(519, "unregistered", 8))
    assert.is_true(watch:observe(520, "unregistered", 8))
    assert.is_false(watch:observe(521, "unregistered", 8))        -- one restart, then patience again
  end)
end)
