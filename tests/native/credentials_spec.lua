-- appliance.credentials and appliance.imds, as tasks use them, against tests/support/fake_imds.py. What each source does in which case is
-- tests/native/test_credentials_flow.c and test_imds_flow.c.
local parts = require "aws_parts"
local host = require "appliance.core.host"
local task = require "appliance.task"
local json = require "appliance.json"

local NAMES <const> = {
  "HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE",
  "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS",
  "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
}

describe("credentials", function()
  local http, credentials, imds, server, before

  setup(function()
    before = host.environ()
    server = parts.fake_imds {}
    http, credentials, imds = require "appliance.http", require "appliance.credentials", require "appliance.imds"
  end)

  teardown(function()
    credentials.forget()
    for _, name in ipairs(NAMES) do host.setenv(name, before[name]) end
    server:close()
  end)

  local function set(env)
    for _, name in ipairs(NAMES) do host.setenv(name, env[name]) end
    host.setenv("HOME", "/nonexistent")
    if not env.AWS_EC2_METADATA_SERVICE_ENDPOINT then host.setenv("AWS_EC2_METADATA_DISABLED", "true") end
    assert(credentials.forget())
  end

  local function script(changes)
    assert(http.request { method = "PUT", url = server.url .. "/test/script", body = json.encode(changes), no_proxy = true })
  end

  local function counts()
    return json.decode(assert(http.request { url = server.url .. "/test/counts", no_proxy = true }).body)
  end

  local function on_instance(more)
    local env = { AWS_EC2_METADATA_SERVICE_ENDPOINT = server.url, AWS_METADATA_SERVICE_TIMEOUT = "15",
                  AWS_METADATA_SERVICE_NUM_ATTEMPTS = "1", AWS_ENDPOINT_URL_STS = server.url }
    for name, value in pairs(more or {}) do env[name] = value end
    set(env)
  end

  before_each(function()
    http.request { url = server.url .. "/test/reset", no_proxy = true }
    script { token = "ok", get = "ok", sts = "ok", role = "spark-node", code = "Success", lifetime = 21600, keep = false, spot = json.null,
      rebalance = json.null, lifecycle = json.null, tags = json.null }
  end)

  it("come from the environment", function()
    set { AWS_ACCESS_KEY_ID = "AKID", AWS_SECRET_ACCESS_KEY = "SECRET" }
    assert.same({ access_key_id = "AKID", secret_access_key = "SECRET", source = "environment", generation = 1, extended = false },
      credentials.get())
    assert.same("environment", credentials.configured())
  end)

  it("come from the instance, once for all tasks that ask", function()
    on_instance()
    local got = {}
    do
      local group <close> = task.group()
      for i = 1, 50 do
        group:start(function() got[i] = assert(credentials.get { role = i > 25 and "arn:aws:iam::123456789012:role/a" or nil }) end)
      end
      assert(group:wait())
    end
    for i = 1, 50 do assert.same(i > 25 and "ASIASTS0002" or "ASIAIMD0001", got[i].access_key_id) end
    assert.same("instance metadata", got[1].source)
    assert.same("assumed role", got[50].source)
    assert.same("token-0001", got[1].session_token)
    assert.is_true(got[1].expires > os.time() + 20000)
    local counted = counts()
    assert.same({ 1, 1, 1 }, { counted.token, counted.document, counted.sts })
  end)

  it("are fetched again when a service calls them expired", function()
    on_instance()
    local first = assert(credentials.get {})
    assert.is_true(credentials.refused { generation = first.generation })
    assert.same("ASIAIMD0002", assert(credentials.get()).access_key_id)
    assert.is_true(credentials.refused { generation = first.generation })
    assert.same(2, counts().document)
  end)

  it("say in words what is wrong", function()
    on_instance()
    script { code = "AssumeRoleUnauthorizedAccess" }
    local got, err = credentials.get()
    assert.is_nil(got)
    assert.same("denied", err.kind)
    assert.matches("EC2 may not assume the instance's role", tostring(err))
    on_instance { AWS_ACCESS_KEY_ID = "half" }
    got, err = credentials.get()
    assert.is_nil(got)
    assert.matches("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY", tostring(err))
    got, err = credentials.get { role = "reader" }
    assert.is_nil(got)
    assert.matches("the role must be an ARN", tostring(err))
  end)

  it("show each step of the chain, and contact nobody for that", function()
    on_instance { AWS_WEB_IDENTITY_TOKEN_FILE = "/token" }
    local steps, chosen = credentials.steps()
    local answers = {}
    for i, step in ipairs(steps) do answers[i] = step.source .. ": " .. step.answer end
    assert.same({ "environment: unset", "profile: unset", "web identity: broken", "container: unset", "instance metadata: ready" }, answers)
    assert.same("web identity", chosen)
    assert.matches("without AWS_ROLE_ARN", steps[3].text)
    local name, err = credentials.configured()
    assert.is_nil(name)
    assert.matches("without AWS_ROLE_ARN", tostring(err))
    assert.same({}, counts().paths)
  end)

  it("are not looked for where there are none", function()
    set {}
    local got, err = credentials.get()
    assert.is_nil(got)
    assert.same("missing", err.kind)
    assert.matches("no source of credentials is configured", tostring(err))
    local text
    text, err = imds.get "/latest/meta-data/instance-id"
    assert.is_nil(text)
    assert.matches("switched off by AWS_EC2_METADATA_DISABLED", tostring(err))
  end)

  it("are let go by a task that is cancelled", function()
    on_instance()
    script { get = "silent" }
    local asking = task.start("asking", function() return credentials.get() end)
    assert.is_nil(asking:join(0.1))
    local forgotten, err = credentials.forget()
    assert.is_nil(forgotten)
    assert.same("conflict", err.kind)
    asking:cancel()
    assert.is_true(credentials.forget())
  end)

  it("stay while somebody waits for metadata", function()
    on_instance()
    script { get = "silent" }
    local asking = task.start("asking", function() return imds.get "/latest/meta-data/instance-id" end)
    assert.is_nil(asking:join(0.1))
    local forgotten, err = credentials.forget()
    assert.is_nil(forgotten)
    assert.same("conflict", err.kind)
    asking:cancel()
    assert.is_true(credentials.forget())
  end)

  it("need a region, which is found in the same order", function()
    on_instance { AWS_REGION = "us-east-2", AWS_DEFAULT_REGION = "us-west-1" }
    assert.same("us-east-2", credentials.region())
    on_instance()
    assert.same("eu-west-1", credentials.region())
    set {}
    local region, err = credentials.region()
    assert.is_nil(region)
    assert.matches("no region is known: set AWS_REGION", tostring(err))
  end)

  describe("beside them, the instance's metadata", function()
    it("are read with the same token", function()
      on_instance()
      assert(credentials.get())
      assert.same("i-0123456789abcdef0", imds.get "/latest/meta-data/instance-id")
      local identity = assert(imds.identity())
      assert.same("m5.large", identity.instanceType)
      assert.same("123456789012", identity.accountId)
      assert.same({ "eu-west-1", "eu-west-1b" }, { imds.region(), (imds.zone()) })
      assert.same(1, counts().token)
    end)

    it("may lack what is not there now, which is no failure", function()
      on_instance()
      assert.same({}, { imds.spot_action() })
      assert.same({}, { imds.rebalance() })
      assert.same({}, { imds.lifecycle_state() })
      assert.same({}, imds.tags())
      local text, err = imds.get "/latest/meta-data/none"
      assert.is_nil(text)
      assert.same({ "missing", 404 }, { err.kind, err.code })
      script { spot = { action = "terminate", time = "2026-01-01T00:00:00Z" }, lifecycle = "Terminated",
        tags = { Name = "a b", ["team:x/y"] = "z" } }
      assert.same("terminate", imds.spot_action().action)
      assert.same("Terminated", imds.lifecycle_state())
      assert.same({ Name = "a b", ["team:x/y"] = "z" }, imds.tags())
    end)

    it("tell failures from absence", function()
      on_instance()
      script { get = 500 }
      for _, call in ipairs { imds.spot_action, imds.rebalance, imds.lifecycle_state, imds.tags, imds.identity } do
        local value, err = call()
        assert.is_nil(value)
        assert.matches("500 instead of", tostring(err))
      end
    end)

    it("are followed for notices, each told once", function()
      on_instance()
      script { lifecycle = "InService" }
      local told = task.queue()
      local following <close> = task.start("notices", function()
        imds.follow(function(name, value) told:put { name = name, value = value } end, 0.01)
      end)
      local first = told:get()
      assert.same({ name = "lifecycle", value = { state = "InService" } }, first)
      script { rebalance = { noticeTime = "2026-01-01T00:00:00Z" } }
      local second = told:get()
      assert.same({ "rebalance", "2026-01-01T00:00:00Z" }, { second.name, second.value.noticeTime })
      script { rebalance = json.null }
      assert.same({ name = "rebalance" }, told:get())
      assert.same(0, told:length())
      assert.is_true(following:is_alive())
    end)

    it("are a fact of a node", function()
      local facts = require "appliance.facts"
      local function learn()
        local sources = { aws = require("appliance.words").environment("test").aws.instance() }
        local followed <close> = facts.follow(sources, {})
        return assert(followed:first(sources, 20)).aws
      end
      on_instance { AWS_REGION = "us-east-2" }
      assert.same({ region = "us-east-2", zone = "eu-west-1b", instance = "i-0123456789abcdef0", type = "m5.large",
        account = "123456789012", ip = "10.0.0.1", image = "ami-1" }, learn())
      set { AWS_REGION = "us-east-2" }
      assert.same({ region = "us-east-2" }, learn())
    end)
  end)
end)
