-- What goes wrong around a client: lost answers, frozen servers, servers that come and go, a client that is closed in the middle of it.
local core = require "appliance.core.task"
local task = require "appliance.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local GENEROUS <const> = zookeepers.PATIENCE

local within, state_of = zookeepers.within, zookeepers.state_of

--- Again while a connection is lost under it: servers that come back lose a few before they have a leader.
local function in_the_end(f)
  return within(function()
    while true do
      local value, err = f()
      if value ~= nil or err.kind ~= "timeout" then return value, err end
    end
  end)
end

local function handles() return require "appliance.native.zk".handles() end

--- Handles are closed on helper threads; with the last one go all threads and descriptors.
local function all_gone()
  local until_s = task.now() + GENEROUS
  while handles() > 0 do
    assert(task.now() < until_s, "handles are left")
    task.sleep(0.01)
  end
end

local function count(folder)
  local own <close> = assert(io.open "/proc/self/stat")
  local pipe <close> = assert(io.popen(("ls /proc/%d/%s | wc -l"):format(own:read("n"), folder)))
  return pipe:read("n")
end

--- Seconds that this thread has waited for a processor: on a busy machine they are nobody's fault.
local function waited_for_processor()
  local file <close> = assert(io.open "/proc/thread-self/schedstat")
  local _, waited = file:read("n", "n")
  return waited / 1e9
end

describe("a client of three ZooKeepers", function()
  local ensemble
  setup(function() ensemble = zookeepers.start { servers = 3, tick = 500 } end)
  teardown(function() ensemble:close() end)
  local function open(options)
    options = options or {}
    return zk.open { servers = options.servers or ensemble.addresses, session = options.session or 4, name = "faults" }
  end

  it("goes on at another server when its own dies", function()
    local client <close> = open()
    local id = client:connected()
    assert(in_the_end(function() return client:create("/bounce", "", { ephemeral = true }) end))
    local server = client:state().server
    for _, one in ipairs(ensemble) do
      if one.address == server then
        one:kill()
        state_of(client, "connecting")
        assert.equal(id, (within(function() return client:connected() end)))
        assert.not_equal(server, client:state().server)
        assert.equal(id, in_the_end(function() return client:exists "/bounce" end).owner)
        one:start()
      end
    end
    ensemble:ready()
    assert.equal("connected", client:state().state)
  end)

  it("never blocks the loop, with every server frozen", function()
    local client <close> = open { session = 1 }
    client:connected()
    assert(in_the_end(function() return client:ensure "/frozen" end))
    ensemble:freeze()
    local worst, last, waited = 0, task.now(), waited_for_processor()
    local beat <close> = task.start(function()
      while true do
        task.sleep(0.005)
        local now, waited_now = task.now(), waited_for_processor()
        worst = math.max(worst, now - last - (waited_now - waited))
        last, waited = now, waited_now
      end
    end)
    local failed = {}
    local calls <close> = task.group()
    local data = ("x"):rep(200000)
    for _ = 1, 50 do
      calls:start(function()
        local _, err = client:set("/frozen", data)
        failed[#failed + 1] = err and err.code
      end)
    end
    local watching <close> = task.start(function() for _ in client:watch "/frozen" do end end)
    within(function() return calls:wait() end)
    assert.equal(50, #failed)
    for _, code in ipairs(failed) do assert.equal("CONNECTIONLOSS", code) end
    assert.equal("connecting", client:state().state)         -- nobody has said that the session is over
    local second = open { session = 1 }
    local _, fault = second:get "/"
    assert.equal("CONNECTIONLOSS", fault.code)
    second:close()                                           -- takes the library seconds, and us nothing
    second = open { session = 1 }
    task.sleep(0.05)
    second:close()
    task.sleep(0.5)
    assert.is_true(worst < (os.getenv "SANITIZED" and 0.5 or 0.1), ("the loop stood still for %g s"):format(worst))
    assert.is_true(beat:is_alive() and watching:is_alive())
    ensemble:thaw()
    within(function() return client:connected() end)
    assert.is_true(in_the_end(function() return client:sync "/frozen" end))
  end)

  it("waits for servers that are not there yet", function()
    for _, one in ipairs(ensemble) do one:kill() end
    local client <close> = open()
    local waits = task.start(function() return client:connected() end)
    local _, err = client:get "/"
    assert.equal("CONNECTIONLOSS", err.code)
    for _, one in ipairs(ensemble) do one:start() end
    ensemble:ready()
    local ok, id = waits:join(GENEROUS)
    assert.is_true(ok and id ~= 0)
  end)

  it("leaves no thread and no descriptor behind, closed at any moment", function()
    all_gone()
    collectgarbage()
    task.sleep(0.05)
    local threads, files = count "task", count "fd"
    for round = 1, 40 do
      local client <const> = open()
      local tasks <close> = task.group()
      tasks:start(function() for _ in client:watch "/any" do end end)
      tasks:start(function() for _ in client:watch_children "/" do end end)
      tasks:start(function() client:create("/any-", ("x"):rep(1000), { ephemeral = true, sequential = true, guid = true }) end)
      local part = { "create", "/any-m-", "", { ephemeral = true, sequential = true } }
      tasks:start(function() client:multi { { "check", "/", -1 }, part } end)
      if round % 4 ~= 0 then task.sleep(round / 1000) end
      client:close()
      if round % 3 == 0 then client:close() end
    end
    for _ = 1, 10 do                                         -- and by the collector
      open()
      collectgarbage()
    end
    collectgarbage()
    all_gone()
    task.sleep(0.05)
    assert.equal(threads, count "task")
    assert.equal(files, count "fd")
    assert.is_true(core.count() <= 1, core.count())
  end)

  it("takes a changed list for its next connection, and cuts none for it", function()
    local gate <close> = zookeepers.gate(ensemble[1].port)
    local client <close> = open { servers = gate.address }
    local id = client:connected()
    client:servers(ensemble[2].address .. "," .. ensemble[3].address)
    assert.is_true(in_the_end(function() return client:sync "/" end))
    assert.equal(gate.address, client:state().server)
    gate:shut()
    state_of(client, "connecting")
    assert.equal(id, (within(function() return client:connected() end)))
    assert.is_true(client:state().server == ensemble[2].address or client:state().server == ensemble[3].address)
    -- A list that comes while there is no connection is used at once.
    gate:pass()
    local other <close> = open { servers = "127.0.0.1:1" }
    task.sleep(0.02)
    other:servers(gate.address)
    assert.not_equal(0, (within(function() return other:connected() end)))
    assert.equal(gate.address, other:state().server)
    id = other:connected()
    gate:shut()
    state_of(other, "connecting")
    other:servers(ensemble[1].address)
    assert.equal(id, (within(function() return other:connected() end)))
    assert.equal(ensemble[1].address, other:state().server)
  end)
end)

describe("a create whose answer is lost", function()
  local ensemble, gate
  setup(function()
    ensemble = zookeepers.start { tick = 500 }
    gate = zookeepers.gate(ensemble[1].port)
  end)
  teardown(function()
    gate:close()
    ensemble:close()
  end)
  before_each(function() gate:pass() end)

  local function lose(options, client, witness, parent)
    gate:mute()
    local creating = task.start(function() return client:create(parent .. "/n-", "data", options) end)
    for list in witness:watch_children(parent) do if #list.names == 1 then break end end
    gate:cut()
    return creating
  end

  it("is found again by its GUID, and not made twice", function()
    local witness <close> = zk.open { servers = ensemble.addresses, session = 4 }
    local client <close> = zk.open { servers = gate.address, session = 10 }
    local id = client:connected()
    client:ensure "/lost"
    local creating = lose({ ephemeral = true, sequential = true, guid = true }, client, witness, "/lost")
    local ok, path = creating:join(GENEROUS)
    assert.is_true(ok)
    assert.matches("^/lost/_c_%x+%-%x+%-%x+%-%x+%-%x+%-n%-0000000000$", path)
    local names = witness:children "/lost"
    assert.same({ path:match "[^/]+$" }, names)
    assert.equal(id, witness:exists(path).owner)
  end)

  it("fails with CONNECTIONLOSS without one, for nobody knows", function()
    local witness <close> = zk.open { servers = ensemble.addresses, session = 4 }
    local client <close> = zk.open { servers = gate.address, session = 10 }
    client:connected()
    client:ensure "/unknown"
    local creating = lose({ sequential = true }, client, witness, "/unknown")
    local ok, path, err = creating:join(GENEROUS)
    assert.is_true(ok)
    assert.is_nil(path)
    assert.equal("CONNECTIONLOSS", err.code)
  end)

  it("leaves no ghost when it is cancelled meanwhile", function()
    local witness <close> = zk.open { servers = ensemble.addresses, session = 4 }
    local client <close> = zk.open { servers = gate.address, session = 10 }
    client:connected()
    client:ensure "/ghost"
    gate:mute()
    local options = { ephemeral = true, sequential = true, guid = true }
    local creating = task.start(function() return client:create("/ghost/n-", "", options) end)
    for list in witness:watch_children "/ghost" do if #list.names == 1 then break end end
    creating:cancel()
    gate:cut()
    within(function() for list in witness:watch_children "/ghost" do if #list.names == 0 then break end end return true end)
  end)
end)
