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

  it("asks an Exhibitor where one is named, or may be", function()
    local way = zookeepers.way
    assert.same({ fixed = { "10.0.0.1:2181" }, chroot = "" }, way { ZOOKEEPER = "10.0.0.1:2181" })
    assert.same({ fixed = { "a:2181", "b:2181" }, chroot = "" }, way { ZOOKEEPER = "a:2181,b:2181" })
    assert.same({ stack = "zk", chroot = "" }, way { ZOOKEEPER = "zk" })
    assert.same({ exhibitors = { "exhibitor-spark.example.org" }, fallback = { "exhibitor-spark.example.org:2181" }, quiet = true,
      chroot = "/x" }, way { ZOOKEEPER = "exhibitor-spark.example.org:2181/x" })
    assert.same({ exhibitors = { "e" }, chroot = "" }, way { EXHIBITOR_HOSTS = { "e" } })
    assert.same({ exhibitors = { "e" }, fallback = { "a:2181" }, chroot = "/x" }, way { EXHIBITOR_HOSTS = { "e" }, ZOOKEEPER = "a:2181/x" })
  end)
end)

describe("Exhibitor's answers", function()
  local exhibitor = require "appliance.cluster.exhibitor"

  it("are read in both forms", function()
    assert.same({ "10.0.0.1:2181", "10.0.0.2:2181" }, exhibitor.parse '{"servers":["10.0.0.2","10.0.0.1","10.0.0.2"],"port":2181}')
    assert.same({ "[fd00::1]:2181" }, exhibitor.parse ' {"servers":["fd00::1"],"port":"2181"}')
    assert.same({ "10.0.0.1:2181", "b:2181" }, exhibitor.parse "count=2&server0=b&server1=10.0.0.1&port=2181\n")
  end)

  it("that are none are told apart", function()
    for text, why in pairs {
      [""] = "its answer is not Exhibitor's", ["<html>"] = "its answer is not Exhibitor's", ["{"] = "its answer is not Exhibitor's",
      ["[]"] = "its answer is not Exhibitor's", ["{}"] = "its answer is not Exhibitor's", ["count=x"] = "its answer is not Exhibitor's",
      ['{"servers":[],"port":2181}'] = "its list of servers is empty", ["count=0&port=2181"] = "its list of servers is empty",
      ["count=-1&port=2181"] = "its list of servers is empty", ["count=1000000000&port=1"] = "it lists 1000000000 servers",
      ['{"servers":["a"],"port":70000}'] = "it names no port of ZooKeeper", ['{"servers":["a"]}'] = "it names no port of ZooKeeper",
      ['{"servers":["a:1"],"port":1}'] = "its list holds something that is no host",
      ['{"servers":[{}],"port":1}'] = "its list holds something that is no host",
      ["count=2&server0=a&port=1"] = "its list of servers is shorter than it says",
    } do
      local servers, problem = exhibitor.parse(text)
      assert.is_nil(servers, text)
      assert.equal(why, problem, text)
    end
  end)

  it("are asked for from learned servers first, and always from one of the settings", function()
    local one = exhibitor.new { hosts = { "elb" }, port = 8181 }
    assert.same({ "elb" }, one:candidates())
    one:knows { "10.0.0.1:2181", "10.0.0.2:2181", "10.0.0.3:2181", "10.0.0.4:2181", "10.0.0.5:2181" }
    for _ = 1, 20 do
      local asked = one:candidates()
      assert.equal(4, #asked)
      assert.equal("elb", asked[4])
    end
  end)
end)

describe("answers about a stack", function()
  local stacks = require "appliance.cluster.stacks"

  it("name the load balancer's members", function()
    assert.same({ "i-1", "i-2" }, stacks.members { LoadBalancerDescriptions = { { Instances = {
      { InstanceId = "i-2" }, { InstanceId = "i-1" } } } } })
    assert.same({}, stacks.members { LoadBalancerDescriptions = { { Instances = "" } } })
    assert.same({}, stacks.members { LoadBalancerDescriptions = "" })
  end)

  it("have private addresses of what runs", function()
    local function instance(ip, state) return { privateIpAddress = ip, instanceState = { code = "16", name = state } } end
    assert.same({ "10.0.0.1", "10.0.0.2", "10.0.0.3" }, stacks.private { reservationSet = {
      { instancesSet = { instance("10.0.0.3", "running"), instance("10.0.0.9", "terminated"), instance(nil, "pending") } },
      { instancesSet = { instance("10.0.0.1", "pending"), instance("10.0.0.2", "running"), instance("10.0.0.2", "running") } } } })
    assert.same({}, stacks.private { reservationSet = {} })
  end)
end)
