--- What the control socket answers. `control.serve(node)` at boot; all but the health check is loaded by the first request that needs it,
--- so a node that only answers its orchestrator stays small.
---
--- node is boot's; what is read of it here, at the time of each request:
---   node.state_dir   where the socket is; node.plan   the plan that runs, nil before the first one
---   node.state       a sentence about what goes on ("waits for facts: masters"), nil when there is nothing to say
---   node.supervise   what a test puts in the place of appliance.core.supervise
---
--- GET  /health[/ROLE][?follow=1]      200 or 503 and one sentence; without a role all critical services; followed: one line now and
---                                     at each change, which begins with 200 or 503
--- GET  /status[?follow=1]             JSON; followed: one line of JSON now and at each change
--- GET  /plan                          JSON, secrets redacted
--- POST /plan/diff                     a plan as JSON -> what it would change here, as JSON, secrets redacted
--- GET  /services/NAME                 JSON, as in status
--- POST /services/NAME/start|stop|restart[?follow=1]   followed: one line of JSON a change, until it is settled
--- GET  /logs/NAME[?bytes=N][&follow=1]   text
--- GET  /cluster                           JSON: this node's place among others, and theirs; 404 without a cluster
--- GET  /credentials                       JSON: who gets which role's credentials; POST: a job's environment (control/credentials.lua)
local control = {}

--- Module and methods by the first word of a path. "health" is here.
local routes = {
  status = { GET = "appliance.control.status" },
  plan = { GET = "appliance.control.plan", POST = "appliance.control.plan" },
  services = { GET = "appliance.control.services", POST = "appliance.control.services" },
  logs = { GET = "appliance.control.logs" },
  cluster = { GET = "appliance.control.cluster" },
  credentials = { GET = "appliance.control.credentials", POST = "appliance.control.credentials" },
}

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- "/logs/a%2Fb/" -> { "logs", "a/b" }
local function words_of(path)
  local words = {}
  for word in path:gmatch "[^/]+" do words[#words + 1] = unescape(word) end
  return words
end

--- "is one of a, b or c", for 404s.
function control.unknown(what, name, names)
  table.sort(names)
  local hint = require("appliance.near").hint(name, names)
  local known = #names > 0 and ("known: %s"):format(table.concat(names, ", ")) or "there is none yet"
  return 404, ("no %s is called \"%s\"%s; %s\n"):format(what, name, hint ~= "" and hint or "", known)
end

-- ---------------------------------------------------------------- health

local healthy = { up = true, done = true }
local ROLES <const> = { master = true, worker = true, thriftserver = true }    -- asked for on any node, by scripts that are the same on all

local function plays(service, role)
  return service.name == role or service.role == role or (service.role and service.role:match "[^.]+$" == role)
end

local function tell(view)
  local why = view.reason and view.reason ~= "" and ": " .. view.reason or ""
  return ("%s is %s%s"):format(view.name, view.state, why)
end

local function role_names(services)
  local seen, names = {}, {}
  for _, service in ipairs(services) do
    for _, name in ipairs { service.name, service.role } do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  return names
end

--- This node's place in its cluster, where it has one: loaded by the fact of the profile `ha`, and by nothing else.
function control.place()
  local membership = package.loaded["appliance.cluster.membership"]
  return membership and membership.here
end

--- That no master elsewhere answers any more, nil: one does, or they are here. As with the place.
function control.silence()
  local silence = package.loaded["appliance.cluster.silence"]
  return silence and silence.sentence()
end

--- -> status, sentence. Without a role the critical services count. One view a service and nothing else: this runs every few seconds
--- for years.
function control.health(node, role)
  local plan = node.plan
  if not plan then return 503, ("the node is starting: %s\n"):format(node.state or "it has no plan yet") end
  local here = control.place()
  if role == "leader" then return require("appliance.cluster.health").leader(node, here) end
  local well, ill, counted = "", "", false
  for _, service in ipairs(plan.services) do
    if not role or plays(service, role) then
      local view = node.supervise.view(service.name)
      local counts = role or not view or view.critical
      counted = counted or counts
      if counts and view and healthy[view.state] then
        well = ("%s%s is %s"):format(well == "" and "" or well .. ", ", view.name, view.state)
      elseif counts then
        local why = view and (here and here:says(view) or tell(view)) or service.name .. " is not started yet"
        ill = (ill == "" and "" or ill .. "; ") .. why
      end
    end
  end
  -- What belongs here and can't be planned yet is not well either.
  for name, why in pairs(plan.waits or {}) do
    if not role or name == role then
      counted = true
      ill = ("%s%s waits: %s"):format(ill == "" and "" or ill .. "; ", name, why)
    end
  end
  if ROLES[role] and not counted then return 404, ("no %s runs here\n"):format(role) end
  if role and not counted then return control.unknown("role or service", role, role_names(plan.services)) end
  if ill ~= "" then return 503, ill .. "\n" end
  -- A worker whose master is gone is well: to replace it would cost the jobs that run their executors, and bring no master back.
  local silence = control.silence()
  if silence then well = ("%s; %s"):format(well, silence) end
  return 200, (counted and well or "nothing here is critical") .. "\n"
end

-- ---------------------------------------------------------------- the rest

local function index()
  return 200, [[
GET  /health[/ROLE][?follow=1]
GET  /status[?follow=1]
GET  /plan
POST /plan/diff
GET  /services/NAME
POST /services/NAME/start|stop|restart[?follow=1]
GET  /logs/NAME[?bytes=N][&follow=1]
GET  /cluster
GET  /credentials
POST /credentials
]]
end

local function refuse_method(request, route)
  local methods = {}
  for method in pairs(route) do methods[#methods + 1] = method end
  table.sort(methods)
  local allow = table.concat(methods, ", ")
  return 405, ("%s %s: the method must be %s\n"):format(request.method, request.path, allow), nil,
    route.GET and allow:gsub("GET", "GET, HEAD") or allow
end

--- The handler for core.control.serve.
function control.answer(node, request)
  local words = words_of(request.path)
  local first = words[1]
  if first == "health" and request.method == "GET" then
    if request.query.follow == "1" then return require "appliance.control.health"(node, words[2], request) end
    return control.health(node, words[2])
  end
  local route = first == nil and { GET = index } or first == "health" and { GET = index } or routes[first]
  if not route then return 404, ("%s: there is no such page; GET / lists them\n"):format(request.path) end
  local answer = route[request.method]
  if not answer then return refuse_method(request, route) end
  if type(answer) == "string" then answer = require(answer) end
  return answer(node, request, table.unpack(words, 2))
end

--- Binds the socket -> server (closable) | nil, err
function control.serve(node)
  node.supervise = node.supervise or require "appliance.core.supervise"
  node.started = node.started or require "appliance.core.task".now()
  return require("appliance.core.control").serve(node.state_dir .. "/control.sock", function(request)
    return control.answer(node, request)
  end)
end

return control
