-- What appliance.core.host tells of names. How names are looked up is tested in test_resolve.c.
local host = require "appliance.core.host"
local task = require "appliance.task"

describe("host.resolve", function()
  it("answers an address with itself, at once", function()
    assert.same({ "10.1.2.3" }, host.resolve "10.1.2.3")
    assert.same({ "fd00::1" }, host.resolve "fd00::1")
    assert.same({ "fd00::1" }, host.resolve "[fd00::1]")
  end)

  it("finds this machine, and lets others work meanwhile", function()
    local ticks = 0
    local _ <close> = task.start(function() while true do ticks = ticks + 1; task.sleep(0) end end)
    local _, addresses = task.start(function() return host.resolve "localhost" end):join()
    for _, address in ipairs(addresses) do assert.is_true(address == "127.0.0.1" or address == "::1", address) end
    assert.is_true(#addresses > 0 and ticks > 0)
  end)

  it("can be given up at any time", function()
    local asked = task.start(function() return host.resolve "localhost" end)
    task.sleep(0)
    asked:cancel()
    assert.is_nil((asked:join()))
  end)

  it("refuses what can be no name", function()
    local addresses, err = host.resolve ""
    assert.is_nil(addresses)
    assert.same("invalid", err.kind)
    assert.has_error(function() host.resolve "a\0b" end)
    assert.has_error(function() host.resolve() end)
  end)
end)
