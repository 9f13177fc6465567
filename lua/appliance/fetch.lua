--- Brings files from elsewhere to this node's disk: s3://, https://, http://, file:// or a path.
---
---   fetch.all({ { from = "s3://bucket/jars/one.jar", to = "/state/fetched/one.jar", sha256 = "...", mode = 420 }, ... }, options)
---     -> true, report | nil, faults, report
---
--- Each is fetched beside its place and put there by renaming when all are whole, so that nobody ever sees a part of one; with
--- options.partial when itself is whole. Faults are told all at once, each { text =, to = } with its reason and cure.
--- options.state_dir: what is known of earlier fetches is kept there, so that what has not changed is not fetched again.
--- Where a source can't be asked for the moment, the copy of an earlier start is taken; not so with options.strict.
--- options.seconds: for all of it; without, retries and stalled connections are bounded, a large object's time is not.
--- report[to] = { kept = true (nothing to fetch), stale = why such a copy was taken, size =, version =, err = }
--- An entry may have more: name = who wants it ("EXT_CONF"), plan = its name in a plan, kind = what it must be ("jar": fetch/kind.lua).
local address = require "appliance.fetch.address"
local failure = require "appliance.failure"
local file = require "appliance.core.file"
local task = require "appliance.task"

local fetch = {}

local AT_ONCE <const> = 8

local function folder_of(path) return path:match "^(.*)/[^/]*$" or "." end

local LONGEST_NAME <const> = 255

local function new_name(to)
  local name = to:match "[^/]*$"
  if #name + #"..new" > LONGEST_NAME then name = file.fingerprint(to) end
  return ("%s/.%s.new"):format(folder_of(to), name)
end

-- ---------------------------------------------------------------- sources: get(source, path, options), version(source, options)

local sources = {}

local function timed_out(seconds) return failure.new("timeout", "not done within %g s", seconds) end

--- f within what is left of the time -> its results | nil, err
local function within(options, f, ...)
  if not options.limit then return f(...) end
  local left = math.max(0.001, options.limit - task.now())
  local result, err = task.within(left, f, ...)
  local is_over = result == nil and task.now() >= options.limit
  if is_over and type(err) == "table" and err.kind == "timeout" then err = timed_out(options.seconds) end
  return result, err
end

local PASSING <const> = { timeout = true, throttled = true, refused = true }

local function as_passing(err)
  local said = failure.new(err.kind, "%s", tostring(err))
  said.transient = PASSING[err.kind] or false
  return said
end

local function s3_version(seen) return seen.etag and "etag " .. seen.etag:gsub('"', "") or nil end

--- What is small comes in one request, what may be large by parts -> seen | nil, err
local function s3_get(source, path, options)
  local s3 = require "appliance.s3"
  if not options.ceiling then return within(options, s3.download, source.url, path) end
  local object, err = within(options, s3.get, source.url, { ceiling = options.ceiling })
  if not object then return nil, err end
  local ok
  ok, err = file.replace(path, object.body, 384, false)
  return ok and object, err
end

sources.s3 = {
  get = function(source, path, options)
    if options.version then
      local seen, err = within(options, require("appliance.s3").head, source.url)
      if not seen then return nil, as_passing(err) end
      if s3_version(seen) == options.version then return { same = true } end
    end
    local got, err = s3_get(source, path, options)
    if not got then return nil, as_passing(err) end
    return { version = s3_version(got) }
  end,
  version = function(source, options)
    local seen, err = within(options, require("appliance.s3").head, source.url)
    if not seen then return nil, as_passing(err) end
    return s3_version(seen)
  end,
}

local function local_version(path)
  local there, err = file.stat(path)
  if not there then return nil, err end
  if there.kind ~= "file" then return nil, failure.new("invalid", "%s: not a file", path) end
  return ("file %d %.6f"):format(there.size, there.mtime)
end

sources.file = {
  get = function(source, _, options)
    local version, err = local_version(source.path)
    if not version then return nil, err end
    if version == options.version then return { same = true } end
    return { version = version, copy = source.path }           -- copied where it is hashed
  end,
  version = function(source) return local_version(source.path) end,
}

sources.https = {
  get = function(...) return require("appliance.fetch.web").get(...) end,
  version = function(...) return require("appliance.fetch.web").version(...) end,
}
sources.http = sources.https

-- ---------------------------------------------------------------- one

local function subject(entry)
  return (entry.name and entry.name .. " " or "") .. address.shown(entry.from)
end

local function fault(entry, err)
  local text = tostring(err)
  local shown = address.shown(entry.from)
  -- Whoever failed may have named the object already.
  if text:sub(1, #shown + 2) == shown .. ": " then text = text:sub(#shown + 3) end
  local said = failure.new(type(err) == "table" and err.kind or "system", "%s: %s", subject(entry), text)
  said.to, said.transient = entry.to, type(err) == "table" and err.transient or nil
  return said
end

--- What lies at `to` already, and is known to come from there. With the wanted hash it need not be asked for at all.
local function known_of(entry, options)
  local known = options.state_dir and require("appliance.fetch.record").read(options.state_dir, entry.to, entry.from)
  if not known then return nil, false end
  local wanted = entry.sha256 and entry.sha256:lower()
  if wanted and known.sha256 ~= wanted then return nil, false end
  return known, wanted ~= nil
end

local function set_mode(entry)
  local there = file.stat(entry.to)
  if there and there.mode == (entry.mode or 420) then return true end
  return require("appliance.native.aws").digest.file { path = entry.to, mode = entry.mode or 420 }
end

--- Fetches one beside its place -> { kept =, temp =, version =, sha256 =, size = } | nil, err
local function bring_any(entry, options)
  local source, problem = address.parse(entry.from)
  if not source then return nil, failure.new("invalid", "%s", problem) end
  local known, is_certain = known_of(entry, options)
  if is_certain then return { kept = true, version = known.version, sha256 = known.sha256 } end
  local made, err = file.make_dirs(folder_of(entry.to))
  if not made then return nil, err end
  local temp = new_name(entry.to)
  local got
  got, err = sources[source.scheme].get(source, temp, { version = known and known.version, limit = options.limit, seconds = options.seconds,
                                                         ceiling = entry.ceiling })
  if not got and known and err.transient and not options.strict then
    return { kept = true, stale = err, version = known.version, sha256 = known.sha256 }
  end
  if not got then return nil, err end
  if got.same then return { kept = true, version = known.version, sha256 = known.sha256 } end
  local seen
  seen, err = require("appliance.native.aws").digest.file { path = temp, from = got.copy, mode = entry.mode or 420, sync = true }
  if not seen then return nil, err end
  if entry.ceiling and seen.size > entry.ceiling then
    return nil, failure.new("invalid", "it has %d bytes, more than the %d it may have", seen.size, entry.ceiling)
  end
  if entry.sha256 and seen.sha256 ~= entry.sha256:lower() then
    return nil, failure.new("conflict", "its SHA-256 is %s, and %s was asked for: it is damaged or has been changed; correct sha256 if the "
      .. "change is meant", seen.sha256, entry.sha256:lower())
  end
  return { temp = temp, version = got.version, sha256 = seen.sha256, size = seen.size }
end

--- The same for one that must be of a kind; a copy of an earlier start is looked at, too.
local function bring(entry, options)
  local brought, err = bring_any(entry, options)
  local problem = brought and entry.kind and require("appliance.fetch.kind").fault(entry.kind, brought.temp or entry.to)
  if problem then return nil, failure.new("invalid", "it %s; correct the address, or put a whole one there", problem) end
  return brought, err
end

--- Puts a whole one in its place.
local function place(entry, brought, options)
  if brought.kept then return set_mode(entry) end
  local ok, err = file.rename(brought.temp, entry.to)
  if not ok then return nil, err end
  if not options.state_dir then return true end
  -- A record that can't be written costs the next start a fetch, nothing else.
  require("appliance.fetch.record").write(options.state_dir, entry.to, entry.from,
    { version = brought.version, sha256 = brought.sha256, plan = entry.plan })
  return true
end

-- ---------------------------------------------------------------- all

--- Whatever ends it, a cancel too: no part of a file stays.
local function broom(list)
  return setmetatable({}, { __close = function()
    for _, entry in ipairs(list) do file.remove(new_name(entry.to)) end
  end })
end

local function bring_all(list, options)
  local brought, at = {}, 0
  local group <close> = task.group()
  for _ = 1, math.min(AT_ONCE, #list) do
    group:start(function()
      while at < #list do
        at = at + 1
        local i = at
        local one, err = bring(list[i], options)
        brought[i] = one or { err = fault(list[i], err) }
      end
    end)
  end
  local ok, err = group:wait()
  if not ok then error(err, 0) end
  return brought
end

function fetch.all(list, options)
  local given = options or {}
  options = { state_dir = given.state_dir, seconds = given.seconds, strict = given.strict,
              limit = given.seconds and task.now() + given.seconds }
  local seen = {}
  for _, entry in ipairs(list) do
    if seen[entry.to] then error(("fetch.all: two are to be %s"):format(entry.to), 2) end
    seen[entry.to] = true
  end
  local _ <close> = broom(list)
  local brought = bring_all(list, options)
  local faults, report = {}, {}
  for i, entry in ipairs(list) do
    faults[#faults + 1] = brought[i].err
    report[entry.to] = { kept = brought[i].kept, size = brought[i].size, version = brought[i].version, err = brought[i].err,
                         stale = brought[i].stale }
  end
  if #faults > 0 and not given.partial then return nil, faults, report end
  for i, entry in ipairs(list) do
    if not brought[i].err then
      local ok, err = place(entry, brought[i], options)
      if not ok then
        faults[#faults + 1] = fault(entry, err)
        report[entry.to].err = faults[#faults]
      end
    end
  end
  if #faults > 0 then return nil, faults, report end
  return true, report
end

--- The version that is there now -> text or nil | nil, err
function fetch.version(from, seconds)
  local source, problem = address.parse(from)
  if not source then return nil, failure.new("invalid", "%s", problem) end
  return sources[source.scheme].version(source, { limit = seconds and task.now() + seconds, seconds = seconds })
end

--- What a log line calls a fetched one: "s3://b/x.jar, 1.2 MiB".
function fetch.subject(entry) return subject(entry) end

local PERIOD <const> = 60                                      -- seconds between two looks

--- Looks at each entry's source for ever, about once a minute and at different times on different nodes; changed(entry, version)
--- when another version is there than the entry's (or, without one, than at the first look), again at the next look if that says false.
--- told(entry, err), when given, is called when a source can't be asked, and without err when it can for the first time or again.
--- Runs as a task: cancel it to end it.
function fetch.watch(list, changed, period, told)
  local log = require "appliance.core.log"
  local versions, silent = {}, {}
  for i, entry in ipairs(list) do versions[i] = entry.version end
  while true do
    task.sleep((period or PERIOD) * (0.75 + math.random() / 2))
    for i, entry in ipairs(list) do
      local version, err = fetch.version(entry.from, 30)
      if err then
        if not silent[i] then
          log.warn(("%s: can't be asked whether it has changed: %s"):format(subject(entry), tostring(err)))
          if told then told(entry, err) end
        end
        silent[i] = true
      elseif version then
        if silent[i] then log.info(("%s: can be asked again"):format(subject(entry))) end
        if silent[i] ~= false and told then told(entry, nil) end
        silent[i] = false
        local is_new = versions[i] and version ~= versions[i]
        if not is_new or changed(entry, version) ~= false then versions[i] = version end
      end
    end
  end
end

return fetch
