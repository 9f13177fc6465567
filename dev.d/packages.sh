# shellcheck shell=sh
# shellcheck disable=SC2034  # the lists are used by ./dev and its other parts
# dev.d/packages.sh - what is needed from Debian, and how it comes onto the machine.
# A word is a package, or command:package where any other way to have the command will do.

PACKAGES_BUILD='cc:gcc libc6-dev cmake:cmake ninja:ninja-build pkg-config:pkg-config liblua5.4-dev lua5.4:lua5.4 libxml2-dev
  libcurl4-openssl-dev libssl-dev libcjson-dev libzookeeper-mt-dev'
PACKAGES_SPARK="java:openjdk-$(pinned java "" 2)-jre-headless python3:python3 pip3:python3-pip procps:procps
  mvn:maven"
PACKAGES_RUN='libnss-wrapper'
PACKAGES_TEST='libcmocka-dev lua-busted lua-check shellcheck:shellcheck clang:clang clang-format:clang-format clang-tidy:clang-tidy
  libclang-rt-14-dev tini:tini unshare:util-linux ip:iproute2 curl:curl openssl:openssl python3:python3 procps strace:strace'
# The wheels that dev.d/parts pins are for Debian's own Python, whichever python3 comes first in PATH.
PACKAGES_PARTS='python3 pip3:python3-pip node:nodejs npm:npm setpriv:util-linux'
# Hosts are network namespaces; a metastore needs a database.
PACKAGES_CLUSTER='iptables:iptables unshare:util-linux nsenter:util-linux ip:iproute2 tini:tini postgresql-15 setpriv:util-linux'
PACKAGES_DOCKER='dockerd:docker.io docker:docker.io docker-compose:docker-compose iptables:iptables debootstrap:debootstrap'
PACKAGES_BENCH='tini:tini dumb-init:dumb-init catatonit:catatonit s6-svscan:s6 runsvdir:runit supervisord:supervisor python3:python3
  curl:curl openssl:openssl rclone:rclone s3cmd:s3cmd socat:socat haproxy:haproxy'

package_missing() {
  case $1 in
    *:*) if command -v "${1%%:*}" >/dev/null 2>&1; then return 1; fi ;;
  esac
  [ "$(dpkg-query -W -f '${db:Status-Status}' "${1##*:}" 2>/dev/null)" != installed ]
}

# need_packages WORDS...: installs those that are missing, all in one go, and asks before it becomes root.
need_packages() {
  if ! command -v apt-get >/dev/null; then
    say "dev: no apt-get here, so nothing is installed; what is needed goes by these names in Debian: $*"
    return 0
  fi
  missing=
  # shellcheck disable=SC2048  # each argument may be a list of words
  for word in $*; do
    if package_missing "$word"; then missing="$missing ${word##*:}"; fi
  done
  [ -n "$missing" ] || return 0
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    ask_install "$missing"
  fi
  say "installing from Debian:$missing"
  # Lists older than the archive, or none at all, show as a failure of the first try.
  install_packages "$missing" || { $as_root apt-get -q update >&2; install_packages "$missing"; } ||
    die "not installed:$missing (the reason is above)"
}

install_packages() {
  # shellcheck disable=SC2086  # a list of words
  $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a \
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $1 </dev/null >&2
}

ask_install() {
  [ "${CI:-}" != true ] || return 0
  [ -t 0 ] || die "missing:$1. Install them, or set CI=true to have it done with sudo"
  printf 'Missing:%s\nInstall with sudo apt-get? [Y/n] ' "$1" >&2
  read -r answer || answer=n
  case $answer in
    '' | y | Y | yes) ;;
    *) die "then please install:$1" ;;
  esac
}
