--- EXT_JARS: which jars stand behind Spark's own on every class path, and which of them must be fetched first. Pure.
local address = require "appliance.fetch.address"

local jars = {}

--- "jars/one.jar", and "jars/2/one.jar" for a second one of that name.
local function free_name(name, taken)
  local at, free = 1, "jars/" .. name
  while taken[free] do
    at = at + 1
    free = ("jars/%d/%s"):format(at, name)
  end
  return free
end

--- jars.of(env) -> paths in their order, { [name of a plan's fetch] = { from =, watch =, kind = } }
function jars.of(env)
  local paths, fetched = {}, {}
  for i, from in ipairs(env.EXT_JARS or {}) do
    if from:sub(1, 1) == "/" then
      paths[i] = from
    else
      local name = free_name(address.name(from), fetched)
      fetched[name] = { from = from, watch = env.EXT_WATCH or nil, kind = "jar" }
      paths[i] = ("%s/fetched/%s"):format(env.STATE_DIR, name)
    end
  end
  return paths, fetched
end

return jars
