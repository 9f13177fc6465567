local json = require "appliance.json"
local plan = require "appliance.plan"

local service, tcp, http, line = plan.service, plan.tcp, plan.http, plan.line

local function normalised(parts, layers)
  return assert(plan.normalise(plan.plan(parts), { profile = "site", layers = layers }))
end

--- The faults of a plan, without the "profile site: " they all begin with.
local function faults_of(parts, layers)
  local made, faults = plan.normalise(plan.plan(parts), { profile = "site", layers = layers })
  assert.is_nil(made)
  local texts = {}
  for i, fault in ipairs(faults) do
    assert.equal("invalid", fault.kind)
    texts[i] = fault.text:match "^profile site: (.*)$"
  end
  return texts
end

local function names(made)
  local list = {}
  for i, one in ipairs(made.services) do list[i] = one.name end
  return list
end

local function some(name, more)
  local spec = { name = name, command = { "/bin/" .. name } }
  for field, value in pairs(more or {}) do spec[field] = value end
  return service(spec)
end

describe("a plan", function()
  it("is plain data: it can be written as JSON and read back", function()
    local made = normalised {
      files = { ["spark-defaults.conf"] = plan.properties { ["spark.a"] = 1 }, ["motd"] = "hello" },
      services = { some("master", { ready = tcp(7077) }), some("worker", { after = { master = "ready" }, inputs = { "motd" } }) },
      notes = { "port 8080 is open to others" },
    }
    assert.same(made, json.decode(json.encode(made)))
    assert.same({ "master", "worker" }, names(made))
  end)

  it("drops what is false or missing, and takes lists of services", function()
    assert.same({ "a", "b", "c" }, names(normalised { services = { some "a", false, nil, { some "b", nil, some "c" } } }))
  end)

  it("takes inputs that may be missing", function()
    local made = normalised { files = { a = "1", b = "2" }, services = { some("s", { inputs = { "a", false, nil, "b" } }) } }
    assert.same({ "a", "b" }, made.services[1].inputs)
  end)

  it("gives durations in seconds, sizes in bytes, texts for arguments and variables", function()
    local made = normalised { services = { service {
      name = "a", command = { "/bin/a", 5, 1.5 }, env = { A = 1, B = true, C = false, D = "x" },
      stop = { signal = "sigint", grace = "10s" }, log = { size = "10m" }, ready = http(8080, "/json/", { deadline = "2min" }),
    } } }
    assert.same({
      name = "a", command = { "/bin/a", "5", "1.5" }, env = { A = "1", B = "true", D = "x" },
      stop = { signal = "INT", grace = 10 }, log = { size = 10 << 20 },
      ready = { kind = "http", host = "127.0.0.1", port = 8080, path = "/json/", deadline = 120 },
    }, made.services[1])
  end)

  it("tells every mistake at once, with service, field and cure", function()
    assert.same({
      'file ../x: may not hold ".."',
      'file y: is 5; write properties {...}, xml {...} or text "..."',
      'plan: servces is not known, did you mean "services"?',
      'service master: command is a table; it takes a list with the program first, such as { "/usr/bin/java", "-version" }',
      'service w: after.mastr: there is no such service in this plan, did you mean "master"?',
      'service w: comand is not known, did you mean "command"?',
      'service w: command is missing: the program and its arguments, such as { "/usr/bin/java", "-version" }',
      'service w: nice is "5"; it takes a whole number from -20 to 19',
      "service w: ready.port is missing: the port that answers once the service is ready",
      'service w: restart is "allways"; it takes one of always, on-failure, never, did you mean "always"?',
      'service w: stop.grace is "soon"; it takes seconds, or a text like "30s"',
      'service w: stop.signl is not known, did you mean "signal"?',
      'services: entry 1 has the name "a b"; a name has letters, digits, - _ and ., 63 at most',
      'services: entry 2 is "q"; write service { name =, command = } or a role such as spark.master {}',
      'services: entry 5 has no name; add one, as in service { name = "cache", command = ... }',
    }, faults_of {
      servces = {},
      files = { ["../x"] = "a", y = 5 },
      services = {
        { name = "a b" }, "q", { name = "master", command = {} },
        { name = "w", comand = {}, ready = { kind = "tcp" }, after = { mastr = "ready" }, restart = "allways", nice = "5",
          stop = { grace = "soon", signl = "TERM" } },
        { nam = "x", command = { "/bin/true" } },
      },
    })
  end)

  it("refuses waiting in a circle, for oneself, or for the end of what never ends", function()
    assert.same({
      "service a: after goes in a circle: a waits for b waits for c waits for a; take one of these out",
      "service d: after.d: a service can't wait for itself",
      'service d: after.e is "done", but e never ends by itself: make it a oneshot, or wait for "ready"',
    }, faults_of { services = {
      some("a", { after = { b = "ready" } }), some("b", { after = { c = "started" } }), some("c", { after = { a = "ready" } }),
      some("d", { after = { d = "ready", e = "done" } }), some "e",
    } })
  end)

  it("refuses two services of one name and inputs that are no files of the plan", function()
    assert.same({
      'service a: inputs: the plan has no file spark-default.conf, did you mean "spark-defaults.conf"?',
      "service a: there are two of this name; rename one, or return only one of them",
    }, faults_of { files = { ["spark-defaults.conf"] = plan.properties {} },
                   services = { some("a", { inputs = { "spark-default.conf" } }), some "a" } })
  end)

  it("takes the name of a lease, but not for a one-shot", function()
    assert.same({
      "service b: oneshot and lease exclude each other: a step that is over at the end of a lease may have been half done",
      'service c: lease is true; it takes the name of a lease, such as "sql"',
    }, faults_of { services = { some("a", { lease = "sql" }), some("b", { lease = "sql", oneshot = true }), some("c", { lease = true }) } })
  end)

  it("refuses more services than any machine can start", function()
    local many = {}
    for i = 1, 10001 do many[i] = some("s" .. i) end
    assert.same({ "services: there are 10001, 10000 at most; is there a loop that adds too many?" }, faults_of { services = many })
  end)

  it("checks each kind of readiness for what it needs", function()
    assert.same({
      "service a: ready.path is missing: the path to ask for, such as \"/json/\"",
      "service b: ready.has is missing: the text that the line holds which says it is ready",
      'service c: ready.kind is missing: "tcp", "http", "hive", "line" or "lua"',
      "service d: oneshot and ready exclude each other: a one-shot is done when it has exited with 0",
      'service e: ready.path is "json"; it takes a path to ask for, such as "/json/"',
      'service f: ready.host is "master"; it takes a numeric address, such as 127.0.0.1',
      "service f: ready.port is 70000; it takes a whole number from 1 to 65535",
      "service g: ready.misses needs kind tcp, http or hive: of the others there is nothing to ask again",
    }, faults_of { services = {
      some("a", { ready = http(8080) }), some("b", { ready = line() }), some("c", { ready = { port = 1 } }),
      some("d", { ready = tcp(1), oneshot = true }), some("e", { ready = http(80, "json") }),
      some("f", { ready = tcp(70000, { host = "master" }) }),
      some("g", { ready = line("up", { misses = 3 }) }),
    } })
  end)

  it("passes on what is wrong with a mounted file", function()
    assert.same({ "/conf/spark-defaults.conf:1: \\u needs four hex digits behind it; a backslash itself is written \\\\" },
      faults_of({ services = { some "a" } },
        { ["spark-defaults.conf"] = { { layer = "mounted", origin = "/conf/spark-defaults.conf", text = "a \\uX" } } }))
  end)

  it("has a mounted file that the profile does not know", function()
    local made = normalised({ services = { some "a" } },
      { ["fairscheduler.xml"] = { { layer = "mounted", origin = "/conf/fairscheduler.xml", text = "<allocations/>" } } })
    assert.equal("<allocations/>", made.files["fairscheduler.xml"].text)
  end)

  it("must come from the word plan", function()
    for given, said in pairs { ["nothing"] = false, ["a table"] = {} } do
      local made, faults = plan.normalise(said or nil, { profile = "site" })
      assert.is_nil(made)
      assert.equal("profile site: its plan function gave " .. given .. "; return plan { files = {...}, services = {...} }", faults[1].text)
    end
    assert.has_error(function() plan.plan "x" end, "plan needs a table { files =, services = }, got string")
    assert.has_error(function() plan.plan { some "a" } end, "plan: only another plan may stand without a name, such as `base`")
  end)
end)

describe("a plan over another", function()
  local function base()
    return plan.attribute(plan.plan {
      files = { ["spark-defaults.conf"] = plan.properties { ["spark.a"] = "1", ["spark.b"] = "2" }, motd = "hello" },
      services = { some "master", some("worker", { after = { master = "ready" }, nice = 1 }) },
      notes = { "from ha" },
    }, "ha")
  end

  it("lays files over key by key, and knows both profiles", function()
    local made = normalised { base(), files = { ["spark-defaults.conf"] = plan.properties { ["spark.b"] = "3" }, motd = false } }
    assert.same({
      ["spark.a"] = { value = "1", origin = "profile ha" },
      ["spark.b"] = { value = "3", origin = "profile site", shadowed = { { value = "2", origin = "profile ha" } } },
    }, made.files["spark-defaults.conf"].keys)
    assert.is_nil(made.files.motd)
    assert.same({ "from ha" }, made.notes)
  end)

  it("replaces a service in its place, changes one by name, takes one away, adds one", function()
    local made = normalised { base(), services = { some("master", { nice = 5 }), some "exporter", worker = { nice = 7 } } }
    assert.same({ "master", "worker", "exporter" }, names(made))
    assert.equal(5, made.services[1].nice)
    assert.equal(7, made.services[2].nice)
    assert.same({ master = "ready" }, made.services[2].after)
    assert.same({ "master" }, names(normalised { base(), services = { worker = false } }))
  end)

  it("leaves the ground as it was", function()
    local ground = base()
    normalised { ground, services = { worker = { nice = 9 } }, files = { motd = "other" } }
    assert.equal(1, ground.services[2].nice)
    assert.equal("hello", ground.files.motd.text)
  end)

  it("says when there is no service of the name to change", function()
    assert.same({ 'service mastr: is changed by its name, but the plan has no such service, did you mean "master"?' },
      faults_of { base(), services = { mastr = { nice = 1 } } })
    assert.same({ "service cache: is changed by its name, but the plan has no such service; lay the plan that has it below, as in "
      .. "plan { base, ... }, or add it as service { name = ... }" }, faults_of { services = { cache = { nice = 1 } } })
  end)
end)

describe("a plan, shown", function()
  local function secretive(memory, secret)
    return normalised({
      files = { ["spark-defaults.conf"] = plan.properties { ["spark.executor.memory"] = memory, ["spark.authenticate.secret"] = secret } },
      services = { service { name = "master", command = { "/bin/java", "-Dspark.authenticate.secret=" .. secret, "a b" },
                             env = { DB_PASSWORD = secret, HOME = "/x" } } },
    }, { ["spark-defaults.conf"] = {
      { layer = "mounted", origin = "/conf/spark-defaults.conf", text = "spark.authenticate.secret s3cret0\n" },
    } })
  end

  it("gives value, origin and what is hidden, and no secret", function()
    local made = secretive("2g", "s3cret1")
    for _, text in ipairs { plan.describe(made), json.encode(plan.redacted(made)) } do
      assert.not_match("s3cret", text)
      assert.match("/conf/spark-defaults.conf", text, 1, true)
    end
    assert.equal([[
profile site

file spark-defaults.conf (mode 0600)
  spark.authenticate.secret = (redacted)  # /conf/spark-defaults.conf
    hides (redacted)  # profile site
  spark.executor.memory = 2g  # profile site

service master
  command  /bin/java '-Dspark.authenticate.secret=(redacted)' 'a b'
  env      DB_PASSWORD=(redacted)
           HOME=/x
]], plan.describe(made))
    assert.match("s3cret0", made.files["spark-defaults.conf"].text)
  end)

  it("differs from another as data and as text", function()
    local one = normalised { files = { ["spark-defaults.conf"] = plan.properties { ["spark.a"] = "1", ["spark.gone"] = "x" }, motd = "a" },
                             services = { some "master", some("worker", { nice = 1 }) } }
    local other = normalised { files = { ["spark-defaults.conf"] = plan.properties { ["spark.a"] = "2", ["spark.new"] = "y" }, note = "b" },
                               services = { some("worker", { command = { "/bin/worker", "two words" } }), some "sql" } }
    local difference = plan.diff(one, other)
    assert.same({ file = "spark-defaults.conf", key = "spark.a", kind = "changed", from = "1", to = "2", origin = "profile site" },
      difference.files[3])
    assert.equal([[
- file motd
+ file note
~ spark-defaults.conf: spark.a: 1 -> 2  # profile site
- spark-defaults.conf: spark.gone = x  # profile site
+ spark-defaults.conf: spark.new = y  # profile site
- service master
+ service sql: /bin/sql
~ service worker: command: /bin/worker -> /bin/worker 'two words'
~ service worker: nice: 1 -> (none)
]], plan.diff_text(difference))
    assert.equal("", plan.diff_text(plan.diff(one, one)))
    assert.match("^%+ file motd\n", plan.diff_text(plan.diff(nil, one)))
  end)

  it("stays readable where a class path names every jar", function()
    local function java(memory, last)
      local jars = {}
      for i = 1, 240 do jars[i] = ("/spark/jars/%d.jar"):format(i) end
      jars[#jars + 1] = last
      return normalised { services = {
        some("worker", { command = { "/bin/java", "-cp", table.concat(jars, ":"), "Worker", "--memory", memory, "--port", "0" } }),
      } }
    end
    local one = java("1g", "/conf")
    assert.match("command  /bin/java -cp /spark/jars/1.jar:(239 more):/conf Worker --memory 1g --port 0\n", plan.describe(one), 1, true)
    assert.equal("~ service worker: command: ... --memory 1g ... -> ... --memory 2g ...\n",
      plan.diff_text(plan.diff(one, java("2g", "/conf"))))
    assert.equal("~ service worker: command: ... /spark/jars/240.jar:/conf ... -> ... /spark/jars/240.jar:/new ...\n",
      plan.diff_text(plan.diff(one, java("1g", "/new"))))
    assert.match("/spark/jars/120.jar", json.encode(plan.redacted(one)), 1, true)
  end)

  it("differs in an environment variable by variable", function()
    local function with(env) return normalised { services = { some("worker", { env = env }) } } end
    local difference = plan.diff(with { A = "1", B = "2", KEEP = "x", MY_TOKEN = "s3cret1" },
      with { B = "3", C = "4", KEEP = "x", MY_TOKEN = "s3cret2" })
    assert.same({ service = "worker", field = "env", name = "B", kind = "changed", from = "2", to = "3" }, difference.services[2])
    assert.equal([[
- service worker: env A = 1
~ service worker: env B: 2 -> 3
+ service worker: env C = 4
~ service worker: env MY_TOKEN: another secret
]], plan.diff_text(difference))
  end)

  it("differs in a secret without telling it", function()
    local text = plan.diff_text(plan.diff(normalised {
      files = { ["core-site.xml"] = plan.xml { ["fs.s3a.secret.key"] = "one1" } },
    }, normalised {
      files = { ["core-site.xml"] = plan.xml { ["fs.s3a.secret.key"] = "two2" } },
    }))
    assert.equal("~ core-site.xml: fs.s3a.secret.key: another secret  # profile site\n", text)
    assert.not_match("s3cret", plan.diff_text(plan.diff(secretive("1g", "s3cret1"), secretive("2g", "s3cret2"))))
  end)
end)
