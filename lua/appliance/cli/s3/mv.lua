--- `s3 mv`
local common = require "appliance.cli.s3.common"
local work = require "appliance.cli.s3.work"

return {
  usage = "mv [-r] [OPTIONS] SOURCE TARGET",
  options = common.options(work.OPTIONS, true),
  words = { 2, 2 },
  help = [[
As cp, and each source is deleted once its copy is whole.
  --recursive, -r   a directory, or all whose keys begin with SOURCE/
]] .. work.HELP .. "\n" .. common.WRITTEN_HELP,
  run = function(options, words, term) return require("appliance.cli.s3.cp").run_as("mv", true, options, words, term) end,
}
