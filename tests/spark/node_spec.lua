-- A whole node, as a person would use it: jobs, SQL, daemons that die, and the end of it.
local file = require "appliance.core.file"
local spark_node = require "spark_node"

local ALL <const> = { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true" }

describe("a single node with SQL", function()
  local node

  setup(function()
    node = spark_node.start(ALL)
  end)
  teardown(function() node:__close() end)

  it("comes up, and says so for each of its daemons", function()
    for _, service in ipairs { "master", "worker", "thriftserver" } do node:wait_ready(service) end
    local master = node:json "master"
    assert.equal("ALIVE", master.status)
    assert.equal(1, master.aliveworkers)
    assert.equal(0, (node:command "healthcheck"))
  end)

  it("runs a job by spark-submit while SQL is up", function()
    local master, output = node:word_count()
    assert.equal("spark://127.0.0.1:" .. node.port, master, output)
  end)

  it("runs the same job by Spark's own spark-submit with our configuration", function()
    local env = {}
    for name, value in pairs(node.env) do env[name] = value end
    env.SPARK_CONF_DIR, env.SPARK_LOCAL_IP = node.directory .. "/conf", "127.0.0.1"
    local code, output = spark_node.run({ os.getenv "SPARK_HOME" .. "/bin/spark-submit", spark_node.SOURCE .. "/examples/wordcount.py",
      node.directory .. "/text.txt" }, env)
    assert.equal(0, code, output)
    assert.matches("500 words, 3 of them different, counted by spark://127.0.0.1:" .. node.port, output)
  end)

  it("answers SQL over JDBC", function()
    local rows, output = node:sql "select 6 * 7, upper('sql'); create table t as select 1 as one; select count(*) from t"
    assert.is_string(rows, output)
    assert.matches("42,SQL", rows)
    assert.matches("\n1\n", rows)
  end)

  for _, service in ipairs { "worker", "master", "thriftserver" } do
    it("recovers from a killed " .. service, function()
      local from, pid = #node.text, node:pid(service)
      assert(pid and pid > 0)
      spark_node.run({ "/bin/kill", "-KILL", tostring(pid) }, { PATH = "/bin" })
      node:wait_ready(service, from)
      spark_node.await("a registered worker", function()
        local master = node:json "master"
        return master and master.status == "ALIVE" and master.aliveworkers == 1
      end)
      assert.not_equal(pid, node:pid(service))
      local rows, output
      if service == "thriftserver" then
        rows, output = node:sql "select 40 + 2"
        assert.matches("42", rows or output)
      else
        rows, output = node:word_count()
        assert.is_string(rows, output)
      end
    end)
  end

  it("ends within its budget with 0, and leaves no process", function()
    local seconds, code = node:stop()
    assert.equal(0, code)
    assert.is_true(seconds < 8.5, ("it took %.1f s"):format(seconds))
    assert.same({}, node:processes())
  end)
end)

describe("a node that starts where another one ended", function()
  it("is ALIVE at once: records of the dead are dropped when PID 1 starts, and kept when only the master restarts", function()
    local directory = spark_node.temporary()
    assert(file.make_dirs(directory .. "/recovery"))
    do
      local node = spark_node.start({}, { directory = directory })
      node:wait_ready "worker"
      local kept
      spark_node.await("a recorded worker", function()
        kept = file.list(directory .. "/recovery")
        return #kept > 0
      end)
      -- All at once, as a power cut would: nobody gets to tidy up.
      for _, pid in ipairs(node:processes()) do spark_node.run({ "/bin/kill", "-KILL", tostring(pid) }, { PATH = "/bin" }) end
      node.__close = nil
      spark_node.await("nobody left", function() return #node:processes() == 0 end)
      assert.same(kept, file.list(directory .. "/recovery"))
      node.reader:cancel()
      node.follower:close()
      require("appliance.core.supervise").remove(node.name)
    end
    local node <close> = spark_node.start({}, { directory = directory })
    node:wait_ready "worker"
    assert.not_matches("RECOVERING", node.text)
    assert.equal(1, #node:json("master").workers)
  end)
end)
