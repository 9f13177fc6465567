--- Makes the class data archive: runs the training, merges what was loaded, dumps, checks, and puts the file into its place whole.
--- A program of its own (`spark-appliance archive`), so that whatever goes wrong here, it is not PID 1 it happens to.
local file = require "appliance.core.file"
local supervise = require "appliance.core.supervise"
local task = require "appliance.core.task"
local failure = require "appliance.failure"
local training = require "appliance.spark.training"

local trainer = {}

--- Waits until a service is in one of the states. -> the state | nil, err
local function wait_for(name, seconds, ...)
  local wanted = { ... }
  local limit <const> = task.now() + seconds
  local changes <close> = task.start("changes of " .. name, function()
    while true do
      local view = supervise.view(name)
      if not view or view.state == "failed" or view.state == "down" then
        return nil, failure.new("system", "%s: %s", name, view and view.reason ~= "" and view.reason or "ended before it was ready")
      end
      for _, state in ipairs(wanted) do
        if view.state == state then return state end
      end
      supervise.next_change()
    end
  end)
  local ok, state, err = changes:join(limit - task.now())
  if not ok then return nil, failure.new("timeout", "%s: not done after %d s", name, seconds) end
  return state, err
end

--- What the last lines of a service were, for the sentence of its failure.
local function last_words(name)
  local text = supervise.tail(name, 2000) or ""
  return text:match "([^\n]+)\n*$" or ""
end

local function run(spec, seconds, state)
  spec.log = { console = false }                            -- its last words are told when it fails
  local ok, err = supervise.declare(spec)
  if ok then ok, err = supervise.want(spec.name, true) end
  if ok then ok, err = wait_for(spec.name, seconds, state) end
  if ok then return true end
  return nil, failure.new("system", "%s (%s)", tostring(err), last_words(spec.name))
end

--- A stopped service has written its list: it does so when its JVM ends.
local function stop(name)
  supervise.want(name, false)
  while true do
    local view = supervise.view(name)
    if not view or view.pid == nil or view.pid == 0 then break end
    supervise.next_change()
  end
end

local function lists_in(work)
  local lists = {}
  for _, name in ipairs(file.list(work) or {}) do
    if name:find "%.classes$" then lists[#lists + 1] = file.read(work .. "/" .. name, 64 << 20) or "" end
  end
  return lists
end

local QUIET <const> = [[
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%ex
]]

local function lay_out(work)
  for _, directory in ipairs { "/conf", "/tmp", "/warehouse" } do
    local ok, err = file.make_dirs(work .. directory)
    if not ok then return nil, err end
  end
  for name, text in pairs {
    ["/conf/log4j2.properties"] = QUIET, ["/words.txt"] = training.words(), ["/training.sql"] = training.SQL:format(work),
    ["/training.py"] = training.PYTHON, } do
    local ok, err = file.replace(work .. name, text, tonumber("644", 8), false)
    if not ok then return nil, err end
  end
  return true
end

--- what: { layout, output = path, work = directory, environment, python = bool, port, say = function(sentence) } -> true | nil, err
function trainer.make(what)
  local ok, err = lay_out(what.work)
  if not ok then return nil, err end
  local specs = training.services(what)
  what.say "archive: recording which classes Spark loads"
  ok, err = run(specs.server, 600, "up")
  if ok then ok, err = run(specs.beeline, 600, "done") end
  stop "server"
  if not ok then return nil, err end
  if specs.python then
    ok, err = run(specs.python, 600, "done")
    -- A node without a working Python is still a node.
    if not ok then what.say(("archive: without PySpark's classes: %s"):format(err)) end
  end
  local list, count = training.merge(lists_in(what.work))
  local path = what.work .. "/all.classes"
  ok, err = file.replace(path, list, tonumber("644", 8), false)
  if not ok then return nil, err end
  what.say(("archive: dumping %d classes"):format(count))
  local dumped = { layout = what.layout, work = what.work, environment = what.environment, list = path, archive = what.output .. ".new" }
  ok, err = file.make_dirs(what.output:match "^(.*)/[^/]*$")
  if ok then ok, err = run(training.dump(dumped), 1200, "done") end
  if ok then ok, err = run(training.check(dumped), 120, "done") end
  if ok then ok, err = file.rename(dumped.archive, what.output) end
  if not ok then
    file.remove(dumped.archive)
    return nil, err
  end
  return true
end

--- Archives of other versions and JDKs beside a new one are of no use to anybody.
function trainer.forget_others(output)
  local directory, own = output:match "^(.*)/([^/]+)/[^/]+$"
  for _, name in ipairs(file.list(directory) or {}) do
    if name ~= own then file.remove_tree(directory .. "/" .. name) end
  end
end

return trainer
