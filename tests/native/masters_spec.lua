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

  describe("that answer no more", function()
    local control = require "appliance.control"
    local silence = require "appliance.cluster.silence"

    local up = { name = "worker", state = "up", critical = true, crashes = 0, restarts = 0 }
    local node = { plan = { services = { { name = "worker", role = "spark.worker" } } },
      supervise = { view = function() return up end, list = function() return { up } end, tail = function() return "" end } }

    local function watch(port, options)
      local inbox = task.queue()
      local all = { inbox = inbox, env = { MASTER_UI_PORT = tonumber(pages.port) }, doubt = 0.05,
        uri = function() return "spark://127.0.0.1:" .. port end, masters = function() return { { host = "127.0.0.1", port = port } } end }
      for name, value in pairs(options or {}) do all[name] = value end
      local running = task.start("silence", silence.run, all)
      return setmetatable({ inbox = inbox }, { __close = function() running:cancel() end })
    end

    local function wait_until(what)
      assert.is_true((task.within(30, function()
        while not what() do task.sleep(0.02) end
        return true
      end)))
    end

    it("are told of while none does, and what runs is well all the same", function()
      local port = silent(1)
      says(port, "ALIVE")
      local watching <close> = watch(port)
      watching.inbox:put "lost"                                -- a worker that lost its connection for a moment
      wait_until(function() return watching.inbox:length() == 0 end)
      assert.is_nil(silence.sentence())
      says(port, "STANDBY")
      watching.inbox:put "lost"
      wait_until(silence.sentence)
      assert.matches("^no master has answered at spark://127.0.0.1:" .. port .. " for %d+ s$", silence.sentence())
      for _, role in ipairs { false, "worker" } do
        local status, sentence = control.health(node, role or nil)
        assert.equal(200, status)
        assert.matches("worker is up; no master has answered at spark://", sentence)
      end
      local shown = require("appliance.control.status").service(node, up, node.plan.services[1])
      assert.matches("^no master has answered", shown.reason)
      says(port, "ALIVE")
      wait_until(function() return not silence.sentence() end)
      assert.equal("worker is up\n", select(2, control.health(node)))
    end)

    it("are missed without a word of the worker's, when their host takes no connection any more", function()
      local gone = file_server.start()
      local port = silent(1)
      gone:put("/json/", ('{ "url" : "spark://elsewhere:%d", "status" : "ALIVE" }'):format(port))
      local watching <close> = watch(port, { env = { MASTER_UI_PORT = tonumber(gone.port) }, knock = 0.05 })
      task.within(0.5, function() wait_until(silence.sentence) end)          -- it knocks, and somebody is there
      assert.is_nil(silence.sentence())
      gone:__close()
      wait_until(silence.sentence)
      assert.is_table(watching)
    end)

    it("are still missed after a SIGHUP, and by nobody once the fact is followed no more", function()
      local port = silent(1)
      says(port, "STANDBY")
      do
        local before <close> = watch(port)
        before.inbox:put "lost"
        wait_until(silence.sentence)
        local after <close> = watch(port) -- luacheck: ignore
        task.yield()
        assert.is_string(silence.sentence())
      end
      assert.is_nil(silence.sentence())
    end)
  end)
end)
