--- What a plan fetches: plan { fetch = { ["jars/x.jar"] = { from = "s3://...", sha256 =, mode =, watch =, kind = } } }. Pure; loaded by
--- a plan that fetches something.
local address = require "appliance.fetch.address"
local check = require "appliance.plan.check"
local failure = require "appliance.failure"
local near = require "appliance.near"

local objects = {}

local FIELDS <const> = {
  from = { "string", 'an address, such as "s3://bucket/jars/x.jar"' },
  sha256 = { "string", "the 64 hex digits that sha256sum prints" },
  mode = { "integer", "a number such as 420 (0644 in octal)" },
  watch = { "boolean", "true or false" },
  kind = { "string", '"jar"' },
}

local function is_of(value, kind)
  if kind == "integer" then return math.type(value) == "integer" end
  return type(value) == kind
end

--- Everything that is wrong with one.
local function faults_of(name, object, files, fault)
  local problem = check.file_name_fault(name)
  if not problem and (name:sub(1, 1) == "." or name:find("/.", 1, true) and name:sub(1, 1) ~= "/") then
    problem = "begins with a dot; such names are kept for what is known of the others"
  end
  if not problem and files[name] then problem = "is among `files` too; take another name for one of them" end
  if problem then fault(problem) end
  for field, value in pairs(object) do
    local rule = FIELDS[field]
    if not rule then
      fault(("%s is not known%s"):format(tostring(field), near.hint(tostring(field), pairs(FIELDS))))
    elseif not is_of(value, rule[1]) then
      fault(("%s is a %s; it takes %s"):format(field, type(value), rule[2]))
    end
  end
  if object.from == nil then fault("from is missing: " .. FIELDS.from[2]) end
  if type(object.from) == "string" then
    local source, wrong, example = address.parse(object.from)
    if not source then fault(("from: %s %s%s"):format(address.shown(object.from), wrong, example and ", for example " .. example or "")) end
  end
  if type(object.sha256) == "string" and not object.sha256:find("^" .. ("%x"):rep(64) .. "$") then
    fault("sha256 is not " .. FIELDS.sha256[2])
  end
  if type(object.kind) == "string" and not require("appliance.fetch.kind").is_known(object.kind) then
    fault(('there is no kind "%s"; it takes %s'):format(object.kind, FIELDS.kind[2]))
  end
  if math.type(object.mode) == "integer" and (object.mode < 0 or object.mode > 511) then fault("mode is not " .. FIELDS.mode[2]) end
end

--- objects.check(draft, faults) -> { [name] = { from, sha256, mode, watch, kind } }
function objects.check(made, faults)
  local fetch = {}
  for name, object in pairs(made.fetch) do
    if type(object) == "string" then object = { from = object } end
    local function fault(text) faults[#faults + 1] = failure.new("invalid", "fetch %s: %s", tostring(name), text) end
    if type(object) ~= "table" then
      fault(('is a %s; write { from = "s3://bucket/key" }'):format(type(object)))
    else
      faults_of(name, object, made.files, fault)
      fetch[name] = { from = object.from, sha256 = type(object.sha256) == "string" and object.sha256:lower() or nil,
                      mode = object.mode or 420, watch = object.watch or nil, kind = object.kind }
    end
  end
  return fetch
end

--- What no service names is an input of them all.
function objects.claim(fetch, services)
  local claimed, left = {}, {}
  for _, service in ipairs(services) do
    for _, name in ipairs(service.inputs or {}) do claimed[name] = true end
  end
  for name in pairs(fetch) do
    if not claimed[name] then left[#left + 1] = name end
  end
  table.sort(left)
  if not left[1] then return end
  for _, service in ipairs(services) do
    service.inputs = table.move(left, 1, #left, #(service.inputs or {}) + 1, service.inputs or {})
  end
end

--- Where one lies: below STATE_DIR/fetched, or at its absolute name.
function objects.path(name, state_dir)
  return name:sub(1, 1) == "/" and name or ("%s/fetched/%s"):format(state_dir, name)
end

-- ---------------------------------------------------------------- for people

--- One without its secrets.
function objects.shown(object)
  return { from = address.shown(object.from), sha256 = object.sha256, mode = ("%04o"):format(object.mode or 420), watch = object.watch,
           kind = object.kind }
end

--- Lines of `spark-appliance plan`.
function objects.describe(fetch, say)
  local names = {}
  for name in pairs(fetch) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local object = fetch[name]
    say("")
    say("fetch %s (mode %s)", name, object.mode)
    say("  from     %s%s", object.from, object.watch and "  # watched: fetched again when it changes" or "")
    if object.sha256 then say("  sha256   %s", object.sha256) end
  end
end

local COMPARED <const> = { "from", "sha256", "mode", "watch", "kind" }

--- What differs: { { object =, field =, kind =, from =, to = } }, as plan/show.lua's diff has it.
function objects.diff(from, to)
  from, to = from or {}, to or {}
  local names, entries = {}, {}
  for _, map in ipairs { from, to } do
    for name in pairs(map) do names[name] = true end
  end
  local sorted = {}
  for name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    local old, new = from[name], to[name]
    if not old or not new then
      entries[#entries + 1] = { object = name, kind = new and "added" or "removed", to = new and address.shown(new.from) or nil }
    else
      local was, is = objects.shown(old), objects.shown(new)
      for _, field in ipairs(COMPARED) do
        if old[field] ~= new[field] then
          entries[#entries + 1] = { object = name, field = field, kind = "changed", from = was[field], to = is[field] }
        end
      end
    end
  end
  return entries
end

--- Those entries, a line each.
function objects.diff_text(entries, say, mark)
  for _, entry in ipairs(entries) do
    if not entry.field then
      say("%s fetch %s%s", mark[entry.kind], entry.object, entry.to and " from " .. entry.to or "")
    elseif entry.from == entry.to then
      say("%s fetch %s: %s: another user, password or query", mark.changed, entry.object, entry.field)
    else
      say("%s fetch %s: %s: %s -> %s", mark.changed, entry.object, entry.field, tostring(entry.from or "(none)"),
        tostring(entry.to or "(none)"))
    end
  end
end

return objects
