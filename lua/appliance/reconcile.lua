--- From what runs to what should run: an ordered list of steps, each with the sentence for the log. Pure; supervise.lua carries it out.
--- Touches only what differs: a service whose process and inputs are the same goes on running, whatever else changes.
local same = require "appliance.same"

local reconcile = {}

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

--- "a", "a and b", "a, b and 3 more"
local function enumerate(items, most)
  local shown = { table.unpack(items, 1, most) }
  if #items > most then return table.concat(shown, ", ") .. (" and %d more"):format(#items - most) end
  if #shown < 2 then return shown[1] or "" end
  return table.concat(shown, ", ", 1, #shown - 1) .. " and " .. shown[#shown]
end

-- ---------------------------------------------------------------- facts, in words

local function is_list(value) return type(value) == "table" and (value[1] ~= nil or next(value) == nil) end

local function plain(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if is_list(value) then
    for i, item in ipairs(value) do parts[i] = plain(item) end
    return #parts > 0 and table.concat(parts, " ") or "none"
  end
  for i, key in ipairs(sorted(value)) do parts[i] = tostring(key) .. "=" .. plain(value[key]) end
  return table.concat(parts, " ")
end

--- Layers of configuration files (see boot.lua) are texts, which may hold secrets: whose changed is told, and no more.
local function tell_layers(old, new, into)
  local known = {}
  for _, list in pairs(old) do
    for _, layer in ipairs(list) do known[layer.origin] = layer.text end
  end
  for _, name in ipairs(sorted(new)) do
    for _, layer in ipairs(new[name]) do
      if known[layer.origin] ~= layer.text then into[#into + 1] = layer.origin .. (known[layer.origin] and " changed" or " is new") end
      known[layer.origin] = nil
    end
  end
  for _, origin in ipairs(sorted(known)) do into[#into + 1] = origin .. " is gone" end
end

--- Fields of the shipped sources in the words of people, of the new value; false: another field of the same source says it better.
local TOLD <const> = {
  ["masters.answers"] = function() return "a master answers" end,
  ["masters.uri"] = false, ["cluster.uri"] = false, ["cluster.why"] = false,
  ["masters.masters"] = function(list) return "the masters are now " .. plain(list) end,
  ["cluster.masters"] = function(list) return "the masters are now " .. plain(list) end,
  ["cluster.waits"] = function(sentence) return sentence or "the cluster runs this node's Spark version now" end,
}

local function tell(name, old, new, into)
  if same(old, new) then return end
  local told = TOLD[name]
  if told ~= nil then
    into[#into + 1] = told and told(new) or nil
    return
  end
  if name:find "%.layers$" and type(old) == "table" and type(new) == "table" then return tell_layers(old, new, into) end
  if type(old) == "table" and type(new) == "table" and not is_list(old) and not is_list(new) then
    local fields = {}
    for field in pairs(old) do fields[field] = true end
    for field in pairs(new) do fields[field] = true end
    for _, field in ipairs(sorted(fields)) do tell(name .. "." .. tostring(field), old[field], new[field], into) end
  elseif new == nil then
    into[#into + 1] = name .. " is gone"
  elseif require("appliance.secrets").is_secret(name) then
    into[#into + 1] = name .. " changed"
  else
    into[#into + 1] = ("%s %s now %s"):format(name, is_list(new) and "are" or "is", plain(new))
  end
end

--- What changed between two sets of facts, for the sentence of whatever follows from it: { "masters are now 10.0.0.3 10.0.0.4" }
function reconcile.causes(old, new)
  local causes, names = {}, {}
  for name in pairs(old) do names[name] = true end
  for name in pairs(new) do names[name] = true end
  for _, name in ipairs(sorted(names)) do tell(tostring(name), old[name], new[name], causes) end
  return causes
end

-- ---------------------------------------------------------------- files

--- Keys whose value differs, as sentences, and for each of them { was, is } in `values`. Comments, order and origin are nobody's input.
local function changed_keys(old, new)
  local changes, keys = { values = {} }, {}
  for key in pairs(old) do keys[key] = true end
  for key in pairs(new) do keys[key] = true end
  for _, key in ipairs(sorted(keys)) do
    local was, is = old[key], new[key]
    if not is then
      changes[#changes + 1] = key .. " is gone"
    elseif not was or was.value ~= is.value then
      local secrets = require "appliance.secrets"
      local value = is.secret and "changed" or "is now " .. (is.value == "" and "empty" or secrets.redact(key, is.value))
      changes[#changes + 1] = ("%s %s"):format(key, value)
      changes.values[#changes] = { was and was.value, is.value }
    end
  end
  return changes
end

--- What a file's readers see differently: nil for nothing, else sentences (with `values` where single keys differ).
local function file_change(name, old, new)
  if old and new and old.keys and new.keys then
    local changes = changed_keys(old.keys, new.keys)
    return changes[1] and changes or nil
  end
  if old and new and old.text == new.text then return nil end
  return { name .. (new and (old and " changed" or " is new") or " is gone") }
end

local function count_keys(keys)
  local count = 0
  for _ in pairs(keys) do count = count + 1 end
  return count == 1 and "1 key" or ("%d keys"):format(count)
end

local function write_step(name, old, new, change)
  local log
  if not old then
    log = ("%s: written%s"):format(name, new.keys and ", " .. count_keys(new.keys) or "")
  elseif change and new.keys and old.keys then
    log = ("%s: %s"):format(name, enumerate(change, 3))
  elseif old.text ~= new.text then
    log = ("%s: written anew%s"):format(name, change and "" or ", with the same values")
  else
    log = ("%s: its mode is now %04o"):format(name, new.mode)
  end
  return { kind = "write", file = name, text = new.text, mode = new.mode, log = log }
end

-- ---------------------------------------------------------------- what is fetched

--- Steps for what is to be fetched, and what has gone. `file_changes`: what readers of each see differently.
local function fetch_steps(current, wanted, file_changes, add)
  local before, after = current.fetch or {}, wanted.fetch or {}
  for _, name in ipairs(sorted(after)) do
    local old, new = before[name], after[name]
    if not old or old.from ~= new.from or old.sha256 ~= new.sha256 or old.version ~= new.version then
      file_changes[name] = { name .. (old and " changed" or " is new") }
      add { kind = "fetch", object = name, entry = new,
            log = ("%s: fetched from %s"):format(name, require("appliance.fetch.address").shown(new.from)) }
    elseif old.mode ~= new.mode or old.kind ~= new.kind then
      add { kind = "fetch", object = name, entry = new }
    end
  end
  for _, name in ipairs(sorted(before)) do
    if not after[name] then add { kind = "drop", object = name, log = name .. ": removed, no longer in the plan" } end
  end
end

-- ---------------------------------------------------------------- services

--- What the process itself was started with. All else of a spec is about supervising it, and is no reason to end it; but one that runs
--- without its lease, or under another one, might run beside whoever holds it.
local PROCESS = { "command", "env", "dir", "user", "nice", "lease" }
--- Ours alone: the supervisor never sees these.
local PRIVATE = { change = true, inputs = true, role = true, loose = true, loose_from = true }
local IN_WORDS = { env = "environment", dir = "directory" }

local function changed_fields(old, new)
  local process, supervision, is_process, fields = {}, {}, {}, {}
  for _, field in ipairs(PROCESS) do
    is_process[field] = true
    if not same(old[field], new[field]) then process[#process + 1] = IN_WORDS[field] or field end
  end
  for field in pairs(old) do fields[field] = true end
  for field in pairs(new) do fields[field] = true end
  for _, field in ipairs(sorted(fields)) do
    if not is_process[field] and not PRIVATE[field] and not same(old[field], new[field]) then supervision[#supervision + 1] = field end
  end
  return process, supervision
end

local function state_of(states, name)
  local view = states and states[name]
  if type(view) == "string" then return view, true end
  if view then return view.state, view.wanted ~= false end
  return nil, true
end

--- Which service stays as it is where only loose texts have changed? Who runs, or waits to, has no use for a restart; but one that must
--- find one of these masters to be ready at all (loose_from = "up") may have been told of none that leads.
local function is_kept_loosely(service, state)
  return not (service.loose_from == "up" and state == "starting")
end

--- Which running service stays as it is though its plan changed?
local function is_kept(service, state)
  if service.change == "keep" then return true end
  return service.change == "keep-while-healthy" and (state == nil or state == "up" or state == "starting" or state == "done")
end

--- Texts that may change under a running service (`loose` in docs/profiles.md): was and is both stand for the same thing.
local function is_loose(old, new, was, is)
  for i, text in ipairs(new.loose or {}) do
    if is == text then return was ~= nil and was == (old.loose or {})[i] end
  end
  return false
end

--- Is all that differs between two commands a loose text?
local function differs_loosely(old, new)
  if #old.command ~= #new.command then return false end
  for i, word in ipairs(new.command) do
    if old.command[i] ~= word and not is_loose(old, new, old.command[i], word) then return false end
  end
  return true
end

--- Is there a reason among them that is more than a loose text?
local function must_restart(old, new, process, file_changes)
  for _, field in ipairs(process) do
    if field ~= "command" or not differs_loosely(old, new) then return true end
  end
  for _, name in ipairs(new.inputs or {}) do
    local changes = file_changes[name] or {}
    for i in ipairs(changes) do
      local value = changes.values and changes.values[i]
      if not value or not is_loose(old, new, value[1], value[2]) then return true end
    end
  end
  return false
end

local function because(causes, reasons)
  if causes and causes[1] then return enumerate(causes, 3) end
  return enumerate(reasons, 3)
end

--- Is there a process whose plan is another now? Who waits, rests or is done has nothing to go on with: its next start is told by itself.
local RUNS <const> = { up = true, starting = true, stopping = true }

--- Whom a service is started after matters at its next start only, and changes whenever one of them comes or goes.
local function worth_telling(fields)
  local told = {}
  for _, field in ipairs(fields) do
    if field ~= "after" then told[#told + 1] = field end
  end
  return told[1] and told
end

--- Steps for one service that both plans have.
local function change_service(old, new, file_changes, options, add)
  local process, supervision = changed_fields(old, new)
  local reasons = {}
  if process[1] then reasons[1] = ("its %s changed"):format(enumerate(process, 5)) end
  for _, name in ipairs(new.inputs or {}) do
    table.move(file_changes[name] or {}, 1, #(file_changes[name] or {}), #reasons + 1, reasons)
  end
  if not process[1] and not supervision[1] and not reasons[1] then return end
  if process[1] or supervision[1] then add { kind = "declare", service = new.name, spec = new } end
  local state, is_wanted = state_of(options.states, new.name)
  local why = because(options.causes, reasons)
  if not is_wanted then
    add { kind = "keep", service = new.name,
          log = ("%s: stays stopped as it was asked to; its next start uses the new plan"):format(new.name) }
  elseif not reasons[1] then
    local told = (not state or RUNS[state]) and worth_telling(supervision)
    add { kind = "keep", service = new.name, log = told and ("%s: goes on running; its new %s hold%s from the next start"):format(
      new.name, enumerate(told, 5), #told == 1 and "s" or "") or nil }
  elseif is_kept(new, state) or is_kept_loosely(new, state) and not must_restart(old, new, process, file_changes) then
    add { kind = "keep", service = new.name, though = (not state or RUNS[state]) and why or nil }
  else
    add { kind = "restart", service = new.name, inputs = new.inputs, log = ("%s: restarted, %s"):format(new.name, why) }
  end
end

--- Who goes on running for the same reason is told of in one sentence, that of the first.
local function tell_kept(steps)
  local names, first = {}, {}
  for _, step in ipairs(steps) do
    local why = step.though
    if why then
      first[why], names[why] = first[why] or step, names[why] or {}
      table.insert(names[why], step.service)
    end
  end
  for why, step in pairs(first) do
    local is_one = #names[why] == 1
    step.log = ("%s: %s on running though %s; %s the new plan"):format(enumerate(names[why], 5), is_one and "goes" or "go", why,
      is_one and "its next start uses" or "their next starts use")
  end
end

--- Files are there before who reads them, and stay until nobody does.
local ORDER = { "fetch", "write", "declare", "stop", "restart", "start", "keep", "say", "remove", "drop" }

local function by_name(services)
  local map = {}
  for _, service in ipairs(services) do map[service.name] = service end
  return map
end

--- The same services, each behind those it waits for, so that nobody is told to wait for one that merely comes later in the plan.
local function needed_first(services)
  local known, placed, ordered = by_name(services), {}, {}
  local function place(service)
    if placed[service.name] then return end
    placed[service.name] = true
    for _, name in ipairs(sorted(service.after or {})) do
      if known[name] then place(known[name]) end
    end
    ordered[#ordered + 1] = service
  end
  for _, service in ipairs(services) do place(service) end
  return ordered
end

--- reconcile.steps(current, wanted [, { states = { [service] = view }, causes = { "masters are now ..." } }]) -> steps
--- `current` is the plan in force, nil at the start (`files` may be those found on disk: { files = {...}, services = {} }).
--- `states`: supervise.view of each service, or only its state's name. A step:
---   { kind = "fetch", object = name, entry = the plan's }   { kind = "drop", object = name }
---   { kind = "write", file =, text =, mode = }   { kind = "remove", file = }
---   { kind = "declare", service =, spec = }      { kind = "start" | "restart" | "stop" | "keep", service = }
--- a restart with the service's `inputs`,
--- in the order in which they are carried out; { kind = "say" } are the plan's notes, each told once.
--- `log` is the sentence; a step without one says nothing.
function reconcile.steps(current, wanted, options)
  current = current or { files = {}, services = {} }
  options = options or {}
  local lists = {}
  for _, kind in ipairs(ORDER) do lists[kind] = {} end
  local function add(step) table.insert(lists[step.kind], step) end

  local file_changes = {}
  if current.fetch or wanted.fetch then fetch_steps(current, wanted, file_changes, add) end
  for _, name in ipairs(sorted(wanted.files)) do
    local old, new = current.files[name], wanted.files[name]
    file_changes[name] = file_change(name, old, new)
    if not old or old.text ~= new.text or old.mode ~= new.mode then add(write_step(name, old, new, file_changes[name])) end
  end
  for _, name in ipairs(sorted(current.files)) do
    if not wanted.files[name] then add { kind = "remove", file = name, log = name .. ": removed, no longer in the plan" } end
  end

  local before, after = by_name(current.services), by_name(wanted.services)
  for _, service in ipairs(needed_first(wanted.services)) do
    local old = before[service.name]
    if old then
      change_service(old, service, file_changes, options, add)
    else
      add { kind = "declare", service = service.name, spec = service }
      add { kind = "start", service = service.name, log = ("%s: started%s"):format(service.name,
        options.causes and options.causes[1] and ", " .. enumerate(options.causes, 3) or "") }
    end
  end
  for _, service in ipairs(current.services) do
    if not after[service.name] then
      add { kind = "stop", service = service.name, log = ("%s: stopped, %s"):format(service.name,
        because(options.causes, { "no longer in the plan" })) }
    end
  end

  tell_kept(lists.keep)

  local said = {}
  for _, note in ipairs(current.notes or {}) do said[note] = true end
  for _, note in ipairs(wanted.notes or {}) do
    if not said[note] then add { kind = "say", log = note } end
  end

  for _, name in ipairs(sorted(wanted.waits or {})) do
    local why = wanted.waits[name]
    if (current.waits or {})[name] ~= why then add { kind = "say", log = ("%s: waits, %s"):format(name, why) } end
  end

  local steps = {}
  for _, kind in ipairs(ORDER) do table.move(lists[kind], 1, #lists[kind], #steps + 1, steps) end
  return steps
end

return reconcile
