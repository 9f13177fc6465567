--- The programs whose classes go into the archive, and how they are run. Pure: commands, texts and lists; trainer.lua runs them.
--- One thrift server with a cluster inside its JVM (local-cluster) loads what master, worker, driver and SQL need; its executor is a JVM
--- of its own; beeline asks it a few questions; a Python job adds PySpark's side. Each writes down the classes it loads.
local java = require "appliance.spark.java"

local training = {}

--- What people do with SQL most: read text and parquet, aggregate, join, sort, write.
training.SQL = [[
create or replace temporary view lines using text options (path '%s/words.txt');
create table if not exists words using parquet as select word, count(*) n from (select explode(split(value,
  ' ')) word from lines) group by word;
select a.word, a.n, b.n from words a join words b on a.word = b.word where a.n > 1 order by a.n desc limit 5;
select count(distinct word), sum(n), avg(n), current_date(), cast('1.5' as decimal(10,2)) from words;
show tables;
drop table words;
]]

--- The word count everybody starts with, by RDD and by DataFrame; and a look at an object, where Spark has what that takes.
training.PYTHON = [[
import sys
from operator import add
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("training").getOrCreate()
lines = spark.read.text(sys.argv[1]).rdd.map(lambda r: r[0])
counts = lines.flatMap(lambda x: x.split(" ")).map(lambda x: (x, 1)).reduceByKey(add)
assert counts.count() > 0 and counts.collect()
assert spark.read.text(sys.argv[1]).groupBy("value").count().orderBy("count").collect()


def ask_nobody():
    # The way to a refused connection leads through most of S3A and its SDK. Keys and region are given: nothing else is asked for them.
    jvm, conf = spark.sparkContext._jvm, spark.sparkContext._jsc.hadoopConfiguration()
    for key, value in {
        "endpoint": "http://127.0.0.1:9", "endpoint.region": "us-east-1", "path.style.access": "true", "access.key": "training",
        "secret.key": "training", "attempts.maximum": "1", "retry.limit": "1", "retry.interval": "1ms", "buffer.dir": sys.argv[2],
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    }.items():
        conf.set("fs.s3a." + key, value)
    path = jvm.org.apache.hadoop.fs.Path("s3a://training/words")
    path.getFileSystem(conf).exists(path)


try:
    ask_nobody()
except Exception as problem:
    print("s3a:", str(problem).splitlines()[-1])
spark.stop()
]]

--- A text of a few thousand words, the same each time.
function training.words()
  local lines, seed = {}, 7
  for i = 1, 400 do
    local words = {}
    for j = 1, 10 do
      seed = (seed * 1103515245 + 12345) % 2147483648
      words[j] = ("w%d"):format(seed // 65536 % 500)
    end
    lines[i] = table.concat(words, " ")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- No archive while recording: what comes out of one would not be loaded, and so not be listed.
local function recorder(path)
  return { "-Xshare:off", "-XX:DumpLoadedClassList=" .. path, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1" }
end

local HEAP <const> = 512 << 20

--- The services of a training: { server = spec, beeline = spec, python = spec }. what: { layout, work = directory, port, environment }
function training.services(what)
  local layout, work = what.layout, what.work
  local function env(more)
    local made = {}
    for name, value in pairs(what.environment) do made[name] = value end
    for name, value in pairs(more or {}) do made[name] = value end
    return made
  end
  local common = { ["java.io.tmpdir"] = work .. "/tmp", ["log4j2.configurationFile"] = work .. "/conf/log4j2.properties" }
  local derby = { ["derby.system.home"] = work, ["derby.connection.requireAuthentication"] = "false" }
  for name, value in pairs(common) do derby[name] = value end
  local function submit(master, list, arguments)
    local first = {
      "--master", master, "--conf", "spark.driver.memory=512m", "--conf", "spark.executor.memory=512m", "--conf", "spark.ui.port=0",
      "--conf", "spark.sql.shuffle.partitions=2", "--conf", "spark.sql.warehouse.dir=file:" .. work .. "/warehouse",
      "--conf", "spark.serializer=org.apache.spark.serializer.KryoSerializer", "--conf", "spark.scheduler.mode=FAIR",
      "--conf", "spark.executor.defaultJavaOptions=" .. table.concat(recorder(work .. "/executor-%p.classes"), " "),
    }
    return java.command {
      layout = layout, kind = "application", class = "org.apache.spark.deploy.SparkSubmit", conf = work .. "/conf", heap = HEAP,
      flags = recorder(work .. "/" .. list .. ".classes"), properties = derby,
      arguments = table.move(arguments, 1, #arguments, #first + 1, first),
    }
  end
  local specs = {
    server = {
      name = "server", dir = work, env = env { SPARK_CONF_DIR = layout.class_path, HADOOP_CONF_DIR = work .. "/conf" }, restart = "never",
      command = submit("local-cluster[1,1,512]", "server", {
        "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal",
        "--hiveconf", ("hive.server2.thrift.port=%d"):format(what.port), "--hiveconf", "hive.server2.thrift.bind.host=127.0.0.1" }),
      ready = { kind = "tcp", host = "127.0.0.1", port = what.port, deadline = 300 }, clean = { 143 }, stop = { grace = 30 },
    },
    beeline = {
      name = "beeline", dir = work, env = env(), oneshot = true, restart = "never", after = { server = "ready" },
      command = java.command {
        layout = layout, kind = "daemon", class = "org.apache.hive.beeline.BeeLine", conf = work .. "/conf", heap = HEAP // 2,
        flags = recorder(work .. "/beeline.classes"), properties = common,
        arguments = { "-u", ("jdbc:hive2://127.0.0.1:%d/"):format(what.port), "-n", "training", "-f", work .. "/training.sql" } },
    },
  }
  if what.python then
    specs.python = {
      name = "python", dir = work, env = env { SPARK_CONF_DIR = work .. "/conf" }, oneshot = true, restart = "never",
      command = submit("local[1]", "python", { work .. "/training.py", work .. "/words.txt", work .. "/tmp" }),
    }
  end
  return specs
end

--- Several class lists as one: first mention counts, what a killed JVM left half-written at its end is dropped.
function training.merge(lists)
  local merged, seen = {}, {}
  for _, text in ipairs(lists) do
    for line in text:gmatch "([^\n]+)\n" do
      if not seen[line] then
        seen[line] = true
        merged[#merged + 1] = line
      end
    end
  end
  return table.concat(merged, "\n") .. "\n", #merged
end

--- The JVM that makes the archive of the list. With G1 whatever the roles use: only so do strings and mirrors go into the file.
function training.dump(what)
  return {
    name = "dump", dir = what.work, env = what.environment, oneshot = true, restart = "never",
    command = { what.layout.java.program, "-Xmx256m", "-XX:+UseG1GC", "-Xshare:dump", "-XX:SharedClassListFile=" .. what.list,
                "-XX:SharedArchiveFile=" .. what.archive, "-Xlog:cds=off", "-Xlog:class+path=off", "-Xlog:disable", "-cp",
                  what.layout.class_path },
  }
end

--- A JVM that must be able to use it: what it can't map is not installed.
function training.check(what)
  return {
    name = "check", dir = what.work, env = what.environment, oneshot = true, restart = "never",
    command = { what.layout.java.program, "-Xmx64m", "-XX:+UseSerialGC", "-Xshare:on", "-XX:SharedArchiveFile=" .. what.archive,
                "-cp", what.layout.class_path, "-version" },
  }
end

return training
