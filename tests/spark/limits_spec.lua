-- A node inside 2 GiB and 2 cores, held there by a memory cgroup of this test's own: all three daemons and a job fit, and an executor
-- that the kernel kills is named with its application. Needs root and a memory controller that can be written.
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local spark_node = require "spark_node"

local GIB <const> = 1 << 30

--- The controllers of version 1 mounted apart, or the one hierarchy of version 2 with the controllers handed down.
local function hierarchies()
  if file.stat "/sys/fs/cgroup/memory/memory.limit_in_bytes" then
    return { memory = "/sys/fs/cgroup/memory", limit = "memory.limit_in_bytes", used = "memory.usage_in_bytes" }
  elseif (file.read "/sys/fs/cgroup/cgroup.subtree_control" or ""):find "memory" then
    return { memory = "/sys/fs/cgroup", limit = "memory.max", used = "memory.current" }
  end
  return nil, "no memory controller is mounted where a test may make a group"
end

local found, reason = hierarchies()
if host.uid() ~= 0 then found, reason = nil, "only root may make a memory cgroup" end

describe("a node in a small container", function()
  if not found then
    pending("needs a memory cgroup: " .. reason)
    return
  end

  local group = ("%s/spark-appliance-test-%d"):format(found.memory, host.pid())

  local function put(name, text)
    local handle = assert(io.open(group .. "/" .. name, "w"))
    assert(handle:write(text))
    assert(handle:close())
  end

  --- The node, everything it starts, and what `docker exec` would start: all inside the group.
  local INSIDE <const> = { "/bin/sh", "-c", 'echo $$ >"$0"/cgroup.procs; exec "$@"', group }

  local function start(limit, settings)
    put(found.limit, tostring(limit))
    settings.CLASS_ARCHIVES = "false"                      -- whose pages are its own would be chance: other nodes map the same file
    return spark_node.start(settings, { prefix = INSIDE })
  end

  before_each(function() assert(os.execute("mkdir " .. group)) end)
  after_each(function()
    spark_node.await("an empty group", function() return (file.read(group .. "/cgroup.procs") or "") == "" end, 30)
    assert(os.execute("rmdir " .. group))
  end)

  it("runs a job by spark-submit while SQL is up, all in 2 GiB", function()
    local node <close> = start(2 * GIB, { START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true", WORKER_CORES = "2" })
    node:wait_ready "thriftserver"
    assert.matches("this node offers 2 cores and %d+[mg] to applications", node.text)
    assert.matches("40", assert(node:sql "select count(*) from (select explode(sequence(1, 40)))"))
    local text = node.directory .. "/text.txt"
    assert(file.replace(text, ("spark appliance spark\nnode spark\n"):rep(100), tonumber("644", 8), false))
    local command = table.move({ os.getenv "APPLIANCE" or "build/spark-appliance", "client", "spark-submit",
      spark_node.SOURCE .. "/examples/wordcount.py", text }, 1, 5, #INSIDE + 1, { table.unpack(INSIDE) })
    local code, output = spark_node.run(command, node.env)
    assert.equal(0, code, output)
    assert.matches("500 words, 3 of them different", output)
    assert.matches("42", assert(node:sql "select 42"))
    assert.not_matches("killed by the kernel", node.text)
  end)

  it("names an executor that the kernel killed, with its application", function()
    local node <close> = start(6 * GIB, { EXECUTOR_MEMORY = "1g" })
    node:wait_ready "worker"
    local used = tonumber(file.read(group .. "/" .. found.used))
    put(found.limit, tostring(used + 500 * (1 << 20)))
    -- An executor that takes all of its heap at once can't but meet the limit.
    local job <close> = spark_node.background({ os.getenv "APPLIANCE" or "build/spark-appliance", "client", "spark-submit",
      "--conf", "spark.executor.extraJavaOptions=-Xms1g -XX:+AlwaysPreTouch",
      spark_node.SOURCE .. "/examples/wordcount.py", spark_node.SOURCE .. "/CMakeLists.txt" }, node.env)
    node:wait_log "executor %d+ of application app%-%d+%-%d+: killed by the kernel for memory: limit %d"
    assert.is_table(job)
    assert.equal(1, node:json("master").aliveworkers)
  end)
end)
