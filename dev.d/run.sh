# shellcheck shell=sh
# dev.d/run.sh - ./dev run: one node of a real cluster out of this checkout, and a job through it.
# The node keeps its state in the cache (class data archives make its next start faster). It has a session of its own, so that
# Ctrl-C reaches only this script, which then asks it once; and it is told when this script dies.

run_node() {
  once=''
  case ${1:-} in
    '') ;;
    --once) once=yes ;;
    *) die "run takes --once or nothing, not '$1'" ;;
  esac
  need_packages "$PACKAGES_BUILD $PACKAGES_RUN $PACKAGES_SPARK"
  SPARK_HOME=$(spark_home) || exit 1
  build_program || exit 1
  STATE_DIR=${STATE_DIR:-$(cache_dir)/node}
  mkdir -p "$STATE_DIR" || die "$STATE_DIR: not writable; set STATE_DIR to a directory that is"
  export SPARK_HOME STATE_DIR
  # Its answers would be taken for those of the node started here.
  if "$TOP/build/spark-appliance" status >/dev/null 2>&1; then
    die "a node already runs in $STATE_DIR; stop it, or set STATE_DIR (and MASTER_PORT, MASTER_UI_PORT, WORKER_UI_PORT) for another"
  fi

  job=''
  node=''
  waiter=''
  trap 'run_stop 0' INT TERM HUP
  # What the node says of itself is shown; all that its services print is in the log.
  log=$STATE_DIR/run.log
  rm -f "$STATE_DIR/console" && mkfifo "$STATE_DIR/console" || exit 1
  # The first of two events decides how it goes on: the node is well (or not in time), or it has ended and with it its output.
  rm -f "$STATE_DIR/events" && mkfifo "$STATE_DIR/events" && exec 3<>"$STATE_DIR/events" && rm "$STATE_DIR/events" || exit 1
  # shellcheck disable=SC2016  # for the inner shell
  setsid sh -c 'tee "$1" | grep -a --line-buffered " appliance | "; echo 2 >&3' - "$log" <"$STATE_DIR/console" >&2 &
  reader=$!
  setsid setpriv --pdeathsig TERM "$TOP/build/spark-appliance" run >"$STATE_DIR/console" 2>&1 3>&- &
  node=$!
  # shellcheck disable=SC2016
  setsid sh -c '{ "$1" healthcheck --wait 10min; echo $? >&3; } & read -r how <&3; trap "" TERM; kill -s TERM 0; exit "$how"' \
    - "$TOP/build/spark-appliance" >/dev/null &
  waiter=$!
  exec 3>&-
  say "starting Spark $(sed -n 's/^Spark \([^ ]*\).*/\1/p' "$SPARK_HOME/RELEASE" 2>/dev/null) in $SPARK_HOME, all output in $log"
  run_wait_ready
  run_word_count
  status=$?
  [ -z "$once" ] || run_stop $status
  run_urls
  wait "$node"
  status=$?
  wait "$reader"
  return $status
}

run_wait_ready() {
  wait "$waiter"
  how=$?
  waiter=''
  case $how in
    0) say "the node is ready" ;;
    1) say "the node is not ready after 10 minutes"; run_stop 1 ;;
    *) wait "$node"; status=$?; tail -n 20 "$log" >&2; die "the node ended with $status before it was ready, its last lines are above" ;;
  esac
}

run_word_count() {
  text=$TOP/README.md
  say "counting the words of $text on it, through \`spark-appliance client spark-submit\`"
  setsid setpriv --pdeathsig KILL "$TOP/build/spark-appliance" client spark-submit "$TOP/examples/wordcount.py" "$text" 2>"$STATE_DIR/wordcount.log" &
  job=$!
  wait $job
  status=$?
  job=''
  [ $status -eq 0 ] || { tail -n 30 "$STATE_DIR/wordcount.log" >&2; say "the word count ended with $status"; }
  return $status
}

run_urls() {
  say "The node stays up. Master http://localhost:${MASTER_UI_PORT:-8080}  worker http://localhost:${WORKER_UI_PORT:-8081}"
  say "Jobs:   STATE_DIR=$STATE_DIR build/spark-appliance client spark-submit ...    (or: spark-sql, pyspark)"
  say "State:  STATE_DIR=$STATE_DIR build/spark-appliance status    (or: logs -f worker)"
  say "Ctrl-C stops it."
}

# run_stop STATUS: asks once, waits for all of it, and leaves with STATUS (or the node's own when that is worse).
run_stop() {
  trap '' INT TERM HUP
  # A client that nobody waits for any more: asked politely, it would fill the screen with how it was interrupted.
  [ -z "$job" ] || kill -s KILL -- "-$job"
  [ -z "$waiter" ] || kill -s TERM -- "-$waiter"
  [ -n "$node" ] || exit 130
  kill -TERM "$node" 2>/dev/null
  wait "$node"
  ended=$?
  wait "$reader"
  say "the node has stopped"
  [ "$1" -ne 0 ] || exit $ended
  exit "$1"
}
