local profile = require "appliance.profile"
local settings = require "appliance.settings"

--- options for profiles held in a table: path -> text.
local function options(texts, environ)
  return {
    environ = environ or {},
    path = { "/site", "/shipped" },
    read = function(path)
      if texts[path] then return texts[path] end
      return nil, path .. ": No such file or directory"
    end,
    list = function(directory)
      local entries = {}
      for path in pairs(texts) do
        local entry = path:match("^" .. directory .. "/([^/]+)$")
        if entry then entries[#entries + 1] = entry end
      end
      return entries
    end,
  }
end

local function load_text(text, others)
  local texts = { ["/site/x.lua"] = text }
  for path, other in pairs(others or {}) do texts[path] = other end
  return profile.load("x", options(texts))
end

--- The one fault of a profile's text.
local function fault_of(text, others)
  local object, faults = load_text(text, others)
  assert.is_nil(object, "was taken")
  assert.equal(1, #faults, settings.explain(faults))
  return faults[1].text
end

local function plan_of(text, environ, facts, others)
  local object, faults = load_text(text, others)
  assert(object, faults and settings.explain(faults))
  local env = assert(settings.read(object.settings, environ or {}))
  return object.plan(env, facts or {})
end

local function plan_error(...)
  local made, err = plan_of(...)
  assert.is_nil(made, "made a plan")
  return err.text
end

local PLAIN = [[
return profile {
  doc = "Two plain services.",
  settings = { MY_LIMIT = { type = "size", default = "2g", doc = "..." } },
  facts = { node = "a plain value" },
  plan = function(env, facts)
    return plan {
      files = { ["a.conf"] = text(facts.node), ["spark-defaults.conf"] = properties { ["spark.executor.memory"] = env.MY_LIMIT,
        ["spark.x"] = 5 } },
      services = { service { name = "a", command = { "/bin/a", env.MY_LIMIT }, ready = tcp(8081) }, false },
    }
  end,
}
]]

describe("profile", function()
  it("is a table of doc, settings, facts and a plan", function()
    local object = assert(load_text(PLAIN))
    assert.equal("x", object.name)
    assert.equal("/site/x.lua", object.path)
    assert.equal("Two plain services.", object.doc)
    assert.equal("a plain value", object.facts.node)
    assert.equal("size", object.settings.MY_LIMIT.type)
    assert.equal("duration", object.settings.STOP_TIMEOUT.type)
    assert.is_nil(object.settings.START_MASTER)
    local made = assert(plan_of(PLAIN, { MY_LIMIT = "3g" }, { node = "me" }))
    assert.equal("a", made.services[1].name)
    assert.same({ "/bin/a", 3 << 30 }, made.services[1].command)
    assert.same({ kind = "tcp", port = 8081 }, made.services[1].ready)
    assert.equal(1, #made.services)
  end)

  it("writes sizes where Spark would take a plain number for mebibytes", function()
    local made = assert(plan_of(PLAIN, {}, { node = "me" }))
    assert.same({ ["spark.executor.memory"] = "2g", ["spark.x"] = 5 }, made.files["spark-defaults.conf"].keys)
  end)

  it("loads a plain one without Spark's schema, roles or facts", function()
    local kept = {}
    for name, module in pairs(package.loaded) do
      if name:find "^appliance%." then kept[name], package.loaded[name] = module, nil end
    end
    local object = assert(require "appliance.profile".load("x", options { ["/site/x.lua"] = PLAIN }))
    assert(require "appliance.settings".read(object.settings, { PATH = "/bin", HOME = "/root" }))
    local loaded = {}
    for name in pairs(package.loaded) do
      if name:find "^appliance%." then loaded[#loaded + 1], package.loaded[name] = name, nil end
    end
    for name, module in pairs(kept) do package.loaded[name] = module end
    table.sort(loaded)
    assert.same({ "appliance.budget", "appliance.failure", "appliance.profile", "appliance.settings", "appliance.settings.core",
      "appliance.settings.types", "appliance.settings.unknown", "appliance.strict", "appliance.words" }, loaded)
  end)

  describe("is found", function()
    it("along the search path, the site's own before the shipped", function()
      local texts = { ["/shipped/x.lua"] = PLAIN, ["/shipped/y.lua"] = PLAIN, ["/site/x.lua"] = PLAIN, ["/site/notes.txt"] = "",
        ["/site/x_spec.lua"] = "" }
      assert.equal("/site/x.lua", profile.load("x", options(texts)).path)
      assert.equal("/shipped/y.lua", profile.load("y", options(texts)).path)
      assert.same({ "x", "y" }, profile.names(options(texts)))
    end)

    it("by its path", function()
      local object = profile.load("/else/z.lua", options { ["/else/z.lua"] = PLAIN })
      assert.equal("z", object.name)
    end)

    it("in APPLIANCE_PROFILES, /etc/spark-appliance and beside the program", function()
      local path = profile.search_path { APPLIANCE_PROFILES = "/a:/b/c" }
      assert.same({ "/a", "/b/c", "/etc/spark-appliance" }, { table.unpack(path, 1, 3) })
      assert.truthy(path[4]:find "profiles$")
      assert.equal(4, #path)
    end)

    it("or told from those that there are", function()
      local function absent(name, environ)
        local object, faults = profile.load(name, options({ ["/shipped/single-node.lua"] = PLAIN }, environ))
        assert.is_nil(object)
        return faults[1].text
      end
      assert.equal('profile "y" (asked for): there is no such profile; there are: single-node (looked in /site, /shipped)', absent "y")
      assert.equal('PROFILE=singel-node: there is no such profile, did you mean "single-node"?; there are: single-node (looked in '
        .. '/site, /shipped)',
        absent(nil, { PROFILE = "singel-node" }))
      assert.equal("ZK_CONN_STR is set, which asks for the profile ha, and that is not here; there are: single-node. "
        .. "Leave ZK_CONN_STR empty for a node with a master of its own, or set PROFILE", absent(nil, { ZK_CONN_STR = "zk:2181" }))
      assert.equal("PROFILE=ha: there is no such profile; there are: single-node (looked in /site, /shipped)", absent(nil,
        { PROFILE = "ha" }))
    end)

    it("unless it can't be read", function()
      local given = options {}
      given.read = function(path) return nil, path .. ": Permission denied" end
      local _, faults = profile.load("x", given)
      assert.equal("profile x can't be read: /site/x.lua: Permission denied", faults[1].text)
    end)
  end)

  describe("tells file, line and cure of", function()
    it("a syntax error", function()
      assert.equal("/site/x.lua:3: '}' expected (to close '{' at line 1) near 'plan': a slip in the writing; "
        .. "is a comma, quote or bracket missing there or on the line before?", fault_of 'return profile {\n  doc = "x"\n  plan = 5\n}')
    end)

    it("a missing field", function()
      local _, faults = load_text "\n\nreturn profile {\n}"
      assert.same({
        '/site/x.lua:3: the profile has no doc; add one sentence for people, for example doc = "A worker beside our own cache."',
        "/site/x.lua:3: the profile has no plan; add a function, for example plan = function(env, facts) return plan { services = { "
          .. "... } } end",
      }, { faults[1].text, faults[2].text })
    end)

    it("a wrong type", function()
      assert.equal("/site/x.lua:3: plan is a table; write a function, for example plan = function(env, facts) return plan { services "
        .. "= { ... } } end",
        fault_of 'return profile {\n  doc = "x",\n  plan = {},\n}')
      assert.equal("/site/x.lua:1: facts holds an item without a name; write what must be learned, for example facts = { limits = "
        .. "node.limits() }",
        fault_of 'return profile { doc = "x", facts = { 5 }, plan = function() end }')
    end)

    it("an unknown field", function()
      assert.equal('/site/x.lua:4: a profile has no field setings, did you mean "settings"?; it has doc, settings, facts, plan and extends',
        fault_of 'return profile {\n  doc = "x",\n  plan = function() end,\n  setings = {},\n}')
    end)

    it("an unknown setting", function()
      assert.equal('/site/x.lua:3: setting "WORKER_MEMROY" is not known, did you mean "WORKER_MEMORY"?; define it '
        .. "(WORKER_MEMROY = { type = ..., doc = ... }) or see `spark-appliance settings`",
        fault_of 'return profile {\n  doc = "x",\n  settings = { "WORKER_MEMROY" },\n  plan = function() end,\n}')
      assert.truthy(fault_of 'return profile {\n  doc = "x",\n  settings = {\n    MY = { type = "sise" } },\n  plan = function() end,\n}'
        :find('^/site/x.lua:4: setting MY: there is no type "sise", did you mean "size"?'))
    end)

    it("a file that returns something else", function()
      local cure = "; a profile file ends with `return profile { doc = ..., plan = ... }`"
      assert.equal("/site/x.lua:1: gives nothing" .. cure, fault_of "local x = 5")
      assert.equal("/site/x.lua:1: gives a number" .. cure, fault_of "return 5")
      assert.equal("/site/x.lua:1: gives a table without the word `profile`" .. cure, fault_of "return { doc = 'x' }")
      assert.equal("/site/x.lua:1: profile takes a table, not a string: write `return profile { doc = ..., plan = ... }`",
        fault_of "return profile 'x'")
    end)

    it("a misspelt word", function()
      assert.equal("/site/x.lua:2: sprak: no such word; did you mean spark?", fault_of "local x\nx = sprak.master {}")
      assert.equal("/site/x.lua:1: wibble: no such word", fault_of "return wibble")
      assert.equal("/site/x.lua:1: total is a global here, which one part would set and another trip over: write `local total`",
        fault_of "total = 5")
    end)

    it("an endless loop", function()
      assert.equal("/site/x.lua:2: computes without end: stopped after 20 million instructions; is there a loop that never leaves?",
        fault_of "local x = 0\nwhile true do x = x + 1 end")
    end)

    it("an endless loop in pcall in an endless loop", function()
      assert.truthy(fault_of "while true do pcall(function() while true do end end) end":find "^/site/x.lua:1: computes without end")
      local text = fault_of "while true do xpcall(function() while true do end end, function() while true do end end) end"
      assert.truthy(text:find "computes without end")
    end)

    it("compiled code", function()
      assert.equal("/site/x.lua: is compiled; a profile is a text", fault_of(string.dump(function() end)))
    end)
  end)

  describe("has words only", function()
    local function refused(expression, why)
      local text = fault_of("local x = " .. expression .. "\nreturn x")
      assert.truthy(text:find(why, 1, true), text)
      assert.truthy(text:find "^/site/x.lua:1: " or text:find "string", text)
    end

    it("so there is no way out", function()
      refused("os.execute 'true'", "os is not there: a profile is the same at any time")
      refused("os.exit(0)", "os is not there")
      refused("io.popen 'true'", "io is not there")
      refused("debug.sethook()", "debug is not there")
      refused("package.loadlib('x', 'y')", "package is not there")
      refused("coroutine.wrap(print)", "coroutine is not there")
      refused("dofile 'x'", "dofile is not there")
      refused("math.random()", "attempt to call a nil value (field 'random')")
      refused("setmetatable({}, { __gc = function() end })", "__gc: a profile has nothing to finalize")
      refused("assert(load(('').dump(function() end)))", "attempt to load a binary chunk")
    end)

    it("requires pure modules and files beside it", function()
      local near = "local near = require 'appliance.near'\nreturn profile { doc = near.best('doc', { 'doc' }), plan = function() end }"
      assert.equal("doc", load_text(near).doc)
      local helper = { ["/site/lib/names.lua"] = "local names = {}\nfunction names.of() return 'ours' end\nreturn names" }
      assert.equal("ours", load_text("local n = require 'lib.names'\nreturn profile { doc = n.of(), plan = function() end }", helper).doc)
      refused("require 'appliance.core.file'", 'require "appliance.core.file": not for profiles')
      refused("require 'appliance.boot'", "not for profiles")
      refused("require 'socket'", 'require "socket": /site/socket.lua: No such file')
      refused("require '../secrets'", "no name of a module")
      assert.equal("/site/bad.lua:1: strng: no such word; did you mean string?", fault_of("return require 'bad'",
        { ["/site/bad.lua"] = "return strng.format" }))
    end)

    it("can't reach our libraries", function()
      assert(load_text "string.format = nil; table.concat = nil; return profile { doc = 'x', plan = function() end }")
      assert.is_function(string.format)
      assert.is_function(table.concat)
      refused("getmetatable('').__index.format", "attempt to index a nil value")
    end)

    it("loads text with the same words", function()
      assert.equal("7", load_text "return profile { doc = load('return tostring(3 + 4)')(), plan = function() end }".doc)
    end)
  end)

  describe("plan", function()
    local function with_plan(body)
      return 'return profile { doc = "x", settings = { "LOG_LEVEL" }, facts = { node = 1, limits = 2 }, plan = function(env, facts)\n'
        .. body .. "\nend }"
    end

    it("that fails says where and in which profile", function()
      assert.equal("/site/x.lua:2: attempt to index a nil value (local 'x') (in the plan of profile x)",
        plan_error(with_plan "local x; return x.y"))
    end)

    it("that returns something else is told so", function()
      assert.equal("/site/x.lua:1: plan gives nothing; end it with `return plan { files = {...}, services = {...} }`",
        plan_error(with_plan ""))
      assert.equal("/site/x.lua:1: plan gives a table; end it with `return plan { files = {...}, services = {...} }`",
        plan_error(with_plan "return {}"))
    end)

    it("that reads a setting or a fact it did not ask for is told the near ones", function()
      assert.equal("/site/x.lua:2: env.LOG_LEVL: this profile's settings have no LOG_LEVL, did you mean \"LOG_LEVEL\"? (in the plan "
        .. "of profile x)",
        plan_error(with_plan "return env.LOG_LEVL"))
      assert.equal("/site/x.lua:2: facts.limit: this profile has no such fact, did you mean \"limits\"? (in the plan of profile x)",
        plan_error(with_plan "return facts.limit.memory"))
    end)

    it("that never ends is stopped", function()
      assert.equal("/site/x.lua:2: computes without end: stopped after 20 million instructions; is there a loop that never leaves? "
        .. "(in the plan of profile x)",
        plan_error(with_plan "while true do end"))
      assert.truthy(plan_error(with_plan "while true do pcall(function() while true do end end) end"):find "computes without end")
    end)

    it("fails with an error that can't be told in words, and that is a fault like others", function()
      for _, how in ipairs { "error 'x'", "error(problem)", "while true do end", "return nil", "return {}" } do
        local text = ("error(setmetatable({}, { __tostring = function(problem) %s end }))"):format(how)
        assert.truthy(plan_error(with_plan(text)):find("an error that can't say what it is about", 1, true))
      end
      assert.truthy(plan_error(with_plan "error(setmetatable({}, { __tostring = function() return 'told' end }))"):find "^told")
    end)

    it("may not wait", function()
      local budget = require "appliance.budget"
      local ok, err = budget.run(function() coroutine.yield() end)
      assert.is_nil(ok)
      assert.truthy(err:find "^waits, which a profile may not")
    end)
  end)

  describe("extends another", function()
    local BASE = [[
return profile {
  doc = "base", settings = { MY_LIMIT = { type = "size", default = "2g" }, "WORKER_CORES" }, facts = { node = "base", limits = 2 },
  plan = function(env, facts)
    return plan { files = { ["a.properties"] = properties { limit = size(env.MY_LIMIT), node = facts.node } },
      services = { service { name = "a", command = { "/bin/a" } }, service { name = "b", command = { "/bin/b" } } } }
  end,
}]]

    it("and builds on its settings, facts and plan", function()
      local site = [[
return profile {
  doc = "site", extends = "base", settings = { MY_LIMIT = { default = "3g" }, "LOG_LEVEL" }, facts = { node = "site" },
  plan = function(env, facts, base)
    return plan { base, files = { ["a.properties"] = properties { mine = true } }, services = { b = false, a = { nice = 5 } } }
  end,
}]]
      local object = assert(load_text(site, { ["/shipped/base.lua"] = BASE }))
      assert.equal("integer", object.settings.WORKER_CORES.type)
      assert.same({ node = "site", limits = 2 }, object.facts)
      local env = assert(settings.read(object.settings, {}))
      local made = assert(require "appliance.plan".normalise(assert(object.plan(env, { node = "site", limits = 2 })), { profile = "x" }))
      assert.equal("a", made.services[1].name)
      assert.equal(5, made.services[1].nice)
      assert.equal(1, #made.services)
      local keys = made.files["a.properties"].keys
      assert.equal("3g", keys.limit.value)
      assert.equal("profile base", keys.limit.origin)
      assert.equal("profile x", keys.mine.origin)
    end)

    it("takes its plan as it is when it has none of its own", function()
      local object = assert(load_text('return profile { doc = "site", extends = "base" }', { ["/shipped/base.lua"] = BASE }))
      local made = assert(object.plan(assert(settings.read(object.settings, {})), { node = "n", limits = 2 }))
      assert.equal(2, #made.services)
    end)

    it("of the same name: the next on the search path", function()
      local object = assert(load_text('return profile { doc = "site", extends = "x" }', { ["/shipped/x.lua"] = BASE }))
      assert.equal("site", object.doc)
      assert.equal("integer", object.settings.WORKER_CORES.type)
    end)

    it("but not itself, round a circle, or one that is not there", function()
      assert.equal('profile "x" (extended by /site/x.lua:2): there is no such profile; there are: x (looked in /site, /shipped)',
        fault_of 'return profile {\n  extends = "x", doc = "" }')
      assert.equal("/site/x.lua:1: extends goes round in a circle: x -> y -> x",
        fault_of('return profile { extends = "y", doc = "" }', { ["/site/y.lua"] = 'return profile { extends = "x", doc = "" }' }))
      assert.equal('profile "bsae" (extended by /site/x.lua:1): there is no such profile, did you mean "base"?; there are: base, x '
        .. '(looked in /site, /shipped)',
        fault_of('return profile { extends = "bsae", doc = "" }', { ["/shipped/base.lua"] = BASE }))
    end)
  end)

  it("gives every service the output that LOG_* ask for, below what the service says itself", function()
    local text = [[
return profile { doc = "x", plan = function()
  return plan { services = { service { name = "a", command = { "/bin/a" } },
    service { name = "b", command = { "/bin/b" }, log = { keep = 9, file = "/else/b.log" } } } }
end }]]
    local made = assert(plan_of(text, { LOG_DIR = "/logs", LOG_SIZE = "1m", LOG_FULL = "block" }))
    assert.same({ file = "/logs/a.log", size = 1 << 20, keep = 4, full = "block" }, made.services[1].log)
    assert.same({ file = "/else/b.log", size = 1 << 20, keep = 9, full = "block" }, made.services[2].log)
    assert.is_nil(assert(plan_of(text)).services[1].log)
    assert.same({ full = "block" }, assert(plan_of(text, { LOG_FULL = "block" })).services[1].log)
  end)

  it("is checked together with its environment and facts", function()
    local given = options({ ["/site/x.lua"] = PLAIN }, { MY_LIMIT = "lots" })
    local _, faults = profile.check("x", given)
    assert.equal('MY_LIMIT="lots" is not a size: a number and its unit (k, m, g or t), for example MY_LIMIT=2g', faults[1].text)
    given.environ, given.facts = {}, { node = "n" }
    local checked = assert(profile.check("x", given))
    assert.equal("a", checked.plan.services[1].name)
  end)

  it("is chosen by what the older variables ask for", function()
    local function chosen(environ) return table.concat(profile.choose(environ), " ") end
    assert.equal("single-node", chosen {})
    assert.equal("mine", chosen { PROFILE = "mine", ZK_CONN_STR = "zk:2181" })
    assert.equal("single-node", chosen { START_MASTER = "true", START_WORKER = "TRUE", MASTER_URI = "", ZOOKEEPER_STACK_NAME = "" })
    assert.equal("single-node", chosen { START_MASTER = "", START_WORKER = "" })
    assert.equal("cluster single-node", chosen { START_MASTER = "true" })
    assert.equal("cluster single-node", chosen { START_WORKER = "true", MASTER_URI = "spark://a:7077" })
    assert.equal("cluster single-node", chosen { SPARK_MODE = "worker", SPARK_MASTER_URL = "spark://a:7077" })
    assert.equal("ha", chosen { START_MASTER = "true", ZOOKEEPER_STACK_NAME = "zk:2181" })
  end)

  it("falls back to the single node where there is no cluster profile", function()
    local object = assert(profile.load(nil, options({ ["/shipped/single-node.lua"] = PLAIN }, { START_MASTER = "true" })))
    assert.equal("single-node", object.name)
  end)
end)
