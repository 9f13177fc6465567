--- `healthcheck [ROLE]`: for Docker's HEALTHCHECK and load balancers. Runs every few seconds, so it loads next to nothing.
return {
  usage = "healthcheck [ROLE]",
  options = {},
  words = { 0, 1 },
  help = [[
Exits with 0 when all critical services of the node are up, or those of a role ("worker" or "spark.worker"), else with 1.
One sentence says how it is.]],
  run = function(_, words, term)
    local client = require "appliance.client"
    local path = words[1] and "/health/" .. client.escape(words[1]) or "/health"
    local answer, err = client.request { path = path, timeout = 5 }
    if not answer then
      term:complain("%s", err)
      return 1
    end
    local well = answer.status == 200
    term[well and "write" or "complain"](term, well and answer.body or answer.body:gsub("%s+$", ""))
    return well and 0 or 1
  end,
}
