# shellcheck shell=sh
# dev.d/test.sh - ./dev test: groups of suites, in two lanes for two cores, and one closing line of counts.
# Lane one holds what measures time; lane two compiles, and has hosts and containers with networks of their own (or Spark's usual ports, which
# nobody else here uses) and the older Spark, whose nodes have other ports.
# Who is through takes what the other has not begun, from its end, so that none is idle: short groups are last there.
# Each suite is one test program under dev.d/suite; all it said is kept in build/test-logs.

TEST_LANE_ONE='lint unit native system aws zookeeper spark'
TEST_LANE_TWO='clang asan cluster docker spark-3.5 fuzz tidy'
TEST_SOAK='spark-4.3 soak'

test_main() {
  wanted=''
  soak=''
  for word in "$@"; do
    case " $TEST_LANE_ONE $TEST_LANE_TWO $TEST_SOAK " in
      *" $word "*) wanted="$wanted $word" ;;
      *)
        [ "$word" = --soak ] || { say "dev: no test group '$word'; there are: $TEST_LANE_ONE $TEST_LANE_TWO $TEST_SOAK"; exit 64; }
        soak=yes
        ;;
    esac
  done
  if [ -z "$wanted" ]; then
    wanted="$TEST_LANE_ONE $TEST_LANE_TWO"
    [ -z "$soak" ] || wanted="$wanted $TEST_SOAK"
  fi
  if [ -n "$soak" ]; then export SOAK=yes FUZZ_SECONDS="${FUZZ_SECONDS:-300}"; fi

  LOGS=$TOP/build/test-logs
  rm -rf "$LOGS"
  mkdir -p "$LOGS"
  export LOGS
  : >"$LOGS/results"
  started=$(date +%s)
  test_prepare || { echo "build 0 1 0" >>"$LOGS/results"; test_closing; return; }

  trap 'test_interrupted' INT TERM
  test_lane "$TEST_LANE_ONE $TEST_SOAK $(reversed "$TEST_LANE_TWO")" &
  lane_one=$!
  test_lane "$TEST_LANE_TWO $(reversed "$TEST_LANE_ONE $TEST_SOAK")" &
  lane_two=$!
  wait $lane_one
  wait $lane_two
  trap - INT TERM
  test_closing
}

test_interrupted() {
  trap '' INT TERM
  kill -TERM "$lane_one" "$lane_two" 2>/dev/null
  wait
  exit 130
}

reversed() { echo "$1" | awk '{ for (i = NF; i > 0; i--) printf "%s ", $i }'; }

# is_free GROUP: nobody has begun it; now we have.
is_free() { mkdir "$LOGS/begun-$1" 2>/dev/null; }

is_wanted() { case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac; }

# What the wanted groups need, before any clock runs: packages in one go, the Release build with its tests, Spark.
test_prepare() {
  packages="$PACKAGES_BUILD $PACKAGES_RUN $PACKAGES_TEST"
  case " $wanted " in *' spark'* | *' docker '* | *' soak '* | *' zookeeper '* | *' asan '* | *' cluster '*) packages="$packages $PACKAGES_SPARK" ;; esac
  if is_wanted cluster; then packages="$packages $PACKAGES_CLUSTER"; fi
  if is_wanted aws; then packages="$packages $PACKAGES_PARTS"; fi
  if is_wanted docker && [ "$(id -u)" -eq 0 ]; then packages="$packages $PACKAGES_DOCKER"; fi
  need_packages "$packages"
  case $wanted in
    ' lint' | ' lint tidy') return 0 ;; # nothing of it runs
  esac
  build_tree tests || return 1
  echo "build/gcc 1 0 0" >>"$LOGS/results"

  test_spark_versions=
  if is_wanted spark || is_wanted docker || is_wanted soak || is_wanted zookeeper || is_wanted asan || is_wanted cluster; then
    test_spark_versions="$(pinned spark default 2)"
  fi
  if is_wanted spark-3.5 || { is_wanted cluster && [ -n "$soak" ]; }; then test_spark_versions="$test_spark_versions $(pinned spark second 2)"; fi
  if is_wanted spark-4.3; then test_spark_versions="$test_spark_versions $(pinned spark newest 2)"; fi
  for version in $test_spark_versions; do
    (spark_home "$version") >/dev/null || return 1
  done

  case $wanted in *' aws'* | *' spark'*) test_python=$(parts_python tests) || return 1 ;; esac
  if is_wanted aws; then test_s3rver=$(parts_s3rver) || return 1; fi
  if is_wanted cluster; then test_jdbc=$(parts_jdbc) || return 1; fi

  # Nothing of the caller's own Spark or cloud may reach the tests, and no JVM may look for a cloud's metadata.
  for name in $(env | sed -n 's/^\(SPARK_[A-Z_]*\|AWS_[A-Z0-9_]*\|START_[A-Z_]*\|MASTER_URI\|PROFILE\|STATE_DIR\)=.*/\1/p'); do
    [ "$name" = SPARK_HOME ] || unset "$name"
  done
  export AWS_EC2_METADATA_DISABLED=true CMOCKA_MESSAGE_OUTPUT=TAP
}

# test_lane GROUPS: one after another, but for those that the other lane has; stoppable at any time.
test_lane() {
  suite=
  trap '[ -z "$suite" ] || kill -TERM $suite; exit 143' TERM
  for group in $1; do
    if is_wanted "$group" && is_free "$group"; then "group_$(echo "$group" | tr '.-' '__')"; fi
  done
}

run_suite() {
  "$TOP/dev.d/suite" "$@" &
  suite=$!
  wait $suite
  status=$?
  suite=
  return $status
}

# run_lua BUILD SPEC SECONDS: busted, with the modules of that build.
run_lua() {
  run_suite "${suite_prefix:-}${2#tests/}" tap "$3" env APPLIANCE="$TOP/$1/spark-appliance" \
    LUA_PATH="$TOP/lua/?.lua;$TOP/lua/?/init.lua;$TOP/tests/support/?.lua;;" LUA_CPATH="$TOP/${modules:-$1}/modules/?.so;;" \
    ${preload:+LD_PRELOAD="$preload"} ${nest:+"$nest"} busted --lua=/usr/bin/lua5.4 -o TAP "$2"
}

# run_c BUILD FOLDER SECONDS: the cmocka programs of a folder.
run_c() {
  for program in "$TOP/$1/tests/$2"/test_*; do
    [ -x "$program" ] || continue
    found=yes
    run_suite "${suite_prefix:-}$2/${program##*/}" tap "$3" env APPLIANCE="$TOP/$1/spark-appliance" "$program"
  done
}

# run_folder BUILD FOLDER SECONDS: its cmocka programs, then its specs. A folder with neither is a failure: somebody took it for tested.
run_folder() {
  found=
  run_c "$1" "$2" "$3"
  for spec in tests/"$2"/*_spec.lua; do
    [ -f "$spec" ] || continue
    found=yes
    case " ${leave_out:-} " in *" $(basename "$spec" _spec.lua) "*) continue ;; esac
    run_lua "$1" "$spec" "$3"
  done
  [ -n "$found" ] || run_suite "${suite_prefix:-}$2" check 1 sh -c "echo 'no test program in tests/$2'; false"
}

group_lint() {
  run_suite lint/include-rule tap 60 tests/include_rule
  run_suite lint/clang-format check 120 ./dev fmt --check
  run_suite lint/luacheck check 120 luacheck -q --no-color lua profiles tests
  # Everything whose first lines name a shell; "./dev" follows what it sources.
  run_suite lint/shellcheck check 120 sh -c \
    "grep -rIlE '^#!/(usr/)?bin/(env )?(ba)?sh|^# shellcheck shell=' --exclude-dir=.git --exclude-dir='build*' . | xargs shellcheck -x"
}

group_unit() { run_folder build unit 120; }
group_native() { run_folder build native 180; }
group_system() { run_folder build system 300; }

# Beside other people's servers and clients (tests/support/aws_parts.lua starts them).
group_aws() {
  AWS_PYTHON=$test_python S3RVER=$test_s3rver
  export AWS_PYTHON S3RVER
  run_folder build aws 300
  unset AWS_PYTHON S3RVER
}

# Real servers, of the jars of Spark.
group_zookeeper() {
  SPARK_HOME=$(spark_home "$(pinned spark default 2)")
  export SPARK_HOME
  run_folder build zookeeper 300
}

# run_spark PREFIX VERSION [SPECS]: tests/spark, but for the named ones.
run_spark() {
  SPARK_HOME=$(spark_home "$2")
  AWS_PYTHON=$test_python
  export SPARK_HOME AWS_PYTHON
  suite_prefix=$1 leave_out=${3:-}
  run_folder build spark 600
  suite_prefix='' leave_out=''
  unset AWS_PYTHON
}
group_spark() { run_spark '' "$(pinned spark default 2)"; }
# What is the same code of ours for every Spark runs on the older one with --soak only.
group_spark_3_5() { run_spark 3.5: "$(pinned spark second 2)" "$([ -n "$soak" ] || echo archive cluster dist fetch ha limits roles)"; }
group_spark_4_3() { run_spark 4.3: "$(pinned spark newest 2)"; }
group_soak() {
  SPARK_HOME=$(spark_home "$(pinned spark default 2)")
  export SPARK_HOME
  SOAK_SECONDS=${SOAK_SECONDS:-300} # each program of it
  export SOAK_SECONDS
  run_folder build soak $((SOAK_SECONDS + 900))
}

# Hosts in network namespaces, with real ZooKeeper, Spark and PostgreSQL: each spec in a world of its own. With --soak also what takes long.
group_cluster() {
  if ! tests/cluster/nest true 2>/dev/null; then
    echo "cluster 0 0 1" >>"$LOGS/results"
    echo "skip cluster: this machine lets nobody make namespaces" | tee -a "$LOGS/summary"
    return
  fi
  SPARK_HOME=$(spark_home "$(pinned spark default 2)")
  POSTGRES_DRIVER=$test_jdbc
  export SPARK_HOME POSTGRES_DRIVER
  nest=tests/cluster/nest
  limit=1800 leave_out='strain upgrade'
  if [ -n "$soak" ]; then
    SPARK_HOME_BEFORE=$(spark_home "$(pinned spark second 2)")
    export SPARK_HOME_BEFORE
    limit=7200 leave_out=
  fi
  run_folder build cluster $limit
  nest='' leave_out=''
  unset POSTGRES_DRIVER SPARK_HOME_BEFORE
}

group_clang() {
  run_suite build/clang check 600 env JOBS=1 ./dev build clang
}

group_tidy() {
  [ -f build-clang/compile_commands.json ] || group_clang || return
  run_suite lint/clang-tidy check 900 sh -c 'find src -name "*.c" | xargs clang-tidy --quiet -p build-clang'
}

group_asan() {
  run_suite build/asan check 600 env JOBS=1 ./dev build asan || return
  suite_prefix=asan:
  # The interpreter that busted runs in is Debian's own, so the sanitizer must be there before its first library.
  preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
  SANITIZED=yes # for tests of how much memory something takes
  export ASAN_OPTIONS UBSAN_OPTIONS SANITIZED
  for folder in unit native system; do
    # The specs of the program itself load no module that needs it, and what else they start must be spared: a curl with the sanitizer
    # before its first library never gets past setlocale.
    if [ $folder = system ]; then
      preload=''
      modules=build
    fi
    run_c build-asan $folder 300
    for spec in "tests/$folder"/*_spec.lua; do
      # Pure Lua has nothing to sanitize.
      [ -f "$spec" ] && [ $folder != unit ] && run_lua build-asan "$spec" 600
    done
  done
  # The client of ZooKeeper, whose library has threads of its own; the servers are spared.
  SPARK_HOME=$(spark_home "$(pinned spark default 2)")
  export SPARK_HOME
  run_lua build-asan tests/zookeeper/program_spec.lua 300
  preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
  modules=''
  for spec in client faults rights storm; do
    run_lua build-asan "tests/zookeeper/${spec}_spec.lua" 300
  done
  suite_prefix=''
  preload=''
  modules=''
  unset ASAN_OPTIONS UBSAN_OPTIONS SANITIZED
}

group_fuzz() {
  run_suite build/fuzz check 600 env JOBS=1 ./dev build fuzz || return
  for target in "$TOP"/build-fuzz/fuzz/fuzz_*; do
    [ -x "$target" ] || continue
    name=${target##*/}
    # New inputs go to a directory of this run; the corpus in the tree grows by hand only.
    # shellcheck disable=SC2016  # for the inner shell
    run_suite "fuzz/$name" check $((${FUZZ_SECONDS:-5} + 60)) sh -c '
      mkdir "$TMPDIR/new" && cd "$TMPDIR" &&
      "$1" -seed=20261122 -max_total_time="$2" -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$LOGS/" "$TMPDIR/new" "$3"
      status=$?; rm -rf "$TMPDIR/new"; exit $status' - "$target" "${FUZZ_SECONDS:-5}" "$TOP/tests/fuzz/corpus/${name#fuzz_}"
  done
}

group_docker() {
  . "$TOP/dev.d/image.sh"
  docker_tests
}

test_closing() {
  failures=$(awk '/^FAIL/ { told = 1 } /^(ok|skip) / { told = 0 } told' "$LOGS/summary" 2>/dev/null | head -n 300)
  if [ -n "$failures" ]; then
    printf '\nWhat failed (all output is in build/test-logs):\n%s\n\n' "$failures"
  fi
  echo "total time $(($(date +%s) - started)) s"
  awk '{ passed += $2; failed += $3; skipped += $4 }
    END {
      if (passed + failed == 0) failed = 1
      printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
      exit failed > 0
    }' "$LOGS/results"
}
