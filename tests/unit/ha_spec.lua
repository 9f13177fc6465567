--- The shipped profile `ha`: which plans a node of a cluster has, and what a changed cluster changes of them.
local ha = require "appliance.spark.ha"
local profile = require "appliance.profile"
local reconcile = require "appliance.reconcile"
local settings = require "appliance.settings"

local URI <const> = "spark://10.0.0.5:7077,10.0.0.6:7077"

local function layout(version)
  return assert(require "appliance.spark.layout".describe {
    home = "/opt/spark", java = { home = "/jdk", release = 'JAVA_VERSION="17.0.12"' },
    jars = { { name = ("spark-core_2.13-%s.jar"):format(version or "4.1.1") },
      { name = ("spark-hive-thriftserver_2.13-%s.jar"):format(version or "4.1.1") }, { name = "slf4j-api-2.0.17.jar" } },
  })
end

local function cluster(change)
  local fact = {
    name = "spark", node = "10.0.0.5", dir = "/spark-appliance/spark/spark/4.1.1", zookeeper = "127.0.0.1:40001/x",
    masters = { "10.0.0.5:7077", "10.0.0.6:7077" }, uri = URI,
  }
  for field, value in pairs(change or {}) do fact[field] = value or nil end
  return fact
end

local function check(environ, change)
  local env = { STATE_DIR = "/state", ZOOKEEPER = "10.0.0.1:2181" }
  for name, value in pairs(environ or {}) do env[name] = value end
  local facts = {
    node = { ip = "10.0.0.5", probe = "127.0.0.1", public = "10.0.0.5", name = "host", environ = { PATH = "/usr/bin:/bin" } },
    limits = { memory = 8 << 30, machine = 16 << 30, cpus = 4 }, spark = layout(), s3 = {}, casualties = {}, cluster = cluster(change),
  }
  local layers = change and change.layers
  facts.spark.layers = layers
  local object = assert(profile.load(nil, { environ = env, path = { "profiles" } }))
  local read, faults = settings.read(object.settings, env)
  if not read then return nil, faults end
  local draft, err = object.plan(read, facts)
  if not draft then return nil, { err } end
  local made
  made, faults = require "appliance.plan".normalise(draft, { profile = object.name, layers = layers })
  return made and { profile = object, plan = made }, faults
end

local function planned(environ, change)
  local checked, faults = check(environ, change)
  assert(checked, faults and settings.explain(faults))
  assert.equal("ha", checked.profile.name)
  local by_name, names = {}, {}
  for i, spec in ipairs(checked.plan.services) do by_name[spec.name], names[i] = spec, spec.name end
  return { names = table.concat(names, " "), services = by_name, plan = checked.plan, notes = table.concat(checked.plan.notes, "\n"),
    keys = checked.plan.files["spark-defaults.conf"].keys }
end

local function argument(spec, flag)
  for i, word in ipairs(spec.command) do
    if word == flag then return spec.command[i + 1] end
  end
end

local function last(spec) return spec.command[#spec.command] end

local WHOLE <const> = { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true" }

describe("ha", function()
  it("is chosen by ZOOKEEPER, and runs a master, a worker or both, as the node says", function()
    assert.equal("prepare master worker", planned().names)
    assert.equal("prepare master", planned({ START_MASTER = "true" }).names)
    assert.equal("prepare worker", planned({ START_WORKER = "true" }).names)
    assert.equal("prepare master worker thriftserver", planned(WHOLE).names)
  end)

  it("has its masters recover in ZooKeeper, by the way and at the place of the cluster", function()
    local keys = planned().keys
    assert.equal("ZOOKEEPER", keys["spark.deploy.recoveryMode"].value)
    assert.equal("127.0.0.1:40001/x", keys["spark.deploy.zookeeper.url"].value)
    assert.equal("/spark-appliance/spark/spark/4.1.1", keys["spark.deploy.zookeeper.dir"].value)
    assert.equal("20s", keys["spark.deploy.recoveryTimeout"].value)
    assert.is_nil(keys["spark.deploy.recoveryDirectory"])
    assert.equal(URI, keys["spark.master"].value)
    assert.is_nil(planned({ START_WORKER = "true" }).keys["spark.deploy.recoveryMode"])
  end)

  it("leases master and thrift server, and takes a standby for a healthy master", function()
    local services = planned(WHOLE).services
    assert.equal("node", services.master.lease)
    assert.equal("sql", services.thriftserver.lease)
    assert.is_nil(services.worker.lease)
    assert.equal('"status":"', services.master.ready.has)
    assert.equal("always", services.master.restart)
  end)

  it("tells worker and thrift server of all masters, and has the worker wait for none of this node", function()
    local services = planned(WHOLE).services
    assert.equal(URI, last(services.worker))
    assert.equal(URI, argument(services.thriftserver, "--master"))
    assert.same({ prepare = "done" }, services.worker.after)
    assert.equal(0, services.worker.ready.deadline)
    assert.same({ master = "ready" }, services.thriftserver.after)
  end)

  it("puts the thrift server behind the relay, and in front where there is none", function()
    local services = planned(WHOLE).services
    assert.matches("hive.server2.thrift.port=10010", table.concat(services.thriftserver.command, " "), 1, true)
    assert.same({ kind = "hive", host = "127.0.0.1", port = 10010, deadline = 180, misses = 3, health_period = 10 },
      services.thriftserver.ready)
    local alone = { SQL_RELAY = "false" }
    for name, value in pairs(WHOLE) do alone[name] = value end
    services = planned(alone).services
    assert.equal(10000, services.thriftserver.ready.port)
  end)

  it("asks for the port only where a session can't be opened without a login", function()
    local site = [[<configuration><property><name>hive.server2.authentication</name><value>NOSASL</value></property></configuration>]]
    local layers = { ["hive-site.xml"] = { { layer = "mounted", origin = "/conf/hive-site.xml", text = site } } }
    assert.equal("tcp", planned(WHOLE, { layers = layers }).services.thriftserver.ready.kind)
  end)

  it("has no thrift server beside a worker alone, and says so", function()
    local made = planned { START_WORKER = "true", START_THRIFTSERVER = "true" }
    assert.equal("prepare worker", made.names)
    assert.matches("START_THRIFTSERVER has no effect here", made.notes)
    assert.matches("MASTER_URI has no effect", planned({ MASTER_URI = "spark://elsewhere:7077" }).notes)
  end)

  it("waits, and says for what", function()
    local made = planned(WHOLE, { uri = false, masters = {}, why = "1 of 3 masters is here" })
    assert.equal("prepare master", made.names)
    assert.same({ worker = "1 of 3 masters is here", thriftserver = "1 of 3 masters is here" }, made.plan.waits)
    local told = {}
    for _, step in ipairs(reconcile.steps(nil, made.plan)) do
      if step.kind == "say" then told[#told + 1] = step.log end
    end
    assert.matches("worker: waits, 1 of 3 masters is here", table.concat(told, "\n"))
    assert.same({}, reconcile.steps(made.plan, made.plan))
    made = planned(WHOLE, { waits = "version 4.0.1 still runs" })
    assert.equal("prepare master thriftserver", made.names)
    assert.same({ worker = "version 4.0.1 still runs" }, made.plan.waits)
  end)

  it("says that tables vanish with the node, until metastore and warehouse are shared", function()
    assert.matches("SQL's tables will vanish with the node: no metastore and warehouse", planned(WHOLE).notes)
    assert.not_matches("vanish", planned().notes)
    local function site(keys)
      local text = "<configuration>"
      for name, value in pairs(keys) do
        text = text .. ("<property>\n <name>%s</name>\n <value> %s </value></property>"):format(name, value)
      end
      return text .. "</configuration>"
    end
    assert.is_nil(ha.catalog_note(site { ["hive.metastore.uris"] = "thrift://m:9083" }))
    assert.is_nil(ha.catalog_note(site { ["javax.jdo.option.ConnectionURL"] = "jdbc:postgresql://pg/hive" }, "s3a://b/w"))
    assert.is_nil(ha.catalog_note(site { ["javax.jdo.option.ConnectionURL"] = "jdbc:postgresql://pg/hive",
      ["hive.metastore.warehouse.dir"] = "s3a://b/w" }))
    assert.matches("no warehouse", ha.catalog_note(site { ["javax.jdo.option.ConnectionURL"] = "jdbc:postgresql://pg/hive" }))
    assert.matches("no metastore %(", ha.catalog_note(site { ["hive.metastore.warehouse.dir"] = "s3a://b/w" }))
    assert.matches("no metastore and", ha.catalog_note(site { ["javax.jdo.option.ConnectionURL"] = "jdbc:derby:;databaseName=x" }))
  end)

  it("refuses another place for its masters' latches", function()
    local _, faults = check { SPARK_MASTER_OPTS = "-Dspark.deploy.zookeeper.dir=/mine" }
    assert.matches("SPARK_MASTER_OPTS: %-Dspark.deploy.zookeeper.dir is what the profile ha says itself", tostring(faults[1]))
    local layers = { ["spark-defaults.conf"] = { { layer = "mounted", origin = "/conf/spark-defaults.conf",
      text = "spark.deploy.recoveryMode FILESYSTEM\n" } } }
    _, faults = check({}, { layers = layers })
    assert.matches("spark%-defaults.conf: spark.deploy.recoveryMode is what", tostring(faults[1]))
    assert.is_table(check({ SPARK_MASTER_OPTS = "-Dx=y", SPARK_DAEMON_JAVA_OPTS = "-Dspark.deploy.retainedDrivers=5" }))
  end)

  it("keeps a user's options as they are, and last", function()
    local command = planned({ SPARK_MASTER_OPTS = "-Dmine=1", SPARK_DAEMON_JAVA_OPTS = "-Dall=2" }).services.master.command
    assert.matches("-Dall=2 -Dmine=1 org.apache.spark.deploy.master.Master", table.concat(command, " "), 1, true)
    assert.not_matches("recoveryMode", table.concat(command, " "))
  end)
end)

describe("a changed list of masters", function()
  local more = cluster { masters = { "10.0.0.5:7077", "10.0.0.6:7077", "10.0.0.7:7077" }, uri = URI .. ",10.0.0.7:7077" }

  local function done(states)
    local steps = reconcile.steps(planned(WHOLE).plan, planned(WHOLE, more).plan, { states = states, causes = { "cluster.uri is new" } })
    local kinds = {}
    for _, step in ipairs(steps) do
      if step.service then kinds[step.service] = (kinds[step.service] and kinds[step.service] .. " " or "") .. step.kind end
    end
    return kinds, steps
  end

  it("restarts nobody that is up, and is there for the next start", function()
    local kinds, steps = done { master = "up", worker = "up", thriftserver = "up" }
    assert.same({ master = "keep", worker = "declare keep", thriftserver = "declare keep" }, kinds)
    for _, step in ipairs(steps) do
      if step.kind == "declare" and step.service == "worker" then assert.equal(more.uri, last(step.spec)) end
    end
  end)

  it("restarts a worker that has not registered with any", function()
    local kinds = done { master = "up", worker = "starting", thriftserver = "up" }
    assert.equal("declare restart", kinds.worker)
    assert.equal("declare keep", kinds.thriftserver)
  end)

  it("leaves alone who starts, or waits for its lease", function()
    for _, state in ipairs { "starting", "waiting", "backoff" } do
      local kinds = done { master = state, worker = "up", thriftserver = state }
      assert.same({ "keep", "declare keep" }, { kinds.master, kinds.thriftserver })
    end
  end)

  it("hides no other change", function()
    local wanted = planned({ START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true", EXECUTOR_MEMORY = "600m" }, more)
    local steps = reconcile.steps(planned(WHOLE).plan, wanted.plan, { states = { worker = "up", master = "up", thriftserver = "up" } })
    local restarted = {}
    for _, step in ipairs(steps) do
      if step.kind == "restart" then restarted[#restarted + 1] = step.service end
    end
    table.sort(restarted)
    assert.same({ "master", "thriftserver", "worker" }, restarted)
  end)
end)

describe("a simulated node of a cluster", function()
  it("runs master and SQL only while it has their leases, and needs no new plan for that", function()
    local simulate = require "appliance.simulate"
    local facts = {
      node = { ip = "10.0.0.5", probe = "127.0.0.1", public = "10.0.0.5", name = "host", environ = { PATH = "/usr/bin:/bin" } },
      limits = { memory = 8 << 30, machine = 16 << 30, cpus = 4 }, spark = layout(), s3 = {}, casualties = {}, cluster = cluster(),
    }
    local node <close> = simulate("ha", facts, { path = { "profiles" }, settings = {
      ZOOKEEPER = "10.0.0.1:2181", START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true", STATE_DIR = "/state" } })
    node.exit("prepare", 0)
    node.pass(1)
    assert.equal("waiting", node.services.master.state)
    assert.equal("starting", node.services.worker.state)
    node.lease("node", 100)
    node.ready "master"
    assert.equal("up", node.services.master.state)
    assert.equal("waiting", node.services.thriftserver.state)
    node.lease("sql", 100)
    assert.equal("starting", node.services.thriftserver.state)
    node.lease("sql", 0)
    assert.equal("waiting", node.services.thriftserver.state)
    assert.same({}, node.decisions)
  end)
end)
