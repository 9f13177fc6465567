--- Health in Patroni's manner: a page for each question, 200 or 503, for load balancers and probes. HEALTH_PORT opens them to others;
--- `healthcheck leader` asks the control socket. GET and HEAD only: core.control sees to that.
---   /livez          200 as long as PID 1 turns: what a liveness probe should ask, for a restart cures nothing else
---   /readyz         200 when all that should run here does; of SQL only on the node that has it
---   /leader         200 on the node whose master leads
---   /master /worker 200 where one is up (a standby is)
---   /thriftserver   200 on the node whose SQL server answers
--- Bodies are JSON of one line: { "state": sentence, "node":, "leader":, "sql": }.
local health = {}

--- Does this node's master lead? -> status, sentence. node: boot's; here: cluster/place.lua's, nil on a node without a cluster, whose
--- master leads when it is up.
function health.leader(node, here)
  local view = node.supervise.view "master"
  if not view then return 503, "no master runs here\n" end
  if not here then
    if view.state == "up" then return 200, "master is up and leads\n" end
    return 503, ("master is %s\n"):format(view.state)
  end
  local leader = here.view and here.view.leader
  if leader and leader.node == here.node.name and (view.pid or 0) > 0 then return 200, "the master of this node leads\n" end
  if not here.view or not here.view.session then return 503, "there is no session with ZooKeeper, so it is not known who leads\n" end
  if leader then return 503, ("%s leads\n"):format(leader.node) end
  return 503, "nobody leads\n"
end

local function question(node, path, here)
  local control = require "appliance.control"
  if path == "livez" then return 200, "alive\n" end
  if path == "readyz" then return control.health(node) end
  if path == "leader" then return health.leader(node, here) end
  if path == "master" or path == "worker" or path == "thriftserver" then
    local status, sentence = control.health(node, path)
    return status == 404 and 503 or status, status == 404 and ("there is no %s here\n"):format(path) or sentence
  end
  return 404, "there is no such page: /livez /readyz /leader /master /worker /thriftserver\n"
end

--- The handler of the listener. here: may be nil.
function health.answer(node, here, request)
  local status, sentence = question(node, request.path:match "^/+([%w_-]*)/*$" or "", here)
  local view = here and here.view and here.view.session and here.view or {}    -- what was known last is known no more
  return status, require("appliance.json").encode {
    state = sentence:gsub("%s+$", ""), node = here and here.node.name or nil, leader = view.leader and view.leader.node or nil,
    sql = view.sql and view.sql.holder or nil,
  } .. "\n", "application/json"
end

--- Opens HEALTH_PORT to whoever can reach it -> server (closable) | nil, err. node: boot's, whose plan is looked at at each request.
function health.serve(node, env)
  return require("appliance.core.control").serve({ port = env.HEALTH_PORT, address = env.BIND_ADDRESS or "0.0.0.0", name = "health" },
    function(request) return health.answer(node, require("appliance.control").place(), request) end)
end

return health
