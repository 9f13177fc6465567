-- A supervisor of its own, with one service that counts into a file under a lease: for tests that wedge, stop or kill it.
-- lease_job.lua FOLDER SECONDS WHAT: takes the lease for so long, says "due N" (boot ns), and then
--   loop   computes for ever: neither its loop nor Lua turns any more
--   c      is in one call of C that does not come back in a day
--   turn   goes on turning its loop, and never moves the lease again
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local folder, seconds, what = ...
require("appliance.core.log").level "error"

-- One member of its family has left the group; it ends with the others (or, where nobody turns the loop, with us).
local script <const> = [[
  i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); echo $i > "$0/count.new"; mv "$0/count.new" "$0/count"; sleep 0.02; done]]

assert(supervise.declare {
  name = "counting", command = { "/bin/sh", "-c", script, folder }, env = { PATH = os.getenv "PATH" },
  lease = "sql", log = { console = false }, stop = { grace = 1 },
})
assert(supervise.want("counting", true))
local due = task.boot_ns() + math.tointeger(seconds * 1000000000 // 1)
assert(supervise.lease("sql", due))
io.stdout:write(("pid %d\ndue %d\n"):format(supervise.view "counting".pid, due))
io.stdout:flush()

task.sleep(0.1)
if what == "loop" then
  while true do end
elseif what == "c" then
  assert(not ("a"):rep(60):find(("a?"):rep(60) .. ("a"):rep(60) .. "b"))
else
  for _ = 1, 6000 do
    task.sleep(0.05)
    local view = supervise.view "counting"
    if view.state == "waiting" then break end
  end
  io.stdout:write(("left %s, %d crashes\n"):format(supervise.view "counting".reason, supervise.view "counting".crashes))
  io.stdout:flush()
  task.sleep(600)
end
