--- A plan: the files, objects and services a node should have. Plain data, computed by a profile, never the doing of it.
--- A profile's `plan{...}` gives a draft; normalise() makes the plan of it that is printed, compared and carried out:
---   { profile =, files = { [name] = { format, text, mode, keys } }, services = { spec, ... }, notes = { "sentence", ... },
---     urls = { { name = "master page", url = "http://..." }, ... },
---     fetch = { [name] = { from = "s3://...", sha256 =, mode =, watch =, kind = } }, nil when nothing is }
--- A mistake in a draft is never fatal here: all of them come back at once, each with its service, field and cure.
local failure = require "appliance.failure"

local plan = {}

local draft = { __name = "plan" }
local file_value = { __name = "file of a plan" }

--- File values: the words of a profile.
--- properties { ["spark.executor.memory"] = "2g" }, xml { ["fs.s3a.endpoint"] = url },
--- text "...", text { "...", mode = 384, secret = true }
local function keyed(format)
  return function(keys)
    if type(keys) ~= "table" then error(("%s needs a table of keys, got %s"):format(format, type(keys)), 2) end
    return setmetatable({ format = format, keys = keys }, file_value)
  end
end
plan.properties = keyed "properties"
plan.xml = keyed "xml"

function plan.text(content)
  if type(content) == "string" then content = { content } end
  if type(content) ~= "table" or type(content[1]) ~= "string" then error("text needs the content of the file as a string", 2) end
  return setmetatable({ format = "text", text = content[1], mode = content.mode, secret = content.secret }, file_value)
end

--- service { name = "exporter", command = { "/usr/bin/exporter" } }: a program that is no role of Spark's.
--- What it may hold is in plan/check.lua.
function plan.service(spec)
  if type(spec) ~= "table" then error(("service needs a table { name =, command = }, got %s"):format(type(spec)), 2) end
  return spec
end

--- Kinds of readiness: tcp(8081), http(8080, "/json/"), line "started", each with more as a last table: tcp(8081, { deadline = 120 }).
local function readiness(kind, fields, more)
  fields.kind = kind
  for field, value in pairs(more or {}) do fields[field] = value end
  return fields
end
function plan.tcp(port, more) return readiness("tcp", { port = port }, more) end
function plan.http(port, path, more) return readiness("http", { port = port, path = path }, more) end
function plan.line(has, more) return readiness("line", { has = has }, more) end

--- The value of a setting for use as a key of a file: what somebody set beats every file, a default of ours beats none of them.
--- A plain env.NAME stands in the profile's layer instead.
function plan.setting(env, name, value)
  local settings = require "appliance.settings"
  if value == nil then value = settings.written(env, name) end
  if value == nil then return nil end
  local is_given = settings.is_given(env, name)
  local origin = is_given and settings.origin(env, name) or "default of " .. name
  return { value = value, layer = is_given and "environment" or "default", origin = origin }
end

--- Positions of a list that may have holes (`facts.x and spark.y {...}` may be nil), lowest first.
local function positions(list)
  local found = {}
  for key in pairs(list) do
    if math.type(key) == "integer" then found[#found + 1] = key end
  end
  table.sort(found)
  return found
end

--- Services in order: `false` and holes dropped, lists inside the list flattened.
local function flatten(services, into)
  for _, at in ipairs(positions(services)) do
    local service = services[at]
    if type(service) == "table" and service.name == nil and service[1] ~= nil then
      flatten(service, into)
    elseif service then
      into[#into + 1] = service
    end
  end
  return into
end

--- Services of an extending profile: one that the base has stands in its place, a new one behind.
local function lay_over(services, mine)
  local place = {}
  for i, service in ipairs(services) do
    if type(service) == "table" and service.name then place[service.name] = i end
  end
  for _, service in ipairs(mine) do
    local name = type(service) == "table" and service.name or false
    services[place[name] or #services + 1] = service
    place[name] = nil                                       -- a second one of that name is a fault, not a replacement
  end
end

--- Services said by name: { worker = { nice = 5 }, thriftserver = false } changes one and takes one away.
local function change_by_name(services, changes)
  local kept, missing = {}, {}
  for name in pairs(changes) do
    if type(name) == "string" then missing[name] = true end
  end
  for _, service in ipairs(services) do
    local name = type(service) == "table" and service.name or nil
    local change
    if name then change, missing[name] = changes[name], nil end
    if type(change) == "table" then
      local changed = {}
      for field, value in pairs(service) do changed[field] = value end
      for field, value in pairs(change) do changed[field] = value end
      service = changed
    end
    if change ~= false then kept[#kept + 1] = service end
  end
  return kept, missing
end

local FIELDS = { files = true, fetch = true, services = true, notes = true, urls = true, waits = true }

--- plan { base..., files = {...}, fetch = {...}, services = {...}, notes = {...}, urls = {...}, waits = {...} }: what a profile's plan
--- function returns. `waits`: services that belong here and can't be planned yet, each with a sentence why.
--- A plan given first (`base` of a profile that extends another) is the ground: files are laid over its files key by key, a service of
--- the same name replaces its, a service by name changes single fields of it, `false` takes a file or service away.
function plan.plan(parts)
  if type(parts) ~= "table" then error(("plan needs a table { files =, services = }, got %s"):format(type(parts)), 2) end
  local made = { files = {}, fetch = {}, services = {}, notes = {}, urls = {}, waits = {}, unknown = {} }
  for _, at in ipairs(positions(parts)) do
    local base = parts[at]
    if getmetatable(base) ~= draft then error("plan: only another plan may stand without a name, such as `base`", 2) end
    for name, file in pairs(base.files) do made.files[name] = file end
    for name, object in pairs(base.fetch) do made.fetch[name] = object end
    lay_over(made.services, base.services)
    table.move(base.notes, 1, #base.notes, #made.notes + 1, made.notes)
    table.move(base.urls, 1, #base.urls, #made.urls + 1, made.urls)
    for name, sentence in pairs(base.waits) do made.waits[name] = sentence end
  end
  for name, file in pairs(parts.files or {}) do
    if type(file) == "string" then file = plan.text(file) end
    if type(file) == "table" and made.files[name] then
      file = setmetatable({ format = file.format, keys = file.keys, text = file.text, mode = file.mode, secret = file.secret,
                            under = made.files[name] }, getmetatable(file))
    end
    made.files[name] = file or nil
  end
  for name, object in pairs(parts.fetch or {}) do made.fetch[name] = object or nil end
  lay_over(made.services, flatten(parts.services or {}, {}))
  made.services, made.missing = change_by_name(made.services, parts.services or {})
  table.move(parts.notes or {}, 1, #(parts.notes or {}), #made.notes + 1, made.notes)
  table.move(parts.urls or {}, 1, #(parts.urls or {}), #made.urls + 1, made.urls)
  for name, sentence in pairs(parts.waits or {}) do made.waits[name] = sentence or nil end
  for field in pairs(parts) do
    if type(field) == "string" and not FIELDS[field] then made.unknown[#made.unknown + 1] = field end
  end
  return setmetatable(made, draft)
end

function plan.is_draft(value) return getmetatable(value) == draft end

--- The profile a draft came from, for the origin of its keys; profile.lua says it before it hands a draft to an extending profile.
function plan.attribute(made, profile)
  for _, file in pairs(made.files) do
    local at = file
    while at do
      at.origin = at.origin or "profile " .. profile
      at = at.under
    end
  end
  return made
end

--- The layers a draft's file has: its own keys over those of the profile it extends.
local function layers_of(file, origin)
  local layers = {}
  local at = file
  while at do
    table.insert(layers, 1, { layer = "profile", origin = at.origin or origin,
                              keys = at.keys, text = at.text, mode = at.mode, secret = at.secret })
    at = at.under
  end
  return layers
end

local function files_of(made, context, faults)
  local names = {}
  for name in pairs(made.files) do names[name] = true end
  for name in pairs(context.layers or {}) do names[name] = true end
  if next(names) == nil then return {} end
  local merge = require "appliance.merge"
  local files = {}
  for name in pairs(names) do
    local file = made.files[name]
    local layers = file and layers_of(file, "profile " .. context.profile) or {}
    local more = context.layers and context.layers[name] or {}
    table.move(more, 1, #more, #layers + 1, layers)
    if #layers > 0 then
      local merged, err = merge.file(name, layers, file and file.format)
      files[name] = merged
      if not merged then faults[#faults + 1] = err end
    end
  end
  return files
end

--- plan.normalise(draft, { profile = "name", layers = { [file] = { layer, ... } } }) -> plan | nil, faults
--- `layers`: mounted files, EXT_CONF and the environment's keys, as merge.file takes them. Pure: their texts were read before.
function plan.normalise(made, context)
  context = { profile = context and context.profile or "unnamed", layers = context and context.layers }
  if not plan.is_draft(made) then
    return nil, { failure.new("invalid", "profile %s: its plan function gave %s; return plan { files = {...}, services = {...} }",
      context.profile, made == nil and "nothing" or "a " .. type(made)) }
  end
  local check = require "appliance.plan.check"
  local faults = {}
  local services = check.services(made, faults)
  check.files(made, faults)
  local fetch = next(made.fetch) and require("appliance.plan.objects").check(made, faults) or nil
  local files = #faults == 0 and files_of(made, context, faults) or made.files
  check.inputs(services, files, fetch or {}, faults)
  if #faults > 0 then
    table.sort(faults, function(a, b) return a.text < b.text end)
    for i, fault in ipairs(faults) do faults[i] = failure.new("invalid", "profile %s: %s", context.profile, fault.text) end
    return nil, faults
  end
  if fetch then require("appliance.plan.objects").claim(fetch, services) end
  return { profile = context.profile, files = files, services = services, notes = made.notes, urls = made.urls, fetch = fetch,
           waits = next(made.waits) and made.waits or nil }
end

--- What these show is for people: loaded when one asks.
function plan.diff(from, to) return require("appliance.plan.show").diff(from, to) end
function plan.diff_text(difference) return require("appliance.plan.show").diff_text(difference) end
function plan.describe(a_plan) return require("appliance.plan.show").describe(a_plan) end
function plan.redacted(a_plan) return require("appliance.plan.show").redacted(a_plan) end

return plan
