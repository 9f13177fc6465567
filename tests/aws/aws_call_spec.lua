-- appliance.aws against moto, which checks signatures with code that is not ours: services by their Query and REST languages, and what the
-- engine sends to S3 by default. (moto can't check requests without a body to services other than S3, boto3's either, nor presigned ones.)
local aws = require "appliance.aws"
local parts = require "aws_parts"

--- The number of the descriptor by which this process has a file open.
local function number_of(path)
  local stat <close> = assert(io.open "/proc/self/stat")
  local list = assert(io.popen(("cd /proc/%d/fd && for n in *; do echo \"$n $(readlink $n)\"; done"):format(stat:read "n")))
  local found = list:read("a"):match("(%d+) " .. path:gsub("%p", "%%%0") .. "\n")
  list:close()
  return tonumber(found)
end

describe("appliance.aws against moto", function()
  local moto, lax

  setup(function() moto, lax = parts.moto { auth = true }, parts.moto() end)
  teardown(function()
    moto:close()
    lax:close()
  end)

  local function options(more)
    local all = { endpoint = moto.url, region = "eu-west-1", keys = moto.keys, no_proxy = true }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end

  local function call(service, action, params) return aws.call(service, action, params, options()) end

  it("asks STS who it is", function()
    local who = assert(call("sts", "GetCallerIdentity"))
    assert.same("arn:aws:iam::123456789012:user/administrator", who.Arn)
    assert.same("123456789012", who.Account)
    local role = assert(call("sts", "AssumeRole", { RoleArn = "arn:aws:iam::123456789012:role/x", RoleSessionName = "me" }))
    assert.truthy(role.Credentials.SessionToken)
  end)

  it("is refused with another secret", function()
    local who, err = aws.call("sts", "GetCallerIdentity", nil,
      options { keys = { access_key_id = moto.keys.access_key_id, secret_access_key = "other" } })
    assert.is_nil(who)
    assert.same("denied", err.kind)
    assert.same("SignatureDoesNotMatch", err.name)
    assert.matches("^sts GetCallerIdentity: the signature does not fit %(403 SignatureDoesNotMatch%)", tostring(err))
  end)

  it("asks EC2 for instances, with filters and nested lists", function()
    assert(call("ec2", "DescribeInstances"))
    local run = assert(call("ec2", "RunInstances", { ImageId = "ami-12345678", MinCount = 2, MaxCount = 2,
      TagSpecification = { { ResourceType = "instance", Tag = { { Key = "Name", Value = "ä b&c" } } } } }))
    local id = run.instancesSet[1].instanceId
    local found = assert(call("ec2", "DescribeInstances", { Filter = { { Name = "tag:Name", Value = { "nobody", "ä b&c" } } } }))
    assert.same(2, #found.reservationSet[1].instancesSet)
    assert.same({ { key = "Name", value = "ä b&c" } }, found.reservationSet[1].instancesSet[1].tagSet)
    found = assert(call("ec2", "DescribeInstances", { InstanceId = { id } }))
    assert.same(id, found.reservationSet[1].instancesSet[1].instanceId)
    found = assert(call("ec2", "DescribeInstances", { Filter = { { Name = "tag:Name", Value = { "nobody" } } } }))
    assert.same({}, found.reservationSet)
    local none, err = call("ec2", "DescribeInstances", { InstanceId = { "i-0123456789abcdef0" } })
    assert.is_nil(none)
    assert.same("InvalidInstanceID.NotFound", err.name)
  end)

  it("asks both kinds of load balancers", function()
    assert(call("elasticloadbalancing", "CreateLoadBalancer", { LoadBalancerName = "old", AvailabilityZones = { "eu-west-1a" },
      Listeners = { { Protocol = "tcp", LoadBalancerPort = 80, InstancePort = 8080 } } }))
    local found = assert(call("elasticloadbalancing", "DescribeLoadBalancers", { LoadBalancerNames = { "old" } }))
    assert.same("old", found.LoadBalancerDescriptions[1].LoadBalancerName)
    assert.same("8080", found.LoadBalancerDescriptions[1].ListenerDescriptions[1].Listener.InstancePort)
    local none, err = call("elasticloadbalancing", "DescribeLoadBalancers", { LoadBalancerNames = { "other" } })
    assert.is_nil(none)
    assert.same("LoadBalancerNotFound", err.name)
    found = assert(call("elasticloadbalancingv2", "DescribeLoadBalancers"))
    assert.same({}, aws.list(found.LoadBalancers))
  end)

  it("asks Auto Scaling", function()
    assert(call("autoscaling", "CreateLaunchConfiguration",
      { LaunchConfigurationName = "l", ImageId = "ami-12345678", InstanceType = "t2.micro" }))
    assert(call("autoscaling", "CreateAutoScalingGroup",
      { AutoScalingGroupName = "g", LaunchConfigurationName = "l", MinSize = 0, MaxSize = 3, DesiredCapacity = 1,
        AvailabilityZones = { "eu-west-1a" }, Tags = { { Key = "role", Value = "worker", PropagateAtLaunch = true } } }))
    local found = assert(call("autoscaling", "DescribeAutoScalingGroups", { AutoScalingGroupNames = { "g" } }))
    assert.same("g", found.AutoScalingGroups[1].AutoScalingGroupName)
    assert.same(1, #found.AutoScalingGroups[1].Instances)
    local count = 0
    for page, err in aws.pages("autoscaling", "DescribeAutoScalingGroups", { MaxRecords = 1 }, options()) do
      assert(page, err)
      count = count + #page.AutoScalingGroups
    end
    assert.same(1, count)
  end)

  it("asks CloudFormation", function()
    local template = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    assert(call("cloudformation", "CreateStack", { StackName = "s", TemplateBody = template }))
    local found = assert(call("cloudformation", "DescribeStacks", { StackName = "s" }))
    assert.same("CREATE_COMPLETE", found.Stacks[1].StackStatus)
    local none, err = call("cloudformation", "DescribeStacks", { StackName = "t" })
    assert.is_nil(none)
    assert.same("ValidationError", err.name)
    assert.matches("does not exist", tostring(err))
  end)

  it("speaks to Route 53", function()
    local function rest(spec)
      local all = options(spec)
      all.endpoint = lax.url
      return aws.rest(all)
    end
    local made = assert(rest { service = "route53", method = "POST", path = "/2013-04-01/hostedzone",
      headers = { ["Content-Type"] = "application/xml" },
      body = '<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>example.test.</Name>'
        .. "<CallerReference>1</CallerReference></CreateHostedZoneRequest>" })
    assert.same(201, made.status)
    local id = made.value.HostedZone.Id:match "[^/]+$"
    local zones = assert(rest { service = "route53", path = "/2013-04-01/hostedzone" }).value
    assert.same("example.test.", zones.HostedZones[1].Name)
    local records = assert(rest { service = "route53", path = "/2013-04-01/hostedzone/" .. id .. "/rrset",
      query = { maxitems = 10 } }).value
    assert.is_true(#records.ResourceRecordSets >= 1)
    local none, err = rest { service = "route53", path = "/2013-04-01/hostedzone/ZNONE" }
    assert.is_nil(none)
    assert.same("missing", err.kind)
    assert.same("NoSuchHostedZone", err.name)
  end)

  it("sends S3 what moto's own checks take: awkward keys, checksums", function()
    local function s3(spec) return aws.request(options(spec)) end
    assert(s3 { method = "PUT", bucket = "calls", region = "us-east-1" })
    for _, key in ipairs { "plain", "a b+c/ä/%25=@:", "dots/./../x", "//double//slash", "*", "tab\tx" } do
      assert(s3 { method = "PUT", bucket = "calls", key = key, body = key, region = "us-east-1" })
      assert.same(key, assert(s3 { bucket = "calls", key = key, region = "us-east-1" }).body)
    end
    local put = assert(s3 { method = "PUT", bucket = "calls", key = "sum", body = "hello", checksum = "CRC32C", region = "us-east-1" })
    assert.same(1, put.attempts)
    assert.same("CRC32C", assert(s3 { bucket = "calls", key = "sum", region = "us-east-1" }).verified)
    local none, err = s3 { bucket = "calls", key = "nothing", region = "us-east-1" }
    assert.is_nil(none)
    assert.same("NoSuchKey", err.name)
  end)

  it("sends a file's bytes with their checksum behind them, and without where the frames would be stored", function()
    local text = ("0123456789"):rep(20000)
    local path = parts.path(".sent")
    local file = assert(io.open(path, "w+b"))
    file:write(text)
    file:flush()
    local s3rver <close> = parts.s3rver()
    for _, server in ipairs { moto, s3rver } do
      local function s3(spec)
        spec.endpoint, spec.region, spec.keys, spec.no_proxy, spec.bucket = server.url, "us-east-1", server.keys, true, "trailers"
        return aws.request(spec)
      end
      assert(s3 { method = "PUT" })
      local put = assert(s3 { method = "PUT", key = "k", fd = number_of(path), length = #text })
      assert.same(server == moto and 1 or 2, put.attempts)
      local got = assert(s3 { key = "k" })
      assert.is_true(got.body == text)
      assert.same(server == moto and "CRC64NVME" or nil, got.verified)
    end
    file:close()
    os.remove(path)
  end)
end)
