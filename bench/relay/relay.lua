-- bench/relay/relay.lua PORT TARGET - our relay and nothing else, until it is killed.
local relay = require "appliance.native.relay"
local task = require "appliance.task"

local r <close> = assert(relay.open { bind = "127.0.0.1", port = math.tointeger(arg[1]), name = "bench", most = 4096 })
assert(r:target { arg[2] })
while true do task.sleep(3600) end
