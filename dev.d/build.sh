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
  ninja -C "$build_dir" ${JOBS:+-j "$JOBS"} >&2
}

build_program() {
  need_packages $PACKAGES_BUILD $PACKAGES_RUN
  # A tree that tests have configured keeps them: turning them off would only make the next test run build again.
  tests=OFF
  case $(cat "$TOP/build/options" 2>/dev/null) in *TESTS=ON*) tests=ON ;; esac
  build_in build -DCMAKE_BUILD_TYPE=Release "-DTESTS=$tests"
}

build_deb() {
  need_packages dpkg-shlibdeps:dpkg-dev
  build_program || return 1
  (cd "$TOP/build" && cpack -G DEB >cpack.log 2>&1) || { cat "$TOP/build/cpack.log" >&2; return 1; }
  ls "$TOP"/build/*.deb
}

# Every C source of ours, one a line; names hold no blanks.
c_sources() { find src include tests bench \( -name '*.c' -o -name '*.h' \) | sort; }
