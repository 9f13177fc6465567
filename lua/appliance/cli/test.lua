--- `test [DIR...]`: busted, so set up that a site's specs find our modules, `require "appliance.simulate"` among them.
local function find_program(name, search)
  local file = require "appliance.core.file"
  for directory in (search or ""):gmatch "[^:]+" do
    local stat = file.stat(directory .. "/" .. name)
    if stat and stat.kind == "file" and stat.executable then return directory .. "/" .. name end
  end
end

--- Debian's busted takes whatever `lua` is; our modules are for 5.4.
local function command_line(busted, lua, words)
  local command = { busted, "--lua=" .. lua }
  return table.move(words, 1, #words, #command + 1, command)
end

return {
  usage = "test [DIR | SPEC | BUSTED-OPTION]...",
  raw = true,
  words = { 0, math.huge },
  help = [[
Runs busted on a directory of specs (*_spec.lua; default: this one), in which `require "appliance.simulate"` works: a site's profiles are
tested with settings and facts given by hand and a fake clock, without Spark and without a network. Options go to busted.]],
  run = function(_, words, term)
    local host = require "appliance.core.host"
    local environ = host.environ()
    local busted, lua = find_program("busted", environ.PATH), find_program("lua5.4", environ.PATH)
    if not busted or not lua then
      term:complain("%s is not in PATH: `apt-get install lua-busted lua5.4` has it, `luarocks --lua-version 5.4 install busted` too",
        busted and "lua5.4" or "busted")
      return 1
    end
    -- The versioned names beat LUA_PATH; ";;" keeps the defaults, where busted itself is.
    host.setenv("LUA_PATH_5_4", package.path .. ";" .. (environ.LUA_PATH_5_4 or environ.LUA_PATH or "") .. ";;")
    host.setenv("LUA_CPATH_5_4", package.cpath .. ";" .. (environ.LUA_CPATH_5_4 or environ.LUA_CPATH or "") .. ";;")
    if #words == 0 then words = { "." } end
    local _, err = host.exec(command_line(busted, lua, words))
    term:complain("%s", tostring(err))
    return 1
  end,
}
