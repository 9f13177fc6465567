local archive = require "appliance.spark.archive"
local training = require "appliance.spark.training"

local layout = {
  home = "/opt/spark", version = "4.1.1", scala = "2.13", identity = "jdk and jars", class_path = "/opt/spark/jars/a.jar",
  java = { home = "/j", program = "/j/bin/java", major = 17 },
}

local function fingerprint(text) return ("%016x"):format(#text) end

describe("the class data archive", function()
  it("is found by a name that changes with JDK, jars and their place", function()
    local key = archive.key(layout, fingerprint)
    assert.matches("^4%.1%.1%-java17%-%x+$", key)
    for field, value in pairs { identity = "another jdk", class_path = "/opt/spark/jars/bb.jar", version = "4.1.2" } do
      local other = setmetatable({ [field] = value }, { __index = layout })
      assert.not_equal(key, archive.key(other, fingerprint))
    end
  end)

  it("is looked for beside Spark first, then in the state directory", function()
    assert.same({ "/opt/spark/archive/K/spark.jsa", "/state/archive/K/spark.jsa" }, archive.candidates(layout, "/state", "K"))
  end)

  it("is never demanded of a JVM, only offered, and quietly", function()
    assert.same({}, archive.options(nil))
    local options = table.concat(archive.options "/a.jsa", " ")
    assert.matches("%-Xshare:auto", options)
    assert.matches("%-Xlog:cds=off", options)
    assert.not_matches("%-Xshare:on", options)
  end)
end)

describe("the training for it", function()
  local services = training.services { layout = layout, work = "/w", port = 21234, environment = { PATH = "/bin" }, python = true }

  it("is a server with a cluster inside, a client of it, and a Python job, on loopback alone", function()
    assert.same({ server = "ready" }, services.beeline.after)
    local text = table.concat(services.server.command, " ")
    assert.matches("%-%-master local%-cluster%[1,1,512%]", text)
    assert.matches("hive%.server2%.thrift%.bind%.host=127%.0%.0%.1", text)
    assert.is_true(services.python.oneshot)
  end)

  it("records with the archive off, the executor too", function()
    local text = table.concat(services.server.command, "\n")
    assert.matches("\n%-Xshare:off\n%-XX:DumpLoadedClassList=/w/server%.classes\n", text)
    assert.matches("defaultJavaOptions=%-Xshare:off %-XX:DumpLoadedClassList=/w/executor%-%%p%.classes", text)
  end)

  it("gives its executor our class path, which is what makes the archive fit", function()
    assert.equal(layout.class_path, services.server.env.SPARK_CONF_DIR)
    assert.equal("/w/conf", services.server.env.HADOOP_CONF_DIR)
  end)

  it("merges lists, each class once, without a line that a killed JVM left half", function()
    local text, count = training.merge { "a\nb\n", "b\nc\nhal", "", "a\nd\n" }
    assert.equal("a\nb\nc\nd\n", text)
    assert.equal(4, count)
  end)

  it("installs only what a JVM could use", function()
    local check = training.check { layout = layout, work = "/w", environment = {}, archive = "/a.jsa.new" }
    assert.matches("%-Xshare:on %-XX:SharedArchiveFile=/a%.jsa%.new", table.concat(check.command, " "))
  end)

  it("has the same words each time", function()
    assert.equal(training.words(), training.words())
    assert.is_true(#training.words() > 10000)
  end)
end)
