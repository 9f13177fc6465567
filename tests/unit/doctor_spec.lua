-- `spark-appliance doctor` and the check of a bucket, with a world made of tables.
local FAKED <const> = { "appliance.credentials", "appliance.aws", "appliance.imds", "appliance.s3", "appliance.http", "appliance.client",
  "appliance.native.aws", "appliance.core.file", "appliance.core.log" }

local SECRET <const> = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

local function failing(kind, text, more)
  local err = require("appliance.failure").new(kind, "%s", text)
  for field, value in pairs(more or {}) do err[field] = value end
  return function() return nil, err end
end

--- A world in which all is well; the test breaks a part of it.
local function world()
  local objects = {}
  local now = require("appliance.core.host").wall_ms() // 1000
  local function date(at) return os.date("!%a, %d %b %Y %H:%M:%S GMT", at) end
  local w = { objects = objects, date = date, now = now, said = {} }
  w["appliance.credentials"] = {
    steps = function()
      return { { source = "environment", answer = "unset", text = "not set" },
               { source = "instance metadata", answer = "ready", text = "the role of the instance" } }, "instance metadata"
    end,
    get = function()
      return { access_key_id = "AKIDSOMETHINGWXYZ", secret_access_key = SECRET, session_token = SECRET, expires = now + 7300,
               source = "instance metadata" }
    end,
    region = function() return "eu-west-1" end,
  }
  w["appliance.aws"] = { request = function()
    return { headers = { date = date(now) }, body = "<r><Arn>arn:aws:sts::1:assumed-role/spark/i-1</Arn></r>" }
  end }
  w["appliance.imds"] = { is_ec2 = function() return true end,
    identity = function() return { instanceId = "i-1", instanceType = "m5.large", availabilityZone = "eu-west-1a" } end }
  local function key(at) return at.bucket .. "/" .. at.key end
  w["appliance.s3"] = {
    put = function(at, text) objects[key(at)] = text; return {} end,
    get = function(at) return { body = objects[key(at)] } end,
    delete = function(at) objects[key(at)] = nil; return {} end,
  }
  w["appliance.http"] = { request = function() return { status = 200, headers = { date = date(now) } } end }
  w["appliance.client"] = { request = function() return { status = 200, body = '{"port":4711,"grants":[{"name":"worker"}]}' } end }
  w["appliance.native.aws"] = { request = { settings = function() return { endpoints = {} } end } }
  local jars = { "hadoop-aws-3.4.1.jar", "hadoop-client-api-3.4.1.jar", "s3-2.29.52.jar", "spark-hadoop-cloud_2.13-4.1.1.jar" }
  w.jars = jars
  w["appliance.core.file"] = { stat = function(path) return path:find "^/spark" and {} end, real = function() end,
    list = function() return jars end }
  local function say(text) w.said[#w.said + 1] = text end
  w["appliance.core.log"] = { info = say, warn = say }
  return w
end

--- Puts it in the place of the real one for the length of a test.
local function enter(w)
  local kept = {}
  for _, name in ipairs(FAKED) do
    kept[name] = package.loaded[name]
    package.loaded[name] = w[name]
  end
  return function()
    for _, name in ipairs(FAKED) do package.loaded[name] = kept[name] end
  end
end

describe("doctor", function()
  --- -> { [check] = "state: text" }, whether nothing failed
  local function examine(w, bucket, environ)
    finally(enter(w))
    environ = environ or {}
    environ.SPARK_HOME = "/spark"
    local told = {}
    local ok = require("appliance.doctor").examine({ environ = environ, bucket = bucket }, function(result)
      assert.is_nil(result.text:find(SECRET, 1, true))
      assert.is_nil(result.text:find("AKIDSOMETHING", 1, true))
      told[result.check] = result.state .. ": " .. result.text
    end)
    return told, ok
  end

  it("finds nothing wrong where nothing is", function()
    local w = world()
    local told, ok = examine(w, "s3://b/p")
    assert.is_true(ok)
    assert.matches("^ok: the role of the instance; this one is used", told["source: instance metadata"])
    assert.equal("skip: not set", told["source: environment"])
    assert.matches("^ok: key %.%.%.WXYZ from instance metadata, good for another 2 h 1 min", told.credentials)
    assert.equal("ok: arn:aws:sts::1:assumed-role/spark/i-1", told.identity)
    assert.equal("ok: i-1, m5.large in eu-west-1a", told.instance)
    assert.same({ "ok: eu-west-1", "ok: Amazon's", "ok: that of the service" }, { told.region, told.endpoint, told.clock })
    assert.matches("^ok: s3://b/p: an object was written, read back and deleted", told.bucket)
    assert.equal("ok: serves 1 service on port 4711", told.broker)
    assert.matches("^ok: hadoop%-aws 3%.4%.1", told.spark)
    assert.same({}, w.objects)
  end)

  it("says what is wrong with credentials and instance, and asks S3 for its time without them", function()
    local w = world()
    w["appliance.credentials"].steps = function()
      return { { source = "environment", answer = "broken", text = "AWS_SECRET_ACCESS_KEY is missing" } }, "environment"
    end
    w["appliance.credentials"].get = failing("denied", "AWS_SECRET_ACCESS_KEY is missing: set it")
    w["appliance.credentials"].region = failing("missing", "no region is known: set AWS_REGION")
    w["appliance.imds"].identity = failing("timeout", "hop limit 1")
    w["appliance.http"].request = function(call)
      assert.equal("https://s3.us-east-1.amazonaws.com/", call.url)
      return { status = 200, headers = { date = w.date(w.now - 1000) } }
    end
    w["appliance.client"].request = failing("missing", "no spark-appliance runs here")
    local told, ok = examine(w)
    assert.is_false(ok)
    assert.matches("^fail: AWS_SECRET_ACCESS_KEY is missing; this one is used", told["source: environment"])
    assert.equal("fail: AWS_SECRET_ACCESS_KEY is missing: set it", told.credentials)
    assert.is_nil(told.identity)
    assert.equal("warn: hop limit 1", told.instance)
    assert.equal("warn: no region is known: set AWS_REGION", told.region)
    assert.matches("^fail: 16 min 4?%d+ s before the service's: S3 refuses", told.clock)
    assert.equal("skip: no spark-appliance runs here", told.broker)
    assert.is_nil(told.bucket)
  end)

  it("tells a refusal of STS from STS that is out of reach, and expired keys from good ones", function()
    local w = world()
    w["appliance.credentials"].get = function()
      return { access_key_id = "AKIDSOMETHINGWXYZ", session_token = SECRET, expires = w.now - 60, extended = true, source = "container" }
    end
    w["appliance.aws"].request = failing("denied", "sts: the security token is expired (403 ExpiredToken)")
    local told, ok = examine(w)
    assert.is_false(ok)
    assert.matches("^fail: sts: the security token is expired", told.identity)
    assert.matches("^warn: key %.%.%.WXYZ from container, expired 1 min %d+ s ago; their source gives no newer ones", told.credentials)
  end)

  it("does not hold it against a node that STS, the broker or Spark are not there", function()
    local w = world()
    w["appliance.aws"].request = failing("timeout", "sts: no way there")
    w["appliance.client"].request = function() return { status = 404, body = "this node serves no credentials\n" } end
    w["appliance.core.file"].stat = function() return nil, "no such file" end
    local told, ok = examine(w, nil, { AWS_EC2_METADATA_DISABLED = "TRUE", AWS_ENDPOINT_URL_S3 = "https://me:word@s3.local:9000" })
    assert.is_true(ok)
    assert.matches("^warn: sts: no way there; nothing but this look", told.identity)
    assert.equal("skip: this node serves no credentials", told.broker)
    assert.matches("^warn: SPARK_HOME=/spark has no jars/ .*; set it to the directory of a Spark release", told.spark)
    assert.matches("^skip: its metadata is switched off", told.instance)
    assert.equal("ok: https://(redacted)@s3.local:9000 (AWS_ENDPOINT_URL_S3)", told.endpoint)
  end)

  it("tells an endpoint that is none, and asks nobody else in its place", function()
    local w = world()
    w["appliance.native.aws"].request.settings = failing("invalid", "AWS_ENDPOINT_URL: endpoint 'minio': it must begin with https://")
    w["appliance.aws"].request = failing("invalid", "no")
    w["appliance.http"].request = function() error "asked" end
    local told, ok = examine(w, nil, { AWS_ENDPOINT_URL = "minio" })
    assert.is_false(ok)
    assert.equal("fail: AWS_ENDPOINT_URL: endpoint 'minio': it must begin with https://", told.endpoint)
  end)

  it("counts the services that the broker serves, not the jobs", function()
    local w = world()
    w["appliance.client"].request = function()
      return { status = 200, body = '{"port":4711,"grants":[{"name":"worker"},{"name":"@job"},{"name":"@label-etl"}]}' }
    end
    assert.equal("ok: serves 1 service on port 4711", (examine(w)).broker)
  end)

  it("compares the jars of Spark", function()
    local w = world()
    w.jars[1] = "hadoop-aws-3.3.4.jar"
    assert.matches("^fail: hadoop%-aws is 3%.3%.4 and Hadoop is 3%.4%.1", examine(w).spark)
    w = world()
    table.remove(w.jars, 1)
    assert.matches("^warn: /spark/jars has no hadoop%-aws, so Spark can't read s3://: put hadoop%-aws%-3%.4%.1%.jar", examine(w).spark)
    w = world()
    table.remove(w.jars, 3)
    assert.matches("^fail: .* no SDK of AWS", examine(w).spark)
    w = world()
    table.remove(w.jars, 4)
    assert.matches("^warn: .*without spark%-hadoop%-cloud", examine(w).spark)
  end)
end)

describe("the check of a bucket", function()
  local function check(break_it, uri)
    local w = world()
    if break_it then break_it(w["appliance.s3"], w) end
    finally(enter(w))
    local ok, result = require("appliance.bucket").check(uri or "s3://b/p", 5)
    return ok, result and tostring(result), w
  end

  it("leaves nothing behind", function()
    local ok, warning, w = check()
    assert.same({ true, {} }, { ok, w.objects })
    assert.is_nil(warning)
  end)

  it("says in one sentence what is wrong", function()
    local denied = failing("denied", "s3://b/k: access denied (403 AccessDenied)", { code = 403, name = "AccessDenied" })
    for words, break_it in pairs {
      ["s3://b/p/: this node may not write to it: allow s3:PutObject on arn:aws:s3:::b/p/* (403 AccessDenied)"] =
        function(s3) s3.put = denied end,
      ["s3://b/p/: this node may not read back from it: allow s3:GetObject on arn:aws:s3:::b/p/* (403 AccessDenied)"] =
        function(s3) s3.get = denied end,
      ["s3://b/p/: there is no such bucket: correct its name, or create it (404 NoSuchBucket)"] =
        function(s3) s3.put = failing("missing", "no such bucket", { code = 404, name = "NoSuchBucket" }) end,
      ["s3://b/p/: the bucket is in another region: set AWS_REGION to it (301 PermanentRedirect)"] =
        function(s3) s3.put = failing("protocol", "moved", { code = 301, name = "PermanentRedirect" }) end,
      ["s3://b/p/: the clock of this machine is off by more than 15 minutes: set it, or start its time service (chrony) "
        .. "(403 RequestTimeTooSkewed)"] =
        function(s3) s3.put = failing("denied", "skew", { code = 403, name = "RequestTimeTooSkewed" }) end,
      ["s3://b/p/: there are no credentials: none is configured"] =
        function(_, w) w["appliance.credentials"].get = failing("missing", "none is configured") end,
      ["s3://b/p/: this node can't write to it: no way there"] =
        function(s3) s3.put = failing("refused", "no way there", { name = "unreachable" }) end,
      ["s3://b/p/: what was read back is not what was written"] =
        function(s3) s3.get = function() return { body = "another" } end end,
    } do
      local ok, sentence = check(break_it)
      assert.is_nil(ok)
      assert.equal(words, sentence)
    end
    assert.equal("https://b/p is not the address of a bucket", (select(2, check(nil, "https://b/p"))))
  end)

  it("warns when its object stays", function()
    local ok, warning = check(function(s3) s3.delete = failing("denied", "no", { code = 403, name = "AccessDenied" }) end)
    assert.is_true(ok)
    assert.matches("may not delete from it: allow s3:DeleteObject on arn:aws:s3:::b/p/%* .*; "
      .. "s3://b/p/%.spark%-appliance%-check%-.* stays there", warning)
  end)

  it("warns at a start, or is a reason to end", function()
    local w = world()
    w["appliance.s3"].put = failing("missing", "x", { code = 404, name = "NoSuchBucket" })
    finally(enter(w))
    local at_start = require("appliance.bucket").at_start
    assert.is_nil((at_start { S3_CHECK = "s3://b", FACTS_TIMEOUT = 5 }))
    assert.same({ "S3_CHECK: s3://b/: there is no such bucket: correct its name, or create it (404 NoSuchBucket)" }, w.said)
    local ok, err = at_start { S3_CHECK = "s3://b", S3_CHECK_REQUIRED = true, FACTS_TIMEOUT = 5 }
    assert.is_nil(ok)
    assert.matches("^S3_CHECK: s3://b/: there is no such bucket", tostring(err))
    assert.equal(1, #w.said)
  end)
end)
