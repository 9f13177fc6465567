-- Runs of services and lines they print, followed by tasks, with real processes.
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local LIMIT <const> = 30

describe("a follower of runs", function()
  local services = require "declared".new { limit = LIMIT, backoff = { min = 60, max = 60 } }
  local await, declare, state = services.await, services.declare, services.state
  local function up(name) assert(supervise.want(name, true)) end

  --- next() within the limit.
  local function next_of(follower)
    local waiting <close> = task.start(function() return follower:next() end)
    return select(2, assert(waiting:join(LIMIT)))
  end

  setup(function() require("appliance.core.log").level "error" end)
  teardown(function() require("appliance.core.log").level "info" end)
  after_each(services.clear)

  it("hears of each start, of readiness, and of an end when nobody of the family is left", function()
    -- Who is left behind is on its way out (TERM) when main has ended, and takes a moment for it.
    declare("runs-a", "(trap 'sleep 0.2; exit' TERM; echo left; while :; do sleep 0.05; done) & read line; exit 3",
      { ready = { kind = "line", has = "left" } })
    local f <close> = assert(supervise.runs "runs-a")
    up "runs-a"
    local pid = supervise.view "runs-a".pid
    assert.same({ event = "started", pid = pid }, next_of(f))
    local ready = next_of(f)
    if ready.event == "ready" then
      assert.same({ event = "ready", pid = pid }, ready)
    end
    local ended = ready.event == "ended" and ready or next_of(f)
    assert.same({ event = "ended", pid = pid, code = 3, unasked = true }, ended)
    assert.equal("backoff", state "runs-a")
  end)

  it("knows an end that was asked for from others", function()
    declare("runs-a", "exec sleep 600", { backoff = { min = 0, max = 0 }, lease = "runs" })
    local f <close> = assert(supervise.runs "runs-a")
    assert(supervise.lease("runs", task.boot_ns() + 3600 * 1000000000))
    up "runs-a"
    local function round(act, signal, unasked)
      assert.equal("started", next_of(f).event)
      assert.equal("ready", next_of(f).event)
      local pid = supervise.view "runs-a".pid
      act(pid)
      assert.same({ event = "ended", pid = pid, signal = signal, unasked = unasked }, next_of(f))
    end
    round(function(pid) os.execute("kill -9 " .. pid) end, 9, true)
    round(function() supervise.restart "runs-a" end, 15, false)
    round(function() supervise.kill "runs-a" end, 9, false)
    round(function()
      supervise.lease("runs", task.boot_ns() + 1000000)
      await("the end of the lease", function() return state "runs-a" == "waiting" end)
      supervise.lease("runs", task.boot_ns() + 3600 * 1000000000)
    end, 9, false)
    round(function() supervise.want("runs-a", false) end, 15, false)
    supervise.lease("runs", 0)
  end)

  it("is given lines in their order among the events, all of them before the end", function()
    declare("runs-a", "echo one session 1; echo other; printf 'session 2\nstate x\nsession'; exit 0", { restart = "on-failure" })
    local f <close> = assert(supervise.runs("runs-a", { "session", "state" }))
    local l <close> = assert(supervise.lines("runs-a", { "session", "state" }))
    up "runs-a"
    local said, pid = {}, nil
    while said[#said] ~= "ended" do
      local event = next_of(f)
      pid = pid or event.pid
      assert.equal(pid, event.pid)
      said[#said + 1] = event.line or event.event
    end
    assert.same({ "started", "ready", "one session 1", "session 2", "state x", "session", "ended" }, said)
    for _, wanted in ipairs { "one session 1", "session 2", "state x", "session" } do
      assert.same({ wanted, pid }, { next_of(l) })
    end
  end)

  it("misses no line of many, and takes a long one's beginning", function()
    declare("runs-a", [[
      i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo "noise of $i"; [ $((i % 10)) = 0 ] && echo "needle $i"; done
      head -c 40000 /dev/zero | tr '\0' x; echo ' needle'; printf 'needle '; head -c 40000 /dev/zero | tr '\0' y; echo; exec sleep 600]])
    local f <close> = assert(supervise.lines("runs-a", { "needle", "never" }))
    up "runs-a"
    for i = 10, 3000, 10 do assert.equal("needle " .. i, (next_of(f))) end
    assert.equal(("x"):rep(16384), (next_of(f)))
    assert.equal("needle " .. ("y"):rep(16384 - 7), (next_of(f)))
  end)

  it("is told where something was dropped because it did not take what came, and goes on", function()
    declare("runs-a", [[i=0; while [ $i -lt 6000 ]; do i=$((i + 1)); echo "needle $i"; done; echo end; read line; exec sleep 600]])
    local f <close> = assert(supervise.lines("runs-a", { "needle" }))
    local all <close> = assert(supervise.lines("runs-a", { "end" }))
    up "runs-a"
    assert.equal("end", (next_of(all)))
    local count = 0
    while true do
      local line, err = next_of(f)
      if not line then
        assert.equal("system", err.kind)
        assert.equal(("runs-a: %d events of its runs dropped here: not taken in time"):format(6000 - count), tostring(err))
        break
      end
      count = count + 1
      assert.equal("needle " .. count, line)
    end
    assert.is_true(count > 1000 and count < 6000)
    assert(supervise.kill "runs-a")
    assert.equal("needle 1", (next_of(f)))                         -- of the next run
  end)

  it("ends with its service, or when it is closed, also while a task waits", function()
    declare("runs-a", "exec sleep 600")
    local f, l <close> = assert(supervise.runs "runs-a"), assert(supervise.lines("runs-a", { "x" }))
    local waiting <close> = task.start(function() return f:next(), "closed" end)
    task.sleep(0.01)
    assert.has_error(function() f:next() end, "another task waits for the next event of this follower already")
    f:close()
    assert.same({ true, nil, "closed" }, { waiting:join(LIMIT) })
    assert.is_nil(f:next())
    f:close()
    local cancelled = task.start(function() return l:next() end)
    task.sleep(0.01)
    cancelled:cancel()
    local left = task.start(function() return l:next() end)
    task.sleep(0.01)
    supervise.remove "runs-a"
    assert.same({ true }, { left:join(LIMIT) })
    assert.is_nil(l:next())
  end)

  it("needs a service, and something to look for", function()
    local f, err = supervise.runs "runs-nobody"
    assert.same({ nil, "runs-nobody: there is no such service" }, { f, tostring(err) })
    f, err = supervise.lines("runs-nobody", { "x" })
    assert.same({ nil, "missing" }, { f, err.kind })
    for _, needles in ipairs { false, {}, { "" }, { "a\nb" }, { 1 }, { "a\0b" } } do
      assert.has_error(function() supervise.lines("runs-a", needles or nil) end)
    end
  end)

  it("that is forgotten is collected, and nothing is told to it any more", function()
    declare("runs-a", "echo x; exec sleep 600", { backoff = { min = 0, max = 0 } })
    for _ = 1, 50 do supervise.runs("runs-a", { "x" }) end
    collectgarbage()
    collectgarbage()
    local f <close> = assert(supervise.runs("runs-a", { "x" }))
    up "runs-a"
    assert.equal("started", next_of(f).event)
    assert.equal("ready", next_of(f).event)
    assert.equal("x", next_of(f).line)
  end)
end)
