local casualties = require "appliance.spark.casualties"
local node_fact = require "appliance.facts.node"
local profile = require "appliance.profile"
local spark_fact = require "appliance.facts.spark"

local GIB = 1 << 30

local function facts(more)
  local all = {
    node = { ip = "10.0.0.5", probe = "127.0.0.1", public = "10.0.0.5", name = "n1", environ = { PATH = "/usr/bin",
      AWS_REGION = "eu-central-1" } },
    limits = { machine = 16 * GIB, cpus = 2 },
    casualties = {},
    spark = {
      home = "/opt/spark", version = "4.1.1", scala = "2.13", class_path = "/opt/spark/jars/a.jar:/opt/spark/jars/b.jar",
      java = { home = "/j", program = "/j/bin/java", major = 17 }, has_thriftserver = true, has_json_layout = true,
      archive = { key = "K", path = "/opt/spark/archive/K/spark.jsa", target = "/state/archive/K/spark.jsa" }, layers = {},
        program = "/bin/appliance",
    },
  }
  for name, value in pairs(more or {}) do
    if type(value) == "table" and type(all[name]) == "table" then
      for field, item in pairs(value) do all[name][field] = item end
    end
  end
  return all
end

local function planned(settings, more)
  local environ = { STATE_DIR = "/state" }
  for name, value in pairs(settings or {}) do environ[name] = value end
  local checked, faults = profile.check("single-node", { environ = environ, path = { "profiles" } })
  if not checked then return nil, tostring(faults[1]) end
  local known = facts(more)
  local draft, err = checked.profile.plan(checked.env, known)
  if not draft then return nil, tostring(err) end
  local made = assert(require("appliance.plan").normalise(draft, { profile = "single-node", layers = known.spark.layers }))
  local services = {}
  for _, service in ipairs(made.services) do services[service.name] = service end
  return made, services
end

local SQL_ROLE <const> = "service:thriftserver=arn:aws:iam::123456789012:role/sql"

local ALL = { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true" }

--- The word behind `name` in a command.
local function behind(service, name)
  for i, word in ipairs(service.command) do
    if word == name then return service.command[i + 1] end
  end
end

local function has(service, word)
  for _, its in ipairs(service.command) do
    if its == word then return true end
  end
  return false
end

local function keys_of(plan) return plan.files["spark-defaults.conf"].keys end
local function value(plan, key) return keys_of(plan)[key] and keys_of(plan)[key].value end

describe("a single node", function()
  it("runs master and worker, started side by side, as java by class", function()
    local _, services = assert(planned())
    assert.equal("/j/bin/java", services.master.command[1])
    assert.is_true(has(services.master, "org.apache.spark.deploy.master.Master"))
    assert.is_true(has(services.worker, "org.apache.spark.deploy.worker.Worker"))
    assert.same({ prepare = "done", master = "started" }, services.worker.after)
    assert.is_nil(services.thriftserver)
    assert.equal("spark://10.0.0.5:7077", services.worker.command[#services.worker.command])
  end)

  it("takes the ports that were set, or ends", function()
    local _, services = assert(planned(ALL))
    assert.is_true(has(services.master, "-Dspark.port.maxRetries=0"))
    assert.is_true(has(services.worker, "-Dspark.port.maxRetries=0"))
    assert.is_false(has(services.thriftserver, "-Dspark.port.maxRetries=0"), "the page of a driver takes the next port")
  end)

  it("is ready when Spark itself says so", function()
    local _, services = assert(planned(ALL))
    assert.equal('"status":"ALIVE"', services.master.ready.has)
    assert.equal('"masterurl":"spark://', services.worker.ready.has)
    assert.same({ "hive", 10000 }, { services.thriftserver.ready.kind, services.thriftserver.ready.port })
    assert.same({ master = "ready" }, services.thriftserver.after)
  end)

  it("gives the executors of SQL its role, where brokers have one port", function()
    local uri = "spark.executorEnv.AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:4711/credentials/@service-thriftserver"
    local settings = { ROLE_MAPPING = SQL_ROLE, BROKER_PORT = "4711" }
    for name, on in pairs(ALL) do settings[name] = on end
    local _, services = planned(settings)
    assert.is_true(has(services.thriftserver, uri))
    assert.equal("false", services.thriftserver.command[#services.thriftserver.command]:match "=(%w+)$")
    _, services = planned(settings, { spark = { version = "3.5.7" } })
    assert.is_false(has(services.thriftserver, uri))
    settings.BROKER_PORT = nil
    _, services = planned(settings)
    assert.is_nil(table.concat(services.thriftserver.command, " "):find "executorEnv")
  end)

  it("restarts a master that exits with 0, and holds our own TERM for clean", function()
    local _, services = assert(planned())
    assert.same({ "always", 143 }, { services.master.restart, services.master.clean[1] })
  end)

  it("drops the records of an earlier run before a master starts, not when only the master restarts", function()
    local plan, services = assert(planned())
    assert.is_true(services.prepare.oneshot)
    assert.equal("done", services.master.after.prepare)
    assert.matches("rm %-f \"%$1\"/worker_%* \"%$1\"/app_%*", services.prepare.command[3])
    assert.equal("/state/recovery", services.prepare.command[5])
    assert.equal("/state/recovery", value(plan, "spark.deploy.recoveryDirectory"))
    assert.equal("FILESYSTEM", value(plan, "spark.deploy.recoveryMode"))
    assert.equal("20s", value(plan, "spark.deploy.recoveryTimeout"))
    assert.is_nil(value(assert(planned { RECOVERY = "none" }), "spark.deploy.recoveryMode"))
  end)

  it("opens no REST port unless asked", function()
    assert.equal("false", value(assert(planned()), "spark.master.rest.enabled"))
    local plan = assert(planned { MASTER_REST = "true" })
    assert.equal("true", value(plan, "spark.master.rest.enabled"))
    assert.equal("6066", value(plan, "spark.master.rest.port"))
  end)

  it("tells which doors are open", function()
    local text = table.concat(assert(planned(ALL)).notes, "\n")
    assert.matches("\nopen without a password on 10%.0%.0%.5: master 7077\n", text)
    assert.matches("\nopen without a password on 10%.0%.0%.5: SQL 10000\n", text)
    assert.matches("\nopen without a password on 10%.0%.0%.5: master page 8080, worker page 8081$", text)
    text = table.concat(assert(planned { HEALTH_PORT = "8008" }).notes, "\n")
    assert.matches("master page 8080, worker page 8081, health 8008", text)
    text = table.concat(assert(planned { SPARK_RPC_AUTHENTICATION_ENABLED = "true", SPARK_RPC_AUTHENTICATION_SECRET = "s" }).notes, "\n")
    assert.not_matches("master 7077", text)
    assert.not_matches("open without", table.concat(assert(planned({}, { node = { bind = "127.0.0.1", ip = "127.0.0.1" } })).notes, "\n"))
  end)
end)

describe("the thrift server", function()
  it("never takes the whole node", function()
    local plan, services = assert(planned(ALL, { limits = { machine = 16 * GIB, memory = 2 * GIB, cpus = 2 } }))
    assert.is_true(has(services.thriftserver, "spark.cores.max=1"))
    assert.equal("2", behind(services.worker, "--cores"))
    local offered = tonumber(behind(services.worker, "--memory"):match "%d+")
    local executor = tonumber(value(plan, "spark.executor.memory"):match "%d+")
    local sql = tonumber(table.concat(services.thriftserver.command, " "):match "spark%.executor%.memory=(%d+)m")
    assert.is_true(sql + executor <= offered)
  end)

  it("starts with the driver's options of a mounted file, as the launcher would, and reads the catalog's files", function()
    local _, services = assert(planned(ALL, { spark = { layers = {
      ["spark-defaults.conf"] = { { layer = "EXT_CONF", origin = "e", text = "spark.driver.extraJavaOptions -Da='b c'\n" },
        { layer = "mounted", origin = "m", text = "spark.driver.extraJavaOptions -Dno\nspark.driver.extraClassPath /mine.jar\n" } },
      ["core-site.xml"] = { { layer = "mounted", origin = "c", text = "<configuration/>" } } } } }))
    assert.is_true(has(services.thriftserver, "-Da=b c"))
    assert.is_false(has(services.thriftserver, "-Dno"))
    assert.matches("^/mine%.jar:", behind(services.thriftserver, "-cp"))
    assert.same({ "spark-defaults.conf", "log4j2.properties" }, services.master.inputs)
    local err = select(2, planned(ALL, { spark = { layers = {
      ["spark-defaults.conf"] = { { layer = "mounted", origin = "m", text = "spark.driver.extraJavaOptions -Xmx9g\n" } } } } }))
    assert.matches("spark%.driver%.extraJavaOptions: %-Xmx9g sets the heap; use THRIFT_MEMORY", err)
  end)

  it("is refused where Spark has none", function()
    local _, err = planned(ALL, { spark = { has_thriftserver = false } })
    assert.matches("START_THRIFTSERVER: /opt/spark has no spark%-hive%-thriftserver jar", err)
  end)

  it("gets its heap and port from settings, and the conf directory for the catalog's file", function()
    local _, services = assert(planned { START_THRIFTSERVER = "true", START_MASTER = "true", START_WORKER = "true", THRIFT_MEMORY = "3g",
      THRIFT_PORT = "10009" })
    assert.is_true(has(services.thriftserver, "-Xmx3072m"))
    assert.is_true(has(services.thriftserver, "hive.server2.thrift.port=10009"))
    assert.matches(":/state/conf$", behind(services.thriftserver, "-cp"))
    assert.equal("/state/sql", services.thriftserver.dir)
  end)
end)

describe("jars of EXT_JARS", function()
  it("stand behind Spark's own on every class path, and those from elsewhere are fetched first", function()
    local settings = { EXT_JARS = "/mine.jar,s3://b/p/x.jar,https://h/other/x.jar", EXT_WATCH = "true", SPARK_DIST_CLASSPATH = "/hadoop/*" }
    for name, on in pairs(ALL) do settings[name] = on end
    local made, services = assert(planned(settings))
    assert.same({ ["jars/x.jar"] = { from = "s3://b/p/x.jar", mode = 420, watch = true, kind = "jar" },
                  ["jars/2/x.jar"] = { from = "https://h/other/x.jar", mode = 420, watch = true, kind = "jar" } }, made.fetch)
    local mine = "/hadoop/*:/mine.jar:/state/fetched/jars/x.jar:/state/fetched/jars/2/x.jar"
    for _, name in ipairs { "master", "worker", "thriftserver" } do
      assert.equal("/opt/spark/jars/a.jar:/opt/spark/jars/b.jar:/state/conf:" .. mine, behind(services[name], "-cp"), name)
      assert.same({ "jars/2/x.jar", "jars/x.jar" }, { services[name].inputs[3], services[name].inputs[4] })
    end
    assert.equal(mine, services.worker.env.SPARK_DIST_CLASSPATH)
    local client = require("appliance.json").decode(made.files["client.json"].text)
    assert.same({ mine, mine }, { client.after, client.environment.SPARK_DIST_CLASSPATH })
    assert.is_nil(keys_of(made)["spark.jars"])
    assert.is_nil(services.prepare.inputs)
  end)

  it("cost nothing where there are none", function()
    local made, services = assert(planned(ALL))
    assert.is_nil(made.fetch)
    assert.is_nil(services.worker.env.SPARK_DIST_CLASSPATH)
    assert.same({ "spark-defaults.conf", "log4j2.properties" }, services.master.inputs)
  end)
end)

describe("a worker", function()
  it("gives executors the archive's class path, and their configuration behind it", function()
    local _, services = assert(planned())
    assert.equal("/opt/spark/jars/a.jar:/opt/spark/jars/b.jar", services.worker.env.SPARK_CONF_DIR)
    assert.equal("/state/conf", services.worker.env.HADOOP_CONF_DIR)
    assert.equal("2.13", services.worker.env.SPARK_SCALA_VERSION)
    assert.equal("/opt/spark", services.worker.env.SPARK_HOME)
  end)

  it("waits for masters elsewhere without a deadline", function()
    local _, services = assert(planned { START_WORKER = "true", MASTER_URI = "spark://a:7077,b:7077" })
    assert.is_nil(services.master)
    assert.equal(0, services.worker.ready.deadline)
    assert.equal("spark://a:7077,b:7077", services.worker.command[#services.worker.command])
  end)
end)

describe("configuration", function()
  it("lets a setting that somebody gave beat a mounted file, and what we chose lose to it", function()
    local layers = { ["spark-defaults.conf"] = { { layer = "mounted", origin = "/conf/spark-defaults.conf", text = "spark.executor.memory "
      .. "700m\nspark.driver.memory 900m\n" } } }
    local plan = assert(planned({ EXECUTOR_MEMORY = "600m" }, {}))
    assert.equal("600m", value(plan, "spark.executor.memory"))
    local environ = { STATE_DIR = "/state", EXECUTOR_MEMORY = "600m" }
    local checked = assert(profile.check("single-node", { environ = environ, path = { "profiles" } }))
    local draft = checked.profile.plan(checked.env, facts())
    local merged = assert(require("appliance.plan").normalise(draft, { profile = "single-node", layers = layers }))
    assert.equal("600m", value(merged, "spark.executor.memory"))
    assert.equal("900m", value(merged, "spark.driver.memory"))
  end)

  it("means by Bitnami's names what that image meant", function()
    local plan = assert(planned { SPARK_RPC_AUTHENTICATION_ENABLED = "yes", SPARK_RPC_AUTHENTICATION_SECRET = "sesame",
      SPARK_RPC_ENCRYPTION_ENABLED = "yes",
      SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED = "yes" })
    assert.equal("true", value(plan, "spark.authenticate"))
    assert.equal("sesame", value(plan, "spark.authenticate.secret"))
    assert.is_true(keys_of(plan)["spark.authenticate.secret"].secret)
    assert.equal("true", value(plan, "spark.network.crypto.enabled"))
    assert.equal("true", value(plan, "spark.io.encryption.enabled"))
    assert.equal(tonumber("600", 8), plan.files["spark-defaults.conf"].mode)
  end)

  it("refuses REST together with authentication, which ends every master at once", function()
    local _, err = planned { SPARK_RPC_AUTHENTICATION_ENABLED = "true", SPARK_RPC_AUTHENTICATION_SECRET = "s", MASTER_REST = "true" }
    assert.matches("MASTER_REST: a master that authenticates", err)
  end)

  it("keeps a user's JVM options, and refuses a heap among them", function()
    local _, services = assert(planned { SPARK_DAEMON_JAVA_OPTS = "-Da=b", SPARK_MASTER_OPTS = "-Dc='d e'" })
    assert.is_true(has(services.master, "-Da=b") and has(services.master, "-Dc=d e") and has(services.worker, "-Da=b"))
    assert.is_false(has(services.worker, "-Dc=d e"))
    local _, err = planned { SPARK_WORKER_OPTS = "-Xmx4g" }
    assert.matches("SPARK_WORKER_OPTS: %-Xmx4g sets the heap; use DAEMON_MEMORY", err)
  end)
end)

describe("the archive in a plan", function()
  it("is used by daemons and executors when there is one, and then none is made", function()
    local plan, services = assert(planned())
    assert.is_true(has(services.master, "-XX:SharedArchiveFile=/opt/spark/archive/K/spark.jsa"))
    assert.matches("SharedArchiveFile=/opt/spark/archive/K/spark%.jsa", value(plan, "spark.executor.defaultJavaOptions"))
    assert.is_nil(services.archive)
  end)

  it("is made at the lowest priority after the node works when there is none", function()
    local plan, services = assert(planned(ALL, { spark = { archive = { key = "K", target = "/state/archive/K/spark.jsa" } } }))
    assert.same({ 19, true, false, "never" }, { services.archive.nice, services.archive.oneshot, services.archive.critical,
      services.archive.restart })
    assert.same({ master = "ready", worker = "ready", thriftserver = "ready" }, services.archive.after)
    assert.is_false(has(services.master, "-Xshare:auto"))
    assert.matches("/state/archive/K", value(plan, "spark.executor.defaultJavaOptions"))
  end)

  it("is not made in a small container, nor when switched off", function()
    local missing = { archive = { key = "K", target = "/t" } }
    local plan, services = assert(planned({}, { spark = missing, limits = { memory = 2 * GIB, machine = 16 * GIB, cpus = 2 } }))
    assert.is_nil(services.archive)
    assert.matches("too little memory to make one", table.concat(plan.notes, "\n"))
    assert.is_nil(select(2, assert(planned({ CLASS_ARCHIVES = "false" }, { spark = missing }))).archive)
    assert.is_false(has(select(2, assert(planned { CLASS_ARCHIVES = "false" })).master, "-Xshare:auto"))
  end)
end)

describe("any user id", function()
  it("gets a passwd entry lent when it has none", function()
    local plan, services = assert(planned({}, { node = { user = { library = "/lib/nss.so", uid = 1234, gid = 0 } } }))
    assert.equal("/lib/nss.so", services.master.env.LD_PRELOAD)
    assert.equal("/state/passwd", services.worker.env.NSS_WRAPPER_PASSWD)
    assert.equal("spark:x:1234:0:Spark:/state:/usr/sbin/nologin\n", plan.files["/state/passwd"].text)
  end)
end)

describe("the node's own address", function()
  local addresses = {
    { interface = "lo", address = "127.0.0.1", family = "ipv4", loopback = true }, { interface = "docker0", address = "172.17.0.1",
      family = "ipv4" },
    { interface = "eth0", address = "10.0.0.5", family = "ipv4" }, { interface = "eth0", address = "fe80::1", family = "ipv6" },
  }
  it("is that of the interface that leads out", function()
    local routes = "Iface\tDestination\tGateway\ndocker0\t000011AC\t0\neth0\t00000000\t0100000A\n"
    assert.equal("eth0", node_fact.default_interface(routes))
    assert.equal("10.0.0.5", node_fact.own_address(addresses, "eth0"))
    assert.equal("172.17.0.1", node_fact.own_address(addresses, nil))
    assert.equal("127.0.0.1", node_fact.own_address({ addresses[1], addresses[4] }))
  end)

  it("is bound, and another may be told to people", function()
    local found = node_fact.addresses({ advertise = "spark.example.org" }, "172.17.0.2", "c1")
    assert.same({ "172.17.0.2", "127.0.0.1", "spark.example.org" }, { found.ip, found.probe, found.public })
    assert.is_nil(found.bind)
    found = node_fact.addresses({ bind = "127.0.0.1" }, "172.17.0.2", "c1")
    assert.same({ "127.0.0.1", "127.0.0.1" }, { found.ip, found.bind })
    assert.equal("172.17.0.2", node_fact.addresses({ bind = "0.0.0.0" }, "172.17.0.2", "c1").ip)
  end)

  it("leaves services the environment without our settings and service links", function()
    local kept = node_fact.inherited({ PATH = "/bin", SPARK_MASTER_PORT = "tcp://10.0.0.1:7077", START_MASTER = "true",
      EXECUTOR_MEMORY = "2g",
      EXECUTOR_MEMORY_FILE = "/x", MY_OWN = "1", REDIS_PORT = "tcp://10.0.0.9:6379",
      _ = "/usr/bin/env", SHLVL = "2", OLDPWD = "/", PWD = "/root" }, { { EXECUTOR_MEMORY = {} } })
    assert.same({ PATH = "/bin", MY_OWN = "1" }, kept)
  end)
end)

describe("a mounted spark-env.sh", function()
  it("is refused in words that name the cure, and passed when it says nothing", function()
    assert.is_nil(spark_fact.env_script_fault("/conf/spark-env.sh", "#!/bin/bash\n\n  # SPARK_WORKER_CORES=2\n"))
    assert.matches("/conf/spark%-env%.sh sets SPARK_WORKER_CORES, and no shell runs it here: give the container SPARK_WORKER_CORES in its "
      .. "environment",
      spark_fact.env_script_fault("/conf/spark-env.sh", "# x\nexport SPARK_WORKER_CORES=2\n").text)
    assert.matches("holds shell commands", spark_fact.env_script_fault("/conf/spark-env.sh", "ulimit -n 4096\n").text)
  end)
end)

describe("an executor that died", function()
  local LINE = "INFO Worker: Executor app-20261122183238-0000/3 finished with state EXITED message Command exited with code 137 "
    .. "exitStatus 137"

  it("is read from the worker's log", function()
    assert.same({ application = "app-20261122183238-0000", executor = "3", state = "EXITED", status = 137 }, casualties.read(LINE))
    assert.is_nil(casualties.read "INFO Worker: Asked to kill executor app-1/0")
  end)

  it("is named with its application when the kernel killed for memory", function()
    assert.matches("^executor 3 of application app%-20261122183238%-0000: killed by the kernel for memory: limit 2%.0 GiB;",
      casualties.sentence(casualties.read(LINE), 1, 2 * GIB))
  end)

  it("is told with the disk that was too full to start it", function()
    local who = casualties.read("INFO Worker: Executor app-20261122183238-0000/0 finished with state FAILED message Error running "
      .. "executor: java.io.IOException: No space left on device exitStatus 143")
    assert.is_true(who.is_disk_full)
    assert.matches("^application app%-20261122183238%-0000: its executors fail here, the disk is full", casualties.sentence(who, 0))
  end)

  it("is told apart from one somebody killed, one whose heap was full, and one that ended well", function()
    local who = casualties.read(LINE)
    assert.matches("killed with signal 9, not for", casualties.sentence(who, 0, 2 * GIB))
    who.status = 52
    assert.matches("its heap was full", casualties.sentence(who, 0))
    who.status = 0
    assert.is_nil(casualties.sentence(who, 1))
    who.status, who.state = 137, "KILLED"
    assert.is_nil(casualties.sentence(who, 0))
  end)
end)
