-- The agent of a node, one failure at a time, in a simulated cluster: what happens, and how soon.
local simulated = require "appliance.simulate.cluster"

--- A cluster that has come to rest.
local function settled(options)
  local cluster = simulated.new(options)
  cluster:pass(12)
  assert.same({}, cluster:faults(3))
  return cluster
end

local function leader(cluster) return assert(cluster:leader(), cluster:story()) end

--- Seconds until what(cluster) is true.
local function seconds_until(cluster, limit, what)
  local began = cluster.clock.now
  while not what(cluster) do
    assert(cluster.clock.now - began < limit, ("not within %g s:\n%s"):format(limit, cluster:story()))
    cluster:pass(0.01)
  end
  return cluster.clock.now - began
end

local function other_leads(cluster, than)
  return function()
    local now = cluster:leader()
    return now and now ~= than
  end
end

describe("a cluster", function()
  it("comes up with one leader and one thrift server, which all nodes see", function()
    local cluster = settled { nodes = 3, workers = 1 }
    for _, node in ipairs(cluster.nodes) do
      assert.is_true(node.view.session)
      assert.is_true(node.view.enough)
      assert.equal("spark://10.0.0.1:7077,10.0.0.2:7077,10.0.0.3:7077", node.view.uri)
      assert.equal(leader(cluster).name, node.view.leader.node)
      assert.equal(cluster:sql().name, node.view.sql.holder)
      assert.equal(cluster:sql().address .. ":10010", node.view.sql.address)
    end
    assert.equal(leader(cluster), cluster:sql())
  end)

  it("has another leader within a second when the leader's process dies, and its thrift server stays", function()
    local cluster = settled()
    local first, sql = leader(cluster), cluster:sql()
    first:kill "master"
    assert.is_true(seconds_until(cluster, 5, other_leads(cluster, first)) < 1)
    cluster:pass(10)
    assert.equal(sql, cluster:sql())
    assert.equal(1, sql.services.thriftserver.starts)
    assert.same({}, cluster:faults(5))
  end)

  it("has another leader within seven seconds when the leader's node dies, which waits for nobody dead", function()
    local cluster = settled { nodes = 3 }
    local first = leader(cluster)
    first:crash()
    local seconds = seconds_until(cluster, 30, other_leads(cluster, first))
    assert.is_true(seconds < 7, ("after %.2f s"):format(seconds))
    cluster:pass(5)
    assert.equal(0, cluster.double.master + cluster.double.thriftserver)
    assert.is_truthy(cluster:sql())
  end)

  it("hands over in order when the leader's node leaves", function()
    local cluster = settled()
    local first = leader(cluster)
    assert.equal(first, cluster:sql())
    first:leave()
    -- the thrift server's own start takes 1.5 s here, its stop half a second
    local seconds = seconds_until(cluster, 10, function() return cluster:sql() and cluster:sql() ~= first end)
    assert.is_true(seconds < 1.5 + 1, ("SQL after %.2f s"):format(seconds))
    seconds_until(cluster, 2, other_leads(cluster, first))
    assert.equal(0, cluster.double.master + cluster.double.thriftserver)
  end)
end)
