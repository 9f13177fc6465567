--- The program from outside, as people and scripts have it: a shell, small files, and one node that runs in the background.
---   local node = outside.node(home, "export STATE_DIR=...;")     -- home: the directory in which all of it happens
---   node:start()                            -- is well on return
---   local code, out, err = node:run { "status", "--json" }
---   node:signal "HUP"; node:await("the reload", function() return node:log():find "in force" end)
---   node:stop()                             -- has ended on return
local task = require "appliance.core.task"

local outside = {}

outside.PROGRAM = assert(os.getenv "APPLIANCE", "APPLIANCE must name the program")

function outside.quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

function outside.command_line(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = outside.quote(word) end
  return table.concat(quoted, " ")
end

--- The whole of a file, nil where there is none.
function outside.read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

function outside.write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

function outside.output(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "a")
end

--- The environment of a process that runs: { NAME = value }
function outside.environment_of(pid)
  local env = {}
  for entry in (outside.read(("/proc/%d/environ"):format(pid)) or ""):gmatch "[^%z]+" do
    local name, value = entry:match "^([^=]*)=(.*)$"
    if name then env[name] = value end
  end
  return env
end

local LIMIT <const> = 60                                       -- seconds, of a machine with more to do

local node = {}
node.__index = node

function outside.node(home, environment) return setmetatable({ home = home, environment = environment }, node) end

--- -> exit code, stdout, stderr
function node:sh(script)
  local text = outside.output(("cd %s; %s { %s; } 2>%s/stderr; echo \"=$?\""):format(self.home, self.environment, script, self.home))
  local out, code = text:match "^(.*)=(%d+)\n$"
  return tonumber(code), out, outside.read(self.home .. "/stderr")
end

--- A command of the program; more: what comes before it, such as "NAME=value".
function node:run(words, more)
  return self:sh(("%s timeout %d %s %s"):format(more or "", LIMIT, outside.quote(outside.PROGRAM), outside.command_line(words)))
end

function node:log() return outside.read(self.home .. "/log") or "" end

--- For what nobody tells: looks again and again.
function node:await(what, condition)
  local deadline = task.now() + LIMIT
  while not condition() do
    if task.now() > deadline then error(("did not come: %s\n%s"):format(what, self:log()), 2) end
    task.sleep(0.01)
  end
end

--- Its shell waits for it, and closes this pipe then: that is how its end is heard of.
function node:start()
  self.pipe = assert(io.popen(("cd %s; %s setsid %s run >>log 2>&1 & echo $!; wait $!; echo $?"):format(self.home, self.environment,
    outside.quote(outside.PROGRAM))))
  self.pid = assert(math.tointeger(tonumber(self.pipe:read "l")))
  local code, said, err = self:run { "healthcheck", "--wait", LIMIT .. "s" }
  if code ~= 0 then error(("is not well: %s%s\n%s"):format(said, err, self:log()), 2) end
end

function node:signal(name) return os.execute(("kill -%s %d"):format(name, self.pid)) end

--- -> its exit status, 128 + the signal that killed it. Nothing where none runs.
function node:stop(signal)
  if not self.pipe then return nil end
  self:signal(signal or "TERM")
  local code = tonumber(self.pipe:read "l")
  self.pipe:close()
  self.pipe = nil
  return code
end

return outside
