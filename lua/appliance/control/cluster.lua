--- GET /cluster: { "fact": what this node's plan is computed from, "cluster": what status shows, "relays": counts }
return function(_, _, more)
  if more then return 404, "cluster has no parts\n" end
  local here = require("appliance.control").place()
  if not here then return 404, "this node belongs to no cluster: the profile ha joins one\n" end
  return 200, require("appliance.json").encode { fact = here.fact, cluster = here:shown(), relays = here:relays() } .. "\n",
    "application/json"
end
