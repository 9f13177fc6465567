--- `doctor [--json] [s3://BUCKET/PREFIX]`: can this node talk to AWS and S3?
local STYLES <const> = { ok = "green", warn = "yellow", fail = "red", skip = "dim" }

local function print_line(term, result)
  local words = { ok = "ok  ", warn = "warn", fail = "FAIL", skip = "-   " }
  return term:say("%s  %s", term:paint(STYLES[result.state], words[result.state]), ("%-26s %s"):format(result.check, result.text))
end

return {
  usage = "doctor [--json] [s3://BUCKET[/PREFIX]]",
  options = { json = "flag" },
  words = { 0, 1 },
  help = [[
Looks at everything that must be right for S3: each source of credentials and what it says, who AWS takes this node for, the instance's
metadata, region, endpoint and clock, the broker of the node that runs here, and the jars of Spark. With a bucket it also writes a small
object there, reads it back and deletes it. Run it where the node runs: in its container and with its environment.
Each line says ok, warn or FAIL and what to do; exits with 1 when something failed. No secret is shown.
  --json   { "ok": true, "checks": [ { "check", "state", "text" } ] }]],
  run = function(options, words, term)
    local address = words[1]
    local place, problem
    if address then place, problem = require("appliance.fetch.address").bucket(address) end
    if address and not place then
      term:complain("spark-appliance doctor: %s %s; write for example s3://bucket/prefix", address, problem)
      return 64
    end
    local json = require "appliance.json"
    local results = json.array {}
    local environ = require("appliance.core.host").environ()
    local ok = require("appliance.doctor").examine({ environ = environ, bucket = address }, function(result)
      results[#results + 1] = result
      if not options.json then print_line(term, result) end
    end)
    if options.json then term:say("%s", json.encode({ ok = ok, checks = results }, "  ")) end
    return ok and 0 or 1
  end,
}
