--- What may be short or wrong on a node (shortages.lua), and what must follow: more scenarios, in the form of scenarios.lua.
local assert = require "luassert"
local hosts = require "cluster.hosts"
local shortages = require "cluster.shortages"
local sql = require "cluster.sql"
local task = require "appliance.task"

local function pid_of(it, kind, node)
  for _, jvm in ipairs(it.watch:running(kind)) do
    if jvm.host == node.host then return jvm.pid end
  end
end

--- For so many seconds, which should be those of several leases, the leader and the SQL server are those that were.
local function keeps(it, s, seconds)
  local master, thriftserver = pid_of(it, "master", s.leader), pid_of(it, "thriftserver", s.home)
  task.sleep(seconds)
  assert.equal(s.leader, it:leader(), "another master leads")
  assert.equal(master, pid_of(it, "master", s.leader), "the leader's JVM is another one")
  assert.equal(thriftserver, pid_of(it, "thriftserver", s.home), "the SQL server is another one")
end

--- PID 1 is asked, and answers -> what it says
local function status(node)
  local code, output = node:appliance "status"
  assert.equal(0, code, output)
  return output
end

--- Its leader's JVM is killed: another one leads, and on this node another master comes up -> seconds until somebody led
local function loses_leader(it, s)
  local at, old = task.now(), pid_of(it, "master", s.leader)
  s.leader:signal_jvm("KILL", "master")
  local _, led = it.watch:wait_leader(at, nil, 60)
  hosts.await("another master of " .. s.leader.name, function()
    local pid = pid_of(it, "master", s.leader)
    return pid and pid ~= old
  end)
  return led - at
end

--- The SQL server's JVM is killed: there is another one, somewhere -> seconds until SQL was answered
local function loses_sql(it, s)
  local at = task.now()
  s.home:signal_jvm("KILL", "thriftserver")
  local jvm = it.watch:wait_jvm("thriftserver", at)
  return it.sql:wait(jvm.at, it:other(s.home), 240) - at
end

--- How often a service of a node has been started since the scenario began
local function starts(it, kind, node, since)
  local count = 0
  for _, at in ipairs(it.watch.starts[node.name .. "/" .. kind] or {}) do
    if at >= since then count = count + 1 end
  end
  return count
end

--- Connections that are no Spark: its master prints twenty lines about each.
local STRANGER <const> = [[
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as link:
        link.sendall(b"GET / HTTP/1.0\r\n\r\n" * 4)
        link.settimeout(5)
        try: link.recv(1)
        except OSError: pass]]

local function make_noise(node, count)
  local code, output = hosts.run({ "python3", "-BISc", STRANGER, node.address, "7077", tostring(count) },
    { PYENV_ROOT = os.getenv "PYENV_ROOT" })
  assert.equal(0, code, output)
end

--- A port of the leader's node is taken while that node is restarted.
local function restarted_with(port)
  return function(_, s)
    s.hit = s.leader
    s.hit:stop()
    shortages.occupy(s.hit.host, port)
    s.hit:start()
    s.up = task.now()
  end
end

--- The node says which port it is that its master can't have, and does not try it again and again at once.
local function names_port(port)
  return function(it, s)
    hosts.await("a sentence about port " .. port, function() return status(s.hit):find("port " .. port, 1, true) end)
    task.sleep(math.max(0, s.up + 30 - task.now()))
    local count = starts(it, "master", s.hit, s.up)
    assert.is_true(count >= 2 and count <= 8, ("%d starts in 30 s"):format(count))
    assert.is_true(it:leader() ~= nil and it:leader() ~= s.hit)
    s.told = ("its master was started %d times in 30 s"):format(count)
  end
end

return {
  {
    number = "23", name = "the clock of the node of leader and SQL server jumps an hour ahead, another's an hour back", colocated = true,
    stays = true, sql = "stays",
    fault = function(it, s)
      shortages.shift_clock(s.leader.host, 3600)
      shortages.shift_clock(it:other(s.leader).host, -3600)
    end,
    during = function(it, s)
      local there = tonumber((assert(sql.ask(s.home.address, { "select unix_timestamp()" }))))
      assert.is_true(there - os.time() > 3500, "the clock is as it was")
      keeps(it, s, 20)
    end,
  },
  {
    number = "23", name = "with clocks an hour apart the leader's node loses its power", colocated = true, leads = 40, sql = "moves",
    before = function(it, s)
      shortages.shift_clock(s.leader.host, 3600)
      shortages.shift_clock(it:other(s.leader).host, -3600)
    end,
    fault = function(_, s) s.leader:kill() end,
  },
  {
    number = "24", name = "the disk of the node of leader and SQL server is full, and then its JVMs are killed", colocated = true,
    fault = function(_, s) shortages.fill(s.leader.host) end,
    during = function(it, s)
      local code = s.leader:run { "sh", "-c", ("echo more >>'%s/disk/more'"):format(s.leader.folder) }
      assert.is_true(code ~= 0, "its disk has room")
      keeps(it, s, 10)
      local led, answered = loses_leader(it, s), loses_sql(it, s)
      status(s.leader)
      s.told = ("another led after %.2f s, SQL was answered after %.1f s"):format(led, answered)
    end,
  },
  {
    number = "24", name = "nobody reads the log of the node of leader and SQL server, and then its JVMs are killed", colocated = true,
    fault = function(_, s)
      shortages.stop_reading(s.leader.host)
      make_noise(s.leader, 600)
    end,
    during = function(it, s)
      local size = #s.leader:log()
      keeps(it, s, 10)
      local led, answered = loses_leader(it, s), loses_sql(it, s)
      status(s.leader)
      it:converge()
      assert.equal(size, #s.leader:log(), "its log is read")
      s.told = ("another led after %.2f s, SQL was answered after %.1f s"):format(led, answered)
    end,
    after = function(_, s)
      hosts.await("a word about lines that were dropped", function()
        return s.leader:log():find("dropped: the reader of our output", 1, true)
      end)
    end,
  },
  {
    number = "24", name = "PID 1 of the leader's node gets no file descriptor any more, and then the leader's JVM is killed",
    colocated = true,
    fault = function(_, s) shortages.limit_files(s.leader.host, 3) end,
    during = function(it, s)
      keeps(it, s, 45)                                         -- three health probes would have been missed by then
      local at = task.now()
      s.leader:signal_jvm("KILL", "master")
      local _, led = it.watch:wait_leader(at, nil, 60)
      s.told = ("another led after %.2f s"):format(led - at)
    end,
  },
  {
    number = "27", name = "another program has the master's port on a node that was the leader's", colocated = true, leads = 40,
    sql = "moves", fault = restarted_with(7077), during = names_port(7077),
  },
  {
    number = "27", name = "another program has the port of the master's page on a node that was the leader's", colocated = true,
    leads = 40, sql = "moves", fault = restarted_with(8080), during = names_port(8080),
  },
  {
    number = "27", name = "another program has the port of SQL on a node that was the leader's", colocated = true, leads = 40,
    sql = "moves",
    fault = restarted_with(10000),
    during = function(_, s)
      hosts.await("the end of the node, with a word of why", function() return not s.hit:is_up() end, 30)
      assert.matches("10000", s.hit:log():sub(-2000), 1, true)
    end,
  },
  {
    number = "27", name = "another program takes the SQL server's own port: another node has it in the end",
    fault = function(_, s)
      s.home:signal_jvm("KILL", "thriftserver")
      shortages.occupy(s.home.host, 10010)
    end,
    -- It is tried three times where it was.
    during = function(it, s)
      local jvm = hosts.await("an SQL server elsewhere", function()
        local found = it.watch:running "thriftserver" [1]
        return found and found.host ~= s.home.host and found
      end)
      local answered = it.sql:wait(jvm.at, s.home, 180)
      assert.is_true(s.home.host:is_up())
      s.told = ("another node had it after %.1f s, SQL was answered after %.1f s"):format(jvm.at - s.at, answered - s.at)
    end,
  },
}
