--- What users of the older appliance and of other images have in their command lines keeps its meaning.
local profile = require "appliance.profile"
local settings = require "appliance.settings"

local function read(environ)
  local env, faults = settings.read({ "spark.*", "UNKNOWN_SETTINGS" }, environ)
  assert(env, faults and settings.explain(faults))
  return env
end

local function faults_of(environ)
  local env, faults = settings.read({ "spark.*", "UNKNOWN_SETTINGS" }, environ)
  assert.is_nil(env, "nothing was refused")
  return settings.explain(faults)
end

--- Which roles run, as "master worker thrift".
local function roles(environ)
  local env = read(environ)
  local names = {}
  for _, pair in ipairs { { "START_MASTER", "master" }, { "START_WORKER", "worker" }, { "START_THRIFTSERVER", "thrift" } } do
    if env[pair[1]] then names[#names + 1] = pair[2] end
  end
  return table.concat(names, " ")
end

describe("the older appliance's", function()
  it("documented docker run works as written", function()
    local environ = { PATH = "/bin", HOSTNAME = "h", START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "", MASTER_URI = "",
      ZOOKEEPER_STACK_NAME = "", HIVE_SITE_XML = "" }
    assert.same({ "single-node" }, (profile.choose(environ)))
    assert.equal("master worker", roles(environ))
    assert.same({}, settings.notes(read(environ)))
  end)

  it("START_* is on for `true` alone, and any combination of them runs", function()
    assert.equal("master", roles { START_MASTER = "True" })
    assert.equal("master", roles { START_MASTER = "TRUE", START_WORKER = "yes", START_THRIFTSERVER = "1" })
    assert.equal("master worker thrift", roles { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true" })
    assert.equal("worker", roles { START_WORKER = "true", MASTER_URI = "spark://a:7077" })
    assert.equal("thrift", roles { START_THRIFTSERVER = "true", MASTER_URI = "spark://a:7077,b:7077", START_MASTER = "" })
    assert.equal("worker", roles { START_WORKER = "true" })
  end)

  it("START_* left out altogether is a whole node, or a worker of the master that is named", function()
    assert.equal("master worker", roles {})
    assert.equal("worker", roles { MASTER_URI = "spark://a:7077" })
    assert.equal("default: no START_* is set", settings.origin(read {}, "START_MASTER"))
  end)

  it("START_* set, but none on, is refused with the cure", function()
    for _, environ in ipairs { { START_MASTER = "" }, { START_MASTER = "false", START_WORKER = "no" }, { START_THRIFTSERVER = "off" } } do
      assert.truthy(faults_of(environ):find("is not true, nor is START_WORKER or START_THRIFTSERVER, so nothing would run: set what "
        .. "should, "
        .. "for example START_MASTER=true START_WORKER=true, or leave all three out", 1, true))
    end
  end)

  it("worker listens where load balancers ask, on a node without a master", function()
    assert.equal(7077, read { START_WORKER = "true", MASTER_URI = "spark://a:7077" }.WORKER_PORT)
    assert.equal(7079, read { START_WORKER = "true", WORKER_PORT = "7079" }.WORKER_PORT)
    assert.is_nil(read { START_WORKER = "true", START_MASTER = "true" }.WORKER_PORT)
    assert.is_nil(read { SPARK_MODE = "worker", SPARK_MASTER_URL = "spark://a:7077" }.WORKER_PORT)
    assert.is_nil(read {}.WORKER_PORT)
  end)

  it("MASTER_URI is the list as it is", function()
    assert.equal("spark://a:7077,b:7077", read { MASTER_URI = "spark://a:7077,b:7077" }.MASTER_URI)
    assert.equal("spark://a:7077", read { MASTER_STACK_NAME = "spark://a:7077" }.MASTER_URI)
    assert.equal("spark://b:7077", read { MASTER_STACK_NAME = "spark://a:7077", MASTER_URI = "spark://b:7077" }.MASTER_URI)
    assert.is_nil(read { MASTER_STACK_NAME = "spark-masters" }.MASTER_URI)
    assert.equal("worker", roles { MASTER_STACK_NAME = "spark-masters" })
    assert.equal('MASTER_STACK_NAME="a:7077" is neither the name of a stack (letters, digits and dashes) nor spark://host:7077,..., '
      .. "for example MASTER_STACK_NAME=spark-masters", faults_of { MASTER_STACK_NAME = "a:7077" })
  end)

  it("ZooKeeper under each of its names asks for masters that share one", function()
    for _, name in ipairs { "ZOOKEEPER", "ZOOKEEPER_STACK_NAME", "ZOOKEEPER_CONN_STRING", "ZK_CONN_STR", "ZookeeperConnString" } do
      assert.same({ "ha" }, (profile.choose { START_MASTER = "true", [name] = "zk-1:2181,zk-2:2181" }))
      assert.equal("zk-1:2181,zk-2:2181", read { [name] = "zk-2:2181,zk-1" }.ZOOKEEPER)
      assert.equal("zk-1:2181/spark/a", read { [name] = "zk-1/spark/a/" }.ZOOKEEPER)
      assert.equal("exhibitor-spark", read { [name] = "exhibitor-spark" }.ZOOKEEPER)
      assert.equal("exhibitor.example.org:2181", read { [name] = "exhibitor.example.org:2181" }.ZOOKEEPER)
      assert.is_nil(read { [name] = "" }.ZOOKEEPER)
      assert.equal(name .. '="zk-1:zk-2:2181" has "zk-1:zk-2:2181", which is not host:port (IPv6 goes in brackets), for example ' .. name
        .. "=zk-1:2181,zk-2:2181,zk-3:2181", faults_of { [name] = "zk-1:zk-2:2181" })
    end
    assert.same({ "ZK_CONN_STR is not used: ZOOKEEPER says otherwise and comes first" },
      settings.notes(read { ZOOKEEPER = "a:2181", ZK_CONN_STR = "b:2181" }))
  end)

  it("ZooKeeper has no use where the profile asks none, which is told", function()
    local function notes(profile_name)
      local env = assert(settings.read({ "spark.*", "PROFILE" }, { ZK_CONN_STR = "a:2181", PROFILE = profile_name }))
      return settings.notes(env)
    end
    assert.same({ "ZK_CONN_STR has no effect: PROFILE=cluster asks no ZooKeeper; leave PROFILE out, or set PROFILE=ha" }, notes "cluster")
    assert.same({}, notes "ha")
    local env, faults = settings.read({ "spark.*", "PROFILE" }, { PROFILE = "ha" })
    assert.is_nil(env)
    assert.equal("ZOOKEEPER is empty, and the profile ha is for masters that share one, for example "
      .. "ZOOKEEPER=zk-1:2181,zk-2:2181,zk-3:2181", settings.explain(faults))
  end)

  it("APPLICATION_ID names the cluster", function()
    assert.equal("spark", read {}.CLUSTER_NAME)
    assert.equal("billing", read { APPLICATION_ID = "billing", ZOOKEEPER = "a:2181" }.CLUSTER_NAME)
    assert.equal("mine", read { APPLICATION_ID = "billing", CLUSTER_NAME = "mine" }.CLUSTER_NAME)
    assert.equal("an id/2", read { APPLICATION_ID = "an id/2" }.CLUSTER_NAME)
    assert.truthy(faults_of { APPLICATION_ID = "an id/2", ZOOKEEPER = "a:2181" }:find(
      'CLUSTER_NAME is "an id/2", which can\'t be a part of a path in ZooKeeper', 1, true))
  end)

  it("files of the user's come from this node, from S3 or from the web", function()
    local env = read { HIVE_SITE_XML = "file:///data/hive-site.xml", EXT_CONF = "/data/more.conf", EXT_JARS = "/a.jar,file:///b.jar" }
    assert.equal("/data/hive-site.xml", env.HIVE_SITE_XML)
    assert.equal("/data/more.conf", env.EXT_CONF)
    assert.same({ "/a.jar", "/b.jar" }, env.EXT_JARS)
    env = read { HIVE_SITE_XML = "s3://b/hive-site.xml", EXT_CONF = "https://h/x.conf", EXT_JARS = "/a.jar,s3://b/c.jar,s3n://b/d.jar" }
    assert.equal("s3://b/hive-site.xml", env.HIVE_SITE_XML)
    assert.equal("https://h/x.conf", env.EXT_CONF)
    assert.same({ "/a.jar", "s3://b/c.jar", "s3n://b/d.jar" }, env.EXT_JARS)
    assert.is_false(env.EXT_WATCH)
    local text = faults_of { HIVE_SITE_XML = "gs://b/hive-site.xml", EXT_CONF = "conf/x.conf", EXT_JARS = "/a.jar,s3://b/" }
    for _, sentence in ipairs {
      'HIVE_SITE_XML="gs://b/hive-site.xml" is behind gs://; files come from s3://, https://, http://, file:// or a path, '
        .. "for example HIVE_SITE_XML=s3://bucket/hive-site.xml",
      'EXT_CONF="conf/x.conf" is neither an absolute path nor a URI (s3://, https://, http:// or file://)',
      'EXT_JARS="/a.jar,s3://b/" has "s3://b/", which names no object: a bucket and a key are needed',
    } do assert.truthy(text:find(sentence, 1, true), text) end
  end)

  it("later parts are taken when empty and refused in words when set", function()
    read { START_WEBAPP = "", START_NOTEBOOK = "false", PYTHON_LIBS = "", TOKENINFO_URL = "", AUTH_URL = "", OAUTH2_SCOPE = "uid",
      ZOOKEEPER_STACK_NAME = "", MASTER_STACK_NAME = "", APPLICATION_ID = "spark", APPLICATION_VERSION = "1" }
    local text = faults_of { START_WEBAPP = "true", START_NOTEBOOK = "TRUE", PYTHON_LIBS = "numpy,pandas", TOKENINFO_URL = "https://t" }
    for _, name in ipairs { "START_WEBAPP", "START_NOTEBOOK", "PYTHON_LIBS", "TOKENINFO_URL" } do
      assert.truthy(text:find(name .. '="[^"]*" asks for .* leave it empty'), text)
    end
    assert.is_nil(faults_of { START_WEBAPP = "true", START_MASTER = "" }:find "nothing would run")
  end)

  it("CLUSTER_SIZE is taken, and told to have no effect where a master runs alone", function()
    assert.equal(1, read {}.CLUSTER_SIZE)
    assert.same({ "CLUSTER_SIZE=3 has no effect: it counts masters that share a ZooKeeper, and none is given" },
      settings.notes(read { CLUSTER_SIZE = "3", START_MASTER = "true" }))
    assert.same({}, settings.notes(read { CLUSTER_SIZE = "3", START_WORKER = "true", MASTER_URI = "spark://a:7077" }))
    assert.same({}, settings.notes(read { CLUSTER_SIZE = "3", START_MASTER = "true", ZK_CONN_STR = "a:2181" }))
  end)

  it("DEFAULT_CORES that is no whole number is told and ignored", function()
    assert.equal(2, read { DEFAULT_CORES = "2" }.DEFAULT_CORES)
    local env = read { DEFAULT_CORES = "many" }
    assert.is_nil(env.DEFAULT_CORES)
    assert.same({ 'DEFAULT_CORES="many" is not a whole number, for example DEFAULT_CORES=2; ignored' }, settings.notes(env))
  end)

  it("memory is MiB without a unit", function()
    local env = read { DRIVER_MEMORY = "2g", EXECUTOR_MEMORY = "1024" }
    assert.equal(2 << 30, env.DRIVER_MEMORY)
    assert.equal(1 << 30, env.EXECUTOR_MEMORY)
  end)

  it("SPARK_DIR is SPARK_HOME", function()
    assert.equal("/opt/spark", read { SPARK_DIR = "/opt/spark" }.SPARK_HOME)
  end)
end)

describe("other images'", function()
  it("SPARK_MODE and SPARK_MASTER_URL say what runs", function()
    assert.equal("master", roles { SPARK_MODE = "master" })
    local env = read { SPARK_MODE = "worker", SPARK_MASTER_URL = "spark://spark-master:7077", SPARK_NO_DAEMONIZE = "true" }
    assert.is_true(env.START_WORKER)
    assert.is_false(env.START_MASTER)
    assert.equal("spark://spark-master:7077", env.MASTER_URI)
    assert.equal("SPARK_MASTER_URL (environment), for MASTER_URI", settings.origin(env, "MASTER_URI"))
    assert.equal("SPARK_MODE", settings.origin(env, "START_WORKER"))
    assert.equal("spark://m:7077", read { SPARK_MASTER = "spark://m:7077" }.MASTER_URI)
    assert.equal("worker", roles { SPARK_MODE = "worker", START_MASTER = "", START_WORKER = "" })
    assert.truthy(faults_of { SPARK_MODE = "submit" }:find("is none of master, worker", 1, true))
    assert.truthy(faults_of { SPARK_MODE = "master", START_WORKER = "true" }:find "keep one of the two")
  end)

  it("Spark's own names are ours too", function()
    local env = read {
      SPARK_WORKER_CORES = "3", SPARK_WORKER_MEMORY = "2g", SPARK_WORKER_PORT = "7078", SPARK_WORKER_WEBUI_PORT = "8082",
        SPARK_WORKER_DIR = "/w",
      SPARK_MASTER_HOST = "m", SPARK_MASTER_PORT = "7177", SPARK_MASTER_WEBUI_PORT = "8180", SPARK_LOCAL_DIRS = "/a,/b",
        SPARK_DAEMON_MEMORY = "512m",
      SPARK_PUBLIC_DNS = "spark.example.org", SPARK_LOCAL_IP = "127.0.0.1", SPARK_EXTRA_CLASSPATH = "/x/*", PYSPARK_PYTHON = "python3",
    }
    assert.same({ 3, 2 << 30, 7078, 8082, "/w" },
      { env.WORKER_CORES, env.WORKER_MEMORY, env.WORKER_PORT, env.WORKER_UI_PORT, env.WORKER_DIR })
    assert.same({ "m", 7177, 8180 }, { env.MASTER_HOST, env.MASTER_PORT, env.MASTER_UI_PORT })
    assert.same({ "/a", "/b" }, env.LOCAL_DIRS)
    assert.same({ 512 << 20, "spark.example.org", "127.0.0.1" }, { env.DAEMON_MEMORY, env.SPARK_PUBLIC_DNS, env.BIND_ADDRESS })
    assert.same({ "/x/*", "python3" }, { env.SPARK_EXTRA_CLASSPATH, env.PYSPARK_PYTHON })
  end)

  it("SPARK_WORKER_MEMORY without a unit is bytes, as Spark has it", function()
    assert.equal(2 << 30, read { SPARK_WORKER_MEMORY = tostring(2 << 30) }.WORKER_MEMORY)
    assert.truthy(faults_of { SPARK_WORKER_MEMORY = "2048" }:find "too little: at least 64m, for example SPARK_WORKER_MEMORY=2g")
  end)

  it("security switches, with secrets from files", function()
    local files = { ["/run/secrets/rpc"] = "sesame\n", ["/run/secrets/store"] = "open\n" }
    local env, faults = settings.read({ "spark.*" }, {
      SPARK_RPC_AUTHENTICATION_ENABLED = "yes", SPARK_RPC_AUTHENTICATION_SECRET_FILE = "/run/secrets/rpc",
        SPARK_RPC_ENCRYPTION_ENABLED = "yes",
      SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED = "yes", SPARK_SSL_ENABLED = "yes", SPARK_SSL_KEY_PASSWORD_FILE = "/run/secrets/store",
      SPARK_SSL_KEYSTORE_PASSWORD_FILE = "/run/secrets/store", SPARK_SSL_KEYSTORE_FILE = "/k.jks", SPARK_SSL_NEED_CLIENT_AUTH = "no",
      SPARK_WEBUI_SSL_PORT = "8480", SPARK_METRICS_ENABLED = "true", SPARK_SSL_PROTOCOL = "TLSv1.3",
    }, function(path) return files[path] end)
    assert(env, faults and settings.explain(faults))
    assert.equal("sesame", env.SPARK_RPC_AUTHENTICATION_SECRET)
    assert.same({ true, true, true, true }, { env.SPARK_RPC_AUTHENTICATION_ENABLED, env.SPARK_RPC_ENCRYPTION_ENABLED,
      env.SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED, env.SPARK_SSL_ENABLED })
    assert.equal("open", env.SPARK_SSL_KEYSTORE_PASSWORD)
    assert.is_false(env.SPARK_SSL_NEED_CLIENT_AUTH)
    assert.equal(8480, env.SPARK_WEBUI_SSL_PORT)
  end)

  it("security switches that can't hold what they promise are refused", function()
    assert.truthy(faults_of { SPARK_RPC_AUTHENTICATION_ENABLED = "yes" }:find "needs a secret that all nodes share")
    assert.truthy(faults_of { SPARK_RPC_ENCRYPTION_ENABLED = "yes" }:find "set SPARK_RPC_AUTHENTICATION_ENABLED=true as well")
    local text = faults_of { SPARK_SSL_ENABLED = "yes" }
    assert.truthy(text:find("needs SPARK_SSL_KEYSTORE_FILE, for example SPARK_SSL_ENABLED=true SPARK_SSL_KEYSTORE_FILE=", 1, true), text)
    assert.truthy(text:find("set SPARK_SSL_TRUSTSTORE_PASSWORD_FILE to a file that holds it", 1, true))
    assert.same({ "SPARK_RPC_AUTHENTICATION_SECRET is set but not used: SPARK_RPC_AUTHENTICATION_ENABLED is not true" },
      settings.notes(read { SPARK_RPC_AUTHENTICATION_SECRET = "x" }))
  end)

  it("key and trust stores are found where mounted images have them", function()
    local env = read { SPARK_SSL_ENABLED = "yes", SPARK_CONF_DIR = "/conf", SPARK_SSL_KEYSTORE_PASSWORD = "x",
      SPARK_SSL_TRUSTSTORE_PASSWORD = "y" }
    assert.equal("/conf/certs/spark-keystore.jks", env.SPARK_SSL_KEYSTORE_FILE)
    assert.equal("/conf/certs/spark-truststore.jks", env.SPARK_SSL_TRUSTSTORE_FILE)
  end)

  it("README's misspelt names are caught", function()
    assert.truthy(faults_of { SPARK_RPC_ENCRYPTION = "yes" }:find "did you mean SPARK_RPC_ENCRYPTION_ENABLED")
    assert.truthy(faults_of { SPARK_LOCAL_STORAGE_ENCRYPTION = "yes" }:find "did you mean SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED")
  end)

  it("more than one worker on a node is refused", function()
    assert.truthy(faults_of { SPARK_WORKER_INSTANCES = "2" }:find "let WORKER_CORES and WORKER_MEMORY say how much the one worker offers")
    read { SPARK_WORKER_INSTANCES = "1" }
  end)
end)
