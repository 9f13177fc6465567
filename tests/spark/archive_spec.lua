-- The class data archive: made by its own command, used by daemons, drivers and executors, and never in the way.
local file = require "appliance.core.file"
local spark_node = require "spark_node"

local MADE_WITHIN <const> = 500

--- How many classes a JVM took from an archive, by its own -Xlog:class+load.
local function shared_classes(path)
  local count = 0
  for _ in (file.read(path, 64 << 20) or ""):gmatch "source: shared objects file" do count = count + 1 end
  return count
end

local function logging(path) return "-Xlog:class+load:file=" .. path end

describe("the class data archive", function()
  local directory

  setup(function() directory = spark_node.temporary() end)
  teardown(function() file.remove_tree(directory) end)

  it("is made by one command, which leaves nothing else behind", function()
    local env = { STATE_DIR = directory, SPARK_HOME = os.getenv "SPARK_HOME", PATH = os.getenv "PATH", HOME = os.getenv "HOME" }
    local appliance = os.getenv "APPLIANCE" or "build/spark-appliance"
    local code, output = spark_node.run({ appliance, "archive", "--state" }, env, MADE_WITHIN)
    assert.equal(0, code, output)
    assert.matches("spark%.jsa, %d%d%d MiB", output)
    assert.same({ "archive" }, file.list(directory))
    code, output = spark_node.run({ appliance, "archive", "--state" }, env)
    assert.equal(0, code, output)
    assert.matches("is there and fits", output)
  end)

  it("serves daemons, drivers and executors", function()
    local node <close> = spark_node.start({ CLASS_ARCHIVES = "true",
      SPARK_MASTER_OPTS = logging(directory .. "/master.log"), SPARK_WORKER_OPTS = logging(directory .. "/worker.log") },
      { directory = directory, keep = true })
    node:wait_ready "worker"
    node.env.SPARK_SUBMIT_OPTS = logging(directory .. "/driver.log")
    local text = directory .. "/text.txt"
    assert(file.replace(text, ("spark node\n"):rep(50), tonumber("644", 8), false))
    local code, output = node:client("spark-submit", "--conf", "spark.executor.extraJavaOptions=" .. logging(directory .. "/executor.log"),
      spark_node.SOURCE .. "/examples/wordcount.py", text)
    assert.equal(0, code, output)
    assert.not_matches("%[cds%]", output)
    for _, role in ipairs { "master", "worker", "driver", "executor" } do
      local count = shared_classes(directory .. "/" .. role .. ".log")
      assert.is_true(count > 3000, ("%s: %d classes from the archive"):format(role, count))
    end
  end)

  it("that is damaged or of something else stops nobody from starting", function()
    local key = file.list(directory .. "/archive")[1]
    local path = ("%s/archive/%s/spark.jsa"):format(directory, key)
    assert(os.execute(("truncate -s 1000000 %s"):format(path)))
    local node <close> = spark_node.start({ CLASS_ARCHIVES = "true", SPARK_MASTER_OPTS = logging(directory .. "/master2.log") },
      { directory = directory })
    node:wait_ready "worker"
    assert.is_string(node:word_count())
    assert.equal(0, shared_classes(directory .. "/master2.log"))
  end)
end)
