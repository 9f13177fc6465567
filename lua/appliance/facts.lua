--- Facts: what must be learned from the world, and may change. A source is a task that emits values; the plan is a function of the
--- last ones.
local same = require "appliance.same"

--- facts.at_work: does this process run a node (`run`)? Else it only looks (`plan`, `check`), and a source joins nothing.
local facts = { at_work = false }

--- Native, and loaded by who follows facts: a profile that only names its sources loads, and is tested, without.
local function tasks() return require "appliance.core.task" end

--- A source. `start(emit, env)` runs as a task: emit(value) once it knows, and again whenever the value changes; it may return or
-- wait for ever.
-- `env` holds the settings.
-- To return `nil, err` before the first value means that the fact can't be had.
function facts.source(what, start)
  return { what = what, start = start }
end

--- Runs every source of the table `sources` (name -> source, or a plain value, which is a fact that never changes) with the settings `env`.
-- Returns an object: :first(seconds) waits for all first values -> values | nil, faults (sentences);
-- :next() waits for a change -> names of the facts that changed; .values are the current ones. Closable.
function facts.follow(sources, env)
  local task = tasks()
  local followed = { values = {}, running = {}, missing = 0, changes = task.queue(), changed = {} }

  local function emit(name, value)
    if value == nil then error(("fact %s: nil is no value; a source that can't learn it returns nil, err"):format(name), 3) end
    if followed.values[name] ~= nil and same(followed.values[name], value) then return end
    local is_first = followed.values[name] == nil
    followed.values[name] = value
    if is_first then
      followed.missing = followed.missing - 1
    end
    if not followed.changed[name] then
      followed.changed[name] = true
      followed.changes:put(name)
    end
  end

  for name, source in pairs(sources) do
    if type(source) == "table" and source.start then
      followed.missing = followed.missing + 1
      followed.running[name] = task.start("fact " .. name, function()
        local learning <close> = task.start("fact " .. name, source.start, function(value) emit(name, value) end, env)
        local ok, result, err = learning:join()
        if not ok then err = result or "it broke without a reason" end -- it raised, or computed for ever
        if err and followed.values[name] == nil then
          followed.failed = followed.failed or {}
          followed.failed[name] = require("appliance.budget").in_words(err)
          followed.changes:put(name)
        end
      end)
    else
      followed.values[name] = source
    end
  end
  return setmetatable(followed, { __index = facts.methods, __close = facts.methods.close })
end

facts.methods = {}

function facts.methods:close()
  for _, running in pairs(self.running) do running:cancel() end
end

local function faults_of(self, sources, seconds)
  local faults = {}
  for name in pairs(self.running) do
    if self.values[name] == nil then
      local reason = self.failed and self.failed[name]
      local what = sources[name].what or name
      faults[#faults + 1] = reason and ("fact %s (%s): %s"):format(name, what, reason)
        or ("fact %s (%s): nothing was learned within %g s; FACTS_TIMEOUT sets that limit"):format(name, what, seconds)
    end
  end
  table.sort(faults)
  return faults
end

--- All first values -> table | nil, faults (sentences). `sources` is the table given to follow.
function facts.methods:first(sources, seconds)
  local task = tasks()
  local limit = task.now() + seconds
  while self.missing > 0 and not self.failed and task.now() < limit do
    local waiting <close> = task.start("first facts", function() return self.changes:get() end)
    waiting:join(limit - task.now())
  end
  if self.missing > 0 then return nil, faults_of(self, sources, seconds) end
  while self.changes:length() > 0 do self.changes:get() end   -- the first values are no changes
  self.changed = {}
  return self.values
end

--- Waits for a change; returns the sorted names of all facts that changed since the last call.
function facts.methods:next()
  local names = {}
  repeat
    local name = self.changes:get()
    if not name then return nil end
    self.changed[name] = nil
    names[#names + 1] = name
  until self.changes:length() == 0
  table.sort(names)
  return names
end

return facts
