-- What may happen to a cluster of three masters (tests/support/cluster/scenarios.lua), on one cluster that all of it happens to in turn.
-- CLUSTER_ONLY: only scenarios whose name begins with one of these words, separated by "|".
local cluster = require "cluster.cluster"
local hosts = require "cluster.hosts"
local scenarios = require "cluster.scenarios"
local task = require "appliance.task"

local SOAK <const> = os.getenv "SOAK" == "yes"
local ONLY <const> = os.getenv "CLUSTER_ONLY"

local function pid_of_sql(it)
  local jvm = it.watch:running "thriftserver" [1]
  return jvm and jvm.pid
end

local function is_asked_for(name)
  if not ONLY then return false end
  for word in ONLY:gmatch "[^|]+" do
    if name:sub(1, #word) == word then return true end
  end
  return false
end

-- From the fault to what is expected of it while it lasts -> sentences with what was measured
local function play(it, scenario, s)
  local told = {}
  local before = pid_of_sql(it)
  s.at = task.now()
  scenario.fault(it, s)
  if scenario.leads then
    local node, at = it.watch:wait_leader(s.at, nil, scenario.leads)
    told[#told + 1] = ("%s led after %.2f s"):format(node.name, at - s.at)
  end
  if scenario.sql == "moves" then
    -- The old one may answer for as long as its lease lasts.
    local jvm = it.watch:wait_jvm("thriftserver", s.at, scenario.limit)
    local answered = it.sql:wait(jvm.at, it:other(s.home), scenario.limit or 180)
    told[#told + 1] = ("SQL was answered after %.2f s"):format(answered - s.at)
    assert.is_true(jvm.host ~= s.home.host, "the SQL server is where it was")
  end
  if scenario.during then scenario.during(it, s) end
  if scenario.hold then
    local left = s.at + scenario.hold - task.now()
    if left > 0 then task.sleep(left) end
  end
  if scenario.held then scenario.held(it, s) end
  if scenario.repair then scenario.repair(it, s) end
  it:repair()
  told[#told + 1] = ("whole again after %.1f s more"):format(it:converge(scenario.limit))
  if scenario.after then scenario.after(it, s) end
  if scenario.stays then assert.equal(s.leader, it:leader(), "another master leads") end
  if scenario.sql == "stays" then assert.equal(before, pid_of_sql(it), "the SQL server is another one") end
  told[#told + 1] = s.told
  return told
end

describe("a cluster of three masters", function()
  local it_ -- the cluster; busted has taken the word `it`

  setup(function()
    -- Scenario 13: the nodes are there before ZooKeeper is.
    it_ = cluster.make { kind = "ours", sql = true, late = 5 }
  end)
  teardown(function()
    if it_ then
      it_:keep_logs "failover"
      it_:__close()
    end
  end)

  it("13: comes up although ZooKeeper came later than its nodes", function()
    local took = it_:converge()
    print(("# 13: whole after %.1f s, without ZooKeeper for the first 5"):format(took))
    assert(it_.watch:check())
  end)

  for _, scenario in ipairs(scenarios) do
    local name = scenario.number .. ": " .. scenario.name
    local wanted = is_asked_for(name) or not ONLY and (SOAK or not scenario.long)
    if wanted then
      it(name, function()
        it_:repair()
        it_:converge(scenario.limit)
        local s = {}
        s.leader = scenario.colocated and it_:colocate() or it_:leader()
        s.home = it_:sql_node()
        if scenario.before then scenario.before(it_, s) end
        it_.watch:begin(name)
        local ok, told = xpcall(play, function(err) return type(err) == "table" and err or debug.traceback(tostring(err), 2) end,
          it_, scenario, s)
        if s.job and s.job.name then pcall(s.job.__close, s.job) end
        local kept, broken = it_.watch:check(scenario.allowed)
        if not ok or not kept then
          print("# what happened:\n#   " .. it_:story():gsub("\n", "\n#   "))
          hosts.sh("true")
        end
        assert(ok, type(told) == "table" and (told.message or told[1]) or told)
        assert(kept, broken)
        print(("# %s: %s"):format(name, table.concat(told, ", ")))
      end)
    end
  end

  it("22: refuses a second node of the same name, and nobody minds", function()
    if ONLY and not is_asked_for "22" then return end
    local nodes = require "cluster.nodes"
    local first = it_.masters[1]
    it_:converge()
    it_.watch:begin "22"
    local leader, home = it_:leader(), pid_of_sql(it_)
    local twin = nodes.ours(it_.yard, "twin", 14, { ZOOKEEPER = it_.zookeepers.connect, CLUSTER_SIZE = "3", START_MASTER = "true",
      START_THRIFTSERVER = "true", NODE_NAME = first.name })
    twin:start()
    hosts.await("a sentence about the name", function()
      return twin:log():lower():find("name", 1, true) and twin:log():find(first.name, 1, true) and (twin:log():find "already" or
        twin:log():find "another node")
    end, 60)
    assert.same({}, twin:pids "master")
    twin:kill()
    it_:converge()
    assert.equal(leader, it_:leader())
    assert.equal(home, pid_of_sql(it_))
    assert(it_.watch:check())
  end)

  it("ends when it is told to, all of it, in time", function()
    it_:converge()
    it_.watch:begin "the end"
    it_.sql:__close()
    it_.sql = nil
    local began = task.now()
    for _, node in ipairs(it_.masters) do node:stop(false) end
    hosts.await("the end of all nodes", function()
      for _, node in ipairs(it_.masters) do
        if node:is_up() then return false end
      end
      return true
    end, 30)
    print(("# all nodes ended after %.1f s"):format(task.now() - began))
    assert.is_true(it_.watch:check())
  end)
end)
