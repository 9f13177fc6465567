--- zookeeper.servers() against Exhibitors that are down, slow, wrong or changed.
local fake_exhibitor = require "fake_exhibitor"
local log = require "appliance.core.log"
local task = require "appliance.task"

describe("zookeeper.servers by Exhibitor", function()
  local exhibitor, folder, told, kept_log

  setup(function() exhibitor = fake_exhibitor.start() end)
  teardown(function() exhibitor:__close() end)

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(require("appliance.core.file").make_dirs(folder, tonumber("700", 8)))
    told, kept_log = {}, { info = log.info, warn = log.warn }
    log.info = function(text) told[#told + 1] = "info " .. text end
    log.warn = function(text) told[#told + 1] = "warn " .. text end
    for host = 1, 3 do exhibitor:says(host, { status = 404 }) end
    exhibitor:asked()
  end)

  after_each(function()
    log.info, log.warn = kept_log.info, kept_log.warn
    os.remove(folder .. "/zookeepers.json")
    os.remove(folder)
  end)

  --- Follows the fact. -> object with .values; :value(n) waits for the n-th
  local function follow(env)
    local all = { EXHIBITOR_PORT = exhibitor.port, EXHIBITOR_POLL = 0.02, STATE_DIR = folder }
    for name, value in pairs(env) do all[name] = value end
    local followed = { values = {} }
    local running = task.start("servers", function()
      local source = require("appliance.cluster.zookeepers").servers()
      return source.start(function(value)
        local last = followed.values[#followed.values]
        if not last or not require "appliance.same"(last, value) then followed.values[#followed.values + 1] = value end
      end, all)
    end)
    function followed.until_true(what)
      for _ = 1, 20000 do
        if what() then return end
        assert(running:is_alive(), "the fact has ended")
        task.sleep(0.001)
      end
      error("waited too long; it said:\n" .. table.concat(told, "\n"), 2)
    end
    function followed:value(n)
      self.until_true(function() return self.values[n] end)
      return self.values[n]
    end
    return setmetatable(followed, { __close = function() running:cancel() end })
  end

  local function list_of(...) return { servers = { ... }, port = 2181 } end

  local function wait_for_questions(followed, count)
    local asked = {}
    followed.until_true(function()
      for _, line in ipairs(exhibitor:asked()) do asked[#asked + 1] = line end
      return #asked >= count
    end)
    return asked
  end

  it("has the list of a host that answers, sorted, in both of Exhibitor's forms", function()
    exhibitor:says(1, list_of("10.0.0.2", "10.0.0.1"))
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" } }
    assert.same({ servers = { "10.0.0.1:2181", "10.0.0.2:2181" }, chroot = "", from = "exhibitor" }, followed:value(1))
    exhibitor:says(1, { servers = { "zk-1", "zk-2", "zk-3" }, port = 2182, form = true })
    -- the learned servers are asked first, and are not there; the host of the settings is asked in the same round
    assert.same({ "zk-1:2182", "zk-2:2182", "zk-3:2182" }, followed:value(2).servers)
  end)

  it("asks another host where one is down, and next time the servers themselves", function()
    exhibitor:says(1, { down = true })
    exhibitor:says(2, list_of "127.0.0.3")
    exhibitor:says(3, list_of("127.0.0.3", "127.0.0.2"))
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1", "127.0.0.2" } }
    assert.same({ "127.0.0.3:2181" }, followed:value(1).servers)
    assert.same({ "127.0.0.2:2181", "127.0.0.3:2181" }, followed:value(2).servers)   -- only 3 knows that
    exhibitor:says(2, { status = 500 })
    exhibitor:asked()
    local seen = {}
    for _, line in ipairs(wait_for_questions(followed, 12)) do seen[line:sub(1, 1)] = true end
    assert.is_true(seen["3"])
  end)

  it("keeps a good list whatever is answered later, and says so once", function()
    exhibitor:says(1, list_of "127.0.0.1")
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" } }
    followed:value(1)
    for _, bad in ipairs { { status = 500 }, { body = "<html>" }, { body = "{" }, { body = "" }, list_of(),
      { body = '{"servers":[1],"port":2}' },
      { servers = { "10.0.0.1" }, port = 0 }, { servers = { "10.0.0.1" }, port = 0, form = true }, { body = "count=3&server0=a&port=2181" },
      { body = '{"servers":["a b"],"port":2181}' }, { down = true } } do
      exhibitor:says(1, bad)
      exhibitor:asked()
      wait_for_questions(followed, 2)
    end
    assert.equal(1, #followed.values)
    assert.equal(1, #told, table.concat(told, "\n"))
    assert.equal(("warn ZooKeeper's servers can't be learned: Exhibitor at 127.0.0.1:%d: it answers with 500; they stay 127.0.0.1:2181")
      :format(exhibitor.port), told[1])
    exhibitor:says(1, list_of("127.0.0.1", "10.0.0.9"))
    assert.same({ "10.0.0.9:2181", "127.0.0.1:2181" }, followed:value(2).servers)
    assert.same({ "info ZooKeeper's servers: there are answers again",
      "info ZooKeeper's servers are now 10.0.0.9:2181, 127.0.0.1:2181; they were 127.0.0.1:2181" }, { told[2], told[3] })
  end)

  it("keeps it through a host that hangs", function()
    exhibitor:says(1, { hang = true })
    exhibitor:says(2, list_of "127.0.0.2")
    local began = task.now()
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1", "127.0.0.2" } }
    assert.same({ "127.0.0.2:2181" }, followed:value(1).servers)
    assert.is_true(task.now() - began < 15)
  end)

  it("starts from the last answer on disk when nobody answers", function()
    do
      exhibitor:says(1, list_of "127.0.0.2")
      local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" }, ZOOKEEPER = "zk-9:2181/spark" }
      assert.same({ servers = { "127.0.0.2:2181" }, chroot = "/spark", from = "exhibitor" }, followed:value(1))
      followed.until_true(function() return require("appliance.core.file").stat(folder .. "/zookeepers.json") end)
    end
    exhibitor:says(1, { status = 500 })
    exhibitor:says(2, { down = true })
    do
      local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" }, ZOOKEEPER = "zk-9:2181/spark" }
      assert.same({ servers = { "127.0.0.2:2181" }, chroot = "/spark", from = "cache" }, followed:value(1))
      exhibitor:says(2, list_of("127.0.0.2", "127.0.0.3"))     -- it is known by the list on disk alone
      assert.same({ servers = { "127.0.0.2:2181", "127.0.0.3:2181" }, chroot = "/spark", from = "exhibitor" }, followed:value(2))
    end
    exhibitor:says(2, { down = true })
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.3" }, ZOOKEEPER = "zk-9:2181" }   -- other hosts: not their list
    assert.same({ servers = { "zk-9:2181" }, chroot = "", from = "setting" }, followed:value(1))
  end)

  it("is not misled by a damaged file", function()
    for _, text in ipairs { "", "{", "[]", '{"key":"127.0.0.1","list":[]}', '{"key":"127.0.0.1","list":[5]}', '{"key":"127.0.0.1"}' } do
      assert(require("appliance.core.file").replace(folder .. "/zookeepers.json", text, tonumber("600", 8), false))
      local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" }, ZOOKEEPER = "zk-9:2181" }
      assert.equal("setting", followed:value(1).from)
    end
  end)

  it("waits, and says why, while there is nothing to start from", function()
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" } }
    followed.until_true(function() return told[1] end)
    assert.matches("it answers with 404; nothing is known yet, it is tried again$", told[1])
    assert.same({}, followed.values)
    exhibitor:says(1, list_of "10.0.0.1")
    assert.equal("exhibitor", followed:value(1).from)
  end)

  it("gives user and password where they are wanted, and tells nobody", function()
    local script = list_of "10.0.0.1"
    script.user = "spark:sesame open"
    exhibitor:says(1, script)
    do
      local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" } }
      followed.until_true(function() return told[1] end)
      assert.matches("it refuses us %(401%): set EXHIBITOR_USER and EXHIBITOR_PASSWORD_FILE", told[1])
    end
    local followed <close> = follow { EXHIBITOR_HOSTS = { "127.0.0.1" }, EXHIBITOR_USER = "spark", EXHIBITOR_PASSWORD = "sesame open" }
    assert.equal("exhibitor", followed:value(1).from)
    assert.is_nil(table.concat(told, "\n"):find("sesame", 1, true))
  end)

  it("tries one on a single host that has a name, and takes it for ZooKeeper itself when there is none", function()
    exhibitor:says(1, list_of("10.0.0.1", "10.0.0.2"))
    do
      local followed <close> = follow { ZOOKEEPER = "localhost:2181/x" }
      assert.same({ servers = { "10.0.0.1:2181", "10.0.0.2:2181" }, chroot = "/x", from = "exhibitor" }, followed:value(1))
      followed.until_true(function() return require("appliance.core.file").stat(folder .. "/zookeepers.json") end)
    end
    os.remove(folder .. "/zookeepers.json")
    exhibitor:says(1, { status = 404 })
    told = {}
    local followed <close> = follow { ZOOKEEPER = "localhost:2181/x" }
    assert.same({ servers = { "localhost:2181" }, chroot = "/x", from = "setting" }, followed:value(1))
    wait_for_questions(followed, 3)
    assert.same({}, told)
  end)
end)
