--- What people write for "where ZooKeeper is". Pure.
---   address.parse "10.0.0.1,zk-2:2182/spark" -> { servers = { "10.0.0.1:2181", "zk-2:2182" }, chroot = "/spark" }
---   address.parse "exhibitor-spark"          -> { stack = "exhibitor-spark" }
--- A bare word is the name of a stack, as it was in the older appliance: a host alone is written with its port.
local types = require "appliance.settings.types"

local address = {}

local PORT <const> = 2181

--- The part of the tree that all paths are below: "" or "/a/b".
local function chroot_of(text)
  local path = text:gsub("/+$", "")
  if path == "" then return "" end
  for part in path:sub(2):gmatch "([^/]*)/?" do
    if part == "." or part == ".." or part:find "%c" then return nil end
  end
  return not path:find("//", 1, true) and path or nil
end

--- { "a:2181", ... } without repetitions, sorted: all nodes must come to the same text.
function address.sorted(servers)
  local list, seen = {}, {}
  for _, server in ipairs(servers) do
    if not seen[server] then
      seen[server] = true
      list[#list + 1] = server
    end
  end
  table.sort(list)
  return list
end

--- -> { servers =, chroot = } | { stack = } | nil, what is wrong (a verb phrase), an example
function address.parse(text)
  local example = "zk-1:2181,zk-2:2181,zk-3:2181"
  if text:find "^%a[%w-]*$" and text ~= "localhost" then return { stack = text } end
  local list, path = text:match "^([^/]*)(.*)$"
  local chroot = chroot_of(path)
  if not chroot then return nil, ('has "%s" behind the servers, which is no path in ZooKeeper'):format(path), example .. "/spark" end
  local hosts, problem = types.hosts(list, { port = PORT })
  if not hosts then return nil, problem, example end
  local servers = {}
  for i, host in ipairs(hosts) do servers[i] = types.hosts_text { host } end
  return { servers = address.sorted(servers), chroot = chroot }
end

--- The same in one text, as ZooKeeper's clients read it.
function address.text(parsed)
  return parsed.stack or table.concat(parsed.servers, ",") .. parsed.chroot
end

--- "10.0.0.1:2181" -> "10.0.0.1", 2181; brackets of IPv6 are taken away.
function address.split(server)
  local host, port = server:match "^%[(.+)%]:(%d+)$"
  if not host then host, port = server:match "^([^:]+):(%d+)$" end
  return host, math.tointeger(tonumber(port))
end

return address
