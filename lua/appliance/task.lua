--- Tasks, and the two ways of bounding them: `within` a time, and a group that ends together.
-- task.start([name,] f, ...) -> task         runs f as a task of its own
-- task:join([seconds]) -> true, ... | nil, err   waits for its end; a limit does not cancel it
-- task:cancel()                              ends it now; also by leaving `local t <close> = task.start(f)`
-- task.sleep(seconds), task.now() (monotonic seconds), task.queue([limit]) -> q:put(v), q:get(), q:close()
local core = require "appliance.core.task"

local task = setmetatable({}, { __index = core })

--- f's results, or `nil, err` (kind "timeout") when it has not ended within `seconds`; it is cancelled then.
function task.within(seconds, f, ...)
  local running <close> = core.start(f, ...)
  return (function(ok, ...)
    if ok then return ... end
    return nil, ...
  end)(running:join(seconds))
end

local group = {}
group.__index = group

--- A group: `local g <close> = task.group()`; leaving the block cancels who still runs.
function task.group()
  return setmetatable({ running = {}, ended = core.queue() }, group)
end

--- Starts f in the group.
function group:start(f, ...)
  local ended, index = self.ended, #self.running + 1
  self.running[index] = core.start(function(...)
    local inner <close> = core.start(f, ...)
    local outcome = table.pack(inner:join())
    ended:put { index = index, ok = outcome[1] ~= nil, err = outcome[2] }
    return table.unpack(outcome, 2, outcome.n)
  end, ...)
  return self.running[index]
end

--- Waits for all. The first failure cancels the others: nil, err. Else true.
function group:wait()
  for _ = 1, #self.running do
    local outcome = self.ended:get()
    if not outcome.ok then
      self:__close()
      return nil, outcome.err
    end
  end
  return true
end

function group:__close()
  for _, running in ipairs(self.running) do running:cancel() end
  self.running = {}
end

return task
