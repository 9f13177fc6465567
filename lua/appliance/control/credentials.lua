--- GET /credentials: who gets which role's credentials, without a secret. POST /credentials: what a job that is started here should have in
--- its environment; body { "label": "etl", "user": "alice", "environ": { its AWS_* variables } }, label and user optional
--- -> { "environment": { NAME: text, or false for what is to be taken away }, "executors": { NAME: text }, where they can have its role }
local json = require "appliance.json"

local NONE <const> = "this node serves no credentials: it has no source of them, or CREDENTIALS_BROKER=false\n"

local function is_text(value) return value == nil or type(value) == "string" and value ~= "" end

local function read(body)
  local job, problem = json.decode(body ~= "" and body or "{}")
  if type(job) ~= "table" then return nil, "the body must be a JSON object" .. (problem and ": " .. problem or "") end
  if not (is_text(job.label) and is_text(job.user)) then return nil, "label and user must be texts" end
  if job.environ ~= nil and type(job.environ) ~= "table" then return nil, "environ must map names to texts" end
  for name, value in pairs(job.environ or {}) do
    if type(name) ~= "string" or type(value) ~= "string" then return nil, "environ must map names to texts" end
  end
  return { label = job.label, user = job.user, environ = job.environ }
end

return function(node, request, more)
  if more then return 404, "credentials has no parts\n" end
  if not node.broker then return 404, NONE end
  if request.method == "GET" then return 200, json.encode(node.broker:status()) .. "\n", "application/json" end
  local job, problem = read(request.body)
  if not job then return 400, problem .. "\n" end
  local changes, more_or_err = node.broker:changes(job)
  if not changes then return more_or_err.kind == "invalid" and 400 or 503, tostring(more_or_err) .. "\n" end
  return 200, json.encode { environment = changes, executors = more_or_err } .. "\n", "application/json"
end
