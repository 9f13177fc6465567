--- GET /plan: what runs, without its secrets. POST /plan/diff: what another plan would change.
--- The comparison is made here because only here both plans have their secrets; what leaves has none.
local json = require "appliance.json"
local show = require "appliance.plan.show"

local function check(other)
  if type(other) ~= "table" or type(other.files) ~= "table" or type(other.services) ~= "table" then
    return nil, "the body must be a plan: { \"files\": {...}, \"services\": [...] }"
  end
  return other
end

--- An empty list is a list too.
local function shown(plan)
  local redacted = show.redacted(plan)
  for _, field in ipairs { "services", "notes", "urls" } do
    local list = redacted[field]
    redacted[field] = list and json.array(table.move(list, 1, #list, 1, {}))
  end
  return redacted
end

return function(node, request, part, more)
  if more or part and part ~= "diff" then return 404, "plan has one part: POST /plan/diff\n" end
  if request.method == "POST" and not part then
    return 405, "POST /plan: the method must be GET; compare with POST /plan/diff\n", nil, "GET, HEAD"
  end
  if request.method == "GET" and part then return 405, "GET /plan/diff: the method must be POST\n", nil, "POST" end
  if not node.plan then return 503, ("the node is starting: %s\n"):format(node.state or "it has no plan yet") end
  if not part then return 200, json.encode(shown(node.plan)) .. "\n", "application/json" end
  local other, err = json.decode(request.body)
  if other then other, err = check(other) end
  if not other then return 400, err .. "\n" end
  local ok, difference = pcall(show.diff, node.plan, other)    -- what is inside may be anything
  if not ok then return 400, "the body is no plan as `spark-appliance plan --json` or GET /plan give it\n" end
  json.array(difference.files)
  json.array(difference.services)
  return 200, json.encode(difference) .. "\n", "application/json"
end
