# shellcheck shell=sh
# dev.d/dist.sh - ./dev dist: what others install. The program as a .deb, and a Spark that speaks s3:// as a tarball, for trying out on
# an instance where nothing of ours runs: the release of the cache with its jars for S3, and a conf/ that says what a node's would.

# dist_make [VERSION]: both, for the default Spark or the one named.
dist_make() {
  build_deb || return 1
  dist_spark "${1:-$(pinned spark default 2)}"
}

build_deb() {
  need_packages dpkg-shlibdeps:dpkg-dev
  build_program || return 1
  (cd "$TOP/build" && cpack -G DEB >cpack.log 2>&1) || { cat "$TOP/build/cpack.log" >&2; return 1; }
  ls "$TOP"/build/*.deb
}

# dist_spark VERSION: prints the tarball's name. It appears whole or not at all.
dist_spark() {
  need_packages "$PACKAGES_SPARK" lua5.4:lua5.4
  dist_home=$(spark_home "$1") || return 1
  dist_name=spark-$1-bin-appliance
  dist_conf=$(mktemp -d "$TOP/build/conf.XXXXXX") || return 1
  mkdir "$dist_conf/conf"
  chmod 755 "$dist_conf/conf"
  # Only what a release has: a run from there may have left logs and work in it.
  if (cd "$TOP" && LUA_PATH="lua/?.lua;lua/?/init.lua;;" lua5.4 dev.d/dist_conf.lua "$dist_home" "$dist_conf/conf") &&
    tar -c --owner=0 --group=0 --exclude=__pycache__ --transform "flags=r;s,^,$dist_name/," \
      -C "$dist_home" RELEASE bin data examples jars licenses python sbin -C "$dist_conf" conf >"$dist_conf/tar" &&
    gzip -1 <"$dist_conf/tar" >"$dist_conf/tgz"; then # jars are compressed already
    mv "$dist_conf/tgz" "$TOP/build/$dist_name.tgz"
    made=0
  else
    made=1
  fi
  rm -rf "$dist_conf"
  [ $made -ne 0 ] || printf '%s\n' "$TOP/build/$dist_name.tgz"
  return $made
}
