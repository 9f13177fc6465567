-- appliance.aws, as a task uses it, against tests/support/fault_s3.py, which checks signatures.
local aws = require "appliance.aws"
local http = require "appliance.http"
local json = require "appliance.json"
local task = require "appliance.task"

local KEYS <const> = { access_key_id = "test", secret_access_key = "secret" }

describe("a request to AWS", function()
  local server, base

  local function told(method, what, text)
    return assert(http.request { url = base .. "/-/" .. what, method = method, body = text, no_proxy = true }).body
  end

  local function request(spec)
    local all = { endpoint = base, region = "us-east-1", bucket = "bucket", keys = KEYS, no_proxy = true }
    for name, value in pairs(spec) do all[name] = value end
    return aws.request(all)
  end

  setup(function()
    server = assert(io.popen("exec python3 -IS tests/support/fault_s3.py --stay", "r"))
    base = "http://127.0.0.1:" .. server:read("l"):match("^plain (%d+)")
  end)

  teardown(function()
    told("PUT", "quit")
    server:close()
  end)

  before_each(function() told("DELETE", "") end)

  it("puts and gets objects", function()
    local answer = assert(request { method = "PUT", key = "a//b c", body = "x\0y", headers = { ["x-amz-meta-colour"] = "red" } })
    assert.same(200, answer.status)
    answer = assert(request { key = "a//b c" })
    assert.same("x\0y", answer.body)
    assert.same("red", answer.headers["x-amz-meta-colour"])
    assert.same("CRC64NVME", answer.verified)
    assert.same(1, answer.attempts)
    assert.same("us-east-1", answer.region)
    assert.truthy(answer.request_id)
  end)

  it("takes queries by name and as lists, and numbers in them", function()
    assert(request { method = "PUT", key = "p/1", body = "1" })
    local answer = assert(request { query = { ["list-type"] = 2, prefix = "p/", ["max-keys"] = "10" } })
    assert.matches("<Key>p/1</Key>", answer.body)
    answer = assert(request { query = { { "list-type", "2" }, { "prefix", "q/" } } })
    assert.matches("<KeyCount>0</KeyCount>", answer.body)
  end)

  it("tells what went wrong", function()
    local answer, err = request { key = "nothing" }
    assert.is_nil(answer)
    assert.same("missing", err.kind)
    assert.same(404, err.code)
    assert.same("NoSuchKey", err.name)
    assert.same(1, err.attempts)
    assert.same("s3://bucket/nothing: no such key (404 NoSuchKey)", tostring(err))
    answer, err = request { key = "nothing", endpoint = "http://127.0.0.1:1", no_retry = true }
    assert.is_nil(answer)
    assert.same("refused", err.kind)
    assert.same("refused", err.name)
    assert.matches("^s3://bucket/nothing: http://127.0.0.1:1: nobody listens", tostring(err))
  end)

  it("tries again, and gives up in time", function()
    assert(request { method = "PUT", key = "k", body = "v" })
    told("PUT", "steps", '[{"status": 500, "code": "InternalError"}, {"cut": 0}]')
    assert.same(3, assert(request { key = "k" }).attempts)
    told("PUT", "steps", '[{"silent": 1, "times": 9}]')
    local _, err = request { key = "k", timeout = 0.1 }
    assert.same("deadline", err.name)
    assert.same("timeout", err.kind)
  end)

  it("presigns URLs that anybody can use", function()
    assert(request { method = "PUT", key = "a b+c", body = "v" })
    local answer = assert(request { key = "a b+c", presign = 60, query = { ["response-content-type"] = "text/x" } })
    assert.same("v", assert(http.request { url = answer.url, no_proxy = true }).body)
    assert.same(403, assert(http.request { url = answer.url .. "0", no_proxy = true }).status)
  end)

  it("can be cancelled and leaves nothing behind", function()
    told("PUT", "steps", '[{"silent": 1}]')
    local answer, err = task.within(0.05, function() return request { key = "k" } end)
    assert.is_nil(answer)
    assert.same("timeout", err.kind)
    assert.same(404, select(2, request { key = "k" }).code)
  end)

  it("raises on misuse", function()
    assert.error_matches(function() request { key = "k", checksum = "CRC9" } end, "CRC9")
    assert.error_matches(function() request { key = "k", query = { 1 } } end, "query: a list holds")
    assert.error_matches(function() request { key = "k", endpoint = "ftp://x" } end, "endpoint: ")
    assert.error_matches(function() request { key = "k", headers = { ["a b"] = "x" } } end, "a b")
    assert.error_matches(function() request { key = "k", keys = { access_key_id = "x" } } end, "keys: ")
    local none, err = request { key = ("k"):rep(2000) }
    assert.is_nil(none)
    assert.same("invalid", err.kind)
  end)

  describe("in the Query language", function()
    local function call(service, action, params, opts)
      local all = { endpoint = base, region = "eu-west-1", keys = KEYS, no_proxy = true }
      for name, value in pairs(opts or {}) do all[name] = value end
      return aws.call(service, action, params, all)
    end

    it("is signed, and answered by a table", function()
      local who = assert(call("sts", "GetCallerIdentity"))
      assert.same("123456789012", who.Account)
      assert.same("2011-06-15", who.Version)
      assert(call("elasticloadbalancingv2", "DescribeTargetHealth", { TargetGroupArn = "a:b/c" }))
      local log = json.decode(told("GET", "log"))
      assert.same(2, #log)
      assert.same("eu-west-1", log[1].region)
      assert.same("application/x-www-form-urlencoded; charset=utf-8", log[1].headers["content-type"])
    end)

    it("tells the service's own errors", function()
      told("PUT", "steps", '[{"status": 403, "code": "UnauthorizedOperation", "form": "ec2", "message": "You are not authorized"}]')
      local answer, err = call("ec2", "DescribeInstances", { Filter = { { Name = "a", Value = { "b" } } } })
      assert.is_nil(answer)
      assert.same("denied", err.kind)
      assert.same("UnauthorizedOperation", err.name)
      assert.same("ec2 DescribeInstances: access denied (403 UnauthorizedOperation): You are not authorized", tostring(err))
    end)

    it("gives page after page", function()
      local function page(token)
        return ('{"on": "POST /", "status": 200, "body": "<LResponse><LResult><Names><member>%s</member></Names>%s</LResult></LResponse>"}')
          :format(token, token == "c" and "" or "<NextToken>" .. token .. "</NextToken>")
      end
      told("PUT", "steps", "[" .. table.concat({ page "a", page "b", page "c" }, ",") .. "]")
      local seen = {}
      for got, err in aws.pages("autoscaling", "L", { A = 1 }, { endpoint = base, region = "x-1", keys = KEYS, no_proxy = true }) do
        assert(got, err)
        seen[#seen + 1] = got.Names[1]
      end
      assert.same({ "a", "b", "c" }, seen)
      told("PUT", "steps", '[{"on": "POST /", "status": 400, "code": "ValidationError", "form": "query", "message": "no"}]')
      local last
      for got, err in aws.pages("autoscaling", "L", nil, { endpoint = base, region = "x-1", keys = KEYS, no_proxy = true }) do
        assert.is_false(got)
        last = err
      end
      assert.same("ValidationError", last.name)
    end)

    it("asks for the language's version where it is not known", function()
      assert.error_matches(function() aws.call("odd", "Do") end, "opts.version")
    end)
  end)

  it("speaks to REST services", function()
    told("PUT", "steps", '[{"on": "GET /2013-04-01/hostedzone", "status": 200, "body": "<ListHostedZonesResponse><HostedZones><HostedZone>'
      .. '<Id>/hostedzone/Z1</Id></HostedZone></HostedZones><IsTruncated>false</IsTruncated></ListHostedZonesResponse>"}]')
    local answer = assert(aws.rest { service = "route53", path = "/2013-04-01/hostedzone", query = { maxitems = 2 }, endpoint = base,
      keys = KEYS, region = "eu-west-1", no_proxy = true })
    assert.same({ HostedZones = { { Id = "/hostedzone/Z1" } }, IsTruncated = "false" }, answer.value)
    assert.same("ListHostedZonesResponse", answer.xml.name)
    assert.same("us-east-1", answer.region)
  end)

  it("goes over TLS to those whose authority is known", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(os.execute(("mkdir -m 700 %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test "
      .. "-addext subjectAltName=IP:127.0.0.1 -keyout %s/key -out %s/pem 2>%s/log"):format(dir, dir, dir, dir)))
    local secure = assert(io.popen(("exec python3 -IS tests/support/fault_s3.py --stay --tls secure %s/pem %s/key"):format(dir, dir), "r"))
    local plain, port = secure:read("l"):match("^plain (%d+) secure (%d+)")
    local url = "https://127.0.0.1:" .. port
    local put = request { endpoint = url, ca_file = dir .. "/pem", method = "PUT", key = "k", body = ("x"):rep(100000) }
    local got = request { endpoint = url, ca_file = dir .. "/pem", key = "k" }
    local none, err = request { endpoint = url, key = "k" }
    assert(http.request { url = "http://127.0.0.1:" .. plain .. "/-/quit", method = "PUT", no_proxy = true })
    secure:close()
    assert(os.execute("rm -r " .. dir))
    assert.truthy(put)
    assert.same("CRC64NVME", got.verified)
    assert.is_nil(none)
    assert.same("tls", err.name)
    assert.same(1, err.attempts)
    assert.matches("^s3://bucket/k: https://127.0.0.1:%d+: its certificate is signed by no authority", tostring(err))
  end)

  it("is one of many at the same time", function()
    assert(request { method = "PUT", key = "k", body = "v" })
    local group = task.group()
    local good = 0
    for _ = 1, 100 do
      group:start(function()
        if assert(request { key = "k" }).body == "v" then good = good + 1 end
      end)
    end
    group:wait()
    assert.same(100, good)
  end)
end)
