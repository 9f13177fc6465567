--- Facts about the node itself: `node.identity()` and `node.limits()` of a profile.
local facts = require "appliance.facts"

local node = {}

--- Destination 0 in /proc/net/route: the interface that leads out. On a host with container bridges the first address is often a
--- bridge's.
function node.default_interface(routes)
  for line in routes:gmatch "[^\n]+" do
    local interface, destination = line:match "^(%S+)%s+(%x+)"
    if destination == "00000000" then return interface end
  end
end

--- The address other nodes reach this one by: that of the default route, else the first one that is not loopback, else loopback.
function node.own_address(addresses, interface)
  local best, rank = "127.0.0.1", 0
  for _, entry in ipairs(addresses) do
    local its_rank = entry.loopback and 0 or entry.family == "ipv6" and 1 or entry.interface == interface and 3 or 2
    if entry.address:find "^169%.254%." or entry.address:lower():find "^fe80:" then its_rank = 0 end   -- link-local: nobody can route to it
    if its_rank > rank then best, rank = entry.address, its_rank end
  end
  return best
end

local function is_any(address) return address == "0.0.0.0" or address == "::" end

--- Pure. settings: { bind = BIND_ADDRESS, advertise = ADVERTISE_ADDRESS, host = MASTER_HOST, public = SPARK_PUBLIC_DNS }
--- -> { ip (Spark's --host: bound, and told to other daemons), bind (for web pages; nil: all addresses), probe (where our own probes
---   find a page), public (for links people follow), name }
-- Spark binds its RPC ports to the very name it tells others, so an address that is only a translation (`docker run -p`) can stand in
-- links and nowhere else.
function node.addresses(settings, own, name)
  local bind = settings.bind and not is_any(settings.bind) and settings.bind or nil
  local ip = settings.host and not is_any(settings.host) and settings.host or bind or own
  return { ip = ip, bind = bind, probe = bind or "127.0.0.1", public = settings.public or settings.advertise or ip, name = name }
end

local LIBRARIES <const> = {
  "/usr/lib/x86_64-linux-gnu/libnss_wrapper.so", "/usr/lib/aarch64-linux-gnu/libnss_wrapper.so", "/usr/lib64/libnss_wrapper.so",
}

--- A JVM without a passwd entry for its user dies of a LoginException; libnss_wrapper lends one. nil where none is needed.
local function borrowed_user(host, file)
  if host.has_user() then return nil end
  for _, path in ipairs(LIBRARIES) do
    if file.stat(path) then return { library = path, uid = host.uid(), gid = host.gid() } end
  end
  require("appliance.core.log").warn(("user id %d has no passwd entry, and there is no libnss_wrapper to lend one: Spark's JVMs will end "
    .. "with a LoginException; "
    .. "install libnss-wrapper, or run as a user that exists"):format(host.uid()))
end

--- The environment services inherit: all of ours except the settings, which have been read and would be read a second time by Spark's own
--- rules, and what a supervisor, a service link or a shell left there.
function node.inherited(environ, schemas)
  local ours = { APPLIANCE_SERVICE = true, APPLIANCE_PROFILES = true, NOTIFY_SOCKET = true, LISTEN_FDS = true, LISTEN_PID = true,
                 WATCHDOG_USEC = true, WATCHDOG_PID = true,
                 PWD = true, OLDPWD = true, SHLVL = true, _ = true }
  for _, schema in ipairs(schemas) do
    for name, def in pairs(schema) do
      ours[name] = true
      for _, alias in ipairs(def.aliases or {}) do ours[type(alias) == "table" and alias[1] or alias] = true end
    end
  end
  local kept = {}
  for name, value in pairs(environ) do
    local is_ours = ours[name] or name:find "_FILE$" and ours[name:sub(1, -6)] or name:find "^SPARK_" or name:find "^START_"
    if not is_ours and not value:find "^tcp://" and not value:find "^udp://" then kept[name] = value end
  end
  return kept
end

--- A fact source: who this node is.
function node.identity()
  return facts.source("own address", function(emit, env)
    local file = require "appliance.core.file"
    local host = require "appliance.core.host"
    local own = node.own_address(host.addresses(), node.default_interface(file.read "/proc/net/route" or ""))
    local identity = node.addresses({ bind = env.BIND_ADDRESS, advertise = env.ADVERTISE_ADDRESS, host = env.MASTER_HOST,
      public = env.SPARK_PUBLIC_DNS }, own, host.name())
    identity.user = borrowed_user(host, file)
    identity.environ = node.inherited(host.environ(), { require "appliance.settings.core", (require "appliance.settings.spark") })
    emit(identity)
  end)
end

function node.limits()
  return require("appliance.facts.limits").source()
end

return node
