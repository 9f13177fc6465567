--- What an EC2 instance can be asked about itself: its metadata service, never through a proxy, with the token and the settings that the
-- credentials use too. Loading it loads libcurl.
local native = require("appliance.native.aws").imds

local imds = {
  is_ec2 = require("appliance.core.host").is_ec2,   -- what DMI says; asks nobody
  get = native.get,         -- imds.get "/latest/meta-data/instance-id" -> text | nil, err (kind "missing", code 404: there is no such path)
}

local META <const> = "/latest/meta-data/"

local function parsed(text, what)
  local value, fault = require("appliance.json").decode(text)
  if type(value) == "table" then return value end
  return nil, require("appliance.failure").new("protocol", "IMDS: %s is no JSON object: %s", what, tostring(fault or text:sub(1, 40)))
end

--- What is there only sometimes -> text; nil alone: not now, which is an answer.
local function sometimes(path)
  local text, err = imds.get(path)
  if not text and err.kind == "missing" and err.code == 404 then return nil end
  return text, err
end

--- -> { accountId, region, availabilityZone, instanceId, instanceType, privateIp, imageId, architecture, ... } | nil, err
function imds.identity()
  local text, err = imds.get "/latest/dynamic/instance-identity/document"
  if not text then return nil, err end
  return parsed(text, "the identity document")
end

function imds.region() return imds.get(META .. "placement/region") end
function imds.zone() return imds.get(META .. "placement/availability-zone") end

--- -> { name = value }: empty when there are none, or when the instance does not show them to itself | nil, err
function imds.tags()
  local names, err = sometimes(META .. "tags/instance")
  if err then return nil, err end
  local tags = {}
  for name in (names or ""):gmatch "[^\n]+" do
    local escaped = name:gsub("[^%w%-._~/]", function(char) return ("%%%02X"):format(char:byte()) end)
    tags[name], err = sometimes(META .. "tags/instance/" .. escaped)
    if err then return nil, err end
  end
  return tags
end

local function notice(path, what)
  local text, err = sometimes(META .. path)
  if not text then return nil, err end
  return parsed(text, what)
end

--- A spot instance that will be taken back: { action = "terminate" | "stop" | "hibernate", time = "2026-01-01T00:00:00Z" }; nil: it stays
function imds.spot_action() return notice("spot/instance-action", "the spot notice") end
--- A spot instance that is likely to be: { noticeTime = }; nil: no
function imds.rebalance() return notice("events/recommendations/rebalance", "the rebalance recommendation") end
--- What its auto scaling group is about to make of it: "InService", "Terminated" ...; nil: it is in no group
function imds.lifecycle_state() return sometimes(META .. "autoscaling/target-lifecycle-state") end

local NOTICES <const> = {
  spot = imds.spot_action,
  rebalance = imds.rebalance,
  lifecycle = function()
    local state, err = imds.lifecycle_state()
    return state and { state = state }, err
  end,
}

--- Follows the notices for as long as the task lives: tell(name, value), name being "spot", "rebalance" or "lifecycle", whenever one of
-- them is new or another (value nil: it is gone). Asks every 5 s, as AWS's documentation advises; `every` is for tests.
-- An answer that does not come changes nothing; it is logged once, until one comes again.
function imds.follow(tell, every)
  local task, log, same = require "appliance.task", require "appliance.core.log", require "appliance.same"
  local last, silent = {}, {}
  while true do
    for _, name in ipairs { "spot", "rebalance", "lifecycle" } do
      local value, err = NOTICES[name]()
      if err and not silent[name] then log.warn(("notices of this instance (%s): %s"):format(name, err)) end
      silent[name] = err ~= nil
      if not err and not same(last[name], value) then
        last[name] = value
        tell(name, value)
      end
    end
    task.sleep(every or 5)
  end
end

return imds
