--- tests/support/fake_exhibitor.py beside a test: `local exhibitor <close> = fake_exhibitor.start()`.
--- exhibitor:asked() -> who was asked since the last call: { "1 200", ... }
local json = require "appliance.json"
local told_server = require "told_server"

local fake_exhibitor = told_server.class()

--- Without an address: three of them on 127.0.0.1 to .3.
function fake_exhibitor.start(address, at)
  local pipe, line = told_server.start("fake_exhibitor.py", address and address .. " " .. at)
  local port = assert(line:match "^ready (%d+)", "fake_exhibitor.py did not start")
  return setmetatable({ pipe = pipe, port = tonumber(port), base = ("http://%s:%s"):format(address or "127.0.0.1", port) }, fake_exhibitor)
end

--- exhibitor:says(1, { servers = { "10.0.0.1" }, port = 2181 }): how 127.0.0.1 answers from now on; see fake_exhibitor.py.
function fake_exhibitor:says(host, script)
  assert(self.request { method = "PUT", url = self.base .. "/" .. host, body = json.encode(script) }.status == 204)
end

return fake_exhibitor
