--- tests/support/file_server.py beside a test: `local server <close> = file_server.start()`.
local http = require "appliance.http"

local file_server = {}
file_server.__index = file_server

function file_server.start()
  local pipe = assert(io.popen("exec python3 -IS tests/support/file_server.py", "r"))
  local port = assert(pipe:read "l", "file_server.py did not start")
  return setmetatable({ pipe = pipe, port = port, base = "http://127.0.0.1:" .. port }, file_server)
end

local function request(options)
  options.no_proxy = true
  return assert(http.request(options))
end

--- server:put("/x", "text", { ["X-Fail"] = "2" }): see file_server.py for the headers.
function file_server:put(path, text, headers)
  assert(request { method = "PUT", url = self.base .. path, body = text, headers = headers }.status == 204)
end

--- What was asked for since the last call: { "GET /x 200", ... }
function file_server:asked()
  local lines = {}
  for line in request { url = self.base .. "/log" }.body:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local fresh = table.move(lines, (self.read or 0) + 1, #lines, 1, {})
  self.read = #lines
  return fresh
end

function file_server:__close()
  http.request { url = self.base .. "/quit", no_proxy = true }
  self.pipe:close()
end

return file_server
