local client = require "appliance.spark.client"

local seen = {
  layout = { home = "/opt/spark", version = "4.1.1", scala = "2.13", class_path = "/opt/spark/jars/a.jar", java = { home = "/j",
    program = "/j/bin/java", major = 17 } },
  archive = "/a.jsa", conf = "/state/conf", state = "/state", after = "", flags = { "-XX:+UseSerialGC" },
    sql = "jdbc:hive2://127.0.0.1:10000/",
  environment = { SPARK_HOME = "/opt/spark", SPARK_CONF_DIR = "/state/conf" },
}

local DEFAULTS = "spark.master spark://n:7077\nspark.driver.memory 700m\nspark.driver.extraJavaOptions -Dmine=\"a b\"\n"

local function prepared(tool, words, environ, files)
  files = files or {}
  files["/state/conf/spark-defaults.conf"] = files["/state/conf/spark-defaults.conf"] or DEFAULTS
  return client.prepare(tool, words, seen, environ or {}, function(path) return files[path], "no such file" end)
end

local function text(command) return table.concat(command.command, " ") end
local function tail(command, count) return table.move(command.command, #command.command - count + 1, #command.command, 1, {}) end

describe("spark-submit on a node", function()
  it("is a java of its own, with the archive, the node's heap and options", function()
    local command = assert(prepared("spark-submit", { "--class", "Main", "/x.jar", "--memory", "9" }))
    assert.equal("/j/bin/java", command.command[1])
    assert.matches("%-cp /opt/spark/jars/a%.jar:/state/conf %-Xmx700m %-XX:%+UseSerialGC %-XX:SharedArchiveFile=/a%.jsa", text(command))
    assert.matches(" %-Dmine=a b org%.apache%.spark%.deploy%.SparkSubmit ", text(command))
    assert.same({ "--class", "Main", "/x.jar", "--memory", "9" }, tail(command, 5))
    assert.equal("0", command.environment.PYTHONHASHSEED)
  end)

  it("takes the driver's heap and class path from its options, the last one counts", function()
    local command = assert(prepared("spark-submit", { "--conf", "spark.driver.memory=1g", "--driver-memory", "2g", "--driver-class-path",
      "/d.jar", "x.py" }))
    assert.matches("%-cp /d%.jar:/opt/spark", text(command))
    assert.matches("%-Xmx2048m", text(command))
    assert.matches("%-Xmx512m", text(assert(prepared("spark-submit", { "--driver-memory=2g", "--conf=spark.driver.memory=512", "x.py" }))))
  end)

  it("takes nothing of the driver's when the driver runs on the cluster", function()
    local command = assert(prepared("spark-submit", { "--deploy-mode", "cluster", "--driver-memory", "9g", "x.jar" }))
    assert.matches("%-Xmx1024m", text(command))
    assert.not_matches("mine", text(command))
  end)

  it("reads the properties file it is given instead of the node's, or on top of it", function()
    local files = { ["/p"] = "spark.driver.memory 800m\n" }
    assert.not_matches("mine", text(assert(prepared("spark-submit", { "--properties-file", "/p", "x.py" }, {}, files))))
    local both = text(assert(prepared("spark-submit", { "--properties-file", "/p", "--load-spark-defaults", "x.py" }, {}, files)))
    assert.matches("mine", both)
    assert.matches("%-Xmx800m", both)
    local _, err = prepared("spark-submit", { "--properties-file", "/none", "x.py" })
    assert.matches("/none: no such file", err.text)
  end)

  it("refuses a heap among the driver's options", function()
    local _, err = prepared("spark-submit", { "--driver-java-options", "-Xmx3g", "x.py" })
    assert.matches("spark%.driver%.extraJavaOptions: %-Xmx3g sets the heap of the driver; use %-%-driver%-memory", err.text)
  end)

  it("leaves to Spark's own script what is no driver, or the launcher's affair", function()
    for _, words in ipairs { { "--version" }, { "--kill", "driver-1" }, { "--remote", "sc://x" }, { "pyspark-shell-main", "--name", "x" },
      {} } do
      assert.equal("/opt/spark/bin/spark-submit", assert(prepared("spark-submit", words)).command[1])
    end
    assert.equal("/opt/spark/bin/pyspark", assert(prepared("pyspark", { "--master", "local" })).command[1])
  end)
end)

describe("the shells", function()
  it("are SparkSubmit with a class of Spark's, options may stand anywhere", function()
    local command = assert(prepared("spark-sql", { "-e", "select 1", "--driver-memory", "1g", "-S" }))
    assert.same({ "org.apache.spark.deploy.SparkSubmit", "--class", "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver",
      "--driver-memory", "1g",
      "spark-internal", "-e", "select 1", "-S" }, tail(command, 9))
    command = assert(prepared("spark-shell", { "-I", "init.scala" }))
    assert.matches("%-Dscala%.usejavacp=true", text(command))
    assert.same({ "--name", "Spark shell", "spark-shell", "-I", "init.scala" }, tail(command, 5))
    assert.equal("1", command.environment.SPARK_SCALA_SHELL)
  end)

  it("beeline finds the node's SQL unless told where to go", function()
    assert.same({ "-u", seen.sql, "-e", "show tables" }, tail(assert(prepared("beeline", { "-e", "show tables" })), 4))
    assert.not_matches("127%.0%.0%.1", text(assert(prepared("beeline", { "-u", "jdbc:hive2://other/" }))))
  end)
end)
