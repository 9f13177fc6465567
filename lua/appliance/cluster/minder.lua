--- Minds this node's worker: is it known to whoever leads? Restarts it when it is lost (lost.lua says when).
---   minder.run { env =, probe = "127.0.0.1" (where its page is), masters = function() -> { { host =, port = }, ... },
---     inbox = a queue: what is put there has it look at once; patience = function() -> seconds, instead of WORKER_LOST_AFTER;
---     both optional }
---   for ever
--- A master's page holds all its workers, so it is asked for only while there is doubt: after a start, after the worker said that it has
--- lost its master, and otherwise now and then.
local leader = require "appliance.cluster.leader"
local lost = require "appliance.cluster.lost"
local pages = require "appliance.cluster.pages"
local task = require "appliance.task"

local minder = {}

local DOUBT <const>, TRUST <const> = 10, 600                   -- seconds between two looks

--- What a worker prints when it has lost its master, at a level that no LOG_LEVEL takes away (Worker.scala, masterDisconnected).
local LOST_LINE <const> = "Connection to master failed"

--- Is there a worker here that can be minded, and is that asked for? A page with TLS can't be asked.
function minder.is_wanted(env) return env.START_WORKER and not env.SPARK_SSL_ENABLED and (env.WORKER_LOST_AFTER or 0) > 0 end

--- -> "registered" | "unregistered" | "unknown": nobody leads, or the worker's page or the leader's is not to be had
local function registration(options)
  local own = leader.page(options.probe, options.env.WORKER_UI_PORT)
  local id = own and pages.worker_id(own)
  if not id then return "unknown" end
  local is_led, page = leader.find(options.masters(), options.env)
  if not is_led or not page then return "unknown" end
  return pages.state_of(page, id) == "ALIVE" and "registered" or "unregistered"
end

--- Puts a word into `inbox` whenever the worker says that it has lost its master, for ever: through all its runs, and plans that have it
--- again.
function minder.listen(inbox)
  local supervise = require "appliance.core.supervise"
  while true do
    local following <close> = supervise.follow "worker"
    while following do
      local text = following:next()
      if not text then break end
      if text:find(LOST_LINE, 1, true) then inbox:put "lost" end
    end
    supervise.next_change()
  end
end

local function run_of(view)
  return view and (view.state == "up" or view.state == "starting") and view.pid or 0
end

function minder.run(options)
  local supervise, log = require "appliance.core.supervise", require "appliance.core.log"
  local inbox, watch = options.inbox or task.queue(), lost.new(options.env.WORKER_LOST_AFTER)
  local listening <close> = task.start("worker's registration", minder.listen, inbox) -- luacheck: ignore
  while true do
    if options.patience then watch.patience = options.patience() end
    local run = run_of(supervise.view "worker")
    local seen = run ~= 0 and registration(options) or "unknown"
    if watch:observe(task.now(), seen, run) and run_of(supervise.view "worker") == run then
      log.warn(("worker: restarted, a master leads and has not known it for %g s%s"):format(watch.patience,
        watch.patience == options.env.WORKER_LOST_AFTER and " (WORKER_LOST_AFTER)" or ", and this node was away"))
      supervise.restart "worker"
    end
    local pause = seen == "registered" and TRUST or math.min(DOUBT, watch.patience / 3)
    task.within(pause * (0.75 + math.random() / 2), inbox.get, inbox)
    while inbox:length() > 0 do inbox:get() end
  end
end

return minder
