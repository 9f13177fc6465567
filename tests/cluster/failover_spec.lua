-- What may happen to a cluster of three masters (tests/support/cluster/scenarios.lua), on one cluster that all of it happens to in turn.
-- CLUSTER_ONLY chooses some of it (play.lua).
local cluster = require "cluster.cluster"
local hosts = require "cluster.hosts"
local play = require "cluster.play"
local scenarios = require "cluster.scenarios"
local task = require "appliance.task"

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
    if play.is_wanted(scenario) then it(play.name(scenario), function() play.scenario(it_, scenario) end) end
  end

  it("22: refuses a second node of the same name, and nobody minds", function()
    if play.is_asked_for "22" == false then return end
    local nodes = require "cluster.nodes"
    local first = it_.masters[1]
    it_:converge()
    it_.watch:begin "22"
    local leader, home = it_:leader(), play.pid_of_sql(it_)
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
    assert.equal(home, play.pid_of_sql(it_))
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
