--- `healthcheck --wait`: follows the node's health until it is well or the time is over. A node that is not there yet, or that ends
--- meanwhile, is waited for, too: to connect is tried again and again, in pauses that grow up to a tenth of a second.
local client = require "appliance.client"
local task = require "appliance.core.task"

local FIRST_PAUSE <const>, LONGEST_PAUSE <const> = 0.01, 0.1

--- One connection -> the sentence of a node that is well | nil, err; nil when the stream ended before. Each other sentence is told.
local function follow(path, tell)
  local stream <close>, err = client.open { path = path .. "?follow=1" }
  if not stream then return nil, err end
  for line in client.lines(stream, function(why) err = why end) do
    local status, sentence = line:match "^(%d+) (.*)$"
    if status == "200" then return sentence end
    tell(sentence)
  end
  return nil, err
end

--- wait(path, seconds, term) -> exit code. path: "/health" or "/health/ROLE".
return function(path, seconds, term)
  local last = "the node has not answered yet"
  local waiting <close> = task.start("healthcheck", function()
    local pause = FIRST_PAUSE
    while true do
      local well, err = follow(path, function(sentence)
        last, pause = sentence, FIRST_PAUSE
        term:progress(sentence)
      end)
      if well then return well end
      if err then last = tostring(err) end
      if err and err.kind == "denied" then return nil end      -- no time cures that
      task.sleep(pause)
      pause = math.min(2 * pause, LONGEST_PAUSE)
    end
  end)
  local _, well = waiting:join(seconds)
  if type(well) == "string" then
    term:say("%s", well)
    return 0
  end
  term:complain("%s", last)
  return 1
end
