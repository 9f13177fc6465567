--- What is known of the files that were fetched: from where, and which version. One small file for each, in STATE_DIR/fetched/.known, so
--- that the next start need not fetch again what is still the same. They hold no address in words: it may have a password in it.
local file = require "appliance.core.file"
local json = require "appliance.json"

local record = {}

local function directory(state_dir) return state_dir .. "/fetched/.known" end
local function path_of(state_dir, to) return ("%s/%s.json"):format(directory(state_dir), file.fingerprint(to)) end

--- What tells one content of the file from another, without reading it.
local function face(path)
  local there = file.stat(path)
  return there and there.kind == "file" and ("%d %.6f"):format(there.size, there.mtime) or nil
end

--- What is known of the file `to`, nil when there is none, or somebody else wrote it, or it is from elsewhere.
--- -> { version =, sha256 =, plan = its name in a plan }
function record.read(state_dir, to, from)
  local text = file.read(path_of(state_dir, to), 65536)
  local known = text and json.decode(text)
  if type(known) ~= "table" or known.to ~= to or known.face ~= face(to) then return nil end
  if known.from ~= file.fingerprint(from) then return nil end
  return known
end

--- Remembers it. `known` has version, sha256 and plan. -> true | nil, err
function record.write(state_dir, to, from, known)
  local made, err = file.make_dirs(directory(state_dir), tonumber("700", 8))
  if not made then return nil, err end
  local text = json.encode { to = to, from = file.fingerprint(from), face = face(to), version = known.version, sha256 = known.sha256,
                             plan = known.plan }
  return file.replace(path_of(state_dir, to), text, tonumber("600", 8), false)
end

function record.forget(state_dir, to) file.remove(path_of(state_dir, to)) end

--- The objects that an earlier run fetched for its plan: { [name] = {} }, in the shape of a plan's `fetch`.
function record.of_plan(state_dir)
  local found, directory_of_all = {}, directory(state_dir)
  for _, name in ipairs(file.list(directory_of_all) or {}) do
    local text = file.read(directory_of_all .. "/" .. name, 65536)
    local known = text and json.decode(text)
    if type(known) == "table" and type(known.plan) == "string" then found[known.plan] = {} end
  end
  return found
end

return record
