-- The relay as Lua sees it: servers, clients and the relay are tasks of one process. Its rules are tested in test_relay*.c.
local control = require "appliance.core.control"
local http = require "appliance.core.http"
local relay = require "appliance.native.relay"
local task = require "appliance.task"

local LIMIT <const> = 10

describe("the relay", function()
  local servers, tasks_before

  before_each(function()
    tasks_before = task.count()
    servers = {}
  end)

  after_each(function()
    for _, server in ipairs(servers) do server:close() end
    local deadline = task.now() + LIMIT
    while task.count() > tasks_before and task.now() < deadline do task.sleep(0.001) end
    assert.is_true(task.count() <= tasks_before, "a task is left behind")
  end)

  --- An HTTP server that answers with `word`; returns its address.
  local function server_saying(word)
    local server = assert(control.serve({ port = 0 }, function() return 200, word end))
    servers[#servers + 1] = server
    return "127.0.0.1:" .. server:port()
  end

  local function ask(r)
    local answer, err = http.request { host = "127.0.0.1", port = r:port(), path = "/", timeout = LIMIT }
    return answer and answer.body, err
  end

  it("leads to its target, and to another when it is told to", function()
    local r <close> = assert(relay.open { bind = "127.0.0.1", name = "test" })
    assert.is_true(r:target { server_saying "one" })
    assert.same("one", ask(r))
    assert.is_true(r:target { server_saying "two", "127.0.0.1:1" })
    assert.same("two", ask(r))
    assert.same(2, r:counts().served)
  end)

  it("lets a connection wait until there is a target", function()
    local r <close> = assert(relay.open { bind = "127.0.0.1", hold = LIMIT })
    local asked = task.start(function() return ask(r) end)
    while r:counts().held == 0 do task.sleep(0.001) end
    r:target { server_saying "at last" }
    assert.same({ true, "at last" }, { asked:join() })
    assert.same(0, r:counts().held)
  end)

  it("closes who has waited long enough", function()
    local r <close> = assert(relay.open { bind = "127.0.0.1", hold = 0.05 })
    local answer, err = ask(r)
    assert.is_nil(answer)
    assert.is_not_nil(err)
    assert.same({ established = 0, held = 0, served = 0, refused = 0, expired = 1, cut = 0 }, r:counts())
  end)

  it("says in words why it can't listen, and what is no target", function()
    local r <close> = assert(relay.open { bind = "127.0.0.1", name = "sql" })
    local second, err = relay.open { bind = "127.0.0.1", port = r:port(), name = "sql" }
    assert.is_nil(second)
    assert.same("conflict", err.kind)
    assert.matches("^sql: can't listen on 127%.0%.0%.1:%d+: somebody listens there already", err.text)
    local done
    done, err = r:target { "somewhere:10000" }
    assert.is_nil(done)
    assert.same("invalid", err.kind)
    assert.matches("'somewhere:10000' is no address", err.text)
    local many = {}
    for i = 1, 65 do many[i] = "127.0.0.1:" .. i end
    done, err = r:target(many)
    assert.is_nil(done)
    assert.matches("at most 64", err.text)
  end)

  it("raises on misuse", function()
    assert.has_error(function() relay.open() end)
    assert.has_error(function() relay.open { port = 65536 } end)
    assert.has_error(function() relay.open { most = 0 } end)
    assert.has_error(function() relay.open { connect = 0 } end)
    assert.has_error(function() relay.open { keep = "yes" } end)
    local r = assert(relay.open { bind = "127.0.0.1" })
    assert.has_error(function() r:target { 5 } end)
    assert.has_error(function() r:target "127.0.0.1:1" end)
    r:close()
    r:close()
    assert.has_error(function() r:counts() end)
    assert.has_error(function() r:target {} end)
  end)

  it("gives its port back when it is closed, or forgotten", function()
    local r = assert(relay.open { bind = "127.0.0.1" })
    local port = r:port()
    r:close()
    r = assert(relay.open { bind = "127.0.0.1", port = port })
    assert.same(port, r:port())
    r = nil -- luacheck: ignore
    collectgarbage()
    assert(relay.open { bind = "127.0.0.1", port = port }):close()
  end)
end)
