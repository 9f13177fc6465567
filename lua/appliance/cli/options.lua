--- Options of a command: options.parse(words, known) -> options, rest | nil, sentence
--- known = { json = "flag", bytes = "number", wait = "duration", profile = "text", follow = { "flag", short = "f" } }
--- (a duration comes as seconds; { "list", into = "rules" } may be given often, and is a list of { name of the option, value } in the order
--- in which they were said, that of several options when they go into one)
--- `--name`, `--name value`, `--name=value`, `-f`, and `--` behind which nothing is an option. Options and words may be mixed.
local options = {}

local function index(known)
  local by_word = { ["--help"] = { name = "help", kind = "flag" }, ["-h"] = { name = "help", kind = "flag" } }
  for name, how in pairs(known) do
    local kind, short, into = how, nil, name
    if type(how) == "table" then kind, short, into = how[1], how.short, how.into or name end
    local option = { name = name, kind = kind, into = into }
    by_word["--" .. name:gsub("_", "-")] = option
    if short then by_word["-" .. short] = option end
  end
  return by_word
end

local EXAMPLES = { number = "10", duration = "60s" }

local function value_of(option, word, given, rest)
  if option.kind == "flag" then
    if given then return nil, ("%s takes no value"):format(word) end
    return true
  end
  local value = given or table.remove(rest, 1)
  if value == nil then return nil, ("%s needs a value: %s %s"):format(word, word, EXAMPLES[option.kind] or "TEXT") end
  if option.kind == "number" then
    local number = math.tointeger(tonumber(value))
    if not number or number < 0 then return nil, ("%s %s: it must be a whole number"):format(word, value) end
    return number
  end
  if option.kind == "duration" then
    local seconds, problem = require("appliance.settings.types").duration(value, { example = EXAMPLES.duration })
    if not seconds then return nil, ("%s %s %s: %s %s"):format(word, value, problem, word, EXAMPLES.duration) end
    return seconds
  end
  return value
end

function options.parse(words, known)
  local by_word = index(known)
  local found, rest = {}, {}
  local left = table.move(words, 1, #words, 1, {})
  while #left > 0 do
    local word = table.remove(left, 1)
    if word == "--" then
      table.move(left, 1, #left, #rest + 1, rest)
      break
    elseif word:sub(1, 1) ~= "-" or word == "-" then
      rest[#rest + 1] = word
    else
      local name, given = word:match "^(%-%-[^=]+)=(.*)$"
      local option = by_word[name or word]
      if not option then
        return nil, ("unknown option %s%s"):format(name or word, require("appliance.near").hint(name or word, pairs(by_word)))
      end
      local value, problem = value_of(option, name or word, given, left)
      if value == nil then return nil, problem end
      if option.kind == "list" then
        found[option.into] = found[option.into] or {}
        table.insert(found[option.into], { option.name, value })
      else
        found[option.name] = value
      end
    end
  end
  return found, rest
end

return options
