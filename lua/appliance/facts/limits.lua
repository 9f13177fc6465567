--- What the kernel gives this node: memory and processors, of the container where there is one, else of the machine.
local facts = require "appliance.facts"

local limits = {}

--- A fact source: { memory = bytes or nil (no limit), machine = bytes, cpus = number }
function limits.source()
  return facts.source("memory and CPU limits", function(emit)
    local cgroup = require "appliance.core.cgroup"
    local host = require "appliance.core.host"
    local found, err = cgroup.limits()
    if not found then
      require("appliance.core.log").warn(("%s: taking the whole machine's memory and processors"):format(err))
      found = { cpus = host.cpu_count() }
    end
    local machine = host.memory()
    -- cgroup v1 tells "no limit" by a number near 2^63; whatever is not below the machine's memory limits nothing.
    local memory = found.memory and found.memory < machine and found.memory or nil
    emit { memory = memory, machine = machine, cpus = found.cpus or host.cpu_count() }
  end)
end

return limits
