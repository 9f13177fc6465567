# shellcheck shell=sh
# dev.d/spark.sh - a Spark release in the cache, made of the sdist that the Python package index has.
# The sdist holds deps/ (a SPARK_HOME without Python), lib/*.zip and pyspark/. In deps/ alone a Python job and
# every worker look for python/lib in vain and end without a word of why, so the parts are laid out as a release is.
# Invariant: CACHE/spark-VERSION exists only whole. It is made beside and renamed, one maker at a time (flock). A release that an older
# checkout made gets the jars for s3:// where it is (jars.sh).

# spark_home [VERSION]: prints the SPARK_HOME. Without VERSION the user's own SPARK_HOME wins.
spark_home() {
  if [ -z "${1:-}" ] && [ -n "${SPARK_HOME:-}" ]; then
    [ -d "$SPARK_HOME/jars" ] || die "SPARK_HOME=$SPARK_HOME holds no jars/: name a Spark release, or unset it to have one fetched"
    printf '%s\n' "$SPARK_HOME"
    return
  fi
  spark_version=${1:-$(pinned spark default 2)}
  spark_sum=$(pinned spark "$spark_version" 3)
  [ -n "$spark_sum" ] || die "spark $spark_version: no checksum for it in dev.d/versions; it knows $(awk '$1 == "spark" { printf "%s%s", sep, $2; sep = ", " }' "$TOP/dev.d/versions")"
  spark_cache=$(cache_dir)
  spark_dir=$spark_cache/spark-$spark_version
  if [ ! -d "$spark_dir" ] || ! jars_are_in "$spark_version" "$spark_dir"; then
    mkdir -p "$spark_cache" || die "$spark_cache: not writable; set XDG_CACHE_HOME to a directory that is"
    (
      flock -n 9 || { say "spark $spark_version: another run is fetching it, waiting"; flock 9; }
      # Another run may have made it while this one waited for the lock.
      [ -d "$spark_dir" ] && jars_are_in "$spark_version" "$spark_dir" || spark_make
    ) 9>"$spark_cache/.spark-$spark_version.lock" || exit 1
  fi
  printf '%s\n' "$spark_dir"
}

spark_make() {
  command -v pip3 >/dev/null || need_packages python3 python3-pip
  part=$(mktemp -d "$spark_cache/.partial-$spark_version.XXXXXX") || exit 1
  # shellcheck disable=SC2064  # the name as it is now
  trap "rm -rf '$part'" EXIT
  trap 'exit 130' INT TERM HUP
  mkdir "$part/tmp" "$part/release" "$part/maven"
  release=$spark_dir
  if [ ! -d "$spark_dir" ]; then
    release=$part/release
    spark_download || die "spark $spark_version: not fetched, see above; ./dev spark tries again"
    say "spark $spark_version: unpacking"
    tar --no-same-owner -xzf "$part/pyspark-$spark_version.tar.gz" -C "$part/tmp" --strip-components=1 || exit 1
    spark_lay_out "$part/tmp" "$release"
  fi
  if [ ! -f "$TOP/dev.d/jars-$spark_version" ]; then
    say "spark $spark_version: there is no dev.d/jars-$spark_version (its companions are not published), so it comes without s3://"
  elif ! jars_are_in "$spark_version" "$release"; then
    jars_add "$spark_version" "$release" "$part/maven" || die "spark $spark_version: no jars for s3://, see above; ./dev spark tries again"
  fi
  [ "$release" = "$spark_dir" ] || mv "$release" "$spark_dir" || exit 1
  say "spark $spark_version: ready in $spark_dir"
}

spark_download() {
  # pip checks the sum itself. It also builds the package's metadata, which needs setuptools: ours when there, else a fetched one.
  printf 'pyspark==%s --hash=sha256:%s\n' "$spark_version" "$spark_sum" >"$part/requirements"
  isolation=
  python3 -c 'import setuptools, wheel' 2>/dev/null && isolation=--no-build-isolation
  say "spark $spark_version: fetching $(pinned spark "$spark_version" 4) MB"
  TMPDIR=$part/tmp PIP_DISABLE_PIP_VERSION_CHECK=1 pip3 download --quiet --progress-bar off --no-cache-dir --no-deps --require-hashes \
    --no-binary :all: $isolation -d "$part" -r "$part/requirements" >"$part/log" 2>&1 9>&- &
  pip=$!
  spark_progress "$pip"
  if ! wait "$pip"; then
    cat "$part/log" >&2
    return 1
  fi
  rm -rf "$part/tmp"
  mkdir "$part/tmp"
  printf '%s  %s\n' "$spark_sum" "$part/pyspark-$spark_version.tar.gz" | sha256sum --check --status ||
    { say "spark $spark_version: the file fetched is not the one dev.d/versions names (sha256 differs)"; return 1; }
}

# pip shows no progress where there is no terminal, so the size of what it is writing is shown instead.
spark_progress() {
  every=10
  [ -t 2 ] && every=1
  waited=0
  while kill -0 "$1" 2>/dev/null; do
    sleep 1
    waited=$((waited + 1))
    [ $((waited % every)) -eq 0 ] || continue
    bytes=$(find "$part" -name "pyspark-*.tar.gz" -printf '%s\n' 2>/dev/null | sort -n | tail -n 1)
    if [ -t 2 ]; then
      printf '\r  %s MB ' "$(megabytes "${bytes:-0}")" >&2
    else
      say "  $(megabytes "${bytes:-0}") MB after $waited s"
    fi
  done
  [ ! -t 2 ] || printf '\r' >&2
}

# spark_lay_out SDIST RELEASE: the directories of a release, moved, not copied: both are on one file system.
spark_lay_out() {
  for part_name in "$1"/deps/*; do
    case ${part_name##*/} in
      bin | sbin | jars | examples | data | licenses) mv "$part_name" "$2/" ;;
    esac
  done
  mkdir -p "$2/python/lib" "$2/conf"
  mv "$1"/lib/*.zip "$2/python/lib/"
  mv "$1/pyspark" "$2/python/pyspark"
  [ ! -f "$1/LICENSE" ] || mv "$1/LICENSE" "$2/"
  hadoop=$(find "$2/jars" -name 'hadoop-client-api-*.jar' | sed 's/.*-api-//; s/\.jar$//')
  printf 'Spark %s built for Hadoop %s\n' "$spark_version" "$hadoop" >"$2/RELEASE"
  chmod -R go+rX "$2"
}
