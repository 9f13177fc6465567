-- EXT_CONF, HIVE_SITE_XML and EXT_JARS from S3 in a real Spark: on driver and executors, behind Spark's own jars.
local json = require "appliance.json"
local parts = require "aws_parts"
local spark_node = require "spark_node"

local JOB <const> = spark_node.SOURCE .. "/tests/support/fetch_job.py"

describe("files of the user's in Spark", function()
  local moto, node

  setup(function()
    moto = parts.moto { auth = true }
    parts.boto(moto, ([[
import zipfile
s3.create_bucket(Bucket="site")
s3.put_object(Bucket="site", Key="site.conf", Body=b"# of the site\nspark.site.key of-the-site\n")
s3.put_object(Bucket="site", Key="hive-site.xml", Body=b"<configuration><property><name>site.key</name><value>of the catalog</value>"
              b"</property><property><name>javax.jdo.option.ConnectionPassword</name><value>hunter2</value></property></configuration>")
jar = io.BytesIO()
with zipfile.ZipFile(jar, "w") as archive:
    archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    archive.writestr("marker.txt", "here")
s3.put_object(Bucket="site", Key="jars/marker.jar", Body=jar.getvalue())
]]))
    local settings = { EXT_CONF = "s3://site/site.conf", HIVE_SITE_XML = "s3://site/hive-site.xml", EXT_JARS = "s3://site/jars/marker.jar",
      EXECUTOR_MEMORY = "1g", CREDENTIALS_BROKER = "false" }
    for name, value in pairs(moto.env) do settings[name] = value end
    node = spark_node.start(settings)
    node:wait_ready "worker"
  end)

  teardown(function()
    if node then node:__close() end
    moto:close()
  end)

  it("reach driver and executors", function()
    local code, output = node:client("spark-submit", JOB)
    assert.equal(0, code, output)
    local line = output:match "\nseen (%b{})" or output:match "^seen (%b{})"
    local seen = json.decode(assert(line, output))
    assert.same({ "of-the-site", "of the catalog" }, { seen.conf, seen.hive })
    local jar = node.directory .. "/fetched/jars/marker.jar"
    assert.same({ "jar:file:" .. jar .. "!/marker.txt", "jar:file:" .. jar .. "!/marker.txt" }, { seen.driver, seen.executor })
    -- Behind Spark's own: a class data archive is good for a class path that begins with those.
    assert.same({ "spark-core", "marker.jar" }, seen["driver path"])
    assert.same({ "spark-core", "spark-core", "marker.jar" }, seen["executor path"])   -- the launcher names all of Spark's twice
  end)

  it("tell nobody their secrets", function()
    local code, output = node:command "plan"
    assert.equal(0, code, output)
    assert.matches("spark.site.key = of-the-site  # EXT_CONF s3://site/site.conf", output, 1, true)
    assert.matches("fetch jars/marker.jar (mode 0644)\n  from     s3://site/jars/marker.jar", output, 1, true)
    assert.matches("ConnectionPassword = (redacted)", output, 1, true)
    assert.is_nil((output .. node.text):find("hunter2", 1, true))
    assert.is_nil((output .. node.text):find(moto.keys.secret_access_key, 1, true))
    local pipe <close> = assert(io.popen("stat -c %a " .. node.directory .. "/conf/hive-site.xml"))
    assert.equal("600\n", pipe:read "a")
  end)
end)
