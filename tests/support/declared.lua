--- Services that a spec declares with the core's supervisor, and that are gone after each test.
---   local declared = require "declared".new { limit = 20 (seconds that anything may take), backoff = { min =, max = } }
---   after_each(declared.clear)
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local declared = {}

--- Is there such a process, and no zombie?
function declared.is_alive(pid)
  local status = io.open(("/proc/%d/status"):format(pid))
  if not status then return false end
  local text <close> = status
  return not (text:read "a" or "State:\tZ"):find "State:%s*[ZX]"
end

function declared.new(options)
  local names, set = {}, {}

  function set.await(what, condition)
    local deadline = task.now() + options.limit
    while not condition() do
      if task.now() > deadline then error("did not come: " .. what, 2) end
      task.sleep(0.005)
    end
  end

  --- A service that runs a script of the shell; `more` has other fields of its spec.
  function set.declare(name, script, more)
    local spec = {
      name = name, command = { "/bin/sh", "-c", script }, env = { PATH = os.getenv "PATH" },
      backoff = options.backoff, log = { console = false }, stop = { grace = 5 },
    }
    for key, value in pairs(more or {}) do spec[key] = value end
    assert(supervise.declare(spec))
    names[#names + 1] = name
  end

  function set.state(name) return (supervise.view(name) or { state = "gone" }).state end

  function set.clear()
    for _, name in ipairs(names) do supervise.remove(name) end
    for _, name in ipairs(names) do set.await(name .. " gone", function() return set.state(name) == "gone" end) end
    names = {}
  end

  return set
end

return declared
