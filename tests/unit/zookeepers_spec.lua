--- How a node learns where ZooKeeper is: the part that asks nobody.
local zookeepers = require "appliance.cluster.zookeepers"

--- What the source emits with these settings, and what it returns.
local function learn(env)
  local values = {}
  local _, err = zookeepers.servers().start(function(value) values[#values + 1] = value end, env)
  return values, err
end

describe("zookeeper.servers", function()
  it("takes a list as it is", function()
    assert.same({ { servers = { "10.0.0.1:2181", "10.0.0.2:2181" }, chroot = "/x", from = "setting" } },
      (learn { ZOOKEEPER = "10.0.0.2:2181,10.0.0.1:2181/x" }))
  end)

  it("needs to be told something", function()
    local values, err = learn {}
    assert.same({}, values)
    assert.equal("ZOOKEEPER is empty: give its servers, for example ZOOKEEPER=zk-1:2181,zk-2:2181,zk-3:2181", err.text)
  end)
end)
