--- cluster.masters() against pages and ports that answer late, wrongly or not at all.
local file_server = require "file_server"
local task = require "appliance.task"

describe("cluster.masters", function()
  local pages

  setup(function() pages = file_server.start() end)
  teardown(function() pages:__close() end)
  before_each(function()
    package.loaded["appliance.cluster.elsewhere"] = nil        -- it remembers who has answered
  end)

  --- Ports that nobody listens on.
  local function silent(count)
    local pipe = io.popen(("exec python3 -IS -c 'import socket\nall = [socket.socket() for _ in range(%d)]\n"
      .. "for s in all: s.bind((\"127.0.0.1\", 0))\nprint(*[s.getsockname()[1] for s in all])'"):format(count))
    local ports = {}
    for port in pipe:read("a"):gmatch "%d+" do ports[#ports + 1] = tonumber(port) end
    pipe:close()
    return table.unpack(ports)
  end

  local function says(port, status)
    pages:put("/json/", ('{ "url" : "spark://elsewhere:%d", "workers" : [ ], "status" : "%s" }'):format(port, status))
  end

  local function follow(env)
    local all = { MASTER_PORT = 7077, MASTER_UI_PORT = tonumber(pages.port), WORKER_UI_PORT = 1, START_WORKER = false }
    for name, value in pairs(env) do all[name] = value end
    local values = task.queue()
    local running = task.start("masters", function()
      return require("appliance.cluster.elsewhere").source().start(function(value) values:put(value) end, all)
    end)
    return setmetatable({ next = function(_, seconds) return (task.within(seconds or 30, values.get, values)) end,
      running = running }, { __close = function() running:cancel() end })
  end

  it("has a master that leads at the first look", function()
    local port = silent(1)
    says(port, "ALIVE")
    for _, host in ipairs { "127.0.0.1", "localhost" } do
      local uri = ("spark://%s:%d"):format(host, port)
      local followed <close> = follow { MASTER_URI = uri }
      assert.same({ uri = uri, masters = { uri:sub(9) }, answers = true, from = "setting" }, followed:next())
    end
  end)

  it("waits for one that stands by, recovers, or is not there", function()
    local port, other = silent(2)
    for _, status in ipairs { "STANDBY", "RECOVERING" } do
      says(port, status)
      package.loaded["appliance.cluster.elsewhere"] = nil
      local followed <close> = follow { MASTER_URI = ("spark://127.0.0.1:%d,127.0.0.1:%d"):format(other, port) }
      assert.is_false(followed:next().answers)
      assert.is_nil(followed:next(0.3))
      says(port, "ALIVE")
      assert.is_true(followed:next().answers)
    end
  end)

  it("takes a page for what it is: not another master's, nor anything else", function()
    local port, other = silent(2)
    says(other, "ALIVE")
    local followed <close> = follow { MASTER_URI = "spark://127.0.0.1:" .. port }
    assert.is_false(followed:next().answers)
    pages:put("/json/", "<html>ALIVE</html>")
    assert.is_nil(followed:next(0.3))
    says(port, "ALIVE")
    assert.is_true(followed:next().answers)
  end)

  it("goes by the port where there is no page", function()
    local port, ui = silent(2)
    local followed <close> = follow { MASTER_URI = "spark://127.0.0.1:" .. port, MASTER_UI_PORT = ui }
    assert.is_false(followed:next().answers)
    local pipe <close> = assert(io.popen(("exec python3 -IS -u -c 'import socket; s = socket.socket(); "
      .. "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((\"127.0.0.1\", %d)); s.listen(); print(1); "
      .. "s.accept()'"):format(port), "r"))
    assert.equal("1", pipe:read "l")
    assert.is_true(followed:next().answers)
  end)

  it("is not held up by a name that nobody knows", function()
    local port = silent(1)
    says(port, "ALIVE")
    local began = task.now()
    local followed <close> = follow { MASTER_URI = ("spark://nobody.invalid:7077,127.0.0.1:%d"):format(port) }
    assert.is_true(followed:next().answers)
    assert.is_true(task.now() - began < 10)
  end)

  it("does not forget at a SIGHUP that the master, away just now, had answered", function()
    local port = silent(1)
    says(port, "ALIVE")
    local env = { MASTER_URI = "spark://127.0.0.1:" .. port }
    do
      local followed <close> = follow(env)
      assert.is_true(followed:next().answers)
      followed.running:join(0.2)
    end
    says(port, "STANDBY")
    local followed <close> = follow(env)
    assert.is_true(followed:next().answers)
    local another <close> = follow { MASTER_URI = "spark://127.0.0.1:" .. port .. ",127.0.0.1:1" }
    assert.is_false(another:next().answers)
  end)

  it("is this node's own where none is named, and waits for it only where another container has it", function()
    local port = silent(1)
    local own <close> = follow { START_MASTER = true, MASTER_PORT = port, BIND_ADDRESS = "127.0.0.1" }
    assert.same({ uri = "spark://127.0.0.1:" .. port, masters = { "127.0.0.1:" .. port }, answers = true, from = "own" }, own:next())
    local beside <close> = follow { START_WORKER = true, MASTER_PORT = port, BIND_ADDRESS = "127.0.0.1" }
    assert.is_false(beside:next().answers)
  end)
end)
