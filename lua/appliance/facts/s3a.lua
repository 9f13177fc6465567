--- The fact `spark.s3()`: where S3 is for this node (region, endpoint), and whether the broker gives its services credentials.
--- Region and endpoint by the environment cost nothing. The metadata service is asked for the region only where this is EC2 or somebody
--- named its address, and a start waits for it two seconds at most: what comes later is a change of the plan, as with every fact.
local facts = require "appliance.facts"

local s3a = {}

local WAIT <const> = 2

--- A variable that is blank is not set, for the SDKs as for us.
local function given(environ, ...)
  for _, name in ipairs { ... } do
    local value = environ[name]
    if value and value:find "%S" then return value:match "^%s*(.-)%s*$", name .. " (environment)" end
  end
end

--- Pure: what the environment says -> { region, region_from, endpoint, endpoint_from }
function s3a.read(environ)
  local seen = {}
  seen.region, seen.region_from = given(environ, "AWS_REGION", "AWS_DEFAULT_REGION")
  if (given(environ, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or ""):lower() ~= "true" then
    seen.endpoint, seen.endpoint_from = given(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
  end
  return seen
end

--- The same with a region that was learned.
local function with_region(seen, region)
  local more = {}
  for name, value in pairs(seen) do more[name] = value end
  more.region, more.region_from = region, "region of this node"
  return more
end

--- Has this Spark an S3A at all? A look at the names of its jars; the fact spark.layout() tells all of it, but facts don't see each other.
local function has_s3a(env, environ, file)
  local home = require("appliance.facts.spark").find_home(env, environ, file)
  for _, name in ipairs(home and file.list(home .. "/jars") or {}) do
    if name:find "^hadoop%-aws%-%d.*%.jar$" then return true end
  end
  return false
end

--- The region from profile files or the metadata service, told when it is known. An error of that module is no reason not to start.
local function learn_region(emit, seen)
  local log = require "appliance.core.log"
  local task = require "appliance.core.task"
  local asking <close> = task.start("region", function() return require("appliance.credentials").region() end)
  local began <const> = task.now()
  local ok, region, err = asking:join(WAIT)
  if not ok and task.now() - began >= WAIT then
    log.warn(("region: not learned within %d s, so the start goes on without: set AWS_REGION to save S3 requests a detour"):format(WAIT))
    emit(seen)
    ok, region, err = asking:join()
  end
  if ok and region then return emit(with_region(seen, region)) end
  local problem = err or not ok and region
  if problem then log.info(("region: %s; S3A will find each bucket's by itself"):format(tostring(problem))) end
  emit(seen)
end

function s3a.source()
  return facts.source("region and endpoint of S3", function(emit, env)
    local file = require "appliance.core.file"
    local environ = require("appliance.core.host").environ()
    if not has_s3a(env, environ, file) then return emit {} end
    local seen = s3a.read(environ)
    local signs = require "appliance.broker.signs"
    seen.broker = signs.call_for_broker(env, environ, file) or nil
    if seen.region or not signs.found(environ, file) then return emit(seen) end
    learn_region(emit, seen)
  end)
end

return s3a
