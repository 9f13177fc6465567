--- GET /services/NAME and POST /services/NAME/start|stop|restart.
local changes = require "appliance.control.changes"
local json = require "appliance.json"
local status = require "appliance.control.status"

local actions = {}
function actions.start(supervise, name) return supervise.want(name, true) end
function actions.stop(supervise, name) return supervise.want(name, false) end
function actions.restart(supervise, name) return supervise.restart(name) end

local at_rest = { down = true, done = true, failed = true }

--- Is there nothing more to wait for, and is it what was asked for? nil while it goes on.
--- `since` tells a state that was entered anew from the one before: a restart begins with the old process up, or in the old back-off.
local function outcome(action, view, before)
  local state, anew = view.state, view.since ~= before.since
  if action == "stop" then
    if at_rest[state] then return state ~= "failed" end
  elseif state == "up" or state == "done" then
    if anew or action == "start" then return true end
  elseif state == "failed" then
    if anew or action == "start" then return false end
  elseif state == "backoff" and anew then
    return false
  end
  return nil
end

local function line(node, view, settled)
  local shown = status.service(node, view, status.planned(node, view.name))
  shown.settled = settled
  return json.encode(shown) .. "\n"
end

local function follow(node, request, action, before)
  local supervise, name = node.supervise, before.name
  local follower <close> = changes.follow(supervise)
  local ok, err = actions[action](supervise, name)
  if not ok then return 409, tostring(err) .. "\n" end
  local stream = request:stream(200, "application/x-ndjson")
  while stream do
    local view = supervise.view(name)
    if not view then
      return stream:send(json.encode { name = name, state = "gone", settled = action == "stop" } .. "\n")
    end
    local settled = outcome(action, view, before)
    if not stream:send(line(node, view, settled)) or settled ~= nil then return end
    follower:wait()
  end
end

local function names_of(supervise)
  local names = {}
  for i, view in ipairs(supervise.list()) do names[i] = view.name end
  return names
end

local function answer(node, request, name, action, more)
  local unknown = require("appliance.control").unknown
  if not name then
    if request.method == "POST" then return 404, "which service? POST /services/NAME/restart\n" end
    return 200, json.encode(json.array(names_of(node.supervise))) .. "\n", "application/json"
  end
  local view = node.supervise.view(name)
  if not view then return unknown("service", name, names_of(node.supervise)) end
  if request.method == "GET" and not action then return 200, line(node, view), "application/json" end
  if not actions[action] or more then return unknown("action", action or "", { "start", "stop", "restart" }) end
  if request.method == "GET" then
    return 405, ("GET %s: the method must be POST\n"):format(request.path), nil, "POST"
  end
  if request.query.follow == "1" then return follow(node, request, action, view) end
  local ok, err = actions[action](node.supervise, name)
  if not ok then return 409, tostring(err) .. "\n" end
  return 202, line(node, node.supervise.view(name) or view), "application/json"
end

return answer
