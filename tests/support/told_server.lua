--- A server of tests/support in Python that is told what to answer (PUT), keeps a log of what it was asked (/log) and ends when it is asked
--- to (/quit): what file_server.lua and fake_exhibitor.lua have in common.
local http = require "appliance.http"

local told_server = {}

--- A class of such servers: methods asked and __close, and request(options) for its own.
function told_server.class()
  local class = {}
  class.__index = class

  function class.request(options)
    options.no_proxy = true
    return assert(http.request(options))
  end

  --- The lines of its log since the last call.
  function class:asked()
    local lines = {}
    for line in class.request { url = self.base .. "/log" }.body:gmatch "[^\n]+" do lines[#lines + 1] = line end
    local fresh = table.move(lines, (self.read or 0) + 1, #lines, 1, {})
    self.read = #lines
    return fresh
  end

  function class:__close()
    http.request { url = self.base .. "/quit", no_proxy = true }
    self.pipe:close()
  end

  return class
end

--- Starts a script of tests/support -> its pipe, the first line it says
function told_server.start(script, arguments)
  local pipe = assert(io.popen(("exec python3 -IS tests/support/%s %s"):format(script, arguments or ""), "r"))
  return pipe, assert(pipe:read "l", script .. " did not start")
end

return told_server
