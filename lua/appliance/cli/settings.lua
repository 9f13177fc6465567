--- `settings [--markdown] [NAME...]`: the reference, written from the schema itself.
return {
  usage = "settings [--markdown] [NAME...]",
  options = { markdown = "flag" },
  words = { 0, 100 },
  help = [[
Prints every setting with its type, default, meaning and other names; or only those named. A name may be an older one (an alias).
The settings and defaults of the profile in force (PROFILE) are among them.
  --markdown   the shipped ones, as docs/settings.md has them]],
  run = function(options, names, term)
    local reference = require "appliance.settings.reference"
    if #names == 0 and options.markdown then
      term:write(reference.markdown())
      return 0
    end
    -- What is wrong with a profile is for `check` to tell.
    local profile = require("appliance.profile").load(nil, { environ = require("appliance.core.host").environ() })
    local own = profile and profile.settings
    if #names == 0 then
      term:write(reference.text(own))
      return 0
    end
    local code = 0
    for _, name in ipairs(names) do
      local text, problem = reference.one(name, own)
      if text then
        term:write(text)
      else
        term:complain("%s", problem)
        code = 1
      end
    end
    return code
  end,
}
