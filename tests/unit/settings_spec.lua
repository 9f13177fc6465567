local settings = require "appliance.settings"

local files = {
  ["/run/secrets/rpc"] = "s3cr3t words\n",
  ["/run/memory"] = "2g\r\n",
  ["/run/wrong"] = "lots",
  ["/run/port"] = "8081\n",
  ["/run/empty"] = "\n",
  ["/run/two-lines"] = "one\ntwo\n\n",
}

local function read_file(path)
  if files[path] then return files[path] end
  return nil, path .. ": no such file"
end

local function read(environ, wanted)
  return settings.read(wanted or { "spark.*", "UNKNOWN_SETTINGS" }, environ, read_file)
end

--- The faults of an environment as an array of sentences.
local function faults_of(environ, wanted)
  local env, faults = read(environ, wanted)
  assert.is_nil(env, "nothing was refused")
  local sentences = {}
  for i, fault in ipairs(faults) do
    assert.equal("invalid", fault.kind)
    sentences[i] = tostring(fault)
  end
  return sentences
end

local function one_fault(environ, wanted)
  local sentences = faults_of(environ, wanted)
  assert.equal(1, #sentences, table.concat(sentences, "\n"))
  return sentences[1]
end

describe("settings", function()
  it("are typed values under their own names, with their origins", function()
    local env = assert(read { WORKER_MEMORY = "1.5g", EXT_JARS = "/a.jar, /b.jar", MASTER_REST = "yes", SPARK_WORKER_CORES = "3" })
    assert.equal(3 << 29, env.WORKER_MEMORY)
    assert.same({ "/a.jar", "/b.jar" }, env.EXT_JARS)
    assert.is_true(env.MASTER_REST)
    assert.equal(3, env.WORKER_CORES)
    assert.equal(7077, env.MASTER_PORT)
    assert.is_nil(env.DRIVER_MEMORY)
    assert.equal("WORKER_MEMORY (environment)", settings.origin(env, "WORKER_MEMORY"))
    assert.equal("SPARK_WORKER_CORES (environment), for WORKER_CORES", settings.origin(env, "WORKER_CORES"))
    assert.equal("default", settings.origin(env, "MASTER_PORT"))
    assert.is_nil(settings.origin(env, "DRIVER_MEMORY"))
    assert.is_true(settings.is_given(env, "WORKER_CORES"))
    assert.is_false(settings.is_given(env, "MASTER_PORT"))
  end)

  it("that give the same port to two services of this node are told with both values", function()
    assert.equal("MASTER_UI_PORT=8081 (environment) and WORKER_UI_PORT=8081 (default) are the same port, and this node would open both: "
      .. "give one of them another, for example MASTER_UI_PORT=8082", one_fault { MASTER_UI_PORT = "8081" })
    assert.equal("HIVE_SERVER2_THRIFT_PORT=7077 (environment, for THRIFT_PORT) and MASTER_PORT=7077 (default) are the same port, and this "
      .. "node would open both: give one of them another, for example THRIFT_PORT=7078",
      one_fault { START_MASTER = "true", START_THRIFTSERVER = "true", HIVE_SERVER2_THRIFT_PORT = "7077" })
    assert.equal(2, #faults_of { MASTER_PORT = "9000", MASTER_UI_PORT = "9000", WORKER_UI_PORT = "9000" })
    assert.matches("^MASTER_REST_PORT=8080 .*for example MASTER_REST_PORT=8082$",
      one_fault { MASTER_REST = "true", MASTER_REST_PORT = "8080" })
    assert.matches("^THRIFT_PORT=7077 .environment. and WORKER_PORT=7077 .default: START_WORKER without START_MASTER. ",
      one_fault { START_WORKER = "true", START_THRIFTSERVER = "true", THRIFT_PORT = "7077" })
    assert.matches("^MASTER_UI_PORT=8081 %(/run/port .from MASTER_UI_PORT_FILE.%) and ", one_fault { MASTER_UI_PORT_FILE = "/run/port" })
  end)

  it("may give the same port to services that do not run together", function()
    assert(read { START_MASTER = "true", MASTER_UI_PORT = "8081" })
    assert(read { START_WORKER = "true", MASTER_PORT = "8081" })
    assert(read { THRIFT_PORT = "7077", MASTER_REST_PORT = "7077", WORKER_PORT = "0" })
  end)

  it("that name jars of this node are held against the disk", function()
    local env, faults = settings.read({ "spark.*" }, { EXT_JARS = "/here.jar,/nowhere.jar,s3://b/x.jar,/lib/*" }, nil, function(path)
      if path == "/here.jar" or path == "/lib" then return {} end
      return nil, "no such file"
    end)
    assert.is_nil(env)
    assert.equal(1, #faults)
    assert.equal('EXT_JARS="/here.jar,/nowhere.jar,s3://b/x.jar,/lib/*" names /nowhere.jar, which can\'t be used (no such file), '
      .. "for example EXT_JARS=/data/jars/one.jar", tostring(faults[1]))
  end)

  it("that say where AWS is must be URLs, as all who ask there want them", function()
    local function told(name, value)
      local env, faults = read { [name] = value }
      return env and "" or settings.explain(faults)
    end
    for _, value in ipairs { "http://minio:9000", " HTTPS://minio/x/ ", "", " ", "http://[::1]:9000" } do
      assert.equal("", told("AWS_ENDPOINT_URL", value))
    end
    local takes = " is no endpoint: it takes https:// or http://, a host, and perhaps a port and a path, for example "
    for value, right in pairs {
      foo = "https://foo", ["minio:9000"] = "http://minio:9000", ["ftp://x.y"] = "https://x.y",
      ["http://minio:90000"] = "https://s3.example.org",
      ["http://h?x=y"] = "http://h", ["https://a b"] = "https://a",
      ["https:///"] = "https://s3.example.org",
    } do
      for _, name in ipairs { "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS" } do
        assert.equal(('%s="%s"%s%s=%s'):format(name, value, takes, name, right), told(name, value))
      end
    end
    for _, value in ipairs { "me:word@host/", "http://me:word@host" } do
      assert.is_nil(told("AWS_ENDPOINT_URL", value):find("word", 1, true))
      assert.matches("://host$", told("AWS_ENDPOINT_URL", value))
    end
    assert.is_truthy(read { AWS_ENDPOINT_URL = "foo", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "True" })
  end)

  it("that name a file of this node as a jar are told when it is none", function()
    local home = os.tmpname()
    local function stat(path)
      return { kind = path:find "[.]jar$" and "file" or "dir" }
    end
    local function fault_of(content)
      local path = home .. ".jar"
      local jar <close> = assert(io.open(path, "wb"))
      jar:write(content)
      jar:close()
      local env, faults = settings.read({ "spark.*" }, { EXT_JARS = path .. ",/classes" }, nil, stat)
      os.remove(path)
      return env and "" or tostring(faults[1]):match "which (.*), for example EXT_JARS=/data/jars/one.jar$"
    end
    assert.equal("", fault_of "PK\3\4\20\0")
    assert.equal("", fault_of "PK\5\6\0\0")
    assert.equal("is no jar (a jar is a ZIP archive, and this is empty)", fault_of "")
    assert.equal("is no jar (a jar is a ZIP archive, and this begins with \"<!DOCTYPE html>\", as a web page does)",
      fault_of "<!DOCTYPE html>\n<title>404</title>")
    assert.equal("is no jar (a jar is a ZIP archive, and this begins with \"PK\\x01\\x02\")", fault_of "PK\1\2")
    local _, faults = settings.read({ "spark.*" }, { EXT_JARS = home .. ".jar" }, nil, stat)
    assert.matches("which can't be read (No such file or directory), for example", tostring(faults[1]), 1, true)
    os.remove(home)
  end)

  it("that name a Spark or a Java are held against the disk, together with all other faults", function()
    local there = { ["/spark"] = true, ["/spark/jars"] = true, ["/java"] = true, ["/java/bin/java"] = true, ["/java/release"] = true,
      ["/empty"] = true }
    local function stat(path)
      if there[path] then return {} end
      return nil, path .. ": No such file or directory"
    end
    local function faults(environ)
      local env, found = settings.read({ "spark.*" }, environ, read_file, stat)
      return env and "" or settings.explain(found)
    end
    assert.equal("", faults { SPARK_HOME = "/spark", JAVA_HOME = "/java" })
    assert.equal("", faults {}, "nobody named one: it is looked for, as a fact")
    assert.equal('JAVA_HOME="/nowhere" is no Java (/nowhere: No such file or directory): set it to the directory of a JDK or JRE 17 or '
      .. '21, or leave it out\nMASTER_PORT="x" is not a port (1 to 65535), for example MASTER_PORT=7077\n'
      .. 'SPARK_DIR="/empty" is no Spark (/empty/jars: No such file or directory): set it to the directory of a Spark release',
      faults { SPARK_DIR = "/empty", JAVA_HOME = "/nowhere", MASTER_PORT = "x" })
  end)

  it("are unset when blank", function()
    local env = assert(read { WORKER_MEMORY = "", MASTER_PORT = "  ", SPARK_MASTER_PORT = "7078", WORKER_CORES_FILE = "" })
    assert.is_nil(env.WORKER_MEMORY)
    assert.equal(7078, env.MASTER_PORT)
  end)

  it("come from a file that NAME_FILE names, without its final newline", function()
    local env = assert(read { SPARK_RPC_AUTHENTICATION_SECRET_FILE = "/run/secrets/rpc", SPARK_RPC_AUTHENTICATION_ENABLED = "yes",
      SPARK_WORKER_MEMORY_FILE = "/run/memory", APPLICATION_ID_FILE = "/run/two-lines", DRIVER_MEMORY_FILE = "/run/empty" })
    assert.equal("s3cr3t words", env.SPARK_RPC_AUTHENTICATION_SECRET)
    assert.equal(2 << 30, env.WORKER_MEMORY)
    assert.equal("one\ntwo", env.APPLICATION_ID)
    assert.is_nil(env.DRIVER_MEMORY)
    assert.equal("/run/memory (from SPARK_WORKER_MEMORY_FILE), for WORKER_MEMORY", settings.origin(env, "WORKER_MEMORY"))
  end)

  it("refuse NAME and NAME_FILE together, and a file that can't be read", function()
    assert.equal("WORKER_MEMORY and WORKER_MEMORY_FILE are both set: keep one",
      one_fault { WORKER_MEMORY = "2g", WORKER_MEMORY_FILE = "/run/memory" })
    assert.equal("WORKER_MEMORY_FILE=/nowhere can't be read: /nowhere: no such file; correct the path, or set WORKER_MEMORY itself",
      one_fault { WORKER_MEMORY_FILE = "/nowhere" })
    assert.equal('WORKER_MEMORY="lots" (from /run/wrong) is not a size: a number and its unit (k, m, g or t), for example WORKER_MEMORY=2g',
      one_fault { WORKER_MEMORY_FILE = "/run/wrong" })
  end)

  it("whose own name ends in _FILE are no files to be read", function()
    local env = assert(read { SPARK_SSL_KEYSTORE_FILE = "/run/secrets/rpc" })
    assert.equal("/run/secrets/rpc", env.SPARK_SSL_KEYSTORE_FILE)
  end)

  it("tell all faults at once, each with name, value, reason and cure", function()
    assert.same({
      'LOG_FORMAT="jsno" is none of text, json, did you mean "json"?, for example LOG_FORMAT=text',
      'MASTER_REST="maybe" is neither true nor false, for example MASTER_REST=true',
      'SPARK_WORKER_MEMORY="4096" is too little: at least 64m, for example SPARK_WORKER_MEMORY=2g',
      "START_MASTR is no setting: did you mean START_MASTER? (UNKNOWN_SETTINGS=warn lets it pass)",
      'WORKER_CORES="two" is not a whole number, for example WORKER_CORES=2',
    }, faults_of({ WORKER_CORES = "two", MASTER_REST = "maybe", START_MASTR = "true", SPARK_WORKER_MEMORY = "4096", LOG_FORMAT = "jsno" },
      { "spark.*", "LOG_FORMAT" }))
  end)

  it("never show a secret in a fault", function()
    local wanted = { MY_KEY = { type = "integer", secret = true, doc = "a number nobody should see" }, JDBC_URL = { type = "path" } }
    local text = one_fault({ MY_KEY = "hunter2" }, wanted)
    assert.equal("MY_KEY=(redacted) is not a whole number, for example MY_KEY=2", text)
    wanted.MY_KEY.type, wanted.MY_KEY.of = "list", "integer"
    assert.equal("MY_KEY=(redacted) has (redacted), which is not a whole number, for example MY_KEY=2",
      one_fault({ MY_KEY = "1,hunter2" }, wanted))
    assert.is_nil(one_fault({ JDBC_URL = "jdbc://me:hunter2@db/x" }, wanted):find("hunter2", 1, true))
  end)

  it("show odd characters and long values so that a line stays a line", function()
    local text = one_fault { WORKER_CORES = "1\n2\27" .. ("x"):rep(500) }
    assert.truthy(text:find("1\\x0a2\\x1bxxx", 1, true))
    assert.is_true(#text < 200)
  end)

  it("prefer our own name to an alias, and say so when they differ", function()
    local env = assert(read { WORKER_CORES = "2", SPARK_WORKER_CORES = "3" })
    assert.equal(2, env.WORKER_CORES)
    assert.same({ "SPARK_WORKER_CORES is not used: WORKER_CORES says otherwise and comes first" }, settings.notes(env))
    assert.same({}, settings.notes((assert(read { WORKER_CORES = "2", SPARK_WORKER_CORES = "2" }))))
  end)

  it("ignore what Kubernetes and Docker links put beside them", function()
    local env = assert(read {
      SPARK_MASTER_PORT = "tcp://10.0.0.1:7077", SPARK_MASTER_PORT_7077_TCP = "tcp://10.0.0.1:7077",
        SPARK_MASTER_PORT_7077_TCP_ADDR = "10.0.0.1",
      SPARK_MASTER_PORT_7077_TCP_PORT = "7077", SPARK_MASTER_SERVICE_HOST = "10.0.0.1", SPARK_MASTER_SERVICE_PORT = "7077",
      SPARK_MASTER_SERVICE_PORT_WEB_UI = "8080", WORKER_PORT = "tcp://10.0.0.2:1", START_MASTER_SERVICE_HOST = "10.0.0.3",
    })
    assert.equal(7077, env.MASTER_PORT)
    assert.is_nil(env.WORKER_PORT)
    assert.same({}, settings.notes(env))
  end)

  describe("with unknown names", function()
    it("ask whether a near one was meant", function()
      for wrong, right in pairs {
        START_MASTR = "START_MASTER", STARTMASTER = "START_MASTER", start_master = "START_MASTER", WORKR_MEMROY = "WORKER_MEMORY",
        SPARK_WORKER_MEMROY = "SPARK_WORKER_MEMORY", SPRAK_MODE = "SPARK_MODE", EXT_JAR = "EXT_JARS", MASTER_URL = "MASTER_URI",
        START_THRIFT_SERVER = "START_THRIFTSERVER", SPARK_SSL_KEYSTORE_PASWORD_FILE = "SPARK_SSL_KEYSTORE_PASSWORD_FILE",
        SPARK_RPC_ENCRYPTION = "SPARK_RPC_ENCRYPTION_ENABLED", SPARK_LOCAL_STORAGE_ENCRYPTION = "SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED",
      } do
        assert.equal(wrong .. " is no setting: did you mean " .. right .. "? (UNKNOWN_SETTINGS=warn lets it pass)",
          one_fault { [wrong] = "x" })
      end
    end)

    it("refuse whatever begins like ours", function()
      assert.equal("START_SOMETHING is no setting: see `spark-appliance settings` (UNKNOWN_SETTINGS=warn lets it pass)",
        one_fault { START_SOMETHING = "x" })
      assert.equal("APPLIANCE_COLOUR is no setting: see `spark-appliance settings` (UNKNOWN_SETTINGS=warn lets it pass)",
        one_fault { APPLIANCE_COLOUR = "x" })
    end)

    it("leave everybody else's alone", function()
      local env = assert(read {
        PATH = "/bin", HOME = "/root", JAVA_HOMES = "/x", LANG = "C", LC_ALL = "C", AWS_PROFILE = "me", HOSTNAME = "h", TERM = "xterm",
          WORKER_HOST = "w",
        DATABASE_URL = "x", APPLIANCE_SERVICE = "worker@0a", SPARK_VERSION = "4.1.1", SPARK_NO_DAEMONIZE = "", SPARK_LOG_DIR = "/var/log",
        SPARK_PID_DIR = "/tmp", SPARK_NICENESS = "5", NAME = "x", RECOVERED = "", SPARK_UI_PORT = "4040", DRIVER_CORES = "2",
          ["_"] = "/bin/env",
      })
      assert.same({}, settings.notes(env))
    end)

    it("let them pass when told to", function()
      local env = assert(read { START_MASTR = "true", UNKNOWN_SETTINGS = "warn" })
      assert.same({ "START_MASTR is no setting: did you mean START_MASTER?" }, settings.notes(env))
      assert.same({}, settings.notes((assert(read { START_MASTR = "true", UNKNOWN_SETTINGS = "ignore" }))))
    end)

    it("finds every one-letter slip of every name, and takes no declared name for a slip", function()
      local unknown = require "appliance.settings.unknown"
      local names = {}
      for name, def in pairs(require "appliance.settings.spark") do
        names[name] = true
        for _, alias in ipairs(def.aliases or {}) do names[type(alias) == "string" and alias or alias[1]] = true end
      end
      local find = unknown.finder(names)
      for name in pairs(names) do
        for at = 1, #name do
          local shorter = name:sub(1, at - 1) .. name:sub(at + 1)
          if #shorter > 5 and not names[shorter] then assert.truthy(find(shorter), shorter) end
          local swapped = name:sub(1, at - 1) .. name:sub(at + 1, at + 1) .. name:sub(at, at) .. name:sub(at + 2)
          if #name > 5 and not names[swapped] then assert.truthy(find(swapped), swapped) end
        end
      end
    end)
  end)

  describe("schema", function()
    local function schema_fault(wanted)
      local schema, faults = settings.schema(wanted)
      assert.is_nil(schema)
      assert.equal(1, #faults)
      return faults[1].text
    end

    it("takes shipped names and own definitions", function()
      local schema = assert(settings.schema { "WORKER_MEMORY", MY_LIMIT = { type = "size", default = "2g", doc = "..." } })
      local env = assert(settings.read(schema, {}))
      assert.equal(2 << 30, env.MY_LIMIT)
      assert.equal("size", schema.WORKER_MEMORY.type)
    end)

    it("changes a default of a shipped setting", function()
      local env = assert(settings.read({ "LOG_LEVEL", WORKER_MEMORY = { default = "4g" } }, { SPARK_WORKER_CORES = "" }))
      assert.equal(4 << 30, env.WORKER_MEMORY)
    end)

    it("tells what is wrong with a definition", function()
      assert.equal('setting "WORKER_MEMROY" is not known, did you mean "WORKER_MEMORY"?; define it (WORKER_MEMROY = { type = ..., '
        .. 'doc = ... }) or see `spark-appliance settings`',
        schema_fault { "WORKER_MEMROY" })
      assert.truthy(schema_fault { MY_LIMIT = { type = "sise" } }:find('there is no type "sise", did you mean "size"?; types are', 1, true))
      assert.truthy(schema_fault { MY_LIMIT = { doc = "x" } }:find("there is no type given", 1, true))
      assert.truthy(schema_fault { MY_LIMIT = "2g" }:find("its definition is a string; write a table", 1, true))
      assert.truthy(schema_fault { my_limit = { type = "size" } }:find("for example MY_LIMIT", 1, true))
      assert.truthy(schema_fault { MY_LIMIT = { type = "size", default = "lots" } }:find('its default "lots" is not a size', 1, true))
      assert.truthy(schema_fault { MY_MODE = { type = "enum" } }:find("needs its values", 1, true))
      assert.truthy(schema_fault { 5 }:find("item 1 of settings is a number", 1, true))
    end)

    it("runs a definition's own check", function()
      local wanted = { LOW = { type = "integer" }, HIGH = { type = "integer", check = function(env, all)
        if env.LOW and env.HIGH and env.LOW > env.HIGH then all.fault("HIGH", "is below LOW", tostring(env.LOW + 1)) end
      end } }
      assert.equal('HIGH="1" is below LOW, for example HIGH=6', one_fault({ LOW = "5", HIGH = "1" }, wanted))
    end)
  end)

  it("tell a plan that reads a name it did not ask for", function()
    local plain = assert(read({ WORKER_MEMORY = "2g" }, { "WORKER_MEMORY", "LOG_LEVEL" }))
    assert.is_nil(plain.EXT_JARS)
    local env = settings.strict(plain)
    assert.equal("WORKER_MEMORY (environment)", settings.origin(env, "WORKER_MEMORY"))
    assert.equal("2g", settings.written(env, "WORKER_MEMORY"))
    assert.has_error(function() return env.WORKER_MEMROY end, 'env.WORKER_MEMROY: this profile\'s settings have no WORKER_MEMROY, '
      .. 'did you mean "WORKER_MEMORY"?')
    assert.has_error(function() return env.EXT_JARS end, "env.EXT_JARS: this profile's settings have no EXT_JARS; add it to `settings`")
  end)

  it("take a table written by hand as all given", function()
    local env = { WORKER_MEMORY = 2 << 30, MINE = "x" }
    assert.is_true(settings.is_given(env, "MINE"))
    assert.is_false(settings.is_given(env, "WORKER_CORES"))
    assert.equal("2g", settings.written(env, "WORKER_MEMORY"))
    assert.equal("x", settings.written(settings.strict(env), "MINE"))
  end)

  it("say that a known setting is not this profile's", function()
    local env = assert(read({ START_MASTER = "true" }, { "LOG_LEVEL", "UNKNOWN_SETTINGS" }))
    assert.same({ "START_MASTER is set, but this profile has no such setting: it has no effect" }, settings.notes(env))
  end)

  it("load Spark's schema only when it is needed", function()
    local kept = package.loaded["appliance.settings.spark"]
    package.loaded["appliance.settings.spark"] = nil
    local schema = assert(settings.schema { "LOG_LEVEL", "STATE_DIR", MY_LIMIT = { type = "size" } })
    assert(settings.read(schema, { PATH = "/bin", HOME = "/root", SPARK_HOME = "/opt/spark", DATABASE_URL = "x" }))
    local loaded = package.loaded["appliance.settings.spark"]
    package.loaded["appliance.settings.spark"] = kept
    assert.is_nil(loaded)
  end)

  it("choose the writable directory", function()
    local function dir(environ, writable) return settings.state_dir(environ, function() return writable end) end
    assert.equal("/var/lib/spark-appliance", dir({ HOME = "/root" }, true))
    assert.equal("/s/spark-appliance", dir({ HOME = "/home/me", XDG_STATE_HOME = "/s" }, false))
    assert.equal("/home/me/.local/state/spark-appliance", dir({ HOME = "/home/me", XDG_STATE_HOME = "" }, false))
    assert.equal("/tmp/spark-appliance", dir({ HOME = "/" }, false))
  end)
end)
