--- Plays scenarios (scenarios.lua, strains.lua) on a cluster that all of them happen to in turn. What their tables say is in scenarios.lua.
---   if play.is_wanted(scenario) then it(play.name(scenario), function() play.scenario(cluster, scenario) end) end
--- CLUSTER_ONLY: only scenarios whose name begins with one of these words, separated by "|".
local assert = require "luassert"
local task = require "appliance.task"

local play = {}

local SOAK <const> = os.getenv "SOAK" == "yes"
local ONLY <const> = os.getenv "CLUSTER_ONLY"

function play.name(scenario) return scenario.number .. ": " .. scenario.name end

--- Is it asked for by its name? -> boolean; nil: nobody asks for anything
function play.is_asked_for(name)
  if not ONLY then return nil end
  for word in ONLY:gmatch "[^|]+" do
    if name:sub(1, #word) == word then return true end
  end
  return false
end

function play.is_wanted(scenario)
  local is_asked_for = play.is_asked_for(play.name(scenario))
  if is_asked_for ~= nil then return is_asked_for end
  return SOAK or not scenario.long
end

--- The process of the SQL server that runs | nil
function play.pid_of_sql(it)
  local jvm = it.watch:running "thriftserver" [1]
  return jvm and jvm.pid
end

-- From the fault to what is expected of it while it lasts -> sentences with what was measured
local function happen(it, scenario, s)
  local told = {}
  local before = play.pid_of_sql(it)
  s.at = task.now()
  scenario.fault(it, s)
  if scenario.leads then
    local node, at = it.watch:wait_leader(s.at, nil, scenario.leads)
    told[#told + 1] = ("%s led after %.2f s"):format(node.name, at - s.at)
  end
  if scenario.sql == "moves" then
    -- The old one may answer for as long as its lease lasts.
    local jvm = it.watch:wait_jvm("thriftserver", s.at, scenario.limit)
    local answered = it.sql:wait(jvm.at, it:other(s.home), scenario.limit or 180)
    told[#told + 1] = ("SQL was answered after %.2f s"):format(answered - s.at)
    assert.is_true(jvm.host ~= s.home.host, "the SQL server is where it was")
  end
  if scenario.during then scenario.during(it, s) end
  if scenario.hold then
    local left = s.at + scenario.hold - task.now()
    if left > 0 then task.sleep(left) end
  end
  if scenario.held then scenario.held(it, s) end
  if scenario.repair then scenario.repair(it, s) end
  it:repair()
  told[#told + 1] = ("whole again after %.1f s more"):format(it:converge(scenario.limit))
  if scenario.after then scenario.after(it, s) end
  if scenario.stays then assert.equal(s.leader, it:leader(), "another master leads") end
  if scenario.sql == "stays" then assert.equal(before, play.pid_of_sql(it), "the SQL server is another one") end
  told[#told + 1] = s.told
  return told
end

--- One scenario, on a cluster that is whole, or becomes so; raises what is wrong, prints what was measured.
function play.scenario(it, scenario)
  local name = play.name(scenario)
  it:repair()
  it:converge(scenario.limit)
  local s = {}
  s.leader = scenario.colocated and it:colocate() or it:leader()
  s.home = it:sql_node()
  if scenario.before then scenario.before(it, s) end
  it.watch:begin(name)
  local ok, told = xpcall(happen, function(err) return type(err) == "table" and err or debug.traceback(tostring(err), 2) end,
    it, scenario, s)
  if s.job and s.job.name then pcall(s.job.__close, s.job) end
  local kept, broken = it.watch:check(scenario.allowed)
  if not ok or not kept then print("# what happened:\n#   " .. it:story():gsub("\n", "\n#   ")) end
  assert(ok, type(told) == "table" and (told.message or told[1]) or told)
  assert(kept, broken)
  print(("# %s: %s"):format(name, table.concat(told, ", ")))
end

return play
