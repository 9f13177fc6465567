-- The shipped agent through random failover schedules, over a simulated ZooKeeper and clock. A seed that fails is told with its story;
-- FAILOVER_SEED=n runs that one alone, FAILOVER_SEEDS=n as many from 1.
local schedule = require "appliance.simulate.schedule"

local only = tonumber(os.getenv "FAILOVER_SEED")
local count = tonumber(os.getenv "FAILOVER_SEEDS") or 1000

local function told(outcome)
  return ("seed %d: %s\nReplay it with FAILOVER_SEED=%d.\n%s"):format(outcome.plan.seed, table.concat(outcome.faults, "; "),
    outcome.plan.seed, outcome.cluster:story())
end

describe("random failover schedules", function()
  it("never give two thrift servers or two leaders, and end in a whole cluster that stays still", function()
    local began = os.clock()
    collectgarbage "stop"                                  -- a schedule leaves 2 MiB behind: thrown away at its end, while a cache has them
    local _ <close> = setmetatable({}, { __close = function() collectgarbage "restart" end })
    for seed = only or 1, only or count do
      local outcome = schedule.run(seed)
      if outcome.faults[1] then error(told(outcome), 0) end
      collectgarbage "collect"
    end
    print(("# %d schedules in %.1f s of processor time"):format(only and 1 or count, os.clock() - began))
  end)

  it("are replayed by their seed, to the letter", function()
    assert.equal(schedule.run(77).cluster:story(), schedule.run(77).cluster:story())
    assert.not_equal(schedule.run(77).cluster:story(), schedule.run(78).cluster:story())
  end)
end)
