--- The objects that a running plan has fetched: watched for changes at their source, and fetched again after a failure.
--- Loaded by a plan that fetches something.
local task = require "appliance.task"

local objects = {}
objects.__index = objects

objects.RETRY = 60                                             -- seconds until what could not be fetched is tried again

--- objects.new(state_dir, tell): tell() when the plan should be carried out again.
function objects.new(state_dir, tell)
  return setmetatable({ state_dir = state_dir, tell = tell, versions = {}, unfetched = {}, unasked = {}, stale = {} }, objects)
end

--- For `status`: what failed last with this one -> { text =, at = monotonic seconds } | nil
function objects:trouble(name)
  local failed = self.unfetched[name]
  return failed and failed.trouble or self.unasked[name] or self.stale[name]
end

--- Those that could not be fetched: { [name] = the plan's entry }
function objects:lacking()
  local list = {}
  for name, failed in pairs(self.unfetched) do list[name] = failed.entry end
  return list
end

--- At the start, copies of an earlier one were taken: { [name] = why }
function objects:took_copies(reasons)
  for name, why in pairs(reasons) do
    self.stale[name] = { text = "the copy of an earlier start is used: " .. tostring(why), at = task.now() }
  end
end

--- Somebody who follows `status` should hear of it.
local function tell_followers()
  local changes = package.loaded["appliance.control.changes"]
  if changes then changes.tell() end
end

--- The version that was seen at the source after the one the plan began with; nil while there was no such.
function objects:version(name, from)
  local seen = self.versions[name]
  return seen and seen.from == from and seen.version or nil
end

local function changed(self, entry, version)
  self.versions[entry.object] = { from = entry.from, version = version }
  self.tell()
end

--- Which of them are watched, as one text: while that stays the same, so does who watches.
local function watched(fetch, state_dir)
  local path_of, record = require("appliance.plan.objects").path, require "appliance.fetch.record"
  local list, marks = {}, {}
  for name, object in pairs(fetch) do
    if object.watch then
      local known = record.read(state_dir, path_of(name, state_dir), object.from)
      list[#list + 1] = { object = name, name = name, from = object.from, version = known and known.version }
    end
  end
  table.sort(list, function(a, b) return a.object < b.object end)
  for i, entry in ipairs(list) do marks[i] = entry.object .. "\n" .. entry.from end
  return list, table.concat(marks, "\n")
end

--- A plan is in force after these steps, `failures` (supervise.carry_out's) aside.
function objects:follow(fetch, failures, steps)
  local list, mark = watched(fetch, self.state_dir)
  if mark ~= self.mark then
    if self.watcher then self.watcher:cancel() end
    self.mark, self.unasked = mark, {}
    self.watcher = list[1] and task.start("watch", function()
      require("appliance.fetch").watch(list, function(entry, version) changed(self, entry, version) end, nil, function(entry, err)
        self.unasked[entry.object] = err and { text = "can't be asked whether it has changed: " .. tostring(err), at = task.now() } or nil
        if not err then self.stale[entry.object] = nil end     -- the copy is what is there, or is about to be fetched
        tell_followers()
      end)
    end)
  end
  if self.retry then self.retry:cancel() end
  self.retry, self.unfetched = nil, {}
  for _, failed in ipairs(failures) do
    if failed.step.kind == "fetch" then
      self.unfetched[failed.step.object] = { entry = failed.step.entry, trouble = { text = tostring(failed.err), at = task.now() } }
    end
  end
  for _, step in ipairs(steps or {}) do
    if step.object then self.stale[step.object] = nil end      -- it was asked for anew, or dropped
  end
  if next(self.unfetched) then
    self.retry = task.start("fetch again", function()
      task.sleep(objects.RETRY)
      self.tell()
    end)
  end
end

function objects:close()
  if self.watcher then self.watcher:cancel() end
  if self.retry then self.retry:cancel() end
end

return objects
