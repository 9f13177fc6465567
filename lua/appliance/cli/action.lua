--- What restart, stop and start have in common: ask, show how it goes, tell how it ended.
local client = require "appliance.client"
local json = require "appliance.json"
local duration = require "appliance.cli.terminal".duration

local function tick(term, now)
  local task = require "appliance.core.task"
  return task.start("progress", function()
    while true do
      if now.state then term:progress(("%s: %s, %s"):format(now.name, now.state, duration(task.now() - now.begun))) end
      task.sleep(0.1)
    end
  end)
end

--- The sentence at the end, and whether it is good news.
local function outcome(name, last, seconds)
  if last.settled then
    return true, ("%s: %s after %s"):format(name, last.state, duration(seconds))
  end
  local why = last.reason and ": " .. last.reason or ""
  local again = last.retry_in and "; next try in " .. duration(last.retry_in) or ""
  local output = last.output and "; its last lines:\n  " .. last.output:gsub("\n+$", ""):gsub("\n", "\n  ") or ""
  return false, ("%s is %s%s%s%s"):format(name, last.state, why, again, output)
end

local function follow(action, name, term, options)
  local stream <close>, err = client.open { method = "POST", path = ("/services/%s/%s?follow=1"):format(client.escape(name), action) }
  if not stream then
    term:complain("%s", err)
    return err.exit
  end
  local task = require "appliance.core.task"
  local now, last, failed = { name = name, begun = task.now() }, nil, nil
  local told
  local ticking <close> = term.live and not options.json and tick(term, now) or nil -- luacheck: ignore
  for line in client.lines(stream, function(why) failed = why end) do
    if options.json then term:say("%s", line) end
    last = json.decode(line)
    now.state = last and (last.doing or last.state)
    -- Where no progress line can be shown each state is a line of its own; how it ended is told below.
    if not (term.live or options.json) and now.state and now.state ~= told and last.settled == nil then
      told = now.state
      term:complain("%s: %s", name, told)
    end
  end
  if not last or last.settled == nil then
    term:complain("%s: %s", name, failed or "the node ended before this was done")
    return failed and failed.exit or 69
  end
  local good, sentence = outcome(name, last, task.now() - now.begun)
  if good and not options.json then term:say("%s", sentence) end
  if not good then term:complain("%s", sentence) end
  return good and 0 or 1
end

local function ask(action, name, term)
  local _, err = client.get { method = "POST", path = ("/services/%s/%s"):format(client.escape(name), action) }
  if err then
    term:complain("%s", err)
    return err.exit
  end
  return 0
end

return function(action, help)
  return {
    usage = action .. " [--no-wait] [--json] SERVICE...",
    options = { no_wait = "flag", json = "flag" },
    words = { 1, 100 },
    help = help .. [[

Shows how it goes (on a terminal in one line, else a line on stderr for each state), and ends when it is done: 0 when it went well, 1 when
not.
  --no-wait   only asks, and ends at once
  --json      one JSON object for each change; "settled" tells how it ended]],
    run = function(options, names, term)
      local worst = 0
      for _, name in ipairs(names) do
        local code = options.no_wait and ask(action, name, term) or not options.no_wait and follow(action, name, term, options) or 0
        worst = math.max(worst, code)
      end
      return worst
    end,
  }
end
