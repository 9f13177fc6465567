--- tests/support/file_server.py beside a test: `local server <close> = file_server.start()`.
--- server:asked() -> what was asked for since the last call: { "GET /x 200", ... }
local told_server = require "told_server"

local file_server = told_server.class()

function file_server.start()
  local pipe, port = told_server.start "file_server.py"
  return setmetatable({ pipe = pipe, port = port, base = "http://127.0.0.1:" .. port }, file_server)
end

--- server:put("/x", "text", { ["X-Fail"] = "2" }): see file_server.py for the headers.
function file_server:put(path, text, headers)
  assert(self.request { method = "PUT", url = self.base .. path, body = text, headers = headers }.status == 204)
end

return file_server
