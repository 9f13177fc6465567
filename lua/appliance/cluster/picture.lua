--- The agent's view in the words of people and of JSON that stays: what `status`, GET /cluster and the health pages tell. Pure.
local json = require "appliance.json"

local picture = {}

local function roles_of(node)
  local names = {}
  for _, name in ipairs { "master", "worker", "sql" } do
    if node.roles and node.roles[name] then names[#names + 1] = name end
  end
  return table.concat(names, " ")
end

--- Where the SQL server is, as a phrase: "on node2", "on node2, which starts it".
local function sql_of(view)
  local sql = view.sql or {}
  if not sql.holder then return nil end
  return "on " .. sql.holder .. (sql.address and "" or ", not ready yet")
end

--- A list that is one in JSON, too, when it is empty. A copy: the agent's own is left alone.
local function list_of(items) return json.array(table.move(items or {}, 1, #(items or {}), 1, {})) end

--- view: the agent's, nil before it has one. What it knew last is no news once the session is not connected: who is here is kept, who
--- leads and where SQL is are left out. zookeeper: its servers as text, nil while they are not known.
--- place: { name = CLUSTER_NAME, node = our name, zookeeper }
--- -> { name, node, session, leader, sql, sql_address, nodes = { { name, master, roles, version, sql } }, version, said }
function picture.of(view, place)
  view = view or {}
  local now = view.session == true and view or {}
  local nodes = {}
  for name, data in pairs(view.nodes or {}) do
    nodes[#nodes + 1] = { name = name, host = data.host,
                          master = now.session and data.master and data.master.state or nil, roles = roles_of(data),
                          version = data.version, sql = data.sql and data.sql.ready or nil }
  end
  table.sort(nodes, function(a, b) return a.name < b.name end)
  return {
    name = place.name, node = place.node, zookeeper = place.zookeeper, session = view.session == true,
    leader = now.leader and now.leader.node or nil, leader_url = now.leader and now.leader.url or nil, sql = sql_of(now),
    sql_address = now.sql and now.sql.address or nil,
    nodes = list_of(nodes), masters = list_of(view.masters), said = list_of(view.said),
    version = view.version and view.version.active or nil,
  }
end

--- A change of who leads, for the log of every node: at 3 a.m. it is the first question. leader: whom the log named last, nil: nobody yet,
--- false: it said that nobody does. -> leader, sentence or nil
function picture.news(leader, view)
  if not view.session then return leader end                   -- the client of ZooKeeper says so in its own words
  local now = view.leader and view.leader.node or false
  if now == leader or not now and leader == nil then return leader end
  return now, now and now .. " leads" or ("nobody leads now; %s did"):format(leader)
end

--- Who has what a service of ours waits for: the end of its reason. lease: "node" or "sql"; us: our name -> text | nil
function picture.holder(view, lease, us)
  if not view or not view.session then return "and there is no session with ZooKeeper" end
  if lease == "sql" then
    local holder = view.sql and view.sql.holder
    if holder and holder ~= us then return "which " .. holder .. " holds" end
    return not holder and "which nobody holds yet" or nil
  end
  return view.said and view.said[1] or nil
end

--- The view of the supervisor -> what its reason should say, nil: as it is.
function picture.reason(view, service, us)
  local lease = service.reason and service.reason:match "^waits for the lease ([%w_-]+)$"
  local more = lease and picture.holder(view, lease, us)
  return more and service.reason .. ", " .. more or nil
end

return picture
