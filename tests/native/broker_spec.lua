-- The broker with real sockets and files, and credentials from a fake chain.
local broker = require "appliance.broker"
local file = require "appliance.core.file"
local http = require "appliance.http"
local json = require "appliance.json"
local task = require "appliance.task"

local function arn(name) return "arn:aws:iam::123456789012:role/" .. name end

describe("the credentials broker", function()
  local state, kept, chain, server, tasks_before

  --- Starts one as a node does; the one before may have been left as a crash leaves it.
  local function start(env, environ)
    server = assert(broker.start { env = env or {}, state_dir = state, environ = environ or {} })
    return server
  end

  --- What a crash leaves: nobody listens, and the files are there.
  local function crash()
    server.listener:close()
    server = nil
  end

  local function stat_mode(path)
    local stat = file.stat(path)
    return stat and ("%o"):format(stat.mode)
  end

  local function read(path) return (file.read(path)) end

  --- As an SDK does: two variables and nothing else.
  local function fetch(env, more)
    local call = { url = env.AWS_CONTAINER_CREDENTIALS_FULL_URI, no_proxy = true, timeout = 30,
                   headers = { Authorization = env.AWS_CONTAINER_AUTHORIZATION_TOKEN or read(env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE) } }
    for name, value in pairs(more or {}) do call[name] = value end
    local answer, err = http.request(call)
    if answer then answer.json = json.decode(answer.body) end
    return answer, err
  end

  before_each(function()
    tasks_before = task.count()
    state = os.tmpname()
    os.remove(state)
    assert(file.make_dirs(state, tonumber("700", 8)))
    chain = { asked = {}, get = function(options)
      chain.asked[#chain.asked + 1] = options.role or "own"
      if chain.wait then task.sleep(chain.wait) end
      if chain.err then return nil, chain.err end
      return { access_key_id = "ASIA" .. #chain.asked, secret_access_key = "secret", session_token = "session",
               expires = chain.expires or os.time() + 3600, source = "imds", generation = 1 }
    end }
    kept = package.loaded["appliance.credentials"]
    package.loaded["appliance.credentials"] = chain
  end)

  after_each(function()
    package.loaded["appliance.credentials"] = kept
    if server then server:close() end
    server = nil
    assert.is_nil(file.stat(state .. "/credentials"), "something is left behind")
    assert(file.remove_tree(state))
    local deadline = task.now() + 10
    while task.count() > tasks_before and task.now() < deadline do task.sleep(0.001) end
    assert.is_true(task.count() <= tasks_before, "a task is left behind")
  end)

  it("gives each service a path and a token of its own, in a private file without a newline", function()
    start()
    local one, other = server:environment { name = "worker", env = { PATH = "/bin" } }, server:environment { name = "master" }
    assert.equal("/bin", one.PATH)
    assert.equal(state .. "/credentials/worker", one.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)
    assert.matches("^http://127%.0%.0%.1:%d+/credentials/%x+$", one.AWS_CONTAINER_CREDENTIALS_FULL_URI)
    assert.not_equal(one.AWS_CONTAINER_CREDENTIALS_FULL_URI, other.AWS_CONTAINER_CREDENTIALS_FULL_URI)
    local token = read(one.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)
    assert.matches("^%x+$", token)
    assert.equal(64, #token)
    assert.not_equal(token, read(other.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE))
    assert.same({ "700", "600", "600" }, { stat_mode(state .. "/credentials"), stat_mode(state .. "/credentials/worker"),
      stat_mode(state .. "/credentials/.broker") })
    assert.same(one, server:environment { name = "worker", env = { PATH = "/bin" } })
    assert.same({}, chain.asked)

    local answer = assert(fetch(one))
    assert.equal(200, answer.status)
    assert.equal("application/json", answer.headers["content-type"])
    assert.same({ AccessKeyId = "ASIA1", SecretAccessKey = "secret", Token = "session", Expiration = answer.json.Expiration }, answer.json)
    assert.same(403, fetch(one, { headers = { Authorization = read(other.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE) } }).status)
    assert.same({ "own" }, chain.asked)
  end)

  it("refuses without a word about keys", function()
    start()
    local env = server:environment { name = "worker" }
    local token, port = read(env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE), server.port
    local function refused(status, code, more)
      local answer = assert(fetch(env, more))
      assert.same({ status, code }, { answer.status, answer.json.code })
      assert.is_nil(answer.body:find(token, 1, true))
      assert.is_string(answer.json.message)
    end
    refused(401, "MissingToken", { headers = {} })
    refused(403, "InvalidToken", { headers = { Authorization = "wrong" } })
    refused(403, "InvalidToken", { headers = { Authorization = "wrong", ["User-Agent"] = "aws-sdk-java/1.12.262" } })
    refused(403, "HostNotAllowed", { headers = { Authorization = token, Host = "rebound.example:" .. port } })
    refused(404, "InvalidPath", { url = ("http://127.0.0.1:%d/credentials/x"):format(port) })
    refused(405, "MethodNotAllowed", { method = "DELETE" })
    assert.equal(413, fetch(env, { method = "POST", body = ("x"):rep(30000) }).status)
    assert.equal(431, fetch(env, { headers = { Authorization = token, X = ("x"):rep(20000) } }).status)
    assert.same({}, chain.asked)
    assert.equal(200, fetch(env, { headers = { ["User-Agent"] = "aws-sdk-java/1.12.262" } }).status)
    assert.equal(200, fetch(env, { headers = { Authorization = token, Host = "localhost:" .. port } }).status)
  end)

  it("gives services and jobs the roles that ROLE_MAPPING says", function()
    start { ROLE_MAPPING = ("service:sql=%s,user:alice=%s,label:etl=%s"):format(arn "sql", arn "alice", arn "etl") }
    local function role_of(env) return assert(fetch(env)).json.RoleArn end
    local function job(claims)
      local changes, err = server:changes(claims)
      return changes and role_of(changes), err
    end
    assert.equal(arn "sql", role_of(server:environment { name = "sql" }))
    assert.is_nil(role_of(server:environment { name = "worker" }))
    assert.equal(arn "alice", role_of(server:environment { name = "hers", user = "alice" }))
    assert.same({ arn "etl", arn "alice" }, { job { label = "etl", user = "alice" }, (job { user = "alice" }) })
    assert.is_nil((job { user = "bob" }))
    local changes, err = server:changes { label = "elt" }
    assert.is_nil(changes)
    assert.matches('no role for the label "elt", did you mean "etl"', tostring(err))
    assert.same({ arn "sql", "own", arn "alice", arn "etl", arn "alice", "own" }, chain.asked)
    local names = {}
    for i, grant in ipairs(server:status().grants) do names[i] = grant.name end
    assert.same({ "@job", "@label-etl", "@service-sql", "@user-alice", "hers", "sql", "worker" }, names)
    assert.same({ "ROLE_MAPPING: there is no service sql here, did you mean \"sqls\"?" }, server:strangers { { name = "sqls" } })
    assert.same({}, server:strangers { { name = "sqls" } })
  end)

  it("gives executors on other nodes the job's role, where all brokers have one port", function()
    local mapping = ("label:etl=%s,user:alice=%s"):format(arn "etl", arn "alice")
    start { ROLE_MAPPING = mapping }
    assert.is_nil((select(2, server:changes { label = "etl" })))
    local port = server.port
    server:close()
    start { ROLE_MAPPING = mapping, BROKER_PORT = port }
    local _, here = server:changes { label = "etl" }
    assert.same({ AWS_CONTAINER_CREDENTIALS_FULL_URI = ("http://127.0.0.1:%d/credentials/@label-etl"):format(port),
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = state .. "/credentials/@label-etl", AWS_SHARED_CREDENTIALS_FILE = "/dev/null" }, here)
    assert.is_nil((select(2, server:changes { user = "bob" })))
    local token = read(state .. "/credentials/@label-etl")
    server:close()
    -- Another node: the same settings and directory, nobody started a job there, and its tokens are its own.
    start { ROLE_MAPPING = mapping, BROKER_PORT = port }
    assert.equal(arn "etl", fetch(here).json.RoleArn)
    assert.equal(401, fetch(here, { headers = {} }).status)
    assert.equal(403, fetch(here, { headers = { Authorization = token } }).status)
    server:sweep(function() return false end)
    assert.equal(200, fetch(here).status)
    assert.equal(404, fetch(here, { url = ("http://127.0.0.1:%d/credentials/@job"):format(port) }).status)
  end)

  it("does not give a user's role to the jobs of others, whoever came before", function()
    start()
    local other = server:changes { user = "bob" }
    assert(server:reload { ROLE_MAPPING = "user:bob=" .. arn "bob" })
    assert.is_nil(fetch(other).json.RoleArn)
    assert.equal(arn "bob", fetch(server:changes { user = "bob" }).json.RoleArn)
  end)

  it("takes new roles when settings are read again; port, path and token stay", function()
    start()
    local env = server:environment { name = "worker" }
    assert.is_nil(fetch(env).json.RoleArn)
    assert(server:reload { ROLE_MAPPING = "service:worker=" .. arn "new" })
    assert.equal(arn "new", fetch(env).json.RoleArn)
    local again = server:environment { name = "worker" }
    assert.equal(env.AWS_CONTAINER_CREDENTIALS_FULL_URI, again.AWS_CONTAINER_CREDENTIALS_FULL_URI)
  end)

  it("says why there are none, and that trying again may help", function()
    start()
    local env = server:environment { name = "worker" }
    chain.err = require "appliance.failure".new("timeout", "IMDS: connected, but the token reply did not come back")
    local answer = fetch(env)
    assert.same({ 503, "IMDS: connected, but the token reply did not come back" }, { answer.status, answer.json.message })
    assert.equal(answer.json.message, server:status().grants[1].failed)
    chain.err = nil
    assert.equal(200, fetch(env).status)
    assert.is_nil(server:status().grants[1].failed)
  end)

  it("puts off the end of keys that are past it", function()
    start()
    local env = server:environment { name = "worker" }
    chain.expires = os.time() - 100
    local text = fetch(env).json.Expiration
    local year, month, day, hour, minute, second = text:match "(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z"
    local utc = os.date("!*t", os.time())
    utc.isdst = nil
    local left = os.time { year = year, month = month, day = day, hour = hour, min = minute, sec = second } - os.time(utc)
    assert.is_true(left > 500 and left <= 901, text)
  end)

  it("serves a hundred that wait at once", function()
    start()
    local env = server:environment { name = "worker" }
    chain.wait = 0.3
    local group <close> = task.group()
    local served = 0
    for _ = 1, 100 do
      group:start(function()
        assert(fetch(env, { fresh = true }).status == 200)
        served = served + 1
      end)
    end
    assert.is_true(group:wait())
    assert.equal(100, served)
    assert.equal(100, #chain.asked)
  end)

  it("answers others while a slow client has not even asked", function()
    start()
    local env = server:environment { name = "worker" }
    local silent = {}
    for i = 1, 20 do
      silent[i] = assert(io.popen(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; echo; read -r _ <&3'"):format(server.port)))
    end
    for _, pipe in ipairs(silent) do pipe:read "l" end
    assert.equal(200, fetch(env).status)
    crash()                                                    -- ends the connections, and so the clients
    for _, pipe in ipairs(silent) do pipe:close() end
    start()
  end)

  it("is the same broker to its clients after a crash", function()
    start { ROLE_MAPPING = "label:etl=" .. arn "etl" }
    local service, job = server:environment { name = "worker" }, server:changes { label = "etl" }
    crash()
    assert.is_nil((fetch(service)))
    start { ROLE_MAPPING = "label:etl=" .. arn "etl" }
    assert.equal(200, fetch(service).status)
    assert.equal(arn "etl", fetch(job).json.RoleArn)           -- nobody had to ask for that grant again
    assert.same(service, server:environment { name = "worker" })
    server:sweep(function(name) return name ~= "worker" end)
    assert.is_nil(file.stat(state .. "/credentials/worker"))
    assert.truthy(file.stat(state .. "/credentials/@label-etl"))
  end)

  it("takes another port when its earlier one is in use, but not when it was told which", function()
    start()
    local port, env = server.port, server:environment { name = "worker" }
    crash()
    local squatter = assert(require "appliance.core.control".serve({ port = port }, function() return 200, "" end))
    start()
    assert.not_equal(port, server.port)
    assert.not_equal(env.AWS_CONTAINER_CREDENTIALS_FULL_URI, server:environment { name = "worker" }.AWS_CONTAINER_CREDENTIALS_FULL_URI)
    assert.equal(200, fetch(server:environment { name = "worker" }).status)
    crash()
    local other, err = broker.start { env = { BROKER_PORT = port }, state_dir = state, environ = {} }
    assert.is_nil(other)
    assert.same({ "conflict", ("127.0.0.1:%d: somebody listens there already"):format(port) }, { err.kind, tostring(err) })
    squatter:close()
    start { BROKER_PORT = port }
    assert.equal(port, server.port)
  end)

  it("trusts nothing in its directory that others could have written", function()
    local directory = state .. "/credentials"
    local worker = { path = ("a"):rep(64), token = ("b"):rep(64), who = { service = "worker" } }
    local forged = json.encode { port = 1, grants = { worker = worker } }
    assert(file.make_dirs(directory, tonumber("755", 8)))
    assert(file.replace(directory .. "/.broker", forged, tonumber("644", 8), false))
    start()
    assert.is_nil(server:environment { name = "worker" }.AWS_CONTAINER_CREDENTIALS_FULL_URI:find(("a"):rep(64), 1, true))
    assert.equal("700", stat_mode(directory))
    server:close()
    for _, text in ipairs { "", "{", "[]", '{"grants":{"a":1,"b":{"path":"x","token":"y","who":{}}},"port":"x"}', "\0" } do
      assert(file.make_dirs(directory, tonumber("700", 8)))
      assert(file.replace(directory .. "/.broker", text, tonumber("600", 8), false))
      start()
      assert.same({}, server:status().grants)
      server:close()
    end
    server = nil
  end)

  it("names files so that none is outside of its directory", function()
    start()
    for _, name in ipairs { "..", ".", ".broker" } do
      local path = server:environment { name = name }.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
      assert.equal(state .. "/credentials/%2E" .. name:sub(2), path)
      assert.equal("600", stat_mode(path))
    end
    assert(server:reload { ROLE_MAPPING = "label:../../x=" .. arn "x" })
    assert.equal(state .. "/credentials/@label-..%2F..%2Fx", server:changes { label = "../../x" }.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)
  end)
end)
