--- `healthcheck [ROLE] [--wait DURATION]`: for Docker's HEALTHCHECK and load balancers. Runs every few seconds, so it loads next to
--- nothing; what --wait needs is in cli/wait.lua.
return {
  usage = "healthcheck [ROLE] [--wait DURATION]",
  options = { wait = "duration" },
  words = { 0, 1 },
  help = [[
Exits with 0 when all critical services of the node are up, or those of a role ("worker" or "spark.worker"), else with 1.
"leader": when the master of this node leads its cluster.
One sentence says how it is.
  --wait 60s   waits until they are (the node tells; it may still have to be started), and exits with 1 when the time is over]],
  run = function(options, words, term)
    local client = require "appliance.client"
    local path = words[1] and "/health/" .. client.escape(words[1]) or "/health"
    if options.wait then return require "appliance.cli.wait"(path, options.wait, term) end
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
