--- GET /logs/NAME: the last lines of a service, and with follow=1 the next ones as they come.
local DEFAULT, MOST = 64 * 1024, 1024 * 1024

local function names_of(supervise)
  local names = {}
  for i, view in ipairs(supervise.list()) do names[i] = view.name end
  return names
end

--- However quiet the service is: the task that waits here is cancelled when the client leaves, and the follower closes with it.
local function follow(supervise, request, name, bytes)
  local lines <close> = assert(supervise.follow(name))         -- first, so that no line falls between the two
  local stream = request:stream(200, "text/plain; charset=utf-8")
  if not stream then return end
  local tail = bytes > 0 and supervise.tail(name, bytes)
  if tail and tail ~= "" then stream:send(tail) end
  for text in function() return lines:next() end do
    if not stream:send(text) then return end
  end
end

return function(node, request, name, more)
  local supervise = node.supervise
  if not name or more then
    return 404, ("which service? GET /logs/NAME; known: %s\n"):format(table.concat(names_of(supervise), ", "))
  end
  if not supervise.view(name) then return require("appliance.control").unknown("service", name, names_of(supervise)) end
  local bytes = math.tointeger(tonumber(request.query.bytes or DEFAULT))
  if not bytes or bytes < 0 or bytes > MOST then
    return 400, ("bytes=%s: it must be a number from 0 to %d\n"):format(request.query.bytes, MOST)
  end
  if request.query.follow == "1" then return follow(supervise, request, name, bytes) end
  return 200, bytes > 0 and supervise.tail(name, bytes) or "", "text/plain; charset=utf-8"
end
