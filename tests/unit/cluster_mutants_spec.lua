-- Can the random schedules fail? Each step of the protocol is left out once, here only, and some seed must notice. Where two steps cover
-- each other (docs/ha.md says which), both are left out; and where one is a second line of defence, the bound it keeps is shown.
local agent = require "appliance.cluster.agent"
local beats = require "appliance.cluster.beats"
local masters = require "appliance.cluster.masters"
local member = require "appliance.cluster.member"
local peers = require "appliance.cluster.peers"
local schedule = require "appliance.simulate.schedule"
local simulated = require "appliance.simulate.cluster"
local sql = require "appliance.cluster.sql"
local switch = require "appliance.cluster.switch"
local undertaker = require "appliance.cluster.undertaker"

local function nothing() end

--- Puts others in the place of functions for as long as f runs. changes: { { module, name, replacement(original) } }
local function with(changes, f)
  local kept = {}
  for i, change in ipairs(changes) do
    kept[i] = change[1][change[2]]
    change[1][change[2]] = change[3](kept[i])
  end
  local ok, err = pcall(f)
  for i, change in ipairs(changes) do change[1][change[2]] = kept[i] end
  if not ok then error(err, 0) end
end

--- The first seed that fails, and its faults; nil when none of them does.
local function first_failure(seeds, options)
  for seed = 1, seeds do
    local outcome = schedule.run(seed, options)
    if outcome.faults[1] then return seed, table.concat(outcome.faults, "; ") end
  end
end

--- Without the change all seeds pass; with it one fails, for a reason that matches.
local function is_noticed(name, changes, options)
  options.seeds = options.seeds or 150
  it("notice that " .. name, function()
    local seed, why
    with(changes, function() seed, why = first_failure(options.seeds, options) end)
    assert.is_truthy(seed, "no seed noticed")
    assert.is_truthy(not options.why or why:find(options.why), why)
    if os.getenv "MUTANTS_TOLD" then print(("# seed %d: %s: %s"):format(seed, name, why)) end
    local outcome = schedule.run(seed, { faults = options.faults, count = options.count, allowed = options.allowed })
    assert.same({}, outcome.faults, "the seed fails without the change, too")
  end)
end

local function always(value) return function() return function() return value end end end
local function never() return nothing end

describe("the schedules", function()
  is_noticed("a lease counts from its answer, not from before its sending", {
    { beats, "due", function(due) return function(self, _, timeout) return due(self, self.world.boot_ns(), timeout) end end },
  }, { faults = { "freeze", "late", "cut" }, seeds = 400 })

  is_noticed("a lease lasts longer than a session may", {
    { beats, "lasts", function() return function(_, timeout) return timeout + 1.5 end end },
  }, { faults = { "cut", "freeze" } })

  is_noticed("an answer is taken for as much as an acknowledged write", {
    { beats, "beat", function()
      return function(self, session)
        local sent = self.world.boot_ns()
        if self.zk:get(self.path.node) and self.session == session and self:may_lead() then
          self.world.lease("node", beats.due(self, sent, session.timeout))
          if self.holding and self.holding.live then self.world.lease("sql", beats.due(self, sent, session.timeout)) end
        end
      end
    end },
  }, { faults = { "stale_server" } })

  is_noticed("leases have no deadline of their own", {}, { faults = { "cut", "freeze", "wedge" }, without_deadlines = true })

  is_noticed("nobody looks whether our own ephemeral stands", {
    { member, "seen", never }, { member, "lost", never },
  }, { faults = { "wipe_node" }, count = 1, allowed = 0.5 })

  is_noticed("masters start before the cluster's version, name and record are settled", {
    { agent, "may_lead", function() return function(self) return self.session ~= nil end end },
    { switch, "is_ours", always(true) }, { masters, "record", never }, { masters, "bury", always(true) },
  }, { faults = { "crash", "kill_master" } })

  is_noticed("a latch is removed when its master is asked to stop, not when it has ended", {
    { masters, "event", function(event)
      return function(self, what)
        if what.kind == "leave" and self.master then
          for session in pairs(self.master.sessions) do self.dead[session] = self.task.now() end
          self.master.sessions = {}
        end
        return event(self, what)
      end
    end },
  }, { faults = { "leave" }, why = "two leading masters" })

  is_noticed("a living master's lost latch is not seen", { { masters.look, "latch", never } },
    { faults = { "wipe_latches" }, count = 1, allowed = 0.5, why = "two leading masters" })

  is_noticed("neither a lost latch nor a second leader is seen", { { masters.look, "latch", never }, { masters.look, "rival", never } },
    { faults = { "wipe_latches" }, count = 1, why = "two leading masters" })

  -- A node that has just come up, and whose list of the living comes after all else.
  local late_list = { peers, "start", function(start)
    return function(self)
      local zk, slow = self.zk, setmetatable({}, { __index = self.zk })
      function slow.watch_children(_, path)
        if path == self.path.nodes then self.task.sleep(4) end
        return zk:watch_children(path)
      end
      self.zk = slow
      start(self)
      self:spawn("late list", function()
        self.task.sleep(0.001)
        self.zk = zk
      end)
    end
  end }
  is_noticed("a dead node is not proved dead, by one who never saw it stand", {
    late_list, { undertaker, "proof", function() return function() return {} end end },
    { undertaker, "wait_for_absence", always(0) }, { masters.look, "latch", never },
  }, { faults = { "crash" } })
  it("have nothing to notice where the proof alone is left of that", function()
    with({ late_list, { undertaker, "wait_for_absence", always(0) }, { masters.look, "latch", never } }, function()
      assert.is_nil(first_failure(20, { faults = { "crash" } }))
    end)
  end)

  is_noticed("the thrift server is taken from a holder that lives",
    { { sql, "vacancy", function() return function() return "released", {} end end } },
    { faults = { "wipe_candidates", "reset", "leave", "kill_master" } })

  is_noticed("a holder whose lease nobody can know of is not waited out", { { beats, "outlived", always(0) } },
    { faults = { "wipe_holder", "wipe_candidates", "wedge" }, count = 6, seeds = 400 })

  is_noticed("nobody minds that another has written holder", {
    { sql, "seen_holder", never },
    { beats, "operations", function(operations)
      return function(self)
        local holding = self.holding
        self.holding = nil
        local all, subjects = operations(self)
        self.holding = holding
        return all, subjects
      end
    end },
  }, { faults = { "wipe_holder", "wipe_candidates" }, count = 5 })

  is_noticed("the thrift server is released before it has ended", {
    { sql, "event", function(event)
      return function(self, what)
        event(self, what)
        if what.kind == "leave" then self.sql_runs = false end
      end
    end },
  }, { faults = { "leave" }, why = "two thrift servers", world = function(world)
    local lease = world.lease
    function world.lease(name, due)                        -- giving it up would end it, too
      if name ~= "sql" or due ~= 0 then lease(name, due) end
    end
  end })

  is_noticed("the record of an SQL server that has ended is removed while somebody may lead who has read it", {
    { sql, "event", function(event)
      return function(self, what)
        local app = self.app
        event(self, what)
        if what.service == "thriftserver" and what.kind == "ended" and app then
          self:spawn("record", function() self.zk:delete(self.path.status .. "/app_" .. app) end)
        end
      end
    end },
  }, { faults = { "kill_master", "kill_sql" }, count = 8, seeds = 400, why = "ALIVE" })

  is_noticed("creates are not protected against a lost answer", {}, { faults = { "lose_create", "kill_master", "crash" }, count = 6,
    seeds = 400, tamper = function(client)
      return setmetatable({ create = function(_, path, data, options)
        return client:create(path, data, options and { ephemeral = options.ephemeral, sequential = options.sequential })
      end }, { __index = function(_, name)
        local value = client[name]
        return type(value) == "function" and function(_, ...) return value(client, ...) end or value
      end })
    end })
end)

describe("what a step is worth in time", function()
  local function settled(seed)
    local cluster = simulated.new { nodes = 3, seed = seed }
    cluster:pass(12)
    return cluster, assert(cluster:leader())
  end

  --- Seconds from what is done to the leader until another is ALIVE.
  local function seconds_after(act)
    local cluster, first = settled(5)
    local began = cluster.clock.now
    act(first)
    repeat
      cluster:pass(0.05)
      local now = cluster:leader()
    until now and now ~= first or cluster.clock.now - began > 60
    return cluster.clock.now - began
  end
  local function crash(node) node:crash() end
  local function kill(node) node:kill "master" end

  it("a dead master's latch: the rest of its session", function()
    assert.is_true(seconds_after(kill) < 1)
    with({ { masters, "bury", always(true) } }, function() assert.is_true(seconds_after(kill) > 15) end)
  end)

  it("a dead node's latch: the rest of its master's session", function()
    assert.is_true(seconds_after(crash) < 7)
    with({ { undertaker, "step", never } }, function() assert.is_true(seconds_after(crash) > 15) end)
  end)

  it("a dead node's records: a recovery that waits for them", function()
    local with_them = seconds_after(crash)
    with({ { undertaker, "clear_records", always(true) } }, function() assert.is_true(seconds_after(crash) > with_them + 3) end)
  end)

  --- Seconds from ZooKeeper's return after an outage, in which all that has a lease ends; SQL was on the leader's node, or on another.
  local function seconds_after_outage(together, lasts)
    local zookeeper = require "appliance.simulate.zookeeper"
    local cluster, first = settled(5)
    if not together then
      kill(first)
      cluster:pass(6)
    end
    zookeeper.stop(cluster.servers)
    cluster:pass(lasts or 8)
    zookeeper.serve(cluster.servers)
    local began = cluster.clock.now
    repeat cluster:pass(0.05) until cluster:leader() or cluster.clock.now - began > 60
    return cluster.clock.now - began
  end

  it("the record of its own SQL server that has ended: a recovery that waits for it", function()
    for _, together in ipairs { true, false } do
      local without_it = seconds_after_outage(together)
      with({ { undertaker, "clear_apps", always(true) } }, function()
        assert.is_true(seconds_after_outage(together) > without_it + 3)
      end)
    end
  end)

  it("a dead latch that waits for its turn: the same, where another's is the first", function()
    local without_it = seconds_after_outage(false)
    assert.is_true(seconds_after_outage(false, 120) < without_it + 3)  -- it can wait only while there is ZooKeeper
    with({ { undertaker, "has_apps_left", always(false) } }, function() assert.is_true(seconds_after_outage(false) > without_it + 3) end)
  end)

  it("restarting who is STANDBY for ever: a leader at all", function()
    local function after_zombies()
      local cluster = settled(9)
      for _, node in ipairs(cluster.nodes) do
        node.blind = true
        node:kill "master"
      end
      cluster:pass(50)
      return cluster:leader()
    end
    assert.is_truthy(after_zombies())
    with({ { masters.look, "stuck", never }, { masters.look, "zombie", never } }, function() assert.is_nil(after_zombies()) end)
  end)
end)
