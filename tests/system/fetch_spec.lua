-- The program as PID 1 with a plan that fetches: everything is there before the first service, or nothing is.
local file = require "appliance.core.file"
local file_server = require "file_server"
local task = require "appliance.task"

local program = assert(os.getenv "APPLIANCE", "APPLIANCE must name the program")

--- Only what a container would have: a PID namespace of its own. Where none can be made, an ordinary process.
local UNSHARE <const> = "unshare --user --map-root-user --pid --fork --kill-child --mount-proc "
local AS_PID1 <const> = os.execute(UNSHARE .. "true 2>/dev/null") and UNSHARE or ""

--- The process below this one, or nil.
local function child_of(pid)
  local text = pid and file.read(("/proc/%d/task/%d/children"):format(pid, pid))
  return text and tonumber(text:match "%d+")
end

describe("a node whose plan fetches", function()
  local server, home, pid                                      -- of the shell above unshare (where there is one), which is above PID 1

  setup(function() server = file_server.start() end)
  teardown(function() server:__close() end)

  before_each(function()
    home = os.tmpname()
    os.remove(home)
    assert(os.execute(("mkdir -p %s/profiles %s/state"):format(home, home)))
    assert(file.replace(home .. "/source", "from the disk", 420, false))
    server:put("/x", "one")
    server:asked()
  end)

  after_each(function()
    local below = child_of(pid)
    if below then os.execute(("kill -KILL %d; while kill -0 %d 2>/dev/null; do sleep 0.02; done"):format(below, pid)) end
    pid = nil
    file.remove_tree(home)
  end)

  local function profile(fetch)
    assert(file.replace(home .. "/profiles/p.lua", ([[
      return profile { doc = "Fetches.", facts = {}, plan = function(env)
        local at = env.STATE_DIR .. "/fetched/"
        return plan { files = { other = "other" }, fetch = { %s }, services = {
          service { name = "reads", command = { "/bin/sh", "-c", "cat " .. at .. "x; echo; exec sleep 1000" }, inputs = { "x" } },
          service { name = "plain", command = { "/bin/sh", "-c", "echo I am plain; exec sleep 1000" }, inputs = { "other" } },
        } }
      end }]]):format(fetch), 420, false))
  end

  local function log() return file.read(home .. "/log") or "" end

  local function start()
    local pipe = assert(io.popen(("export STATE_DIR=%s/state APPLIANCE_PROFILES=%s/profiles PROFILE=p\n"
      .. "( %s %s run >%s/log 2>&1; echo $? >%s/code ) & echo $!"):format(home, home, AS_PID1, program, home, home)))
    pid = tonumber(pipe:read "l")
    pipe:close()
  end

  local function await(text)
    for _ = 1, 3000 do
      if log():find(text, 1, true) then return end
      if file.stat(home .. "/code") then break end
      task.sleep(0.01)
    end
    error(("did not say: %s\n%s"):format(text, log()), 2)
  end

  local function code()
    for _ = 1, 3000 do
      local text = file.read(home .. "/code")
      if text and text ~= "" then pid = nil; return tonumber(text) end
      task.sleep(0.01)
    end
    error("did not end\n" .. log(), 2)
  end

  local function signal(name)
    local below = child_of(pid)
    os.execute(("kill -%s %d"):format(name, AS_PID1 ~= "" and child_of(below) or below))
  end

  it("has fetched it before the first service, and does not fetch again what is still the same", function()
    profile(('x = "%s/x", ["data/disk"] = { from = "file://%s/source", mode = 384 }'):format(server.base, home))
    start()
    await "reads | one"
    assert.matches("x: fetched from " .. server.base .. "/x, 3b\n.*reads: started", log())
    local copy = home .. "/state/fetched/data/disk"
    assert.same({ "from the disk", 384 }, { file.read(copy), file.stat(copy).mode })
    signal "TERM"
    assert.equal(0, code())
    os.remove(home .. "/code")
    os.remove(home .. "/log")
    start()
    await "reads | one"
    assert.same({ "GET /x 200", "GET /x 304" }, server:asked())
    assert.is_nil(log():find "fetched")
  end)

  it("ends with 69 and every reason when something can't be had, with nothing written or started", function()
    profile(('x = "%s/x", y = "%s/none", z = { from = "%s/x", sha256 = ("0"):rep(64) }, '
      .. '["a.jar"] = { from = "%s/x", kind = "jar" }'):format(server.base, server.base, server.base, server.base))
    start()
    assert.equal(69, code())
    assert.matches(server.base .. "/none: there is no such file: correct the address %(404%)", log())
    assert.matches(server.base .. "/x: its SHA%-256 is %x+, and 0+ was asked for", log())
    assert.matches(server.base .. "/x: it is no jar %(a jar is a ZIP archive, and this begins with \"one\"%)", log())
    assert.is_nil(log():find "started")
    local pipe = assert(io.popen(("cd %s/state && find . -type f ! -name control.sock.lock"):format(home)))
    assert.equal("", pipe:read "a")
    pipe:close()
  end)

  it("ends at once when it is told to while it fetches, and leaves no part of a file", function()
    local pipe = assert(io.popen("exec python3 -IS tests/support/fault_server.py --stay", "r"))
    local slow = "http://127.0.0.1:" .. pipe:read("l"):match("^plain (%d+)")
    profile(('x = "%s/slow/100000?piece=10&every=0.05"'):format(slow))
    start()
    for _ = 1, 3000 do
      if (file.stat(home .. "/state/fetched/.x.new") or { size = 0 }).size > 0 then break end
      task.sleep(0.01)
    end
    local status = assert(io.popen(("STATE_DIR=%s/state timeout 20 %s status 2>&1"):format(home, program)))
    assert.matches("it fetches a file", status:read "a")
    status:close()
    signal "TERM"
    assert.equal(0, code(), log())
    require("appliance.http").request { url = slow .. "/quit", no_proxy = true }
    pipe:close()
    assert.is_nil(log():find "started")
    assert.same({}, { table.unpack(file.list(home .. "/state/fetched") or {}) })
  end)

  it("fetches from a new source at SIGHUP, restarts who reads it, and keeps what it has when that fails", function()
    profile(('x = "%s/x"'):format(server.base))
    start()
    await "reads | one"
    server:put("/new", "two")
    profile(('x = "%s/new"'):format(server.base))
    signal "HUP"
    await "reads | two"
    profile(('x = "%s/none"'):format(server.base))
    signal "HUP"
    await "not carried out: "
    await "in force but for what failed"
    assert.equal("two", file.read(home .. "/state/fetched/x"))
    local status = assert(io.popen(("STATE_DIR=%s/state timeout 20 %s status 2>&1"):format(home, program)))
    local shown = status:read "a"
    status:close()
    assert.matches("\nx  +3 B  +etag %x+.*" .. server.base .. "/new\n", shown)
    assert.matches("\nx, %d.* ago: " .. server.base .. "/none: there is no such file: correct the address %(404%)\n", shown)
    profile ""
    local text = file.read(home .. "/profiles/p.lua"):gsub('inputs = { "x" }', "")
    assert(file.replace(home .. "/profiles/p.lua", text, 420, false))
    signal "HUP"
    await "x: removed, no longer in the plan"
    assert.is_nil(file.stat(home .. "/state/fetched/x"))
    assert.equal(1, select(2, log():gsub("plain: started", "")))
  end)
end)
