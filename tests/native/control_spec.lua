-- The control socket and the HTTP client as Lua sees them: server and client are tasks of the same process.
local control = require "appliance.core.control"
local http = require "appliance.core.http"
local task = require "appliance.task"

local LIMIT <const> = 10

describe("the control socket", function()
  local path, server, tasks_before

  before_each(function()
    tasks_before = task.count()
    path = os.tmpname()
    os.remove(path)
  end)

  after_each(function()
    if server then server:close() end
    server = nil
    local deadline = task.now() + LIMIT
    while task.count() > tasks_before and task.now() < deadline do task.sleep(0.001) end
    assert.is_true(task.count() <= tasks_before, "a task is left behind")
    assert.is_nil(io.open(path), "the socket is left behind")
    os.remove(path .. ".lock")
  end)

  local function serve(handler) server = assert(control.serve(path, handler)) end
  local function get(target, more)
    local call = { unix = path, path = target, timeout = LIMIT }
    for key, value in pairs(more or {}) do call[key] = value end
    return assert(http.request(call))
  end

  it("hands a request over with all its parts", function()
    local seen
    serve(function(request)
      seen = { method = request.method, path = request.path, query = request.query, body = request.body }
      return 201, "made\n", "text/x-test"
    end)
    local answer = get("/a%20b/c?x=1&y=%41+%26&z", { method = "POST", body = "hello\0there" })
    assert.same({ status = 201, body = "made\n" }, answer)
    assert.same({ method = "POST", path = "/a%20b/c", query = { x = "1", y = "A &", z = "" }, body = "hello\0there" }, seen)
  end)

  it("answers HEAD like GET, without the body", function()
    serve(function(request) return 200, request.method end)
    assert.same({ status = 200, body = "" }, get("/", { method = "HEAD" }))
  end)

  it("serves many at the same time, each in a task that may wait", function()
    local inside, most = 0, 0
    serve(function(request)
      inside = inside + 1
      most = math.max(most, inside)
      task.sleep(0.05)
      inside = inside - 1
      return 200, request.path
    end)
    local group <close> = task.group()
    for i = 1, 20 do
      group:start(function() assert.equal("/" .. i, get("/" .. i).body) end)
    end
    assert.is_true(group:wait())
    assert.is_true(most > 10)
  end)

  it("answers 500 when the handler fails, and goes on", function()
    serve(function(request)
      if request.path == "/error" then error "broken" end
      if request.path == "/nil" then return nil, "the disk is full" end
      if request.path == "/odd" then return "not a status" end
      return 200, "fine"
    end)
    local answer = get "/error"
    assert.equal(500, answer.status)
    assert.truthy(answer.body:find("log of the node", 1, true))
    assert.same({ status = 500, body = "the disk is full" }, get "/nil")
    assert.equal(500, get("/odd").status)
    assert.equal("fine", get("/").body)
  end)

  it("streams as long as the handler runs", function()
    serve(function(request)
      local stream = assert(request:stream(200, "text/plain"))
      for i = 1, 3 do
        stream:send("line " .. i .. "\n")
        task.sleep(0.01)
      end
    end)
    local stream <close> = assert(http.open { unix = path, path = "/" })
    assert.equal(200, stream.status)
    local text = ""
    for chunk in function() return stream:read() end do text = text .. chunk end
    assert.equal("line 1\nline 2\nline 3\n", text)
    assert.is_nil(stream:read())
  end)

  it("does not let a failed stream look complete", function()
    serve(function(request)
      request:stream(200)
      request:send "half"
      error "broken"
    end)
    local stream <close> = assert(http.open { unix = path, path = "/" })
    assert.equal("half", stream:read())
    local text, err = stream:read()
    assert.is_nil(text)
    assert.equal("protocol", err.kind)
  end)

  it("frees a quiet follower at once when its client leaves", function()
    local freed = task.queue()
    local begun = task.queue()
    serve(function(request)
      local _guard <close> = setmetatable({}, { __close = function() freed:put(task.now()) end }) -- luacheck: ignore
      request:stream(200)
      begun:put(true)
      task.sleep(1000)                                       -- nothing to send, and nothing that would find out
    end)
    local stream = assert(http.open { unix = path, path = "/logs" })
    begun:get()
    local left = task.now()
    stream:close()
    local at = assert(task.within(LIMIT, function() return freed:get() end))
    assert.is_true(at - left < 1)
    assert.equal(0, server:clients())
  end)

  it("cancels the handler of a client that leaves before its answer", function()
    local freed, begun = task.queue(), task.queue()
    serve(function()
      local _guard <close> = setmetatable({}, { __close = function() freed:put(true) end }) -- luacheck: ignore
      begun:put(true)
      task.sleep(1000)
    end)
    local client = task.start(function() get "/" end)
    begun:get()
    client:cancel()
    assert.is_true(task.within(LIMIT, function() return freed:get() end))
  end)

  it("makes the sender wait for a slow reader, and loses nothing", function()
    local piece = ("0123456789abcdef"):rep(4096)             -- 64 KiB
    local sent = 0
    serve(function(request)
      request:stream(200)
      for _ = 1, 40 do
        assert(request:send(piece))
        sent = sent + 1
      end
    end)
    local stream <close> = assert(http.open { unix = path, path = "/" })
    task.sleep(0.1)
    assert.is_true(sent < 20, "the sender should have been held up")
    local length = 0
    for chunk in function() return stream:read() end do length = length + #chunk end
    assert.equal(40 * #piece, length)
    assert.equal(40, sent)
  end)

  it("keeps followers from crowding everybody else out", function()
    serve(function(request)
      if request.path == "/health" then return 200, "fine" end
      if not request:stream(200) then return end
      task.sleep(1000)
    end)
    local streams = {}
    for i = 1, 48 do streams[i] = assert(http.open { unix = path, path = "/" }) end
    assert.equal(503, get("/").status)
    assert.same({ status = 200, body = "fine" }, get "/health")
    for _, stream in ipairs(streams) do stream:close() end
  end)

  it("refuses a second server on the same path, and says whose it is", function()
    serve(function() return 200 end)
    local second, err = control.serve(path, function() end)
    assert.is_nil(second)
    assert.equal("conflict", err.kind)
    assert.matches("another spark%-appliance %(pid %d+%) already runs here: STATE_DIR=/tmp", tostring(err))
    assert.equal(200, get("/").status)
  end)

  it("raises on misuse", function()
    local problem
    serve(function(request)
      local _, err = pcall(request.send, request, "early")
      problem = err
      return 200, "", "text/plain\r\nEvil: yes"
    end)
    assert.equal(500, get("/").status)
    assert.matches("stream%(%) comes before", problem)
    assert.has_error(function() control.serve(path) end)
  end)

  it("ends everything with close", function()
    local freed = 0
    serve(function(request)
      local _guard <close> = setmetatable({}, { __close = function() freed = freed + 1 end }) -- luacheck: ignore
      request:stream(200)
      task.sleep(1000)
    end)
    local streams = {}
    for i = 1, 3 do streams[i] = assert(http.open { unix = path, path = "/" }) end
    server:close()
    for _, stream in ipairs(streams) do
      local text, err = stream:read()
      assert.is_nil(text)
      assert.equal("protocol", err.kind)
      stream:close()
    end
    assert.equal(3, freed)
  end)

  it("costs no memory that stays, however often it is asked", function()
    serve(function() return 200, "fine\n" end)
    for _ = 1, 50 do get "/" end
    collectgarbage()
    local before = collectgarbage "count"
    for _ = 1, 2000 do get "/" end
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 8, "the heap grew")
  end)
end)

describe("the HTTP client", function()
  it("tells what is wrong", function()
    local answer, err = http.request { unix = "/nonexistent/control.sock" }
    assert.is_nil(answer)
    assert.equal("missing", err.kind)
    answer, err = http.request { host = "localhost", port = 80 }
    assert.is_nil(answer)
    assert.matches("numeric address", tostring(err))
    answer, err = http.request { host = "127.0.0.1", port = 1, path = "/x" }
    assert.is_nil(answer)
    assert.equal("refused", err.kind)
    assert.matches("http://127.0.0.1:1/x", tostring(err))
    answer, err = http.request { host = "::1", port = 80, path = "no slash" }
    assert.is_nil(answer)
    assert.equal("invalid", err.kind)
  end)

  it("raises on misuse", function()
    assert.has_error(function() http.request {} end)
    assert.has_error(function() http.request { unix = "/x", host = "127.0.0.1" } end)
    assert.has_error(function() http.request { unix = "/x", timeout = "soon" } end)
    assert.has_error(function() http.request "/x" end)
  end)

  it("gives up in time, and closes when its task is cancelled", function()
    local path = os.tmpname()
    os.remove(path)
    local server = assert(control.serve(path, function() task.sleep(1000) end))
    local _, err = http.request { unix = path, path = "/", timeout = 0.05 }
    assert.equal("timeout", err.kind)
    _, err = task.within(0.05, function() return http.open { unix = path, path = "/" } end)
    assert.equal("timeout", err.kind)
    local deadline = task.now() + LIMIT
    while server:clients() > 0 and task.now() < deadline do task.sleep(0.001) end
    assert.equal(0, server:clients())
    server:close()
    os.remove(path .. ".lock")
  end)
end)

describe("a server for whoever reaches it", function()
  it("answers what only reads, and nothing else", function()
    local methods = {}
    local server <close> = assert(control.serve({ address = "0.0.0.0", port = 0, name = "health" }, function(request)
      methods[#methods + 1] = request.method
      return 503, "waits for a lease\n"
    end))
    local function ask(method)
      return assert(http.request { host = "127.0.0.1", port = server:port(), path = "/readyz", method = method, timeout = LIMIT })
    end
    assert.same({ status = 503, body = "waits for a lease\n" }, ask "GET")
    assert.same({ status = 503, body = "" }, ask "HEAD")
    assert.same({ status = 405, body = "here one may only read: GET and HEAD\n" }, ask "POST")
    assert.same({ "GET", "GET" }, methods)
  end)

  it("says which address it can't have", function()
    local server, err = control.serve({ address = "nowhere", port = 0 }, function() end)
    assert.is_nil(server)
    assert.same("invalid", err.kind)
    assert.matches("'nowhere': it must be an IP address", err.text)
  end)
end)
