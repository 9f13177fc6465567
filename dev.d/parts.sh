# shellcheck shell=sh
# dev.d/parts.sh - other people's servers and clients in the cache, for the test groups aws and cluster and for ./dev bench; never shipped.
# dev.d/parts/*.txt are Python packages, dev.d/parts/s3rver is an npm package and dev.d/parts/jdbc a list of jars, each pinned with the
# sums of its files.
# Invariant: CACHE/parts-NAME-SUM exists only whole and holds what the pins with that sum say. It is made beside and renamed, one
# maker at a time (flock). So nothing in it may name the directory it was made in: that is why scripts of a virtual environment are
# run as `python -m`, and not by their first line.

# parts_python tests|bench: prints the Python that has the packages of dev.d/parts/NAME.txt.
parts_python() {
  parts_cached "$1" "$TOP/dev.d/parts/$1.txt" parts_make_python || exit 1
  printf '%s/bin/python\n' "$parts_dir"
}

# parts_s3rver: prints the directory of the package s3rver, for node.
parts_s3rver() {
  parts_cached s3rver "$TOP/dev.d/parts/s3rver/package-lock.json" parts_make_s3rver || exit 1
  printf '%s/node_modules/s3rver\n' "$parts_dir"
}

# parts_s5cmd: prints the program s5cmd; fails, with the reason said, where there is no Go to build it with.
parts_s5cmd() {
  command -v go >/dev/null || { say 's5cmd: no go here to build it with'; return 1; }
  parts_cached s5cmd "$TOP/dev.d/parts/s5cmd/go.sum" parts_make_s5cmd || return 1
  printf '%s/s5cmd\n' "$parts_dir"
}

# parts_jdbc: prints the JDBC driver of PostgreSQL, for a metastore that several SQL servers share.
parts_jdbc() {
  parts_cached jdbc "$TOP/dev.d/parts/jdbc" parts_make_jdbc || exit 1
  printf '%s\n' "$parts_dir"/*.jar
}

# parts_cached NAME PINS MAKER: sets parts_dir to the directory of these pins; MAKER fills $part when there is none.
parts_cached() {
  parts_name=$1
  parts_cache=$(cache_dir)
  parts_dir=$parts_cache/parts-$1-$(sha256sum "$2" | cut -c 1-12)
  [ ! -d "$parts_dir" ] || return 0
  mkdir -p "$parts_cache" || die "$parts_cache: not writable; set XDG_CACHE_HOME to a directory that is"
  (
    flock -n 9 || { say "$1: another run is fetching it, waiting"; flock 9; }
    [ -d "$parts_dir" ] || parts_make "$2" "$3"
  ) 9>"$parts_cache/.parts-$1.lock"
}

parts_make() {
  part=$(mktemp -d "$parts_cache/.partial-$parts_name.XXXXXX") || exit 1
  # shellcheck disable=SC2064  # the name as it is now
  trap "chmod -R u+w '$part'; rm -rf '$part'" EXIT
  trap 'exit 130' INT TERM HUP
  chmod 755 "$part" # tests become other users, too
  say "$parts_name: fetching the test parts"
  mkdir "$part/whole"
  if ! "$2" "$1" "$part/whole" >"$part/log" 2>&1 9>&-; then
    cat "$part/log" >&2
    die "$parts_name: not fetched, see above; ./dev parts tries again"
  fi
  chmod -R go+rX "$part/whole"
  mv "$part/whole" "$parts_dir" || exit 1
  say "$parts_name: ready in $parts_dir"
}

# Debian's Python, whatever else PATH has: the sums are those of wheels for it.
parts_make_python() {
  /usr/bin/python3 -m venv --without-pip "$2" || return 1
  PIP_DISABLE_PIP_VERSION_CHECK=1 pip3 --python "$2/bin/python" install --quiet --progress-bar off --no-cache-dir --no-deps \
    --only-binary :all: --require-hashes -r "$1"
}

parts_make_s3rver() {
  cp "$TOP/dev.d/parts/s3rver/package.json" "$1" "$2/" &&
    (cd "$2" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier)
}

# `go install` refuses a module with replacements; as the dependency of a module of ours it builds, with the sums go.sum has.
parts_make_s5cmd() {
  mkdir "$part/module" && cp "$TOP/dev.d/parts/s5cmd/go.mod" "$1" "$part/module/" &&
    (cd "$part/module" && GOFLAGS=-modcacherw GOPATH="$part/go" GOCACHE="$part/cache" CGO_ENABLED=0 \
      go build -mod=readonly -o "$2/s5cmd" github.com/peak/s5cmd/v2)
}

# The list is like those of Spark's jars (dev.d/jars.sh).
parts_make_jdbc() {
  command -v mvn >/dev/null || need_packages mvn:maven
  jars_pom "$1" >"$part/pom.xml"
  # shellcheck disable=SC2046  # options
  mvn -B -q $(jars_proxy) -f "$part/pom.xml" "$JARS_PLUGIN:copy-dependencies" -DoutputDirectory="$2" </dev/null || return 1
  jars_lines "$1" | while read -r sum _ coordinates; do
    printf '%s  %s\n' "$sum" "$(jars_file "$coordinates")"
  done >"$part/sums"
  (cd "$2" && sha256sum --check --quiet --strict "$part/sums")
}

parts_packages() {
  need_packages "$PACKAGES_PARTS"
}

# parts_command: what ./dev parts does.
parts_command() {
  parts_packages
  tests=$(parts_python tests) && bench=$(parts_python bench) && s3rver=$(parts_s3rver) || exit 1
  printf 'AWS_PYTHON=%s\nS3RVER=%s\nBENCH_PYTHON=%s\n' "$tests" "$s3rver" "$bench"
  if jdbc=$(parts_jdbc); then printf 'POSTGRES_DRIVER=%s\n' "$jdbc"; fi
  if s5cmd=$(parts_s5cmd); then printf 'S5CMD=%s\n' "$s5cmd"; fi
}
