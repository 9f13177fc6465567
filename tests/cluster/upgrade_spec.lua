-- Scenario 28: a cluster goes from one Spark version to another, node by node, while it answers SQL (docs/operations.md has the steps).
-- Takes minutes, and another Spark: with --soak only. SPARK_HOME_BEFORE: the version it begins with; SPARK_HOME: the one it ends with.
local cluster = require "cluster.cluster"
local file = require "appliance.core.file"
local hosts = require "cluster.hosts"
local sql = require "cluster.sql"
local task = require "appliance.task"

local function home_and_version(home)
  local text = home and file.read(home .. "/RELEASE") or ""
  return { home = home, version = text:match "^Spark (%S+)" }
end

local BEFORE <const>, AFTER <const> = home_and_version(os.getenv "SPARK_HOME_BEFORE"), home_and_version(os.getenv "SPARK_HOME")

describe("a cluster that gets another Spark version", function()
  local it_, first, second, third

  setup(function()
    assert(BEFORE.version and AFTER.version, "SPARK_HOME_BEFORE and SPARK_HOME have to name two releases of Spark")
    it_ = cluster.make { kind = "ours", sql = true, archive = false, settings = { SPARK_HOME = BEFORE.home } }
    it_:converge()
    assert(sql.ask(it_.masters[1].address, { "create table kept as select 42 as answer", "select * from kept" }))
  end)
  teardown(function()
    if it_ then
      it_:keep_logs "upgrade"
      it_:__close()
    end
  end)

  -- Each step begins where the one before has ended.
  local function step(name, f)
    it(name, function()
      it_.watch:begin(name)
      local ok, err = xpcall(f, debug.traceback)
      local kept, broken = it_.watch:check()
      if not ok or not kept then print("# what happened:\n#   " .. it_:story():gsub("\n", "\n#   ")) end
      assert(ok, err)
      assert(kept, broken)
    end)
  end

  local function give(node, release)
    node:stop()
    node.host.env.SPARK_HOME = release.home
    node:start()
  end

  local function pid_of(kind, node)
    for _, jvm in ipairs(it_.watch:running(kind)) do
      if jvm.host == node.host then return jvm.pid end
    end
  end

  local function says(node, text)
    hosts.await(node.name .. " says: " .. text, function() return select(2, node:appliance "status"):find(text, 1, true) end, 60, 0.2)
  end

  -- A node that waits starts nothing, and changes nothing for who runs; SQL is to be had by its address, too.
  local function waits(node, release, other, ...)
    says(node, ("Spark %s waits: the cluster runs %s on the master nodes %s, and switches when they have left"):format(release.version,
      other.version, table.concat({ ... }, ", ")))
    local leader, home = it_:leader(), it_:sql_node()
    local master, thriftserver = pid_of("master", leader), pid_of("thriftserver", home)
    task.sleep(10)
    assert.equal(master, pid_of("master", leader))
    assert.equal(thriftserver, pid_of("thriftserver", home))
    assert.same({}, node:pids "master")
    assert.same({}, node:pids "worker")
    assert.equal("ALIVE", leader:status())
    it_.sql:wait(task.now(), node)
  end

  local function runs(node, release)
    local line = file.read(("/proc/%d/cmdline"):format(pid_of("master", node)))
    assert.matches(release.home .. "/jars", line, 1, true)
  end

  -- What Spark's masters of that version keep -> the directory, all paths of their records as one text, whether they elect there
  local function kept_by(release)
    local code, output = it_.zookeepers:command "ls -R /spark-appliance"
    assert.equal(0, code, output)
    local root = output:match("\n(/spark%-appliance/[^/\n]+/spark/" .. release.version:gsub("%p", "%%%0") .. ")\n")
    local below = {}
    for path in output:gmatch "/spark%-appliance[^\n]*" do
      -- leader_election is a container: ZooKeeper itself removes it some time after the last latch.
      if root and path:sub(1, #root + 14) == root .. "/master_status" then below[#below + 1] = path end
    end
    return root, table.concat(below, "\n"), root and output:find(root .. "/leader_election/", 1, true) ~= nil
  end

  step("28: one node has the new version, and waits: leader and SQL server stay", function()
    local leader, home = it_:leader(), it_:sql_node()
    first = it_:other(leader, home)
    second, third = leader, it_:other(leader, first)
    give(first, AFTER)
    waits(first, AFTER, BEFORE, table.unpack(second.name < third.name and { second.name, third.name } or { third.name, second.name }))
    assert.equal(leader, it_:leader())
    assert.equal(home, it_:sql_node())
  end)

  step("28: the leader's node has it: leader and SQL server are on the last one of the old version", function()
    local at = task.now()
    give(second, AFTER)
    local leader, led = it_.watch:wait_leader(at, second)
    assert.equal(third, leader)
    runs(third, BEFORE)
    hosts.await("the SQL server on the last node", function() return pid_of("thriftserver", third) end)
    local answered = it_.sql:wait(task.now(), third)
    print(("# 28: the last node of the old version led after %.1f s, SQL was answered there after %.1f s"):format(led - at, answered - at))
    waits(second, AFTER, BEFORE, third.name)
    waits(first, AFTER, BEFORE, third.name)
  end)

  step("28: the last one has it: a master of the new version leads, SQL is answered, and what the old ones kept stays", function()
    local old = kept_by(BEFORE)
    local code, output = it_.zookeepers:command("create " .. old .. "/master_status/kept something")
    assert.equal(0, code, output)
    local at = task.now()
    third:stop()
    local left = task.now()
    local _, before = kept_by(BEFORE)
    local leader, led = it_.watch:wait_leader(left, third)
    runs(leader, AFTER)
    local jvm = it_.watch:wait_jvm("thriftserver", left)
    local answered = it_.sql:wait(jvm.at, leader)
    third.host.env.SPARK_HOME = AFTER.home
    third:start()
    local whole = it_:converge()
    print(("# 28: the last old node's stop took %.1f s; %s led %.1f s after it, SQL was answered after %.1f s, whole %.1f s later")
      :format(left - at, leader.name, led - left, answered - left, whole))
    for _, node in ipairs(it_.masters) do runs(node, AFTER) end
    assert.equal("42", (assert(sql.ask(third.address, { "select answer from kept" }))))
    assert.matches("/master_status/kept", before, 1, true)
    assert.equal(before, select(2, kept_by(BEFORE)))
    assert.is_true((select(3, kept_by(AFTER))))
  end)

  step("28: a node of another version that is alone with it waits, and says so", function()
    local leader, home = it_:leader(), it_:sql_node()
    local node = it_:other(leader, home)
    give(node, BEFORE)
    local names = {}
    for _, each in ipairs(it_.masters) do
      if each ~= node then names[#names + 1] = each.name end
    end
    waits(node, BEFORE, AFTER, table.unpack(names))
    give(node, AFTER)
    it_:converge()
    assert.equal(leader, it_:leader())
    assert.equal(home, it_:sql_node())
  end)
end)
