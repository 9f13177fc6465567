--- `check`: settings and profile. Of the world it sees the files that settings name, and whether SPARK_HOME and JAVA_HOME are such.
local CONFIGURATION <const> = 78

return {
  usage = "check [--json]",
  options = { json = "flag" },
  words = { 0, 0 },
  help = [[
Reads the settings (the environment) and the profile and tells every fault at once, each with its cure; exits with 78 then.
Learns no facts, writes nothing, starts nothing.
  --json   { "profile", "faults": [...], "notes": [...] }]],
  run = function(options, _, term)
    local environ = require("appliance.core.host").environ()
    local file = require "appliance.core.file"
    local checked, faults = require("appliance.profile").check(nil, { environ = environ, read = file.read, stat = file.stat })
    local notes = checked and require("appliance.settings").notes(checked.env) or {}
    if options.json then
      local json = require "appliance.json"
      local texts = json.array()
      for i, fault in ipairs(faults or {}) do texts[i] = tostring(fault) end
      term:say("%s", json.encode({ profile = checked and checked.profile.name, faults = texts, notes = json.array(notes) }, "  "))
      return checked and 0 or CONFIGURATION
    end
    for _, fault in ipairs(faults or {}) do term:complain("%s", tostring(fault)) end
    if not checked then return CONFIGURATION end
    for _, note in ipairs(notes) do term:say("note: %s", note) end
    term:say("%s (%s): settings and profile are right", checked.profile.name, checked.profile.path)
    return 0
  end,
}
