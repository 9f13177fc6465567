--- Masters elsewhere that answer no more: since when, for `status`, the health check and the log of a node whose worker or SQL server goes
--- on without them. Nothing is done about it: what runs has its executors, and Spark registers again by itself.
---   silence.run { env =, uri = function() -> "spark://a:7077,b:7077", masters = function() -> { { host =, port = }, ... } }
---     for ever
---   silence.sentence() -> "no master has answered at spark://a:7077 for 42 s" | nil
--- How it is noticed: the worker says that it has lost its master, or the port of the masters' pages takes no connection any more. Pages
--- themselves are long, and a connection to a master's own port is a line in its log, so both are asked only while there is doubt.
local leader = require "appliance.cluster.leader"
local log = require "appliance.core.log"
local minder = require "appliance.cluster.minder"
local task = require "appliance.task"

local silence = {}

local KNOCK <const>, DOUBT <const> = 30, 5                     -- seconds between two looks

local current                                                  -- the loop begun last: { uri = function, since = monotonic or nil }

function silence.sentence()
  local since = current and current.since
  if not since then return nil end
  return ("no master has answered at %s for %d s"):format(current.uri(), math.floor(task.now() - since))
end

local function tell()
  local changes = package.loaded["appliance.control.changes"]
  if changes then changes.tell() end
end

--- Until one leads again. since: when it was first found out; nil: just now.
local function wait_for_leader(self, options)
  while not leader.find(options.masters(), options.env) do
    if not self.since then
      self.since = task.now()
      log.warn(("no master answers at %s any more: what runs here goes on with the executors it has, and registers when one does"):format(
        self.uri()))
      tell()
    end
    task.sleep((options.doubt or DOUBT) * (0.75 + math.random() / 2))
  end
  if not self.since then return end
  log.info(("a master answers again at %s, after %d s"):format(self.uri(), math.floor(task.now() - self.since)))
  self.since = nil
  tell()
end

--- options, for tests: inbox (a queue: what is put there makes it doubt), knock, doubt (seconds).
function silence.run(options)
  local self = { uri = options.uri, since = current and current.uri() == options.uri() and current.since or nil }
  current = self
  local _ <close> = setmetatable({}, { __close = function() if current == self then current = nil end end })
  local inbox = options.inbox or task.queue()
  local listening <close> = task.start("worker's master", minder.listen, inbox) -- luacheck: ignore
  local has_page = false                                         -- behind a firewall there may never be one
  while true do
    if self.since then wait_for_leader(self, options) end
    local is_lost = task.within((options.knock or KNOCK) * (0.75 + math.random() / 2), inbox.get, inbox) ~= nil
    while inbox:length() > 0 do inbox:get() end
    local listens = not is_lost and leader.listens(options.masters(), options.env.MASTER_UI_PORT)
    if is_lost or has_page and not listens then wait_for_leader(self, options) end
    has_page = has_page or listens
  end
end

return silence
