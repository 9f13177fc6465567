--- Many jobs, so and so many at a time. A job may count for several: a large file brings connections of its own.
local task = require "appliance.task"

local parallel = {}

local crew = {}
crew.__index = crew

--- parallel.crew(limit) -> crew, to be closed: whoever still works then is cancelled.
function parallel.crew(limit)
  return setmetatable({ limit = limit, busy = 0, ended = task.queue(), running = {} }, crew)
end

--- One that has ended; raises what it raised.
function crew:reap()
  local job = self.ended:get()
  self.running[job] = nil
  self.busy = self.busy - job.weight
  if job.err then error(job.err, 0) end
end

--- Starts f(...) as soon as there is room, and returns then.
function crew:start(weight, f, ...)
  weight = math.min(weight, self.limit)
  while self.busy + weight > self.limit do self:reap() end
  local job = { weight = weight }
  self.busy = self.busy + weight
  self.running[job] = task.start("s3", function(...)
    local work <close> = task.start("s3 job", f, ...)
    local ok, err = work:join()
    if not ok then job.err = err end
    self.ended:put(job)
  end, ...)
end

--- Waits for all.
function crew:wait()
  while self.busy > 0 do self:reap() end
end

function crew:__close()
  for _, running in pairs(self.running) do running:cancel() end
  self.running = {}
end

return parallel
