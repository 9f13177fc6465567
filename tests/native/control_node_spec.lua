-- What a node answers on its control socket, with real services under the real supervisor.
local control = require "appliance.control"
local http = require "appliance.core.http"
local json = require "appliance.json"
local supervise = require "appliance.core.supervise"
local task = require "appliance.task"

local LIMIT <const> = 20

describe("a node's control socket", function()
  local node, server, declared

  local function get(path, more)
    local call = { unix = node.state_dir .. "/control.sock", path = path, timeout = LIMIT }
    for key, value in pairs(more or {}) do call[key] = value end
    return assert(http.request(call))
  end

  local function post(path, body) return get(path, { method = "POST", body = body }) end
  local function open(path, method)
    return assert(http.open { unix = node.state_dir .. "/control.sock", method = method or "GET", path = path })
  end
  local function sentence(answer) return answer.status, answer.body end

  local function await(what, condition)
    local deadline = task.now() + LIMIT
    while not condition() do
      if task.now() > deadline then error("did not come: " .. what) end
      task.sleep(0.005)
    end
  end

  local function service(name, script, more)
    local spec = { name = name, command = { "/bin/sh", "-c", script }, env = { PATH = os.getenv "PATH" }, backoff = { min = 30, max = 60 },
                   log = { console = false }, stop = { grace = 5 } }
    for key, value in pairs(more or {}) do spec[key] = value end
    local role = spec.role
    spec.role = nil
    assert(supervise.declare(spec))
    spec.role = role
    declared[#declared + 1] = name
    node.plan = node.plan or { profile = "test", files = {}, services = {}, notes = {} }
    table.insert(node.plan.services, spec)
    assert(supervise.want(name, true))
    return spec
  end

  local function state(name) return (supervise.view(name) or {}).state end

  before_each(function()
    declared = {}
    node = { state_dir = os.tmpname() }
    os.remove(node.state_dir)
    assert(os.execute("mkdir " .. node.state_dir))
    server = assert(control.serve(node))
  end)

  after_each(function()
    server:close()
    for _, name in ipairs(declared) do
      if supervise.view(name) then supervise.remove(name) end
    end
    await("all services gone", function() return #supervise.list() == 0 end)
    os.execute("rm -r " .. node.state_dir)
  end)

  it("lists its pages, and knows what is no page and no method", function()
    local status, text = sentence(get "/")
    assert.equal(200, status)
    assert.matches("GET  /status", text)
    assert.same({ 404, "/nope: there is no such page; GET / lists them\n" }, { sentence(get "/nope") })
    assert.same({ 405, "POST /status: the method must be GET\n" }, { sentence(post "/status") })
    assert.equal(405, post("/health").status)
    assert.equal(405, get("/plan", { method = "DELETE" }).status)
    assert.equal(404, get("/status/x").status)
  end)

  it("says that it is starting until there is a plan", function()
    assert.same({ 503, "the node is starting: it has no plan yet\n" }, { sentence(get "/health") })
    node.state = "waits for facts: masters"
    assert.same({ 503, "the node is starting: waits for facts: masters\n" }, { sentence(get "/health") })
    assert.equal(503, get("/plan").status)
    local shown = json.decode(get("/status").body)
    assert.equal("waits for facts: masters", shown.state)
    assert.same({}, shown.services)
  end)

  it("is well when what is critical is up, and says what is not", function()
    service("master", "echo ready; exec sleep 1000", { role = "spark.master", ready = { kind = "line", has = "ready" } })
    service("extra", "exit 3", { critical = false, role = "spark.worker" })
    await("extra fails", function() return state "extra" == "backoff" end)
    await("master is up", function() return state "master" == "up" end)
    assert.same({ 200, "master is up\n" }, { sentence(get "/health") })
    assert.same({ 200, "master is up\n" }, { sentence(get "/health/master") })
    assert.same({ 200, "master is up\n" }, { sentence(get "/health/spark.master") })
    local status, text = sentence(get "/health/worker")
    assert.equal(503, status)
    assert.matches("^extra is backoff: exited with 3", text)
    status, text = sentence(get "/health/mastre")
    assert.equal(404, status)
    assert.equal('no role or service is called "mastre", did you mean "master"?; known: extra, master, spark.master, spark.worker\n', text)
    assert.same({ 404, "no thriftserver runs here\n" }, { sentence(get "/health/thriftserver") })
    supervise.want("master", false)
    await("master is down", function() return state "master" == "down" end)
    assert.equal(503, get("/health").status)
  end)

  it("tells who follows its health when that changes, and nothing else", function()
    local stream <close> = open("/health?follow=1")
    local lines = require "appliance.client".lines(stream)
    assert.equal("503 the node is starting: it has no plan yet", lines())
    service("other", "exec sleep 1000", { critical = false })
    service("master", "exec sleep 1000")
    await("both are up", function() return state "master" == "up" and state "other" == "up" end)
    local line
    repeat line = lines() until line == "200 master is up"
    supervise.want("other", false)
    await("other is down", function() return state "other" == "down" end)
    supervise.want("master", false)
    repeat
      line = lines()
      assert.matches("^503 master is ", line)
    until line:find "^503 master is down"
    assert.equal(404, get("/health/x").status)
    assert.matches("^404 no role or service is called \"x\"", require "appliance.client".lines(open "/health/x?follow=1")())
  end)

  it("tells a follower of a plan that is in force after its services are up", function()
    local stream <close> = open("/health?follow=1")
    local lines = require "appliance.client".lines(stream)
    assert.equal("503 the node is starting: it has no plan yet", lines())
    node.plan = { profile = "test", files = {}, services = {}, notes = {} }
    require "appliance.control.changes".tell()
    assert.equal("200 nothing here is critical", lines())
  end)

  it("shows each service as it is", function()
    service("fine", "exec sleep 1000", { role = "spark.master" })
    service("ill", "echo last words; exit 7")
    node.plan.urls = { { name = "UI", url = "http://127.0.0.1:8080/" } }
    await("ill fails", function() return state "ill" == "backoff" end)
    local shown = json.decode(get("/status").body)
    assert.equal("running", shown.state)
    assert.equal("test", shown.profile)
    assert.same(node.plan.urls, shown.urls)
    assert.equal(2, #shown.services)
    local fine, ill = shown.services[1], shown.services[2]
    if fine.name ~= "fine" then fine, ill = ill, fine end
    assert.equal("up", fine.state)
    assert.equal("spark.master", fine.role)
    assert.is_true(fine.pid > 1 and fine.memory > 0 and fine.uptime >= 0 and fine.restarts == 0)
    assert.is_nil(fine.output)
    assert.equal("backoff", ill.state)
    assert.matches("exited with 7", ill.reason)
    assert.is_true(ill.retry_in > 20)
    assert.is_nil(ill.pid)
    assert.equal("last words\n", ill.output)
    assert.same(ill.name, json.decode(get("/services/ill").body).name)
    assert.equal(404, get("/services/il").status)
  end)

  it("says what a one-shot, a master with the records of another, and a stopped process do", function()
    local function shown(name) return json.decode(get("/services/" .. name).body) end
    service("step", "exec sleep 1000", { oneshot = true })
    assert.same({ "starting", "running" }, { shown "step".state, shown "step".doing })

    local go = node.state_dir .. "/go"
    assert(os.execute(("mkfifo %s1 %s2"):format(go, go)))
    local script = ("echo 'New state: RECOVERING'; echo Starting Spark master at spark://a:1; read x <GO1; echo 'New state: RECOVERING'; "
      .. "read x <GO2; echo New state: ALIVE; exec sleep 1000"):gsub("GO", go)
    service("master", script, { role = "spark.master", ready = { kind = "line", has = "never said" } })
    local function says(text) return function() return supervise.tail("master"):find(text .. "\n$") end end
    local function let_go(which)
      local pipe <close> = assert(io.open(go .. which, "w"))
      pipe:write "\n"
    end
    await("its start", says "spark://a:1")
    assert.same({ "starting", nil }, { shown "master".state, shown "master".doing }, "an earlier run's words do not count")
    let_go(1)
    await("its recovery", says "RECOVERING")
    assert.same({ "starting", "recovering" }, { shown "master".state, shown "master".doing })
    let_go(2)
    await("its end", says "ALIVE")
    assert.is_nil(shown "master".doing)

    service("still", "exec sleep 1000")
    local pid = supervise.view "still".pid
    os.execute("kill -STOP " .. pid)
    await("it stands still", function() return shown "still".doing == "stopped" end)
    assert.same({ "up", ("stopped by a signal (SIGSTOP); kill -CONT %d"):format(pid) }, { shown "still".state, shown "still".reason })
    os.execute("kill -CONT " .. pid)
    await("it goes on", function() return shown "still".doing == nil end)
    assert.is_nil(shown "still".reason)
  end)

  it("pushes each change to who watches", function()
    service("a", "exec sleep 1000")
    await("a is up", function() return state "a" == "up" end)
    local stream <close> = open("/status?follow=1")
    local lines = require "appliance.client".lines(stream)
    assert.equal("up", json.decode(lines()).services[1].state)
    supervise.want("a", false)
    local seen
    repeat seen = json.decode(lines()).services[1].state until seen == "down"
  end)

  it("restarts, and tells each step until it is settled", function()
    service("a", "exec sleep 1000")
    await("a is up", function() return state "a" == "up" end)
    local pid = supervise.view("a").pid
    local stream <close> = open("/services/a/restart?follow=1", "POST")
    local states, last = {}, nil
    for line in require "appliance.client".lines(stream) do
      last = json.decode(line)
      states[#states + 1] = last.state
    end
    assert.equal("up", last.state)
    assert.is_true(last.settled)
    assert.is_true(last.pid ~= pid)
    assert.equal("stopping", states[1])
  end)

  it("tells that a start failed", function()
    service("a", "exec sleep 1000")
    service("bad", "sleep 0.05; exit 9", { ready = { kind = "line", has = "never said" } })
    await("bad fails", function() return state "bad" == "backoff" end)
    local answer = post "/services/bad/restart?follow=1"
    local last
    for line in answer.body:gmatch "[^\n]+" do last = json.decode(line) end
    assert.is_false(last.settled)
    assert.matches("exited with 9", last.reason)
  end)

  it("stops and starts", function()
    service("a", "exec sleep 1000")
    await("a is up", function() return state "a" == "up" end)
    local last
    for line in post("/services/a/stop?follow=1").body:gmatch "[^\n]+" do last = json.decode(line) end
    assert.equal("down", last.state)
    assert.is_true(last.settled)
    assert.equal(202, post("/services/a/start").status)
    await("a is up again", function() return state "a" == "up" end)
    for line in post("/services/a/start?follow=1").body:gmatch "[^\n]+" do last = json.decode(line) end
    assert.is_true(last.settled, "what runs already is started")
    local status, text = sentence(post "/services/a/restrat")
    assert.equal(404, status)
    assert.equal('no action is called "restrat", did you mean "restart"?; known: restart, start, stop\n', text)
    assert.same({ 404, 'no service is called "b"; known: a\n' }, { sentence(post "/services/b/restart") })
    assert.equal(405, get("/services/a/restart").status)
  end)

  it("shows the last lines, and the next as they come", function()
    assert(os.execute("mkfifo " .. node.state_dir .. "/go"))
    service("a", "echo one; echo two; read x < " .. node.state_dir .. "/go; echo three; exec sleep 1000")
    await("a has spoken", function() return supervise.tail("a", 100) == "one\ntwo\n" end)
    assert.equal("one\ntwo\n", get("/logs/a").body)
    assert.equal("two\n", get("/logs/a?bytes=5").body)
    assert.equal("", get("/logs/a?bytes=0").body)
    assert.equal(400, get("/logs/a?bytes=many").status)
    assert.equal(404, get("/logs/nope").status)
    assert.equal(404, get("/logs").status)
    local stream <close> = open("/logs/a?follow=1&bytes=5")
    assert.equal("two\n", stream:read())
    local go = assert(io.open(node.state_dir .. "/go", "w"))
    go:write "\n"
    go:close()
    assert.equal("three\n", stream:read())
  end)

  it("frees a quiet follower of a log at once when it leaves", function()
    service("quiet", "exec sleep 1000")
    await("it is up", function() return state "quiet" == "up" end)
    local before = task.count()
    local stream = open("/logs/quiet?follow=1")
    assert.equal(before + 1, task.count())
    assert.equal(1, server:clients())
    local left = task.now()
    stream:close()
    await("the follower is freed", function() return task.count() == before and server:clients() == 0 end)
    assert.is_true(task.now() - left < 1)
  end)

  it("shows the plan without its secrets, and compares another with it", function()
    local function file(value, password)
      return { format = "properties", mode = 420, text = "x", keys = {
        ["spark.executor.memory"] = { value = value, origin = "EXECUTOR_MEMORY (environment)",
                                      shadowed = { { value = "1g", origin = "default" } } },
        ["spark.my.password"] = { value = password, origin = "mounted file", secret = true },
      } }
    end
    node.plan = { profile = "test", notes = {}, services = {}, files = { ["spark-defaults.conf"] = file("2g", "hunter2") } }
    local answer = get "/plan"
    assert.equal(200, answer.status)
    assert.is_nil(answer.body:find("hunter2", 1, true))
    assert.equal("2g", json.decode(answer.body).files["spark-defaults.conf"].keys["spark.executor.memory"].value)

    local same = post("/plan/diff", json.encode(node.plan))
    assert.same({ status = 200, body = '{"files":[],"services":[]}\n' }, same)
    local other = { profile = "test", notes = {}, services = {}, files = { ["spark-defaults.conf"] = file("4g", "hunter3") } }
    local difference = post("/plan/diff", json.encode(other))
    assert.equal(200, difference.status)
    assert.is_nil(difference.body:find("hunter", 1, true))
    assert.equal(2, #json.decode(difference.body).files)
    assert.equal(400, post("/plan/diff", "{").status)
    assert.equal(400, post("/plan/diff", "[1]").status)
    for _, odd in ipairs { '{"files":{"a":1},"services":[1,2]}', '{"files":[1],"services":{"a":"b"}}', '{"files":{},"services":[{}]}',
                           '{"files":{"spark-defaults.conf":{"keys":{"k":5}}},"services":[]}' } do
      assert.equal(400, post("/plan/diff", odd).status)
    end
    assert.matches('"notes":%[%],.*"services":%[%]', answer.body)
    assert.equal(405, get("/plan/diff").status)
  end)
end)
