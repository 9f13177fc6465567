--- `s3 presign`
local common = require "appliance.cli.s3.common"

return {
  usage = "presign [--expires 1h] [--method GET|PUT|HEAD|DELETE] s3://BUCKET/KEY",
  options = common.options { expires = "duration", expires_in = "number", method = "text", version_id = "text", json = "flag" },
  words = { 1, 1 },
  help = [[
Prints a URL with which anybody may do this one thing until it expires. Nothing is sent: whether the object is there is not looked at.
  --expires 1h     how long, up to 7 days (--expires-in SECONDS is taken, too). A URL dies with the credentials that signed it, those of
                   a role after some hours at most: when that is sooner, stderr says so
  --method GET     or PUT, HEAD, DELETE
  --version-id ID  of a former version]],
  run = function(options, words, term)
    local seconds = options.expires or options.expires_in or 3600
    local method = (options.method or "GET"):upper()
    if not ({ GET = true, PUT = true, HEAD = true, DELETE = true })[method] then
      return common.misuse(term, "presign", "--method %s: GET, PUT, HEAD or DELETE", options.method)
    end
    if seconds < 1 or seconds > 7 * 24 * 3600 then return common.misuse(term, "presign", "--expires: 1 second to 7 days") end
    local client = common.client(options)
    return common.run(term, function()
      local url, warning = client:presign(method, words[1], seconds, { version = options.version_id })
      if not url then
        term:complain("%s", tostring(warning))
        return 1
      end
      term:say("%s", options.json and require("appliance.json").encode { url = url, method = method, warning = warning } or url)
      if warning then term:complain("warning: %s", warning) end
      return 0
    end)
  end,
}
