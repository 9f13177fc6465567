--- `lua FILE [ARGUMENT...]`: a script with the core's modules. It runs as a task, so that whatever waits in it leaves the loop turning.
return {
  usage = "lua FILE [ARGUMENT...]",
  raw = true,
  words = { 1, math.huge },
  help = [[
Runs a Lua file as a task; `require "appliance.core.task"` and the other modules work, and `...` and `arg` are its arguments.
Its result is the exit code: a number, or nothing for 0; 1 when it failed.]],
  run = function(_, words, term)
    local path = words[1]
    local text, err = require("appliance.core.file").read(path)
    if not text then
      term:complain("%s", tostring(err))
      return 1
    end
    local chunk, problem = load((text:gsub("^#[^\n]*", "")), "@" .. path, "t")
    if not chunk then
      term:complain("%s", problem)
      return 1
    end
    _G.arg = table.move(words, 1, #words, 0, {})
    local ok, result = xpcall(chunk, debug.traceback, table.unpack(words, 2))
    if not ok then
      term:complain("%s", tostring(result))
      return 1
    end
    return math.tointeger(result) or (result == false and 1) or 0
  end,
}
