-- Whose credentials a job has: its driver and, where brokers have one port, its executors.
local host = require "appliance.core.host"
local json = require "appliance.json"
local parts = require "aws_parts"
local spark_node = require "spark_node"

local JOB <const> = spark_node.SOURCE .. "/tests/support/roles_job.py"
local function arn(name) return "arn:aws:iam::123456789012:role/" .. name end

describe("the role of a job", function()
  local imds, node

  setup(function()
    imds = parts.fake_imds { lifetime = 3600 }
    node = spark_node.start {
      AWS_EC2_METADATA_DISABLED = false, AWS_EC2_METADATA_SERVICE_ENDPOINT = imds.url, AWS_ENDPOINT_URL_STS = imds.url,
      AWS_REGION = "eu-west-1", BROKER_PORT = 20000 + host.pid() % 1100 * 10 + 5,
      ROLE_MAPPING = ("label:etl=%s,service:worker=%s,service:thriftserver=%s"):format(arn "etl", arn "worker", arn "sql"),
      START_MASTER = "true", START_WORKER = "true", START_THRIFTSERVER = "true",
    }
    node:wait_ready "worker"
    node:wait_ready "thriftserver"
  end)

  teardown(function()
    if node then node:__close() end
    if imds then imds:close() end
  end)

  local function seen(...)
    local code, output = node:client("spark-submit", ...)
    local line = output:match "\nseen ([^\n]*)" or output:match "^seen ([^\n]*)"
    assert(code == 0 and line, output)
    return json.decode(line)
  end

  it("is that of its label, for the driver and from Spark 4 on for executors", function()
    local its = seen("--conf", "spark.appliance.role-label=etl", JOB)
    local is_old = its.version:find "^3%." ~= nil
    assert.same({ arn "etl", arn(is_old and "worker" or "etl") }, { its.driver[1], its.executor[1] })
    assert.equal(not is_old, its.driver[2] == its.executor[2])  -- the same keys: one fetch
    assert.same({}, its.driver[3])
    assert.same({}, its.executor[3])
  end)

  it("is that of the SQL server in its executors, from Spark 4 on", function()
    local uri = assert(node:sql "select reflect('java.lang.System', 'getenv', 'AWS_CONTAINER_CREDENTIALS_FULL_URI') from range(1)")
    local is_old = os.getenv "SPARK_HOME":find "spark%-3%." ~= nil
    assert.equal(is_old, uri:find("/credentials/@service-thriftserver", 1, true) == nil, uri)
  end)

  it("is the node's own for its driver, and the worker's for its executors, without one", function()
    local its = seen(JOB)
    assert.same({ "own", arn "worker" }, { its.driver[1], its.executor[1] })
    local code, output = node:client("spark-submit", "--conf", "spark.appliance.role-label=elt", JOB)
    assert.equal(126, code)
    assert.truthy(output:find('ROLE_MAPPING has no role for the label "elt", did you mean "etl"', 1, true))
  end)
end)
