--- A failure of the world as a value: what `nil, err` carries. The same fields and sentence as the errors of the native modules.
local failure = {}

local meta = {
  __name = "failure",
  __tostring = function(err) return err.text end,
}

--- failure.new("invalid", "%s:%d: no such key", file, line) -> { kind =, code = 0, text = }
function failure.new(kind, text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  return setmetatable({ kind = kind, code = 0, text = text }, meta)
end

return failure
