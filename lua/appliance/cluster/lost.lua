--- When is a worker lost? It runs and none of the masters that lead knows it, for so long that Spark won't mend it: after a lost
--- connection Spark asks only the master it knew last, up to 90 s apart, and not one that leads now elsewhere.
--- A restart takes the worker's executors along, so nothing less will do: a leader has answered, and answered again, and each time without
--- this worker. Pure: it is told the time (seconds, any origin).
local lost = {}
lost.__index = lost

--- Longer than the longest pause between two tries of Spark's (30 to 90 s), with its time to register.
lost.PATIENCE = 150

function lost.new(patience) return setmetatable({ patience = patience or lost.PATIENCE }, lost) end

--- What was seen at `now`: seen = "registered" | "unregistered" | "unknown" (no leader answers, or the worker itself doesn't), and `run`,
--- which tells one process of the worker from the next. -> true when it should be restarted; the count begins anew then.
function lost:observe(now, seen, run)
  if seen ~= "unregistered" or run ~= self.run then self.since = nil end
  self.run = run
  if seen ~= "unregistered" then return false end
  self.since = self.since or now
  if now - self.since < self.patience then return false end
  self.since = nil
  return true
end

return lost
