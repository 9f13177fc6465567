# shellcheck shell=sh
# dev.d/build.sh - CMake and Ninja, each kind of build in a directory of its own.

# build_in DIRECTORY [CMAKE-OPTION...]: configures once (and again when asked for other options), then builds.
build_in() {
  build_dir=$TOP/$1
  shift
  if [ ! -f "$build_dir/build.ninja" ] || [ "$*" != "$(cat "$build_dir/options" 2>/dev/null)" ]; then
    mkdir -p "$build_dir"
    cmake -S "$TOP" -B "$build_dir" -G Ninja "$@" >"$build_dir/configure.log" 2>&1 || { cat "$build_dir/configure.log" >&2; return 1; }
    printf '%s\n' "$*" >"$build_dir/options"
  fi
  # On a terminal Ninja shows its progress in one line; elsewhere only a failure is worth reading.
  if [ -t 2 ]; then
    ninja -C "$build_dir" ${JOBS:+-j "$JOBS"} >&2
  else
    ninja -C "$build_dir" ${JOBS:+-j "$JOBS"} >"$build_dir/build.log" 2>&1 || { cat "$build_dir/build.log" >&2; return 1; }
  fi
}

# build_tree KIND: the tree of that kind. The program itself is in build/, and so are the tests of it.
build_tree() {
  case $1 in
    program)
      # A tree that tests have configured keeps them: turning them off would only make the next test run build again.
      tests=OFF
      case $(cat "$TOP/build/options" 2>/dev/null) in *TESTS=ON*) tests=ON ;; esac
      build_in build -DCMAKE_BUILD_TYPE=Release "-DTESTS=$tests"
      ;;
    tests) build_in build -DCMAKE_BUILD_TYPE=Release -DTESTS=ON ;;
    clang) CC=clang build_in build-clang -DCMAKE_BUILD_TYPE=Release -DTESTS=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON ;;
    asan) build_in build-asan -DCMAKE_BUILD_TYPE=Debug -DTESTS=ON -DSANITIZE=ON ;;
    fuzz) CC=clang build_in build-fuzz -DCMAKE_BUILD_TYPE=Debug -DTESTS=OFF -DFUZZ=ON ;;
    *) die "no kind of build '$1'; there are: program tests clang asan fuzz" ;;
  esac
}

build_program() {
  need_packages "$PACKAGES_BUILD $PACKAGES_RUN"
  build_tree program
}

# build_command [KIND]: what ./dev build does.
build_command() {
  if [ -n "${1:-}" ]; then need_packages "$PACKAGES_BUILD $PACKAGES_RUN $PACKAGES_TEST"; else build_program; fi &&
    build_tree "${1:-program}" && say "built: ${1:-build/spark-appliance}"
}

# format_c [--check]: every C source of ours, in place, or only told about.
format_c() {
  need_packages clang-format:clang-format
  how=-i
  [ "${1:-}" != --check ] || how='--dry-run -Werror'
  # shellcheck disable=SC2086  # one or two options
  find src include tests bench \( -name '*.c' -o -name '*.h' \) -print0 | sort -z | xargs -0 clang-format $how
}
