--- What lies between the agent and the real node, as far as it is pure: lines of a master, what a node says of itself, how people are told.
local daemons = require "appliance.cluster.daemons"
local discovery = require "appliance.cluster.discovery"
local health = require "appliance.cluster.health"
local json = require "appliance.json"
local picture = require "appliance.cluster.picture"

describe("a daemon's lines", function()
  it("name its sessions", function()
    local line = "INFO ClientCnxn: Session establishment complete on server localhost/127.0.0.1:41000, session id = 0x100000db22b0011, "
      .. "negotiated timeout = 10000"
    assert.same({ kind = "session", id = 0x100000db22b0011 }, daemons.read(line))
    assert.same({ kind = "session", id = 0x8000000000000001 }, daemons.read((line:gsub("0x%x+", "0x8000000000000001"))))
  end)

  it("tell its state", function()
    local function state(line) return (daemons.read(line) or {}).state end
    assert.equal("ALIVE", state "INFO Master: I have been elected leader! New state: ALIVE")
    assert.equal("RECOVERING", state "INFO Master: I have been elected leader! New state: RECOVERING")
    assert.equal("ALIVE", state "INFO Master: Recovery complete - resuming operations!")
    assert.equal("STANDBY", state "INFO Master: Starting Spark master at spark://10.0.0.1:7077")
    assert.equal("STANDBY", state "ERROR Master: Leadership has been revoked -- master shutting down.")
    assert.is_nil(daemons.read "INFO Master: Registering worker 10.0.0.1:41234 with 2 cores, 2.0 GiB RAM")
  end)

  it("tell under what name a driver was registered", function()
    local line = "INFO StandaloneSchedulerBackend: Connected to Spark cluster with app ID app-20261123080512-0003"
    assert.same({ kind = "app", app = "app-20261123080512-0003" }, daemons.read(line))
    assert.same({ kind = "app", app = "app-20261123080512-0003" }, daemons.read('{"msg":"' .. line .. '","context":{}}'))
  end)

  it("are the same inside JSON", function()
    local line = [[{"ts":"2026","level":"INFO","msg":"I have been elected leader! New state: ALIVE","logger":"Master"}]]
    assert.equal("ALIVE", daemons.read(line).state)
  end)
end)

describe("HiveServer2's entry", function()
  it("is as Hive writes it", function()
    local name, data = discovery.entry("10.0.0.1", 10000)
    assert.equal("serverUri=10.0.0.1:10000;version=2.3.10;sequence=", name)
    assert.equal("hive.server2.thrift.bind.host=10.0.0.1;hive.server2.transport.mode=binary;hive.server2.thrift.port=10000;"
      .. "hive.server2.thrift.sasl.qop=auth;hive.server2.authentication=NONE", data)
  end)
end)

local function view(change)
  local seen = {
    session = true, masters = { "10.0.0.1:7077", "10.0.0.2:7077" }, uri = "spark://10.0.0.1:7077,10.0.0.2:7077",
    leader = { node = "b", url = "spark://10.0.0.2:7077", ui = "http://10.0.0.2:8080" },
    sql = { holder = "b", held = false, address = "10.0.0.2:10010" }, version = { ours = "4.1.1", active = "4.1.1" }, enough = true,
    said = {}, nodes = {
      b = { node = "b", roles = { master = true, sql = true }, version = "4.1.1", master = { state = "ALIVE" }, sql = { ready = true } },
      a = { node = "a", roles = { master = true, worker = true }, version = "4.1.1", master = { state = "STANDBY" } },
    },
  }
  for field, value in pairs(change or {}) do seen[field] = value or nil end
  return seen
end

describe("the list of masters", function()
  local roster = require "appliance.cluster.roster"

  it("keeps who has gone for a while, so that a reboot changes nobody's files", function()
    local list = roster.new(100)
    assert.same({ "a", "b" }, (list:update(0, { "b", "a" })))
    local now, again = list:update(50, { "b" })
    assert.same({ "a", "b" }, now)
    assert.equal(50, again)
    assert.same({ "a", "b", "c" }, (list:update(80, { "b", "c" })))
    now, again = list:update(100, { "b", "c" })
    assert.same({ "b", "c" }, now)
    assert.is_nil(again)
    assert.same({ "a", "b", "c" }, (list:update(120, { "a" })))
    assert.same({ "a" }, (list:update(1000, { "a" })))
  end)
end)

describe("the picture for people", function()
  it("has everybody, in order, and who leads", function()
    local shown = picture.of(view(), { name = "spark", node = "a" })
    assert.equal("b", shown.leader)
    assert.equal("on b", shown.sql)
    assert.equal("a master worker STANDBY", shown.nodes[1].name .. " " .. shown.nodes[1].roles .. " " .. shown.nodes[1].master)
    assert.equal("on b, not ready yet", picture.of(view { sql = { holder = "b" } }, { name = "spark", node = "a" }).sql)
    local unknown = picture.of(nil, { name = "spark", node = "a" })
    assert.is_false(unknown.session)
    assert.matches('"said":%[%]', json.encode(unknown))
  end)

  it("tells nothing of what was known last once the session is gone", function()
    local shown = picture.of(view { session = false }, { name = "spark", node = "a", zookeeper = "zk-1:2181" })
    assert.same({ false, "zk-1:2181" }, { shown.session, shown.zookeeper })
    for _, field in ipairs { "leader", "leader_url", "sql", "sql_address" } do assert.is_nil(shown[field], field) end
    assert.same({ "a", "b" }, { shown.nodes[1].name, shown.nodes[2].name })
    assert.is_nil(shown.nodes[2].master)
    local term = require "appliance.cli.terminal".new { isatty = function() return false end }
    local text = require "appliance.cli.status".render(term, { profile = "ha", state = "running",
      program = { version = "1", pid = 1 }, services = {}, urls = {}, notes = {}, cluster = shown })
    assert.matches("seen by a: no session with ZooKeeper (zk-1:2181), so it is not known who leads and where SQL is", text, 1, true)
  end)

  it("has a sentence for the log whenever another leads, and none twice", function()
    local told, sentences = nil, {}
    local function see(change)
      local sentence
      told, sentence = picture.news(told, view(change))
      sentences[#sentences + 1] = sentence
    end
    see { leader = false }                                     -- a start, before anybody led
    see()
    see()
    see { session = false, leader = false }
    see { leader = false }
    see { leader = false }
    see { leader = { node = "a" } }
    assert.same({ "b leads", "nobody leads now; b did", "a leads" }, sentences)
  end)

  it("says who holds what a service waits for", function()
    local function reason(change, text, us) return picture.reason(view(change), { reason = text }, us or "a") end
    assert.equal("waits for the lease sql, which b holds", reason(nil, "waits for the lease sql"))
    assert.equal("waits for the lease sql, which nobody holds yet", reason({ sql = {} }, "waits for the lease sql"))
    local function node(change) return reason(change, "waits for the lease node") end
    assert.equal("waits for the lease node, and there is no session with ZooKeeper", node { session = false })
    assert.equal("waits for the lease node, Spark 4.0.1 still runs", node { said = { "Spark 4.0.1 still runs" } })
    assert.is_nil(reason(nil, "exited with 1"))
  end)
end)

describe("health pages", function()
  local views
  local function node(services, waits)
    return { plan = { services = services, waits = waits }, supervise = { view = function(name) return views[name] end } }
  end
  local function ask(path, who, here)
    local status, body = health.answer(who, here, { method = "GET", path = path })
    return status, json.decode(body)
  end
  local both = { { name = "master", role = "spark.master" }, { name = "thriftserver", role = "spark.thriftserver" } }
  local function place(its_view)
    return { node = { name = "a" }, view = its_view, says = function(_, service) return service.name .. " is " .. service.state end }
  end

  before_each(function()
    views = { master = { name = "master", state = "up", critical = true, pid = 5 },
              thriftserver = { name = "thriftserver", state = "waiting", critical = false, reason = "waits for the lease sql" } }
  end)

  it("answer for a standby as Patroni does", function()
    local who, here = node(both), place(view())
    assert.equal(200, (ask("/livez", who, here)))
    assert.equal(200, (ask("/readyz", who, here)))
    assert.equal(200, (ask("/master", who, here)))
    local status, body = ask("/leader", who, here)
    assert.same({ 503, "b leads", "a", "b", "b" }, { status, body.state, body.node, body.leader, body.sql })
    assert.equal(503, (ask("/thriftserver", who, here)))
    assert.equal(503, (ask("/worker", who, here)))
    assert.equal(404, (ask("/nothing", who, here)))
  end)

  it("name no leader without a session, for another may lead by now", function()
    local status, body = ask("/leader", node(both), place(view { session = false }))
    assert.same({ 503, "there is no session with ZooKeeper, so it is not known who leads" }, { status, body.state })
    assert.same({}, { body.leader, body.sql })
    -- while our own master runs its lease does, and nobody else can lead
    assert.equal(200, (ask("/leader", node(both), place(view { session = false, leader = { node = "a" } }))))
  end)

  it("answer for the leader with SQL", function()
    views.thriftserver.state = "up"
    local who, here = node(both), place(view { leader = { node = "a" } })
    assert.equal(200, (ask("/leader", who, here)))
    assert.equal(200, (ask("/leader/", who, here)))
    assert.equal(200, (ask("/thriftserver", who, here)))
    views.master.pid = 0
    assert.equal(503, (ask("/leader", who, here)))
  end)

  it("say what is waited for before there is a plan of it", function()
    local who = node({}, { worker = "no master is known yet" })
    local status, body = ask("/readyz", who, place(view()))
    assert.same({ 503, "worker waits: no master is known yet" }, { status, body.state })
    assert.equal(503, (ask("/worker", who, place(view()))))
    assert.equal(503, (ask("/leader", node(both), place(view { leader = false }))))
    assert.equal(200, (ask("/livez", { supervise = {} }, nil)))
  end)
end)

describe("a node whose ZOOKEEPER_AUTH is not that of the others", function()
  local member = require "appliance.cluster.member"

  local OPEN <const>, CLOSED <const> = { "world:anyone:cdrwa" }, { "digest:spark:hash=:cdrwa" }

  --- Steps of a node whose ZooKeeper answers NOAUTH to `refuse` -> what it says
  local function step(refuse, self)
    local function answer(name)
      return function(_, path)
        if refuse and (name == refuse or path == refuse) then return nil, { code = "NOAUTH", kind = "denied" } end
        return path
      end
    end
    self = self or { said = {} }
    self.joins = self.joins or 0
    self.me, self.dir, self.session, self.connected = "a", "/above/root/spark/1", self.session or { timeout = 4 }, true
    self.node, self.limit, self.done = { name = "a", roles = {} }, { retry = 0.3, refused = 5 }, {}
    self.path = require "appliance.cluster.tree".paths("/above/root", "a", "/above/root/spark/1")
    local refused = answer "rights"
    self.zk = { ensure = answer "ensure", create = answer "create", exists = function() return self.missing ~= true and {} end,
      rights = function(...)
        local ok, err = refused(...)
        return ok and (self.rights or self.auth and CLOSED or OPEN), err
      end }
    self.beat_now, self.changed = { put = function() end }, function() end
    function self.say(_, key, sentence, ...) self.said[key] = sentence and sentence:format(...) end
    local again = member.step(self)
    return self.said.auth, self, again
  end

  it("says so, wherever it is refused, and takes it back when it is let in", function()
    for _, at in ipairs { "ensure", "create", "rights", "/above/root/nodes/a", "/above/root/beats/a" } do
      local said, self = step(at, { said = {}, auth = true })
      assert.matches("node a: ZooKeeper lets it take no part in /above/root (NOAUTH), so it starts no daemon: ZOOKEEPER_AUTH has to be",
        said, 1, true)
      assert.is_nil(self.session.joined)
      assert.is_nil((step(nil, self)))
      assert.is_true(self.session.joined)
    end
    assert.matches("so it starts no daemon: ZOOKEEPER_AUTH is missing here, and has to be that of", (step "rights"), 1, true)
  end)

  it("joins no cluster that was made without one, whose nodes could not read what it writes", function()
    local said, self, again = step(nil, { said = {}, auth = true, rights = OPEN })
    assert.matches("node a: the cluster in /above/root was made without ZOOKEEPER_AUTH, and this node has one", said, 1, true)
    assert.matches("it starts no daemon: leave ZOOKEEPER_AUTH out here, or stop all nodes and give them both it and another CLUSTER_NAME",
      said, 1, true)
    assert.equal(5, again)
    assert.is_nil(self.session.joined)
    self.rights = { "world:anyone:r", CLOSED[1] }              -- somebody lets others read, no more
    assert.is_nil((step(nil, self)))
    assert.is_true(self.session.joined)
  end)

  it("is told that another CLUSTER_NAME is no help where all of it is closed", function()
    local said = step("ensure", { said = {}, missing = true })
    assert.matches("node a: ZooKeeper lets it make nothing in /above (NOAUTH), so it starts no daemon: others have closed", said, 1, true)
    assert.matches("give it the same, or a part of its own, as ZOOKEEPER=host:2181/other", said, 1, true)
  end)
end)

describe("the sentence of a service", function()
  local place = require "appliance.cluster.place"

  it("says once that it waits", function()
    local function says(service) return place.says({ reason = function() end }, service) end
    assert.equal("master waits for the lease node", says { name = "master", state = "waiting", reason = "waits for the lease node" })
    assert.equal("master is backoff: exited with 1", says { name = "master", state = "backoff", reason = "exited with 1" })
    assert.equal("master is starting", says { name = "master", state = "starting", reason = "" })
  end)
end)
