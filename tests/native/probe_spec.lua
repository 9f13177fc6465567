--- appliance.core.probe: waits until a port takes connections.
local probe = require "appliance.core.probe"
local task = require "appliance.task"

--- A port of 127.0.0.1 that nobody listens on, as far as anybody can know; below those that the kernel gives to connections.
local function free_port()
  local pipe = io.popen("exec python3 -IS -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])'")
  local port = pipe:read "n"
  pipe:close()
  return port
end

describe("probe", function()
  it("waits until somebody listens", function()
    local port = free_port()
    local waiting <close> = task.start("probe", probe.wait, { host = "127.0.0.1", port = port, period = 0.01 })
    local ok, err = waiting:join(0.1)
    assert.is_nil(ok)
    assert.equal("timeout", err.kind)
    local pipe <close> = assert(io.popen(("exec python3 -IS -u -c 'import socket; s = socket.socket(); "
      .. "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((\"127.0.0.1\", %d)); s.listen(); print(1); "
      .. "s.accept()'"):format(port), "r"))
    assert.equal("1", pipe:read "l")
    assert.same({ true, true }, { waiting:join(20) })
  end)

  it("is over with the task that waits", function()
    local port = free_port()
    local result, err = task.within(0.05, probe.wait, { host = "127.0.0.1", port = port, period = 0.01 })
    assert.is_nil(result)
    assert.equal("timeout", err.kind)
  end)

  it("never ends for a name, which nobody looks up here, and refuses what is no port", function()
    assert.is_nil((task.within(0.05, probe.wait, { host = "localhost", port = 1, period = 0.01 })))
    for _, wrong in ipairs { {}, { host = "127.0.0.1" }, { host = "127.0.0.1", port = 70000 }, { host = ("1"):rep(100), port = 1 } } do
      assert.is_false((pcall(probe.wait, wrong)))
    end
  end)
end)
