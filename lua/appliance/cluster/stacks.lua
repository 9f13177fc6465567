--- The instances of a stack: by its load balancer, which the older appliance's stacks have under their own name, else by the tag that
--- CloudFormation puts on what it starts. Needs elasticloadbalancing:DescribeLoadBalancers and ec2:DescribeInstances.
---   stacks.addresses(name) -> { "10.0.0.1", ... sorted } | nil, err      waits
local aws = require "appliance.aws"
local failure = require "appliance.failure"

local stacks = {}

--- Pure: DescribeLoadBalancers' answer -> instance ids
function stacks.members(answer)
  local ids = {}
  for _, balancer in ipairs(aws.list(answer.LoadBalancerDescriptions)) do
    for _, instance in ipairs(aws.list(balancer.Instances)) do
      if type(instance.InstanceId) == "string" then ids[#ids + 1] = instance.InstanceId end
    end
  end
  table.sort(ids)
  return ids
end

--- Pure: DescribeInstances' answer -> private addresses of those that run or will, sorted. (One that stops is nobody's server.)
function stacks.private(answer)
  local addresses, seen = {}, {}
  for _, reservation in ipairs(aws.list(answer.reservationSet)) do
    for _, instance in ipairs(aws.list(reservation.instancesSet)) do
      local state = type(instance.instanceState) == "table" and instance.instanceState.name
      local address = instance.privateIpAddress
      if (state == "running" or state == "pending") and type(address) == "string" and address ~= "" and not seen[address] then
        seen[address] = true
        addresses[#addresses + 1] = address
      end
    end
  end
  table.sort(addresses)
  return addresses
end

--- All pages of DescribeInstances -> addresses | nil, err
local function instances(params)
  local all, seen = {}, {}
  for page, err in aws.pages("ec2", "DescribeInstances", params) do
    if not page then return nil, err end
    for _, address in ipairs(stacks.private(page)) do
      if not seen[address] then
        seen[address] = true
        all[#all + 1] = address
      end
    end
  end
  table.sort(all)
  return all
end

local function by_balancer(name)
  local answer, err = aws.call("elasticloadbalancing", "DescribeLoadBalancers", { LoadBalancerNames = { name } })
  if not answer then
    if err.name == "LoadBalancerNotFound" then return {} end
    return nil, err
  end
  local ids = stacks.members(answer)
  if #ids == 0 then return {} end
  return instances { InstanceId = ids }
end

function stacks.addresses(name)
  local found, err = by_balancer(name)
  if found and #found == 0 then
    found, err = instances { Filter = { { Name = "tag:aws:cloudformation:stack-name", Value = { name } } } }
  end
  if not found then
    return nil, failure.new(err.kind, "stack %s: %s%s", name, tostring(err), err.kind == "denied"
      and " (its role needs elasticloadbalancing:DescribeLoadBalancers and ec2:DescribeInstances)" or "")
  end
  if #found == 0 then
    return nil, failure.new("missing", "stack %s: there is no load balancer of that name with running instances, and no running "
      .. "instance of such a stack in this region; a host alone is written with its port, %s:2181", name, name)
  end
  return found
end

return stacks
