-- The client against real servers: operations, and what becomes of sessions and watches.
local task = require "appliance.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local SESSION = 1                                            -- seconds: two ticks of 500 ms
local GENEROUS <const> = zookeepers.PATIENCE

describe("a client of ZooKeeper", function()
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

  local trees = 0
  local function open(options)
    options = options or {}
    trees = trees + 1
    return zk.open { servers = options.servers or ensemble.addresses, session = options.session or 4, name = options.name or "test",
      auth = options.auth }
  end
  local function through_gate(options)
    options = options or {}
    options.servers, options.session = gate.address, SESSION
    return open(options)
  end
  local within, state_of = zookeepers.within, zookeepers.state_of

  it("makes, reads, writes, lists and removes nodes", function()
    local client <close> = open()
    local id, timeout = client:connected()
    assert.is_true(math.type(id) == "integer" and id ~= 0)
    assert.equal(4, timeout)
    local before = task.boot_ns and task.boot_ns() or 0
    assert.equal("/a", client:create("/a", "one"))
    local data, stat = client:get "/a"
    assert.equal("one", data)
    assert.equal(0, stat.version)
    assert.equal(0, stat.owner)
    assert.equal(3, stat.length)
    assert.is_true(stat.sent > before)
    assert.equal(1, client:set("/a", "two", 0).version)
    assert.equal(2, client:set("/a", "\0three\0").version)
    assert.equal("\0three\0", (client:get "/a"))
    client:create("/a/c", "")
    client:create("/a/b", "")
    local names, parent = client:children "/a"
    assert.same({ "b", "c" }, names)
    assert.equal(2, parent.children)
    assert.is_false(client:exists "/a/none")
    assert.equal(id, client:create("/a/mine", "", { ephemeral = true }) and client:exists "/a/mine".owner)
    assert.equal("/a/s-0000000003", client:create("/a/s-", "", { sequential = true }))
    assert.is_true(client:create("/a/keep", "", { container = true }) == "/a/keep")
    for _, name in ipairs((client:children "/a")) do assert.is_true(client:delete("/a/" .. name)) end
    assert.is_true(client:sync "/a")
    assert.is_true(client:delete("/a", 2))
  end)

  it("says what failed as a kind, ZooKeeper's word, and a sentence", function()
    local client <close> = open()
    local function fails(code, kind, _, err)
      assert.equal(code, err.code)
      assert.equal(kind, err.kind)
      assert.matches(code, tostring(err))
    end
    client:ensure "/f/child"
    client:create("/f/eph", "", { ephemeral = true })
    fails("NONODE", "missing", client:get "/f/none")
    fails("NODEEXISTS", "conflict", client:create("/f", ""))
    fails("BADVERSION", "conflict", client:set("/f", "", 7))
    fails("BADVERSION", "conflict", client:delete("/f/child", 7))
    fails("NOTEMPTY", "conflict", client:delete "/f")
    fails("NOCHILDRENFOREPHEMERALS", "invalid", client:create("/f/eph/x", ""))
    fails("NONODE", "missing", client:children "/f/none")
    fails("BADARGUMENTS", "invalid", client:get "/f/../x")
    fails("BADARGUMENTS", "invalid", client:get "f")
    fails("TOOLARGE", "invalid", client:create("/f/big", ("x"):rep(1 << 20)))
    assert.has_error(function() client:get "/f\0" end)
    assert.has_error(function() client:create("/f/x", "", { ephemral = true }) end)
    client:close()
    fails("CLOSING", "cancelled", client:get "/f")
    fails("CLOSING", "cancelled", client:connected())
  end)

  it("does several things at once or none, and says which failed", function()
    local client <close> = open()
    client:ensure "/m"
    local results = client:multi { { "check", "/m", 0 }, { "create", "/m/n-", "x", { sequential = true } }, { "set", "/m", "new", 0 },
      { "create", "/m/e", "", { ephemeral = true } }, { "delete", "/m/e" } }
    assert.same({ true, "/m/n-0000000000" }, { results[1], results[2] })
    assert.equal(1, results[3].version)
    assert.is_true(results[3].sent > 0)
    assert.is_true(results[5])
    local ok, err = client:multi { { "create", "/m/x", "" }, { "check", "/m", 0 }, { "delete", "/m/none" } }
    assert.is_nil(ok)
    assert.same({ "BADVERSION", 2 }, { err.code, err.index })
    assert.is_false(client:exists "/m/x")
    ok, err = client:multi { { "delete", "/m/none" } }
    assert.is_nil(ok)
    assert.same({ "NONODE", 1 }, { err.code, err.index })
    assert.same({}, client:multi {})
  end)

  it("keeps a session over a lost connection", function()
    local client <close> = through_gate()
    local id = client:connected()
    client:create("/kept", "", { ephemeral = true })
    gate:cut()
    state_of(client, "connecting")
    assert.equal(id, (client:connected()))
    assert.equal(id, client:exists "/kept".owner)
  end)

  it("begins another session by itself after an expiry", function()
    local client <close> = through_gate()
    local other <close> = open()
    local id = client:connected()
    client:create("/expires", "", { ephemeral = true })
    gate:shut()
    for node in other:watch "/expires" do if node.absent then break end end
    assert.equal("connecting", client:state().state)         -- it can't know yet
    local waits = task.start(function() return client:get "/expires" end)
    task.yield()
    gate:pass()
    local _, _, err = waits:join(GENEROUS)
    assert.is_true(err.code == "SESSIONEXPIRED" or err.code == "CONNECTIONLOSS", err.code)
    within(function() for view in client:changes() do if view.state == "connected" and view.id ~= id then break end end end)
    assert.not_equal(id, (client:connected()))
    assert.is_false(client:exists "/expires")
  end)

  it("fails what can't be sent within the time of a session", function()
    local client <close> = through_gate()
    client:connected()
    gate:shut()
    state_of(client, "connecting")
    local began = task.now()
    local _, err = client:get "/"
    assert.equal("CONNECTIONLOSS", err.code)
    assert.equal("timeout", err.kind)
    assert.is_true(err.unsent)
    assert.is_true(select(2, client:multi { { "delete", "/none" } }).unsent)
    assert.is_true(select(2, client:create("/unsent-", "", { guid = true })).unsent)
    local took = task.now() - began
    assert.is_true(took > SESSION / 2 and took < GENEROUS, tostring(took))
  end)

  it("tells of each change at a path, over reconnects and expiries", function()
    local writer <close> = open()
    local client <close> = through_gate()
    local seen = task.queue()
    local watching <close> = task.start(function()
      for node in client:watch "/w" do seen:put(node.absent and "absent" or node.data) end
    end)
    local function told(wanted) assert.equal(wanted, (within(function() return seen:get() end))) end
    told "absent"
    writer:create("/w", "1")
    told "1"
    writer:set("/w", "2")
    told "2"
    gate:shut()
    state_of(client, "connecting")
    writer:set("/w", "3")
    gate:pass()
    told "3"
    -- An expiry: an ephemeral of ours is gone.
    local id = client:connected()
    client:create("/w-eph", "", { ephemeral = true })
    gate:shut()
    for node in writer:watch "/w-eph" do if node.absent then break end end
    gate:pass()
    within(function() for view in client:changes() do if view.state == "connected" and view.id ~= id then break end end end)
    writer:set("/w", "4")
    told "4"
    writer:delete "/w"
    told "absent"
    assert.equal(0, seen:length())
    assert.is_true(watching:is_alive())
  end)

  it("tells the next who asks, when the one who waited was cancelled", function()
    local client <close> = open()
    local it <close> = client:watch "/cancelled"
    local function next_one() return it() end
    assert.is_true(it().absent)
    local waits = task.start(next_one)
    client:sync "/"                                          -- it waits by now
    local _, err = pcall(it)
    assert.matches("another task waits for this watch", tostring(err))
    waits:cancel()
    client:create("/cancelled", "here")
    assert.equal("here", it().data)
    local reads = task.start(next_one)
    client:set("/cancelled", "there")
    reads:cancel()
    assert.equal("there", within(next_one).data)
    waits = task.start(next_one)
    client:sync "/"
    client:close()
    local ok, value, fault = waits:join(GENEROUS)
    assert.is_true(ok and value == nil and fault.code == "CLOSING")
  end)

  it("may be told of many changes at once, and is told of the last", function()
    local client <close> = open()
    client:create("/burst", "0")
    local it <close> = client:watch "/burst"
    local function next_one() return it() end
    assert.equal("0", it().data)
    for i = 1, 100 do client:set("/burst", tostring(i)) end
    local last
    repeat last = within(next_one).data until last == "100"
    local group <close> = task.group()
    for i = 1, 200 do group:start(function() assert(client:set("/burst", "g" .. i)) end) end
    assert.is_true((group:wait()))
    local version = select(2, client:get "/burst").version
    assert.equal(300, version)
    repeat last = within(next_one).stat.version until last == version
  end)

  it("tells of children that come and go", function()
    local client <close> = open()
    local list <close> = client:watch_children "/wc"
    assert.is_true(list().absent)
    client:ensure "/wc/b"
    local now = list()
    if #now.names == 0 then now = list() end
    assert.same({ "b" }, now.names)
    client:create("/wc/a", "")
    assert.same({ "a", "b" }, list().names)
    client:delete "/wc/b"
    assert.same({ "a" }, list().names)
  end)
end)
