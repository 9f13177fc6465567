#!/bin/sh
# bench/relay.sh - our TCP relay beside those of Debian, between the same client and server in the same run, in turns.
# RELAY_BENCH_RUNS (5): repeats of each. RELAY_BENCH_BYTES (2 GiB): of each transfer. RELAY_BENCH_PEERS: only these. nginx takes part where
# it is installed with its stream module (nginx-light, libnginx-mod-stream).
set -eu
cd "$(dirname "$0")/.."
out=build/bench
mkdir -p "$out"
cc -O2 -Wall -Wextra -Wshadow -D_GNU_SOURCE -pthread -o "$out/relay-load" bench/relay/load.c
LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;" LUA_CPATH="$PWD/build/modules/?.so;;"
export LUA_PATH LUA_CPATH
exec python3 -B bench/relay/compare.py "$PWD/$out/relay-load"
