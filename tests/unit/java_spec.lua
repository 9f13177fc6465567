local java = require "appliance.spark.java"
local layout = require "appliance.spark.layout"

local RELEASE_17 = 'IMPLEMENTOR="Debian"\nJAVA_VERSION="17.0.15"\n'

local function seen(version, scala, more)
  local found = {
    home = "/opt/spark", java = { home = "/usr/lib/jvm/17", release = RELEASE_17 },
    jars = {
      { name = "zookeeper-3.9.4.jar", size = 1, mtime = 5 }, { name = "HikariCP-2.5.1.jar", size = 2, mtime = 5 },
      { name = "slf4j-api-2.0.17.jar", size = 3, mtime = 5 }, { name = ("spark-core_%s-%s.jar"):format(scala, version), size = 4,
        mtime = 5 },
      { name = ("spark-hive-thriftserver_%s-%s.jar"):format(scala, version), size = 4, mtime = 5 },
    },
  }
  for name, value in pairs(more or {}) do found[name] = value end
  return found
end

describe("what a SPARK_HOME is", function()
  it("is told by its core jar", function()
    local found = assert(layout.describe(seen("4.1.1", "2.13")))
    assert.same({ "4.1.1", "2.13", 17 }, { found.version, found.scala, found.java.major })
    assert.is_true(found.has_thriftserver)
    assert.is_false(found.has_json_layout)
  end)

  it("names the jars in one order everywhere, slf4j-api first", function()
    local found = layout.describe(seen("3.5.7", "2.12"))
    assert.equal("/opt/spark/jars/slf4j-api-2.0.17.jar:/opt/spark/jars/HikariCP-2.5.1.jar:/opt/spark/jars/spark-core_2.12-3.5.7.jar:"
      .. "/opt/spark/jars/spark-hive-thriftserver_2.12-3.5.7.jar:/opt/spark/jars/zookeeper-3.9.4.jar", found.class_path)
    local shuffled = seen("3.5.7", "2.12")
    table.sort(shuffled.jars, function(a, b) return a.size > b.size end)
    assert.equal(found.class_path, layout.describe(shuffled).class_path)
  end)

  it("is refused with the cure when it is none, too old, or without a Java for it", function()
    local _, err = layout.describe(seen("4.1.1", "2.13", { jars = {} }))
    assert.equal("SPARK_HOME: /opt/spark/jars holds no spark-core jar; set SPARK_HOME to the directory of a Spark release", err.text)
    _, err = layout.describe(seen("2.4.8", "2.11"))
    assert.equal("SPARK_HOME: /opt/spark is Spark 2.4.8; use 3.5 or later", err.text)
    _, err = layout.describe(seen("4.1.1", "2.13", { java = { home = "/j8", release = 'JAVA_VERSION="1.8.0_402"' } }))
    assert.equal("JAVA_HOME: /j8 is Java 8, and Spark needs 17 or 21; set JAVA_HOME to one of these", err.text)
  end)

  it("has an identity that changes with JDK and jars", function()
    local one = layout.describe(seen("4.1.1", "2.13")).identity
    assert.equal(one, layout.describe(seen("4.1.1", "2.13")).identity)
    local other = seen("4.1.1", "2.13")
    other.jars[1].size = 7
    assert.not_equal(one, layout.describe(other).identity)
    assert.not_equal(one, layout.describe(seen("4.1.1", "2.13", { java = { home = "/usr/lib/jvm/17",
      release = 'JAVA_VERSION="17.0.16"' } })).identity)
  end)
end)

describe("options of a JVM", function()
  it("open modules to applications of every line, and to daemons since 4.0", function()
    assert.same({}, java.module_options("3.5.7", "daemon"))
    assert.equal("-XX:+IgnoreUnrecognizedVMOptions", java.module_options("3.5.7", "application")[1])
    for _, kind in ipairs { "daemon", "application" } do
      local text = table.concat(java.module_options("4.1.1", kind), " ")
      assert.matches("%-%-add%-modules=jdk%.incubator%.vector", text)
      assert.matches("%-%-add%-opens=java%.base/sun%.nio%.ch=ALL%-UNNAMED", text)
      assert.matches("%-Dio%.netty%.allocator%.type=pooled", text)
    end
    assert.matches("sun%-misc%-unsafe", table.concat(java.module_options("4.3.0", "daemon"), " "))
  end)

  it("are split as Spark's launcher splits them", function()
    assert.same({ "-Da=b c", "-Dd=e", "" }, java.split [[ "-Da=b c"  -Dd="e" '' ]])
    assert.same({ [[a"b]], [[c\d]], "e f" }, java.split [[a\"b 'c\d' e\ f]])
    assert.same({}, java.split "   ")
    local words, problem = java.split [["open]]
    assert.is_nil(words)
    assert.equal('has an opening " without its end', problem)
  end)

  it("may not hold a heap", function()
    assert.equal("-Xmx2g", java.heap_in { "-Da", "-Xmx2g" })
    assert.is_nil(java.heap_in { "-Xms1g", "-XX:+UseG1GC" })
  end)

  it("stand before the class, the user's last, with the conf directory behind all jars", function()
    local found = layout.describe(seen("3.5.7", "2.12"))
    local command = java.command { layout = found, kind = "daemon", class = "org.example.Main", arguments = { "x" }, heap = 256 << 20,
      flags = { "-XX:+UseSerialGC" }, properties = { b = 2, a = 1 }, options = { "-XX:+UseG1GC" }, before = "/first.jar", conf = "/conf",
        after = "/last" }
    assert.same({ "/usr/lib/jvm/17/bin/java", "-cp", "/first.jar:" .. found.class_path .. ":/conf:/last", "-Xmx256m", "-XX:+UseSerialGC",
      "-Da=1", "-Db=2",
      "-XX:+UseG1GC", "org.example.Main", "x" }, command)
  end)
end)
