-- The broker's decisions: role mapping, environment of services, whom it answers, and what.
local environment = require "appliance.broker.environment"
local json = require "appliance.json"
local protocol = require "appliance.broker.protocol"
local roles = require "appliance.broker.roles"
local settings = require "appliance.settings"
local signs = require "appliance.broker.signs"

local function arn(name) return "arn:aws:iam::123456789012:role/" .. name end

describe("the role mapping", function()
  it("is read from a list", function()
    local map = assert(roles.parse(("service:thriftserver=%s, user:alice=%s\n label:etl=%s"):format(arn "sql", arn "a/b", arn "x+=@_.-")))
    assert.same({ service = { thriftserver = arn "sql" }, user = { alice = arn "a/b" }, label = { etl = arn "x+=@_.-" } }, map)
    assert.same({ service = {}, user = {}, label = {} }, roles.parse(nil))
  end)

  it("is read from EMRFS's JSON", function()
    local text = json.encode { RoleMappings = { { Role = arn "one", IdentifierType = "User", Identifiers = { "alice", "bob" } },
      { Role = "arn:aws-cn:iam::123456789012:role/two,three", IdentifierType = "Label", Identifiers = { "etl" } } } }
    local map = assert(roles.parse(text))
    assert.same({ alice = arn "one", bob = arn "one" }, map.user)
    assert.same({ etl = "arn:aws-cn:iam::123456789012:role/two,three" }, map.label)
  end)

  it("tells all that is wrong at once", function()
    local _, faults = roles.parse(("nonsense, label:etl=%s, label:etl=%s, lable:x=%s, user:=%s, user:a=arn:aws:iam::1:role/x, group:g=%s")
      :format(arn "a", arn "b", arn "c", arn "d", arn "e"))
    assert.same({
      'item 1: "nonsense" is not KIND:NAME=ROLE, such as label:etl=arn:aws:iam::123456789012:role/etl',
      "item 3: label:etl has two roles, " .. arn "a" .. " and " .. arn "b",
      'item 4: "lable" is neither service, user or label, did you mean "label"?',
      "item 5: no name stands behind user:",
      'item 6: "arn:aws:iam::1:role/x" is not the ARN of a role, such as arn:aws:iam::123456789012:role/NAME',
      "item 7: groups are not known here: name the users",
    }, faults)
  end)

  it("tells what is wrong with JSON", function()
    local function fault(text) return (select(2, roles.parse(text)) or {})[1] end
    assert.matches("^the JSON has no list RoleMappings: ", fault "{")
    assert.equal("the JSON has no list RoleMappings", fault "[]")
    assert.matches("^RoleMappings item 1: needs Role,", fault '{"RoleMappings":[{"Role":1}]}')
    assert.matches("^RoleMappings item 1: one endpoint gives one role", fault(json.encode {
      RoleMappings = { { Role = arn "x", IdentifierType = "Prefix", Identifiers = { "s3://b/" } } } }))
    assert.matches("list of names", fault(json.encode {
      RoleMappings = { { Role = arn "x", IdentifierType = "User", Identifiers = { 7 } } } }))
  end)

  it("is a setting, whose faults are all told", function()
    local _, faults = settings.read({ "ROLE_MAPPING" }, { ROLE_MAPPING = "a, b" })
    assert.equal(2, #faults)
    assert.matches('^ROLE_MAPPING: item 1: "a"', faults[1].text)
    assert.truthy(settings.read({ "ROLE_MAPPING" }, { ROLE_MAPPING = "label:x=" .. arn "x" }))
    assert.truthy(settings.read({ "ROLE_MAPPING" }, {}))
  end)

  it("prefers the service to its user, and never gives another role than the label's", function()
    local map = assert(roles.parse(("service:sql=%s,user:hive=%s,label:etl=%s"):format(arn "sql", arn "hive", arn "etl")))
    assert.equal(arn "sql", roles.of(map, { service = "sql", user = "hive" }))
    assert.equal(arn "hive", roles.of(map, { service = "other", user = "hive" }))
    assert.is_nil(roles.of(map, { service = "other" }))
    assert.equal(arn "etl", roles.of(map, { job = true, label = "etl", user = "hive" }))
    assert.same({ nil, 'ROLE_MAPPING has no role for the label "etk", did you mean "etl"?; labels are etl' },
      { roles.of(map, { job = true, label = "etk", user = "hive" }) })
    assert.same({ nil, 'ROLE_MAPPING has no role for the label "x"; it has no labels at all' },
      { roles.of(roles.parse(""), { job = true, label = "x" }) })
  end)
end)

describe("the environment of a service", function()
  local GRANT <const> = { uri = "http://127.0.0.1:9/credentials/p", token_file = "/s/credentials/a" }

  it("gets the broker's two variables, and none of our keys", function()
    local own = { AWS_ACCESS_KEY_ID = "AKIA", AWS_SECRET_ACCESS_KEY = "s", AWS_SESSION_TOKEN = "t", AWS_PROFILE = "p",
      AWS_REGION = "eu-west-1",
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/v2/x", AWS_CONTAINER_AUTHORIZATION_TOKEN = "ours", AWS_ENDPOINT_URL = "http://e" }
    local given = { PATH = "/bin" }
    for name, value in pairs(own) do given[name] = value end
    assert.same({
      PATH = "/bin", AWS_REGION = "eu-west-1", AWS_ENDPOINT_URL = "http://e", AWS_SHARED_CREDENTIALS_FILE = "/dev/null",
      AWS_CONTAINER_CREDENTIALS_FULL_URI = GRANT.uri, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = GRANT.token_file,
    }, environment.applied(given, environment.changes(given, own, GRANT)))
    assert.equal("AKIA", given.AWS_ACCESS_KEY_ID)
  end)

  it("keeps profiles while they are where our own keys come from, and no role was meant", function()
    local own = { AWS_PROFILE = "p", AWS_SHARED_CREDENTIALS_FILE = "/c" }
    local changes = environment.changes(own, own, GRANT)
    assert.is_nil(changes.AWS_PROFILE)
    assert.is_nil(changes.AWS_SHARED_CREDENTIALS_FILE)
    changes = environment.changes(own, own, { uri = "u", token_file = "f", role = arn "x" })
    assert.is_false(changes.AWS_PROFILE)
    assert.equal("/dev/null", changes.AWS_SHARED_CREDENTIALS_FILE)
  end)

  it("leaves alone what was given to the service and is not ours", function()
    local own = { AWS_ACCESS_KEY_ID = "AKIA", AWS_SECRET_ACCESS_KEY = "s" }
    local given = { AWS_ACCESS_KEY_ID = "minio", AWS_SECRET_ACCESS_KEY = "m" }
    local made = environment.applied(given, environment.changes(given, own, GRANT))
    assert.equal("minio", made.AWS_ACCESS_KEY_ID)
    assert.equal("m", made.AWS_SECRET_ACCESS_KEY)
    assert.same({}, environment.changes({ AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1:1/own" }, own, GRANT))
  end)

  it("gives another user the token itself, for the file is not readable to it", function()
    local changes = environment.changes({}, { AWS_CONTAINER_AUTHORIZATION_TOKEN = "x" }, { uri = "u", token = "secret" })
    assert.same({ AWS_CONTAINER_CREDENTIALS_FULL_URI = "u", AWS_CONTAINER_AUTHORIZATION_TOKEN = "secret" }, changes)
  end)
end)

describe("the environment of a service's executors", function()
  local ENV <const> = { ROLE_MAPPING = "service:sql=" .. arn "sql", BROKER_PORT = 4711, STATE_DIR = "/state", CREDENTIALS_BROKER = "auto" }

  local function of(changes, version)
    local env = {}
    for name, value in pairs(ENV) do env[name] = value end
    for name, value in pairs(changes or {}) do env[name] = value or nil end
    return environment.of_executors("sql", env, version or "4.1.1")
  end

  it("leads to the role by its name, where all nodes have the same port and the SDK can send a token", function()
    assert.same({ AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1:4711/credentials/@service-sql",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/state/credentials/@service-sql", AWS_SHARED_CREDENTIALS_FILE = "/dev/null" }, of())
    assert.is_nil(of { BROKER_PORT = 0 })
    assert.is_nil(of { CREDENTIALS_BROKER = "false" })
    assert.is_nil(of { ROLE_MAPPING = "service:other=" .. arn "x" })
    assert.is_nil(of { ROLE_MAPPING = false })
    assert.is_nil(of({}, "3.5.7"))
  end)
end)

describe("the credentials endpoint", function()
  local PATH <const>, TOKEN <const> = ("a"):rep(64), ("b"):rep(64)
  local GRANTS <const> = { one = { path = ("c"):rep(64), token = ("d"):rep(64) }, two = { path = PATH, token = TOKEN } }

  local function ask(headers, more)
    local request = { method = "GET", path = "/credentials/" .. PATH, header = function(_, name)
      local value = headers[name]
      if type(value) == "table" then return value[1], #value end
      return value, value and 1 or 0
    end }
    for name, value in pairs(more or {}) do request[name] = value end
    return request
  end

  local function admit(headers, more, policy)
    local grant, status, code = protocol.admit(ask(headers, more), 4711, GRANTS, policy or "auto")
    return grant and "yes" or status, code
  end

  local HOST <const> = "127.0.0.1:4711"

  it("answers who has path and token", function()
    for _, host in ipairs { HOST, "localhost:4711", "LocalHost:4711", "[::1]:4711" } do
      assert.equal("yes", (admit { host = host, authorization = TOKEN }))
    end
    assert.equal(GRANTS.two, (protocol.admit(ask { host = HOST, authorization = TOKEN }, 4711, GRANTS, "auto")))
  end)

  it("refuses other names for this host, which is how DNS rebinding comes", function()
    for _, host in ipairs { "evil.example:4711", "127.0.0.1", "127.0.0.1:4712", "localhost.evil.example:4711", "", { HOST, HOST } } do
      assert.same({ 403, "HostNotAllowed" }, { admit { host = host, authorization = TOKEN } })
    end
    assert.same({ 403, "HostNotAllowed" }, { admit { authorization = TOKEN } })
  end)

  it("refuses wrong tokens, paths and methods", function()
    for _, token in ipairs { "x", TOKEN .. "x", TOKEN:sub(2), "", ("d"):rep(64), "Bearer " .. TOKEN } do
      for _, policy in ipairs { "auto", "required", "optional" } do
        assert.same({ 403, "InvalidToken" }, { admit({ host = HOST, authorization = token, ["user-agent"] = "aws-sdk-java/1.12.262" }, nil,
          policy) })
      end
    end
    assert.same({ 403, "InvalidToken" }, { admit { host = HOST, authorization = { TOKEN, TOKEN } } })
    for _, path in ipairs { "/", "/credentials", "/credentials/", "/credentials/x", "/credentials/" .. PATH .. "/", "/" .. PATH } do
      assert.same({ 404, "InvalidPath" }, { admit({ host = HOST, authorization = TOKEN }, { path = path }) })
    end
    assert.same({ 405, "MethodNotAllowed" }, { admit({ host = HOST, authorization = TOKEN }, { method = "PUT" }) })
  end)

  it("lets those without a token in who can't have one, unless told otherwise", function()
    local function without(agent, policy) return (admit({ host = HOST, ["user-agent"] = agent }, nil, policy)) end
    local old, new = "aws-sdk-java/1.12.262 Linux/6.1 OpenJDK", "aws-sdk-java/2.29.52"
    assert.same({ "yes", 401, 401 }, { without(old, "auto"), without(new, "auto"), without(nil, "auto") })
    assert.same({ 401, 401 }, { without(old, "required"), without(nil, "required") })
    assert.same({ "yes", "yes" }, { without(new, "optional"), without(nil, "optional") })
  end)

  it("finds the grants of jobs by their name, too, which is no secret: there the token is all", function()
    local grants = { ["@label-a%2Fb"] = { path = PATH, token = TOKEN }, worker = GRANTS.one }
    local function by(name, token, policy)
      local grant, status = protocol.admit(ask({ host = HOST, authorization = token, ["user-agent"] = "aws-sdk-java/1.12.262" },
        { path = "/credentials/" .. name }), 4711, grants, policy or "auto")
      return grant and "yes" or status
    end
    assert.equal("yes", by("@label-a%2Fb", TOKEN))
    assert.same({ 401, 401, 403 }, { by "@label-a%2Fb", by("@label-a%2Fb", nil, "optional"), by("@label-a%2Fb", "x") })
    assert.same({ 404, 404, 404 }, { by("@label-b", TOKEN), by("worker", GRANTS.one.token), by("@", TOKEN) })
    assert.equal("yes", by(PATH, nil))
  end)

  it("gives keys in the form of ECS", function()
    local keys = { access_key_id = "ASIA", secret_access_key = "s", session_token = "t", expires = 1700000000.7,
                   account_id = "123456789012" }
    local text, is_extended = protocol.document(keys, { now = 1699999000, chance = 0, role = arn "x" })
    assert.is_false(is_extended)
    assert.same({ AccessKeyId = "ASIA", SecretAccessKey = "s", Token = "t", Expiration = "2023-11-14T22:13:20Z", AccountId = "123456789012",
      RoleArn = arn "x" }, json.decode(text))
  end)

  it("puts off an end that has passed by 10 to 15 minutes", function()
    local keys = { access_key_id = "ASIA", secret_access_key = "s", session_token = "t", expires = 1700000000 }
    for chance, expected in pairs { [0] = "2023-11-14T22:23:21Z", [0.9999] = "2023-11-14T22:28:20Z" } do
      local text, is_extended = protocol.document(keys, { now = 1700000001, chance = chance })
      assert.is_true(is_extended)
      assert.equal(expected, json.decode(text).Expiration)
    end
    local text, is_extended = protocol.document({ access_key_id = "A", secret_access_key = "s", session_token = "t", expires = 1700000600,
      extended = true }, { now = 1700000000, chance = 0 })
    assert.is_true(is_extended)
    assert.equal("2023-11-14T22:23:20Z", json.decode(text).Expiration)
  end)

  it("gives keys without session and end a form that SDKs take", function()
    local keys = { access_key_id = "AKIA", secret_access_key = "s" }
    local document = json.decode((protocol.document(keys, { now = 1700000000, chance = 0, agent = "python-urllib3/2" })))
    assert.equal(json.null, document.Token)
    assert.equal("2023-11-14T23:13:20Z", document.Expiration)
    document = json.decode((protocol.document(keys, { now = 1700000000, chance = 0, agent = "aws-sdk-java/1.12.262" })))
    assert.is_nil(document.Token)
  end)

  it("asks clients to try again only where that can help", function()
    local failure = require "appliance.failure"
    assert.same({ 503, "CredentialsNotAvailableNow", "IMDS is silent" }, { protocol.failure(failure.new("timeout", "IMDS is silent")) })
    assert.same({ 400, "CredentialsNotAvailable", "not allowed" }, { protocol.failure(failure.new("denied", "not allowed")) })
    local status, body, kind = protocol.refusal(400, "Code", "a sentence")
    assert.same({ 400, "application/json" }, { status, kind })
    assert.same({ code = "Code", message = "a sentence", HTTPErrorCode = 400 }, json.decode(body))
  end)
end)

describe("the signs of AWS", function()
  local function found(environ, files, is_ec2)
    return signs.found(environ, { stat = function(path) return (files or {})[path] and {} or nil end }, function() return is_ec2 end)
  end

  it("are sources of credentials that are configured", function()
    assert.is_nil(found {})
    assert.is_nil(found { AWS_REGION = "eu-west-1", AWS_ACCESS_KEY_ID = "A", AWS_SECRET_ACCESS_KEY = " ", HOME = "/root" })
    assert.equal("environment", found { AWS_ACCESS_KEY_ID = "A", AWS_SECRET_ACCESS_KEY = "s" })
    assert.equal("web identity", found { AWS_WEB_IDENTITY_TOKEN_FILE = "/t", AWS_ROLE_ARN = "a" })
    assert.equal("container", found { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x" })
    assert.equal("imds", found { AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" })
    assert.equal("profile", found { AWS_PROFILE = "x" })
    assert.equal("profile", found({ HOME = "/root" }, { ["/root/.aws/config"] = "" }))
  end)

  it("are instances by their firmware, unless their metadata are off", function()
    assert.equal("imds", found({}, {}, true))
    assert.is_nil(found({ AWS_EC2_METADATA_DISABLED = "True" }, {}, true))
    assert.is_nil(found({}, {}, false))
  end)

  it("decide whether there is a broker, with profile files looked into only where there are some", function()
    local file = { read = function() end, stat = function() end }
    assert.is_false(signs.call_for_broker({ CREDENTIALS_BROKER = "auto" }, {}, file))
    assert.is_true(signs.call_for_broker({ CREDENTIALS_BROKER = "true" }, {}, file))
    assert.is_false(signs.call_for_broker({ CREDENTIALS_BROKER = "false" }, { AWS_ACCESS_KEY_ID = "A", AWS_SECRET_ACCESS_KEY = "s" }, file))
    local kept, answer = package.loaded["appliance.credentials"], nil
    package.loaded["appliance.credentials"] = { configured = function() return answer end }
    assert.is_false(signs.call_for_broker({}, { AWS_PROFILE = "x" }, file))
    answer = "profile"
    assert.is_true(signs.call_for_broker({}, { AWS_PROFILE = "x" }, file))
    package.loaded["appliance.credentials"] = kept
  end)
end)

describe("a job's claims", function()
  local client = require "appliance.spark.client"

  it("are its label and the user it works for", function()
    local words = { "--conf", "spark.appliance.role-label=etl", "--proxy-user", "alice", "x.jar", "--conf",
                    "spark.appliance.role-label=no" }
    assert.same({ label = "etl", user = "alice" }, client.claims("spark-submit", words, { JOB_LABEL = "other", HADOOP_USER_NAME = "bob" }))
    assert.same({ label = "other", user = "bob" },
      client.claims("spark-submit", { "x.jar" }, { JOB_LABEL = "other", HADOOP_USER_NAME = "bob" }))
    assert.same({}, client.claims("spark-sql", { "-e", "select 1" }, { JOB_LABEL = " " }))
  end)

  it("go on to the executors, where a node says how", function()
    local executors = { AWS_B = "2", AWS_A = "1" }
    assert.same({ "--conf", "spark.executorEnv.AWS_A=1", "--conf", "spark.executorEnv.AWS_B=2", "x.jar" },
      client.with_executors("spark-submit", { "x.jar" }, executors))
    assert.same({ "--conf", "spark.executorEnv.AWS_B=2", "--conf", "spark.executorEnv.AWS_A=mine", "x.jar" },
      client.with_executors("spark-submit", { "--conf", "spark.executorEnv.AWS_A=mine", "x.jar" }, executors))
    assert.same({ "-e", "x" }, client.with_executors("beeline", { "-e", "x" }, executors))
    assert.same({ "x.jar" }, client.with_executors("spark-submit", { "x.jar" }, nil))
  end)

  it("get the node's answer, and go without where there is none to be had", function()
    local asked
    local function node(answer, err) return function(call) asked = call; return answer, err end end
    local ok = { status = 200, body = '{"environment":{"AWS_A":"x","AWS_B":false}}' }
    assert.same({ AWS_A = "x", AWS_B = false }, client.credentials({ label = "etl" }, { AWS_REGION = "r", PATH = "p" }, node(ok)))
    assert.same({ label = "etl", environ = { AWS_REGION = "r" } }, json.decode(asked.body))
    local _, executors = client.credentials({}, {}, node { status = 200, body = '{"environment":{},"executors":{"AWS_A":"1"}}' })
    assert.same({ AWS_A = "1" }, executors)
    assert.same({}, client.credentials({}, {}, node(nil, "no node")))
    assert.same({}, client.credentials({ user = "bob" }, {}, node { status = 404, body = "none\n" }))
    local _, err = client.credentials({ label = "etl" }, {}, node { status = 404, body = "this node serves no credentials\n" })
    assert.equal("no credentials for the label etl: this node serves no credentials", tostring(err))
    _, err = client.credentials({ label = "etl" }, {}, node(nil, "no node"))
    assert.equal("no credentials for the label etl: no node", tostring(err))
    _, err = client.credentials({}, {}, node { status = 503, body = "disk full\n" })
    assert.equal("no credentials: disk full", tostring(err))
  end)
end)
