-- The ZooKeeper of simulated clusters is held against a real one: the same operations, at random by seed, give the same answers.
local clocks = require "appliance.simulate.clock"
local simulated = require "appliance.simulate.zookeeper"
local zk = require "appliance.zk"
local zookeepers = require "zookeepers"

local SEEDS, OPERATIONS = 8, 400

local NAMES = { "a", "b", "c" }

--- Random operations of two clients below `root` -> what each gave, as text. `random(n)`: 1 to n.
local function transcript(clients, root, random)
  local lines, sessions = {}, {}
  for index, client in ipairs(clients) do sessions[client:connected()] = "session" .. index end
  local function path()
    local text = root
    for _ = 1, random(3) do text = text .. "/" .. NAMES[random(#NAMES)] end
    return text
  end
  local function version() return ({ nil, -1, 0, 1, 2, 3 })[random(6)] end
  local function data() return ("x"):rep(random(5) - 1) end
  local function options()
    return ({ nil, {}, { ephemeral = true }, { sequential = true }, { ephemeral = true, sequential = true } })[random(5)]
  end
  local function of_stat(stat)
    return ("v%d cv%d %s n%d l%d %s %s"):format(stat.version, stat.cversion, stat.owner == 0 and "none" or sessions[stat.owner],
      stat.children, stat.length, stat.czxid == stat.mzxid and "unchanged" or "changed", math.type(stat.sent))
  end
  local function of_fault(verb, err)
    return ("%s %s%s"):format(err.kind, err.code, verb == "multi" and " at " .. tostring(err.index) or "")
  end
  local function of_value(value)
    if type(value) ~= "table" then return tostring(value) end
    if value.version then return of_stat(value) end
    return table.concat(value, ",")
  end
  local function note(verb, at, first, second)
    local said = first == nil and of_fault(verb, second) or of_value(first) .. (first and second and " " .. of_stat(second) or "")
    lines[#lines + 1] = ("%d %s %s: %s"):format(#lines + 1, verb, at, said)
  end
  local function part()
    local at, verb = path(), random(4)
    if verb == 1 then return { "check", at, version() or -1 } end
    if verb == 2 then return { "create", at, data(), options() } end
    if verb == 3 then return { "set", at, data(), version() } end
    return { "delete", at, version() }
  end
  local verbs = {
    get = function(c, at) return c:get(at) end,
    exists = function(c, at) return c:exists(at) end,
    children = function(c, at) return c:children(at) end,
    set = function(c, at) return c:set(at, data(), version()) end,
    delete = function(c, at) return c:delete(at, version()) end,
    create = function(c, at) return c:create(at, data(), options()) end,
    multi = function(c)
      local parts = {}
      for index = 1, random(4) do parts[index] = part() end
      local results, err = c:multi(parts)
      if not results then return nil, err end
      local texts = {}
      for index, result in ipairs(results) do texts[index] = of_value(result) end
      return table.concat(texts, ";")
    end,
    ensure = function(c, at) return c:ensure(at) end,
  }
  local order = { "get", "exists", "children", "set", "delete", "delete", "create", "create", "create", "multi", "multi", "ensure" }
  clients[1]:ensure(root)
  for _ = 1, OPERATIONS do
    local verb, at, client = order[random(#order)], path(), clients[random(2)]
    client:sync(root)
    note(verb, at, verbs[verb](client, at))
  end
  -- With a session go its nodes.
  clients[2]:close()
  local function list(at)
    local names, stat = clients[1]:children(at)
    if not names then return end
    lines[#lines + 1] = ("left %s %s"):format(at, of_stat(stat))
    for _, name in ipairs(names) do list(at .. "/" .. name) end
  end
  -- The close is carried out by somebody else: until nothing of that session is left.
  local function owned(at)
    local names, stat = clients[1]:children(at)
    if not names then return false end
    if sessions[stat.owner] == "session2" then return true end
    for _, name in ipairs(names) do if owned(at .. "/" .. name) then return true end end
    return false
  end
  while owned(root) do clients[1]:sync(root) end
  list(root)
  return lines
end

local function dice(seed)
  local state = seed
  return function(most)
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (state >> 33) % most + 1
  end
end

describe("the simulated ZooKeeper", function()
  local ensemble
  setup(function() ensemble = zookeepers.start { tick = 500 } end)
  teardown(function() ensemble:close() end)

  for seed = 1, SEEDS do
    it("answers as a real one, seed " .. seed, function()
      local first <close> = zk.open { servers = ensemble.addresses, session = 8 }
      local second <close> = zk.open { servers = ensemble.addresses, session = 8 }
      local root = "/same" .. seed
      local real = transcript({ first, second }, root, dice(seed))

      local clock = clocks.new()
      local servers = simulated.new { clock = clock, random = require "appliance.simulate.random".new(seed) }
      local host = clock:host "one"
      local fake
      host.task.start(function()
        fake = transcript({ simulated.client(servers, host, { session = 8 }), simulated.client(servers, host, { session = 8 }) }, root,
          dice(seed))
      end)
      clock:run(100000)
      assert.same({}, clock.errors)
      for index, line in ipairs(real) do
        assert.equal(line, fake[index], ("of %d lines, the line %d; before it: %s"):format(#real, index, tostring(real[index - 1])))
      end
      assert.equal(#real, #fake)
    end)
  end
end)
