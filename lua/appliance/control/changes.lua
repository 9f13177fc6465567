--- Who follows the node (status --watch, restart with progress) is woken when a service changes. What changed is read from the views,
--- so a wake-up may stand for many changes and a slow follower falls behind on none. While nobody follows, nothing of this runs.
local task = require "appliance.core.task"

local changes = {}

local followers, count = {}, 0
local pump                                                     -- the one task that asks the supervisor, while there are followers
local listening = false                                        -- it has asked: from here on no change is missed

--- Something else than a service has changed, for example the plan.
function changes.tell()
  for queue in pairs(followers) do queue:put(true) end         -- a full one has a wake-up waiting already
end

local function run(supervise)
  listening = true
  while supervise.next_change() do changes.tell() end
end

local function leave(self)
  if not followers[self.queue] then return end
  followers[self.queue] = nil
  count = count - 1
  if count == 0 then
    pump:cancel()
    pump, listening = nil, false
  end
end

local follower = { __close = leave }
follower.__index = follower

--- Waits for a change since the last call.
function follower:wait() self.queue:get() end
follower.close = leave

--- local follower <close> = changes.follow(supervise). Whatever changes after it has returned wakes the follower.
function changes.follow(supervise)
  while not listening do                                       -- another's leaving may end the pump meanwhile, so look again
    pump = pump or task.start("changes for followers", run, supervise)
    task.yield()
  end
  local self = setmetatable({ queue = task.queue(1) }, follower)
  followers[self.queue] = true
  count = count + 1
  return self
end

return changes
