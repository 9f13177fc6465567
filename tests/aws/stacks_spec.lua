-- The instances of a stack as ELB and EC2 tell them: moto plays both.
local parts = require "aws_parts"
local task = require "appliance.task"

describe("stacks against moto", function()
  local moto, kept
  local aws = require "appliance.aws"
  local call = aws.call

  setup(function()
    moto, kept = parts.moto(), {}
    -- Endpoint and keys come from the environment in the program; this process has its own.
    aws.call = function(service, action, params, opts)
      local all = { endpoint = moto.url, region = "eu-west-1", keys = moto.keys, no_proxy = true }
      for name, value in pairs(opts or {}) do all[name] = value end
      return call(service, action, params, all)
    end
  end)
  teardown(function()
    aws.call = call
    moto:close()
  end)
  after_each(function()
    for _, path in ipairs(kept) do os.remove(path) end
  end)

  local function run(count, tags)
    local list = {}
    for name, value in pairs(tags or {}) do list[#list + 1] = { Key = name, Value = value } end
    local made = assert(aws.call("ec2", "RunInstances", { ImageId = "ami-12345678", MinCount = count, MaxCount = count,
      TagSpecification = list[1] and { { ResourceType = "instance", Tag = list } } or nil }))
    local ids, addresses = {}, {}
    for i, instance in ipairs(made.instancesSet) do ids[i], addresses[i] = instance.instanceId, instance.privateIpAddress end
    table.sort(addresses)
    return ids, addresses
  end

  local function balancer(name, ids)
    assert(aws.call("elasticloadbalancing", "CreateLoadBalancer", { LoadBalancerName = name, AvailabilityZones = { "eu-west-1a" },
      Listeners = { { Protocol = "tcp", LoadBalancerPort = 8181, InstancePort = 8181 } } }))
    local members = {}
    for i, id in ipairs(ids) do members[i] = { InstanceId = id } end
    if not ids[1] then return end
    assert(aws.call("elasticloadbalancing", "RegisterInstancesWithLoadBalancer", { LoadBalancerName = name, Instances = members }))
  end

  local function addresses(name) return require("appliance.cluster.stacks").addresses(name) end

  it("finds the instances behind the load balancer of that name", function()
    local ids, wanted = run(3)
    run(2)
    balancer("exhibitor-spark", ids)
    assert.same(wanted, assert(addresses "exhibitor-spark"))
    assert(aws.call("ec2", "TerminateInstances", { InstanceId = { ids[1] } }))
    assert.equal(2, #assert(addresses "exhibitor-spark"))
  end)

  it("finds them by CloudFormation's tag where there is no load balancer, or nobody is behind it", function()
    local _, wanted = run(2, { ["aws:cloudformation:stack-name"] = "spark-masters" })
    assert.same(wanted, assert(addresses "spark-masters"))
    balancer("spark-masters", {})
    assert.same(wanted, assert(addresses "spark-masters"))
  end)

  it("says what is missing", function()
    local none, err = addresses "nobody"
    assert.is_nil(none)
    assert.equal("missing", err.kind)
    assert.matches("^stack nobody: there is no load balancer of that name with running instances", err.text)
  end)

  it("is a fact that follows the stack", function()
    local ids, wanted = run(1)
    balancer("zk", ids)
    local folder = parts.path()
    assert(require("appliance.core.file").make_dirs(folder, tonumber("700", 8)))
    kept = { folder .. "/zookeepers.json", folder }
    local values = task.queue()
    local running <close> = task.start("servers", function() -- luacheck: ignore
      require("appliance.cluster.zookeepers").servers().start(function(value) values:put(value) end,
        { ZOOKEEPER = "zk", STATE_DIR = folder })
    end)
    assert.same({ servers = { wanted[1] .. ":2181" }, chroot = "", from = "stack" }, values:get())
  end)

  it("is asked by the program with what its environment says", function()
    local script = parts.path ".lua"
    local file <close> = assert(io.open(script, "w"))
    file:write 'print(table.concat(assert(require("appliance.cluster.stacks").addresses(arg[1])), " "))'
    file:close()
    kept = { script }
    local _, wanted = run(2, { ["aws:cloudformation:stack-name"] = "by-environment" })
    local env = { AWS_REGION = "eu-west-1", AWS_DEFAULT_REGION = "eu-west-1" }
    for name, value in pairs(moto.env) do env[name] = env[name] or value end
    local ran = parts.run({ os.getenv "APPLIANCE" or "build/spark-appliance", "lua", script, "by-environment" }, { env = env })
    assert.same({ 0, table.concat(wanted, " ") .. "\n" }, { ran.code, ran.out }, ran.err)
  end)
end)
