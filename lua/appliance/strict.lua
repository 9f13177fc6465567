--- Undeclared names are mistakes: reading one gives its nearest neighbour in words instead of nil, setting one asks for `local`.
local strict = {}

--- Guards a table that serves as an _ENV. `lazy(name)` -> a value to keep, or nil; `names()` -> an array of all names there are;
--- `withheld[name]` -> why a name that people know from elsewhere is not here.
function strict.guard(env, lazy, names, withheld)
  return setmetatable(env, {
    __index = function(self, name)
      local value = lazy(name)
      if value ~= nil then
        rawset(self, name, value)
        return value
      end
      if withheld[name] then error(("%s is not there: %s"):format(name, withheld[name]), 2) end
      local best = type(name) == "string" and require "appliance.near".best(name, names())
      error(("%s: no such word%s"):format(tostring(name), best and "; did you mean " .. best .. "?" or ""), 2)
    end,
    __newindex = function(_, name)
      error(("%s is a global here, which one part would set and another trip over: write `local %s`"):format(tostring(name),
        tostring(name)), 2)
    end,
    __metatable = "strict",
  })
end

--- For the globals of a whole state: from here on an undeclared one raises where it is read or set. What is there now stays.
function strict.globals(globals)
  return strict.guard(globals, function() return nil end, function()
    local names = {}
    for name in pairs(globals) do names[#names + 1] = name end
    return names
  end, {})
end

return strict
