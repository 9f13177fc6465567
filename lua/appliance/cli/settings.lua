--- `settings [--markdown] [NAME...]`: the reference, written from the schema itself.
return {
  usage = "settings [--markdown] [NAME...]",
  options = { markdown = "flag" },
  words = { 0, 100 },
  help = [[
Prints every setting with its type, default, meaning and other names; or only those named. A name may be an older one (an alias).
  --markdown   the whole reference as docs/settings.md has it]],
  run = function(options, names, term)
    local reference = require "appliance.settings.reference"
    if #names == 0 then
      term:write(options.markdown and reference.markdown() or reference.text())
      return 0
    end
    local code = 0
    for _, name in ipairs(names) do
      local text, problem = reference.one(name)
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
