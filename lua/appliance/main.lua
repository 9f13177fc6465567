--- The first Lua the program runs: `run` boots the node, every other word is a command.
-- As PID 1 of a container, a word that is no command of ours is the program `docker run IMAGE PROGRAM ...` asks for: we become it.

local function main(word, ...)
  if word == nil or word == "run" and select("#", ...) == 0 then       -- the shortest way: PID 1 loads no command line
    return require("appliance.boot").run()
  end
  collectgarbage("restart")
  local cli = require "appliance.cli"
  local host = require "appliance.core.host"
  if host.is_pid1() and not cli.is_command(word) then
    local _, err = host.exec { word, ... }
    host.write(2, ("spark-appliance: %s\n"):format(err))
    return err.kind == "missing" and 127 or 126
  end
  return cli.run(word, ...)
end

return main
