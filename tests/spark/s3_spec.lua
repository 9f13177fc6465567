-- s3:// and s3a:// in a real Spark: the node's own keys for S3A, a server of S3 beside it, and credentials from nothing but a metadata
-- service, which the node asks and whose answers its broker hands on.
local file = require "appliance.core.file"
local http = require "appliance.core.http"
local json = require "appliance.json"
local parts = require "aws_parts"
local spark_node = require "spark_node"
local supervise = require "appliance.core.supervise"

local JOB <const> = spark_node.SOURCE .. "/tests/support/s3_job.py"

--- The services that give credentials, and no others: whatever else a JVM might think of is off.
local NO_METADATA <const> = "-Daws.disableEc2Metadata=true -Dcom.amazonaws.sdk.disableEc2Metadata=true"

local function start_imds(script)
  local running = spark_node.background({ "/usr/bin/python3", "-IS", spark_node.SOURCE .. "/tests/support/fake_imds.py", "--stay",
    "--script", json.encode(script) }, { PATH = "/usr/bin:/bin" })
  local port = spark_node.await("the metadata service", function()
    return tonumber((supervise.tail(running.name, 1000) or ""):match "plain (%d+)")
  end, 30)
  return { running = running, port = port, url = "http://127.0.0.1:" .. port }
end

local function tell_imds(imds, script)
  local answer = assert(http.request { host = "127.0.0.1", port = imds.port, method = "PUT", path = "/test/script",
    body = json.encode(script), timeout = 5 })
  assert.equal(200, answer.status)
end

--- Lines of Python with the server's boto3; they may stand as far right as the Lua around them.
local function boto(server, lines, args) return parts.boto(server, (lines:gsub("\n +", "\n")), args) end

local function has_s3a()
  for _, name in ipairs(file.list(os.getenv "SPARK_HOME" .. "/jars")) do
    if name:find "^hadoop%-aws%-" then return true end
  end
end

describe("s3:// in Spark", function()
  local imds, moto, node
  if not has_s3a() then return pending "this Spark has no hadoop-aws: its companions are not published" end
  local closing = {}

  setup(function()
    moto = parts.moto()
    closing[#closing + 1] = function() moto:close() end
    boto(moto, [[
      s3.create_bucket(Bucket="data")
      s3.put_object(Bucket="data", Key="in/lines.txt", Body=b"one line\n" * 321)
      s3.put_object(Bucket="data", Key="events/", Body=b"")
    ]])
    imds = start_imds { region = "eu-central-1", lifetime = 3600 }
    closing[#closing + 1] = function() getmetatable(imds.running).__close(imds.running) end
    node = spark_node.start({ AWS_EC2_METADATA_DISABLED = false, AWS_EC2_METADATA_SERVICE_ENDPOINT = imds.url,
      AWS_ENDPOINT_URL_S3 = moto.url, EXECUTOR_MEMORY = "1g" })
    closing[#closing + 1] = function() node:__close() end
    node:wait_ready "worker"
  end)

  teardown(function()
    for i = #closing, 1, -1 do closing[i]() end
  end)

  local function words(...)
    return { "spark-submit", "--driver-java-options", NO_METADATA, "--conf", "spark.executor.extraJavaOptions=" .. NO_METADATA,
      "--conf", "spark.eventLog.enabled=true", "--conf", "spark.eventLog.dir=s3://data/events/", JOB, ... }
  end

  local function seen_in(output)
    local line = output:match "\nseen (%b{})" or output:match "^seen (%b{})"
    return line and json.decode(line)
  end

  it("is told the region that the metadata service knows, the endpoint of the environment, and who said so", function()
    local code, output = node:command "plan"
    assert.equal(0, code, output)
    assert.matches("fs.s3a.endpoint.region = eu-central-1  # region of this node", output, 1, true)
    assert.matches("fs.s3a.endpoint = " .. moto.url .. "  # AWS_ENDPOINT_URL_S3 (environment)", output, 1, true)
    assert.matches("fs.s3.impl = org.apache.hadoop.fs.s3a.S3AFileSystem  # profile single-node", output, 1, true)
    assert.matches("fs.s3a.aws.credentials.provider = .*IAMInstanceCredentialsProvider  # the broker of credentials", output)
  end)

  describe("in one job with both schemes", function()
    local seen, text

    setup(function()
      local code
      code, text = node:client(table.unpack(words("use", "data", "s3", "s3a")))
      seen = code == 0 and seen_in(text)
      assert(seen, text)
    end)

    for _, scheme in ipairs { "s3", "s3a" } do
      it("reads, writes, lists, appends, overwrites, moves and uploads with " .. scheme .. "://", function()
        local its = seen[scheme]
        assert.equal("S3AFileSystem", its["file system"])
        assert.equal(321, its.lines)
        assert.equal(1000, its.written)
        assert.equal(2000, its.appended)
        assert.equal(10, its.overwritten)
        assert.equal(1, its.listed)
        assert.equal(7, its.partitions)
        assert.equal(10, its.moved)
        assert.equal(1, its.uploaded)
      end)

      it("commits by the magic committer with " .. scheme .. "://, and leaves nothing of its work behind", function()
        assert.equal("magic", seen[scheme].success)
        local keys = boto(moto, [[
          pages = s3.get_paginator("list_objects_v2").paginate(Bucket="data", Prefix=args[0])
          print("\n".join(o["Key"] for page in pages for o in page.get("Contents", [])))
        ]], { ("out-%s/"):format(scheme) })
        assert.matches("table%-moved/part%-", keys)
        assert.not_matches("__magic", keys)
        assert.not_matches("_temporary", keys)
      end)
    end

    it("gives driver and executors the way to the broker, and no key", function()
      for _, who in ipairs { "driver", "executor" } do
        local names = " " .. table.concat(seen[who], " ") .. " "
        assert.matches(" AWS_CONTAINER_CREDENTIALS_FULL_URI ", names)
        assert.not_matches("KEY", names)
      end
      assert.not_matches("secret%-0", text)
      local rendered = file.read(node.directory .. "/conf/core-site.xml") .. file.read(node.directory .. "/conf/spark-defaults.conf")
      assert.not_matches("secret%-0", rendered)
      assert.not_matches("AKIA", rendered)
    end)

    it("has asked the metadata service for its keys once, for all of them", function()
      local answer = assert(http.request { host = "127.0.0.1", port = imds.port, method = "GET", path = "/test/counts", timeout = 5 })
      assert.equal(1, json.decode(answer.body).document)
    end)

    it("writes event logs there", function()
      local events = boto(moto, [[print(s3.list_objects_v2(Bucket="data", Prefix="events/").get("Contents"))]])
      assert.matches("app%-%d+%-%d+", events)
    end)
  end)

  it("reaches a driver that the worker starts", function()
    -- A job in Python may not be sent there, but a program of Spark's own that runs it may (docs/spark-standalone.md of Spark).
    local core
    for _, name in ipairs(file.list(os.getenv "SPARK_HOME" .. "/jars")) do
      if name:find "^spark%-core_" then core = os.getenv "SPARK_HOME" .. "/jars/" .. name end
    end
    -- What spark-submit gives a driver of its own; Spark 3.5 forgets it for one that a worker starts, whose Java 17 then refuses.
    local options = NO_METADATA .. " --add-opens=java.base/sun.nio.ch=ALL-UNNAMED"
    local code, output = node:client("spark-submit", "--deploy-mode", "cluster", "--conf", "spark.standalone.submit.waitAppCompletion=true",
      "--conf", "spark.driver.memory=512m", "--driver-java-options", options, "--class", "org.apache.spark.deploy.SparkSubmit", core,
      "--master", "spark://127.0.0.1:" .. node.port, "--conf", "spark.driver.memory=512m", "--conf", "spark.cores.max=1",
      "--conf", "spark.executor.memory=512m", "--conf", "spark.executor.extraJavaOptions=" .. NO_METADATA, assert(file.real(JOB)),
      "look", "data", "lines.txt")
    assert.equal(0, code, output)
    local driver = output:match "submitted as (driver%-[%w-]+)" or ""
    local said = output
    for _, name in ipairs { "stderr", "stdout" } do -- Python's own words are in the latter
      said = said .. "\n" .. (file.read(("%s/work/%s/%s"):format(node.directory, driver, name)) or "")
    end
    assert(output:find("is FINISHED", 1, true), said)
  end)

  it("goes on while the metadata service is gone for longer than its keys are good", function()
    local LIFE <const> = 8
    tell_imds(imds, { lifetime = LIFE })
    local name = "lasting"
    assert(supervise.declare { name = name, command = { os.getenv "APPLIANCE" or "build/spark-appliance", "client",
      table.unpack(words("last", "data", tostring(LIFE + 4))) }, env = node.env, oneshot = true, restart = "never",
      log = { console = false } })
    assert(supervise.want(name, true))
    spark_node.await("the first round of the job", function()
      local there = boto(moto, [[print(s3.list_objects_v2(Bucket="data", Prefix="lasting/_SUCCESS").get("KeyCount"))]])
      return there ~= "0" or supervise.view(name).state == "failed"
    end)
    tell_imds(imds, { token = "silent", get = "silent" })
    boto(moto, [[s3.put_object(Bucket="data", Key="flag", Body=b"")]])
    spark_node.await("the end of the job", function()
      local state = supervise.view(name).state
      return state == "done" or state == "failed"
    end)
    local output = supervise.tail(name, 1 << 20)
    supervise.remove(name)
    local seen = seen_in(output)
    assert.is_table(seen, output)
    assert.is_true(seen.rounds >= 2, ("%d rounds without it"):format(seen.rounds))
  end)
end)
