--- tests/support/fake_exhibitor.py beside a test: `local exhibitor <close> = fake_exhibitor.start()`.
local http = require "appliance.http"
local json = require "appliance.json"

local fake_exhibitor = {}
fake_exhibitor.__index = fake_exhibitor

--- Without an address: three of them on 127.0.0.1 to .3.
function fake_exhibitor.start(address, at)
  local pipe = assert(io.popen(("exec python3 -IS tests/support/fake_exhibitor.py %s"):format(address and address .. " " .. at or ""), "r"))
  local port = assert((pipe:read "l" or ""):match "^ready (%d+)", "fake_exhibitor.py did not start")
  return setmetatable({ pipe = pipe, port = tonumber(port), base = ("http://%s:%s"):format(address or "127.0.0.1", port) }, fake_exhibitor)
end

local function request(options)
  options.no_proxy = true
  return assert(http.request(options))
end

--- exhibitor:says(1, { servers = { "10.0.0.1" }, port = 2181 }): how 127.0.0.1 answers from now on; see fake_exhibitor.py.
function fake_exhibitor:says(host, script)
  assert(request { method = "PUT", url = self.base .. "/" .. host, body = json.encode(script) }.status == 204)
end

--- Who was asked since the last call: { "1 200", ... }
function fake_exhibitor:asked()
  local lines = {}
  for line in request { url = self.base .. "/log" }.body:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local fresh = table.move(lines, (self.read or 0) + 1, #lines, 1, {})
  self.read = #lines
  return fresh
end

function fake_exhibitor:__close()
  http.request { url = self.base .. "/quit", no_proxy = true }
  self.pipe:close()
end

return fake_exhibitor
