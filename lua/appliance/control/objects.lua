--- What of `status` tells of fetched files: those of the plan, and EXT_CONF and HIVE_SITE_XML where they come from elsewhere. Loaded where
--- there are some. All of it is read from the disk at the moment of the question, but for what failed.
local address = require "appliance.fetch.address"
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local record = require "appliance.fetch.record"
local task = require "appliance.core.task"

local objects = {}

local LONGEST <const> = 16                                     -- letters of an ETag: enough to tell two apart

local function short(text) return #text > LONGEST and text:sub(1, LONGEST) .. "..." or text end

--- 'etag "9b2c..."' -> "etag 9b2c..."; what tells a local file's version is its size and time, which stand beside it.
local function version_of(known)
  local kind, value = (known and known.version or ""):match "^(%a+) (.*)$"
  if kind == "etag" then return "etag " .. short((value:gsub('^W/', ""):gsub('"', ""))) end
  if kind == "modified" then return kind .. " " .. value end
end

--- One of them. trouble: { text =, at = monotonic } of what failed last, or nil. The file's own time is when it was fetched: it is
--- written then, and renaming leaves it alone.
local function shown(state_dir, name, to, object, trouble)
  local there = file.stat(to)
  local known = there and record.read(state_dir, to, object.from)
  return {
    name = name, from = address.shown(object.from), watch = object.watch, size = there and there.size or nil,
    version = version_of(known), sha256 = known and known.sha256 or nil,
    fetched = there and math.max(0, math.floor(host.wall_ms() - there.mtime * 1000) / 1000) or nil,
    error = trouble and trouble.text or nil,
    failed = trouble and math.max(0, math.floor((task.now() - trouble.at) * 1000) / 1000) or nil,
  }
end

--- objects.of(node) -> list of { name, from, watch, size, version, sha256, fetched, error, failed }, by name
function objects.of(node)
  local list = {}
  local following, planned = node.objects, {}
  for name, object in pairs(node.plan and node.plan.fetch or {}) do planned[name] = object end
  for name, object in pairs(following and following:lacking() or {}) do planned[name] = planned[name] or object end
  local path_of = require("appliance.plan.objects").path
  for name, object in pairs(planned) do
    list[#list + 1] = shown(node.state_dir, name, path_of(name, node.state_dir), object, following and following:trouble(name))
  end
  local fetched = package.loaded["appliance.facts.fetched"]
  local env = node.configured and node.configured.env
  for _, entry in ipairs(fetched and env and fetched.entries(env) or {}) do
    entry.watch = env.EXT_WATCH or nil
    list[#list + 1] = shown(node.state_dir, entry.name, entry.to, entry, fetched.trouble(entry.name))
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

return objects
