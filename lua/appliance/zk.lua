--- ZooKeeper, as tasks use it: a client has one session at a time, which survives reconnects; after an expiry it has another by itself.
-- All calls wait as tasks do; all failures are nil, err { kind, code = "NONODE" ..., text }. What is not sent within the time of a session
-- fails with CONNECTIONLOSS and err.unsent: it was not done; after any other CONNECTIONLOSS nobody knows. An operation belongs to the
-- session it began in: it fails with SESSIONEXPIRED when that has ended.
--
--   local client <close> = zk.open { servers = "10.0.0.1:2181,10.0.0.2:2181/chroot", session = 4, auth = "user:secret", name = "cluster" }
--   local id, timeout = client:connected()
--   local data, stat = client:get "/a"
--   for node in client:watch "/a" do ... end
--
-- stat = { czxid, mzxid, pzxid, version, cversion, owner, children, length, sent }: `sent` is CLOCK_BOOTTIME in ns just before this very
-- request was sent, so the server saw it later. Session ids print as ("0x%x"):format(id).
-- With `auth` every node created is ours alone (scheme digest, all rights to the creator), unless `open`. Data of one request: up to 1 MiB.
local zk = {}

local list = require "appliance.zk.list"
local task = require "appliance.task"
local core                                                   -- appliance.native.zk, which brings libzookeeper: loaded by the first open

local client = {}
client.__index = client

--- Whether nobody knows if it was done: the answer is lost, or was never sent.
local function is_lost(err) return err.code == "CONNECTIONLOSS" or err.code == "OPERATIONTIMEOUT" or err.code == "SESSIONMOVED" end
local function is_passing(err) return is_lost(err) or err.code == "SESSIONEXPIRED" end

-- ---------------------------------------------------------------- the session

--- Never waits; raises only on misuse. Fields: servers ("host:port,host:port/chroot"; the port may be left out), session (seconds asked
--- for, the server has the last word), auth ("user:secret"), name (for log lines).
function zk.open(options)
  local servers, fault = list.parse(options.servers or "")
  if not servers then error("servers: " .. fault, 2) end
  if options.auth and not options.auth:find "^[^:]+:." then error("auth: user:secret is needed", 2) end
  core = core or require "appliance.native.zk"
  local native = core.open {
    name = options.name, auth = options.auth, session = options.session, servers = servers.has_names and "" or servers.text,
  }
  local self = setmetatable({ native = native, chroot = servers.chroot }, client)
  if servers.has_names then list.follow(native, servers) end
  return self
end

--- { state = "connecting"|"connected"|"expired"|"closed"|"auth_failed", id, timeout (seconds, as negotiated), server }
function client:state() return self.native:view() end

--- Waits until there is a session -> id, timeout in seconds | nil, err (closed).
function client:connected()
  local n, view = self.native:change(0)
  while view.state ~= "connected" do
    if view.state == "closed" then return nil, zk.failure("CLOSING", "cancelled", "zk: the client is closed (CLOSING)") end
    n, view = self.native:change(n + 1)
  end
  return view.id, view.timeout
end

--- An error value as the native part makes them.
function zk.failure(code, kind, text)
  return setmetatable({ kind = kind, code = code, text = text }, { __tostring = function(err) return err.text end })
end

--- What `for` and `local it <close> =` take: called it gives the next value, closed it ends.
local function iterator(next_value, close)
  local closed = false
  local it = setmetatable({}, {
    __call = function()
      if closed then return nil end
      return next_value()
    end,
    __close = function()
      closed = true
      if close then close() end
    end,
  })
  return it, nil, nil, it
end

--- Closable iterator: the state as it is, then each change of it; ends after "closed".
function client:changes()
  local native, seen, ended = self.native, -1, false
  return iterator(function()
    if ended then return nil end
    local view
    seen, view = native:change(seen + 1)
    ended = view.state == "closed"
    return view
  end)
end

--- Another list; its chroot, if it names one, must be the same. A working connection is not cut for it.
function client:servers(text)
  local servers, fault = list.parse(text)
  if not servers then error("servers: " .. fault, 2) end
  if servers.chroot ~= "" and servers.chroot ~= self.chroot then
    error(("servers: the chroot was %s, and can't become %s"):format(self.chroot, servers.chroot), 2)
  end
  list.follow(self.native, servers)
end

--- Never waits: what is under way ends with CLOSING, the session is closed by a helper thread, and its ephemerals with it.
function client:close() self.native:close() end
client.__close = client.close
client.__gc = client.close

-- ---------------------------------------------------------------- operations

local function at(self, path)
  if self.chroot == "" then return path end
  return path == "/" and self.chroot or self.chroot .. path
end

local function without(self, path) return path and path:sub(#self.chroot + 1) end

--- -> data, stat
function client:get(path) return self.native:call("get", at(self, path)) end

--- -> stat. Without a version, or -1: whatever version is there.
function client:set(path, data, version) return self.native:call("set", at(self, path), data, version) end

--- -> true
function client:delete(path, version) return self.native:call("delete", at(self, path), nil, version) end

--- -> stat, or false when there is none
function client:exists(path) return self.native:call("exists", at(self, path)) end

--- What this server serves from now on is as new as what its leader had: before a read that must see what others wrote. -> true
function client:sync(path) return self.native:call("sync", at(self, path)) end

--- Who may do what there: a list of texts as zkCli's setAcl takes them, "world:anyone:cdrwa", and the stat. Only who may read it is told.
function client:rights(path) return self.native:call("rights", at(self, path)) end

--- -> names, sorted, and the stat of the parent
function client:children(path)
  local names, stat = self.native:call("children", at(self, path))
  if names then table.sort(names) end
  return names, stat
end

local MODES = { ephemeral = 1, sequential = 2, container = 4, open = 8 }

local function mode_of(options, level)
  local mode = 0
  for name, value in pairs(options or {}) do
    if not MODES[name] and name ~= "guid" then error(("create: no such option: %s"):format(name), level + 1) end
    if value and MODES[name] then mode = mode | MODES[name] end
  end
  if mode & 4 ~= 0 and mode & 3 ~= 0 then error("create: a container is neither ephemeral nor sequential", level + 1) end
  return mode
end

--- -> the actual path. Options: ephemeral, sequential, container; open: everybody may do everything with it, even with `auth`;
--- guid: the name gets "_c_<guid>-" in front, by which a node is found whose answer was lost, so that none is left behind unknown.
function client:create(path, data, options)
  local mode = mode_of(options, 2)
  if options and options.guid then
    return require "appliance.zk.guid".create(self, path, data, mode)
  end
  local made, err = self.native:call("create", at(self, path), data, nil, mode)
  return without(self, made), err
end

--- Makes it and all above it, as persistent nodes -> true. Options: open = "/above": that part of it, with all above, is made open to all.
function client:ensure(path, options)
  local open = options and options.open and at(self, options.open) or ""
  local function make(whole)
    if whole == "" then return true end
    for attempt = 1, 4 do
      local made, err = self.native:call("create", whole, "", nil, #whole <= #open and MODES.open or 0)
      if made or err.code == "NODEEXISTS" then return true end
      if err.code == "NONODE" then
        local ok, fault = make(whole:match "^(.*)/[^/]*$")
        if not ok then return nil, fault end
      elseif not is_passing(err) or attempt == 4 then
        -- Who may not create here can still be content with what is there.
        if err.code == "NOAUTH" and self.native:call("exists", whole) then return true end
        return nil, err
      end
    end
    return nil, zk.failure("NONODE", "missing", ("zk ensure %s: somebody removes it as fast as it is made"):format(path))
  end
  return make(path == "/" and self.chroot or self.chroot .. path)
end

--- All or nothing: { "check", path, version }, { "create", path, data, options }, { "set", path, data, version },
--- { "delete", path, version } -> a list of what each gave | nil, err (err.index: which of them failed)
function client:multi(parts)
  local given = {}
  for index, part in ipairs(parts) do
    local options = part[4]
    if part[1] == "create" then
      if options and (options.guid or options.container) then error("multi: guid and container are for create alone", 2) end
      options = mode_of(options, 2)
    end
    given[index] = { part[1], at(self, part[2]), part[3], options }
  end
  if #given == 0 then return {} end
  local results, err = self.native:multi(given)
  if not results then return nil, err end
  for index, part in ipairs(parts) do
    if part[1] == "create" then results[index] = without(self, results[index]) end
  end
  return results
end

-- ---------------------------------------------------------------- watches

--- Reads now and after each change; what did not change is not told. `verb` "get" or "children" arms the watch with what it reads, or
--- with its absence; take(what it gave, stat) -> value; zxid: the field of stat that a change of it moves.
local function follow(self, path, verb, take, zxid)
  local full = at(self, path)
  local watch = self.native:watch(full, verb == "children")

  local function read()
    while true do
      local got, stat = self.native:call(verb, full, nil, nil, nil, watch)
      if got then return take(got, stat) end
      if stat.code ~= "NONODE" then return nil, stat end
      local there, err = self.native:call("exists", full, nil, nil, nil, watch)
      if there == false then return { absent = true } end
      if there == nil then return nil, err end
    end
  end

  local function is_same(a, b)
    if a.absent or b.absent then return a.absent == b.absent end
    return a.stat[zxid] == b.stat[zxid] and a.stat.czxid == b.stat.czxid
  end

  local last, is_armed
  return iterator(function()
    while true do
      if is_armed then watch:wait() end
      is_armed = false
      local value, err = read()
      if value then
        is_armed = true
        if not (last and is_same(last, value)) then
          last = value
          return value
        end
      elseif err.code == "QUEUEFULL" or err.code == "THROTTLEDOP" then
        task.sleep(0.1)
      elseif not is_passing(err) then
        return nil, err                                      -- closed, or not for us: nothing more will come
      end
    end
  end, function() watch:close() end)
end

--- Closable iterator of { data =, stat = } or { absent = true }: now, and after each change; several changes may come as one. Survives
--- reconnects and expiries. Ends when the client is closed, and (nil, err) where reading is not allowed.
function client:watch(path)
  return follow(self, path, "get", function(data, stat) return { data = data, stat = stat } end, "mzxid")
end

--- Closable iterator of { names = sorted, stat = } or { absent = true }; as `watch`.
function client:watch_children(path)
  return follow(self, path, "children", function(names, stat)
    table.sort(names)
    return { names = names, stat = stat }
  end, "pzxid")
end

zk.is_lost = is_lost

return zk
