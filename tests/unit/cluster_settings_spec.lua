--- Settings of nodes that share a ZooKeeper.
local address = require "appliance.cluster.address"
local settings = require "appliance.settings"

local function read(environ, files)
  local env, faults = settings.read({ "spark.*", "UNKNOWN_SETTINGS" }, environ, function(path)
    return (files or {})[path], "no such file"
  end)
  assert(env, faults and settings.explain(faults))
  return env
end

local function faults_of(environ)
  local env, faults = settings.read({ "spark.*", "UNKNOWN_SETTINGS" }, environ)
  assert.is_nil(env, "nothing was refused")
  return settings.explain(faults)
end

describe("where ZooKeeper is, as people write it", function()
  it("is servers, with 2181 where there is no port, sorted and once each", function()
    assert.same({ servers = { "10.0.0.1:2181", "10.0.0.2:2182" }, chroot = "" }, address.parse "10.0.0.2:2182, 10.0.0.1,10.0.0.1:2181")
    assert.same({ servers = { "[fd00::1]:2181" }, chroot = "/a/b" }, address.parse "[fd00::1]/a/b/")
    assert.same({ servers = { "localhost:2181" }, chroot = "" }, address.parse "localhost")
    assert.same({ servers = { "zk.example.org:2181" }, chroot = "" }, address.parse "zk.example.org")
    assert.equal("a:2181,b:2181/c", address.text(address.parse "b,a/c"))
  end)

  it("or the name of a stack", function()
    assert.same({ stack = "exhibitor-spark-2" }, address.parse "exhibitor-spark-2")
  end)

  it("or wrong", function()
    for _, text in ipairs { ":2181", "a:0", "a:70000", "a:b:c", "/spark", "a:2181/x//y", "a:2181/../x", "zk://a:2181", "a b:x" } do
      local parsed, problem, example = address.parse(text)
      assert.is_nil(parsed, text)
      assert.is_string(problem)
      assert.is_table(address.parse(example), example)
    end
  end)

  it("comes apart", function()
    assert.same({ "a", 2181 }, { address.split "a:2181" })
    assert.same({ "fd00::1", 2182 }, { address.split "[fd00::1]:2182" })
  end)
end)

describe("settings of a cluster", function()
  it("have defaults", function()
    local env = read { ZOOKEEPER = "a:2181" }
    assert.same({ "spark", 1, 60, 4, true, "hiveserver2", true, 10010, 0, 8181, 300 }, { env.CLUSTER_NAME, env.CLUSTER_SIZE,
      env.CLUSTER_WAIT, env.ZOOKEEPER_SESSION, env.ZOOKEEPER_RELAY, env.ZOOKEEPER_SQL_NAMESPACE, env.SQL_RELAY, env.THRIFT_BACKEND_PORT,
      env.HEALTH_PORT, env.EXHIBITOR_PORT, env.EXHIBITOR_POLL })
  end)

  it("take secrets from files and keep them out of sentences", function()
    local env = read({ ZOOKEEPER = "a:2181", ZOOKEEPER_AUTH_FILE = "/run/zk", EXHIBITOR_HOSTS = "e-1, e-2", EXHIBITOR_USER = "u",
      EXHIBITOR_PASSWORD_FILE = "/run/ex" }, { ["/run/zk"] = "spark:sesame\n", ["/run/ex"] = "open\n" })
    assert.same({ "spark:sesame", "u", "open", { "e-1", "e-2" } },
      { env.ZOOKEEPER_AUTH, env.EXHIBITOR_USER, env.EXHIBITOR_PASSWORD, env.EXHIBITOR_HOSTS })
    local text = faults_of { ZOOKEEPER_AUTH = "sesame" }
    assert.truthy(text:find("is not user:password", 1, true), text)
    assert.is_nil(text:find("sesame", 1, true), text)
  end)

  it("are refused all at once, each with its cure", function()
    local text = faults_of { ZOOKEEPER = "a:x", CLUSTER_SIZE = "0", CLUSTER_WAIT = "soon", ZOOKEEPER_SESSION = "100ms",
      ZOOKEEPER_RELAY = "perhaps", THRIFT_BACKEND_PORT = "0", HEALTH_PORT = "99999", EXHIBITOR_POLL = "0", EXHIBITOR_HOSTS = "a:8181" }
    for _, name in ipairs { "ZOOKEEPER", "CLUSTER_SIZE", "CLUSTER_WAIT", "ZOOKEEPER_SESSION", "ZOOKEEPER_RELAY", "THRIFT_BACKEND_PORT",
      "HEALTH_PORT", "EXHIBITOR_POLL", "EXHIBITOR_HOSTS" } do
      assert.truthy(("\n" .. text):find("\n" .. name .. "=[^\n]*, for example " .. name .. "="), name .. "\n" .. text)
    end
    text = faults_of { CLUSTER_NAME = "a/b", NODE_NAME = "..", ZOOKEEPER_SQL_NAMESPACE = "a//b", EXHIBITOR_USER = "u" }
    for _, name in ipairs { "CLUSTER_NAME", "NODE_NAME", "ZOOKEEPER_SQL_NAMESPACE", "EXHIBITOR_USER" } do
      assert.truthy(("\n" .. text):find("\n" .. name .. "="), name .. "\n" .. text)
    end
  end)

  it("say in one way whom to ask", function()
    assert.truthy(faults_of { ZOOKEEPER = "zk", EXHIBITOR_HOSTS = "e" }:find("keep one of the two", 1, true))
    read { ZOOKEEPER = "zk:2181", EXHIBITOR_HOSTS = "e" }
  end)

  it("that are misspelt are told", function()
    for wrong, right in pairs { ZOOKEPER = "ZOOKEEPER", ZOOKEEPER_STACKNAME = "ZOOKEEPER_STACK_NAME", CLUSTER_NAMES = "CLUSTER_NAME",
      EXHIBITOR_HOST = "EXHIBITOR_HOSTS", ZOOKEEPER_SESION = "ZOOKEEPER_SESSION", HEALTH_PROT = "HEALTH_PORT" } do
      assert.truthy(faults_of { [wrong] = "x" }:find(("%s is no setting: did you mean %s?"):format(wrong, right), 1, true), wrong)
    end
  end)

  it("SQL namespace is as clients write it", function()
    assert.equal("hive/two", read { ZOOKEEPER_SQL_NAMESPACE = "/hive/two/" }.ZOOKEEPER_SQL_NAMESPACE)
  end)

  it("that open the same port are told", function()
    local text = faults_of { ZOOKEEPER = "a", START_MASTER = "true", START_THRIFTSERVER = "true", THRIFT_BACKEND_PORT = "10000",
      HEALTH_PORT = "8080" }
    assert.truthy(text:find("THRIFT_BACKEND_PORT=10000 (environment) and THRIFT_PORT=10000 (default) are the same port", 1, true), text)
    assert.truthy(text:find("HEALTH_PORT=8080 (environment) and MASTER_UI_PORT=8080 (default) are the same port", 1, true), text)
    read { START_MASTER = "true", START_THRIFTSERVER = "true", THRIFT_BACKEND_PORT = "10000" }
    read { ZOOKEEPER = "a", START_THRIFTSERVER = "true", SQL_RELAY = "false", THRIFT_BACKEND_PORT = "10000", START_MASTER = "true" }
  end)
end)
