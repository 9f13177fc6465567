--- The progress of many transfers as one line on a terminal: bytes, rate, time left. Elsewhere nothing.
local terminal = require "appliance.cli.terminal"

local progress = {}
progress.__index = progress

local REDRAW <const>, BAR <const>, SMOOTH <const> = 0.2, 20, 5

--- "1.0 MiB of 4.0 MiB [=====>              ] 2.0 MiB/s, 2 s left, 3 of 7 files". total and files may still grow: then "~". Pure.
function progress.line(now)
  local parts = { terminal.size(now.done) }
  if now.total then
    local share = now.total > 0 and math.min(now.done / now.total, 1) or 0
    local filled = math.floor(share * BAR)
    local bar = ("="):rep(filled) .. (filled < BAR and ">" or "") .. (" "):rep(BAR - filled - 1)
    parts[1] = ("%s of %s%s [%s]"):format(parts[1], now.growing and "~" or "", terminal.size(now.total), bar)
  end
  local text = parts[1]
  if now.rate and now.rate > 0 then
    text = ("%s %s/s"):format(text, terminal.size(now.rate))
    if now.total and not now.growing and now.total > now.done then
      text = ("%s, %s left"):format(text, terminal.duration((now.total - now.done) / now.rate))
    end
  end
  if (now.files or 0) > 1 then text = ("%s, %d of %s%d files"):format(text, now.ended, now.growing and "~" or "", now.files) end
  return text
end

--- -> progress, or nil where there is no terminal, or nobody wants it
function progress.start(term, options)
  if not term.live or options.quiet or options.json then return nil end
  local task = require "appliance.task"
  local self = setmetatable({ done = 0, total = 0, expected = 0, unknown = 0, files = 0, ended = 0, growing = true, began = task.now() },
    progress)
  self.drawing = task.start("progress", function()
    local last_at, last_done = self.began, 0
    while true do
      task.sleep(REDRAW)
      local at = task.now()
      local rate = (self.done - last_done) / (at - last_at)
      -- Smoothed over some seconds, or the time left would dance.
      local weight = math.min(1, (at - last_at) * 2 / SMOOTH)
      self.rate = self.rate and self.rate + weight * (rate - self.rate) or rate
      last_at, last_done = at, self.done
      term:progress(progress.line(self))
    end
  end)
  return self
end

--- One more transfer -> function(done, total), which is told how far it is. size: nil as long as nobody knows.
function progress:expect(size)
  self.files = self.files + 1
  self.expected = self.expected + (size or 0)
  if not size then self.unknown = self.unknown + 1 end
  self.total = self.unknown == 0 and self.expected or nil
  local before = 0
  return function(done, total)
    self.done = self.done + done - before                  -- a try that begins anew tells less than before
    before = done
    if not size and total then
      size, self.unknown, self.expected = total, self.unknown - 1, self.expected + total
      self.total = self.unknown == 0 and self.expected or nil
    end
  end
end

function progress:__close() self.drawing:cancel() end

return progress
