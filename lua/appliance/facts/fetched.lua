--- EXT_CONF and HIVE_SITE_XML when they come from elsewhere: brought to STATE_DIR/fetched/.settings, and looked at again. The texts are
--- layers of the plan's files, so the plan can't be computed without them: that makes them a fact. Loaded where one of them is a URI.
local fetched = {}

local NAMES <const> = { "EXT_CONF", "HIVE_SITE_XML" }
local MOST <const> = 1 << 20                                   -- as of every configuration file: facts/spark.lua

--- Is any of them behind a URI?
function fetched.is_needed(env)
  for _, name in ipairs(NAMES) do
    if env[name] and env[name]:sub(1, 1) ~= "/" then return true end
  end
  return false
end

--- What is brought, for these settings.
function fetched.entries(env)
  local list = {}
  for _, name in ipairs(NAMES) do
    if env[name] and env[name]:sub(1, 1) ~= "/" then
      -- They may hold passwords: nobody else reads them.
      list[#list + 1] = { name = name, from = env[name], to = ("%s/fetched/.settings/%s"):format(env.STATE_DIR, name), mode = 384,
                          ceiling = MOST }
    end
  end
  return list
end

local troubles = {}

--- For `status`: what failed last with this one -> { text =, at = monotonic seconds } | nil
function fetched.trouble(name) return troubles[name] end

local function note(name, format, err)
  troubles[name] = err and { text = format:format(tostring(err)), at = require("appliance.task").now() } or nil
end

--- Fetches them, both or none. -> { EXT_CONF = path of the copy }, entries with the version that is there | nil, err
--- strict: a copy of an earlier start is no answer.
function fetched.bring(env, strict)
  local list, paths = fetched.entries(env), {}
  -- FACTS_TIMEOUT would end this without a reason.
  local ok, result = require("appliance.fetch").all(list, { state_dir = env.STATE_DIR, seconds = env.FACTS_TIMEOUT * 0.9,
    strict = strict })
  if not ok then
    local texts = {}
    for i, fault in ipairs(result) do
      texts[i] = tostring(fault)
      for _, entry in ipairs(list) do
        if entry.to == fault.to then note(entry.name, "%s", fault) end
      end
    end
    return nil, require("appliance.failure").new(result[1].kind, "%s", table.concat(texts, "; "))
  end
  for _, entry in ipairs(list) do
    local its = result[entry.to]
    paths[entry.name], entry.version = entry.to, its.version
    note(entry.name, "the copy of an earlier start is used: %s", its.stale)
    if its.stale then
      require("appliance.core.log").warn(("%s: the copy of an earlier start is used: %s"):format(entry.name, tostring(its.stale)))
    end
  end
  return paths, list
end

--- For ever: calls changed() when one of `list` (bring's) is another than it was. changed() -> false when it is to be tried again.
function fetched.watch(list, changed)
  require("appliance.fetch").watch(list, changed, nil, function(entry, err)
    note(entry.name, "can't be asked whether it has changed: %s", err)
  end)
end

return fetched
