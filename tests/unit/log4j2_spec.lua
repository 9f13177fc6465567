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
end)
