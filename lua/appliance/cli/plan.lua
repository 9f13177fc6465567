--- `plan [--json] [--diff]`: what these settings and facts give, computed here and now; nothing is written or started,
--- but for the copies of what EXT_CONF and HIVE_SITE_XML name elsewhere, which the plan can't be computed without.
local json = require "appliance.json"
local show = require "appliance.plan.show"

local function tell(faults, term)
  for _, fault in ipairs(faults) do term:complain("%s", tostring(fault)) end
end

--- What the node would change if it ran this plan.
local function diff(plan, options, term)
  local client = require "appliance.client"
  local difference, err = client.json { method = "POST", path = "/plan/diff", body = json.encode(plan) }
  if not difference then
    term:complain("%s", err)
    return err.exit
  end
  if options.json then
    term:say("%s", json.encode(difference, "  "))
    return 0
  end
  local text = show.diff_text(difference)
  term:write(text ~= "" and text or "nothing differs: the node runs this plan\n")
  return 0
end

--- A shell beside a node may have other settings than the node: then what is shown here is not what runs, which nobody would guess.
local function warn_of_another(plan, term)
  local difference = require "appliance.client".json { method = "POST", path = "/plan/diff", body = json.encode(plan) }
  if difference and show.diff_text(difference) ~= "" then
    term:complain "this is the plan of the settings given here, and not what the node runs: plan --diff shows where they differ"
  end
end

return {
  usage = "plan [--json] [--diff]",
  options = { json = "flag", diff = "flag" },
  words = { 0, 0 },
  help = [[
Computes the plan of the present settings, profile and facts, and prints every file key with its value, where it comes from, and what
it hides; and every service. Secrets are never shown.
  --diff   only what differs from the plan the node runs
  --json   as JSON]],
  run = function(options, _, term)
    term:progress "learning the facts"
    local configured, plan, code = require("appliance.boot").plan()
    if not configured then
      tell(plan, term)
      return code
    end
    if options.diff then return diff(plan, options, term) end
    term:write(options.json and json.encode(show.redacted(plan), "  ") .. "\n" or show.describe(plan))
    warn_of_another(plan, term)
    return 0
  end,
}
