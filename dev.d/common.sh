# shellcheck shell=sh
# dev.d/common.sh - what every part of ./dev needs: words for people, the cache, the pinned versions.

say() { printf '%s\n' "$*" >&2; }
die() { say "dev: $*"; exit 1; }

# One directory outside the checkout, so that a fresh clone finds what an older one has fetched.
cache_dir() { printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/spark-appliance"; }

# pinned NAME KEY COLUMN: a column of the line of dev.d/versions whose second (or fifth) word is KEY.
pinned() {
  awk -v name="$1" -v key="$2" -v column="$3" \
    '$1 == name && (key == "" || $2 == key || $5 == key) { print $column; exit }' "$TOP/dev.d/versions"
}

megabytes() { awk -v bytes="$1" 'BEGIN { printf "%d", bytes / 1000000 }'; }
