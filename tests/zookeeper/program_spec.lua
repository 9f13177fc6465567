-- The client inside the program, as process 1 of a namespace: it brings its library by the first require, and all goes away with it.
local zookeepers = require "zookeepers"

local SCRIPT = [[
local servers, what = ...
local function loaded()
  for line in io.lines "/proc/self/maps" do if line:find "libzookeeper" then return true end end
  return false
end
assert(io.open("/proc/self/stat"):read("n") == 1, "not process 1")
local zk = require "appliance.zk"
assert(not loaded(), "the library is there before anybody needs it")
local client <close> = zk.open { servers = servers, session = 4, name = "one" }
assert(loaded())
local id = assert(client:connected())
assert(client:create("/program", ("0x%x"):format(id), { ephemeral = true }))
if what == "leave" then return 0 end                         -- with the session open
assert(client:delete "/program")
local task = require "appliance.task"
local watching = task.start(function() for _ in client:watch "/program" do end end)
task.yield()
client:close()
assert(watching:join(10))
local native, until_s = require "appliance.native.zk", task.now() + 20
while native.handles() > 0 do
  assert(task.now() < until_s, "a handle is left")
  task.sleep(0.01)
end
print "done"
]]

describe("the program", function()
  local ensemble, script
  setup(function()
    ensemble = zookeepers.start { tick = 500 }
    script = os.tmpname()
    local file <close> = assert(io.open(script, "w"))
    file:write(SCRIPT)
  end)
  teardown(function()
    os.remove(script)
    ensemble:close()
  end)

  local function run(what)
    local pipe = assert(io.popen(("timeout 60 unshare --user --map-root-user --pid --fork --mount-proc %s lua %s %s %s 2>&1; echo code $?")
      :format(os.getenv "APPLIANCE", script, ensemble.addresses, what), "r"))
    local said = pipe:read("a")
    pipe:close()
    return said
  end

  it("talks to ZooKeeper as process 1", function()
    local said = run "all"
    assert.matches("done\ncode 0", said)
    assert.matches("zk %(one%): session 0x%x+ begins at 127%.0%.0%.1:%d+", said)
    assert.not_matches("ZOO_", said)
  end)

  it("ends at once with a session open", function()
    local began = os.time()
    assert.matches("code 0", run "leave")
    assert.is_true(os.time() - began < 20)
  end)
end)
