--- Where tests keep the class data archive of the Spark they run, from run to run: one folder for each Spark, as making one removes those
--- of others from its folder, and tests of two of them run side by side.
local archives = {}

--- -> the STATE_DIR of `spark-appliance archive --state`; the archive is in its "archive"
function archives.folder()
  local cache = os.getenv "XDG_CACHE_HOME" or os.getenv "HOME" .. "/.cache"
  return cache .. "/spark-appliance/archive-of-" .. os.getenv "SPARK_HOME":match "([^/]+)/*$"
end

return archives
