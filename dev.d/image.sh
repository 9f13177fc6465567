# shellcheck shell=sh
# dev.d/image.sh - the container image, and an engine to build and run it on.
# Where no engine answers and we are root, Debian's dockerd is started with its data in the cache (so layers are kept from run to
# run) and stopped again; what it does to the machine's packet filter is undone then.

IMAGE_DEFAULT=spark-appliance:dev
IMAGE_BASE=debian:bookworm-slim

# image_build [TAG]
image_build() {
  if [ "$(id -u)" -eq 0 ]; then need_packages "$PACKAGES_DOCKER $PACKAGES_SPARK"; fi
  engine_start || die "$engine_trouble"
  trap 'engine_stop' EXIT
  trap 'exit 130' INT TERM
  image_make "${1:-$IMAGE_DEFAULT}" && docker image inspect -f 'built {{index .RepoTags 0}}: {{.Size}} bytes' "${1:-$IMAGE_DEFAULT}"
}

# engine_start: sets DOCKER_HOST when it had to start an engine; engine_trouble says why there is none.
engine_start() {
  engine_pid=''
  command -v docker >/dev/null || { engine_trouble='no docker command here'; return 1; }
  ! docker info >/dev/null 2>&1 || return 0
  [ "$(id -u)" -eq 0 ] || { engine_trouble='no Docker engine answers, and only root can start one'; return 1; }
  command -v dockerd >/dev/null || { engine_trouble='no Docker engine answers, and there is no dockerd to start'; return 1; }
  engine_run=$(mktemp -d /tmp/engine.XXXXXX)
  engine_data=$(cache_dir)/docker
  mkdir -p "$engine_data"
  iptables-save >"$engine_run/rules" 2>/dev/null
  cat /proc/sys/net/ipv4/ip_forward >"$engine_run/ip_forward"
  DOCKER_HOST=unix://$engine_run/docker.sock
  export DOCKER_HOST
  say "starting a Docker engine (data in $engine_data)"
  setsid dockerd -H "$DOCKER_HOST" --data-root "$engine_data" --exec-root "$engine_run/exec" --pidfile "$engine_run/pid" \
    >"$engine_run/log" 2>&1 </dev/null &
  engine_pid=$!
  tries=0
  until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 $engine_pid 2>/dev/null; then
      engine_trouble="no Docker engine can run here: $(grep -iE 'failed|error' "$engine_run/log" | tail -n 1)"
      engine_stop
      return 1
    fi
    sleep 0.2
  done
}

engine_stop() {
  [ -n "${engine_pid:-}" ] || return 0
  # shellcheck disable=SC2046  # identifiers
  docker rm -f $(docker ps -aq --filter label=spark-appliance.test) >/dev/null 2>&1
  kill -TERM "$engine_pid" 2>/dev/null
  wait "$engine_pid" 2>/dev/null
  engine_pid=''
  unset DOCKER_HOST
  ip link delete docker0 2>/dev/null
  iptables-restore <"$engine_run/rules" 2>/dev/null
  cat "$engine_run/ip_forward" >/proc/sys/net/ipv4/ip_forward
  # The engine leaves its network namespace mounted below its run directory.
  umount "$engine_run"/exec/netns/* 2>/dev/null
  rm -rf "$engine_run"
}

# The base image: the engine's own, a registry's, or made from Debian's packages.
image_base() {
  ! docker image inspect "$IMAGE_BASE" >/dev/null 2>&1 || return 0
  ! timeout 120 docker pull -q "$IMAGE_BASE" >/dev/null 2>&1 || return 0
  say "no image registry can be reached: making $IMAGE_BASE with debootstrap"
  root=$(mktemp -d "$(cache_dir)/base.XXXXXX")
  debootstrap --variant=minbase bookworm "$root" >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; return 1; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import - "$IMAGE_BASE" >/dev/null
  made=$?
  rm -rf "$root" "$root.log"
  return $made
}

# image_make TAG: the context is streamed, with the cache's Spark in the place of deploy/image/inputs/spark.
image_make() {
  version=${SPARK_VERSION:-$(pinned spark default 2)}
  home=$(spark_home "$version") || return 1
  image_base || return 1
  set -- "$1" --build-arg "SPARK_VERSION=$version" --build-arg "JAVA_VERSION=${JAVA_VERSION:-$(pinned java '' 2)}"
  for name in http_proxy https_proxy no_proxy; do
    if env | grep -q "^$name="; then set -- "$@" --build-arg "$name"; fi
  done
  say "building $1 with Spark $version"
  tag=$1
  shift
  # Only what a release has: a run from this SPARK_HOME may have left logs and work in it.
  release='RELEASE bin conf data examples jars licenses python sbin'
  # shellcheck disable=SC2086  # a list of names
  tar -c --exclude=__pycache__ --exclude=deploy/image/inputs/spark \
    --transform "flags=r;s,^\($(echo "$release" | sed 's/ /\\|/g')\)\(/\|\$\),deploy/image/inputs/spark/\1\2," \
    .dockerignore Dockerfile CMakeLists.txt cmake dev dev.d src include lua profiles deploy -C "$home" $release |
    docker build -q --network=host -t "$tag" "$@" - >/dev/null
}

# docker_tests: the specs of tests/docker against the image of this checkout; skipped, with the reason, where no engine can run.
docker_tests() {
  if ! engine_start; then
    echo "docker 0 0 1" >>"$LOGS/results"
    echo "skip docker: $engine_trouble" | tee -a "$LOGS/summary"
    return
  fi
  suite=''
  trap '[ -z "$suite" ] || kill -TERM $suite; engine_stop; exit 143' TERM
  IMAGE=$IMAGE_DEFAULT
  export IMAGE
  if image_make "$IMAGE"; then
    run_folder build docker 900
  else
    run_suite docker/build check 1 sh -c "echo the image was not built, see above; false"
  fi
  engine_stop
}
