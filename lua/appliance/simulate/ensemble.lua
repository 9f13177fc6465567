--- The servers of a simulated ZooKeeper: one tree, as the quorum has it, with sessions, ephemerals, sequences, versions, multi and
-- watches. appliance.simulate.zookeeper has the clients and the wires between.
-- What real ensembles were measured to do, and what is played here (docs/ha.md):
--   a session ends at the next tick after its timeout, counted from when the *leader* heard of it, which a follower tells it
--   only every half tick; a server cut off from its quorum goes on answering reads and pings of its clients for seconds, while
--   their sessions end; what was sent over a connection that broke may be carried out all the same; a new leader starts the
--   sessions anew.
local ensemble = {}
ensemble.__index = ensemble

--- { clock =, random =, tick = 2 (seconds) }
function ensemble.new(options)
  local self = setmetatable({ clock = options.clock, random = options.random, tick = options.tick or 2, zxid = 0,
    next_session = 0x100000000, sessions = {}, clients = {}, watches = { data = {}, children = {} }, nodes = {},
    serving = true }, ensemble)
  self.nodes["/"] = { data = "", version = 0, cversion = 0, czxid = 0, mzxid = 0, owner = 0, children = {}, count = 0, made = 0 }
  return self
end

local KINDS <const> = { NONODE = "missing", NODEEXISTS = "conflict", BADVERSION = "conflict", NOTEMPTY = "conflict",
  SESSIONEXPIRED = "refused", CONNECTIONLOSS = "refused", NOCHILDRENFOREPHEMERALS = "invalid" }

local function failure(code) return { kind = KINDS[code], code = code, text = "ZooKeeper: " .. code } end
ensemble.failure = failure

local function split(path)
  local parent, name = path:match "^(.*)/([^/]+)$"
  return parent ~= "" and parent or "/", name
end

-- ---------------------------------------------------------------- watches

local function trigger(self, kind, path)
  local waiting = self.watches[kind][path]
  if not waiting then return end
  self.watches[kind][path] = nil
  for _, watch in ipairs(waiting) do watch.fire(watch) end
end

function ensemble:add_watch(kind, path, watch)
  local list = self.watches[kind][path]
  if not list then
    list = {}
    self.watches[kind][path] = list
  end
  list[#list + 1] = watch
end

-- ---------------------------------------------------------------- changes

-- change.verb(self, session, operation, wakes, is_last) -> result, undo | nil, err. It notes whom to wake; the last of a multi needs no
-- way back.

--- Whoever watches that will be told, when all of it is done.
local function note(self, wakes, kind, path)
  if not self.watches[kind][path] then return end
  local count = #wakes
  wakes[count + 1], wakes[count + 2] = kind, path
end

local function stat_of(node)
  return { czxid = node.czxid, mzxid = node.mzxid, version = node.version, cversion = node.cversion, owner = node.owner,
    children = node.count, length = #node.data }
end

local change, NONE = {}, {}

function change.create(self, session, operation, wakes, is_last)
  local path, data, options = operation[2], operation[3], operation[4] or NONE
  local parent_path, name = split(path)
  local parent = self.nodes[parent_path]
  if not parent then return nil, failure "NONODE" end
  if parent.owner ~= 0 then return nil, failure "NOCHILDRENFOREPHEMERALS" end
  if options.sequential then
    name = ("%s%010d"):format(name or "", parent.made)
    path = parent_path .. "/" .. name
  end
  if self.nodes[path] then return nil, failure "NODEEXISTS" end
  local owner = options.ephemeral and session.id or 0
  self.nodes[path] = { data = data, version = 0, cversion = 0, czxid = self.zxid, mzxid = self.zxid, owner = owner, children = {},
    count = 0, made = 0 }
  parent.children[name], parent.count, parent.cversion, parent.made = true, parent.count + 1, parent.cversion + 1, parent.made + 1
  if owner ~= 0 then session.ephemerals[path] = true end
  note(self, wakes, "data", path)
  note(self, wakes, "children", parent_path)
  return path, not is_last and function()
    self.nodes[path] = nil
    parent.children[name], parent.count, parent.cversion, parent.made = nil, parent.count - 1, parent.cversion - 1, parent.made - 1
    if owner ~= 0 then session.ephemerals[path] = nil end
  end
end

function change.delete(self, _, operation, wakes, is_last)
  local path, version = operation[2], operation[3]
  local node = self.nodes[path]
  if not node then return nil, failure "NONODE" end
  if version and version ~= -1 and version ~= node.version then return nil, failure "BADVERSION" end
  if node.count > 0 then return nil, failure "NOTEMPTY" end
  local parent_path, name = split(path)
  local parent = self.nodes[parent_path]
  local owner = self.sessions[node.owner]
  self.nodes[path] = nil
  parent.children[name], parent.count, parent.cversion = nil, parent.count - 1, parent.cversion + 1
  if owner then owner.ephemerals[path] = nil end
  note(self, wakes, "data", path)
  note(self, wakes, "children", path)
  note(self, wakes, "children", parent_path)
  return true, not is_last and function()
    self.nodes[path] = node
    parent.children[name], parent.count, parent.cversion = true, parent.count + 1, parent.cversion - 1
    if owner then owner.ephemerals[path] = true end
  end
end

function change.set(self, _, operation, wakes, is_last)
  local path, data, version = operation[2], operation[3], operation[4]
  local node = self.nodes[path]
  if not node then return nil, failure "NONODE" end
  if version and version ~= -1 and version ~= node.version then return nil, failure "BADVERSION" end
  local old, mzxid = node.data, node.mzxid
  node.data, node.mzxid, node.version = data, self.zxid, node.version + 1
  note(self, wakes, "data", path)
  return stat_of(node), not is_last and function() node.data, node.mzxid, node.version = old, mzxid, node.version - 1 end
end

function change.check(self, _, operation)
  local path, version = operation[2], operation[3]
  local node = self.nodes[path]
  if not node then return nil, failure "NONODE" end
  if version and version ~= -1 and version ~= node.version then return nil, failure "BADVERSION" end
  return true
end

local function wake_all(self, wakes)
  for at = 1, #wakes, 2 do trigger(self, wakes[at], wakes[at + 1]) end
end

--- One write or a multi, all or nothing -> results of each | nil, err (with index)
function ensemble:commit(session, operations)
  self.zxid = self.zxid + 1
  local results, undo, wakes, count = {}, {}, {}, #operations
  for index, operation in ipairs(operations) do
    local result, back = change[operation[1]](self, session, operation, wakes, index == count)
    if result == nil then
      for at = index - 1, 1, -1 do
        if undo[at] then undo[at]() end
      end
      back.index = index
      return nil, back
    end
    results[index], undo[index] = result, back
  end
  wake_all(self, wakes)
  return results
end

-- ---------------------------------------------------------------- reads: of the tree now, or of what a cut-off server last knew

local function names_of(node)
  local names = {}
  for name in pairs(node.children) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- kind: "get" | "exists" | "children"; `nodes`: a snapshot or nil -> value, stat | nil, err
function ensemble:read(kind, path, nodes)
  local node = (nodes or self.nodes)[path]
  if not node then return nil, failure "NONODE" end
  return kind == "children" and names_of(node) or node.data, stat_of(node)
end

function ensemble:snapshot()
  local copy = {}
  for path, node in pairs(self.nodes) do
    local children = {}
    for name in pairs(node.children) do children[name] = true end
    copy[path] = { data = node.data, version = node.version, cversion = node.cversion, czxid = node.czxid, mzxid = node.mzxid,
      owner = node.owner, children = children, count = node.count }
  end
  return copy
end

-- ---------------------------------------------------------------- sessions

function ensemble:open_session(timeout)
  self.next_session = self.next_session + 1
  local session = { id = self.next_session, timeout = timeout, ephemerals = {}, touched = self.clock.now }
  self.sessions[session.id] = session
  return session
end

local function stop_timer(self, session)
  local timer = session.timer
  if timer then self.clock.forget(timer) end
  session.timer = nil
  return timer ~= nil
end

function ensemble:close_session(session)
  if self.sessions[session.id] ~= session then return end
  stop_timer(self, session)
  local paths, wakes = {}, {}
  for path in pairs(session.ephemerals) do paths[#paths + 1] = path end
  table.sort(paths)
  self.zxid = self.zxid + 1
  for _, path in ipairs(paths) do change.delete(self, session, { "delete", path, -1 }, wakes, true) end
  self.sessions[session.id] = nil
  wake_all(self, wakes)
end

--- Nothing is heard of its client from now on: it ends when its time is over.
function ensemble:silent(session)
  if session.timer or self.sessions[session.id] ~= session then return end
  local now = self.clock.now
  local heard = math.max(session.touched, now - session.timeout / 3) - self.random:next() * self.tick / 2
  local ends = math.ceil((heard + session.timeout) / self.tick) * self.tick
  session.timer = self.clock:after(ends - now, function()
    session.timer = nil
    if not self.serving then                               -- no leader, nobody to end it: the next one starts it anew
      session.touched = self.clock.now
      return self:silent(session)
    end
    self:close_session(session)
  end)
end

function ensemble:heard(session)
  session.touched = self.clock.now
  stop_timer(self, session)
end

--- A new leader: every session has its whole time before it.
function ensemble:new_leader()
  local ids = {}
  for id in pairs(self.sessions) do ids[#ids + 1] = id end
  table.sort(ids)
  for _, id in ipairs(ids) do
    local session = self.sessions[id]
    session.touched = self.clock.now
    if stop_timer(self, session) then self:silent(session) end
  end
end

-- ---------------------------------------------------------------- what a test or an operator does to the tree

--- Deletes a path with everything below it, whoever owns it (sessions live on).
function ensemble:wipe(path)
  local doomed, wakes = {}, {}
  for each in pairs(self.nodes) do
    if each == path or each:sub(1, #path + 1) == path .. "/" then doomed[#doomed + 1] = each end
  end
  table.sort(doomed, function(a, b) return #a > #b or #a == #b and a < b end)
  self.zxid = self.zxid + 1
  for _, each in ipairs(doomed) do change.delete(self, nil, { "delete", each, -1 }, wakes, true) end
  wake_all(self, wakes)
end

return ensemble
