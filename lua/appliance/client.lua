--- The node's control socket, seen from the command line.
--- Failures are sentences with their cure; err.exit is the code the command should end with, err.kind what the core said, if it did.
local client = {}

local UNREACHABLE <const>, FAILURE <const> = 69, 1

local function failure(text, exit, kind)
  return setmetatable({ text = text, exit = exit, kind = kind }, { __tostring = function(e) return e.text end })
end

--- Where the socket should be: STATE_DIR, else the first of the usual directories in which there is one.
function client.path(environ)
  local given = environ.STATE_DIR
  if given and given ~= "" then return given .. "/control.sock" end
  local file = require "appliance.core.file"
  local usual = "/var/lib/spark-appliance/control.sock"
  if file.stat(usual) then return usual end
  -- A node that may not write there has its state at home.
  local home = require("appliance.settings").state_dir(environ, function() return false end) .. "/control.sock"
  return file.stat(home) and home or usual
end

local reasons = {
  missing = "no such file", refused = "its node has ended",
}

local function explain(path, err)
  if reasons[err.kind] then
    local cure = "start it with `spark-appliance run`, or set STATE_DIR"
    return failure(("no spark-appliance runs here (%s: %s): %s"):format(path, reasons[err.kind], cure), UNREACHABLE)
  end
  if err.kind == "denied" then
    return failure(("%s: permission denied: run this as the user of the node, or as root"):format(path), UNREACHABLE, err.kind)
  end
  if err.kind == "timeout" then
    return failure(("%s: the node does not answer in time; its log says more"):format(path), UNREACHABLE)
  end
  return failure(tostring(err), UNREACHABLE)
end

local function socket() return client.path(require("appliance.core.host").environ()) end

--- Part of a path: any name, escaped.
function client.escape(word)
  return (word:gsub("[^%w%-_.~]", function(char) return ("%%%02X"):format(char:byte()) end))
end

--- client.request { path = "/status", method =, body =, timeout = } -> { status =, body = } | nil, err
function client.request(call)
  call.unix = call.unix or socket()
  call.ceiling = call.ceiling or 16 * 1024 * 1024
  local answer, err = require("appliance.core.http").request(call)
  if not answer then return nil, explain(call.unix, err) end
  return answer
end

--- As request, but every status that is not 2xx is a failure, and the body is what is returned.
function client.get(call)
  local answer, err = client.request(call)
  if not answer then return nil, err end
  if answer.status // 100 ~= 2 then return nil, failure((answer.body:gsub("%s+$", "")), FAILURE) end
  return answer.body
end

function client.json(call)
  local body, err = client.get(call)
  if not body then return nil, err end
  local value, problem = require("appliance.json").decode(body)
  if value == nil then return nil, failure("the node's answer makes no sense: " .. problem, FAILURE) end
  return value
end

local function rest_of(stream)
  local parts = {}
  repeat
    local text = stream:read()
    parts[#parts + 1] = text
  until not text
  return table.concat(parts)
end

--- An answer that goes on -> stream (closable) with :read() | nil, err
function client.open(call)
  call.unix = call.unix or socket()
  local stream, err = require("appliance.core.http").open(call)
  if not stream then return nil, explain(call.unix, err) end
  if stream.status // 100 == 2 then return stream end
  local text = rest_of(stream):gsub("%s+$", "")
  stream:close()
  return nil, failure(text, FAILURE)
end

--- The lines of a stream as an iterator; with `json` each is decoded. Ends with the stream; a failure is raised as err by `fail`.
function client.lines(stream, fail)
  local pending = ""
  return function()
    while true do
      local line, rest = pending:match "^([^\n]*)\n(.*)$"
      if line then
        pending = rest
        return line
      end
      local text, err = stream:read()
      if not text then
        if err and fail then fail(failure(("the node ended while it was being watched (%s)"):format(tostring(err)), UNREACHABLE)) end
        return nil
      end
      pending = pending .. text
    end
  end
end

return client
