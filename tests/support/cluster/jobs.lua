--- Real jobs on a cluster: `spark-submit` on one of its nodes, in the background.
---   local job <close> = jobs.start(node); job:wait "round 3"; ... job:finish() -> output
local file = require "appliance.core.file"
local hosts = require "cluster.hosts"
local supervise = require "appliance.core.supervise"

local jobs = {}
local methods = {}
methods.__index = methods

local APPLIANCE <const> = os.getenv "APPLIANCE" or "build/spark-appliance"
local JOB <const> = "tests/support/cluster/job.py"
local count = 0

function jobs.start(node)
  count = count + 1
  local self = setmetatable({ name = "job" .. count, node = node, stop = ("%s/job%d.stop"):format(os.getenv "TMPDIR", count) }, methods)
  local words = { "nsenter", "-t", tostring(node.init), "-n", "-m", "-p", "-u", "-i", "--", APPLIANCE, "client", "spark-submit",
    os.getenv "PWD" .. "/" .. JOB, self.stop }
  assert(supervise.declare { name = self.name, command = words, env = node.env, restart = "never", oneshot = true,
    log = { console = false } })
  assert(supervise.want(self.name, true))
  return self
end

function methods:output() return supervise.tail(self.name, 1 << 20) or "" end

function methods:has_ended()
  local state = supervise.view(self.name).state
  return state == "done" or state == "failed"
end

--- Waits for a word of its -> what the pattern captures
function methods:wait(pattern, limit)
  return hosts.await(("%q of the job"):format(pattern), function()
    local found = self:output():match(pattern)
    if not found and self:has_ended() then error("the job ended early: " .. self:output():sub(-3000), 0) end
    return found
  end, limit)
end

--- The rounds it has done.
function methods:rounds()
  local last = 0
  for number in self:output():gmatch "round (%d+)" do last = tonumber(number) end
  return last
end

--- Waits for rounds that begin from now on.
function methods:goes_on(limit)
  local from = self:rounds()
  hosts.await("more rounds of the job", function()
    if self:has_ended() then error("the job ended early: " .. self:output():sub(-3000), 0) end
    return self:rounds() >= from + 2
  end, limit)
end

--- Its executors -> { pid ... }
function methods:executors()
  -- Told once, and only the last of its output is kept.
  self.app = self.app or self:wait "app (app%-%d+%-%d+)"
  local app, found = self.app, {}
  for pid, seen in pairs(hosts.processes()) do
    local line = seen.name == "java" and seen.state ~= "Z" and file.read("/proc/" .. pid .. "/cmdline")
    if line and line:find("CoarseGrainedExecutorBackend", 1, true) and line:find(app, 1, true) then found[#found + 1] = pid end
  end
  table.sort(found)
  return found
end

--- Tells it to end, and waits -> its output; raises when it failed.
function methods:finish(limit)
  assert(io.open(self.stop, "w")):close()
  hosts.await("the end of the job", function() return self:has_ended() end, limit)
  local view, output = supervise.view(self.name), self:output()
  local right, rounds = output:match "counted (%d+) of (%d+)"
  if view.last_status ~= 0 or not right or right ~= rounds then error("the job failed: " .. output:sub(-4000), 2) end
  return output
end

function methods:__close()
  supervise.want(self.name, false)
  hosts.await("the end of " .. self.name, function() return (supervise.view(self.name).pid or 0) == 0 end, 30)
  supervise.remove(self.name)
  os.remove(self.stop)
end

return jobs
