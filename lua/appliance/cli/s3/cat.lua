--- `s3 cat`: what counts is the time to the first byte, so nothing is loaded here that an object on its way to stdout can do without.
local common = require "appliance.cli.s3.common"

return {
  usage = "cat [--version-id ID] [--range FIRST-LAST] s3://BUCKET/KEY...",
  options = common.options { version_id = "text", range = "text", sse_c = "text" },
  words = { 1, math.huge },
  help = [[
Writes objects to stdout, one after the other. Nothing is printed of an object that can't be read; the others are.
  --version-id ID      a former version (or s3://BUCKET/KEY?versionId=ID)
  --range FIRST-LAST   only these bytes, counted from 0 (100- : from there to the end; -100: the last 100)
  --sse-c FILE         the key it was encrypted with: 32 bytes, raw or in base64]],
  run = function(options, words, term)
    local opts, problem = common.opts(options)
    if not opts then return common.misuse(term, "cat", "%s", problem) end
    if options.range then
      local first, last = options.range:match "^(%d*)-(%d*)$"
      if not first or first .. last == "" then return common.misuse(term, "cat", "--range %s: FIRST-LAST", options.range) end
      opts.range = first == "" and { -tonumber(last) } or { tonumber(first), tonumber(last) }
    end
    local client = common.client(options)
    return common.run(term, function()
      local code = 0
      for _, address in ipairs(words) do
        local got, err = client:cat(address, 1, opts)
        if not got then
          if common.is_unread(err) then return code end
          term:complain("%s", tostring(err))
          code = 1
        end
      end
      return code
    end)
  end,
}
