--- What the pages of Spark's daemons (/json/) say of leadership and registration. Pure: texts in, words out. Read by pattern and not as
--- JSON, because the page of a master with a thousand workers is some 400 KB, of which one word counts. (JsonProtocol.scala)
local pages = {}

--- A master's page -> { status = "ALIVE" | "STANDBY" | "RECOVERING" | "COMPLETING_RECOVERY", port = 7077 } | nil: it is no master's
function pages.master(text)
  local port = text:match '"url"%s*:%s*"spark://[^"]*:(%d+)"'
  local status
  for word in text:gmatch '"status"%s*:%s*"(%u[%u_]*)"' do status = word end    -- the page's own is its last
  return port and status and { status = status, port = tonumber(port) } or nil
end

--- The id of a worker by its own page, nil when it is none.
function pages.worker_id(text)
  return text:match '"id"%s*:%s*"(worker%-[^"]+)"'
end

--- How a master's page has the worker of that id: "ALIVE", "DEAD", "UNKNOWN", ... or nil when it has it not.
function pages.state_of(text, id)
  local _, at = text:find('"' .. id .. '"', 1, true)
  if not at then return nil end
  local next_one = text:find('"id"%s*:', at) or #text
  return text:sub(at, next_one):match '"state"%s*:%s*"(%u+)"'
end

return pages
