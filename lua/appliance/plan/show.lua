--- Plans for people: what one holds and where it comes from, and what differs between two. No secret passes through here readable.
local same = require "appliance.same"
local secrets = require "appliance.secrets"

local show = {}

local function sorted_keys(...)
  local set, names = {}, {}
  for _, map in ipairs { ... } do
    for name in pairs(map) do
      if not set[name] then set[name], names[#names + 1] = true, name end
    end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

--- A value of a service as one word or more: commands as a shell would show them, tables as name=value.
local function words(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if value[1] ~= nil then
    for i, item in ipairs(value) do
      item = tostring(item)
      parts[i] = (item == "" or item:find "[%s'\"$\\`*?#&;|<>()]") and "'" .. item:gsub("'", "'\\''") .. "'" or item
    end
  else
    for _, key in ipairs(sorted_keys(value)) do parts[#parts + 1] = tostring(key) .. "=" .. words(value[key]) end
  end
  return table.concat(parts, " ")
end

--- A class path of hundreds of jars hides all that stands beside it: its ends are shown (--json has all of it).
local function fold(word)
  local first, middle, last = word:match "^([^:]*:)(.*)(:[^:]*)$"
  local _, jars = (middle or ""):gsub("[^:]+", "")
  return jars > 20 and ("%s(%d more)%s"):format(first, jars, last) or word
end

local function folded(text) return (text:gsub("%S+", fold)) end

--- The words of a text, each with what follows it; a class path is a word for each jar.
local function pieces(text)
  local list = {}
  for word, space in text:gmatch "(%S+)(%s*)" do
    if fold(word) ~= word then
      for jar in word:gmatch "[^:]*:?" do list[#list + 1] = jar end
    else
      list[#list + 1] = word
    end
    list[#list] = list[#list] .. space
  end
  return list
end

--- What differs between two texts of words, with one word before it: that is the option whose value it is.
local function differing(from, to)
  local a, b = pieces(from), pieces(to)
  local shorter = math.min(#a, #b)
  local first, rest = 1, 0
  while first <= shorter and a[first] == b[first] do first = first + 1 end
  while rest <= shorter - first and a[#a - rest] == b[#b - rest] do rest = rest + 1 end
  first = math.max(first - 1, 1)
  local function shown(list)
    local middle = table.concat(list, "", first, #list - rest):gsub("%s+$", "")
    return (first > 1 and "... " or "") .. folded(middle) .. (rest > 0 and " ..." or "")
  end
  return shown(a), shown(b)
end

local function shown_service(service)
  local shown = {}
  for field, value in pairs(service) do shown[field] = value end
  shown.command = secrets.redact_command(service.command or {})
  shown.env = service.env and secrets.redact_env(service.env)
  return shown
end

local function shown_key(name, key)
  local function hide(value) return key.secret and secrets.REDACTED or secrets.redact(name, value) end
  local shown = { value = hide(key.value), origin = key.origin, secret = key.secret, final = key.final }
  if key.shadowed then
    shown.shadowed = {}
    for i, below in ipairs(key.shadowed) do shown.shadowed[i] = { value = hide(below.value), origin = below.origin } end
  end
  return shown
end

--- The plan without its secrets and without the texts of its files (their keys say the same): what --json prints.
function show.redacted(plan)
  local shown = { profile = plan.profile, files = {}, services = {}, notes = plan.notes, urls = plan.urls, waits = plan.waits }
  for name, file in pairs(plan.files) do
    local its = { format = file.format, mode = ("%04o"):format(file.mode), origin = file.origin, shadowed = file.shadowed }
    if file.keys then
      its.keys = {}
      for key, decided in pairs(file.keys) do its.keys[key] = shown_key(key, decided) end
    else
      its.text = file.secret and secrets.REDACTED or file.text
    end
    shown.files[name] = its
  end
  for i, service in ipairs(plan.services) do shown.services[i] = shown_service(service) end
  if plan.fetch then
    shown.fetch = {}
    for name, object in pairs(plan.fetch) do shown.fetch[name] = require("appliance.plan.objects").shown(object) end
  end
  return shown
end

local SERVICE_FIELDS = {
  "role", "lease", "after", "ready", "oneshot", "critical", "restart", "backoff", "stop", "clean", "change", "inputs", "loose",
  "loose_from", "user", "nice", "dir", "log",
}

--- What `spark-appliance plan` prints.
function show.describe(plan)
  local shown = show.redacted(plan)
  local lines = {}
  local function say(text, ...) lines[#lines + 1] = text:format(...) end
  say("profile %s", shown.profile)
  for _, name in ipairs(sorted_keys(shown.files)) do
    local file = shown.files[name]
    say("")
    say("file %s (mode %s)%s", name, file.mode, file.origin and "  # " .. file.origin or "")
    for _, below in ipairs(not file.keys and file.shadowed or {}) do say("    hides the one of %s", below.origin) end
    for _, key in ipairs(sorted_keys(file.keys or {})) do
      local its = file.keys[key]
      say("  %s = %s  # %s%s", key, its.value, its.origin, its.final and ", final" or "")
      for _, below in ipairs(its.shadowed or {}) do say("    hides %s  # %s", below.value, below.origin) end
    end
  end
  if shown.fetch then require("appliance.plan.objects").describe(shown.fetch, say) end
  for _, service in ipairs(shown.services) do
    say("")
    say("service %s", service.name)
    say("  command  %s", folded(words(service.command)))
    for _, field in ipairs(SERVICE_FIELDS) do
      if service[field] ~= nil then say("  %-8s %s", field, words(service[field])) end
    end
    for i, name in ipairs(sorted_keys(service.env or {})) do
      say("  %-8s %s=%s", i == 1 and "env" or "", name, fold(words(service.env[name])))
    end
  end
  for _, name in ipairs(sorted_keys(shown.waits or {})) do
    say("")
    say("%s waits: %s", name, shown.waits[name])
  end
  for _, note in ipairs(shown.notes or {}) do
    say("")
    say("note: %s", note)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function diff_keys(entries, name, from, to)
  for _, key in ipairs(sorted_keys(from, to)) do
    local old, new = from[key], to[key]
    if not (old and new and old.value == new.value) then
      local before, after = old and shown_key(key, old), new and shown_key(key, new)
      entries[#entries + 1] = {
        file = name, key = key, kind = not old and "added" or not new and "removed" or "changed",
        from = before and before.value, to = after and after.value, origin = (after or before).origin, secret = (new or old).secret,
      }
    end
  end
end

local function by_name(services)
  local map = {}
  for _, service in ipairs(services) do map[service.name] = service end
  return map
end

--- An environment differs variable by variable: all of it, twice, would hide the one.
local function diff_env(entries, service, from, to)
  for _, name in ipairs(sorted_keys(from, to)) do
    local old, new = from[name], to[name]
    if old ~= new then
      local kind = old == nil and "added" or new == nil and "removed" or "changed"
      entries[#entries + 1] = { service = service, field = "env", name = name, kind = kind,
        from = old and secrets.redact(name, old), to = new and secrets.redact(name, new) }
    end
  end
end

--- What differs, as data: { files = { { file, key, kind, from, to, origin } }, services = { { service, field, kind, from, to } } };
--- an entry of the field "env" has the `name` of its variable; fetch = { { object, field, kind, from, to } } where a plan fetches.
--- `from` may be nil: nothing is there yet.
function show.diff(from, to)
  from = from or { files = {}, services = {} }
  local files, services = {}, {}
  for _, name in ipairs(sorted_keys(from.files, to.files)) do
    local old, new = from.files[name], to.files[name]
    if not old or not new then
      files[#files + 1] = { file = name, kind = new and "added" or "removed", origin = (new or old).origin }
    elseif not (old.keys and new.keys) and old.text ~= new.text then
      files[#files + 1] = { file = name, kind = "changed", origin = new.origin }
    end
    if new then diff_keys(files, name, old and old.keys or {}, new.keys or {}) end
  end
  local before, after = by_name(from.services), by_name(to.services)
  for _, name in ipairs(sorted_keys(before, after)) do
    local old, new = before[name], after[name]
    if not old or not new then
      services[#services + 1] = { service = name, kind = new and "added" or "removed",
                                  to = new and words(shown_service(new).command) or nil }
    else
      local was, is = shown_service(old), shown_service(new)
      for _, field in ipairs(sorted_keys(old, new)) do
        if field == "env" then
          diff_env(services, name, old.env or {}, new.env or {})
        elseif not same(old[field], new[field]) then
          local from_text, to_text = was[field], is[field]
          services[#services + 1] = { service = name, field = field, kind = "changed", from = from_text ~= nil and words(from_text) or nil,
                                      to = to_text ~= nil and words(to_text) or nil }
        end
      end
    end
  end
  local fetch = (from.fetch or to.fetch) and require("appliance.plan.objects").diff(from.fetch, to.fetch) or nil
  return { files = files, services = services, fetch = fetch and fetch[1] and fetch or nil }
end

local MARK = { added = "+", removed = "-", changed = "~" }

--- The same for people, a line each. Empty text: nothing differs.
function show.diff_text(difference)
  local lines = {}
  local function say(text, ...) lines[#lines + 1] = text:format(...) end
  for _, entry in ipairs(difference.files) do
    local mark = MARK[entry.kind]
    if not entry.key then
      say("%s file %s", mark, entry.file)
    elseif entry.kind == "changed" and entry.secret then
      say("%s %s: %s: another secret  # %s", mark, entry.file, entry.key, entry.origin)
    elseif entry.kind == "changed" then
      say("%s %s: %s: %s -> %s  # %s", mark, entry.file, entry.key, entry.from, entry.to, entry.origin)
    else
      say("%s %s: %s = %s  # %s", mark, entry.file, entry.key, entry.to or entry.from, entry.origin)
    end
  end
  if difference.fetch then require("appliance.plan.objects").diff_text(difference.fetch, say, MARK) end
  for _, entry in ipairs(difference.services) do
    local mark = MARK[entry.kind]
    if not entry.field then
      say("%s service %s%s", mark, entry.service, entry.to and ": " .. folded(entry.to) or "")
    elseif entry.name and entry.kind ~= "changed" then
      say("%s service %s: env %s = %s", mark, entry.service, entry.name, fold(entry.to or entry.from))
    elseif entry.name and entry.from == entry.to then
      say("%s service %s: env %s: another secret", mark, entry.service, entry.name)
    elseif entry.name then
      say("%s service %s: env %s: %s -> %s", mark, entry.service, entry.name, differing(entry.from, entry.to))
    elseif entry.from and entry.to then
      say("%s service %s: %s: %s -> %s", mark, entry.service, entry.field, differing(entry.from, entry.to))
    else
      say("%s service %s: %s: %s -> %s", mark, entry.service, entry.field, entry.from or "(none)", entry.to or "(none)")
    end
  end
  return #lines > 0 and table.concat(lines, "\n") .. "\n" or ""
end

return show
