-- Who may do what, where a client's tree begins, how much fits, and by which names servers are found.
local task = require "appliance.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local GENEROUS = 30

describe("a client of ZooKeeper", function()
  local ensemble
  setup(function() ensemble = zookeepers.start { tick = 500 } end)
  teardown(function() ensemble:close() end)
  local function open(options)
    options = options or {}
    options.servers, options.session = options.servers or ensemble.addresses, options.session or 4
    return zk.open(options)
  end

  it("with credentials makes nodes that are its own, but those that are to be open", function()
    local ours <close> = open { auth = "spark:secret", name = "ours" }
    local also_ours <close> = open { auth = "spark:secret" }
    local theirs <close> = open { auth = "spark:guessed" }
    local anybody <close> = open()
    assert.equal("/own", ours:create("/own", "x"))
    ours:create("/open", "x", { open = true })
    ours:multi { { "create", "/own/m", "" }, { "create", "/open/m", "", { open = true } } }
    assert.equal("x", (also_ours:get "/own"))
    assert.equal(1, also_ours:set("/own", "y").version)
    for _, other in ipairs { theirs, anybody } do
      for _, fault in ipairs {
        select(2, other:get "/own"), select(2, other:set("/own", "z")), select(2, other:create("/own/x", "")),
        select(2, other:children "/own"), select(2, other:delete "/own/m"), select(2, other:multi { { "delete", "/own/m" } }),
      } do
        assert.same({ "denied", "NOAUTH" }, { fault.kind, fault.code })
      end
      assert.equal("x", (other:get "/open"))
      assert.is_true(other:exists("/open/m").version == 0)
      local it <close> = other:watch "/own"
      local value, err = it()
      assert.is_nil(value)
      assert.equal("NOAUTH", err.code)
      assert.is_true(other:ensure "/own")                    -- it is there; that it is not ours does not matter
    end
    assert.matches("^digest:spark:.+:cdrwa$", (ours:rights "/own")[1])
    assert.same({ "world:anyone:cdrwa" }, (anybody:rights "/open"))
    assert.equal("NOAUTH", select(2, anybody:rights "/own").code)
    assert.equal("NONODE", select(2, ours:rights "/nowhere").code)
    assert.equal(1, select(2, ours:rights "/own").version)
    assert.is_true(ours:ensure("/shared/one/deep", { open = "/shared/one" }))
    assert.same({ "world:anyone:cdrwa" }, (anybody:rights "/shared/one"))
    assert.equal("NOAUTH", select(2, anybody:rights "/shared/one/deep").code)
    local _, err = theirs:multi { { "check", "/open", -1 }, { "set", "/own", "z" } }
    assert.same({ "NOAUTH", 2 }, { err.code, err.index })
  end)

  it("gives its credentials again after a reconnect and after an expiry", function()
    local gate <close> = zookeepers.gate(ensemble[1].port)
    local client <close> = open { servers = gate.address, session = 1, auth = "spark:secret" }
    local other <close> = open()
    local id = client:connected()
    client:create("/auth", "x")
    gate:cut()
    for view in client:changes() do if view.state == "connecting" then break end end
    assert.equal("x", (client:get "/auth"))
    client:create("/auth-ephemeral", "", { ephemeral = true, open = true })
    gate:shut()
    for node in other:watch "/auth-ephemeral" do if node.absent then break end end
    gate:pass()
    assert.is_true((task.within(GENEROUS, function()
      for view in client:changes() do if view.state == "connected" and view.id ~= id then return true end end
    end)))
    assert.equal("x", (client:get "/auth"))
  end)

  it("is given its credentials though the first server refused it", function()
    local gate <close> = zookeepers.gate(ensemble[1].port)
    gate:shut()
    local client <close> = open { servers = gate.address, auth = "spark:secret" }
    task.sleep(0.2)                                          -- any number of refusals
    gate:pass()
    assert.equal("/late", client:create("/late", "mine"))
    local other <close> = open()
    assert.equal("NOAUTH", select(2, other:get "/late").code)
  end)

  it("lives below its chroot", function()
    local whole <close> = open()
    local client <close> = open { servers = ensemble.addresses .. "/deep/root" }
    assert.equal("NONODE", select(2, client:create("/a", "")).code)
    assert.is_true(client:ensure "/a/b")
    assert.is_not_false(whole:exists "/deep/root/a/b")
    assert.equal("/a/s-0000000001", client:create("/a/s-", "", { sequential = true }))
    assert.same({ "a" }, (client:children "/"))
    assert.equal("/m", client:multi { { "check", "/a", 0 }, { "create", "/m", "" } }[2])
    assert.is_true(client:delete "/m")
    assert.is_true(client:sync "/")
    local path = client:create("/a/n-", "", { guid = true, ephemeral = true })
    assert.matches("^/a/_c_", path)
    assert.is_not_false(whole:exists("/deep/root" .. path))
    local watching <close> = client:watch "/a/w"
    assert.is_true(watching().absent)
    whole:create("/deep/root/a/w", "from outside")
    assert.equal("from outside", watching().data)
    client:servers(ensemble.addresses)                       -- a list without one leaves it as it is
    assert.same({ "a" }, (client:children "/"))
    assert.has_error(function() client:servers(ensemble.addresses .. "/other") end)
  end)

  it("takes data up to what a server takes, and refuses more before the server cuts the connection", function()
    local client <close> = open()
    local most = ("x"):rep((1 << 20) - 1024 - #"/big")
    assert.equal("/big", client:create("/big", most))
    assert.equal(most, (client:get "/big"))
    local id = client:connected()
    local _, err = client:set("/big", most .. "x")
    assert.same({ "invalid", "TOOLARGE" }, { err.kind, err.code })
    local half = most:sub(1, #most // 2)
    _, err = client:multi { { "set", "/big", half }, { "set", "/big", half }, { "set", "/big", "more" } }
    assert.equal("TOOLARGE", err.code)
    assert.is_not_nil(client:multi { { "set", "/big", half }, { "set", "/big", half:sub(1, -1000) } })
    client:ensure "/many"
    local group <close> = task.group()
    for i = 1, 2000 do
      group:start(function()
        local path = "/many/" .. ("n"):rep(200) .. i
        repeat
          local made, fault = client:create(path, "")
          if not made then
            assert(fault.code == "QUEUEFULL", tostring(fault))
            assert(fault.kind == "throttled")
            task.sleep(0.01)
          end
        until made
      end)
    end
    assert.is_true((group:wait()))
    assert.equal(2000, #(client:children "/many"))           -- an answer of 400 KB
    assert.equal(id, (client:connected()))
  end)

  it("finds servers by their names, and waits for those that nobody knows", function()
    local client <close> = open { servers = ("localhost:%d"):format(ensemble[1].port) }
    assert.is_true((task.within(GENEROUS, function() return client:connected() and true end)))
    assert.matches("^127%.0%.0%.1:", client:state().server)
    local nobody <close> = open { servers = "no-such-host.invalid:2181", session = 1 }
    local _, err = nobody:get "/"
    assert.equal("CONNECTIONLOSS", err.code)
    nobody:servers(ensemble.addresses)
    assert.is_true((task.within(GENEROUS, function() return nobody:connected() and true end)))
  end)

  it("raises on misuse, at once", function()
    for _, servers in ipairs { "host:port", "a:0", "a:70000", "a b:1", "[::1", "a:1//b" } do
      assert.has_error(function() open { servers = servers } end, nil, servers)
    end
    assert.has_error(function() open { auth = "nobody" } end)
    assert.has_error(function() open { session = 0 } end)
    local client <close> = open()
    assert.has_error(function() client:multi { { "remove", "/x" } } end)
    assert.has_error(function() client:multi { { "create", "/x", "", { guid = true } } } end)
    assert.has_error(function() client:multi { { "create", "/x", "", { container = true } } } end)
    assert.has_error(function() client:create("/x", "", { container = true, ephemeral = true }) end)
  end)
end)
