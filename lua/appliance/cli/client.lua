--- `client TOOL ...`: spark-submit and its family on a running node. The scripts of that name in the image are one line each: this.
return {
  usage = "client spark-submit|spark-shell|spark-sql|pyspark|beeline|run-example [ARGUMENT...]",
  raw = true,
  words = { 1, math.huge },
  help = [[
Runs a tool of Spark's with the master and the configuration of the node of STATE_DIR; its arguments are the tool's own.
spark-submit, spark-shell, spark-sql and beeline start their JVM directly, with the class data archive.]],
  run = function(_, words, term)
    local host = require "appliance.core.host"
    local environ = host.environ()
    local file = require "appliance.core.file"
    local state = environ.STATE_DIR
    if (state or "") == "" then
      state = require("appliance.settings").state_dir(environ, function(path) return file.stat(path .. "/conf/client.json") ~= nil end)
    end
    local client = require "appliance.spark.client"
    local tool = table.remove(words, 1)
    for _, known in ipairs(client.TOOLS) do
      if known == tool then
        local _, err = client.run(tool, words, state)
        term:complain("%s: %s", tool, tostring(err))
        return err.kind == "missing" and 127 or 126
      end
    end
    term:complain("client: there is no tool %s%s; there are: %s", tool, require("appliance.near").hint(tool, client.TOOLS),
      table.concat(client.TOOLS, ", "))
    return 64
  end,
}
