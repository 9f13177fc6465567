-- Nodes of a cluster without a ZooKeeper: the worker and the SQL server of one, the master of another, which comes late, dies and comes
-- back.
local file = require "appliance.core.file"
local http = require "appliance.core.http"
local json = require "appliance.json"
local spark_node = require "spark_node"
local task = require "appliance.core.task"

local function kill(pid) spark_node.run({ "/bin/kill", "-KILL", tostring(pid) }, { PATH = "/bin" }) end

local function master_page(port)
  local answer = http.request { host = "127.0.0.1", port = port, path = "/json/", timeout = 5 }
  return answer and answer.status == 200 and json.decode(answer.body) or nil
end

--- Waits until the master with that page leads and knows a worker -> seconds it took
local function await_worker(port)
  local began = task.now()
  spark_node.await("a registered worker", function()
    local page = master_page(port)
    return page and page.status == "ALIVE" and page.aliveworkers == 1
  end)
  return task.now() - began
end

--- The processes of executors below a node.
local function executors(node)
  local pids = {}
  for _, pid in ipairs(node:processes()) do
    local command = file.read(("/proc/%d/cmdline"):format(pid)) or ""
    if command:find("CoarseGrainedExecutorBackend", 1, true) then pids[#pids + 1] = pid end
  end
  return pids
end

describe("a worker and an SQL server whose master comes later", function()
  local master, worker

  setup(function()
    -- Its ports are the second five; the master's page is looked for where the master has it.
    local base = 20000 + require("appliance.core.host").pid() % 1100 * 10
    worker = spark_node.start({ START_WORKER = "true", START_THRIFTSERVER = "true", MASTER_URI = "spark://127.0.0.1:" .. base,
      MASTER_UI_PORT = base + 1 }, { second = true })
  end)
  teardown(function()
    worker:__close()
    if master then master:__close() end
  end)

  it("wait for it, and say so", function()
    worker:wait_log "worker: waits, no master answers yet at spark://127%.0%.0%.1:%d+"
    local code, output = worker:command "healthcheck"
    assert.equal(1, code)
    assert.matches("worker waits: no master answers yet at spark://127.0.0.1", output)
    assert.is_nil(worker:pid "worker")
    assert.is_nil(worker:pid "thriftserver")
  end)

  it("are there soon after it", function()
    master = spark_node.start { START_MASTER = "true" }
    master:wait_ready "master"
    worker:wait_ready "worker"
    assert.equal(1, master:json("master").aliveworkers)
    worker:wait_ready "thriftserver"
    local rows, output = worker:sql "select 40 + 2"
    assert.matches("42", rows or output)
    assert.equal(0, (worker:command "healthcheck"))
  end)

  it("outlive it: the same worker, executors and SQL server serve when it is back", function()
    local pid, sql, from, running = worker:pid "worker", worker:pid "thriftserver", #master.text, executors(worker)
    assert.truthy(running[1])
    kill(master:pid "master")
    master:wait_ready("master", from)
    await_worker(master.port + 1)
    assert.equal(pid, worker:pid "worker")
    assert.equal(sql, worker:pid "thriftserver")
    local rows, output = worker:sql "select 40 + 3"
    assert.matches("43", rows or output)
    -- One more may be there: a master that has not heard of an executor yet starts another.
    for _, executor in ipairs(running) do assert.is_true(spark_node.is_alive(executor), "executor " .. executor .. " is gone") end
    local counted
    counted, output = master:word_count()
    assert.is_string(counted, output)
  end)

  it("end in order, and leave no process", function()
    local _, code = worker:stop()
    assert.equal(0, code)
    assert.same({}, worker:processes())
  end)
end)

describe("a worker with two masters in its list", function()
  it("is restarted when its own is gone for good and another one leads without it", function()
    local base = 20000 + require("appliance.core.host").pid() % 1100 * 10
    local one = spark_node.start { START_MASTER = "true" }
    local worker <close> = spark_node.start({ START_WORKER = "true", WORKER_LOST_AFTER = "8s", MASTER_UI_PORT = base + 1,
      MASTER_URI = ("spark://127.0.0.1:%d,127.0.0.1:%d"):format(base, base + 3) }, { second = true })
    worker:wait_ready "worker"
    assert.equal(1, one:json("master").aliveworkers)
    local pid = worker:pid "worker"
    one:__close()
    task.sleep(2)                                                -- the scenario: nobody leads meanwhile
    assert.equal(pid, worker:pid "worker")
    local said = worker:wait_log "no master answers at spark://127%.0%.0%.1:%d+,127%.0%.0%.1:%d+ any more: what runs here goes on"
    local code, text = worker:command("healthcheck", "worker")    -- it is well: to replace it would help nobody
    assert.equal(0, code)
    assert.matches("worker is up; no master has answered at spark://[%d.:,]+ for %d+ s", text)
    assert.matches("worker +up .*no master has answered at spark://[%d.:,]+ for %d+ s", (select(2, worker:command "status")))
    local two <close> = spark_node.start { START_MASTER = "true", MASTER_PORT = base + 3 }   -- the same page, another port
    two:wait_ready "master"
    assert.equal(0, two:json("master").aliveworkers)
    worker:wait_log "worker: restarted, a master leads and has not known it for 8 s"
    await_worker(base + 1)
    assert.not_equal(pid, worker:pid "worker")
    worker:wait_log("a master answers again at spark://", said)
    spark_node.await("nothing more said of masters", function()
      return select(2, worker:command("healthcheck", "worker")) == "worker is up\n"
    end)
  end)
end)
