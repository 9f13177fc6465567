local docker = require "docker"

-- A text whose count is known, for a job that needs no file of its own.
local COUNT_JOB = [[
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("count").getOrCreate()
words = spark.sparkContext.parallelize(["one two", "two"], 2).flatMap(str.split)
print("counted", sorted(words.countByValue().items()), spark.sparkContext.master)
]]

local function submit(node)
  node:exec("sh -c 'cat >/var/lib/spark-appliance/job.py <<END\n%s\nEND'", COUNT_JOB)
  return node:exec("spark-submit /var/lib/spark-appliance/job.py")
end

local function ends_with(options, command)
  return docker.shell("docker run --rm --label spark-appliance.test=yes %s %s %s", options, docker.image, command or "")
end

describe("the image", function()
  it("starts a master and a worker by a plain docker run, runs a job and stops within five seconds", function()
    local node <close> = docker.start()
    node:wait_ready()
    local status = node:exec("spark-appliance status")
    assert.matches("master", status)
    assert.matches("worker", status)

    local output, code = submit(node)
    assert.equal(0, code, output)
    assert.matches("counted [('one', 1), ('two', 2)] spark://", output, 1, true)

    local seconds, ended = node:stop()
    assert.equal(0, ended, node:logs())
    assert.is_true(seconds < 5, ("docker stop took %.1f s"):format(seconds))
  end)

  it("becomes healthy for Docker", function()
    local node <close> = docker.start("--health-interval=1s")
    local seen, code = docker.shell(
      "timeout 120 docker events --since 0 --filter container=%s --filter 'event=health_status: healthy' | head -n 1", node.id)
    assert.equal(0, code)
    assert.matches("healthy", seen)
  end)

  it("starts as the older README has it, on the host's network", function()
    local node <close> = docker.start('-e START_MASTER="true" -e START_WORKER="true" -e START_THRIFTSERVER="" -e MASTER_URI="" '
      .. '-e ZOOKEEPER_STACK_NAME="" -e HIVE_SITE_XML="" --net=host')
    node:wait_ready()
    local page, code = docker.shell("curl -sf http://127.0.0.1:8080/json/")
    assert.equal(0, code)
    assert.matches('"status" : "ALIVE"', page, 1, true)
    local _, ended = node:stop()
    assert.equal(0, ended)
  end)

  it("ends with 78 and the cure when START_* are given and all empty", function()
    local text, code = ends_with('-e START_MASTER="" -e START_WORKER="" -e START_THRIFTSERVER=""')
    assert.equal(78, code, text)
    assert.matches("START_MASTER", text)
  end)

  it("runs as any user on a read-only root", function()
    local node <close> = docker.start("--read-only -u 12345:12345")
    node:wait_ready()
    assert.equal("12345\n", (node:exec("id -u")))
    local output, code = submit(node)
    assert.equal(0, code, output)
    assert.matches("counted", output)
  end)

  it("answers on ports published from a bridge network", function()
    local node <close> = docker.start("-p 127.0.0.1:0:8080 -p 127.0.0.1:0:8081")
    node:wait_ready()
    for port, word in pairs { [8080] = "ALIVE", [8081] = "masterurl" } do
      local page, code = docker.shell("curl -sf --max-time 10 http://%s/json/", node:published(port))
      assert.equal(0, code, port)
      assert.matches(word, page)
    end
  end)

  it("runs a command that is none of ours in its place", function()
    local text, code = ends_with("", "sh -c 'echo as $(id -u); exit 7'")
    assert.equal(7, code)
    assert.equal("as 185\n", text)
    assert.equal(127, select(2, ends_with("", "no-such-program")))
  end)

  it("finds the Spark clients in PATH", function()
    local text, code = ends_with("", "sh -c 'for name in spark-submit spark-shell pyspark spark-sql beeline; do command -v $name; done'")
    assert.equal(0, code, text)
    assert.equal(5, select(2, text:gsub("/usr/local/bin/", "")))
  end)

  it("takes the keys of a mounted spark-defaults.conf", function()
    local folder = os.getenv("TMPDIR") .. "/conf"
    docker.shell("mkdir -p %s && echo 'spark.executor.memory 600m' >%s/spark-defaults.conf", folder, folder)
    local node <close> = docker.start(("-v %s:/conf:ro -e SPARK_CONF_DIR=/conf"):format(folder))
    node:wait_ready()
    docker.shell("rm -r %s", folder)
    local defaults = node:exec("cat /var/lib/spark-appliance/conf/spark-defaults.conf")
    assert.matches("spark.executor.memory%s*=?%s*600m", defaults)
  end)

  it("never ignores a mounted spark-env.sh", function()
    local folder = os.getenv("TMPDIR") .. "/conf"
    docker.shell("mkdir -p %s && echo 'export SPARK_WORKER_CORES=1' >%s/spark-env.sh", folder, folder)
    local text = docker.shell("timeout 20 docker run --rm --label spark-appliance.test=yes -v %s:/conf:ro -e SPARK_CONF_DIR=/conf %s plan",
      folder, docker.image)
    docker.shell("rm -r %s", folder)
    assert.matches("spark-env.sh", text, 1, true)
  end)

  it("gives the worker what the memory limit leaves", function()
    local node <close> = docker.start("-m 1500m")
    node:wait_ready()
    local page = node:exec("python3 -c \"%s\"",
      "import urllib.request as u; print(u.urlopen('http://localhost:8081/json/').read().decode())")
    local memory = tonumber(page:match('"memory"%s*:%s*(%d+)'))
    assert.is_truthy(memory, page)
    assert.is_true(memory > 0 and memory < 1500, ("the worker offers %d MiB"):format(memory))
  end)
end)
