-- Clients in a storm: connections that are cut, muted and refused at random, lists that change, clients that end and begin, by seed.
-- After it each watch has seen the last value, every call has ended in time, and no node is left whose maker does not know of it.
local task = require "appliance.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local SECONDS = tonumber(os.getenv "STORM_SECONDS") or 8
local SEED = tonumber(os.getenv "STORM_SEED") or 20261123
local CLIENTS, LONGEST = 4, 1.6                              -- the longest session that is asked for, seconds

describe("clients of ZooKeeper in a storm", function()
  local ensemble, gates
  setup(function()
    ensemble, gates = zookeepers.start { servers = 3, tick = 300 }, {}
    for index = 1, 3 do gates[index] = zookeepers.gate(ensemble[index].port) end
  end)
  teardown(function()
    for _, gate in ipairs(gates) do gate:close() end
    ensemble:close()
  end)

  it("lose no change, no call and no node", function()
    math.randomseed(SEED)
    local servers = ("%s,%s,%s"):format(gates[1].address, gates[2].address, gates[3].address)
    local witness <close> = zk.open { servers = ensemble.addresses, session = 4 }
    witness:ensure "/storm"
    witness:create("/shared", "first", { open = true })
    local over, worst, faults = false, 0, {}
    local count = { ok = 0 }
    local once = { ephemeral = true, sequential = true }
    local guarded = { ephemeral = true, sequential = true, guid = true }

    local verbs = {
      function(c) return c:get "/storm" end,
      function(c) return c:create("/storm/e-", ("x"):rep(math.random(3000)), once) end,
      function(c) return c:create("/storm/g-", "", guarded) end,
      function(c) return c:multi { { "check", "/storm", -1 }, { "create", "/storm/m-", "", once }, { "set", "/storm", "x" } } end,
      function(c) return c:set("/storm", tostring(math.random())) end,
      function(c) return c:children "/storm" end,
      function(c) return c:sync "/storm" end,
      function(c) return task.within(math.random() / 10, function() return c:create("/storm/w-", "", guarded) end) end,
    }
    local function work(client)
      while not over do
        local number, began = math.random(#verbs), task.now()
        local value, err = verbs[number](client)
        if number ~= 3 and number ~= 8 then worst = math.max(worst, task.now() - began) end
        if value then count.ok, err = count.ok + 1, nil end
        if err and err.kind ~= "timeout" and err.code ~= "SESSIONEXPIRED" and err.code ~= "CLOSING" then
          faults[#faults + 1] = ("%d: %s"):format(number, err)
        end
        if err and err.code == "CLOSING" then return end
        task.sleep(math.random() / 50)
      end
    end

    local crews = {}
    local function embark(index)
      local crew = { client = zk.open { servers = servers, session = LONGEST - math.random() }, tasks = task.group() }
      crews[index] = crew
      crew.tasks:start(function() for node in crew.client:watch "/shared" do crew.seen = node.data end end)
      crew.tasks:start(function() for _ in crew.client:watch_children "/storm" do crew.listed = true end end)
      for _ = 1, 4 do crew.tasks:start(work, crew.client) end
    end
    for index = 1, CLIENTS do embark(index) end

    local orders = { "cut", "cut", "cut", "mute", "mute", "deaf", "shut", "pass", "pass" }
    local until_s = task.now() + SECONDS
    while task.now() < until_s do
      local gate = gates[math.random(3)]
      gate[orders[math.random(#orders)]](gate)
      task.sleep(math.random() * math.random() * 2)
      if math.random() < 0.5 then
        for _, each in ipairs(gates) do each:pass() end
        task.sleep(math.random())
      end
      local index = math.random(CLIENTS)
      if math.random() < 0.1 then crews[index].client:servers(math.random() < 0.5 and servers or ensemble.addresses) end
      if math.random() < 0.1 then
        crews[index].client:close()
        crews[index].tasks:__close()
        embark(index)
      end
      assert(witness:set("/shared", tostring(math.random())))
    end

    for _, gate in ipairs(gates) do gate:pass() end
    assert(witness:set("/shared", "last"))
    over = true
    until_s = task.now() + 30
    for _, crew in ipairs(crews) do
      while crew.seen ~= "last" or not crew.listed do
        assert(task.now() < until_s, ("seed %d: a watch has seen %s at last"):format(SEED, tostring(crew.seen)))
        task.sleep(0.01)
      end
    end
    assert.equal("", table.concat(faults, "\n", 1, math.min(#faults, 5)))
    assert.is_true(count.ok > 100)
    assert.is_true(worst < 2 * LONGEST + 3, ("seed %d: a call took %g s"):format(SEED, worst)) -- two waits, and a busy machine
    -- With their sessions go all their nodes: whose session expired, and whose client is closed. What stays is nobody's.
    for _, crew in ipairs(crews) do
      crew.client:close()
      crew.tasks:__close()
    end
    local empty = task.within(30, function()
      for list in witness:watch_children "/storm" do if #list.names == 0 then return true end end
    end)
    assert.is_true(empty, "nodes are left")
    local native = require "appliance.native.zk"
    until_s = task.now() + 30
    while native.handles() > 1 do
      assert(task.now() < until_s, "handles are left")
      task.sleep(0.01)
    end
  end)
end)
