--- Masters elsewhere: the fact `cluster.masters()` of a node without a ZooKeeper.
---   -> { uri = "spark://a:7077,b:7077", masters = { "a:7077", "b:7077" }, answers = bool }
--- They are given by MASTER_URI, or are the instances of the stack MASTER_STACK_NAME, looked up again every minute; with neither the master
--- is this node's own, here or in another container of this host.
--- `answers`: some master has said that it leads. Until then neither worker nor SQL server is started: what Spark does without a master is
--- give up, and begin again. It never turns false again: a master that goes away comes back, and who is registered with it knows to wait.
--- From then on the source minds this node's own worker (lost.lua).
local address = require "appliance.cluster.address"
local facts = require "appliance.facts"
local failure = require "appliance.failure"
local lost = require "appliance.cluster.lost"
local pages = require "appliance.cluster.pages"
local types = require "appliance.settings.types"

local elsewhere = {}

local PORT <const> = 7077
local STACK_EVERY <const> = 60
local ANSWER <const>, CONNECT <const> = 2, 1                   -- seconds that a page, a port may take
local LONGEST <const> = 5                                      -- all there is to ask a master
local FIRST_PAUSE <const>, LAST_PAUSE <const> = 0.1, 2         -- between two rounds while nobody answers
local FIRST_LOOK <const> = 1                                   -- so long the start waits for an answer before it plans without one
local PAGE_CEILING <const> = 32 << 20

--- Between two looks at a worker that is in doubt, and at one that is not: its own log tells at once when it is.
local DOUBT <const>, TRUST <const> = 10, 600

--- What a worker prints when it has lost its master, at a level that no LOG_LEVEL takes away. Worker.scala, masterDisconnected
local LOST_LINE <const> = "Connection to master failed"

--- "spark://a:7077,b:7078" -> { { host = "a", port = 7077 }, ... }
function elsewhere.list(uri)
  return (types.hosts((uri:gsub("^spark://", "")), { port = PORT }))
end

--- The value of the fact. masters: as of list; their order in a URI that somebody wrote is kept.
function elsewhere.value(masters, answers)
  local names = {}
  for i, master in ipairs(masters) do names[i] = types.hosts_text { master } end
  return { uri = "spark://" .. table.concat(names, ","), masters = names, answers = answers }
end

--- A name's first address, as the node's own resolver has it. -> text | nil
local function numeric(host)
  if address.is_numeric(host) then return host end
  local found = require("appliance.core.host").resolve(host)
  return found and found[1]
end

--- How a master is: -> "ALIVE", another of Spark's words, or nil: it does not answer; and its page.
--- Where its page is not to be had (another port, TLS, a firewall), its port has to do: a master that shares nothing leads once it listens.
local function ask(master, env)
  local host = numeric(master.host)
  if not host then return nil end
  if not env.SPARK_SSL_ENABLED then
    local answer = require("appliance.core.http").request { host = host, port = env.MASTER_UI_PORT, path = "/json/", timeout = ANSWER,
      ceiling = PAGE_CEILING }
    local page = answer and answer.status == 200 and pages.master(answer.body)
    if page and page.port == master.port then return page.status, answer.body end
  end
  local connected = require("appliance.task").within(CONNECT, require("appliance.core.probe").wait,
    { host = host, port = master.port, period = 0.25 })
  return connected and "ALIVE" or nil
end

--- Asks all at once; is over with the first that leads. -> true, its page (nil where only the port answers) | false
local function find_leader(masters, env)
  local task = require "appliance.task"
  local results = task.queue()
  local asking <close> = task.group()
  for _, master in ipairs(masters) do
    asking:start(function()
      local status, page = task.within(LONGEST, ask, master, env)    -- a name server that is gone may take half a minute
      results:put { status = status, page = page }
    end)
  end
  for _ = 1, #masters do
    local result = results:get()
    if result.status == "ALIVE" then return true, result.page end
  end
  return false
end

--- Rounds with growing pauses until somebody leads. masters(): the list as it is now.
local function wait_for_leader(masters, env)
  local task = require "appliance.task"
  local pause = FIRST_PAUSE
  while not find_leader(masters(), env) do
    task.sleep(pause * (0.75 + math.random() / 2))
    pause = math.min(pause * 1.5, LAST_PAUSE)
  end
end

--- Is the worker of this node known to a leader? -> "registered" | "unregistered" | "unknown"
local function registration(masters, env, identity)
  local own = require("appliance.core.http").request { host = identity.probe, port = env.WORKER_UI_PORT, path = "/json/", timeout = ANSWER,
    ceiling = PAGE_CEILING }
  local id = own and own.status == 200 and pages.worker_id(own.body)
  if not id then return "unknown" end
  local is_led, page = find_leader(masters, env)
  if not is_led or not page then return "unknown" end
  return pages.state_of(page, id) == "ALIVE" and "registered" or "unregistered"
end

--- Puts a word into `inbox` whenever the worker says that it has lost its master, or is another process.
local function listen(inbox)
  local supervise = require "appliance.core.supervise"
  local following
  repeat
    following = supervise.follow "worker"
    if not following then supervise.next_change() end
  until following
  local closing <close> = following -- luacheck: ignore
  for text in function() return following:next() end do
    if text:find(LOST_LINE, 1, true) then inbox:put "lost" end
  end
end

--- For ever: restarts this node's worker when it is lost.
local function mind_worker(masters, env, identity)
  local supervise, log, task = require "appliance.core.supervise", require "appliance.core.log", require "appliance.task"
  local inbox, watch = task.queue(), lost.new(env.WORKER_LOST_AFTER)
  local listening <close> = task.start("worker's registration", listen, inbox) -- luacheck: ignore
  while true do
    local view = supervise.view "worker"
    local run = view and (view.state == "up" or view.state == "starting") and view.pid or 0
    local seen = run ~= 0 and registration(masters(), env, identity) or "unknown"
    if watch:observe(task.now(), seen, run) then
      log.warn(("worker: restarted, a master leads and has not known it for %g s (WORKER_LOST_AFTER)"):format(watch.patience))
      supervise.restart "worker"
    end
    local pause = seen == "registered" and TRUST or math.min(DOUBT, watch.patience / 3)
    task.within(pause * (0.75 + math.random() / 2), inbox.get, inbox)
    while inbox:length() > 0 do inbox:get() end
  end
end

--- Pure: where the masters are -> { uri = } | { stack = } | {}: this node's own
function elsewhere.way(env)
  if env.MASTER_URI then return { uri = env.MASTER_URI } end
  if env.MASTER_STACK_NAME and not env.MASTER_STACK_NAME:lower():find "^spark://" then return { stack = env.MASTER_STACK_NAME } end
  return {}
end

--- Follows the stack; tell(list) with each list of masters.
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

--- The source's task.
local function follow(emit, env)
  local task = require "appliance.task"
  local identity
  require("appliance.facts.node").identity().start(function(value) identity = value end, env)
  local way = elsewhere.way(env)
  if not way.uri and not way.stack and env.START_MASTER then
    return emit(elsewhere.value({ { host = identity.ip, port = env.MASTER_PORT } }, true))     -- it is started here, before who needs it
  end

  local masters, answers, known = nil, nil, task.queue()    -- answers: nil until something was emitted
  local function tell(list)
    if not masters then known:put(true) end
    masters = list
    if answers ~= nil then emit(elsewhere.value(masters, answers)) end
  end
  local following <close> = way.stack and task.start("masters of " .. way.stack, follow_stack, way.stack, env, tell) or nil -- luacheck: ignore
  if not way.stack then tell(way.uri and elsewhere.list(way.uri) or { { host = identity.ip, port = env.MASTER_PORT } }) end
  known:get()
  if not masters then return nil, failure.new("missing", "no master is known") end

  local function current() return masters end
  answers = task.within(FIRST_LOOK, find_leader, masters, env) == true
  emit(elsewhere.value(masters, answers))
  if not answers then
    require("appliance.core.log").info(("no master answers yet at %s; what needs one is started when it does"):format(
      elsewhere.value(masters, false).uri))
    wait_for_leader(current, env)
    answers = true
    emit(elsewhere.value(masters, true))
  end
  local is_minded = env.START_WORKER and not env.SPARK_SSL_ENABLED and (env.WORKER_LOST_AFTER or 0) > 0
  if is_minded then mind_worker(current, env, identity) end
  if following then following:join() end
end

function elsewhere.source() return facts.source("masters", follow) end

return elsewhere
