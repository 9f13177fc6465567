--- When to act on changes that come in bursts: once they have been quiet for a while, but not later than a limit after the first.
--- Two masters that change within one second are one change of the plan. Knows no clock: it is told the time (seconds, any origin).
local settle = {}
settle.__index = settle

settle.QUIET, settle.MOST = 1, 5

--- settle.new { quiet = 1, most = 5 }
function settle.new(options)
  options = options or {}
  return setmetatable({ quiet = options.quiet or settle.QUIET, most = options.most or settle.MOST }, settle)
end

--- Something changed at `now`.
function settle:changed(now)
  self.first = self.first or now
  self.last = now
end

--- The time to act, nil when nothing changed.
function settle:due()
  if not self.first then return nil end
  return math.min(self.last + self.quiet, self.first + self.most)
end

--- True once for each burst, when it is time.
function settle:take(now)
  local due = self:due()
  if not due or now < due then return false end
  self.first, self.last = nil, nil
  return true
end

return settle
