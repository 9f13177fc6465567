--- Random failover schedules for a simulated cluster: a seed says how many nodes there are and what happens to them when.
---   local outcome = require "appliance.simulate.schedule".run(42)
---   outcome.faults: sentences, empty if all held; outcome.cluster:story(): what happened
-- Every fault ends after a while; then the cluster has `quiet` seconds to become whole again, and must stay so for `still` seconds. Most
-- are whole at once, and are left then; every tenth seed is watched to the end.
local cluster = require "appliance.simulate.cluster"
local random = require "appliance.simulate.random"
local zookeeper = require "appliance.simulate.zookeeper"

local schedule = {}

-- Seconds: faults begin between `first` and `last`, the last of them is over by `ended`.
schedule.TIMES = { first = 6, last = 20, ended = 30, quiet = 40, still = 6 }

-- ---------------------------------------------------------------- faults: f(cluster, node, chance) -> f that ends it, least, most seconds

local fault = {}

function fault.crash(_, node)
  node:crash()
  return function() node:boot() end, 0.5, 9
end

function fault.freeze(_, node)
  node:freeze()
  return function() node:thaw() end, 0.5, 10
end

function fault.wedge(_, node)
  node:wedge()
  return function() node:unwedge() end, 0.5, 8
end

function fault.cut(_, node)
  node:cut()
  return function() node:mend() end, 0.2, 9
end

function fault.late(_, node, chance)
  node.wire.late = chance:between(0.1, 2.5)
  return function() node.wire.late = 0 end, 1, 8
end

function fault.reset(_, node)
  if node.up then node.zk:reset() end
end

function fault.stop_jvm(_, node)
  node:stop_jvm()
  return function() node:continue_jvm() end, 0.5, 10
end

--- The answer to its next protected create is lost.
function fault.lose_create(_, node) node.zk.lose_create = true end

function fault.kill_master(_, node) if node.up then node:kill "master" end end
function fault.kill_sql(_, node) if node.up then node:kill "thriftserver" end end

function fault.leave(_, node)
  if not node.up or node.frozen then return end
  node:leave()
  return function()
    node:crash()
    node:boot()
  end, 5, 9
end

function fault.bounce(its, _, chance) zookeeper.bounce(its.servers, chance:index(3)) end

function fault.outage(its)
  zookeeper.stop(its.servers)
  return function() zookeeper.serve(its.servers) end, 0.3, 8
end

function fault.stale_server(its, _, chance)
  zookeeper.cut_off(its.servers, chance:index(3), chance:between(2.2, 9.5))
end

function fault.wipe(its) its.servers:wipe(its.root) end
function fault.wipe_latches(its, node) its.servers:wipe(node.dir .. "/leader_election") end
function fault.wipe_holder(its) its.servers:wipe(its.root .. "/sql/holder") end
function fault.wipe_candidates(its) its.servers:wipe(its.root .. "/sql/lease") end
function fault.wipe_node(its, node) its.servers:wipe(its.root .. "/nodes/" .. node.name) end
function fault.wipe_record(its, node) its.servers:wipe(its.root .. "/masters/" .. node.name) end

schedule.FAULTS = { "crash", "crash", "freeze", "freeze", "wedge", "cut", "cut", "late", "reset", "stop_jvm", "kill_master",
  "kill_sql", "leave", "bounce", "outage", "stale_server", "stale_server", "lose_create" }
-- What no software does by itself: somebody deletes what ZooKeeper holds. Then two masters may be ALIVE until the agents see it, which is
-- a lease's length if an agent stands still at that very moment.
schedule.ALLOWED = 3
schedule.DELETIONS = { "wipe", "wipe_latches", "wipe_holder", "wipe_candidates", "wipe_node", "wipe_record" }

-- ---------------------------------------------------------------- a schedule

--- What the seed says: { nodes =, workers =, events = { { at, fault name, node number, lasts (0..1) } }, deletes = bool }
-- options.faults: only these, options.count: as many of them.
function schedule.plan(seed, options)
  options = options or {}
  local chance, times = random.new(seed), schedule.TIMES
  local plan = { seed = seed, nodes = 2 + (chance:chance(0.7) and 1 or 0), workers = chance:chance(0.2) and 1 or 0, events = {},
    deletes = chance:chance(0.15) }
  local count = options.count or chance:index(6)
  for i = 1, count do
    local kinds = options.faults or plan.deletes and chance:chance(0.5) and schedule.DELETIONS or schedule.FAULTS
    local name = chance:pick(kinds)
    plan.events[i] = { chance:between(times.first, times.last), name, chance:index(plan.nodes + plan.workers), chance:next() }
  end
  table.sort(plan.events, function(a, b) return a[1] < b[1] end)
  return plan
end

--- Runs it -> { faults = { sentences }, cluster =, plan = }. `options` go to plan and to cluster.new; allowed: seconds with two leaders.
function schedule.run(seed, options)
  local plan, times = schedule.plan(seed, options), schedule.TIMES
  local given = { nodes = plan.nodes, workers = plan.workers, seed = seed }
  for key, value in pairs(options or {}) do given[key] = value end
  local its = cluster.new(given)
  local chance = random.new(seed + 1000003)
  for _, event in ipairs(plan.events) do
    its:after(event[1], function()
      local node = its.nodes[event[3]]
      its.trace[#its.trace + 1] = { its.clock.now, "fault", "%s %s", event[2], node.name }
      local finish, least, most = fault[event[2]](its, node, chance)
      if finish then its:after(math.min(least + (most - least) * event[4], times.ended - its.clock.now), finish) end
    end)
  end
  local outcome = { faults = {}, cluster = its, plan = plan }
  local ok, err = pcall(function()
    its:pass(times.ended + times.still)
    while its.clock.now < times.ended + times.quiet and (seed % 10 == 0 or its:faults(times.still)[1]) do its:pass(4) end
  end)
  if not ok then outcome.faults[1] = "the agent raised: " .. tostring(err) end
  if ok then
    outcome.faults = its:faults(times.still)
    -- Both of these are counted from the machine's point of view, not from what agents believe.
    if its.double.thriftserver > 0 then
      table.insert(outcome.faults, 1, ("two thrift servers for %.3f s"):format(its.double.thriftserver))
    end
    if its.double.master > (given.allowed or plan.deletes and schedule.ALLOWED or 0) then
      table.insert(outcome.faults, 1, ("two leading masters for %.3f s"):format(its.double.master))
    end
  end
  return outcome
end

return schedule
