--- GET /status: the node and its services, for people and programs. The fields are documented in docs/operations.md and stay.
local json = require "appliance.json"
local task = require "appliance.core.task"

local TAIL = 2000                                              -- bytes of last output shown for a service that is not well
local TAIL_OF_MASTER <const> = 16384                           -- its first seconds: what it says later comes after its recovery

local status = {}

--- Resident bytes of a process, and the letter of its state; nil when it has just ended or /proc is not to be read.
local function process(pid)
  local text = pid and pid > 0 and require("appliance.core.file").read(("/proc/%d/status"):format(pid), 8192)
  if not text then return nil end
  local kib = text:match "\nVmRSS:%s*(%d+) kB"
  return kib and tonumber(kib) * 1024 or nil, text:match "\nState:%s*(%a)"
end

--- A master that has the records of an earlier one answers nobody until its workers and applications have, or their time is up.
--- Its own log tells of it: the last word of this run counts.
local function is_recovering(supervise, name)
  local text = supervise.tail(name, TAIL_OF_MASTER) or ""
  return (text:match ".*Starting Spark master at(.*)" or text):match ".*New state: (%u+)" == "RECOVERING"
end

--- What a service does whose state says only "starting", or nothing of a signal that made it stand still.
local function doing(supervise, view, planned, letter)
  if letter == "T" then return "stopped", ("stopped by a signal (SIGSTOP); kill -CONT %d"):format(view.pid) end
  if view.state ~= "starting" then return nil end
  if planned.oneshot then return "running" end
  if planned.role == "spark.master" and is_recovering(supervise, view.name) then return "recovering" end
end

local function age(at, now) return at and at > 0 and math.max(0, math.floor((now - at) * 1000) / 1000) or nil end

local FOLLOWS_A_MASTER <const> = { ["spark.worker"] = true, ["spark.thriftserver"] = true }

local unwell = { failed = true, backoff = true, clearing = true, unspawned = true }

--- One service: the supervisor's view, told in ages instead of instants. `planned`: the plan's service, with its role.
function status.service(node, view, planned)
  local now = task.now()
  local runs = view.pid and view.pid > 0
  local memory, letter = process(runs and view.pid)
  local is_doing, why = doing(node.supervise, view, planned or {}, letter)
  local shown = {
    name = view.name, role = planned and planned.role, state = view.state, doing = is_doing, wanted = view.wanted,
    critical = view.critical, reason = why or view.reason ~= "" and view.reason or nil,
    pid = runs and view.pid or nil, uptime = runs and age(view.started, now) or nil, since = age(view.since, now),
    restarts = view.restarts, crashes = view.crashes,
    retry_in = view.retry and view.retry > now and math.ceil((view.retry - now) * 1000) / 1000 or nil,
    memory = memory, last_end = view.last_end,
  }
  local place = require("appliance.control").place()
  if place then shown.reason = place:reason(view) or shown.reason end
  if view.state == "up" and planned and FOLLOWS_A_MASTER[planned.role] then
    shown.reason = shown.reason or require("appliance.control").silence()
  end
  if unwell[view.state] or view.crashes > 0 and view.state ~= "up" then
    local text = node.supervise.tail(view.name, TAIL)
    shown.output = text and text ~= "" and text or nil
  end
  return shown
end

--- The plan's service of that name, nil when there is none (any more).
function status.planned(node, name)
  for _, service in ipairs(node.plan and node.plan.services or {}) do
    if service.name == name then return service end
  end
end

--- What was fetched, nil where nothing is.
local function objects_of(node)
  if not node.objects and not package.loaded["appliance.facts.fetched"] then return nil end
  local list = require("appliance.control.objects").of(node)
  return list[1] and json.array(list) or nil
end

function status.of(node)
  local host = require "appliance.core.host"
  local services, planned = json.array(), {}
  for _, service in ipairs(node.plan and node.plan.services or {}) do planned[service.name] = service end
  for i, view in ipairs(node.supervise.list()) do services[i] = status.service(node, view, planned[view.name]) end
  local place = require("appliance.control").place()
  return {
    waits = node.plan and node.plan.waits, cluster = place and place:shown() or nil,
    program = { version = host.version(), pid = host.pid(), uptime = age(node.started, task.now()), memory = (process(host.pid())) },
    profile = node.plan and node.plan.profile, state = node.plan and (node.state or "running") or node.state or "starting",
    services = services, objects = objects_of(node),
    notes = json.array(table.move(node.plan and node.plan.notes or {}, 1, #(node.plan and node.plan.notes or {}), 1, {})),
    urls = json.array(table.move(node.plan and node.plan.urls or {}, 1, #(node.plan and node.plan.urls or {}), 1, {})),
  }
end

function status.line(node) return json.encode(status.of(node)) .. "\n" end

--- A client slower than the changes gets the newest state only: send waits for room, and changes meanwhile are one.
local function follow(node, request)
  local follower <close> = require "appliance.control.changes".follow(node.supervise)
  local stream = request:stream(200, "application/x-ndjson")
  while stream and stream:send(status.line(node)) do follower:wait() end
end

return setmetatable(status, { __call = function(_, node, request, more)
  if more then return 404, "status has no parts: GET /services/NAME for one service\n" end
  if request.query.follow == "1" then return follow(node, request) end
  return 200, status.line(node), "application/json"
end })
