--- `logs [-f] [--bytes N] SERVICE`
local client = require "appliance.client"

local logs = {
  usage = "logs [-f] [--bytes N] SERVICE",
  options = { follow = { "flag", short = "f" }, bytes = "number" },
  words = { 1, 1 },
  help = [[
Prints the last lines of a service, as the node keeps them in memory; its whole output is the node's own.
  --follow, -f   and then every new line, until Ctrl-C
  --bytes N      how much of the past (65536; 0 for none, at most 1048576)]],
}

local function copy(path, term)
  local stream <close>, err = client.open { path = path }
  if not stream then
    term:complain("%s", err)
    return err.exit
  end
  while true do
    local text, failed = stream:read()
    if not text then
      if failed then term:complain("the node ended while its log was being read (%s)", failed) end
      return failed and 69 or 0
    end
    if not term:write(text) then return 0 end
  end
end

function logs.run(options, words, term)
  local path = ("/logs/%s?bytes=%d%s"):format(client.escape(words[1]), options.bytes or 65536, options.follow and "&follow=1" or "")
  return term:while_read(function() return copy(path, term) end)
end

return logs
