local plan = require "appliance.plan"
local reconcile = require "appliance.reconcile"
local settle = require "appliance.settle"
local supervise = require "appliance.supervise"

local function made(parts) return assert(plan.normalise(plan.plan(parts), { profile = "test" })) end

local function some(name, more)
  local spec = { name = name, command = { "/bin/" .. name } }
  for field, value in pairs(more or {}) do spec[field] = value end
  return spec
end

--- "kind subject" of each step, in order.
local function outline(steps)
  local list = {}
  for i, step in ipairs(steps) do list[i] = step.kind .. " " .. (step.service or step.file) end
  return list
end

local function sentences(steps)
  local list = {}
  for _, step in ipairs(steps) do list[#list + 1] = step.log end
  return list
end

local function conf(keys) return { ["spark-defaults.conf"] = plan.properties(keys) } end

describe("reconcile", function()
  it("writes, declares and starts everything at the start", function()
    local wanted = made { files = conf { ["spark.a"] = 1, ["spark.b"] = 2 }, services = { some "master", some "worker" } }
    local steps = reconcile.steps(nil, wanted)
    assert.same({ "write spark-defaults.conf", "declare master", "declare worker", "start master", "start worker" }, outline(steps))
    assert.same({ "spark-defaults.conf: written, 2 keys", "master: started", "worker: started" }, sentences(steps))
    assert.equal(wanted.files["spark-defaults.conf"].text, steps[1].text)
    assert.equal(420, steps[1].mode)
    assert.same(wanted.services[1], steps[2].spec)
  end)

  it("starts those that others wait for before these", function()
    local wanted = made { services = { some("worker", { after = { cache = "ready" } }), some("cache", { after = { disk = "done" } }),
                                       some("disk", { oneshot = true }) } }
    assert.same({ "declare disk", "declare cache", "declare worker", "start disk", "start cache", "start worker" },
      outline(reconcile.steps(nil, wanted)))
  end)

  it("does nothing when nothing differs", function()
    local function one()
      return made { files = conf { ["spark.a"] = 1 }, services = { some("a", { inputs = { "spark-defaults.conf" } }) } }
    end
    assert.same({}, reconcile.steps(one(), one()))
  end)

  it("restarts only the service whose process changed", function()
    local steps = reconcile.steps(
      made { services = { some "master", some("worker", { command = { "/bin/worker", "a" } }) } },
      made { services = { some "master", some("worker", { command = { "/bin/worker", "b" } }) } })
    assert.same({ "declare worker", "restart worker" }, outline(steps))
    assert.same({ "worker: restarted, its command changed" }, sentences(steps))
  end)

  it("restarts who reads a file that changed, and nobody else", function()
    local function with(memory)
      return made { files = conf { ["spark.executor.memory"] = memory },
                    services = { some "master", some("sql", { inputs = { "spark-defaults.conf" } }) } }
    end
    local steps = reconcile.steps(with "2g", with "4g")
    assert.same({ "write spark-defaults.conf", "restart sql" }, outline(steps))
    assert.same({ "spark-defaults.conf: spark.executor.memory is now 4g", "sql: restarted, spark.executor.memory is now 4g" },
      sentences(steps))
  end)

  it("restarts nobody for a comment, an origin or an order", function()
    local function with(text)
      return assert(plan.normalise(plan.plan { services = { some("sql", { inputs = { "spark-defaults.conf" } }) } }, {
        profile = "test",
        layers = { ["spark-defaults.conf"] = { { layer = "mounted", origin = "/conf/spark-defaults.conf", text = text } } },
      }))
    end
    local steps = reconcile.steps(with "spark.a 1\nspark.b 2\n", with "# why\nspark.b=2\nspark.a=1\n")
    assert.same({ "spark-defaults.conf: written anew, with the same values" }, sentences(steps))
  end)

  it("tells the fact behind a change rather than its mechanics", function()
    local causes = reconcile.causes({ masters = { "10.0.0.1", "10.0.0.2" } }, { masters = { "10.0.0.3", "10.0.0.4" } })
    local steps = reconcile.steps(
      made { services = { some("worker", { nice = 1 }) } }, made { services = { some("worker", { nice = 2 }) } }, { causes = causes })
    assert.same({ "worker: restarted, masters are now 10.0.0.3 10.0.0.4" }, sentences(steps))
  end)

  it("stops what is no longer in the plan, and removes its files last", function()
    local steps = reconcile.steps(
      made { files = { motd = "x" }, services = { some "master", some "sql" } }, made { services = { some "master" } },
      { causes = { "sql.held is now false" } })
    assert.same({ "stop sql", "remove motd" }, outline(steps))
    assert.same({ "sql: stopped, sql.held is now false", "motd: removed, no longer in the plan" }, sentences(steps))
  end)

  it("does not end a process for a change of its supervision", function()
    local steps = reconcile.steps(
      made { services = { some "a" } }, made { services = { some("a", { backoff = { max = 5 }, critical = false }) } })
    assert.same({ "declare a", "keep a" }, outline(steps))
    assert.same({ "a: goes on running; its new backoff and critical hold from the next start" }, sentences(steps))
  end)

  it("tells of nobody that it goes on running who does not run, nor whom it is started after", function()
    local function with(change) return made { services = { some "b", some("a", change) } } end
    local function told(change, state)
      return sentences(reconcile.steps(with(), with(change), { states = { a = state } }))
    end
    for _, state in ipairs { "waiting", "done", "backoff", "down" } do
      assert.same({}, told({ backoff = { max = 5 } }, state))
      assert.same({}, told({ nice = 2, change = "keep" }, state))
    end
    assert.same({}, told({ after = { b = "ready" } }, "up"))
    assert.same({ "a: goes on running; its new critical holds from the next start" },
      told({ after = { b = "ready" }, critical = false }, "up"))
  end)

  it("tells in one sentence who goes on running for the same reason", function()
    local function with(nice)
      local services = {}
      for i, name in ipairs { "a", "b", "c" } do services[i] = some(name, { change = "keep", nice = nice }) end
      return made { services = services }
    end
    assert.same({ "a, b and c: go on running though the masters are now x; their next starts use the new plan" },
      sentences(reconcile.steps(with(1), with(2), { causes = { "the masters are now x" } })))
  end)

  it("asks nobody to act on what is the reconciler's own", function()
    assert.same({}, reconcile.steps(
      made { services = { some("a", { change = "keep" }) } }, made { services = { some("a", { role = "x" }) } }))
  end)

  it("keeps a service that is to be kept, and one to be kept while it is healthy", function()
    local function with(change, nice) return made { services = { some("sql", { change = change, nice = nice }) } } end
    local function outcome(change, state)
      return outline(reconcile.steps(with(change, 1), with(change, 2), { states = { sql = state } }))[2]
    end
    assert.equal("keep sql", outcome("keep", "backoff"))
    assert.equal("keep sql", outcome("keep-while-healthy", "up"))
    assert.equal("keep sql", outcome("keep-while-healthy", "starting"))
    assert.equal("restart sql", outcome("keep-while-healthy", "backoff"))
    assert.equal("restart sql", outcome("keep-while-healthy", "failed"))
    assert.equal("restart sql", outcome("restart", "up"))
    assert.equal("restart sql", outcome(nil, "up"))
  end)

  it("leaves stopped what a person has stopped", function()
    local steps = reconcile.steps(made { services = { some("a", { nice = 1 }) } }, made { services = { some("a", { nice = 2 }) } },
      { states = { a = { state = "down", wanted = false } } })
    assert.same({ "declare a", "keep a" }, outline(steps))
    assert.same({ "a: stays stopped as it was asked to; its next start uses the new plan" }, sentences(steps))
  end)

  it("takes files found on disk for written, and removes the others", function()
    local wanted = made { files = { motd = "hello" } }
    local found = { files = { motd = { text = "hello", mode = 420 }, old = { text = "x", mode = 420 } }, services = {} }
    assert.same({ "remove old" }, outline(reconcile.steps(found, wanted)))
    found.files.motd.mode = 384
    assert.same({ "motd: its mode is now 0644", "old: removed, no longer in the plan" }, sentences(reconcile.steps(found, wanted)))
  end)

  it("says each note of a plan once", function()
    local function with(...) return made { services = { some "a" }, notes = { ... } } end
    assert.same({ "port 8080 is open to others" }, sentences(reconcile.steps(with "x", with("x", "port 8080 is open to others"))))
  end)

  it("restarts for another lease", function()
    local function under(lease) return made { services = { some("a", { lease = lease }) } } end
    assert.same({ "a: restarted, its lease changed" }, sentences(reconcile.steps(under "sql", under "node")))
    assert.same({ "a: restarted, its lease changed" }, sentences(reconcile.steps(under(nil), under "sql")))
  end)

  it("tells no secret", function()
    local steps = reconcile.steps(made { files = conf { ["spark.authenticate.secret"] = "one1" } },
      made { files = conf { ["spark.authenticate.secret"] = "two2" } })
    assert.same({ "spark-defaults.conf: spark.authenticate.secret changed" }, sentences(steps))
  end)
end)

describe("causes", function()
  it("name the field of a fact, a list, its end", function()
    assert.same({
      "leases.sql.held is now true", "limits.memory is now 2048", "masters are now none", "secret_token changed", "zone is gone",
    }, reconcile.causes(
      { limits = { memory = 1024, cpus = 2 }, masters = { "a" }, zone = "b", secret_token = "x", leases = { sql = { held = false } } },
      { limits = { memory = 2048, cpus = 2 }, masters = {}, secret_token = "y", leases = { sql = { held = true } } }))
    -- what a node of a cluster learns is told once, and in words
    assert.same({ "the masters are now a:7077 b:7077", "the cluster runs this node's Spark version now", "a master answers" },
      reconcile.causes({ cluster = { masters = {}, why = "no session", waits = "Spark 4 waits" }, masters = { answers = false } },
        { cluster = { masters = { "a:7077", "b:7077" }, uri = "spark://a:7077,b:7077" }, masters = { answers = true } }))
    assert.same({}, reconcile.causes({ a = { 1, { b = 2 } } }, { a = { 1, { b = 2 } } }))
  end)
end)

describe("carrying out", function()
  local function world_of(refuse)
    local done = {}
    local function note(word) return function(subject)
      local name = type(subject) == "table" and subject.name or subject
      if refuse and refuse(word, name, done) then return nil, "no" end
      done[#done + 1] = word .. " " .. name
      return true
    end end
    return { write = note "write", remove_file = note "remove_file", declare = note "declare", remove = note "remove", want = note "want",
             restart = note "restart", log = function() end }, done
  end

  it("does each step, in order", function()
    local world, done = world_of()
    local before = made { files = { old = "x" }, services = { some "gone", some("b", { nice = 1 }) } }
    local after = made { files = { new = "y" }, services = { some "a", some("b", { nice = 2 }) } }
    assert.same({}, supervise.carry_out(reconcile.steps(before, after), world))
    assert.same({ "write new", "declare a", "declare b", "remove gone", "restart b", "want a", "remove_file old" }, done)
  end)

  it("goes on after a failure and gives it back", function()
    local world, done = world_of(function(word, name) return word == "write" and name == "a" end)
    local failures = supervise.carry_out(reconcile.steps(nil, made { files = { a = "1", b = "2" }, services = { some "s" } }), world)
    assert.equal(1, #failures)
    assert.equal("a", failures[1].step.file)
    assert.equal("no", failures[1].err)
    assert.same({ "write b", "declare s", "want s" }, done)
  end)

  it("leaves alone what could not be declared, and tries again what failed", function()
    local world, done = world_of(function(word, name) return name == "bad" or name == "full" and word == "write" end)
    local wanted = made { files = { full = "1", fine = "2" }, services = { some "good", some "bad" } }
    local failures = supervise.carry_out(reconcile.steps(nil, wanted), world)
    assert.same({ "write fine", "declare good", "want good" }, done)
    assert.equal(2, #failures)
    local again = reconcile.steps(supervise.in_force(wanted, failures), wanted)
    assert.same({ "write full", "declare bad", "start bad" }, outline(again))
    assert.equal(wanted, supervise.in_force(wanted, {}))
    local before = made { files = { full = "0" }, services = { some("bad", { nice = 3 }) } }
    again = reconcile.steps(supervise.in_force(wanted, failures, before), wanted)
    assert.same({ "write full", "declare bad", "restart bad" }, outline(again))
  end)

  it("starts and restarts nobody with half of his files, and tries again with the next change", function()
    local is_full = true
    local world, done = world_of(function(word, name) return is_full and word == "write" and name == "full" end)
    local before = made { files = { full = "0", fine = "0" }, services = { some("old", { inputs = { "full", "fine" } }) } }
    local wanted = made { files = { full = "1", fine = "1" }, services = {
      some("old", { inputs = { "full", "fine" } }), some("new", { inputs = { "full" } }), some("other", { inputs = { "fine" } }) } }
    local failures = supervise.carry_out(reconcile.steps(before, wanted), world)
    assert.same({ "write fine", "declare other", "want other" }, done)
    assert.same({ "no", "its full was not written; tried again with the next change",
      "its full was not written; tried again with the next change" }, { failures[1].err, failures[2].err, failures[3].err })

    local in_force = supervise.in_force(wanted, failures, before)
    assert.same({ "write fine", "write full", "declare new", "restart old", "restart other", "start new" },
      outline(reconcile.steps(in_force, wanted)))
    local undone = made { files = { full = "0", fine = "1" }, services = wanted.services }
    assert.matches("restart old", table.concat(outline(reconcile.steps(in_force, undone)), ", "), 1, true)
    is_full = false
    assert.same({}, supervise.carry_out(reconcile.steps(in_force, wanted), world))
  end)

  it("declares again behind the others what looked like a circle", function()
    local world, done = world_of(function(word, name, so_far) return word == "declare" and name == "a" and #so_far == 0 end)
    assert.same({}, supervise.carry_out(reconcile.steps(nil, made { services = { some "a", some "b" } }), world))
    assert.same({ "declare b", "declare a", "want a", "want b" }, done)
  end)
end)

describe("settling", function()
  it("waits until changes have been quiet, once for a burst", function()
    local burst = settle.new { quiet = 1, most = 5 }
    assert.is_nil(burst:due())
    assert.is_false(burst:take(0))
    burst:changed(10)
    burst:changed(10.5)
    assert.equal(11.5, burst:due())
    assert.is_false(burst:take(11.4))
    assert.is_true(burst:take(11.5))
    assert.is_false(burst:take(12))
  end)

  it("does not wait for ever for what never rests", function()
    local burst = settle.new { quiet = 1, most = 5 }
    for now = 0, 20 do burst:changed(now / 2) end
    assert.equal(5, burst:due())
  end)
end)
