-- A client that knows one address, the relay's, and real ZooKeepers behind it: it must find the one that is of use.
local relay = require "appliance.native.relay"
local task = require "appliance.task"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local GENEROUS <const> = 60

describe("ZooKeeper behind the relay", function()
  local function addresses(ensemble)
    local list = {}
    for address in ensemble.addresses:gmatch "[^,]+" do list[#list + 1] = address end
    return list
  end

  local function lead_to(targets)
    local r = assert(relay.open { bind = "127.0.0.1", name = "ZooKeeper", keep = true, hold = 5, connect = 2 })
    assert(r:target(targets))
    return r
  end

  local function client_of(r) return zk.open { servers = "127.0.0.1:" .. r:port(), session = 4, name = "relayed" } end

  --- Something is written at last, though sessions may be lost on the way.
  local function works(client)
    local done, err = task.within(GENEROUS, function()
      while true do
        local ok, why = client:set("/here", "x")
        if not ok and why.code == "NONODE" then ok = client:ensure("/here") end
        if ok then return true end
        task.sleep(0.02)
      end
    end)
    assert.is_true(done, tostring(err))
  end

  it("is reached whichever of the servers hangs", function()
    local ensemble <close> = zookeepers.start { servers = 3, tick = 500 }
    local r <close> = lead_to(addresses(ensemble))
    local client <close> = client_of(r)
    works(client)
    for index = 1, 3 do
      ensemble[index]:freeze()
      works(client)
      ensemble[index]:thaw()
    end
    assert.is_true(r:counts().served > 1)   -- one of them was ours
  end)

  it("is reached though the first server listens and has no quorum", function()
    local lone <close> = zookeepers.start { servers = 3, tick = 500, wait = false }
    lone[2]:kill()
    lone[3]:kill()
    local ensemble <close> = zookeepers.start { servers = 1, tick = 500 }
    while lone[1]:ask "ruok" == "" do task.sleep(0.05) end
    local r <close> = lead_to { lone[1].address, ensemble[1].address }
    local client <close> = client_of(r)
    works(client)
  end)
end)
