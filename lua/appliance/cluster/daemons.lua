--- What the node's daemons do, as events for the agent: from the supervisor's runs, and from what the master prints.
---   { kind = "started" | "ready" | "ended", service =, pid =, code =, signal =, unasked = }
---   { kind = "failed", service = "thriftserver" }         it can't be started at all (its directory is gone ...): no run, and none to come
---   { kind = "session", service = "master", pid =, id = 72057654… }      a session with ZooKeeper, as its log names it
---   { kind = "state", service = "master", pid =, state = "STANDBY" | "RECOVERING" | "ALIVE" }
---   { kind = "app", service = "thriftserver", pid =, app = "app-2026…" }     under what name the masters know it
--- Order is the contract: what a run printed comes before its "ended", which is the last of a pid.
local task = require "appliance.core.task"

local daemons = {}

--- What is looked for in a daemon's lines. ClientCnxn tells each session of a master once it is there, and Spark's master opens two (leader
--- latch and persistence), and new ones after an expiry; a driver tells the id that a master gave it. render/log4j2.lua keeps these lines
--- on the console.
daemons.NEEDLES = {
  master = {
    "session id = 0x", "Starting Spark master at", "I have been elected leader!", "Recovery complete", "Leadership has been revoked",
  },
  thriftserver = { "Connected to Spark cluster with app ID" },
}

--- One line of a daemon -> event without service and pid | nil. Pure.
function daemons.read(line)
  local id = line:match "Session establishment complete.*session id = (0x%x+)"
  if id then return { kind = "session", id = math.tointeger(tonumber(id)) } end
  local app = line:match "Connected to Spark cluster with app ID ([%w%-_.]+)"
  if app then return { kind = "app", app = app } end
  local state = line:match "I have been elected leader! New state: (%u+)"
  if state then return { kind = "state", state = state == "ALIVE" and "ALIVE" or "RECOVERING" } end
  if line:find("Recovery complete", 1, true) then return { kind = "state", state = "ALIVE" } end
  if line:find("Starting Spark master at", 1, true) or line:find("Leadership has been revoked", 1, true) then
    return { kind = "state", state = "STANDBY" }
  end
end

--- A follower as soon as there is such a service: the first plan may come later than we do, or have none of it.
local function followed(supervise, name, open)
  while true do
    local follower = supervise.view(name) and open()
    if follower then return follower end
    supervise.next_change()
  end
end

--- One follower a service, so that the order is the supervisor's.
local function follow(supervise, name, needles, tell, log)
  while true do
    local runs <close> = followed(supervise, name, function() return supervise.runs(name, needles) end)
    local view = supervise.view(name)                          -- it may run already
    if view and (view.pid or 0) > 0 then
      tell { kind = "started", service = name, pid = view.pid }
      if view.state == "up" then tell { kind = "ready", service = name, pid = view.pid } end
    end
    while true do
      local run, err = runs:next()
      if not run and not err then break end                    -- the service was removed; it may come again
      if not run then
        log.warn(("%s: some of what it did was missed: %s"):format(name, tostring(err)))
      elseif run.event == "line" then
        local event = daemons.read(run.line)
        if event then
          event.service, event.pid = name, run.pid
          tell(event)
        end
      else
        tell { kind = run.event, service = name, pid = run.pid, code = run.code, signal = run.signal, unasked = run.unasked }
      end
    end
    task.yield()
  end
end

--- What has no run has no "ended".
local function follow_failures(supervise, name, tell)
  local view = supervise.view(name)
  if view and view.state == "failed" then tell { kind = "failed", service = name } end
  while true do
    local change = supervise.next_change()
    if change.service == name and change.state == "failed" then tell { kind = "failed", service = name } end
  end
end

--- Starts the tasks that follow the daemons of a node -> list of tasks. tell(event) must not wait. supervise: appliance.core.supervise.
function daemons.follow(supervise, tell, log)
  local tasks = {}
  for _, name in ipairs { "master", "worker", "thriftserver" } do
    tasks[#tasks + 1] = task.start("runs of " .. name, follow, supervise, name, daemons.NEEDLES[name], tell, log)
  end
  tasks[#tasks + 1] = task.start("starts of thriftserver", follow_failures, supervise, "thriftserver", tell)
  return tasks
end

return daemons
