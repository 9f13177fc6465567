-- The agents of two nodes against a real ZooKeeper; their services are played, for what they do is tested with real Spark (tests/cluster).
local agent = require "appliance.cluster.agent"
local core = require "appliance.core.task"
local task = require "appliance.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local ROOT, DIR = "/spark-appliance/test", "/spark-appliance/test/spark/4.1.1"

--- A node: the shipped agent, with a master that only makes a latch, and a thrift server that is only counted.
local function node_of(servers, name)
  local node = { name = name, leases = { node = 0, sql = 0 }, events = task.queue(), pid = 0, said = {}, starts = 0 }

  local function tell(event)
    event.pid = event.pid or node.pid
    node.events:put(event)
  end

  local function start_master()
    node.pid = node.pid + 1
    local pid = node.pid
    local master = { pid = pid, zk = zk.open { servers = servers, session = 10, name = name .. "'s master" } }
    node.master = master
    tell { kind = "started", service = "master" }
    master.task = task.start(function()
      local id = master.zk:connected()
      tell { kind = "session", service = "master", id = id }
      assert(master.zk:ensure(DIR .. "/leader_election"))
      local latch = assert(master.zk:create(DIR .. "/leader_election/latch-", "",
        { ephemeral = true, sequential = true, guid = true, open = true }))
      for list in master.zk:watch_children(DIR .. "/leader_election") do
        table.sort(list.names, function(a, b) return a:sub(-10) < b:sub(-10) end)
        if latch:sub(-#(list.names[1] or "?")) == list.names[1] then
          node.leads = true
          tell { kind = "state", service = "master", state = "ALIVE" }
          return
        end
      end
    end)
  end

  --- As a process ends: its session lives on, for nobody closes it.
  function node.end_master(unasked)
    local master = node.master
    if not master then return end
    node.master, node.leads = nil, false
    master.task:cancel()
    node.orphans = node.orphans or {}
    table.insert(node.orphans, master.zk)
    tell { kind = "ended", service = "master", pid = master.pid, unasked = unasked }
  end

  local world = {
    zk = zk.open { servers = servers, session = 2, name = name }, task = task, boot_ns = core.boot_ns, events = node.events,
    log = { info = function(text) table.insert(node.said, text) end, warn = function(text) table.insert(node.said, text) end,
      error = function(text) table.insert(node.said, text) end },
    lease = function(which, due)
      node.leases[which] = due
      if which == "node" then
        if due == 0 then node.end_master() elseif not node.master and not node.down then start_master() end
      else
        node.sql = due > 0
        if due > 0 and not node.sql_told then
          node.sql_told = true
          node.starts = node.starts + 1
          tell { kind = "started", service = "thriftserver" }
          tell { kind = "ready", service = "thriftserver" }
        end
      end
    end,
    kill = function() node.end_master(true) end, stop = function() node.sql = false end, start = function() end,
    probe = function() return nil, { text = "none" } end,
  }
  node.world = world
  node.agent = agent.new { world = world, root = ROOT, dir = DIR, size = 2, emit = function(view) node.view = view end,
    node = { name = name, host = "127.0.0.1", guid = name .. "-1", roles = { master = true, worker = false, sql = true }, version = "4.1.1",
      url = "spark://" .. name .. ":7077", ui = "http://" .. name .. ":8080", sql = { host = name, port = 10010 } } }
  node.running = task.start("agent of " .. name, function() return node.agent:run() end)

  function node.close()
    node.down = true
    node.running:cancel()
    node.end_master()
    world.zk:close()
    for _, orphan in ipairs(node.orphans or {}) do orphan:close() end
  end
  return setmetatable(node, { __close = node.close })
end

local function wait_for(what, seconds, nodes)
  local limit = task.now() + (seconds or 20)
  while not what() do
    if task.now() > limit then
      local lines = {}
      for _, node in ipairs(nodes) do
        lines[#lines + 1] = ("%s: leads %s, sql %s, view %s\n  %s"):format(node.name, tostring(node.leads), tostring(node.sql),
          require("appliance.json").encode(node.view or {}), table.concat(node.said, "\n  "))
      end
      error("it did not come about:\n" .. table.concat(lines, "\n"), 2)
    end
    task.sleep(0.02)
  end
end

local function is_whole(one, other)
  local function sees(node)
    local view = node.view
    return view and view.leader and view.sql.address and view.enough and view.uri == "spark://one:7077,other:7077"
  end
  return (one.leads or other.leads) and not (one.leads and other.leads) and (one.sql or other.sql) and not (one.sql and other.sql)
    and sees(one) and sees(other)
end

describe("agents on a real ZooKeeper", function()
  local ensemble
  setup(function() ensemble = zookeepers.start { servers = 1, tick = 500 } end)
  teardown(function() ensemble:close() end)

  it("make one leader and one thrift server, and others of them when a node ends, a master dies, ZooKeeper is frozen", function()
    local one <close> = node_of(ensemble.addresses, "one")
    local other <close> = node_of(ensemble.addresses, "other")
    local nodes = { one, other }
    local function whole() return is_whole(one, other) end
    wait_for(whole, 20, nodes)

    -- A master's process dies: its session lives on, its latch does not.
    local first = one.leads and one or other
    local second = first == one and other or one
    local sql = one.sql and one or other
    first.end_master(true)
    wait_for(function() return second.leads end, 3, nodes)
    wait_for(whole, 20, nodes)
    assert.is_true(sql.sql)
    assert.equal(1, sql.starts)

    -- A whole node ends: the other buries it.
    second.close()
    wait_for(function() return first.leads and first.sql end, 5, nodes)
    wait_for(function() return first.view.nodes[second.name] == nil end, 5, nodes)

    -- ZooKeeper stands still: the leases end by themselves; it goes on, and so do they.
    local due = first.leases.node
    ensemble[1]:freeze()
    wait_for(function() return first.leases.node < core.boot_ns() and first.leases.sql < core.boot_ns() end, 20, nodes)
    assert.is_true(first.leases.node - due < 2e9, "a lease was moved though ZooKeeper stood still")
    ensemble[1]:thaw()
    wait_for(function() return first.leases.node > core.boot_ns() and first.leads and first.leases.sql > core.boot_ns() end, 20, nodes)
  end)
end)
