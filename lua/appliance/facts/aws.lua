--- Where in AWS this node is, if it is: `aws.instance()` of a profile.
local facts = require "appliance.facts"

local aws = {}

local function is_ec2(environ)
  if (environ.AWS_EC2_METADATA_DISABLED or ""):lower() == "true" then return false end
  return (environ.AWS_EC2_METADATA_SERVICE_ENDPOINT or "") ~= "" or require("appliance.core.host").is_ec2()
end

--- A fact source: { region, zone, instance, type, account, ip, image }, of which off EC2 only the region may be there, asking nobody.
-- An instance that can't be asked is told in the log, and is no reason to wait: the fact is then what is known.
function aws.instance()
  return facts.source("the EC2 instance", function(emit)
    local environ = require("appliance.core.host").environ()
    local known = { region = require("appliance.credentials").region() }
    if is_ec2(environ) then
      local identity, err = require("appliance.imds").identity()
      if not identity then
        require("appliance.core.log").warn(("what this instance is can't be learned: %s"):format(err))
        identity = {}
      end
      known = {
        region = known.region or identity.region, zone = identity.availabilityZone, instance = identity.instanceId,
        type = identity.instanceType, account = identity.accountId, ip = identity.privateIp, image = identity.imageId,
      }
    end
    emit(known)
  end)
end

return aws
