--- The list of servers: as people write it, and as libzookeeper takes it, which is addresses only: it would look up names itself, and wait.
local list = {}

local task = require "appliance.task"
local types = require "appliance.settings.types"

local AGAIN = 10                                             -- seconds between two look-ups while there is no connection

--- "a:2181,b,[::1]:2181/chroot" -> { hosts = { { host =, port = } ... }, chroot = "/chroot" or "", has_names =, text = "..." (unless there
--- are names) } | nil, half a sentence. No hosts at all is fine: they come later.
function list.parse(text)
  local hosts_text, chroot = text:match "^([^/]*)(/?.*)$"
  chroot = chroot:gsub("/+$", "")
  if chroot:find "//" then return nil, "the chroot has an empty name in it" end
  local parsed = { hosts = {}, chroot = chroot, has_names = false }
  for entry in hosts_text:gmatch "[^,]+" do
    entry = entry:match "^%s*(.-)%s*$"
    local host, port = entry:match "^%[(.-)%]:?(%d*)$"
    if not host then host, port = entry:match "^([^:]+):?(%d*)$" end
    port = port and (port == "" and 2181 or math.tointeger(port))
    if not host or not host:find "^[%w%.:_%%-]+$" or not port or port < 1 or port > 65535 then
      return nil, ("%s is not host:port"):format(entry)
    end
    if not types.is_numeric(host) then parsed.has_names = true end
    parsed.hosts[#parsed.hosts + 1] = { host = host, port = port }
  end
  if not parsed.has_names then parsed.text = list.text(parsed.hosts) end
  return parsed
end

--- As the library parses it: the last colon is before the port, IPv6 addresses have no brackets.
function list.text(hosts)
  local texts = {}
  for index, entry in ipairs(hosts) do texts[index] = entry.host .. ":" .. entry.port end
  return table.concat(texts, ",")
end

--- All addresses of the servers, and the first fault. A name that can't be looked up now stands for what it last stood for (`known`, kept
--- by the caller): while name servers are away a list would else shrink to the servers that happen to be found, or that have no name.
function list.look_up(hosts, resolve, known)
  local found, seen, fault = {}, {}, nil
  for _, entry in ipairs(hosts) do
    local addresses, err = { entry.host }, nil
    if not types.is_numeric(entry.host) then
      addresses, err = resolve(entry.host)
      known[entry.host] = addresses or known[entry.host]
      addresses = known[entry.host]
    end
    fault = fault or err
    for _, address in ipairs(addresses or {}) do
      local key = address .. " " .. entry.port
      if not seen[key] then found[#found + 1] = { host = address, port = entry.port } end
      seen[key] = true
    end
  end
  return found, fault
end

--- Gives the list to a native client; with names in it a task looks them up now, and again while there is no connection, for what a name
--- means changes. A list given later ends the task of the one before.
local following = setmetatable({}, { __mode = "k" })

function list.follow(native, servers)
  following[native] = servers
  if not servers.has_names then return native:servers(servers.text) end
  local log, resolve = require "appliance.core.log", require "appliance.core.host".resolve
  task.start("zk names", function()
    local known, told = {}, nil
    local n, view = native:change(0)
    while view.state ~= "closed" and following[native] == servers do
      if view.state ~= "connected" then
        local found, fault = list.look_up(servers.hosts, resolve, known)
        if following[native] ~= servers then return end
        if #found > 0 then native:servers(list.text(found)) end
        if fault and tostring(fault) ~= told then log.warn(("zk: %s"):format(fault)) end
        told = fault and tostring(fault)
        task.within(AGAIN, function() n, view = native:change(n + 1) end)
      else
        n, view = native:change(n + 1)
      end
    end
  end)
end

return list
