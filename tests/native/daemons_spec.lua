-- What the agent of a cluster hears of this node's daemons, from the real supervisor.
local daemons = require "appliance.cluster.daemons"
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

describe("who follows the daemons", function()
  local services = require "declared".new { limit = 30, backoff = { min = 60, max = 60 } }
  local tasks, events

  setup(function() require("appliance.core.log").level "error" end)
  teardown(function() require("appliance.core.log").level "info" end)
  before_each(function()
    events = task.queue()
    tasks = daemons.follow(supervise, function(event) events:put(event) end, { warn = error })
  end)
  after_each(function()
    for _, each in ipairs(tasks) do each:cancel() end
    services.clear()
  end)

  local function next_event()
    local waiting <close> = task.start(function() return events:get() end)
    return select(2, assert(waiting:join(30)))
  end

  it("hears of an SQL server that ends by itself", function()
    services.declare("thriftserver", "exit 3")
    assert(supervise.want("thriftserver", true))
    local event = next_event()
    while event.kind ~= "ended" do event = next_event() end
    assert.same({ "thriftserver", 3, true }, { event.service, event.code, event.unasked })
  end)

  it("hears of one that can't be started, which has no run, and of it again when it is tried again", function()
    services.declare("thriftserver", "exit 3", { dir = "/there/is/no/such/directory" })
    assert(supervise.want("thriftserver", true))
    assert.same({ kind = "failed", service = "thriftserver" }, next_event())
    assert(supervise.want("thriftserver", true))
    assert.same({ kind = "failed", service = "thriftserver" }, next_event())
  end)
end)
