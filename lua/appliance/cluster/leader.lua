--- Who of some masters leads, by asking them: their pages, else their ports. Every call waits, some seconds at most.
---   leader.find({ { host = "10.0.0.7", port = 7077 }, ... }, env) -> true, its page (nil where only its port answers) | false
local failure = require "appliance.failure"
local pages = require "appliance.cluster.pages"
local task = require "appliance.task"

local leader = {}

local ANSWER <const>, CONNECT <const> = 2, 1                   -- seconds that a page, a port may take
local LONGEST <const> = 5                                      -- all there is to ask a master; a dead name server would take longer
local PAGE_CEILING <const> = 32 << 20                                 -- of a page: 400 bytes for each worker

--- A name's first address, as the node's own resolver has it. -> text | nil
local function numeric(host)
  local found = require("appliance.core.host").resolve(host)
  return found and found[1]
end

--- The text of a daemon's page -> text | nil, err. host: an address; seconds: that it may take, if not the usual.
function leader.page(host, port, seconds)
  local answer, err = require("appliance.core.http").request { host = host, port = port, path = "/json/", timeout = seconds or ANSWER,
    ceiling = PAGE_CEILING }
  if not answer then return nil, err end
  if answer.status ~= 200 then return nil, failure.new("refused", "http://%s:%d: status %d", host, port, answer.status) end
  return answer.body
end

--- Does somebody take connections there?
local function is_open(host, port)
  return task.within(CONNECT, require("appliance.core.probe").wait, { host = host, port = port, period = 0.25 })
end

--- How a master is: -> "ALIVE", another of Spark's words, or nil: it does not answer; and its page.
--- Where its page is not to be had (another port, TLS, a firewall), its port has to do: a master that shares nothing leads once it listens.
local function ask(master, env)
  local host = numeric(master.host)
  if not host then return nil end
  local text = not env.SPARK_SSL_ENABLED and leader.page(host, env.MASTER_UI_PORT)
  local page = text and pages.master(text)
  if page and page.port == master.port then return page.status, text end    -- else it is the page of another master on that host
  return is_open(host, master.port) and "ALIVE" or nil
end

--- Asks all at once; over with the first whose answer(master) is good -> true, and what it gave besides | false
local function first_of(masters, answer)
  local results = task.queue()
  local asking <close> = task.group()
  for _, master in ipairs(masters) do
    asking:start(function()
      local good, more = task.within(LONGEST, answer, master)
      results:put { good = good, more = more }
    end)
  end
  for _ = 1, #masters do
    local result = results:get()
    if result.good then return true, result.more end
  end
  return false
end

function leader.find(masters, env)
  return first_of(masters, function(master)
    local status, page = ask(master, env)
    return status == "ALIVE", page
  end)
end

--- Does any of their hosts take connections on that port? Costs nobody a page, nor a line in a log.
function leader.listens(masters, port)
  return (first_of(masters, function(master)
    local host = numeric(master.host)
    return host and is_open(host, port)
  end))
end

return leader
