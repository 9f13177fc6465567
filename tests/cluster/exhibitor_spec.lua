-- Scenario 14: Exhibitor tells where ZooKeeper is. It is down at the start, answers nonsense later, tells another list, and is gone when
-- the node's power comes back. One master, on a real ZooKeeper of three servers.
local ensemble = require "cluster.ensemble"
local fake_exhibitor = require "fake_exhibitor"
local hosts = require "cluster.hosts"
local nodes = require "cluster.nodes"
local task = require "appliance.task"

local EXHIBITOR <const> = hosts.NETWORK .. "254"               -- the test's own end of the bridge

describe("a master whose ZooKeeper is told by an Exhibitor", function()
  local yard, zookeepers, exhibitor, node

  setup(function()
    yard = hosts.yard()
    exhibitor = fake_exhibitor.start(EXHIBITOR, 8181)
    exhibitor:says(254, { status = 500 })
    zookeepers = ensemble.start(yard)
    node = nodes.ours(yard, "a", 11, { START_MASTER = "true", START_WORKER = "false", EXHIBITOR_HOSTS = EXHIBITOR, EXHIBITOR_POLL = "1s" },
      { archive = nodes.archive() })
  end)
  teardown(function()
    if exhibitor then exhibitor:__close() end               -- while the bridge that it listens on is there
    if yard then yard:stop() end
  end)

  local function await_log(text)
    hosts.await("the node says: " .. text, function()
      assert(node:is_up(), node:log():sub(-2000))
      return node:log():find(text, 1, true)
    end)
  end

  local function list(...)
    local addresses = {}
    for i, place in ipairs { ... } do addresses[i] = zookeepers.servers[place].address end
    exhibitor:says(254, { servers = addresses, port = 2181 })
  end

  local function await_leader() hosts.await("a master that leads", function() return node:status() == "ALIVE" end) end

  --- Until the Exhibitor has been asked so often from now on.
  local function await_questions(count)
    exhibitor:asked()
    local asked = 0
    hosts.await("more questions", function()
      asked = asked + #exhibitor:asked()
      return asked >= count
    end)
  end

  it("waits while it does not answer, and leads once it does", function()
    node:start()
    await_log "ZooKeeper's servers can't be learned: Exhibitor at 10.77.0.254:8181: it answers with 500; nothing is known yet"
    assert.same({}, node:pids "master")
    list(1)
    await_leader()
    assert.equal("zk1", zookeepers:server_of(node.host).name)
  end)

  it("minds no 500, no nonsense, no empty list and no silence", function()
    local before = node:pids "master"
    for _, answer in ipairs { { status = 500 }, { body = "<html>" }, { servers = require("appliance.json").array(), port = 2181 } } do
      exhibitor:says(254, answer)
      await_questions(2)
    end
    exhibitor:says(254, { hang = true })
    await_questions(1)
    assert.same(before, node:pids "master")
    assert.equal("ALIVE", node:status())
    local _, told = node:log():gsub("can't be learned", "")
    assert.equal(2, told)                                      -- at the start, and now, once for all of these
  end)

  it("hands a changed list to the running master, which goes on and uses it when its own server dies", function()
    local before = node:pids "master"
    list(2, 3)
    await_log "ZooKeeper's servers are now 10.77.0.22:2181, 10.77.0.23:2181; they were 10.77.0.21:2181"
    await_questions(3)
    assert.same(before, node:pids "master")
    assert.equal("ALIVE", node:status())
    local from = #node:log()
    local began = task.now()
    zookeepers.servers[1]:kill()
    -- A leader that loses its connection ends, and its successor leads; should it ever learn to stay, that is as good.
    hosts.await("the end of the leader", function() return node:pids("master")[1] ~= before[1] or task.now() - began > 10 end)
    hosts.await("a master that leads, by another server", function()
      local server = node:status() == "ALIVE" and zookeepers:server_of(node.host)
      return server and server.name ~= "zk1"
    end)
    print(("# led by the new list %.1f s after its server's end"):format(task.now() - began))
    assert.is_nil(node:log():find("can't be learned", from, true))
    zookeepers.servers[1]:start()
  end)

  it("starts from the list on disk when no Exhibitor answers after a power cut", function()
    node:kill()
    exhibitor:says(254, { down = true })
    node:start()
    await_log "the last answer, kept on disk, is used: 10.77.0.22:2181, 10.77.0.23:2181"
    await_leader()
  end)
end)
