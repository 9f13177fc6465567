--- A real node for tests: the program as an ordinary process with a directory and ports of its own, on loopback alone.
---   local node <close> = spark_node.start { START_THRIFTSERVER = "true" }
---   node:wait_ready "worker"; node:client("spark-submit", "x.py")
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local http = require "appliance.core.http"
local json = require "appliance.json"
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"

local spark_node = {}

local APPLIANCE = os.getenv "APPLIANCE" or "build/spark-appliance"
local SOURCE = os.getenv "APPLIANCE_SOURCE" or "."
spark_node.SOURCE = SOURCE

--- Generous: two cores may be shared with a compiler.
spark_node.LIMIT = tonumber(os.getenv "SPARK_TEST_LIMIT") or 180

require("appliance.core.log").level "error"                -- ours is a test; the node's own log is what is looked at

local methods = {}
methods.__index = methods

local count = 0
local function unique(name)
  count = count + 1
  return ("%s%d"):format(name, count)
end

function spark_node.temporary()
  local path = ("%s/spark-%d-%s"):format(os.getenv "TMPDIR" or "/tmp", host.pid(), unique "n")
  assert(file.make_dirs(path))
  return path
end

--- Waits until condition() gives something -> that; an error after the limit.
function spark_node.await(what, condition, limit)
  local deadline = task.now() + (limit or spark_node.LIMIT)
  while true do
    local found = condition()
    if found then return found end
    if task.now() > deadline then error("did not come in time: " .. what, 2) end
    task.sleep(0.02)
  end
end

local function is_alive(pid)
  local status = file.read(("/proc/%d/status"):format(pid))
  return status ~= nil and not status:find "State:%s*[ZX]"
end
spark_node.is_alive = is_alive

--- Runs a program to its end -> exit code, output (both streams)
function spark_node.run(command, env, limit)
  local name = unique "program"
  local spec = { name = name, command = command, env = env, oneshot = true, restart = "never", log = { console = false } }
  assert(supervise.declare(spec))
  assert(supervise.want(name, true))
  spark_node.await(table.concat(command, " "):sub(1, 200), function()
    local state = supervise.view(name).state
    return state == "done" or state == "failed"
  end, limit)
  local view, output = supervise.view(name), supervise.tail(name, 1 << 20)
  supervise.remove(name)
  return view.last_status or -1, output
end

--- A program that goes on until it is closed.
function spark_node.background(command, env)
  local name = unique "background"
  assert(supervise.declare { name = name, command = command, env = env, restart = "never", stop = { grace = 5 },
    log = { console = false } })
  assert(supervise.want(name, true))
  return setmetatable({ name = name }, { __close = function()
    supervise.want(name, false)
    spark_node.await("the end of " .. name, function() return (supervise.view(name).pid or 0) == 0 end, 30)
    supervise.remove(name)
  end })
end

local MADE_WITHIN <const> = 500

--- Class data archives halve the time to start of each JVM. One is made for each Spark, kept in the cache, and shown to each node as its
--- own (tests/support/cluster/nodes.lua does so with the same).
local function archive()
  local cache = require("archives").folder()
  local env = { STATE_DIR = cache, AWS_EC2_METADATA_DISABLED = "true" }
  for _, name in ipairs { "PATH", "SPARK_HOME", "JAVA_HOME", "HOME", "LANG" } do env[name] = os.getenv(name) end
  local code, output = spark_node.run({ APPLIANCE, "archive", "--state" }, env, MADE_WITHIN)
  if code ~= 0 then error("no class data archive: " .. output, 2) end
  return cache .. "/archive"
end

local PASSED = { "PATH", "SPARK_HOME", "JAVA_HOME", "HOME", "LANG", "TMPDIR", "PYENV_ROOT" }

local function environment(self, settings)
  local env = {
    STATE_DIR = self.directory, APPLIANCE_PROFILES = SOURCE .. "/profiles", BIND_ADDRESS = self.address, AWS_EC2_METADATA_DISABLED = "true",
    MASTER_PORT = self.port, MASTER_UI_PORT = self.port + 1, WORKER_UI_PORT = self.port + 2, THRIFT_PORT = self.port + 3,
    MASTER_REST_PORT = self.port + 4, STOP_TIMEOUT = "8s",
  }
  for _, name in ipairs(PASSED) do env[name] = env[name] or os.getenv(name) end
  for name, value in pairs(settings or {}) do env[name] = value end
  for name, value in pairs(env) do env[name] = value and tostring(value) or nil end
  return env
end

local known_archive

local function share_archive(directory)
  known_archive = known_archive or archive()
  local path = directory .. "/archive"
  if not file.stat(path) then assert(os.execute(("ln -s '%s' '%s'"):format(known_archive, path))) end
end

--- settings: the environment on top of ours. CLASS_ARCHIVES: the node's own archive, or none; else it has that of all tests.
--- options: { prefix = command words before the program, directory = an existing one, keep = leave the directory at the end,
---   second = another node beside one with the usual ports: each has five,
---   address = another one of loopback (127.0.0.2), for several nodes with the same ports }
function spark_node.start(settings, options)
  options = options or {}
  local self = setmetatable({ name = unique "node", directory = options.directory or spark_node.temporary(), text = "",
    keep = options.keep, program = APPLIANCE, address = options.address or "127.0.0.1" }, methods)
  self.port = 20000 + host.pid() % 1100 * 10 + (options.second and 5 or 0)
  self.env = environment(self, settings)
  if not self.env.CLASS_ARCHIVES then share_archive(self.directory) end
  local command = table.move(options.prefix or {}, 1, #(options.prefix or {}), 1, {})
  table.move({ APPLIANCE, "run" }, 1, 2, #command + 1, command)
  assert(supervise.declare { name = self.name, command = command, env = self.env, restart = "never", stop = { grace = 30 },
    log = { console = false } })
  self.began = task.now()
  assert(supervise.want(self.name, true))
  self.follower = assert(supervise.follow(self.name))
  self.reader = task.start(function()
    for text in function() return self.follower:next() end do self.text = self.text .. text end
  end)
  return self
end

--- Waits for a line with the pattern behind `from` -> its position
function methods:wait_log(pattern, from, limit)
  local found
  local ok = pcall(spark_node.await, pattern, function()
    found = self.text:find(pattern, from or 1)
    return found or supervise.view(self.name).state == "failed" or supervise.view(self.name).state == "down"
  end, limit)
  if not ok or not found then error(("the node never said %q; its last words:\n%s"):format(pattern, self.text:sub(-4000)), 2) end
  return found
end

function methods:wait_ready(service, from) return self:wait_log("appliance | " .. service .. ": ready", from) end

--- The page of a daemon -> table | nil
function methods:json(service)
  local answer = http.request { host = self.address, port = service == "master" and self.port + 1 or self.port + 2, method = "GET",
    path = "/json/", timeout = 5 }
  return answer and answer.status == 200 and json.decode(answer.body) or nil
end

--- A command of the program's own -> exit code, output
function methods:command(...) return spark_node.run({ APPLIANCE, ... }, self.env) end

--- spark-submit and the like, as `docker exec NODE spark-submit` would -> exit code, output
function methods:client(...) return spark_node.run({ APPLIANCE, "client", ... }, self.env) end

--- The words of the test text, counted on the cluster.
function methods:word_count()
  local text = self.directory .. "/text.txt"
  assert(file.replace(text, ("spark appliance spark\nnode spark\n"):rep(100), tonumber("644", 8), false))
  local code, output = self:client("spark-submit", SOURCE .. "/examples/wordcount.py", text)
  return code == 0 and output:match "500 words, 3 of them different, counted by (%S+)" or nil, output
end

--- -> rows' text of an SQL statement through beeline | nil, output
function methods:sql(statement)
  local code, output = self:client("beeline", "--silent=true", "--showHeader=false", "--outputformat=csv2", "-n", "test", "-e", statement)
  if code ~= 0 then return nil, output end
  return output
end

function methods:pid(service)
  local _, output = self:command("status", "--json")
  for _, view in ipairs(json.decode(output:match "{.*}" or "{}").services or {}) do
    if view.name == service then return view.pid end
  end
end

--- Every process below the node's: found by the marker in its environment.
function methods:processes()
  local found = {}
  for _, entry in ipairs(file.list "/proc") do
    local environ = entry:find "^%d+$" and file.read("/proc/" .. entry .. "/environ")
    if environ and environ:find("STATE_DIR=" .. self.directory .. "\0", 1,
      true) or environ and environ:find("SPARK_LOCAL_DIRS=" .. self.directory, 1, true) then
      if is_alive(tonumber(entry)) then found[#found + 1] = tonumber(entry) end
    end
  end
  return found
end

--- TERM -> seconds until it was gone, exit code
function methods:stop()
  local began = task.now()
  supervise.want(self.name, false)
  spark_node.await("the end of the node", function()
    local state = supervise.view(self.name).state
    return state == "down" or state == "failed"
  end, 40)
  local view = supervise.view(self.name)
  return task.now() - began, view.last_status or -(view.last_signal or 0)
end

function methods:__close()
  if supervise.view(self.name) then
    self:stop()
    self.reader:cancel()
    self.follower:close()
    supervise.remove(self.name)
  end
  if not self.keep then file.remove_tree(self.directory) end
end

return spark_node
