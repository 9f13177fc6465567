--- GET /health[/ROLE]?follow=1: "503 worker is starting" now and whenever that changes, for who waits until a node is well.
--- The status of the answer itself is sent before anybody knows how it ends, so each line has its own.
return function(node, role, request)
  local health = require("appliance.control").health
  local follower <close> = require "appliance.control.changes".follow(node.supervise)
  local stream = request:stream(200, "text/plain")
  local last
  while stream do
    local line = ("%d %s"):format(health(node, role))
    if line ~= last and not stream:send(line) then return end
    last = line
    follower:wait()
  end
end
