--- What a plan may say. Every mistake of a draft, in one reading: "service worker: ready.port is missing: ...".
--- Services come back normalised: numbers for durations (seconds) and sizes (bytes), strings for everything in command and env.
local failure = require "appliance.failure"

local check = {}

--- A type is a function(value) -> normalised value | nil, what would be right.
local T = {}

function T.boolean(value)
  if type(value) == "boolean" then return value end
  return nil, "true or false"
end

function T.string(value)
  if type(value) == "string" and value ~= "" and not value:find "%z" then return value end
  return nil, "a text that is not empty"
end

function T.path(value)
  if type(value) == "string" and value:sub(1, 1) == "/" and not value:find "%z" then return value end
  return nil, "an absolute path"
end

--- Names are not looked up by who supervises: that could block.
function T.address(value)
  if type(value) == "string" and (value:find "^%d+%.%d+%.%d+%.%d+$" or value:find ":" and value:find "^[%x:.]+$") then return value end
  return nil, "a numeric address, such as 127.0.0.1"
end

function T.request(value)
  if type(value) == "string" and value:find "^/%S*$" and #value <= 1000 then return value end
  return nil, 'a path to ask for, such as "/json/"'
end

function T.lease(value)
  if type(value) == "string" and #value <= 63 and value:find "^%w[%w_.-]*$" then return value end
  return nil, 'the name of a lease, such as "sql"'
end

function T.user(value)
  if math.type(value) == "integer" and value >= 0 then return value end
  if type(value) == "string" and value ~= "" then return value end
  return nil, "the name or number of a user"
end

local function whole(least, most)
  return function(value)
    value = type(value) == "number" and math.tointeger(value)
    if value and value >= least and value <= most then return value end
    return nil, ("a whole number from %d to %d"):format(least, most)
  end
end

local function by_settings_type(type_name, right)
  return function(value)
    if type(value) == "number" and value >= 0 and value < math.huge then return value end
    local parsed = type(value) == "string" and require("appliance.settings.types")[type_name](value, {})
    if parsed then return parsed end
    return nil, right
  end
end
T.duration = by_settings_type("duration", 'seconds, or a text like "30s"')
function T.period(value)
  local seconds = T.duration(value)
  if seconds and seconds >= 0.001 then return seconds end
  return nil, 'at least a millisecond, as seconds or as a text like "250ms"'
end
T.size = by_settings_type("size", 'bytes, or a text like "10m"')

local function one_of(...)
  local values, is_value = { ... }, {}
  for _, value in ipairs(values) do is_value[value] = true end
  return function(value)
    if is_value[value] then return value end
    return nil, "one of " .. table.concat(values, ", "),
      type(value) == "string" and require("appliance.near").hint(value, values) or ""
  end
end

local function list_of(item, right)
  return function(value)
    if type(value) ~= "table" then return nil, right end
    local list = {}
    for i, entry in ipairs(value) do
      list[i] = item(entry)
      if list[i] == nil then return nil, right end
    end
    for key in pairs(value) do
      if not list[key] then return nil, right .. ", without holes or names" end
    end
    return list
  end
end

local function word(value)
  if type(value) == "number" then value = math.tointeger(value) or value end
  if (type(value) == "string" or type(value) == "number") and not tostring(value):find "%z" then return tostring(value) end
end

function T.command(value)
  local list = list_of(word, "")(value)
  if list and list[1] and list[1] ~= "" then return list end
  return nil, 'a list with the program first, such as { "/usr/bin/java", "-version" }'
end

--- false takes a variable away that was taken over from elsewhere.
function T.env(value)
  if type(value) ~= "table" then return nil, "a table of variables" end
  local env = {}
  for name, text in pairs(value) do
    if type(name) ~= "string" or name == "" or name:find "[=%z]" then return nil, "a table whose names are names of variables" end
    if text ~= false then
      if type(text) == "boolean" then text = "true" end
      env[name] = word(text)
      if not env[name] then return nil, ("a text for %s"):format(name) end
    end
  end
  return env
end

local SIGNALS = {}
for name in ("HUP INT QUIT ABRT KILL USR1 USR2 ALRM TERM CONT PWR WINCH"):gmatch "%u%w*" do SIGNALS[name] = true end

function T.signal(value)
  local name = type(value) == "string" and value:upper():gsub("^SIG", "")
  if name and SIGNALS[name] then return name end
  return nil, 'the name of a signal, such as "TERM"'
end

function T.after(value)
  if type(value) ~= "table" then return nil, 'a table such as { master = "ready" }' end
  for name, need in pairs(value) do
    if type(name) ~= "string" or need ~= "ready" and need ~= "started" and need ~= "done" then
      return nil, ('"ready", "started" or "done" for each name, as in { %s = "ready" }'):format(type(name) == "string" and name or "master")
    end
  end
  return value
end

function T.clean(value)
  local list = list_of(whole(1, 255), "")(value)
  if list and #list <= 4 then return list end
  return nil, "a list of up to four exit codes besides 0, such as { 143 }"
end

--- May have holes: what a service reads often depends on what there is (`has_site and "hive-site.xml"`).
function T.inputs(value)
  if type(value) ~= "table" then return nil, "a list of files of the plan" end
  local places, list = {}, {}
  for at, name in pairs(value) do
    if math.type(at) ~= "integer" or name and type(name) ~= "string" then return nil, "a list of files of the plan" end
    if name then places[#places + 1] = at end
  end
  table.sort(places)
  for i, at in ipairs(places) do list[i] = value[at] end
  return list
end

function T.texts(value)
  local list = list_of(T.string, "")(value)
  if list then return list end
  return nil, "a list of texts"
end

local FIELDS = {
  name = T.string, command = T.command, env = T.env, dir = T.path, user = T.user, nice = whole(-20, 19),
  after = T.after, lease = T.lease,
  oneshot = T.boolean, critical = T.boolean, restart = one_of("always", "on-failure", "never"), clean = T.clean,
  change = one_of("restart", "keep", "keep-while-healthy"), inputs = T.inputs, role = T.string,
  loose = T.texts, loose_from = one_of("started", "up"),
  ready = {
    kind = one_of("tcp", "http", "hive", "line", "lua"), host = T.address, port = whole(1, 65535), path = T.request, has = T.string,
    period = T.period, deadline = T.duration, misses = whole(0, 1000000), health_period = T.period,
  },
  backoff = { min = T.duration, max = T.duration, healthy = T.duration, give_up = whole(0, 1000000) },
  stop = { signal = T.signal, grace = T.duration, dump = T.signal },
  log = { file = T.path, size = T.size, keep = whole(0, 1000), full = one_of("drop", "block"), console = T.boolean },
}

local function show(value)
  if type(value) == "string" then return '"' .. value:sub(1, 60):gsub("%c", "?") .. '"' end
  return type(value) == "table" and "a table" or tostring(value)
end

--- Checks the fields of `given`, telling `fault` the full name of each wrong one.
local function fields(given, known, prefix, fault)
  local normalised = {}
  for field, value in pairs(given) do
    local rule = known[field]
    if not rule then
      fault(('%s%s is not known%s'):format(prefix, tostring(field), require("appliance.near").hint(tostring(field), pairs(known))))
    elseif type(rule) == "table" then
      if type(value) == "table" then
        normalised[field] = fields(value, rule, prefix .. field .. ".", fault)
      elseif value ~= false then
        fault(("%s%s is %s; it takes a table"):format(prefix, field, show(value)))
      end
    else
      local right, cure, hint = rule(value)
      if right == nil then fault(("%s%s is %s; it takes %s%s"):format(prefix, field, show(value), cure, hint or "")) end
      normalised[field] = right
    end
  end
  return normalised
end

--- What each kind of readiness can't do without, and why.
local READY_NEEDS = {
  tcp = { port = "the port that answers once the service is ready" },
  hive = { port = "the port on which it opens sessions" },
  http = { port = "the port to ask", path = 'the path to ask for, such as "/json/"' },
  line = { has = "the text that the line holds which says it is ready" },
  lua = {},
}

local function readiness(ready, given, fault)
  if not ready then return end
  local needs = READY_NEEDS[ready.kind]
  if not needs then
    if given.kind == nil then fault 'ready.kind is missing: "tcp", "http", "hive", "line" or "lua"' end
    return
  end
  for field, why in pairs(needs) do
    if given[field] == nil then fault(("ready.%s is missing: %s"):format(field, why)) end
  end
  local connects = ready.kind == "tcp" or ready.kind == "http" or ready.kind == "hive"
  if connects then ready.host = ready.host or "127.0.0.1" end
  if not connects and (ready.misses or 0) > 0 then
    fault "ready.misses needs kind tcp, http or hive: of the others there is nothing to ask again"
  end
end

local function one_service(given, fault)
  local service = fields(given, FIELDS, "", fault)
  if given.command == nil then fault 'command is missing: the program and its arguments, such as { "/usr/bin/java", "-version" }' end
  readiness(service.ready, given.ready, fault)
  local backoff = service.backoff
  if backoff and backoff.min and backoff.max and backoff.min > backoff.max then
    fault(("backoff.min is %g and backoff.max %g; the first is the smaller"):format(backoff.min, backoff.max))
  end
  if service.oneshot and service.lease then
    fault "oneshot and lease exclude each other: a step that is over at the end of a lease may have been half done"
  end
  if service.oneshot and service.ready then fault "oneshot and ready exclude each other: a one-shot is done when it has exited with 0" end
  return service
end

--- after: only services of this plan, in a way they can fulfil.
local function needs(services, by_name, fault)
  for _, service in ipairs(services) do
    for name, need in pairs(service.after or {}) do
      local other = by_name[name]
      if not other then
        local hint = require("appliance.near").hint(name, pairs(by_name))
        fault(service.name, ("after.%s: there is no such service in this plan%s"):format(name, hint))
      elseif name == service.name then
        fault(service.name, ("after.%s: a service can't wait for itself"):format(name))
      elseif need == "done" and not other.oneshot then
        fault(service.name, ('after.%s is "done", but %s never ends by itself: make it a oneshot, or wait for "ready"'):format(name, name))
      end
    end
  end
end

local function cycles(services, by_name, fault)
  local state, path = {}, {}
  local function visit(service)
    if state[service] == "done" then return end
    path[#path + 1] = service.name
    if state[service] then
      local first = 1
      while path[first] ~= service.name do first = first + 1 end
      fault(service.name, ("after goes in a circle: %s; take one of these out"):format(table.concat(path, " waits for ", first)))
    else
      state[service] = "open"
      local names = {}
      for name in pairs(service.after or {}) do names[#names + 1] = name end
      table.sort(names)
      for _, name in ipairs(names) do
        if by_name[name] and name ~= service.name then visit(by_name[name]) end
      end
    end
    state[service] = "done"
    path[#path] = nil
  end
  for _, service in ipairs(services) do visit(service) end
end

--- More is a slip of a loop, which no machine should try to start.
local MOST_SERVICES <const> = 10000

--- check.services(draft, faults) -> normalised list
function check.services(made, faults)
  if #made.services > MOST_SERVICES then
    faults[#faults + 1] = failure.new("invalid", "services: there are %d, %d at most; is there a loop that adds too many?", #made.services,
      MOST_SERVICES)
    return {}
  end
  local services, by_name = {}, {}
  local function fault(name, text) faults[#faults + 1] = failure.new("invalid", "service %s: %s", name, text) end
  for at, given in ipairs(made.services) do
    local name = type(given) == "table" and type(given.name) == "string" and given.name
    if type(given) ~= "table" then
      faults[#faults + 1] = failure.new("invalid",
        "services: entry %d is %s; write service { name =, command = } or a role such as spark.master {}", at, show(given))
    elseif given.name == nil then
      faults[#faults + 1] = failure.new("invalid",
        'services: entry %d has no name; add one, as in service { name = "cache", command = ... }', at)
    elseif not name or #name > 63 or not name:find "^%w[%w_.-]*$" then
      faults[#faults + 1] = failure.new("invalid", "services: entry %d has the name %s; a name has letters, digits, - _ and ., 63 at most",
        at, show(given.name))
    else
      local service = one_service(given, function(text) fault(name, text) end)
      if by_name[name] then fault(name, "there are two of this name; rename one, or return only one of them") end
      by_name[name] = service
      services[#services + 1] = service
    end
  end
  for name in pairs(made.missing or {}) do
    local hint = require("appliance.near").hint(name, pairs(by_name))
    fault(name, ("is changed by its name, but the plan has no such service%s"):format(
      hint ~= "" and hint or "; lay the plan that has it below, as in plan { base, ... }, or add it as service { name = ... }"))
  end
  for _, field in ipairs(made.unknown or {}) do
    faults[#faults + 1] = failure.new("invalid", "plan: %s is not known%s", field,
      require("appliance.near").hint(field, { "files", "fetch", "services", "notes", "urls", "waits" }))
  end
  needs(services, by_name, fault)
  cycles(services, by_name, fault)
  return services
end

function check.file_name_fault(name)
  if type(name) ~= "string" or name == "" or name:find "%z" then return "a file needs a name" end
  if ("/" .. name .. "/"):find("/../", 1, true) then return 'may not hold ".."' end
  if name:sub(-1) == "/" then return "is a directory's name" end
end

--- check.files(draft, faults): names and kinds; what the keys may hold is the merger's to say.
function check.files(made, faults)
  for name, file in pairs(made.files) do
    local problem = check.file_name_fault(name)
    if not problem and (type(file) ~= "table" or not file.format) then
      problem = "is " .. show(file) .. "; write properties {...}, xml {...} or text \"...\""
    end
    local under = not problem and file.under
    if under and (under.format == "text") ~= (file.format == "text") then
      problem = ("is %s here and %s in the profile it extends; take the same word"):format(file.format, under.format)
    end
    if problem then faults[#faults + 1] = failure.new("invalid", "file %s: %s", tostring(name), problem) end
  end
  for at, note in ipairs(made.notes) do
    if type(note) ~= "string" then
      faults[#faults + 1] = failure.new("invalid", "notes: entry %d is %s; a note is a sentence", at, show(note))
    end
  end
  for name, sentence in pairs(made.waits) do
    if type(name) ~= "string" or type(sentence) ~= "string" then
      faults[#faults + 1] = failure.new("invalid", 'waits: %s is %s; write waits = { worker = "no master is known yet" }', tostring(name),
        show(sentence))
    end
  end
  for at, link in ipairs(made.urls) do
    if type(link) ~= "table" or type(link.name) ~= "string" or type(link.url) ~= "string" then
      faults[#faults + 1] = failure.new("invalid", "urls: entry %d is %s; write { name = \"master page\", url = \"http://...\" }",
        at, show(link))
    end
  end
end

--- check.inputs(services, files, fetch, faults): a service is restarted for its inputs, so each must be a file of the plan, or one that it
--- fetches.
function check.inputs(services, files, fetch, faults)
  for _, service in ipairs(services) do
    for _, name in ipairs(service.inputs or {}) do
      if not files[name] and not fetch[name] then
        local known = {}
        for other in pairs(files) do known[#known + 1] = other end
        for other in pairs(fetch) do known[#known + 1] = other end
        faults[#faults + 1] = failure.new("invalid", "service %s: inputs: the plan has no file %s%s", service.name, name,
          require("appliance.near").hint(name, known))
      end
    end
  end
end

return check
