local log4j2 = require "appliance.render.log4j2"
local merge = require "appliance.merge"
local properties = require "appliance.render.properties"

local golden = (os.getenv "APPLIANCE_SOURCE" or ".") .. "/tests/golden/render/"

local function read(name)
  local file <close> = assert(io.open(golden .. name, "rb"))
  return file:read "a"
end

local function shipped(options) return { layer = "default", origin = "shipped", keys = log4j2.keys(options) } end

local function merged(...) return assert(merge.file("log4j2.properties", { ... })) end

local function map_of(file) return properties.map(assert(properties.parse(file.text))) end

describe("log4j2.properties", function()
  -- Both golden files were given to the log4j of Spark 3.5.7 (2.20.0) and 4.1.1 (2.24.3), which wrote what they promise.
  it("is the golden file, as text and as JSON", function()
    assert.equal(read "log4j2.properties", merged(shipped {}).text)
    assert.equal(read "log4j2-json.properties",
      merged(shipped { format = "json", json_layout = true, loggers = { ["org.apache.spark"] = "debug" } }).text)
  end)

  it("falls back to text where Spark's jars have no JSON layout", function()
    assert.same(log4j2.keys {}, log4j2.keys { format = "json", json_layout = false })
  end)

  it("hears the ZooKeeper client at info, however quiet the root is", function()
    local keys = log4j2.keys { level = "ERROR" }
    assert.equal("error", keys["rootLogger.level"])
    assert.equal("org.apache.zookeeper.ClientCnxn", keys["logger.zookeeperClient.name"])
    assert.equal("info", keys["logger.zookeeperClient.level"])
  end)

  it("raises on a level that log4j has not", function()
    assert.has_error(function() log4j2.keys { level = "loud" } end,
      'log4j2: "loud" is no level; take trace, debug, info, warn, error, fatal or off')
  end)

  it("takes single keys of a mounted file over ours", function()
    local file = merged(shipped {}, { layer = "mounted", origin = "/conf/log4j2.properties",
                                      text = "# ours is loud\nlogger.hive.name = org.apache.hive\nlogger.hive.level = warn\n" })
    local map = map_of(file)
    assert.equal("warn", map["logger.hive.level"])
    assert.equal("console", map["rootLogger.appenderRef.stdout.ref"])
    assert.match("# ours is loud", file.text, 1, true)
  end)

  it("gives way to a mounted file with a root logger of its own, but for what must hold", function()
    local file = merged(shipped {}, { layer = "mounted", origin = "/conf/log4j2.properties",
                                      text = "rootLogger = info, out\nappender.out.type = Console\nappender.out.name = out\n" })
    local map = map_of(file)
    assert.is_nil(map["appender.console.type"])
    assert.is_nil(map["rootLogger.appenderRef.stdout.ref"])
    assert.equal("info, out", map["rootLogger"])
    assert.equal("info", map["logger.zookeeperClient.level"])
  end)

  describe("on a node of a cluster", function()
    local function with(text)
      local mounted = { layer = "mounted", origin = "/conf/log4j2.properties", text = text }
      return map_of(merged(shipped { level = "warn", election = true }, mounted))
    end
    local WHOLE <const> = "rootLogger = warn, out\nappender.out.type = Console\nappender.out.name = out\n"
    local TO_FILE <const> = "rootLogger.level = warn\nrootLogger.appenderRef.f.ref = f\nappender.f.type = File\nappender.f.name = f\n"

    it("hears of sessions and elections", function()
      local keys = log4j2.keys { level = "error", election = true }
      assert.equal("org.apache.spark.deploy.master.Master", keys["logger.applianceMaster.name"])
      assert.equal("info", keys["logger.applianceMaster.level"])
      assert.is_nil(log4j2.keys({})["logger.applianceMaster.name"])
    end)

    it("hears of its SQL server's registration, and keeps other drivers as quiet as they are", function()
      local keys = log4j2.keys { level = "error", election = true }
      assert.equal("org.apache.spark.scheduler.cluster.StandaloneSchedulerBackend", keys["logger.applianceDriver.name"])
      assert.equal("${sys:appliance.log.driver:-error}", keys["logger.applianceDriver.level"])
      assert.equal("${sys:appliance.log.driver:-warn}", with(WHOLE)["logger.applianceDriver.level"])
      assert.equal("${sys:appliance.log.driver:-debug}", with(WHOLE .. "logger.d.level = debug\nlogger.d.name = "
        .. "org.apache.spark.scheduler.cluster.StandaloneSchedulerBackend\n")["logger.d.level"])
    end)

    it("adds nothing to a file whose root is on the console", function()
      local map = with(WHOLE)
      assert.equal("info", map["logger.applianceMaster.level"])
      assert.equal("info", map["logger.zookeeperClient.level"])
      assert.is_nil(map["appender.appliance.type"])
    end)

    it("prints these lines on the console where a file has the rest", function()
      local map = with(TO_FILE)
      assert.equal("Console", map["appender.appliance.type"])
      assert.equal("appliance", map["logger.applianceMaster.appenderRef.appliance.ref"])
      assert.equal("appliance", map["logger.zookeeperClient.appenderRef.appliance.ref"])
      assert.equal("f", map["rootLogger.appenderRef.f.ref"])
    end)

    it("raises a logger of the user's own, instead of adding a second one of that name", function()
      local map = with(WHOLE .. "logger.m.name = org.apache.spark.deploy.master.Master\nlogger.m.level = off\n"
        .. "logger.z.name = org.apache.zookeeper.ClientCnxn\nlogger.z.level = error\nlogger.z.additivity = false\n")
      assert.equal("info", map["logger.m.level"])
      assert.is_nil(map["logger.applianceMaster.name"])
      assert.equal("info", map["logger.z.level"])
      assert.is_nil(map["logger.zookeeperClient.name"])
      assert.equal("appliance", map["logger.z.appenderRef.appliance.ref"])
      assert.is_nil(map["logger.m.appenderRef.appliance.ref"])
    end)
  end)
end)
