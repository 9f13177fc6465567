--- The fact of region and endpoint: what it asks whom, and that a start does not wait for a region that is slow to come.
local facts = require "appliance.facts"
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local task = require "appliance.core.task"

require("appliance.core.log").level "error"

local NAMES <const> = { "appliance.core.host", "appliance.credentials" }

describe("the fact of S3's place", function()
  local directory, kept

  setup(function()
    directory = ("%s/s3a-%d"):format(os.getenv "TMPDIR" or "/tmp", host.pid())
    assert(file.make_dirs(directory .. "/with/jars"))
    assert(file.make_dirs(directory .. "/without/jars"))
    assert(file.replace(directory .. "/with/jars/hadoop-aws-3.4.2.jar", "", tonumber("644", 8), false))
  end)
  teardown(function() file.remove_tree(directory) end)

  before_each(function()
    kept = {}
    for _, name in ipairs(NAMES) do kept[name] = package.loaded[name] end
  end)
  after_each(function()
    for _, name in ipairs(NAMES) do package.loaded[name] = kept[name] end
  end)

  --- Follows the fact in this environment. region(): what the credentials' module answers; nil: it must not be asked.
  local function follow(environ, region, home)
    package.loaded["appliance.core.host"] = setmetatable({ environ = function() return environ end }, { __index = host })
    package.loaded["appliance.credentials"] = { region = region or function() error "nobody should have asked" end,
      configured = function() return "imds" end }
    local sources = { s3 = require("appliance.facts.s3a").source() }
    local followed = facts.follow(sources, { SPARK_HOME = directory .. (home or "/with"), CREDENTIALS_BROKER = "auto" })
    return followed, sources
  end

  it("is nothing for a Spark without S3A", function()
    local followed <close>, sources = follow({ AWS_REGION = "eu-west-1" }, nil, "/without")
    assert.same({}, followed:first(sources, 10).s3)
  end)

  it("asks nobody where the environment says it, or nothing is of AWS here", function()
    do
      local followed <close>, sources = follow { AWS_REGION = "eu-west-1", AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" }
      assert.same({ region = "eu-west-1", region_from = "AWS_REGION (environment)", broker = true }, followed:first(sources, 10).s3)
    end
    local followed <close>, sources = follow { AWS_EC2_METADATA_DISABLED = "true" }
    assert.same({}, followed:first(sources, 10).s3)
  end)

  it("has the region of the instance", function()
    local followed <close>, sources = follow({ AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" },
      function() return "eu-north-1" end)
    assert.same({ region = "eu-north-1", region_from = "region of this node", broker = true }, followed:first(sources, 10).s3)
  end)

  it("is there without a region when that can't be had", function()
    for _, region in ipairs { function() return nil, "no answer" end, function() error "broken" end } do
      local followed <close>, sources = follow({ AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" }, region)
      assert.same({ broker = true }, followed:first(sources, 10).s3)
    end
  end)

  it("does not wait for a slow one, and tells it when it comes", function()
    local gate = task.queue()
    local followed <close>, sources = follow({ AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" },
      function() return gate:get() end)
    assert.same({ broker = true }, followed:first(sources, 10).s3)
    gate:put "eu-south-1"
    assert.same({ "s3" }, followed:next())
    assert.equal("eu-south-1", followed.values.s3.region)
  end)
end)
