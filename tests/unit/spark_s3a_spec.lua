--- What Spark is told of S3: the keys, where each comes from, and whose word counts.
local layout = require "appliance.spark.layout"
local plan = require "appliance.plan"
local profile = require "appliance.profile"
local s3a = require "appliance.spark.s3a"
local s3a_fact = require "appliance.facts.s3a"

local MODERN <const> = { "spark-core_2.13-4.1.1.jar", "hadoop-client-api-3.4.2.jar", "hadoop-aws-3.4.2.jar", "s3-2.29.52.jar",
  "spark-hadoop-cloud_2.13-4.1.1.jar" }
local OLDER <const> = { "spark-core_2.12-3.5.7.jar", "hadoop-client-api-3.3.4.jar", "hadoop-aws-3.3.4.jar",
  "aws-java-sdk-s3-1.12.262.jar", "spark-hadoop-cloud_2.12-3.5.7.jar" }

local function described(names)
  local jars = {}
  for i, name in ipairs(names) do jars[i] = { name = name } end
  return assert(layout.describe { home = "/opt/spark", java = { home = "/j", release = 'JAVA_VERSION="17.0.1"' }, jars = jars })
end

--- The plan of a node with these jars. seen: the fact; layers: mounted texts.
local function planned(names, seen, layers)
  local checked = assert(profile.check("single-node", { environ = { STATE_DIR = "/state", START_MASTER = "true" }, path = { "profiles" } }))
  local spark = described(names)
  spark.layers = layers or {}
  local draft = assert(checked.profile.plan(checked.env, {
    node = { ip = "10.0.0.5", probe = "127.0.0.1", public = "10.0.0.5", name = "n", environ = {} },
    limits = { machine = 8 << 30, cpus = 2 }, casualties = {}, spark = spark, s3 = seen,
  }))
  return assert(plan.normalise(draft, { profile = "single-node", layers = spark.layers }))
end

local function mounted(text) return { { layer = "mounted", origin = "/mnt/core-site.xml", text = text } } end
local function site(name, value)
  return ("<configuration><property><name>%s</name><value>%s</value></property></configuration>"):format(name, value)
end

describe("the jars of S3", function()
  it("are known by their names", function()
    assert.same({ hadoop = "3.4.2", aws = "3.4.2", sdk = 2, committers = true }, described(MODERN).s3)
    assert.same({ hadoop = "3.3.4", aws = "3.3.4", sdk = 1, committers = true }, described(OLDER).s3)
    assert.same({ hadoop = "3.4.2" }, described { "spark-core_2.13-4.1.1.jar", "hadoop-client-api-3.4.2.jar" }.s3)
    assert.equal(2, described { "spark-core_2.13-4.1.1.jar", "bundle-2.29.52.jar" }.s3.sdk)
    assert.equal(1, described { "spark-core_2.13-4.1.1.jar", "aws-java-sdk-bundle-1.12.262.jar" }.s3.sdk)
  end)
end)

describe("core-site.xml", function()
  it("is not there without hadoop-aws, and no committer is named", function()
    local made = planned({ "spark-core_2.13-4.1.1.jar", "hadoop-client-api-3.4.2.jar" }, { region = "eu-west-1" })
    assert.is_nil(made.files["core-site.xml"])
    assert.is_nil(made.files["spark-defaults.conf"].keys["spark.sql.sources.commitProtocolClass"])
    assert.same({}, s3a.defaults { aws = "3.4.2" })
  end)

  it("maps the older schemes, for FileContext only where S3A can do it", function()
    local keys = planned(MODERN).files["core-site.xml"].keys
    for _, scheme in ipairs { "s3", "s3n" } do
      assert.equal("org.apache.hadoop.fs.s3a.S3AFileSystem", keys["fs." .. scheme .. ".impl"].value)
      assert.equal("org.apache.hadoop.fs.s3a.S3A", keys["fs.AbstractFileSystem." .. scheme .. ".impl"].value)
      assert.equal("org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory", keys["mapreduce.outputcommitter.factory.scheme." .. scheme].value)
    end
    keys = planned(OLDER).files["core-site.xml"].keys
    assert.equal("org.apache.hadoop.fs.s3a.S3AFileSystem", keys["fs.s3.impl"].value)
    assert.is_nil(keys["fs.AbstractFileSystem.s3.impl"])
    assert.is_nil(keys["fs.s3a.optimized.copy.from.local.enabled"])
  end)

  it("names the magic committer, and spark-defaults.conf what leads to it, only where spark-hadoop-cloud is", function()
    local files = planned(MODERN).files
    assert.equal("magic", files["core-site.xml"].keys["fs.s3a.committer.name"].value)
    assert.equal("org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
      files["spark-defaults.conf"].keys["spark.sql.sources.commitProtocolClass"].value)
    assert.equal("org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
      files["spark-defaults.conf"].keys["spark.sql.parquet.output.committer.class"].value)
    files = planned({ MODERN[1], MODERN[2], MODERN[3], MODERN[4] }).files
    assert.is_nil(files["core-site.xml"].keys["fs.s3a.committer.name"])
    assert.is_nil(files["core-site.xml"].keys["mapreduce.outputcommitter.factory.scheme.s3"])
    assert.is_nil(files["spark-defaults.conf"].keys["spark.sql.sources.commitProtocolClass"])
  end)

  it("says nothing of region, endpoint and credentials where nobody else does", function()
    local keys = planned(MODERN, {}).files["core-site.xml"].keys
    for _, key in ipairs { "fs.s3a.endpoint", "fs.s3a.endpoint.region", "fs.s3a.path.style.access", "fs.s3a.aws.credentials.provider" } do
      assert.is_nil(keys[key], key)
    end
  end)

  it("takes credentials from what a job names, then from the broker", function()
    local keys = planned(MODERN, { broker = true }).files["core-site.xml"].keys
    assert.equal("org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider,org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider,"
      .. "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider", keys["fs.s3a.aws.credentials.provider"].value)
    assert.equal("the broker of credentials", keys["fs.s3a.aws.credentials.provider"].origin)
  end)

  it("lets a mounted file win, key by key, and says what it hid", function()
    local made = planned(MODERN, { region = "eu-west-1", region_from = "AWS_REGION (environment)", broker = true },
      { ["core-site.xml"] = mounted(site("fs.s3a.endpoint.region", "eu-north-1")) })
    local keys = made.files["core-site.xml"].keys
    assert.equal("eu-north-1", keys["fs.s3a.endpoint.region"].value)
    assert.same({ { value = "eu-west-1", origin = "AWS_REGION (environment)" } }, keys["fs.s3a.endpoint.region"].shadowed)
    assert.equal("org.apache.hadoop.fs.s3a.S3AFileSystem", keys["fs.s3.impl"].value)
  end)
end)

describe("region and endpoint", function()
  local function keys_of(environ) return s3a.core_site({ aws = "3.4.2", hadoop = "3.4.2", sdk = 2 }, s3a_fact.read(environ)) end
  local function value(keys, key) return keys[key] and keys[key].value end

  it("come from the SDKs' variables, the one for S3 first, blank ones not at all", function()
    assert.same({ region = "eu-west-1", region_from = "AWS_REGION (environment)" },
      s3a_fact.read { AWS_REGION = " eu-west-1 ", AWS_DEFAULT_REGION = "x", AWS_ENDPOINT_URL_S3 = " " })
    local seen = s3a_fact.read { AWS_DEFAULT_REGION = "eu-west-3", AWS_ENDPOINT_URL = "http://a", AWS_ENDPOINT_URL_S3 = "http://b" }
    assert.same({ region = "eu-west-3", region_from = "AWS_DEFAULT_REGION (environment)", endpoint = "http://b",
      endpoint_from = "AWS_ENDPOINT_URL_S3 (environment)" }, seen)
    assert.is_nil(s3a_fact.read { AWS_ENDPOINT_URL = "http://a", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "True" }.endpoint)
  end)

  it("of another server mean path style, its scheme, and the region that other clients sign for", function()
    local keys = keys_of { AWS_ENDPOINT_URL = "http://minio:9000" }
    assert.equal("http://minio:9000", value(keys, "fs.s3a.endpoint"))
    assert.equal("AWS_ENDPOINT_URL (environment)", keys["fs.s3a.endpoint"].origin)
    assert.is_true(value(keys, "fs.s3a.path.style.access"))
    assert.is_false(value(keys, "fs.s3a.connection.ssl.enabled"))
    assert.equal("us-east-1", value(keys, "fs.s3a.endpoint.region"))
    keys = keys_of { AWS_ENDPOINT_URL = "https://user@minio:9000/x", AWS_REGION = "here" }
    assert.is_nil(keys["fs.s3a.connection.ssl.enabled"])
    assert.is_true(value(keys, "fs.s3a.path.style.access"))
    assert.equal("here", value(keys, "fs.s3a.endpoint.region"))
  end)

  it("of Amazon's own stay virtual-hosted", function()
    for _, url in ipairs { "https://s3.eu-west-1.amazonaws.com", "https://s3.cn-north-1.amazonaws.com.cn",
      "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com:443/", "https://s3.dualstack.eu-west-1.api.aws" } do
      local keys = keys_of { AWS_ENDPOINT_URL_S3 = url }
      assert.is_nil(keys["fs.s3a.path.style.access"], url)
      assert.is_nil(keys["fs.s3a.endpoint.region"], url)
    end
    assert.is_true(value(keys_of { AWS_ENDPOINT_URL_S3 = "https://notamazonaws.com" }, "fs.s3a.path.style.access"))
  end)
end)

describe("an s3:// that can't work", function()
  local function notes(names, text)
    local made = planned(names, {}, text and { ["spark-defaults.conf"] = { { layer = "mounted", origin = "x", text = text } } })
    local found = {}
    for _, note in ipairs(made.notes) do
      if note:find "s3" or note:find "hadoop%-aws" then found[#found + 1] = note end
    end
    return found
  end

  it("is told in one sentence, with the jar that is missing", function()
    local bare = { "spark-core_2.13-4.3.0.jar", "hadoop-client-api-3.5.0.jar" }
    local found = notes(bare, "spark.eventLog.dir s3a://logs/events")
    assert.equal(1, #found)
    assert.matches("spark.eventLog.dir is s3a://logs/events, and /opt/spark/jars has no hadoop-aws: ", found[1], 1, true)
    assert.matches("put hadoop-aws-3.5.0.jar", found[1], 1, true)
    assert.same({}, notes(bare, "spark.eventLog.dir file:/logs"))
    assert.same({}, notes(bare))
    assert.same({}, notes(MODERN, "spark.eventLog.dir s3a://logs/events"))
  end)

  it("is told where something is there twice", function()
    local with_bundle = table.move(MODERN, 1, #MODERN, 2, { "bundle-2.35.4.jar" })
    table.insert(with_bundle, 1, table.remove(with_bundle, 2))
    assert.matches("bundle-2.35.4.jar and s3-2.29.52.jar are both in /opt/spark/jars", notes(with_bundle)[1], 1, true)
    local two = table.move(MODERN, 1, #MODERN, 1, {})
    two[#two + 1] = "hadoop-aws-3.3.4.jar"
    assert.matches("hadoop-aws-3.4.2.jar and hadoop-aws-3.3.4.jar are both", notes(two)[1], 1, true)
  end)

  it("is told where the jars don't fit each other", function()
    assert.matches("hadoop-aws is 3.4.1 and Hadoop is 3.4.2",
      notes({ MODERN[1], MODERN[2], "hadoop-aws-3.4.1.jar", MODERN[4] })[1], 1, true)
    assert.matches("no SDK of AWS", notes({ MODERN[1], MODERN[2], MODERN[3] }, "spark.eventLog.dir s3://logs/")[1], 1, true)
  end)
end)
