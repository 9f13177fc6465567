-- A node's place in its cluster, with the real program and a real ZooKeeper, and a shell script in the place of Spark's master: joining,
-- SIGHUP, ZooKeeper that comes late or stands still, a name that is taken, and the farewell.
local file = require "appliance.core.file"
local http = require "appliance.core.http"
local json = require "appliance.json"
local spark_node = require "spark_node"
local supervise = require "appliance.core.supervise"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local PROFILE <const> = [[
return profile {
  doc = "A master that is none.", settings = { "spark.*" }, facts = { cluster = cluster.membership() },
  plan = function(env, facts)
    local made = service { name = "master", lease = "node", restart = "always", stop = { grace = 2 }, env = { PATH = "/usr/bin:/bin" },
      command = { "/bin/sh", "-c", "echo Starting Spark master at nowhere; exec sleep 1000" } }
    return plan { services = { made }, waits = { worker = facts.cluster.why }, notes = { facts.cluster.zookeeper } }
  end,
}
]]

describe("a node's place in its cluster", function()
  local ensemble, directory

  local function start(settings, options)
    local env = {
      APPLIANCE_PROFILES = directory, PROFILE = "fake", ZOOKEEPER = ensemble.addresses, CLUSTER_NAME = "place-spec", NODE_NAME = "one",
      START_MASTER = "true", START_THRIFTSERVER = "true", SQL_RELAY = "false", CLASS_ARCHIVES = "false",
    }
    for name, value in pairs(settings or {}) do env[name] = value end
    return spark_node.start(env, options)
  end

  local function cluster(node)
    local answer = http.request { unix = node.directory .. "/control.sock", path = "/cluster", timeout = 5 }
    return answer and answer.status == 200 and json.decode(answer.body).cluster or {}
  end

  local function look(path)
    local client <close> = zk.open { servers = ensemble.addresses, session = 4, name = "test" }
    return client:children("/spark-appliance/place-spec/" .. path)
  end

  local function signal(node, name)
    spark_node.run({ "/bin/kill", "-" .. name, tostring(supervise.view(node.name).pid) }, { PATH = "/bin" })
  end

  setup(function()
    directory = spark_node.temporary()
    assert(file.replace(directory .. "/fake.lua", PROFILE, tonumber("644", 8), false))
    ensemble = zookeepers.start { servers = 1, tick = 1000 }
  end)
  teardown(function()
    if ensemble then ensemble:close() end
    file.remove_tree(directory)
  end)

  it("is known to others, gives the lease, outlives a SIGHUP, and is left at once", function()
    local name_file = directory .. "/name"
    assert(file.replace(name_file, "one\n", tonumber("644", 8), false))
    local node <close> = start { NODE_NAME = false, NODE_NAME_FILE = name_file }
    node:wait_log "appliance | master: started"
    assert.same({ "one" }, (look "nodes"))
    spark_node.await("its own picture", function() return cluster(node).session and cluster(node).nodes[1] end)
    assert.equal("one", cluster(node).nodes[1].name)
    local pid = node:pid "master"

    assert(file.replace(name_file, "another\n", tonumber("644", 8), false))
    signal(node, "HUP")
    node:wait_log "SIGHUP: settings and profile were read again and are in force"
    assert.matches("NODE_NAME: another value takes effect with the next start of this node", node.text)
    assert.equal(pid, node:pid "master")
    assert.same({ "one" }, (look "nodes"))
    assert.equal(1, select(2, node.text:gsub("zk %(cluster%): session 0x%x+ begins", "")))

    local seconds, code = node:stop()
    assert.equal(0, code)
    assert.is_true(seconds < 5, ("the stop took %.1f s"):format(seconds))
    assert.same({}, (look "nodes"))
    assert.same({}, (look "beats"))
  end)

  it("is refused where somebody has the name, in a sentence", function()
    local first <close> = start()
    first:wait_log "appliance | master: started"
    local second <close> = start({}, { second = true })
    second:wait_log "another node of this name is in the cluster"
    assert.not_matches("master: started", second.text)
    local code, text = second:command "healthcheck"
    assert.equal(1, code)
    assert.matches("another node of this name", text)
    assert.matches("worker waits: the name one is another node's", text)
    assert.not_equal(0, first:pid "master")
  end)

  it("says that it has another ZOOKEEPER_AUTH than the others, and goes on asking", function()
    local first <close> = start { CLUSTER_NAME = "place-auth", ZOOKEEPER_AUTH = "spark:one" }
    first:wait_log "appliance | master: started"
    local second <close> = start({ CLUSTER_NAME = "place-auth", ZOOKEEPER_AUTH = "spark:two", NODE_NAME = "two" }, { second = true })
    second:wait_log "ZOOKEEPER_AUTH has to be that of the cluster's other nodes"
    second:wait_log "master: waits for the lease node"
    local code, text = second:command "healthcheck"
    assert.equal(1, code)
    assert.matches("NOAUTH", text)
    assert.not_matches("master: started", second.text)
    assert.not_matches("broke", second.text)
  end)

  it("says that it has a ZOOKEEPER_AUTH where the others have none, or none where they have one, and starts nothing", function()
    for name, auth in pairs { ["place-open"] = { false, "spark:one", "was made without ZOOKEEPER_AUTH, and this node has one" },
                              ["place-closed"] = { "spark:one", false, "ZOOKEEPER_AUTH is missing here, and has to be that of the" } } do
      local first <close> = start { CLUSTER_NAME = name, ZOOKEEPER_AUTH = auth[1] or nil }
      first:wait_log "appliance | master: started"
      local second <close> = start({ CLUSTER_NAME = name, ZOOKEEPER_AUTH = auth[2] or nil, NODE_NAME = "two", CLUSTER_SIZE = "3",
        CLUSTER_WAIT = "1s" }, { second = true })
      second:wait_log(auth[3])
      second:wait_log "master: waits for the lease node"
      local code, text = second:command "healthcheck"
      assert.equal(1, code)
      assert.matches(auth[3], text)
      spark_node.await("what the worker waits for", function()
        return select(2, second:command "healthcheck"):find("worker waits: ZOOKEEPER_AUTH keeps this node out of the cluster", 1, true)
      end)
      assert.matches(auth[3], (select(2, second:command "status")))
      assert.not_matches("master: started", second.text)
      assert.not_matches("CLUSTER_SIZE", second.text)
      assert.not_matches("broke", second.text)
      assert.equal(1, select(2, second.text:gsub("starts no daemon", "")))
      assert.same({ "one" }, cluster(first).nodes and { cluster(first).nodes[1].name })
    end
  end)

  it("leaves the place above open to other clusters, each with a ZOOKEEPER_AUTH of its own", function()
    local first <close> = start({ CLUSTER_NAME = "place-one", ZOOKEEPER_AUTH = "spark:one", ZOOKEEPER = ensemble.addresses .. "/shared" })
    first:wait_log "appliance | master: started"
    local second <close> = start({ CLUSTER_NAME = "place-two", ZOOKEEPER_AUTH = "spark:two", NODE_NAME = "two",
      ZOOKEEPER = ensemble.addresses .. "/shared" }, { second = true })
    second:wait_log "appliance | master: started"
  end)

  it("waits for a ZooKeeper that comes later, and says so", function()
    ensemble[1]:stop()
    local node <close> = start()
    node:wait_log "master: waits for the lease node"
    local code, text = node:command "healthcheck"
    assert.equal(1, code)
    assert.matches("there is no session with ZooKeeper", text)
    assert.matches("no session with ZooKeeper %(", (select(2, node:command "status")))
    ensemble[1]:start()
    node:wait_log "appliance | master: started"
  end)

  it("ends its master when ZooKeeper stands still, and starts it again", function()
    local node <close> = start()
    node:wait_log "appliance | master: started"
    ensemble[1]:freeze()
    local at = node:wait_log "master: killed at the end of its lease node"
    ensemble[1]:thaw()
    node:wait_log("appliance | master: started", at)
  end)

  it("leaves no master beyond its lease though the program alone stands still, and goes on when that goes on", function()
    local node <close> = start()
    node:wait_log "appliance | master: started"
    local pid = node:pid "master"
    signal(node, "STOP")
    -- The session is kept up by nobody: the kernel has ended the master before another could be elected.
    spark_node.await("the master's end", function() return not spark_node.is_alive(pid) end)
    assert.matches("State:%s*T", file.read(("/proc/%d/status"):format(supervise.view(node.name).pid)))
    local other <close> = zk.open { servers = ensemble.addresses, session = 4, name = "test" }
    assert.is_truthy(other:exists "/spark-appliance/place-spec/nodes/one", "its session was over before its master was")
    local at = #node.text
    signal(node, "CONT")
    node:wait_log("master: killed at the end of its lease node", at)
    node:wait_log("appliance | master: started", at)
  end)
end)
