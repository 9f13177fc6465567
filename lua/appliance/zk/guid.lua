--- Creates that leave no ghosts: the name carries a GUID ("_c_<guid>-name", as Curator writes it), by which the node is found when the
--- answer to its creation is lost. Whatever happens to the caller, cancelled or given up, a node that nobody knows of is removed again.
local guid = {}

local task = require "appliance.task"

local PREFIX = "_c_%s-"
local CLEAN = 60                                             -- seconds in which a left-behind node is looked for

function guid.new()
  return (require "appliance.nonce"(16):gsub("^(........)(....)(....)(....)(.*)$", "%1-%2-%3-%4-%5"))
end

--- The child of `parent` that carries the GUID: path | false | nil, err. What a lost request did is seen only behind a sync: the server we
--- are at now may be behind the one that had it.
function guid.find(client, parent, prefix)
  local ok, err = client:sync(parent)
  if not ok then return nil, err end
  local names
  names, err = client:children(parent)
  if not names then
    if err.code == "NONODE" then return false end
    return nil, err
  end
  for _, name in ipairs(names) do
    if name:sub(1, #prefix) == prefix then return (parent == "/" and "" or parent) .. "/" .. name end
  end
  return false
end

--- Runs on when the caller does not.
local function clean(client, parent, prefix, session)
  task.start("zk ghost", function()
    local until_s = task.now() + CLEAN
    while task.now() < until_s do
      local view = client:state()
      if view.state == "closed" or (session and view.id and view.id ~= session) then return end
      local path, err = guid.find(client, parent, prefix)
      if path == false then return end
      if path then err = select(2, client:delete(path)) end
      if not err or err.code == "NONODE" or err.code == "CLOSING" or err.kind == "denied" then return end
      task.sleep(0.1)
    end
  end)
end

--- As client:create. `mode`: the native bits (1: ephemeral).
function guid.create(client, path, data, mode)
  local is_lost = require "appliance.zk".is_lost
  local parent, name = path:match "^(.*)/([^/]*)$"
  if not parent then error("create: a path begins with a slash", 3) end
  if parent == "" then parent = "/" end
  local prefix = PREFIX:format(guid.new())
  local wanted = (parent == "/" and "" or parent) .. "/" .. prefix .. name
  local is_ephemeral = mode & 1 ~= 0
  local session = client:state().id
  local in_doubt = false                                     -- whether it may be there without our knowing
  local _ <close> = setmetatable({}, { __close = function()
    if in_doubt then clean(client, parent, prefix, is_ephemeral and session or nil) end
  end })
  local limit = task.now() + 3 * (client:state().timeout or 10)
  while true do
    in_doubt = true
    local made, err = client.native:call("create", client.chroot .. wanted, data, nil, mode)
    session = session or client:state().id
    if made then
      in_doubt = false
      return made:sub(#client.chroot + 1)
    end
    if err.unsent then
      in_doubt = false                                       -- but what an earlier round has sent was looked for, and is not there
      return nil, err
    end
    if not is_lost(err) then
      -- An ephemeral node of a session that is over is over; another may be there.
      in_doubt = err.code == "SESSIONEXPIRED" and not is_ephemeral
      if not in_doubt then return nil, err end
    end
    local found, fault
    repeat
      found, fault = guid.find(client, parent, prefix)
      if is_ephemeral and client:state().id ~= session and client:state().id then
        in_doubt = false
        return nil, require "appliance.zk".failure("SESSIONEXPIRED", "conflict",
          ("zk create %s: the session it belongs to has expired (SESSIONEXPIRED)"):format(wanted))
      end
    until found ~= nil or not (is_lost(fault) or fault.code == "SESSIONEXPIRED") or task.now() > limit
    if found then
      in_doubt = false
      return found
    end
    if found == nil then return nil, fault end
    if task.now() > limit then return nil, err end
  end
end

return guid
