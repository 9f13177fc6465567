--- How a node goes on when settings, profile and facts change, with a fake profile and a fake supervisor behind the real boot.
local task = require "appliance.core.task"

local FAKED = { "appliance.boot", "appliance.core.program", "appliance.core.supervise", "appliance.core.control", "appliance.core.log",
  "appliance.core.host", "appliance.profile" }

--- A node that boots from `shape()`, called at each reading: { facts =, plan = } | nil, faults. Closable.
local function boot(shape)
  local file = require "appliance.core.file"
  local settle = require "appliance.settle"
  local node = { said = {}, plans = {}, hangups = task.queue(), loads = 0, refused = {}, folder = os.tmpname() }
  os.remove(node.folder)
  local kept, quiet = {}, settle.QUIET
  for _, name in ipairs(FAKED) do kept[name] = package.loaded[name] end
  local function say(text) node.said[#node.said + 1] = tostring(text) end
  local fakes = {
    ["appliance.core.program"] = { watch = function() end, supervise = function() return true end, trim = function() end,
      reload = function() node.hangups:get() end },
    ["appliance.core.supervise"] = {
      list = function() return {} end, remove = function() return true end, want = function() return true end,
      restart = function() return true end,
      declare = function(spec)
        if node.refused[spec.name] then return nil, "refused" end
        return true
      end,
    },
    ["appliance.core.control"] = { serve = function()
      node.served = table.concat(node.said, "\n")             -- what came before
      return { close = function() end }
    end },
    ["appliance.core.log"] = { info = say, warn = say, error = say, level = function() end },
    ["appliance.core.host"] = { uid = function() return 0 end,
      environ = function() return { STATE_DIR = node.folder, FACTS_TIMEOUT = node.timeout or "60s",
        CREDENTIALS_BROKER = "false" } end },
    ["appliance.profile"] = { load = function()
      node.loads = node.loads + 1
      local made, faults = shape(node)
      if not made then return nil, faults end
      local plan = made.plan
      return { name = "fake", settings = require "appliance.settings.core", facts = made.facts, plan = function(env, values)
        node.plans[#node.plans + 1] = values.it
        return require "appliance.plan".plan(plan and plan(env, values) or { notes = { "it is " .. tostring(values.it) } })
      end }
    end },
  }
  for _, name in ipairs(FAKED) do package.loaded[name] = fakes[name] end
  settle.QUIET = 0.01
  local running = task.start("node", require("appliance.boot").run)
  function node.until_true(what)
    for _ = 1, 20000 do
      if what() then return end
      if not running:is_alive() then break end
      task.sleep(0.001)
    end
    error("waited too long; the log is:\n" .. table.concat(node.said, "\n"), 2)
  end
  function node.has_said(text)
    for _, line in ipairs(node.said) do
      if line:find(text, 1, true) then return true end
    end
  end
  function node.await(text) node.until_true(function() return node.has_said(text) end) end
  return setmetatable(node, { __close = function()
    running:cancel()
    for _, name in ipairs(FAKED) do package.loaded[name] = kept[name] end
    settle.QUIET = quiet
    file.remove_tree(node.folder)
  end })
end

local facts = require "appliance.facts"

--- A fact that is what was put into the queue last.
local function from(queue)
  return facts.source("it", function(emit)
    for value in function() return queue:get() end do emit(value) end
  end)
end

local function never() return facts.source("what never comes", function() task.sleep(1000) end) end

describe("a node", function()
  it("computes its plan again when a fact changes", function()
    local values = task.queue()
    values:put(1)
    local node <close> = boot(function() return { facts = { it = from(values) } } end)
    node.await "it is 1"
    values:put(2)
    node.await "it is 2"
    assert.same({ 1, 2 }, node.plans)
  end)

  it("fetches before all else, again when the source changes, and once more when that failed", function()
    local fetch, objects, file_server = require "appliance.fetch", require "appliance.objects", require "file_server"
    local server <close> = file_server.start()
    local watch, retry = fetch.watch, objects.RETRY
    finally(function() fetch.watch, objects.RETRY = watch, retry end)
    fetch.watch = function(list, changed) return watch(list, changed, 0.02) end
    objects.RETRY = 0.02
    server:put("/x", "one")
    local node <close> = boot(function()
      return { facts = { it = 1 }, plan = function()
        return { fetch = { x = { from = server.base .. "/x", watch = true } }, services = {
          { name = "reads", command = { "/bin/true" }, inputs = { "x" } }, { name = "other", command = { "/bin/true" }, inputs = {} } } }
      end }
    end)
    local function now() return require("appliance.core.file").read(node.folder .. "/fetched/x") end
    node.await "x: fetched from"
    node.until_true(function() return node.served end)
    assert.equal("one", now())
    server:put("/x", "two")
    node.await "reads: restarted, x changed"
    assert.equal("two", now())
    os.execute("mkdir -p " .. node.folder .. "/fetched/.x.new/full")       -- where the next one would be written, and root can't either
    server:put("/x", "three")
    node.await "x: not carried out: "
    assert.equal("two", now())
    os.execute("rm -r " .. node.folder .. "/fetched/.x.new")
    node.until_true(function() return now() == "three" end)
    assert.is_nil(node.has_said "other: restarted")
  end)

  it("opens its socket before it waits for facts, and when there are none only after the first plan", function()
    do
      local node <close> = boot(function() return { facts = { it = never() } } end)
      node.until_true(function() return node.served end)
      assert.equal("", node.served)
    end
    local node <close> = boot(function() return { facts = {} } end)
    node.until_true(function() return node.served end)
    assert.matches("it is nil", node.served)
  end)

  it("goes on with its old facts, which may change meanwhile, when those of a new profile do not come", function()
    local values = task.queue()
    values:put(1)
    local node <close> = boot(function(node)
      if node.loads == 1 then return { facts = { it = from(values) } } end
      return { facts = { it = never() } }
    end)
    node.await "it is 1"
    node.timeout = "0.1s"
    node.hangups:put(true)
    node.until_true(function() return node.loads == 2 end)
    values:put(2)
    node.await "SIGHUP: nothing was changed"
    node.await "it is 2"
    values:put(3)
    node.await "it is 3"
    assert.same({ 1, 2, 3 }, node.plans)
  end)

  it("keeps its plan when the new profile has none, whatever goes wrong with it", function()
    local cyclic = {}
    cyclic.cyclic = cyclic
    local untellable = setmetatable({}, { __tostring = error })
    local bad = {
      function() error("no plan", 0) end,
      function() return { services = { setmetatable({}, { __index = function() error(untellable) end }) } } end,
      function() return { services = { { name = "a", command = { "/bin/true" }, env = cyclic } } } end,
      function() local list = {}; while true do list = { list } end end,
    }
    local node <close> = boot(function(node)
      return { facts = { it = node.loads }, plan = bad[node.loads - 1] }
    end)
    node.await "it is 1"
    for i = 1, 3 do
      node.said = {}
      node.hangups:put(true)
      node.await "SIGHUP: nothing was changed"
      assert.same(i + 1, node.loads)
    end
  end)

  it("reads settings once more after a storm of SIGHUPs, not once for each", function()
    local go = task.queue()
    local node <close> = boot(function(node)
      if node.loads == 1 then return { facts = { it = 1 } } end
      return { facts = { it = facts.source("it", function(emit) go:get(); emit(node.loads) end) } }
    end)
    node.await "it is 1"
    node.hangups:put(true)
    node.until_true(function() return node.loads == 2 end)
    for _ = 1, 1000 do node.hangups:put(true) end
    node.until_true(function() return node.hangups:length() == 0 end)
    for _ = 1, 10 do go:put(true) end
    node.await "it is 3"
    task.sleep(0.05)
    assert.same(3, node.loads)
  end)

  it("does not lose the change of a fact to a SIGHUP that fails", function()
    local values = task.queue()
    values:put(1)
    local node <close> = boot(function(node)
      if node.loads == 1 then return { facts = { it = from(values) } } end
      return nil, { "a slip" }
    end)
    node.await "it is 1"
    require("appliance.settle").QUIET = 1000                   -- the SIGHUP comes while it waits for the facts to be quiet
    values:put(2)
    node.until_true(function() return values:length() == 0 end)
    task.sleep(0.01)
    node.hangups:put(true)
    node.await "SIGHUP: nothing was changed: a slip"
    node.await "it is 2"
  end)

  it("says what of a new plan failed, and tries it again", function()
    local values = task.queue()
    local node <close> = boot(function(node)
      if node.loads == 1 then return { facts = { it = 1 } } end
      return { facts = { it = from(values) }, plan = function(_, known)
        return { services = { { name = "a", command = { "/bin/true" } } }, notes = { "it is " .. known.it } }
      end }
    end)
    node.await "it is 1"
    node.refused.a = true
    values:put(2)
    node.hangups:put(true)
    node.await "SIGHUP: settings and profile are in force but for what failed"
    node.refused.a = nil
    values:put(3)
    node.await "it is 3"
    assert.is_true(node.has_said "a: started")
  end)
end)

it("leaves no task behind", function() assert.same(0, task.count()) end)
