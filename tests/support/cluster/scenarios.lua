--- What may happen to a cluster, and what must follow: one table each, numbered as in the list of docs/ha.md.
---   fault(it, s)      done at s.at; s.leader and s.home (the node with the SQL server) are as they were before it
---   leads = seconds   another run of a master must be ALIVE by then;  stays = true: the leader goes on, and nobody else is ever ALIVE
---   sql = "stays"     the same SQL server goes on;  "moves": it is started on another node, and answers at `other` addresses
---   hold = seconds    how long the fault lasts (then everything is repaired);  during(it, s), after(it, s): what else must be so
---   colocated = true  leader and SQL server are brought together before, so that the fault hits both
---   allowed           overlaps in seconds (sampler.lua); nothing said means none at all
---   long = true       only with --soak
--- Limits are guards for a busy machine: what is measured is printed, and ./dev bench ha has the goals.
local assert = require "luassert"
local hosts = require "cluster.hosts"
local jobs = require "cluster.jobs"
local sql = require "cluster.sql"
local task = require "appliance.task"

local function every_server(it, f)
  for _, server in ipairs(it.zookeepers.servers) do f(server) end
end

local function pid_of(it, kind, node)
  for _, jvm in ipairs(it.watch:running(kind)) do
    if jvm.host == node.host then return jvm.pid end
  end
end

--- Has a node's service been started again, and is it what it was?
local function started_again(it, kind, node, old)
  hosts.await(("another %s of %s"):format(kind, node.name), function()
    local pid = pid_of(it, kind, node)
    return pid and pid ~= old
  end)
end

local function cut_from_peers(it, s)
  for _, node in ipairs(it.masters) do
    if node ~= s.leader then s.leader:cut(node.host) end
  end
end

--- How often services of a kind were started since a time, on all nodes.
local function starts_since(it, kind, at)
  local count = 0
  for key, times in pairs(it.watch.starts) do
    for _, time in ipairs(key:match "/(%a+)$" == kind and times or {}) do
      if time >= at then count = count + 1 end
    end
  end
  return count
end

--- Bounded flaps: what a bad wire may cost.
local function flaps(it, s)
  local masters, sql_servers = starts_since(it, "master", s.at), starts_since(it, "thriftserver", s.at)
  s.told = ("%d masters and %d SQL servers were started"):format(masters, sql_servers)
  assert.is_true(masters <= 3 and sql_servers <= 3, s.told)
end

--- After what outsiders did to the election: the sampler has the exact time that two pages said ALIVE.
local function how_long_two(it, s) s.told = ("two said ALIVE for %.2f s"):format(it.watch.both or 0) end

--- A node that can't run the SQL server gives it to another, where it answers.
local function handed_over(it, s)
  s.new = hosts.await("an SQL server on another node", function()
    local home = it:sql_node()
    return home ~= s.home and home
  end)
  local moved = task.now()
  local answered = it.sql:wait(moved, s.new)
  s.told = ("another node had it after %.1f s and answered after %.1f s"):format(moved - s.at, answered - s.at)
end

--- What the leader says of the workers of a node -> "ALIVE", "DEAD", "ALIVE DEAD" ...
local function workers_of(it, node)
  local states = {}
  for _, worker in ipairs(assert(it:leader():page("master", 10), "the leader's page does not answer").workers) do
    if worker.host == node.address then states[#states + 1] = worker.state end
  end
  table.sort(states)
  return table.concat(states, " ")
end

return {
  {
    number = "1", name = "the leader's JVM is killed", leads = 30, sql = "stays",
    fault = function(_, s) s.leader:signal_jvm("KILL", "master") end,
  },
  {
    number = "1", name = "somebody ends the leader's JVM by TERM", leads = 30, sql = "stays", long = true,
    fault = function(_, s) s.leader:signal_jvm("TERM", "master") end,
  },
  {
    number = "15", name = "a standby is killed", stays = true, sql = "stays",
    fault = function(it, s)
      s.standby = it:other(s.leader)
      s.old = pid_of(it, "master", s.standby)
      s.standby:signal_jvm("KILL", "master")
    end,
    during = function(it, s) started_again(it, "master", s.standby, s.old) end,
  },
  {
    number = "3, 10", name = "the ZooKeeper server that the leader's latch lives on is bounced", sql = "stays",
    fault = function(it) it.zookeepers:bounce(it:latch_server()) end,
    during = function(it) it.zookeepers:wait_quorum() end,
  },
  {
    number = "10", name = "ZooKeeper's leader is bounced", sql = "stays", long = true,
    fault = function(it) it.zookeepers:bounce(it.zookeepers:leader()) end,
    during = function(it) it.zookeepers:wait_quorum() end,
  },
  {
    number = "7", name = "the leader's node is cut off from ZooKeeper", colocated = true, leads = 40, sql = "moves",
    fault = function(it, s) every_server(it, function(server) s.leader:cut(server) end) end,
    during = function(it, s)
      hosts.await("the end of the old leader", function() return not pid_of(it, "master", s.leader) end, 30)
    end,
  },
  {
    number = "5", name = "the leader's node stands still for longer than its session", colocated = true, leads = 40, sql = "moves",
    fault = function(_, s) s.leader:freeze() end,
    during = function(_, s)
      -- Its PID 1 stands still like the rest; the kernel has kept the deadlines (fence.h).
      for _, kind in ipairs { "master", "thriftserver" } do
        assert.same({}, s.leader:pids(kind), "a " .. kind .. " that stands still outlives its lease")
      end
      s.leader:thaw()
    end,
  },
  {
    number = "5", name = "PID 1 of the leader's node alone stands still", colocated = true, leads = 40, sql = "moves", long = true,
    allowed = { zombies = true },                              -- for who should reap them is the one that stands still
    fault = function(_, s) s.leader:signal("STOP", { s.leader.init }) end,
    during = function(it, s)
      assert.is_nil(pid_of(it, "thriftserver", s.leader))
      assert.is_nil(pid_of(it, "master", s.leader))
    end,
    repair = function(_, s) s.leader:signal("CONT", { s.leader.init }) end,
  },
  {
    number = "2, 6", name = "the node of leader and SQL server loses its power, and a table outlives it", colocated = true, leads = 40,
    sql = "moves",
    before = function(_, s)
      assert(sql.ask(s.leader.address, { "create table if not exists kept as select 42 as answer", "select * from kept" }))
    end,
    fault = function(_, s) s.leader:kill() end,
    during = function(it, s)
      assert.equal("42", assert(sql.ask(it:other(s.leader).address, { "select answer from kept" })))
      s.told = ("the table was read after %.2f s"):format(task.now() - s.at)
      -- And as other programs find it: a real JDBC client that asks ZooKeeper where SQL is.
      local code, output = it:other(s.leader):client { "beeline", "-u", ("jdbc:hive2://%s/;serviceDiscoveryMode=zooKeeper;"
        .. "zooKeeperNamespace=hiveserver2"):format(it.zookeepers.connect), "-n", "test", "--silent=true", "--showHeader=false",
        "--outputformat=csv2", "-e", "select answer + 1 from kept" }
      assert.equal(0, code, output)
      assert.matches("43", output, 1, true)
    end,
  },
  {
    number = "20", name = "the SQL server's JVM is killed", stays = true,
    fault = function(it, s)
      s.old = pid_of(it, "thriftserver", s.home)
      s.home:signal_jvm("KILL", "thriftserver")
    end,
    during = function(it, s) started_again(it, "thriftserver", s.home, s.old) end,
  },
  {
    number = "19", name = "a job runs through a failover, and then loses an executor, which the new leader replaces", leads = 30,
    sql = "stays",
    before = function(it, s)
      s.job = jobs.start(it:other(s.leader))
      s.job:wait "round 2"
      s.executors = s.job:executors()
      assert(s.executors[1], "the job has no executor")
    end,
    fault = function(_, s) s.leader:signal_jvm("KILL", "master") end,
    during = function(_, s)
      s.job:goes_on()
      assert.same(s.executors, s.job:executors())              -- they survive a failover
      hosts.sh("kill -KILL %d", s.executors[1])
      hosts.await("another executor", function()
        for _, pid in ipairs(s.job:executors()) do
          local known = false
          for _, old in ipairs(s.executors) do known = known or old == pid end
          if not known then return true end
        end
      end)
      s.job:goes_on()
      s.job:finish()
      s.job:__close()
    end,
  },
  {
    number = "19", name = "a job that is submitted while nobody leads completes", leads = 60, sql = "stays",
    -- All masters stand still at once, so nobody leads for a while, whoever would be elected.
    fault = function(it, s)
      for _, node in ipairs(it.masters) do node:signal_jvm("KILL", "master") end
      s.job = jobs.start(it:other(s.leader))
    end,
    during = function(_, s)
      s.job:wait "round 1"
      s.job:finish()
      s.job:__close()
    end,
  },
  {
    number = "16", name = "all masters are killed, and the executors go on", leads = 60, sql = "stays", long = true,
    before = function(it, s)
      s.job = jobs.start(it:other(s.leader))
      s.job:wait "round 2"
      s.executors = s.job:executors()
    end,
    fault = function(it) for _, node in ipairs(it.masters) do node:signal_jvm("KILL", "master") end end,
    during = function(_, s)
      s.job:goes_on()
      assert.same(s.executors, s.job:executors())
      s.job:finish()
      s.job:__close()
    end,
  },
  {
    number = "18", name = "a worker is killed", stays = true, sql = "stays", long = true,
    fault = function(it, s)
      s.hit = it:other(s.home)
      s.old = pid_of(it, "worker", s.hit)
      s.hit:signal_jvm("KILL", "worker")
    end,
    during = function(it, s) started_again(it, "worker", s.hit, s.old) end,
  },
  {
    number = "21", name = "the node of leader and SQL server is stopped as planned", colocated = true, leads = 30, sql = "moves",
    fault = function(_, s)
      s.leader:stop(false)
      s.ending = task.start("the end of the node", function()
        hosts.await("the end of the node", function() return not s.leader:is_up() end, 60)
        return task.now() - s.at
      end)
    end,
    during = function(_, s)
      local _, took = assert(s.ending:join())
      s.told = ("its PID 1 ended after %.1f s"):format(took)
      assert.is_true(took < 10, "its stop took longer than STOP_TIMEOUT")
    end,
  },
  {
    number = "8", name = "the leader's node can't be reached by its peers, only ZooKeeper can", stays = true, sql = "stays",
    hold = 15, long = true,
    fault = cut_from_peers,
  },
  {
    number = "8", name = "the same for longer than the leader waits for a worker", stays = true, sql = "stays", hold = 150, long = true,
    limit = 300,
    fault = cut_from_peers,
    held = function(it, s)
      for _, node in ipairs(it.masters) do assert.equal(node == s.leader and "ALIVE" or "DEAD", workers_of(it, node)) end
    end,
  },
  {
    number = "9", name = "what ZooKeeper says does not reach the leader's node (one way)", colocated = true, leads = 40, sql = "moves",
    long = true,
    fault = function(it, s) every_server(it, function(server) s.leader:cut(server, "in") end) end,
  },
  {
    number = "9", name = "what the leader's node says does not reach ZooKeeper (the other way)", colocated = true, leads = 40,
    sql = "moves", long = true,
    fault = function(it, s) every_server(it, function(server) s.leader:cut(server, "out") end) end,
  },
  {
    number = "9", name = "a third of all packets between the leader's node and ZooKeeper is lost", colocated = true, hold = 60,
    long = true,
    fault = function(it, s) every_server(it, function(server) s.leader:lose(server, 0.3) end) end,
    held = flaps,
  },
  {
    number = "9", name = "what the leader's node and ZooKeeper say to each other takes 500 ms each way", colocated = true, hold = 60,
    long = true,
    fault = function(it, s) every_server(it, function(server) s.leader:delay(server, 0.5) end) end,
    held = flaps,
  },
  {
    number = "11", name = "ZooKeeper loses its quorum for 20 s, and a job goes on", hold = 20,
    before = function(it, s)
      s.logs = {}
      for _, node in ipairs(it.masters) do s.logs[node] = #node:log() end
      s.job = jobs.start(it:other(s.leader))
      s.job:wait "round 2"
      s.executors = s.job:executors()
    end,
    fault = function(it) for i = 2, 3 do it.zookeepers.servers[i]:kill() end end,
    held = function(it)
      assert.equal(0, #it.watch:running "thriftserver", "an SQL server outlives its lease")
      assert.equal(0, #it.watch:running "master", "a master outlives its lease")
    end,
    after = function(it, s)
      -- A leader that waits for an SQL server that has ended waits for spark.deploy.recoveryTimeout, 20 s.
      local took
      for _, node in ipairs(it.masters) do
        for ms in node:log():sub(s.logs[node] + 1):gmatch "Recovery complete in (%d+) ms" do took = math.max(took or 0, tonumber(ms)) end
      end
      s.told = ("its leader recovered in %.1f s"):format((took or 0) / 1000)
      assert.is_true((took or 0) < 10000, s.told)
      s.job:goes_on()
      assert.same(s.executors, s.job:executors())
      s.job:finish()
      s.job:__close()
    end,
  },
  {
    number = "11", name = "ZooKeeper loses its quorum for five minutes", hold = 300, long = true,
    fault = function(it) for i = 2, 3 do it.zookeepers.servers[i]:kill() end end,
    held = function(it)
      assert.equal(0, #it.watch:running "thriftserver", "an SQL server outlives its lease")
      assert.equal(0, #it.watch:running "master", "a master outlives its lease")
    end,
  },
  {
    number = "11", name = "all ZooKeeper servers stand still for 20 s", hold = 20, long = true,
    fault = function(it) every_server(it, function(server) server:freeze() end) end,
    held = function(it)
      assert.equal(0, #it.watch:running "thriftserver", "an SQL server outlives its lease")
      assert.equal(0, #it.watch:running "master", "a master outlives its lease")
    end,
  },
  {
    number = "4", name = "the leader's JVM stands still for 15 s", stays = true, sql = "stays", hold = 15, long = true,
    fault = function(_, s) s.leader:signal_jvm("STOP", "master") end,
    repair = function(_, s) s.leader:signal_jvm("CONT", "master") end,
  },
  {
    number = "4", name = "the leader's JVM stands still for 55 s", leads = 70, hold = 55, long = true, allowed = { leaders = 1 },
    fault = function(_, s) s.leader:signal_jvm("STOP", "master") end,
    repair = function(_, s) pcall(s.leader.signal_jvm, s.leader, "CONT", "master") end,
  },
  {
    number = "12", name = "somebody deletes the leader's latch", long = true, allowed = { leaders = 2 },
    fault = function(it)
      local latch
      for line in it.zookeepers:ask(it.zookeepers:leader(), "dump"):gmatch "[^\n]+" do
        local path = line:match "^%s*(/.*/leader_election/.*latch%-%d+)"
        if path and (not latch or path:match "%d+$" < latch:match "%d+$") then latch = path end
      end
      local code, output = it.zookeepers:command("delete " .. latch)
      assert.equal(0, code, output)
    end,
    during = function(it, s) it.watch:wait_leader(s.at, s.leader, 60) end,
    after = how_long_two,
  },
  {
    number = "12", name = "somebody deletes all that Spark and the appliance keep in ZooKeeper", long = true, allowed = { leaders = 2 },
    fault = function(it)
      local code, output = it.zookeepers:command "deleteall /spark-appliance"
      assert.equal(0, code, output)
    end,
    after = how_long_two,
  },
  {
    number = "12", name = "all that is in ZooKeeper is deleted, and a master leads then that no worker asks", long = true,
    allowed = { leaders = 2 },
    before = function(it, s) s.old = pid_of(it, "master", s.leader) end,
    fault = function(it, s)
      local code, output = it.zookeepers:command "deleteall /spark-appliance"
      assert.equal(0, code, output)
      started_again(it, "master", s.leader, s.old)
      s.leader:signal_jvm("STOP", "master")                    -- the one they know comes too late
    end,
    during = function(it, s)
      local node, at = it.watch:wait_leader(s.at, s.leader, 60)
      s.leader:signal_jvm("CONT", "master")
      s.told = ("%s led after %.2f s"):format(node.name, at - s.at)
    end,
  },
  {
    number = "17", name = "no master for twelve minutes: workers give up, and are started again", hold = 720, long = true, limit = 300,
    fault = function(it) every_server(it, function(server) server:kill() end) end,
    -- Spark's worker gives up after 330 to 990 s, by chance: six tries some 10 s apart, then ten some 60 s apart, both times 0.5 to 1.5.
    during = function(it, s)
      hosts.await("a worker that gave up and is started again", function() return starts_since(it, "worker", s.at) > 0 end, 1050)
      s.told = ("the first worker gave up after %.0f s"):format(task.now() - s.at)
    end,
    held = function(it)
      assert.equal(0, #it.watch:running "master", "a master outlives its lease")
      hosts.await("all workers", function() return #it.watch:running "worker" == #it.masters end, 60)
    end,
  },
  {
    number = "18", name = "a worker's node is cut off from all others for 30 s", stays = true, sql = "stays", hold = 30, long = true,
    fault = function(it, s)
      s.hit = it:other(s.leader, s.home)
      s.old = pid_of(it, "worker", s.hit)
      for _, node in ipairs(it.masters) do
        if node ~= s.hit then s.hit:cut(node.host) end
      end
    end,
    held = function(it, s) assert.equal("ALIVE", workers_of(it, s.hit)) end,
    after = function(it, s) assert.equal(s.old, pid_of(it, "worker", s.hit)) end,
  },
  {
    number = "18", name = "a worker's node is cut off from all others for 150 s", stays = true, sql = "stays", hold = 150, long = true,
    limit = 300,
    fault = function(it, s)
      s.hit = it:other(s.leader, s.home)
      for _, node in ipairs(it.masters) do
        if node ~= s.hit then s.hit:cut(node.host) end
      end
    end,
    held = function(it, s) assert.equal("DEAD", workers_of(it, s.hit)) end,
    after = function(it, s) assert.equal("ALIVE", workers_of(it, s.hit)) end,
  },
  {
    number = "20", name = "the SQL server's JVM hangs", long = true, limit = 240,
    fault = function(it, s)
      s.old = pid_of(it, "thriftserver", s.home)
      s.home:signal_jvm("STOP", "thriftserver")
    end,
    during = function(it, s)
      hosts.await("the end of the SQL server that hangs", function() return pid_of(it, "thriftserver", s.home) ~= s.old end, 200)
      s.told = ("what hung was gone after %.1f s"):format(task.now() - s.at)
    end,
  },
  {
    number = "20", name = "the SQL server hangs whenever it is up on its node, so another gets it", stays = true, long = true,
    fault = function(_, s)
      s.readies = function() return select(2, s.home:log():gsub("| thriftserver: ready after", "")) end
      s.ready, s.hangs = s.readies(), 1
      s.home:signal_jvm("STOP", "thriftserver")
    end,
    during = function(it, s)
      hosts.await("an SQL server on another node", function()
        if s.readies() > s.ready then
          s.ready, s.hangs = s.readies(), s.hangs + 1
          s.home:signal_jvm("STOP", "thriftserver")
        end
        local home = it:sql_node()
        return home and home ~= s.home
      end, 900, 0.5)
      assert.equal(3, s.hangs)
      handed_over(it, s)
    end,
    after = function(it, s) assert.equal(s.new, it:sql_node(), "it has moved back") end,
  },
  {
    number = "20", name = "the SQL server dies at each start on its node, so another gets it, and keeps it", colocated = true, stays = true,
    long = true,
    -- The jar of its class is empty, on that node alone: a bind mount is in a host's own namespace.
    fault = function(_, s)
      local code, said = s.home:run { "sh", "-c", 'mount --bind /dev/null "$(echo "$SPARK_HOME"/jars/spark-hive-thriftserver_*.jar)"' }
      assert.equal(0, code, said)
      s.home:signal_jvm("KILL", "thriftserver")
    end,
    during = handed_over,
    repair = function(_, s) s.home:run { "sh", "-c", 'umount "$(echo "$SPARK_HOME"/jars/spark-hive-thriftserver_*.jar)"' } end,
    after = function(it, s) assert.equal(s.new, it:sql_node(), "it has moved back") end,
  },
  {
    number = "20", name = "the SQL server can't even be started on its node, so another gets it", colocated = true, stays = true,
    long = true,
    -- Its working directory is gone: that is no run that fails, there is none.
    fault = function(_, s)
      s.folder = s.home.folder .. "/disk/sql"
      hosts.sh("mv %s %s.away", s.folder, s.folder)
      s.home:signal_jvm("KILL", "thriftserver")
    end,
    during = handed_over,
    repair = function(_, s) hosts.sh("mv %s.away %s", s.folder, s.folder) end,
    after = function(it, s) assert.equal(s.new, it:sql_node(), "it has moved back") end,
  },
  {
    -- Nodes know ZooKeeper's servers by their names, and nobody answers who asks for one: it takes ten seconds to give up.
    number = "25", name = "no name can be looked up any more, and a ZooKeeper server is bounced", sql = "stays", hold = 45, long = true,
    fault = function(it)
      for _, node in ipairs(it.masters) do node:forget_names() end
      task.sleep(15)
      it.zookeepers:bounce(it:latch_server())
    end,
    held = function(it) assert(it:is_whole()) end,
    repair = function(it) for _, node in ipairs(it.masters) do node:forget_names(false) end end,
  },
  {
    number = "29", name = "PostgreSQL is away while the SQL server moves", colocated = true, leads = 40, long = true,
    fault = function(it, s)
      it.metastore.host:kill()
      s.leader:kill()
    end,
    -- Hive itself waits for its database for half a minute: this is long enough for it to give up, and to be started again.
    hold = 120, limit = 240,
    held = function(it, s)
      assert.is_true(it:leader() ~= nil)
      local starts = 0
      for _, node in ipairs(it.masters) do
        for _, at in ipairs(it.watch.starts[node.name .. "/thriftserver"] or {}) do starts = starts + (at >= s.at and 1 or 0) end
      end
      assert.is_true(starts >= 2 and starts <= 12, ("%d starts of the SQL server in two minutes"):format(starts))
      s.told = ("the SQL server was started %d times in two minutes without it"):format(starts)
    end,
  },
  {
    number = "31", name = "every node is restarted, one after the other", long = true, limit = 300,
    fault = function(it, s)
      s.moves, s.down = 0, 0
      for _, node in ipairs(it.masters) do
        local home = it:sql_node()
        local since = task.now()
        node:stop()
        if home == node then s.moves = s.moves + 1 end
        local answered = it.sql:wait(since, it:other(node))
        s.down = s.down + answered - since
        node:start()
        it:converge()
      end
    end,
    during = function(it, s)
      assert.is_true(s.moves <= #it.masters - 1, ("the SQL server moved %d times"):format(s.moves))
      s.told = ("the SQL server moved %d times, SQL waited %.1f s in all"):format(s.moves, s.down)
    end,
  },
}
