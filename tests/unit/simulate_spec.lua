-- Pure but for the state table of services, which is the program's own in C.
local plan = require "appliance.plan"
local simulate = require "appliance.simulate"

local worker = {
  name = "worker",
  plan = function(_, facts)
    return plan.plan {
      files = { ["spark-defaults.conf"] = plan.properties { ["spark.master"] = "spark://" .. table.concat(facts.masters, ",") } },
      services = { plan.service { name = "worker", command = { "/bin/worker", table.unpack(facts.masters) }, ready = plan.tcp(8081) } },
    }
  end,
}

--- A profile of the services given.
local function of(...)
  local services = { ... }
  return { plan = function() return plan.plan { services = services } end }
end

local function some(name, more)
  local spec = { name = name, command = { "/bin/" .. name } }
  for field, value in pairs(more or {}) do spec[field] = value end
  return spec
end

describe("simulate", function()
  it("restarts the worker once when two masters change within one second", function()
    local node <close> = simulate(worker, { masters = { "10.0.0.1", "10.0.0.2" } })
    node.fact("masters", { "10.0.0.3", "10.0.0.2" }); node.fact("masters", { "10.0.0.3", "10.0.0.4" })
    node.pass(2)
    assert.same({
      "spark-defaults.conf: spark.master is now spark://10.0.0.3,10.0.0.4",
      "worker: restarted, masters are now 10.0.0.3 10.0.0.4",
    }, node.decisions)
    assert.equal(2, node.services.worker.starts)
    assert.same({ "/bin/worker", "10.0.0.3", "10.0.0.4" }, node.services.worker.spec.command)
    assert.match("spark://10.0.0.3,10.0.0.4", node.files["spark-defaults.conf"], 1, true)
  end)

  it("acts after a change has settled, not before", function()
    local node <close> = simulate(worker, { masters = { "a" } })
    node.fact("masters", { "b" })
    node.pass(0.9)
    assert.same({}, node.decisions)
    node.pass(0.2)
    assert.equal(2, #node.decisions)
  end)

  it("does nothing for a fact that comes back to what it was", function()
    local node <close> = simulate(worker, { masters = { "a" } })
    node.fact("masters", { "b" }); node.pass(0.5); node.fact("masters", { "a" }); node.pass(5)
    assert.same({}, node.decisions)
  end)

  it("shows the plan in force and the states of services", function()
    local node <close> = simulate(worker, { masters = { "a" } })
    assert.equal("starting", node.services.worker.state)
    node.ready "worker"
    assert.equal("up", node.services.worker.state)
    assert.same({ "/bin/worker", "a" }, node.plan.services[1].command)
    assert.same({ "worker: waiting", "worker: starting", "worker: up" }, node.log)
  end)

  it("starts who waits when what it needs is there", function()
    local node <close> = simulate(of(
      some("worker", { after = { master = "ready", prepare = "done" } }), some("master", { ready = plan.tcp(7077) }),
      some("prepare", { oneshot = true }), some("early", { after = { master = "started" } })))
    local services = node.services
    assert.equal("waiting", services.worker.state)
    assert.equal("up", services.early.state)
    node.ready "master"
    assert.equal("waiting", services.worker.state)
    node.exit("prepare", 0)
    assert.equal("done", services.prepare.state)
    assert.equal("up", services.worker.state)
  end)

  it("backs off as the supervisor does, and forgets crashes after a healthy run", function()
    local node <close> = simulate(of(some("a", { backoff = { min = 1, max = 3, healthy = 10 } })))
    local a = node.services.a
    for _, delay in ipairs { 1, 2, 3, 3 } do
      node.exit("a", 1)
      assert.equal("backoff", a.state)
      node.pass(delay - 0.01)
      assert.equal("backoff", a.state)
      node.pass(0.02)
      assert.equal("up", a.state)
    end
    node.pass(10)
    node.exit("a", 1)
    assert.equal("up", a.state)
    assert.equal(1, a.crashes)
  end)

  it("takes a clean exit for a crash where the service must always run, and for an end where it may", function()
    local node <close> = simulate(of(some "master", some("job", { restart = "on-failure" }), some("once", { restart = "never" }),
      some("picky", { restart = "on-failure", clean = { 143 } })))
    node.exit("master", 0); node.exit("job", 0); node.exit("once", 1); node.exit("picky", 143)
    assert.equal("backoff", node.services.master.state)
    assert.equal("done", node.services.job.state)
    assert.equal("failed", node.services.once.state)
    assert.equal("done", node.services.picky.state)
  end)

  it("gives up when it should, and a restart brings the service back", function()
    local node <close> = simulate(of(some("a", { backoff = { min = 0, give_up = 2 } })))
    node.exit("a", 1)
    assert.equal("up", node.services.a.state)
    node.exit("a", "KILL")
    assert.equal("failed", node.services.a.state)
    node.restart "a"
    assert.equal("up", node.services.a.state)
  end)

  it("counts a start that is not ready in time as a crash", function()
    local node <close> = simulate(of(some("a", { ready = plan.tcp(80, { deadline = 30 }) })))
    node.pass(29)
    assert.equal("starting", node.services.a.state)
    node.pass(1.1)
    assert.equal("backoff", node.services.a.state)
  end)

  it("tries again when the kernel has no process, and never when there is no program", function()
    local node <close> = simulate(of(some "a", some "b"))
    node.spawn_fails("a", "later"); node.spawn_fails("b", "never")
    node.restart "a"; node.restart "b"
    assert.equal("unspawned", node.services.a.state)
    assert.equal("failed", node.services.b.state)
    node.pass(0.2)
    assert.equal("up", node.services.a.state)
  end)

  it("waits for a process that takes its time to end, and kills it beyond its grace", function()
    local node <close> = simulate(of(some("a", { stop = { grace = 5 } })))
    node.lasts("a", 3)
    node.restart "a"
    node.pass(2.9)
    assert.equal("stopping", node.services.a.state)
    node.pass(0.2)
    assert.equal("up", node.services.a.state)
    node.lasts("a", 60)
    node.stop "a"
    node.pass(5.1)
    assert.equal("down", node.services.a.state)
    node.start "a"
    assert.equal("up", node.services.a.state)
  end)

  it("stops a service that its fact no longer asks for", function()
    local sql = { plan = function(_, facts)
      return plan.plan { services = { some "worker", facts.sql.held and some("sql", { after = { worker = "ready" } }) } }
    end }
    local node <close> = simulate(sql, { sql = { held = false } })
    assert.is_nil(node.services.sql)
    node.fact("sql", { held = true }); node.pass(1)
    assert.equal("up", node.services.sql.state)
    node.fact("sql", { held = false }); node.pass(1)
    assert.is_nil(node.services.sql)
    assert.same({ "sql: started, sql.held is now true", "sql: stopped, sql.held is now false" }, node.decisions)
    assert.equal(1, node.services.worker.starts)
  end)

  it("keeps a healthy service that is to be kept, and gives it the new plan at its next start", function()
    local kept = { plan = function(_, facts)
      return plan.plan { services = { some("sql", { change = "keep-while-healthy", nice = facts.nice }) } }
    end }
    local node <close> = simulate(kept, { nice = 1 })
    node.fact("nice", 2); node.pass(1)
    assert.same({ "sql: goes on running though nice is now 2; its next start uses the new plan" }, node.decisions)
    assert.equal(1, node.services.sql.spec.nice)
    node.exit("sql", 1); node.pass(1)
    assert.equal(2, node.services.sql.spec.nice)
  end)

  it("keeps the plan in force when there is no new one", function()
    local node <close> = simulate(worker, { masters = { "a" } })
    node.fact("masters", { 1, {} })
    assert.has_error(function() node.pass(2) end)                 -- the profile's own slip, with its own line
    local fragile = { plan = function(_, facts) return plan.plan { services = { some("a", { nice = facts.nice }) } } end }
    local other <close> = simulate(fragile, { nice = 1 })
    other.fact("nice", 99); other.pass(1)
    assert.same({ "the plan in force stays: profile simulated: service a: nice is 99; it takes a whole number from -20 to 19" },
      other.decisions)
    assert.equal(1, other.plan.services[1].nice)
  end)

  it("refuses a first plan that is wrong with all its faults", function()
    assert.error_matches(function() simulate(of(some("a", { nice = 99 }), some("b", { comand = {} }))) end,
      "service a: nice is 99.*\n.*service b: comand is not known")
  end)

  it("reads settings like the program, and again on SIGHUP", function()
    local limited = {
      settings = { MY_NICE = { type = "integer", default = "3", doc = "How nice." } },
      plan = function(env) return plan.plan { services = { some("a", { nice = env.MY_NICE }) } } end,
    }
    local node <close> = simulate(limited, {}, { settings = { MY_NICE = "5" } })
    assert.equal(5, node.plan.services[1].nice)
    node.reload { MY_NICE = "7" }
    assert.equal(7, node.services.a.spec.nice)
    assert.same({ "a: restarted, its nice changed" }, node.decisions)
    node.reload { MY_NICE = "much" }
    assert.match("^the plan in force stays: MY_NICE", node.decisions[2])
  end)

  it("finds a profile by name beside the spec, and runs it as the program does", function()
    local node <close> = simulate("worker", { masters = { "10.0.0.1", "10.0.0.2" } }, { settings = { WORKER_NICE = "5" } })
    node.fact("masters", { "10.0.0.3", "10.0.0.2" }); node.fact("masters", { "10.0.0.3", "10.0.0.4" })
    node.pass(2)
    assert.same({ "worker: restarted, masters are now 10.0.0.3 10.0.0.4" }, node.decisions)
    assert.equal(5, node.plan.services[1].nice)
    node.fact("masters", nil); node.pass(2)
    assert.match("^the plan in force stays: .*profiles/worker.lua:%d+: .*in the plan of profile worker", node.decisions[2])
    assert.error_matches(function() simulate("wroker", {}) end, 'profile "wroker".*did you mean "worker"')
    assert.error_matches(function() simulate("worker", {}, { settings = { WORKER_NIC = "5" } }) end, "did you mean WORKER_NICE")
  end)

  it("says what can't happen: the end of what does not run, a service that is not there", function()
    local node <close> = simulate(of(some "a"))
    node.stop "a"
    assert.has_error(function() node.exit("a", 1) end, "a: is down, so no process of it can end")
    assert.has_error(function() node.ready "b" end, "b: the simulated node has no such service")
  end)

  it("takes a thousand steps in well under a second", function()
    local node <close> = simulate(worker, { masters = { "m0" } })
    local began = os.clock()
    for i = 1, 1000 do
      node.fact("masters", { "m" .. i })
      node.pass(2)
      node.ready "worker"
    end
    assert.is_true(os.clock() - began < 1)
    assert.equal(1001, node.services.worker.starts)
  end)

  it("starts under a lease, ends with it and waits for it", function()
    local node <close> = simulate(of(some("sql", { lease = "sql" }), some("other", { after = { sql = "ready" } })), {})
    assert.equal("waiting", node.services.sql.state)
    node.lease("sql", 0.1)
    assert.equal("waiting", node.services.sql.state)
    node.lease("sql", 2)
    assert.same({ "up", "up" }, { node.services.sql.state, node.services.other.state })
    node.pass(1)
    node.lease("sql", 2)
    node.pass(1.9)
    assert.equal("up", node.services.sql.state)
    node.pass(0.2)
    assert.same({ "waiting", "up", 0 }, { node.services.sql.state, node.services.other.state, node.services.sql.crashes })
    node.lease("sql", 60)
    assert.same({ "up", 2 }, { node.services.sql.state, node.services.sql.starts })
    node.exit("sql", 1)
    assert.same({ "backoff", 1 }, { node.services.sql.state, node.services.sql.crashes })
    node.pass(1)
    node.lease("sql", 0)
    assert.equal("waiting", node.services.sql.state)
    node.lease("sql", 60)
    node.kill "sql"
    assert.same({ "up", 5, 1 }, { node.services.sql.state, node.services.sql.starts, node.services.sql.crashes })
    node.stop "sql"
    node.kill "sql"
    assert.equal("down", node.services.sql.state)
  end)

  it("has whole clusters, too", function()
    local cluster = simulate.cluster { nodes = 3, workers = 1, seed = 7 }
    cluster:pass(12)
    local first = cluster:leader()
    first:crash()
    cluster:pass(8)
    assert.is_truthy(cluster:leader() and cluster:leader() ~= first and cluster:sql(), cluster:story())
    assert.equal(0, cluster.double.thriftserver)
  end)
end)
