--- A list of hosts that somebody else knows (an Exhibitor, AWS) and is asked for again and again. A good list is never replaced by
--- nothing: whoever fails to answer, answers nonsense or hangs is asked again later, and the last good list stands, which is also on disk,
--- for a start while nobody answers.
---   learned.follow {
---     what = "ZooKeeper's servers",          -- in sentences: "... are now a, b"
---     ask = function() -> list | nil, err,  -- waits, bounded by itself
---     every = 300,                           -- seconds from an answer to the next question
---     cache = path or nil, key = text,       -- the file; what was written for another key is not used
---     knows = function(list) or nil,         -- told the list on disk before the first question: whom to ask may follow from it
---     fallback = list or nil,                -- when nobody has ever answered
---     quiet = bool,                          -- that nobody answers is no news before somebody has
---     emit = function(list, from),           -- from: "asked", "cache" or "setting"
---   }                                        -- never returns
local failure = require "appliance.failure"
local log = require "appliance.core.log"
local same = require "appliance.same"
local task = require "appliance.task"

local learned = {}

--- Seconds until the next try while nobody answers: doubled up to the second, and never longer than the usual pause.
local FIRST_RETRY <const>, LAST_RETRY <const> = 1, 30

local function is_list(value)
  if type(value) ~= "table" or #value == 0 then return false end
  for _, item in ipairs(value) do
    if type(item) ~= "string" or item == "" then return false end
  end
  return true
end

--- The last good list, or nil. A file that is not ours, or damaged, is no list.
function learned.read(path, key)
  local text = path and require("appliance.core.file").read(path, 65536)
  local kept = text and require("appliance.json").decode(text)
  if type(kept) ~= "table" or kept.key ~= key or not is_list(kept.list) then return nil end
  return kept.list
end

--- -> true | nil, err. Waits for the disk on a helper thread.
function learned.write(path, key, list)
  local text = require("appliance.json").encode { key = key, list = list }
  return require("appliance.core.file").replace(path, text, tonumber("600", 8), false)
end

local function write_down(options, list)
  if not options.cache then return end
  local ok, err = learned.write(options.cache, options.key, list)
  if not ok then log.warn(("%s: can't be written down for the next start: %s"):format(options.what, tostring(err))) end
end

--- Half to one and a half of it, so that the nodes of a cluster don't ask all at once.
local function about(seconds) return seconds * (0.5 + math.random()) end

--- The sentence for nobody's answer. from: where the list is from that was taken for it just now, nil when nothing was.
local function complaint(what, err, list, from)
  local stands = not list and "nothing is known yet, it is tried again"
    or (from == "cache" and "the last answer, kept on disk, is used: " or from == "setting" and "those of the settings are used: "
      or "they stay ") .. table.concat(list, ", ")
  return ("%s can't be learned: %s; %s"):format(what, tostring(err), stands)
end

function learned.follow(options)
  local what, list, retry, is_told = options.what, nil, FIRST_RETRY, false
  local kept = learned.read(options.cache, options.key)
  local is_quiet = options.quiet and not kept
  if kept and options.knows then options.knows(kept) end
  while true do
    local fresh, err = options.ask()
    if fresh and not is_list(fresh) then fresh, err = nil, failure.new("protocol", "the answer is an empty list") end
    if fresh then
      if is_told then log.info(("%s: there are answers again"):format(what)) end
      if list and not same(list, fresh) then
        log.info(("%s are now %s; they were %s"):format(what, table.concat(fresh, ", "), table.concat(list, ", ")))
      end
      is_told, is_quiet, retry, list = false, false, FIRST_RETRY, fresh
      options.emit(list, "asked")
      if not same(kept, list) then
        kept = list
        write_down(options, list)
      end
      task.sleep(about(options.every))
    else
      local from = nil
      if not list and (kept or options.fallback) then
        list, from = kept or options.fallback, kept and "cache" or "setting"
        options.emit(list, from)
      end
      if not is_told and not is_quiet then log.warn(complaint(what, err, list, from)) end
      is_told = is_told or not is_quiet
      task.sleep(about(math.min(retry, options.every)))
      retry = math.min(retry * 2, is_quiet and options.every or LAST_RETRY)
    end
  end
end

return learned
