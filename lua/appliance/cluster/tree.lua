--- What lies where in ZooKeeper, and how it is written. Pure.
-- Everything that has an order comes sorted from here: two agents must come to the same answer, and a failing schedule of
-- tests must come out the same each time (pairs gives strings in another order in each process).
local json = require "appliance.json"

local tree = {}

--- Where all of a cluster lies, and below it what is the masters' of one version of Spark (spark.deploy.zookeeper.dir).
function tree.root(cluster) return "/spark-appliance/" .. cluster end
function tree.dir(root, version) return root .. "/spark/" .. version end

--- The paths of a cluster below `root`, for the node `me`, whose masters keep Spark's own nodes below `dir`.
function tree.paths(root, me, dir)
  return {
    root = root, above = root:match "^(.*)/",
    nodes = root .. "/nodes", node = root .. "/nodes/" .. me, beats = root .. "/beats", beat = root .. "/beats/" .. me,
    masters = root .. "/masters", record = root .. "/masters/" .. me, version = root .. "/version",
    sql = root .. "/sql", candidates = root .. "/sql/lease", holder = root .. "/sql/holder",
    latches = dir .. "/leader_election", status = dir .. "/master_status",
  }
end

--- A session as Spark's log and our records write it (Java's Long.toHexString).
function tree.session(id) return ("0x%x"):format(id) end

--- The number ZooKeeper put behind a sequential name. Ten digits, so text order is number order until 2^31.
function tree.sequence(name) return name:match "(%d%d%d%d%d%d%d%d%d%d)$" end

--- Sequential names, the oldest first; other names are nobody's and left out.
function tree.by_sequence(names)
  local sorted = {}
  for _, name in ipairs(names) do
    if tree.sequence(name) then sorted[#sorted + 1] = name end
  end
  table.sort(sorted, function(a, b)
    local one, other = tree.sequence(a), tree.sequence(b)
    if one ~= other then return one < other end
    return a < b
  end)
  return sorted
end

--- The keys of a table of strings, sorted.
function tree.keys(set)
  local keys = {}
  for key in pairs(set) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

tree.encode = json.encode

local KEPT = 64
local decoded, count = {}, 0

--- The value of a node's data, or {} where somebody wrote what is none of ours. What comes back is shared: not to be changed.
function tree.decode(text)
  if not text or text == "" then return {} end
  local value = decoded[text]
  if value then return value end
  value = json.decode(text)
  if type(value) ~= "table" then value = {} end
  if count >= KEPT then decoded, count = {}, 0 end
  decoded[text], count = value, count + 1
  return value
end

--- Does a worker's record (its name) belong to the host? worker-<time>-<host>-<port> behind "worker_".
-- `ports`: nil takes any, else only a port that is in it.
function tree.worker_is_of(name, host, ports)
  local found, port = name:match "^worker_worker%-%d+%-(.+)%-(%d+)$"
  if not found or found ~= host then return false end
  return not ports or ports[tonumber(port)] == true
end

--- The host of an application's driver, from its record (a serialized object): each executor's command line names it.
function tree.driver_host(record)
  return record:match "spark://CoarseGrainedScheduler@%[?([%w%.%-_:]-)%]?:%d+"
end

return tree
