-- Files of the user's from S3, the check of a bucket and `doctor`: the program against moto, which checks every signature.
local parts = require "aws_parts"

local program = assert(os.getenv "APPLIANCE", "APPLIANCE must name the program")

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

describe("files from S3", function()
  local moto, home

  setup(function()
    moto = parts.moto { auth = true }
    home = parts.path ".fetch"
    assert(os.execute(("mkdir -p %s/spark/jars %s/spark/conf %s/java/bin %s/profiles"):format(home, home, home, home)))
    write(home .. "/spark/jars/spark-core_2.13-4.1.1.jar", "")
    write(home .. "/java/bin/java", "")
    write(home .. "/java/release", 'JAVA_VERSION="17.0.1"\n')
    parts.boto(moto, [[
s3.create_bucket(Bucket="site")
s3.put_object(Bucket="site", Key="conf/more a+b.conf", Body=b"# ours\nspark.eventLog.enabled true\nspark.executor.memory 700m\n")
s3.put_object(Bucket="site", Key="hive-site.xml", Body=b"""<configuration>
<property><name>javax.jdo.option.ConnectionPassword</name><value>hunter2</value></property></configuration>""")
s3.put_object(Bucket="site", Key="jars/one.jar", Body=b"jar" * 1000)
s3.put_object(Bucket="site", Key="jars/small.jar", Body=b"PK\x03\x04 \x00")
]])
  end)
  teardown(function()
    moto:close()
    os.execute("rm -rf " .. home)
  end)

  local function env_with(more)
    local env = { STATE_DIR = home .. "/state", APPLIANCE_PROFILES = home .. "/profiles:profiles", SPARK_HOME = home .. "/spark",
                  JAVA_HOME = home .. "/java", NO_COLOR = "1", CREDENTIALS_BROKER = "false" }
    for name, value in pairs(moto.env) do env[name] = value end
    for name, value in pairs(more or {}) do env[name] = value end
    return env
  end

  local function run(words, more)
    return parts.run({ "timeout", "60", program, table.unpack(words) }, { env = env_with(more) })
  end

  --- A Lua program with the core's modules and those keys.
  local function lua(script, more)
    local path = parts.path ".lua"
    write(path, script)
    local ran = run({ "lua", path }, more)
    os.remove(path)
    assert.equal(0, ran.code, ran.err)
    return ran.out
  end

  it("are layers of the plan, key by key, and their secrets stay theirs", function()
    local ran = run({ "plan" }, { EXT_CONF = "s3://site/conf/more a+b.conf", HIVE_SITE_XML = "s3a://site/hive-site.xml",
      EXECUTOR_MEMORY = "512m" })
    assert.equal(0, ran.code, ran.err)
    assert.matches("spark.eventLog.enabled = true  # EXT_CONF s3://site/conf/more a+b.conf\n", ran.out, 1, true)
    assert.matches("spark.executor.memory = 512m  # EXECUTOR_MEMORY (environment)\n    hides 700m  # EXT_CONF s3://site/conf/more a+b.conf",
      ran.out, 1, true)
    assert.matches("file hive-site.xml (mode 0600)\n  javax.jdo.option.ConnectionPassword = (redacted)  "
      .. "# HIVE_SITE_XML s3a://site/hive-site.xml", ran.out, 1, true)
    assert.is_nil((ran.out .. ran.err):find("hunter2", 1, true))
  end)

  it("that can't be had end the start with every reason", function()
    local ran = run({ "plan" }, { EXT_CONF = "s3://site/none.conf", HIVE_SITE_XML = "s3://nobody-has-this/x.xml" })
    assert.equal(69, ran.code)
    assert.matches("EXT_CONF s3://site/none%.conf: ", ran.err)
    assert.matches("HIVE_SITE_XML s3://nobody%-has%-this/x%.xml: ", ran.err)
    ran = run({ "plan" }, { EXT_CONF = "s3://site/none.conf", AWS_SECRET_ACCESS_KEY = "hunter3" })
    assert.equal(69, ran.code)
    assert.matches("SignatureDoesNotMatch", ran.err)
    assert.is_nil(ran.err:find("hunter3", 1, true))
  end)

  it("that are no text are refused by name", function()
    local ran = run({ "plan" }, { EXT_CONF = "s3://site/jars/small.jar" })
    assert.not_equal(0, ran.code)
    assert.matches("EXT_CONF s3://site/jars/small.jar: this is no text, so no configuration file", ran.err, 1, true)
  end)

  it("are fetched once, and told of when they change", function()
    local out = lua([[
      local fetch, s3, task = require "appliance.fetch", require "appliance.s3", require "appliance.task"
      local file = require "appliance.core.file"
      local state = os.getenv "STATE_DIR" .. "/watched"
      local entry = { from = "s3://site/watched", to = state .. "/fetched/watched", ceiling = 1000 }
      assert(s3.put("s3://site/watched", "one"))
      local _, report = assert(fetch.all({ entry }, { state_dir = state }))
      print(file.read(entry.to), report[entry.to].kept)
      entry.version = report[entry.to].version
      _, report = assert(fetch.all({ entry }, { state_dir = state }))
      print(file.read(entry.to), report[entry.to].kept)
      local changes = task.queue()
      local watching <close> = task.start(fetch.watch, { entry }, function(_, version) changes:put(version) end, 0.05)
      assert(s3.put("s3://site/watched", "two"))
      print(entry.version ~= changes:get())
      assert(fetch.all({ entry }, { state_dir = state }))
      print(file.read(entry.to))
    ]])
    assert.equal("one\tnil\none\ttrue\ntrue\ntwo\n", out)
  end)

  it("lie on the disk before a service of the plan starts", function()
    write(home .. "/profiles/fetching.lua", [[
      return profile { doc = "Fetches a jar.", plan = function(env)
        return plan {
          fetch = { ["jars/one.jar"] = "s3://site/jars/one.jar" },
          services = { service { name = "count", oneshot = true, critical = true, restart = "never", inputs = { "jars/one.jar" },
            command = { "/bin/sh", "-c", "wc -c <" .. env.STATE_DIR .. "/fetched/jars/one.jar; exit 3" } } },
        }
      end }]])
    local ran = run({ "run" }, { PROFILE = "fetching" })
    assert.equal(1, ran.code)
    assert.matches("jars/one.jar: fetched from s3://site/jars/one.jar.*count | 3000\n", ran.out .. ran.err)
    assert.equal(("jar"):rep(1000), read(home .. "/state/fetched/jars/one.jar"))
  end)

  it("are checked by doctor, with the bucket that is asked for", function()
    local ran = run({ "doctor", "s3://site/check" })
    assert.equal(0, ran.code, ran.out)
    assert.matches("\nok    identity +arn:aws:iam::%d+:user/", ran.out)
    assert.matches("\nok    bucket +s3://site/check: an object was written, read back and deleted, ", ran.out)
    assert.matches("key %.%.%." .. moto.keys.access_key_id:sub(-4), ran.out)
    assert.is_nil(ran.out:find(moto.keys.access_key_id, 1, true))
    assert.is_nil(ran.out:find(moto.keys.secret_access_key, 1, true))
    assert.equal("0", parts.boto(moto, [[print(s3.list_objects_v2(Bucket="site", Prefix="check/")["KeyCount"])]]))

    ran = run({ "doctor", "--json", "s3://nobody-has-this" })
    assert.equal(1, ran.code)
    local shown = require("appliance.json").decode(ran.out)
    assert.is_false(shown.ok)
    local told = {}
    for _, check in ipairs(shown.checks) do told[check.check] = check end
    assert.same({ check = "bucket", state = "fail",
      text = "s3://nobody-has-this/: there is no such bucket: correct its name, or create it (404 NoSuchBucket)" }, told.bucket)
    ran = run({ "doctor", "s3://site" }, { AWS_SECRET_ACCESS_KEY = "hunter3" })
    assert.equal(1, ran.code)
    assert.matches("\nFAIL  identity .*SignatureDoesNotMatch", ran.out)
    assert.matches("\nFAIL  bucket +s3://site/: the secret key is not that of the access key: set both anew", ran.out)
    assert.equal(64, run({ "doctor", "https://site" }).code)
  end)

  it("come with the role of an instance, and doctor knows what is wrong with that", function()
    local function doctor(script, more)
      local imds <close> = parts.fake_imds(script)
      local env = { NO_COLOR = "1", AWS_ENDPOINT_URL = moto.url, STATE_DIR = home .. "/nobody" }
      for name, value in pairs(imds.env) do env[name] = value end
      for name, value in pairs(more and more(imds) or {}) do env[name] = value end
      return parts.run({ "timeout", "100", program, "doctor" }, { env = env })
    end
    local ran = doctor { region = "eu-west-1", lifetime = 3700 }
    assert.matches("ok    credentials +key %.%.%.0001 from instance metadata, good for another 1 h 1 min\n", ran.out)
    assert.matches("ok    instance +i%-0123456789abcdef0, m5%.large in eu%-west%-1b\n", ran.out)
    assert.matches("ok    region +eu%-west%-1\n", ran.out)
    ran = doctor { token = "silent" }
    assert.equal(1, ran.code)
    assert.matches("FAIL  credentials +IMDS at .*: connected, but the token reply did not come back.*set HttpPutResponseHopLimit to 2",
      ran.out)
    ran = doctor({ clock = -4000 }, function(imds) return { AWS_ENDPOINT_URL = imds.url } end)
    assert.equal(1, ran.code)
    assert.matches("FAIL  clock +1 h 6 min before the service's: S3 refuses what is 15 minutes off", ran.out)
  end)

  it("are no reason to start when S3_CHECK is required and fails", function()
    write(home .. "/profiles/checking.lua", [[
      return profile { doc = "Has S3_CHECK.", settings = { "S3_CHECK", "S3_CHECK_REQUIRED" }, plan = function()
        return plan { services = { service { name = "ends", oneshot = true, critical = true, restart = "never",
          command = { "/bin/sh", "-c", "while ! test -e ]] .. home .. [[/go; do sleep 0.05; done; exit 3" } } } }
      end }]])
    local ran = run({ "run" }, { PROFILE = "checking", S3_CHECK = "s3://nobody-has-this", S3_CHECK_REQUIRED = "true" })
    assert.equal(69, ran.code)
    assert.matches("S3_CHECK: s3://nobody-has-this/: there is no such bucket", ran.out .. ran.err, 1, true)
    assert.is_nil((ran.out .. ran.err):find("ends: started", 1, true))
    write(home .. "/go", "")
    ran = run({ "run" }, { PROFILE = "checking", S3_CHECK = "s3://site/node", S3_CHECK_REQUIRED = "true" })
    assert.equal(1, ran.code)
    assert.matches("S3_CHECK: s3://site/node: an object was written and read back, %d+ ms.*ends: started", ran.out .. ran.err)
    os.remove(home .. "/go")
  end)

  it("are checked beside the services when S3_CHECK is not required", function()
    -- The service ends once the log, which it shares, tells of the check.
    write(home .. "/profiles/beside.lua", [[
      return profile { doc = "Has S3_CHECK.", settings = { "S3_CHECK" }, plan = function()
        return plan { services = { service { name = "ends", oneshot = true, critical = true, restart = "never",
          command = { "/bin/sh", "-c", "while ! grep -q S3_CHECK: ]] .. home .. [[/log; do sleep 0.05; done; exit 3" } } } }
      end }]])
    local ran = parts.run({ "sh", "-c", 'exec timeout 60 "$0" run >' .. home .. "/log 2>&1", program },
      { env = env_with { PROFILE = "beside", S3_CHECK = "s3://nobody-has-this" } })
    assert.equal(1, ran.code)
    assert.matches("ends: started.*S3_CHECK: s3://nobody%-has%-this/: there is no such bucket", read(home .. "/log"))
  end)
end)
