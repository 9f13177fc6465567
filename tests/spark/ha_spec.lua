-- A cluster of two whole nodes on two addresses of loopback, with a real ZooKeeper: what fails over, how fast, and what users notice.
-- One cluster for all of it; each test leaves it whole.
local file = require "appliance.core.file"
local http = require "appliance.core.http"
local json = require "appliance.json"
local spark_node = require "spark_node"
local task = require "appliance.core.task"
local zookeepers = require "zookeepers"

--- What is the same for any Spark is tried with one: each of these takes a JVM or two, and the older line shares the machine.
local with_newer = (os.getenv "SPARK_HOME" or ""):find "spark%-3%." and function() end or it
--- tests/cluster has the same on hosts of their own, so these take their time only where there is enough of it.
local at_length = os.getenv "SOAK" == "yes" and it or function() end

local ADDRESSES <const> = { "127.0.0.2", "127.0.0.3" }

describe("a cluster of two nodes", function()
  local ensemble, nodes = nil, {}

  local function settings(i)
    return {
      ZOOKEEPER = ensemble.addresses, CLUSTER_NAME = "ha-spec", START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true",
      NODE_NAME = "node" .. i, CLUSTER_SIZE = "2", DAEMON_MEMORY = "256m", THRIFT_MEMORY = "512m", WORKER_MEMORY = "1200m",
      WORKER_CORES = "2", EXECUTOR_MEMORY = "512m", THRIFT_EXECUTOR_MEMORY = "512m", THRIFT_CORES = "1",
      SPARK_PUBLIC_DNS = ADDRESSES[i], STOP_TIMEOUT = "20s",
    }
  end

  local function start(i)
    local port = 20000 + require "appliance.core.host".pid() % 1100 * 10
    local env = settings(i)
    env.THRIFT_BACKEND_PORT, env.HEALTH_PORT = port + 5, port + 6
    nodes[i] = spark_node.start(env, { address = ADDRESSES[i], directory = nodes[i] and nodes[i].directory, keep = true })
  end

  --- The node's own picture -> table
  local function cluster(i)
    local answer = http.request { unix = nodes[i].directory .. "/control.sock", path = "/cluster", timeout = 5 }
    return answer and answer.status == 200 and json.decode(answer.body).cluster or {}
  end

  local function state(i) return (nodes[i]:json "master" or {}).status end

  --- Waits until a master of another node than `not_this` is ALIVE -> its index, seconds
  local function leader(not_this, limit)
    local began = task.now()
    return spark_node.await("an ALIVE master", function()
      for i in ipairs(ADDRESSES) do
        if i ~= not_this and nodes[i] and state(i) == "ALIVE" then return i end
      end
    end, limit), task.now() - began
  end

  local function kill(pid) spark_node.run({ "/bin/kill", "-KILL", tostring(pid) }, { PATH = "/bin" }) end

  --- Everybody is back: one leads, the other stands by, both workers are known, SQL answers.
  local function whole()
    spark_node.await("a whole cluster", function()
      local one, other = state(1), state(2)
      local leads = one == "ALIVE" and 1 or other == "ALIVE" and 2
      if not leads or (leads == 1 and other or one) ~= "STANDBY" then return false end
      return (nodes[leads]:json "master").aliveworkers == 2 and cluster(1).sql_address and cluster(2).sql_address == cluster(1).sql_address
        and cluster(1).leader == "node" .. leads
    end)
  end

  local function sql_node() return math.tointeger(tonumber((cluster(1).sql or ""):match "on node(%d)")) end

  local function sql(through, statement)
    return nodes[through]:sql(statement)
  end

  setup(function()
    ensemble = zookeepers.start { servers = 3, tick = 1000 }
    for i in ipairs(ADDRESSES) do start(i) end
  end)
  teardown(function()
    for _, node in ipairs(nodes) do
      node:__close()
      file.remove_tree(node.directory)
    end
    if ensemble then ensemble:close() end
  end)

  it("comes up with one leader, one standby, both workers, and one thrift server beside the leader", function()
    whole()
    local leads = leader()
    assert.equal(leads, sql_node())
    local other = 3 - leads
    assert.equal(0, (nodes[leads]:command("healthcheck", "leader")))
    assert.equal(1, (nodes[other]:command("healthcheck", "leader")))
    assert.equal(0, (nodes[other]:command("healthcheck", "master")))
    assert.equal(0, (nodes[other]:command "healthcheck"))
    assert.equal(0, (nodes[leads]:command("healthcheck", "thriftserver")))
    assert.equal(1, (nodes[other]:command("healthcheck", "thriftserver")))
    local function page(i, path)
      local answer = assert(http.request { host = ADDRESSES[i], port = nodes[i].port + 6, path = path, timeout = 5 })
      return answer.status
    end
    assert.same({ 200, 503, 200, 200 }, { page(leads, "/leader"), page(other, "/leader"), page(other, "/readyz"), page(other, "/livez") })
    assert.same({ 200, 503 }, { page(leads, "/thriftserver"), page(other, "/thriftserver") })
    local _, text = nodes[other]:command "status"
    assert.matches("waits for the lease sql, which node" .. leads .. " holds", text)
    assert.matches("SQL's tables will vanish with the node", text)
    assert.matches("leader node" .. leads, text)
  end)

  with_newer("plans what runs, without joining a second time", function()
    local code, text = nodes[1]:command("plan", "--diff")
    assert.equal(0, code, text)
    assert.matches("nothing differs", text)
  end)

  with_newer("answers SQL at every node's port, and is found through ZooKeeper by Hive's own client", function()
    for i in ipairs(ADDRESSES) do
      local rows, output = sql(i, "select 40 + " .. i)
      assert.matches("4" .. i, rows or output)
    end
    local url = ("jdbc:hive2://%s/;serviceDiscoveryMode=zooKeeper;zooKeeperNamespace=hiveserver2"):format(ensemble.addresses)
    local code, output = nodes[1]:client("beeline", "-u", url, "-n", "test", "--silent=true", "--outputformat=csv2", "-e", "select 6 * 7")
    assert.equal(0, code, output)
    assert.matches("42", output)
  end)

  it("has another leader at once when the leader's JVM is killed, and SQL stays where it is", function()
    local old, holder = leader(), sql_node()
    local server = nodes[holder]:pid "thriftserver"
    local from = #nodes[old].text
    kill(nodes[old]:pid "master")
    local new, seconds = leader(old)
    assert.not_equal(old, new)
    print(("# leader killed: another is ALIVE after %.2f s"):format(seconds))
    assert.is_true(seconds < 5, ("it took %.2f s"):format(seconds))
    nodes[old]:wait_ready("master", from)
    whole()
    assert.equal("STANDBY", state(old))
    assert.same({ holder, server }, { sql_node(), nodes[holder]:pid "thriftserver" })
    local master, output = nodes[old]:word_count()
    assert.is_string(master, output)
  end)

  --- Executors of an application, as processes -> { pid = true }
  local function executors(application)
    local found = {}
    for _, entry in ipairs(file.list "/proc") do
      local command = entry:find "^%d+$" and file.read("/proc/" .. entry .. "/cmdline") or ""
      if command:find("CoarseGrainedExecutorBackend", 1, true) and command:find(application, 1, true) then found[tonumber(entry)] = true end
    end
    return found
  end

  at_length("carries a running job through a failover, and the new leader replaces an executor that it loses", function()
    local old = leader()
    local progress, stop_file = nodes[1].directory .. "/progress", nodes[1].directory .. "/stop"
    local running <close> = task.start(function()
      local job = { nodes[1].program, "client", "spark-submit", spark_node.SOURCE .. "/tests/support/failover_job.py", progress, stop_file }
      local code, output = spark_node.run(job, nodes[1].env, 3 * spark_node.LIMIT)
      return { code = code, output = output }
    end)
    local function rounds() return select(2, (file.read(progress) or ""):gsub("\n", "")) end
    local function goes_on(count)
      local from = rounds()
      spark_node.await("progress of the job", function() return rounds() >= from + count end)
    end
    goes_on(2)
    local application = (file.read(progress) or ""):match "by (app%-[%d-]+)"
    local before = executors(application)
    assert.is_truthy(next(before))
    local from = #nodes[old].text
    kill(nodes[old]:pid "master")
    leader(old)
    goes_on(4)
    assert.same(before, executors(application))
    kill(next(before))
    spark_node.await("another executor", function()
      local pid = next(executors(application))
      return pid and not before[pid]
    end)
    goes_on(4)
    assert(file.replace(stop_file, "", tonumber("644", 8), false))
    local _, result = running:join()
    assert.equal(0, result.code, result.output)
    assert.matches("job: %d+ rounds by " .. application:gsub("%-", "%%-"), result.output)
    nodes[old]:wait_ready("master", from)
    whole()
  end)

  at_length("starts a killed thrift server again where it was", function()
    local holder = sql_node()
    local from = #nodes[holder].text
    kill(nodes[holder]:pid "thriftserver")
    nodes[holder]:wait_ready("thriftserver", from)
    whole()
    assert.equal(holder, sql_node())
    local rows, output = sql(3 - holder, "select 40 + 2")
    assert.matches("42", rows or output)
  end)

  --- Stops a node in order, which takes less than its budget and leaves nothing; SQL is on the other one then.
  local function stop(old)
    local other, began = 3 - old, task.now()
    local stopping = task.start(function() return nodes[old]:stop() end)
    local new, seconds = leader(old)
    assert.equal(other, new)
    print(("# node stopped: the other one is ALIVE after %.2f s"):format(seconds))
    spark_node.await("SQL on the other node", function()
      local sees = cluster(other)
      return sees.sql == "on node" .. other and sees.sql_address
    end)
    print(("# node stopped: SQL answers on the other one after %.2f s"):format(task.now() - began))
    local _, took, code = stopping:join()
    assert.equal(0, code)
    assert.is_true(took < 20, ("the stop took %.1f s"):format(took))
    assert.same({}, nodes[old]:processes())
    local rows, output = sql(other, "select 40 + 2")
    assert.matches("42", rows or output)
  end

  at_length("hands SQL over when its node is stopped in order", function()
    local old = sql_node()
    stop(old)
    nodes[old]:__close()
    start(old)
    whole()
    assert.equal(3 - old, sql_node())
  end)

  at_length("has another leader within seconds when a whole node dies", function()
    local old = leader()
    local other = 3 - old
    for _, pid in ipairs(nodes[old]:processes()) do kill(pid) end
    local new, seconds = leader(old)
    assert.equal(other, new)
    print(("# node killed: the other one is ALIVE after %.2f s"):format(seconds))
    assert.is_true(seconds < 20, ("it took %.1f s"):format(seconds))
    nodes[old]:__close()
    start(old)
    whole()
  end)

  at_length("hands leadership over when the leader's node is stopped in order", function()
    stop(leader())
  end)
end)
