-- The command line without a node: a fake terminal, and a fake client that answers from a table.
local json = require "appliance.json"

local function fake_terminal(options)
  options = options or {}
  local out = { text = { "", "" } }
  local terminal = require "appliance.cli.terminal".new {
    write = function(fd, text)
      if options.broken and fd == 1 then return nil, "nobody reads" end
      out.text[fd] = out.text[fd] .. text
      return true
    end,
    isatty = function() return options.tty or false end,
    columns = function() return 40 end,
    environ = options.environ or {},
  }
  return terminal, out
end

local function run(...)
  local terminal, out = fake_terminal()
  local code = require "appliance.cli".run_with(terminal, ...)
  return code, out.text[1], out.text[2]
end

local node = {
  program = { version = "0.1.0", pid = 1, uptime = 3700.2, memory = 1000000 }, profile = "single-node", state = "running",
  services = {
    { name = "master", state = "up", critical = true, wanted = true, pid = 12, uptime = 90.5, restarts = 0, crashes = 0,
      memory = 300 << 20 },
    { name = "worker", state = "backoff", critical = true, wanted = true, restarts = 3, crashes = 3, reason = "exited with 1",
      retry_in = 2.5, output = "one\ntwo\n" },
  },
  urls = { { name = "Master UI", url = "http://10.0.0.1:8080/" } }, notes = { "port 7077 is open to others without authentication" },
}

describe("the command line", function()
  it("lists its commands, and helps with each", function()
    local cli = require "appliance.cli"
    local code, text = run "--help"
    assert.equal(0, code)
    local all = "run plan check settings status logs restart stop start healthcheck s3 lua test version"
    for name in all:gmatch "%S+" do
      assert.matches("\n  " .. name .. " ", text)
      assert.is_true(cli.is_command(name))
      local help_code, help = run(name, "--help")
      assert.equal(0, help_code)
      assert.matches("^usage: spark%-appliance " .. name, help)
      assert.is_true(#help > 60, name)
      assert.equal(help, select(2, run("help", name)))
    end
  end)

  it("knows what is not its own, so that PID 1 may become it", function()
    local cli = require "appliance.cli"
    assert.is_false(cli.is_command "bash")
    assert.is_false(cli.is_command "/opt/spark/bin/spark-submit")
    assert.is_true(cli.is_command "--version")
  end)

  it("answers an unknown command with the nearest and 64", function()
    local code, text, err = run "stauts"
    assert.equal(64, code)
    assert.equal("", text)
    assert.equal('spark-appliance: there is no command stauts, did you mean "status"?; `spark-appliance --help` lists the commands\n', err)
    assert.equal(64, (run "--hepl"))
  end)

  it("answers wrong options and words with a sentence and 64", function()
    for _, case in ipairs {
      { { "status", "--jsno" }, 'unknown option --jsno, did you mean "--json"?' },
      { { "status", "--json=1" }, "--json takes no value" },
      { { "status", "now" }, '"now" is too much: spark-appliance status [--json] [--watch]' },
      { { "logs" }, "something is missing: spark-appliance logs [-f] [--bytes N] SERVICE" },
      { { "logs", "--bytes" }, "--bytes needs a value: --bytes 10" },
      { { "logs", "--bytes", "-1", "a" }, "--bytes -1: it must be a whole number" },
      { { "healthcheck", "--wait" }, "--wait needs a value: --wait 60s" },
      { { "healthcheck", "--wait", "soon" }, "--wait soon is not a time span: a number and its unit (ms, s, min, h or d): --wait 60s" },
    } do
      local code, _, err = run(table.unpack(case[1]))
      assert.equal(64, code)
      assert.truthy(err:find(case[2], 1, true), err)
    end
  end)

  it("takes options before, between and behind words", function()
    local parse = require "appliance.cli.options".parse
    local known = { follow = { "flag", short = "f" }, bytes = "number", no_wait = "flag" }
    local options, rest = parse({ "-f", "worker", "--bytes=5", "--no-wait", "--", "-x" }, known)
    assert.same({ follow = true, bytes = 5, no_wait = true }, options)
    assert.same({ "worker", "-x" }, rest)
    options, rest = parse({ "a", "--bytes", "7" }, known)
    assert.same({ bytes = 7 }, options)
    assert.same({ "a" }, rest)
  end)
end)

describe("the terminal", function()
  it("colours only a terminal, and not with NO_COLOR or TERM=dumb", function()
    local function painted(options) return (fake_terminal(options)):paint("red", "x") end
    assert.equal("x", painted {})
    assert.equal("\27[31mx\27[0m", painted { tty = true })
    assert.equal("x", painted { tty = true, environ = { NO_COLOR = "1" } })
    assert.equal("\27[31mx\27[0m", painted { tty = true, environ = { NO_COLOR = "" } })
    assert.equal("x", painted { tty = true, environ = { TERM = "dumb" } })
  end)

  it("shows progress in one line that goes away, and none in a file", function()
    local terminal, out = fake_terminal { tty = true }
    terminal:progress "master: starting, 0.1 s"
    terminal:progress "master: starting, 0.2 s"
    terminal:say "master: up"
    assert.equal("\r\27[Kmaster: starting, 0.1 s\r\27[Kmaster: starting, 0.2 s\r\27[K", out.text[2])
    assert.equal("master: up\n", out.text[1])
    terminal:progress(("x"):rep(100))
    assert.is_true(#out.text[2] < 130)
    terminal, out = fake_terminal {}
    terminal:progress "nothing"
    assert.equal("", out.text[2])
  end)

  it("aligns by letters, not bytes, and leaves no blanks at line ends", function()
    local terminal = fake_terminal {}
    local rows = { { "NAME", "STATE", "" }, { "käse", "up", "x" }, { "ab", "-", "" } }
    assert.equal("NAME  STATE\nkäse  up     x\nab    -", terminal:table(rows))
  end)

  it("says amounts as people do", function()
    local t = require "appliance.cli.terminal"
    for seconds, text in pairs { [0.0004] = "1 ms", [0.4] = "0.4 s", [9.96] = "10.0 s", [42.9] = "42 s", [75] = "1 min 15 s",
                                 [3700] = "1 h 1 min", [90000] = "1 d 1 h" } do
      assert.equal(text, t.duration(seconds))
    end
    for bytes, text in pairs { [0] = "0 B", [1023] = "1023 B", [1536] = "1.5 KiB", [300 << 20] = "300 MiB", [3 << 30] = "3.0 GiB" } do
      assert.equal(text, t.size(bytes))
    end
  end)
end)

describe("commands that ask the node", function()
  local answers, asked
  local function failure(text, exit) return setmetatable({ exit = exit }, { __tostring = function() return text end }) end

  before_each(function()
    answers, asked = {}, {}
    local client = require "appliance.client"
    local fake = setmetatable({}, { __index = client })
    local function take(call)
      asked[#asked + 1] = ("%s %s"):format(call.method or "GET", call.path)
      local answer = answers[asked[#asked]]
      if not answer then return nil, failure("no spark-appliance runs here", 69) end
      return answer
    end
    function fake.request(call) return take(call) end
    function fake.get(call) return take(call) end
    function fake.json(call) return take(call) end
    function fake.open(call)
      local chunks, err = take(call)
      if not chunks then return nil, err end
      local i = 0
      return setmetatable({ read = function() i = i + 1; return chunks[i] end }, { __close = function() end })
    end
    package.loaded["appliance.client"] = fake
    local clock = 100
    package.loaded["appliance.core.task"] = { now = function() clock = clock + 0.7; return clock end }
    for name in pairs(package.loaded) do
      if name:find "^appliance%.cli%." and name ~= "appliance.cli.terminal" then package.loaded[name] = nil end
    end
  end)

  after_each(function()
    for name in pairs(package.loaded) do
      if name == "appliance.client" or name == "appliance.core.task" or name:find "^appliance%.cli%." then package.loaded[name] = nil end
    end
  end)

  it("status: a table, why something is not up, its last lines, URLs and notes", function()
    answers["GET /status"] = node
    local code, text = run "status"
    assert.equal(0, code)
    assert.equal([[
single-node: running; spark-appliance 0.1.0, pid 1, up 1 h 1 min, 977 KiB

SERVICE  STATE    PID  UP          RESTARTS  MEMORY
master   up       12   1 min 30 s  0         300 MiB
worker   backoff  -    -           3         -        exited with 1; next try in 2.5 s

worker, its last lines:
  one
  two

Master UI  http://10.0.0.1:8080/

note: port 7077 is open to others without authentication
]], text)
    code, text = run("status", "--json")
    assert.equal(0, code)
    assert.same(node, json.decode(text))
  end)

  it("status: what a service does, when its state says too little", function()
    local function service(name, state, doing, reason)
      return { name = name, state = state, doing = doing, since = 3.2, uptime = 9, pid = 7, restarts = 0, crashes = 0, reason = reason }
    end
    answers["GET /status"] = { program = node.program, profile = "p", state = "running", urls = {}, notes = {}, services = {
      service("master", "starting", "recovering"), service("archive", "starting", "running"),
      service("worker", "up", "stopped", "stopped by a signal (SIGSTOP); kill -CONT 7"),
    } }
    local _, text = run "status"
    assert.matches("\nmaster +recovering, 3.2 s +7 ", text)
    assert.matches("\narchive +running, 3.2 s +7 ", text)
    assert.matches("\nworker +stopped +7 .*  stopped by a signal %(SIGSTOP%); kill %-CONT 7\n", text)
  end)

  it("status: what was fetched, and what failed last", function()
    answers["GET /status"] = { program = node.program, profile = "p", state = "running", urls = {}, notes = {}, services = {}, objects = {
      { name = "EXT_CONF", from = "https://h/x?(redacted)", size = 120, sha256 = ("ab"):rep(32), fetched = 90 },
      { name = "jars/x.jar", from = "s3://b/x.jar", size = 1 << 21, version = "etag 9b2c", fetched = 3600, watch = true,
        error = "no", failed = 12 },
      { name = "y", from = "s3://b/y", error = "it is no jar", failed = 1 },
    } }
    local code, text = run "status"
    assert.equal(0, code)
    assert.matches([[

FETCHED     SIZE     VERSION                     AGE         FROM
EXT_CONF    120 B    sha256 abababababababab...  1 min 30 s  https://h/x?(redacted)
jars/x.jar  2.0 MiB  etag 9b2c                   1 h 0 min   s3://b/x.jar (watched)
y           -                                    -           s3://b/y
jars/x.jar, 12 s ago: no
y, 1.0 s ago: it is no jar
]], text, 1, true)
  end)

  it("status --watch: each change as it comes", function()
    answers["GET /status?follow=1"] = { json.encode(node) .. "\n" .. json.encode(node):sub(1, 10), json.encode(node):sub(11) .. "\n" }
    local code, text = run("status", "--watch", "--json")
    assert.equal(0, code)
    assert.equal(json.encode(node) .. "\n" .. json.encode(node) .. "\n", text)
  end)

  it("says how to find a node, with 69, when none answers", function()
    for _, words in ipairs { { "status" }, { "logs", "a" }, { "restart", "a" }, { "status", "--watch" }, { "stop", "--no-wait", "a" } } do
      local code, text, err = run(table.unpack(words))
      assert.equal(69, code, words[1])
      assert.equal("", text)
      assert.matches("no spark%-appliance runs here", err)
    end
  end)

  it("healthcheck: 0 or 1, and one sentence", function()
    answers["GET /health"] = { status = 200, body = "master is up\n" }
    answers["GET /health/worker"] = { status = 503, body = "worker is starting\n" }
    local code, text, err = run "healthcheck"
    assert.same({ 0, "master is up\n", "" }, { code, text, err })
    code, text, err = run("healthcheck", "worker")
    assert.same({ 1, "", "worker is starting\n" }, { code, text, err })
    assert.equal(1, (run("healthcheck", "sql")), "unreachable is ill, too: Docker reserves all other codes")
  end)

  it("restart: ends when it is settled, and tells how long it took", function()
    answers["POST /services/a%20b/restart?follow=1"] = {
      '{"name":"a b","state":"stopping"}\n', '{"name":"a b","state":"starting"}\n{"name":"a b",', '"state":"up","settled":true}\n',
    }
    local code, text, err = run("restart", "a b")
    assert.equal(0, code)
    assert.equal("a b: up after 0.7 s\n", text)
    assert.equal("a b: stopping\na b: starting\n", err, "where there is no terminal each state is a line")
  end)

  it("start: a failure is told with reason and last lines, and is 1", function()
    answers["POST /services/worker/start?follow=1"] = {
      '{"name":"worker","state":"backoff","settled":false,"reason":"exited with 3","retry_in":0.5,"output":"no\\nspace\\n"}\n' }
    local code, text, err = run("start", "worker")
    assert.equal(1, code)
    assert.equal("", text)
    assert.equal("worker is backoff: exited with 3; next try in 0.5 s; its last lines:\n  no\n  space\n", err)
  end)

  it("stop: a node that ends meanwhile is 69", function()
    answers["POST /services/worker/stop?follow=1"] = { '{"name":"worker","state":"stopping"}\n' }
    local code, _, err = run("stop", "worker")
    assert.equal(69, code)
    assert.matches("worker: the node ended before this was done", err)
  end)

  it("logs: passes what comes through, and ends quietly when nobody reads", function()
    answers["GET /logs/worker?bytes=10&follow=1"] = { "one\n", "two\n" }
    local code, text = run("logs", "-f", "--bytes", "10", "worker")
    assert.equal(0, code)
    assert.equal("one\ntwo\n", text)
    local terminal, out = fake_terminal { broken = true }
    assert.equal(0, require "appliance.cli".run_with(terminal, "logs", "-f", "--bytes", "10", "worker"))
    assert.equal("", out.text[2])
  end)
end)

describe("the client", function()
  it("looks where STATE_DIR says", function()
    assert.equal("/x/control.sock", require "appliance.client".path { STATE_DIR = "/x" })
  end)

  it("escapes names for a path", function()
    assert.equal("a%2Fb%20c-d.e", require "appliance.client".escape "a/b c-d.e")
  end)
end)
