--- The settings every profile has: those of the supervisor itself. Their texts are in docs.lua, which a start does not load.
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
  UNKNOWN_SETTINGS = { type = "enum", values = { "refuse", "warn", "ignore" }, default = "refuse" },
}
