-- What ./dev dist packs, but for the packing: Spark of the cache with the conf/ of the tarball, on an instance with a role where nothing
-- of ours runs. Spark's own spark-shell counts the lines of an object.
local file = require "appliance.core.file"
local http = require "appliance.core.http"
local json = require "appliance.json"
local parts = require "aws_parts"
local spark_node = require "spark_node"
local supervise = require "appliance.core.supervise"

local SCRIPT <const> = [[
println("lines: " + spark.read.textFile("s3://data/lines.txt").count())
spark.range(5).write.parquet("s3://data/table")
println("rows: " + spark.read.parquet("s3://data/table").count())
:quit
]]

describe("the Spark of ./dev dist", function()
  local home = os.getenv "SPARK_HOME"
  local has_s3a = os.execute(("ls %s/jars/hadoop-aws-*.jar >%s 2>&1"):format(home, "/dev/null"))
  if not has_s3a then return pending "this Spark has no hadoop-aws: its companions are not published" end

  it("counts the lines of an s3:// object with the role of the instance alone", function()
    local directory = spark_node.temporary()
    assert(file.make_dirs(directory .. "/conf"))
    local code, output = spark_node.run({ "/usr/bin/lua5.4", spark_node.SOURCE .. "/dev.d/dist_conf.lua", home, directory .. "/conf" },
      { PATH = "/usr/bin:/bin", LUA_PATH = spark_node.SOURCE .. "/lua/?.lua;" .. spark_node.SOURCE .. "/lua/?/init.lua" })
    assert.equal(0, code, output)
    assert.is_table(file.stat(directory .. "/conf/core-site.xml"))
    assert.is_table(file.stat(directory .. "/conf/spark-defaults.conf"))
    assert(file.replace(directory .. "/count.scala", SCRIPT, tonumber("644", 8), false))

    local moto <close> = parts.moto()
    parts.boto(moto, [[s3.create_bucket(Bucket="data"); s3.put_object(Bucket="data", Key="lines.txt", Body=b"x\n" * 777)]])
    local imds <close> = spark_node.background({ "/usr/bin/python3", "-IS", spark_node.SOURCE .. "/tests/support/fake_imds.py", "--stay" },
      { PATH = "/usr/bin:/bin" })
    local port = spark_node.await("the metadata service", function()
      return tonumber((supervise.tail(imds.name, 1000) or ""):match "plain (%d+)")
    end, 30)
    local endpoint = "http://127.0.0.1:" .. port
    -- The metadata service's place for the SDK of Spark 4 and, as a property, for the older one of Spark 3.5.
    code, output = spark_node.run({ "/bin/sh", "-c", 'exec "$0" "$@" <' .. directory .. "/count.scala", home .. "/bin/spark-shell",
      "--master", "local[2]", "--conf", "spark.ui.enabled=false", "--conf", "spark.hadoop.fs.s3a.endpoint=" .. moto.url,
      "--conf", "spark.hadoop.fs.s3a.path.style.access=true", "--conf", "spark.sql.warehouse.dir=file:" .. directory .. "/warehouse",
      "--driver-java-options", "-Djava.io.tmpdir=" .. directory .. " -Dcom.amazonaws.sdk.ec2MetadataServiceEndpointOverride=" .. endpoint },
      { PATH = os.getenv "PATH", JAVA_HOME = os.getenv "JAVA_HOME", HOME = directory, SPARK_CONF_DIR = directory .. "/conf",
        SPARK_LOCAL_IP = "127.0.0.1", SPARK_LOCAL_DIRS = directory, AWS_EC2_METADATA_SERVICE_ENDPOINT = endpoint })
    file.remove_tree(directory)
    assert.equal(0, code, output)
    assert.matches("lines: 777", output)
    assert.matches("rows: 5", output)
    local answer = assert(http.request { host = "127.0.0.1", port = port, method = "GET", path = "/test/counts", timeout = 5 })
    assert.equal(1, json.decode(answer.body).document)
  end)
end)
