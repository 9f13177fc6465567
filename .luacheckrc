-- luacheck: what counts as a global where. Run by ./dev lint.
std = "lua54"
max_line_length = 140
exclude_files = { "build*/**" }
files["tests"] = { std = "+busted" }
-- A profile runs in an environment of its own, made of the words of lua/appliance/words.lua.
local words = {
  "profile", "plan", "service", "spark", "node", "aws", "cluster", "zookeeper", "properties", "xml", "text", "tcp", "http", "line", "setting", "size",
}
files["profiles"] = { read_globals = words }
files["tests/profiles"] = { read_globals = words }
