--- The word `spark` of a profile: its facts, the node they describe, and the roles that run on it.
---   local here = spark.node(env, facts)
---   services = { spark.prepare { here }, spark.master { here }, env.START_THRIFTSERVER and spark.thriftserver { here } }
local spark = {}

--- Facts.
function spark.layout() return require("appliance.facts.spark").source() end
function spark.s3() return require("appliance.facts.s3a").source() end
function spark.casualties() return require("appliance.spark.casualties").source() end

--- What this node is: memory shared out, directories, addresses, configuration files. Pure. `cluster`: the fact of a profile with several
--- masters.
function spark.node(env, facts, cluster) return require("appliance.spark.node").new(env, facts, cluster) end

--- Roles: each takes { here, ... } and gives the spec of a service.
for _, role in ipairs { "prepare", "master", "worker", "thriftserver", "archive" } do
  spark[role] = function(options)
    if type(options) ~= "table" or type(options[1]) ~= "table" or not options[1].shares then
      error(("spark.%s takes the node first: spark.%s { here } after `local here = spark.node(env, facts)`"):format(role, role), 2)
    end
    return require("appliance.spark." .. (role == "archive" and "archiver" or role))(options[1], options)
  end
end

return spark
