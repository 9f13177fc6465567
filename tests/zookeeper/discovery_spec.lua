-- The SQL server's entry for HiveServer2's discovery, on a real ZooKeeper: there while it is ready, and never twice.
local discovery = require "appliance.cluster.discovery"
local spark_node = require "spark_node"
local task = require "appliance.core.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

describe("HiveServer2's discovery", function()
  local ensemble, reader
  local log = { warn = function() end, info = function() end }

  local function entries()
    local names = reader:children "/hive/server2" or {}
    return names
  end

  local function await(count)
    return spark_node.await(count .. " entries", function()
      local names = entries()
      return #names == count and names
    end, 30)
  end

  local function published(client, host)
    local made = discovery.new(client, "hive/server2", host or "10.0.0.1", 10000, log)
    return made, task.start("discovery", made.run, made)
  end

  setup(function()
    ensemble = zookeepers.start { servers = 1, tick = 500 }
    reader = zk.open { servers = ensemble.addresses, session = 4, name = "reader" }
  end)
  teardown(function()
    if reader then reader:close() end
    if ensemble then ensemble:close() end
  end)

  it("is there while the server is ready, for clients without our password", function()
    local client <close> = zk.open { servers = ensemble.addresses, session = 4, name = "one", auth = "user:secret" }
    local made, running = published(client)
    local closing <close> = running -- luacheck: ignore
    made:ready(true)
    local name = await(1)[1]
    assert.matches("^serverUri=10%.0%.0%.1:10000;version=2%.3%.10;sequence=%d+$", name)
    assert.matches("hive.server2.thrift.bind.host=10.0.0.1;", (reader:get("/hive/server2/" .. name)), 1, true)
    made:ready(false)
    await(0)
    made:ready(true)
    await(1)
    made:ready(false)
    await(0)
  end)

  it("is never twice: what an earlier session of this node left goes first, and another's stays", function()
    local before <close> = zk.open { servers = ensemble.addresses, session = 4, name = "before" }
    local client <close> = zk.open { servers = ensemble.addresses, session = 4, name = "now" }
    local old, running = published(before)
    old:ready(true)
    local left = await(1)[1]
    running:cancel()                                           -- as if it had died: its session stands for a while
    local other, its = published(before, "10.0.0.2")
    other:ready(true)
    await(2)
    local new, mine = published(client)
    local closing <close> = its -- luacheck: ignore
    local also_closing <close> = mine -- luacheck: ignore
    new:ready(true)
    spark_node.await("the new entry", function()
      local names = entries()
      return #names == 2 and names[1] ~= left and names[2] ~= left
    end, 30)
  end)
end)
