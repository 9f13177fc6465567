--- The one-shot before all others: directories that must exist, and records of daemons that died with an earlier run of this program.
--- (The user's own directory below the temporary one is where Hive looks for leftovers of a session at its end, with an error in the log
--- where there is none.)
--- With recovery on local disk a master waits a minute (RECOVERING) for workers and applications it finds recorded. When PID 1 starts none
--- of those can still be alive, so their records go; when only a master restarts they are what brings its cluster back, and stay: a
--- one-shot that is done does not run again.
local SCRIPT <const> = [[
umask 022
mkdir -p "$@" || exit 1
mkdir -p "$2/$(id -un 2>/dev/null || echo spark)"
rm -f "$1"/worker_* "$1"/app_* "$1"/driver_*
rm -rf "$2"/blockmgr-* "$2"/spark-* "$2"/s3a "$5"/archive-work.*
exit 0]]

return function(here)
  local at = here.directories
  return {
    name = "prepare", role = "spark.prepare", oneshot = true, critical = true, restart = "on-failure",
    backoff = { min = 1, max = 5, give_up = 3 },
    command = { "/bin/sh", "-c", SCRIPT, "prepare", at.recovery, at.temporary, at.work, at.sql, at.state },
    env = { PATH = here.environment.PATH or "/usr/bin:/bin" },
    change = "keep",
  }
end
