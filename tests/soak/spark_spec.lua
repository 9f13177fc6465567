-- A real node whose daemons are killed one after the other, by chance: it runs the next job all the same, and costs no more than before.
-- SOAK_SECONDS: how long. SOAK_SEED: the chances of a run that failed, which it has printed.
local file = require "appliance.core.file"
local spark_node = require "spark_node"
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local SECONDS <const> = tonumber(os.getenv "SOAK_SECONDS") or 300
local SEED <const> = math.tointeger(os.getenv "SOAK_SEED") or 20261122
local DAEMONS <const> = { "master", "worker", "thriftserver" }
local GROWTH_KIB <const> = 512

--- What the program itself costs -> PSS in KiB, descriptors
local function cost(node)
  local folder = ("/proc/%d"):format(supervise.view(node.name).pid)
  local memory = assert(file.read(folder .. "/smaps_rollup"))
  return tonumber(memory:match "\nPss:%s*(%d+)"), #assert(file.list(folder .. "/fd"))
end

local function kill(pid) spark_node.run({ "/bin/kill", "-KILL", tostring(pid) }, { PATH = "/bin" }) end

describe("a node of Spark whose daemons are killed for a long time", function()
  local node

  setup(function()
    math.randomseed(SEED)
    print(("# %d s, SOAK_SEED=%d"):format(SECONDS, SEED))
    node = spark_node.start { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true" }
    for _, service in ipairs(DAEMONS) do node:wait_ready(service) end
  end)
  teardown(function() node:__close() end)

  local function kill_and_work(service)
    local from, pid = #node.text, node:pid(service)
    assert(pid and pid > 0, service .. " has no process")
    kill(pid)
    node:wait_ready(service, from)
    spark_node.await("a registered worker after the end of " .. service, function()
      local master = node:json "master"
      return master and master.status == "ALIVE" and master.aliveworkers == 1
    end)
    assert.not_equal(pid, node:pid(service))
    local master, output = node:word_count()
    assert.equal("spark://127.0.0.1:" .. node.port, master, ("the job after the end of %s: %s"):format(service, output))
  end

  it("runs a job after each of them, and grows by nothing", function()
    local deadline = task.now() + SECONDS
    for _, service in ipairs(DAEMONS) do kill_and_work(service) end -- warms up: each has been killed once
    local memory, descriptors = cost(node)
    local rounds = #DAEMONS
    repeat
      kill_and_work(DAEMONS[math.random(#DAEMONS)])
      rounds = rounds + 1
    until task.now() > deadline
    local rows, output = node:sql "select 40 + 2"
    assert.matches("42", rows or output)
    local memory_now, descriptors_now = cost(node)
    print(("# %d rounds; PSS %d KiB after warming up, %d KiB at the end; descriptors %d, %d"):format(rounds, memory, memory_now,
      descriptors, descriptors_now))
    assert.is_true(memory_now <= memory + GROWTH_KIB)
    assert.equal(descriptors, descriptors_now)
  end)

  it("ends with 0, and leaves no process", function()
    local _, code = node:stop()
    assert.equal(0, code)
    assert.same({}, node:processes())
  end)
end)
