--- The settings every profile has: those of the supervisor itself. Their texts are in docs.lua, which a start does not load.
local function check_roles(env, all)
  if not env.ROLE_MAPPING then return end
  local _, faults = require("appliance.broker.roles").parse(env.ROLE_MAPPING)
  for _, fault in ipairs(faults or {}) do all.refuse("ROLE_MAPPING", "ROLE_MAPPING: " .. fault) end
end

return {
  PROFILE = { type = "string" },
  APPLIANCE_PROFILES = { type = "string" },
  STATE_DIR = { type = "path" },
  LOG_FORMAT = { type = "enum", values = { "text", "json" }, default = "text" },
  LOG_LEVEL = { type = "enum", values = { "debug", "info", "warn", "error" }, default = "info" },
  LOG_DIR = { type = "path" },
  LOG_SIZE = { type = "size", default = "10m", least = 4096 },
  LOG_KEEP = { type = "integer", default = "4", least = 0, most = 1000 },
  LOG_FULL = { type = "enum", values = { "drop", "block" }, default = "drop" },
  STOP_TIMEOUT = { type = "duration", default = "8s", least = 0.1, most = 3600, example = "8s" },
  WATCHDOG = { type = "duration", default = "60s", most = 86400 },
  FACTS_TIMEOUT = { type = "duration", default = "60s", least = 0.1, most = 86400, example = "60s" },
  CREDENTIALS_BROKER = { type = "enum", values = { "auto", "true", "false" }, default = "auto" },
  BROKER_PORT = { type = "port", default = "0", least = 0, example = "0" },
  BROKER_TOKEN = { type = "enum", values = { "auto", "required", "optional" }, default = "auto" },
  ROLE_MAPPING = { type = "string", check = check_roles },
  UNKNOWN_SETTINGS = { type = "enum", values = { "refuse", "warn", "ignore" }, default = "refuse" },
}
