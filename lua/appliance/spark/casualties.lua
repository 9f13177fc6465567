--- Executors that died of memory, or could not be started for want of room on the disk, named with their application. The worker's log
--- tells only "exitStatus 137"; the cgroup's counter tells only that the kernel killed something. Together they say which executor it was.
--- A fact source, because it is a task that lives as long as the node; its value never changes, so no plan depends on it.
local facts = require "appliance.facts"

local casualties = {}

--- "Worker: Executor app-20261122183238-0000/0 finished with state EXITED message Command exited with code 137 exitStatus 137"
--- -> { application =, executor =, state =, status =, is_disk_full = true or nil } | nil
function casualties.read(line)
  local application, executor, state = line:match "Executor (app%-[%w_.-]+)/(%d+) finished with state (%u+)"
  if not application then return nil end
  return { application = application, executor = executor, state = state, status = tonumber(line:match "exitStatus (%d+)"),
           is_disk_full = line:find("No space left on device", 1, true) and true or nil }
end

--- Exit status of Spark's own handler for an OutOfMemoryError (SparkExitCode.OOM), and of a KILL.
local OUT_OF_HEAP <const>, KILLED <const> = 52, 137

--- The sentence for one, nil when nothing is to be said. `kills`: how many kills for memory are new; limit: bytes or nil.
function casualties.sentence(who, kills, limit)
  local name = ("executor %s of application %s"):format(who.executor, who.application)
  if who.is_disk_full then
    return ("application %s: its executors fail here, the disk is full (WORKER_DIR, LOCAL_DIRS); make room, or stop this node: Spark gives "
      .. "up an application after ten such failures in a row"):format(who.application)
  elseif who.status == OUT_OF_HEAP then
    return name .. ": ended, its heap was full; give it more with EXECUTOR_MEMORY or --executor-memory"
  elseif who.status == KILLED and kills > 0 then
    return ("%s: killed by the kernel for memory%s; give the container more memory, or the worker less (WORKER_MEMORY)"):format(name,
      limit and (": limit %s"):format(casualties.gibibytes(limit)) or "")
  elseif who.status == KILLED and who.state ~= "KILLED" then
    return name .. ": killed with signal 9, not for this container's memory limit"
  end
end

--- 2147483648 -> "2.0 GiB"
function casualties.gibibytes(bytes)
  if bytes < 1 << 30 then return ("%d MiB"):format(bytes >> 20) end
  return ("%.1f GiB"):format(bytes / (1 << 30))
end

--- Follows the worker's output, through its restarts, from the moment there is a worker.
local function followed(supervise)
  while true do
    local follower = supervise.follow "worker"
    if follower then return follower end
    supervise.next_change()
  end
end

function casualties.source()
  return facts.source("executors killed for memory", function(emit, env)
    emit {}
    if not env.START_WORKER then return end
    local cgroup = require "appliance.core.cgroup"
    local log = require "appliance.core.log"
    local kills, told = cgroup.oom_kills() or 0, nil
    local following <close> = followed(require "appliance.core.supervise")
    while true do
      local text = following:next()
      if not text then return end
      for line in text:gmatch "[^\n]+" do
        local who = line:find("finished with state", 1, true) and casualties.read(line)
        if who then
          local now = cgroup.oom_kills() or 0
          local sentence = casualties.sentence(who, now - kills, (cgroup.limits() or {}).memory)
          if sentence and sentence ~= told then log.warn(sentence) end
          told = who.is_disk_full and sentence or nil              -- ten of them come within a second
          if who.status == KILLED then kills = now end
        end
      end
    end
  end)
end

return casualties
