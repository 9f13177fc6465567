--- Watches from outside whether SQL is answered (sql_watch.py), and asks single questions.
---   local watch <close> = sql.watch({ node ... }, "select 1"); watch:hurry(); watch:wait(since) -> when, rows, address
local hosts = require "cluster.hosts"
local supervise = require "appliance.core.supervise"
local task = require "appliance.task"

local sql = {}
local methods = {}
methods.__index = methods

local WATCHER <const> = "tests/support/cluster/sql_watch.py"

--- port: 10000
function sql.watch(nodes, statement, port)
  local words = { "python3", "-BIS", WATCHER, statement or "select 1" }
  for _, node in ipairs(nodes) do words[#words + 1] = node.address .. ":" .. (port or 10000) end
  local self = setmetatable({ answers = {}, last = {} }, methods)
  assert(supervise.declare { name = "sql-watch", command = words, env = { PATH = os.getenv "PATH", PYENV_ROOT = os.getenv "PYENV_ROOT" },
    restart = "never", log = { console = false } })
  assert(supervise.want("sql-watch", true))
  self.follower = assert(supervise.follow "sql-watch")
  self.reader = task.start("SQL watch", function()
    for text in function() return self.follower:next() end do
      for line in text:gmatch "[^\n]+" do
        local address, began, ended, how, rest = line:match "^([%d.]+):%d+ ([%d.]+) ([%d.]+) (%a+) ?(.*)$"
        if address then
          local answer = { address = address, began = tonumber(began), ended = tonumber(ended), ok = how == "ok", text = rest }
          self.last[address] = answer
          if answer.ok then self.answers[#self.answers + 1] = answer end
        else
          self.said = line
        end
      end
    end
  end)
  return self
end

--- Asks now, wherever it is not asking.
function methods.hurry()
  local pid = supervise.view("sql-watch").pid
  if (pid or 0) > 0 then hosts.sh("kill -USR1 %d", pid) end
end

--- Waits for an answer to a session that was opened after a time -> when it came, its rows, by which address
--- node: only by this node's address
function methods:wait(since, node, limit)
  local found = hosts.await("an answer to SQL (last: " .. tostring(self.said) .. ")", function()
    for _, answer in ipairs(self.answers) do
      -- A session that was opened before may have been answered before, too.
      local counts = answer.ended >= since and (answer.began >= since or answer.ended - since > 0.5)
      if counts and (not node or node.address == answer.address) then return answer end
    end
  end, limit, 0.005)
  return found.ended, found.text, found.address
end

--- What each address said last, for people.
function methods:story()
  local lines = {}
  for address, answer in pairs(self.last) do
    lines[#lines + 1] = ("%s %s %s (%.1f s ago)"):format(address, answer.ok and "ok" or "no", answer.text, task.now() - answer.ended)
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

function methods:__close()
  supervise.want("sql-watch", false)
  hosts.await("the end of the SQL watch", function() return (supervise.view("sql-watch").pid or 0) == 0 end, 30)
  self.reader:cancel()
  self.follower:close()
  supervise.remove "sql-watch"
end

--- Statements in one session, from the test's own place on the bridge -> rows of the last as text | nil, why
function sql.ask(address, statements, port)
  local script = ([[
import sys; sys.path.insert(0, "bench/spark")
import hive
session = hive.Session(int(sys.argv[2]), 120, sys.argv[1])
for statement in sys.argv[3:]: rows = session.query(statement)
print("\n".join(",".join(map(str, row)) for row in rows))]])
  local words = { "python3", "-Bc", script, address, tostring(port or 10000) }
  table.move(statements, 1, #statements, #words + 1, words)
  local code, output = hosts.run(words, { PYENV_ROOT = os.getenv "PYENV_ROOT" })
  if code ~= 0 then return nil, output end
  return (output:gsub("\n$", ""))
end

return sql
