-- Leases with real processes: a service dies with its lease whatever becomes of whoever supervises it.
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local LIMIT <const> = 30
local S <const> = 1000000000

describe("a lease", function()
  local services = require "declared".new { limit = LIMIT, backoff = { min = 60, max = 60 } }
  local await, state = services.await, services.state
  local folder

  local function run(name, command, more)
    local spec = { command = command, stop = { grace = 1 } }
    for key, value in pairs(more or {}) do spec[key] = value end
    services.declare(name, nil, spec)
    assert(supervise.want(name, true))
  end
  local function shell(name, script, more) run(name, { "/bin/sh", "-c", script }, more) end

  local alive = require "declared".is_alive
  local function count()
    local opened = io.open(folder .. "/count")
    if not opened then return 0 end
    local text <close> = opened
    return tonumber(text:read "a") or 0
  end
  local function send(signal, ...) os.execute(("kill -%s %s"):format(signal, table.concat({ ... }, " "))) end
  local function hold(name, seconds)
    assert(supervise.lease(name, seconds > 0 and task.boot_ns() + math.tointeger(seconds * S // 1) or 0))
  end

  --- Starts tests/support/lease_job.lua -> its pid, that of its service, the deadline
  local function job(seconds, what)
    local env = {}
    for _, variable in ipairs { "PATH", "LUA_PATH", "LUA_CPATH", "LD_PRELOAD", "ASAN_OPTIONS" } do env[variable] = os.getenv(variable) end
    run("lease-job", { "/usr/bin/lua5.4", "tests/support/lease_job.lua", folder, tostring(seconds), what }, { env = env })
    await("the job's first words", function() return supervise.tail "lease-job":find "due" end)
    local pid, due = supervise.tail("lease-job"):match "pid (%d+)\ndue (%d+)"
    return supervise.view "lease-job".pid, tonumber(pid), tonumber(due)
  end

  setup(function() require("appliance.core.log").level "error" end)
  teardown(function() require("appliance.core.log").level "info" end)
  before_each(function()
    local made <close> = assert(io.popen "mktemp -d")
    folder = made:read "l"
  end)
  after_each(function()
    services.clear()
    os.execute("rm -r " .. folder)
    for _, name in ipairs { "sql", "node" } do hold(name, 0) end
  end)

  it("is waited for, ends what runs under it, and starts it anew when it is back", function()
    shell("lease-a", "exec sleep 600", { lease = "sql" })
    assert.same({ "waiting", "waits for the lease sql" }, { state "lease-a", supervise.view "lease-a".reason })
    hold("node", 60)
    assert.equal("waiting", state "lease-a")
    hold("sql", 0.1)
    assert.equal("waiting", state "lease-a")                       -- not worth a start
    hold("sql", 1)
    local first = supervise.view "lease-a".pid
    assert.is_true(alive(first))
    await("its end", function() return state "lease-a" == "waiting" end)
    assert.is_false(alive(first))
    assert.same({ "killed by SIGKILL", 0 }, { supervise.view "lease-a".last_end, supervise.view "lease-a".crashes })
    hold("sql", 60)
    assert.equal("up", state "lease-a")
    assert.not_equal(first, supervise.view "lease-a".pid)
    local before = task.now()
    hold("sql", 0)                                                 -- given up: at once
    await("its second end", function() return state "lease-a" == "waiting" end)
    assert.is_true(task.now() - before < 5)
  end)

  it("that is moved in time keeps what runs", function()
    shell("lease-a", "exec sleep 600", { lease = "sql" })
    hold("sql", 5)
    local pid = supervise.view "lease-a".pid
    for _ = 1, 10 do
      task.sleep(0.02)
      hold("sql", 5)
    end
    assert.same({ "up", pid }, { state "lease-a", supervise.view "lease-a".pid })
  end)

  it("ends the whole family, also who has left the group", function()
    local script = "setsid sh -c 'echo $$ > FOLDER/left; exec sleep 600' & sleep 600 & echo $! > FOLDER/near; wait"
    shell("lease-a", (script:gsub("FOLDER", folder)), { lease = "sql" })
    hold("sql", 60)
    local function written(name)
      local opened = io.open(folder .. "/" .. name)
      if not opened then return nil end
      local text <close> = opened
      return tonumber(text:read "l" or "")
    end
    await("both", function() return written "left" and written "near" end)
    local left, near = written "left", written "near"
    hold("sql", 0.05)
    await("the end", function() return state "lease-a" == "waiting" end)
    assert.same({ false, false }, { alive(left), alive(near) })    -- before the next start, so before this state
  end)

  local function ends_in_time_though(what)
    local supervisor, child, due = job(1.5, what)
    await("the child's end", function() return not alive(child) end)
    local late = task.boot_ns() - due
    assert.is_true(late >= 0 and late < 3 * S, ("%d ms late"):format(late // 1000000))
    assert.is_true(alive(supervisor))                              -- wedged as it is
  end
  it("ends what runs under it in time though loop and Lua stand still", function() ends_in_time_though "loop" end)
  it("ends what runs under it in time though a call of C does not come back", function() ends_in_time_though "c" end)

  local function ends_in_time_stopped(whom)
    local supervisor, child, due = job(3, "turn")
    await("some counting", function() return count() > 5 end)
    send("STOP", table.unpack(whom(supervisor, child)))
    local stopped_at = count()
    assert.is_true(task.boot_ns() < due, "this machine was too busy for the test")
    await("the child's end", function() return not alive(child) end)
    local late = task.boot_ns() - due
    assert.is_true(late >= 0 and late < 3 * S, ("%d ms late"):format(late // 1000000))
    local counted = count() - stopped_at
    send("CONT", supervisor)                                       -- it is told what it was too late for
    await("the job's last words", function() return supervise.tail "lease-job":find "left" end)
    assert.matches("left waits for the lease sql, 0 crashes\n", supervise.tail "lease-job")
    return counted
  end
  it("ends what runs under it in time though its supervisor is stopped", function()
    assert.is_true(ends_in_time_stopped(function(supervisor) return { supervisor } end) > 5)       -- which nothing had stopped
  end)
  it("ends what runs under it in time though all of it is stopped", function()
    local counted = ends_in_time_stopped(function(supervisor, child) return { supervisor, child } end)
    assert.is_true(counted <= 1, ("counted %d"):format(counted))   -- not once after
  end)

  it("leaves no process of its own behind", function()
    local function children()
      local opened <close> = assert(io.open(("/proc/self/task/%s/children"):format(io.open("/proc/self/stat"):read "n")))
      return opened:read "a"
    end
    local before = children()
    shell("lease-a", "exec sleep 600", { lease = "sql" })
    hold("sql", 60)
    assert.equal(before .. supervise.view "lease-a".pid .. " ", (children():match("^" .. before .. "%d+ ")))
    assert.not_equal(before .. supervise.view "lease-a".pid .. " ", children())       -- and its keeper
    for _ = 1, 3 do
      hold("sql", 0)
      await("its end", function() return state "lease-a" == "waiting" end)
      hold("sql", 60)
      assert.equal("up", state "lease-a")
    end
    hold("sql", 0)
    await("nobody", function() return children() == before end)
  end)

  it("kills on command, at once and without a crash counted", function()
    shell("lease-a", "trap '' TERM; while :; do sleep 600; done")
    local first = supervise.view "lease-a".pid
    assert.is_true(supervise.kill "lease-a")
    await("the next one", function() return state "lease-a" == "up" and supervise.view "lease-a".pid ~= first end)
    assert.same({ false, 0, 1 }, { alive(first), supervise.view "lease-a".crashes, supervise.view "lease-a".restarts })
  end)
end)
