--- Masters elsewhere: the fact `cluster.masters()` of a node without a ZooKeeper.
---   -> { uri = "spark://a:7077,b:7077", masters = { "a:7077", "b:7077" }, answers = bool, from = "setting" | "stack" | "own" }
--- They are given by MASTER_URI, or are the instances of the stack MASTER_STACK_NAME, looked up again every minute; with neither the master
--- is this node's own, here or in another container of this host.
--- `answers`: some master has said that it leads. Until then neither worker nor SQL server is started: what Spark does without a master is
--- give up, and begin again. It never turns false again: a master that goes away comes back, and who is registered with it knows to wait.
--- From then on the source minds this node's own worker (minder.lua), and whether masters still answer (silence.lua).
local facts = require "appliance.facts"
local failure = require "appliance.failure"
local types = require "appliance.settings.types"

local elsewhere = {}

local PORT <const> = 7077
local STACK_EVERY <const> = 60
local FIRST_PAUSE <const>, LAST_PAUSE <const> = 0.1, 2         -- between two rounds while nobody answers
local FIRST_LOOK <const> = 1                                   -- so long the start waits for an answer before it plans without one

--- Of which masters an answer has been seen by this process. A SIGHUP follows the facts anew, and may come while the master is away: the
--- worker must not be taken out of the plan for it.
local have_answered = {}

--- "spark://a:7077,b:7078" -> { { host = "a", port = 7077 }, ... }
function elsewhere.list(uri)
  return (types.hosts((uri:gsub("^spark://", "")), { port = PORT }))
end

--- The value of the fact. masters: as of list; their order in a URI that somebody wrote is kept.
function elsewhere.value(masters, answers, from)
  local names = {}
  for i, master in ipairs(masters) do names[i] = types.hosts_text { master } end
  return { uri = "spark://" .. table.concat(names, ","), masters = names, answers = answers, from = from }
end

--- Pure: where the masters are -> { from = "setting", uri = } | { from = "stack", stack = } | { from = "own" }
function elsewhere.way(env)
  if env.MASTER_URI then return { from = "setting", uri = env.MASTER_URI } end
  if env.MASTER_STACK_NAME and not env.MASTER_STACK_NAME:lower():find "^spark://" then
    return { from = "stack", stack = env.MASTER_STACK_NAME }
  end
  return { from = "own" }
end

--- Follows the stack for ever; tell(list) with each list of masters.
local function follow_stack(name, env, tell)
  require("appliance.cluster.learned").follow {
    what = "the masters of stack " .. name, every = STACK_EVERY,
    ask = function() return require("appliance.cluster.stacks").addresses(name) end,
    cache = env.STATE_DIR and env.STATE_DIR .. "/masters.json", key = name,
    emit = function(addresses)
      local masters = {}
      for i, ip in ipairs(addresses) do masters[i] = { host = ip, port = PORT } end
      tell(masters)
    end,
  }
end

--- Rounds with growing pauses until somebody leads. masters(): the list as it is now.
local function wait_for_leader(masters, env)
  local leader, task = require "appliance.cluster.leader", require "appliance.task"
  local pause = FIRST_PAUSE
  while not leader.find(masters(), env) do
    task.sleep(pause * (0.75 + math.random() / 2))
    pause = math.min(pause * 1.5, LAST_PAUSE)
  end
end

--- The source's task.
local function follow(emit, env)
  local task = require "appliance.task"
  local identity
  require("appliance.facts.node").identity().start(function(value) identity = value end, env)
  local own = { { host = identity.ip, port = env.MASTER_PORT } }
  local way = elsewhere.way(env)
  if way.from == "own" and env.START_MASTER then
    return emit(elsewhere.value(own, true, "own"))             -- it is started here, before who needs it
  end

  local masters, known, answers = nil, task.queue(), nil       -- answers: nil until something was emitted
  local function tell(list)
    if not masters then known:put(true) end
    masters = list
    if answers ~= nil then emit(elsewhere.value(masters, answers, way.from)) end
  end
  local following <close> = way.stack and task.start("masters of " .. way.stack, follow_stack, way.stack, env, tell) or nil -- luacheck: ignore
  if not way.stack then tell(way.uri and elsewhere.list(way.uri) or own) end
  known:get()
  if not masters then return nil, failure.new("missing", "no master is known") end

  local function current() return masters end
  local key = way.uri or way.stack or ""
  answers = have_answered[key] or task.within(FIRST_LOOK, require("appliance.cluster.leader").find, masters, env) == true
  emit(elsewhere.value(masters, answers, way.from))
  if not answers then
    wait_for_leader(current, env)
    answers = true
    emit(elsewhere.value(masters, true, way.from))
  end
  have_answered[key] = true
  local minder = require "appliance.cluster.minder"
  local minding <close> = minder.is_wanted(env) and task.start("worker's registration", minder.run, -- luacheck: ignore
    { env = env, probe = identity.probe, masters = current }) or nil
  require("appliance.cluster.silence").run { env = env, masters = current,
    uri = function() return elsewhere.value(masters, true, way.from).uri end }
end

function elsewhere.source() return facts.source("masters", follow) end

return elsewhere
