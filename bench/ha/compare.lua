--- How long nobody leads, and how long SQL is not answered, after each fault: ours beside stock masters, in one run on the same hosts.
--- A master's time runs from the fault to the first page of another run of a master that says ALIVE; SQL's from the fault to the first row
--- of a session that was opened after it, at the address of a node that the fault left alone (as a load balancer would choose).
local cluster = require "cluster.cluster"
local hosts = require "cluster.hosts"
local task = require "appliance.task"

local RUNS <const> = tonumber(os.getenv "HA_BENCH_RUNS") or 3
local STOCK_RUNS <const> = tonumber(os.getenv "HA_BENCH_STOCK_RUNS") or RUNS
local KINDS <const> = os.getenv "HA_BENCH_KINDS" or "stock,ours"
local CASES <const> = os.getenv "HA_BENCH_CASES"
local LIMIT <const> = 200

io.stdout:setvbuf "line"

--- Each: name, goal of the master's time in seconds (nil: none is set), fault(cluster, leader); stays: the leader may keep leading;
--- moves: the SQL server, which is on the leader's node, must go elsewhere; sql_goal(its own start) of SQL's time.
local cases = {
  { name = "leader JVM killed", goal = 1, fault = function(_, leader) leader:signal_jvm("KILL", "master") end },
  { name = "leader's node killed", goal = 7, moves = true, fault = function(_, leader) leader:kill() end },
  { name = "leader's node frozen", goal = 7, moves = true, fault = function(_, leader) leader:freeze() end },
  { name = "leader cut off from ZooKeeper", goal = 7, moves = true, fault = function(it, leader)
    for _, server in ipairs(it.zookeepers.servers) do leader:cut(server) end
  end },
  { name = "leader's ZooKeeper server bounced", goal = 7, stays = true, fault = function(it) it.zookeepers:bounce(it.target) end,
    target = function(it) return it:latch_server() end },
  { name = "ZooKeeper's leader bounced", goal = 7, stays = true, fault = function(it) it.zookeepers:bounce(it.target) end,
    target = function(it) return it.zookeepers:leader() end },
  { name = "leader's node stopped as planned", moves = true, fault = function(_, leader) leader:stop(false) end,
    sql_goal = function(start) return start + 1 end },
}

local function is_wanted(list, name)
  return not list or ("," .. list .. ","):find("," .. name .. ",", 1, true) ~= nil
end

local function median(values)
  if not values[1] then return nil end
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local middle = #sorted // 2
  return #sorted % 2 == 1 and sorted[middle + 1] or (sorted[middle] + sorted[middle + 1]) / 2
end

--- Seconds without a leader after `since`, when the old one may have gone on: the longest pause between two looks that saw one.
local function longest_gap(it, since)
  -- Long enough for a stock leader to notice and leave; when somebody leads at the end of it, all is over.
  local last, gap, deadline = since, 0, since + 20
  while task.now() < deadline or not it:leader() do
    if it:leader() then
      gap, last = math.max(gap, task.now() - last), task.now()
    elseif task.now() - since > LIMIT then
      error("nobody leads any more:\n" .. it:story(), 0)
    end
    task.sleep(0.005)
  end
  gap = math.max(gap, task.now() - last)
  return gap > 0.25 and gap or 0                              -- below two looks it is nothing that was seen
end

local function run_case(it, case)
  local leader = it.kind == "ours" and it.options.sql and it:colocate() or it:leader()
  it.target = case.target and case.target(it)
  it.watch:begin(case.name)
  local since = task.now()
  case.fault(it, leader)
  if it.sql then it.sql:hurry() end
  local led, answered
  local other = it:other(leader)
  if case.stays then
    led = longest_gap(it, since)
  else
    local _, at = it.watch:wait_leader(since, nil, LIMIT)
    led = at - since
  end
  if it.sql then
    -- The old SQL server may answer for as long as its lease lasts.
    local from = case.moves and it.watch:wait_jvm("thriftserver", since, LIMIT).at or since
    answered = it.sql:wait(from, other, LIMIT) - since
  end
  if leader.name and case.name:find "stopped" then hosts.await("the end of the node", function() return not leader:is_up() end, 60) end
  it:repair()
  it:converge(LIMIT)
  local ok, why = it.watch:check(it.kind ~= "ours" and { zombies = true, leaders = 5, restarts = true } or nil)
  if not ok then
    print(("  broken in %q: %s\n%s"):format(case.name, why, it:story()))
    it.broken = (it.broken or 0) + 1
  end
  if os.getenv "HA_BENCH_STORY" then print(it:story()) end
  it.double = (it.double or 0) + (it.watch.bad.thrift and #it.watch.bad.thrift or 0)
  return led, answered
end

--- How long the SQL server itself takes: killed in its place, from the start of its JVM to a row.
local function own_start(it)
  it:colocate()
  local home, since = it:sql_node(), task.now()
  home:signal_jvm("KILL", "thriftserver")
  local jvm = it.watch:wait_jvm("thriftserver", since, LIMIT)
  local took = it.sql:wait(since + 0.001, nil, LIMIT) - jvm.at
  it:converge(LIMIT)
  return took
end

local function measure(kind, runs)
  local began = task.now()
  local it <close> = cluster.make { kind = kind, sql = kind == "ours", period = 0.02 }
  it:converge(LIMIT)
  print(("%s: the cluster was whole after %.0f s"):format(kind, task.now() - began))
  local found = { led = {}, sql = {}, start = {} }
  for run = 1, runs do
    if kind == "ours" then
      local took = own_start(it)
      found.start[run] = took
      print(("  %d  %-36s %.2f s"):format(run, "the SQL server's own start", took))
    end
    for _, case in ipairs(cases) do
      if is_wanted(CASES, case.name) then
        local ok, led, answered = pcall(run_case, it, case)
        if not ok then
          print(("  %d  %-36s failed: %s"):format(run, case.name, led))
          it:keep_logs(kind)
          found.failed = true
          it:repair()
          it:converge(LIMIT)
        else
          local also = answered and (", SQL after %.2f s"):format(answered) or ""
          print(("  %d  %-36s led again after %.2f s%s"):format(run, case.name, led, also))
          found.led[case.name] = found.led[case.name] or {}
          found.sql[case.name] = found.sql[case.name] or {}
          table.insert(found.led[case.name], led)
          if answered then table.insert(found.sql[case.name], answered) end
        end
      end
    end
  end
  found.double, found.broken = it.double or 0, it.broken or 0
  if found.broken > 0 then it:keep_logs(kind) end
  return found
end

local function shown(value) return value and ("%.2f"):format(value) or "-" end

local function verdict(value, goal)
  if not goal or not value then return "-" end
  return value <= goal and "met" or "MISSED"
end

local found = {}
for _, kind in ipairs { "stock", "ours" } do
  if is_wanted(KINDS, kind) then
    local ok, what = xpcall(measure, debug.traceback, kind, kind == "stock" and STOCK_RUNS or RUNS)
    if not ok then print(("%s: %s"):format(kind, what)) end
    found[kind] = ok and what or { led = {}, sql = {}, start = {}, failed = true }
  end
end

local stock, ours = found.stock or { led = {} }, found.ours or { led = {}, sql = {}, start = {} }
local start = median(ours.start)
local missed = false
print(("\nmedians, seconds; the SQL server's own start: %s"):format(shown(start)))
print(("%-36s %6s %8s %8s %8s | %6s %8s %8s"):format("fault", "goal", "stock", "ours", "", "goal", "SQL", ""))
for _, case in ipairs(cases) do
  if is_wanted(CASES, case.name) then
    local led, answered = median(ours.led[case.name] or {}), median(ours.sql[case.name] or {})
    local sql_goal = start and case.sql_goal and case.sql_goal(start)
    local first, second = verdict(led, case.goal), verdict(answered, sql_goal)
    missed = missed or first == "MISSED" or second == "MISSED"
    print(("%-36s %6s %8s %8s %8s | %6s %8s %8s"):format(case.name, shown(case.goal), shown(median(stock.led[case.name] or {})), shown(led),
      first, shown(sql_goal), shown(answered), second))
  end
end
if found.ours then
  print(("two SQL servers at once, in all runs: %s (goal: 0)"):format(ours.double and ours.double .. " looks" or "not measured"))
  missed = missed or ours.failed or (ours.double or 0) > 0 or (ours.broken or 0) > 0
  if (ours.broken or 0) > 0 then print(("invariants broken in %d cases, see above and build/bench/ha"):format(ours.broken)) end
end
os.exit(not missed and not stock.failed, true)
