-- appliance.core.supervise with real processes.
local file = require "appliance.core.file"
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local LIMIT <const> = 20

describe("appliance.core.supervise", function()
  local services = require "declared".new { limit = LIMIT, backoff = { min = 0.01, max = 0.05 } }
  local await, service, state = services.await, services.declare, services.state

  local function run(name, script, more)
    service(name, script, more)
    assert(supervise.want(name, true))
  end

  local function await_state(name, wanted) await(name .. " " .. wanted, function() return state(name) == wanted end) end
  local alive = require "declared".is_alive

  setup(function() require("appliance.core.log").level "error" end)
  teardown(function() require("appliance.core.log").level "info" end)
  after_each(services.clear)

  it("runs a command with exactly its environment and shows what it prints", function()
    run("sv-a", "echo $GREETING $HOME. $PWD; exec sleep 600",
      { env = { GREETING = "hello", PATH = os.getenv "PATH" }, dir = "/" })
    local before = task.now()
    await("output", function() return supervise.tail "sv-a" ~= "" end)
    assert.equal("hello . /\n", supervise.tail "sv-a")
    local view = supervise.view "sv-a"
    assert.equal("up", view.state)
    assert.is_true(view.wanted)
    assert.is_true(alive(view.pid))
    assert.is_true(view.started > before - LIMIT and view.started <= task.now())
    assert.same({ 1, 10 }, { supervise.counts("sv-a").lines, supervise.counts("sv-a").bytes })
  end)

  it("restarts what dies", function()
    run("sv-a", "exec sleep 600", { backoff = { healthy = 0 } })
    local first = supervise.view "sv-a".pid
    os.execute("kill -9 " .. first)
    await("the restart", function() return supervise.view "sv-a".pid ~= first and state "sv-a" == "up" end)
    local view = supervise.view "sv-a"
    assert.same({ 1, 1, "killed by SIGKILL", 9 }, { view.restarts, view.crashes, view.last_end, view.last_signal })
    assert.is_false(alive(first))
  end)

  it("leaves nobody of a family behind", function()
    local mark <const> = "7" .. require "appliance.core.host".pid() -- so that nobody else's are counted
    local script <const> = ("sleep M1 & setsid sleep M2 & (setsid sh -c 'sleep M3 & exec sleep M4' &); wait"):gsub("M", mark)
    run("sv-family", script)
    local function members()
      local count = 0
      for _, pid in ipairs(assert(file.list "/proc")) do
        local command = pid:find "^%d" and file.read("/proc/" .. pid .. "/cmdline") or ""
        if command:find("^sleep%z" .. mark .. "[1-4]%z$") then count = count + 1 end
      end
      return count
    end
    await("all four", function() return members() == 4 end)
    assert(supervise.want("sv-family", false))
    await_state("sv-family", "down")
    assert.equal(0, members())
  end)

  it("starts a service when a step before it has exited with 0", function()
    service("sv-step", "sleep 0.05; echo prepared", { oneshot = true, critical = false })
    service("sv-main", "exec sleep 600", { after = { ["sv-step"] = "done" } })
    assert(supervise.want("sv-main", true))
    assert.same({ "waiting", "waits for sv-step to be done (not wanted)" }, { state "sv-main", supervise.view "sv-main".reason })
    assert(supervise.want("sv-step", true))
    assert.equal("waiting", state "sv-main")
    await_state("sv-main", "up")
    assert.equal("done", state "sv-step")
    assert.equal("prepared\n", supervise.tail "sv-step")
  end)

  it("is ready by a line, or when it is told so", function()
    run("sv-line", "echo starting; echo now listening; exec sleep 600", { ready = { kind = "line", has = "listening" } })
    run("sv-told", "exec sleep 600", { ready = { kind = "lua" } })
    assert.equal("starting", state "sv-told")
    await_state("sv-line", "up")
    assert.is_true(supervise.ready "sv-told")
    assert.equal("up", state "sv-told")
    local ok, err = supervise.ready "sv-line"
    assert.is_nil(ok)
    assert.equal("conflict", err.kind)
  end)

  it("gives up at once on a program that is not there", function()
    run("sv-none", "", { command = { "/there/is/no/such/program" }, critical = false })
    assert.equal("failed", state "sv-none")
    assert.matches("^can't be started: exec /there/is/no/such/program: ", supervise.view "sv-none".reason)
    service("sv-none", "exec sleep 600")
    assert(supervise.want("sv-none", true))
    assert.equal("up", state "sv-none")
  end)

  it("keeps the last words of what died at once", function()
    run("sv-short", "echo no such option; printf unfinished; exit 3", { critical = false, restart = "never" })
    await_state("sv-short", "failed")
    assert.equal("no such option\nunfinished\n", supervise.tail "sv-short")
    assert.equal(3, supervise.view "sv-short".last_status)
  end)

  it("uses a new spec from the next start on", function()
    run("sv-a", "echo one; exec sleep 600")
    await("one", function() return supervise.tail "sv-a" == "one\n" end)
    service("sv-a", "echo two; exec sleep 600")
    assert(supervise.restart "sv-a")
    await("two", function() return supervise.tail "sv-a" == "one\ntwo\n" end)
  end)

  it("tells every task of every change, also of those between two calls", function()
    local function collect(seen)
      return function()
        repeat
          local change = supervise.next_change()
          seen[#seen + 1] = change.service .. " " .. change.state
        until change.state == "down"
      end
    end
    local one, two = {}, {}
    local first, second = task.start(collect(one)), task.start(collect(two))
    task.sleep(0)
    run("sv-a", "exec sleep 600")
    assert(supervise.want("sv-a", false))
    assert(first:join())
    assert(second:join())
    assert.same({ "sv-a up", "sv-a stopping", "sv-a down" }, one)
    assert.same(one, two)
  end)

  it("lets lines be followed until the follower is closed or the service is removed", function()
    run("sv-a", "while read line; do echo got $line; done < /dev/null; echo hello; exec sleep 600")
    local lines <close> = assert(supervise.follow "sv-a")
    local text = ""
    while not text:find "hello\n" do text = text .. lines:next() end
    local waiting = task.start(function() return lines:next() end)
    task.sleep(0)
    supervise.remove "sv-a"
    assert.same({ true }, { waiting:join() })
    assert.is_nil(lines:next())

    run("sv-b", "exec sleep 600")
    local other = assert(supervise.follow "sv-b")
    local cancelled = task.start(function() other:next() end)
    task.sleep(0)
    assert.has_error(function() other:next() end)
    cancelled:cancel()
    local closed = task.start(function() return other:next() end)
    task.sleep(0)
    other:close()
    other:close()
    assert.same({ true }, { closed:join() })
    assert.is_nil((supervise.follow "sv-nobody"))
  end)

  it("forgets a task that is cancelled while it waits", function()
    local waits = task.start(function() supervise.next_change() end)
    task.sleep(0)
    waits:cancel()
    run("sv-a", "exec sleep 600")
    assert.equal("up", state "sv-a")
  end)

  it("names every fault of a spec at once", function()
    local function faults(spec)
      local ok, message = pcall(function() return supervise.declare(spec) end)
      assert.is_false(ok)
      return message
    end
    local message = faults {
      name = "sv-bad", command = { "/bin/true", {} }, env = { A = true, ["B=C"] = "x" }, nice = "low",
      comand = 1, user = "nobody-of-this-name", after = { master = "alive" }, restart = "sometimes", oneshot = 1, clean = { 0, "x" },
      ready = { kind = "tcp", port = 70000, host = "localhost" }, stop = { signal = "NOPE", grace = -1 },
      backoff = { min = 5, max = 1, give_up = 0.5 / 0 }, log = { full = "explode", size = 0 },
    }
    for _, part in ipairs {
      "service sv%-bad: ", "comand is no field of a service", "command%[2%] must be a string, not a table",
      "env%.A must be a string, not a boolean",
      "env has a name that can't be one: B=C",
      "nice must be a number, not a string", 'user "nobody%-of%-this%-name" is unknown here',
      'after%.master must be "ready", "started" or "done"',
      'restart must be one of "always", "on%-failure", "never", not "sometimes"',
      "oneshot must be a boolean, not a number", "clean%[1%] must be an exit code", "clean%[2%] must be an exit code",
      "ready%.port must be from 1 to 65535, not 70000", "ready%.host must be a numeric address",
      'stop%.signal must be a signal like "TERM"',
      "stop%.grace must be from 0", "backoff%.max is less than backoff%.min", "backoff%.give_up must be from 0",
      'log%.full must be one of "drop", "block", not "explode"', "log%.size must be from 1",
    } do assert.matches(part, message) end
    assert.matches("supervise_spec.lua:%d+: ", message)
    assert.matches("name is missing; command is missing", faults {})
    assert.matches("name must have 1 to 63", faults { name = "a b", command = { "x" } })
    assert.matches("command is empty", faults { name = "sv-bad", command = {} })
    assert.matches("ready.kind is missing", faults { name = "sv-bad", command = { "x" }, ready = {} })
    assert.matches("ready.port is missing", faults { name = "sv-bad", command = { "x" }, ready = { kind = "http" } })
    assert.matches("ready.misses needs kind", faults { name = "sv-bad", command = { "x" }, ready = { kind = "line", misses = 1 } })
    assert.matches("lease must be the name of one", faults { name = "sv-bad", command = { "x" }, lease = "" })
    assert.matches("oneshot and lease exclude", faults { name = "sv-bad", command = { "x" }, lease = "sql", oneshot = true })
    assert.has_error(function() supervise.declare "worker" end)
    assert.equal("gone", state "sv-bad")
  end)

  it("takes every field of the contract", function()
    service("sv-all", "exec sleep 600", {
      dir = "/", user = 0, nice = 1, after = {}, lease = "sql",
      ready = { kind = "http", host = "::1", port = 8080, path = "/json/", has = '"status" : "ALIVE"',
        period = 0.25, deadline = 60, misses = 3, health_period = 5 },
      oneshot = false, critical = false, restart = "on-failure", backoff = { min = 0.5, max = 30, healthy = 10, give_up = 0 },
      stop = { signal = "SIGTERM", grace = 10, dump = "QUIT" }, clean = { 143 },
      log = { size = 10 << 20, keep = 4, full = "drop", console = false },
      change = "restart", inputs = { "spark-defaults.conf" }, role = "spark.worker",
    })
    assert.equal("down", state "sv-all")
  end)

  it("refuses what can't be: a circle, an unknown need, an unknown name", function()
    service("sv-a", "exec sleep 600", { after = { ["sv-b"] = "ready" } })
    local ok, err = supervise.declare { name = "sv-b", command = { "x" }, after = { ["sv-a"] = "ready" } }
    assert.same({ nil, "invalid" }, { ok, err.kind })
    assert.equal("sv-b: `after` is a cycle (sv-b needs sv-a needs sv-b): drop one of these needs", tostring(err))
    ok, err = supervise.want("sv-a", true)
    assert.same({ nil, "missing" }, { ok, err.kind })
    for _, call in ipairs { supervise.restart, supervise.remove, supervise.tail, supervise.counts, supervise.ready, supervise.kill } do
      ok, err = call "sv-nobody"
      assert.same({ nil, "sv-nobody: there is no such service" }, { ok, tostring(err) })
    end
    assert.is_nil(supervise.view "sv-nobody")
  end)

  it("stops everything in order and may start again afterwards", function()
    local order = {}
    local watcher = task.start(function()
      while true do
        local change = supervise.next_change()
        if change.state == "down" then order[#order + 1] = change.service end
      end
    end)
    task.sleep(0)
    run("sv-master", "exec sleep 600")
    run("sv-worker", "trap 'sleep 0.05; exit 143' TERM; while :; do sleep 0.01; done", { after = { ["sv-master"] = "ready" } })
    run("sv-sql", "exec sleep 600", { after = { ["sv-worker"] = "ready", ["sv-master"] = "started" } })
    assert.is_true(supervise.stop_all(8))
    task.sleep(0)
    watcher:cancel()
    assert.same({ "sv-sql", "sv-worker", "sv-master" }, order)
    assert(supervise.want("sv-master", true))
    assert.equal("up", state "sv-master")
  end)

  it("lists the services in the order they were declared", function()
    service("sv-b", "exit")
    service("sv-a", "exit")
    local names = {}
    for _, view in ipairs(supervise.list()) do
      if view.name:find "^sv%-" then names[#names + 1] = view.name end
    end
    assert.same({ "sv-b", "sv-a" }, names)
  end)
end)
