#!/bin/sh
# bench/supervision.sh - our program as a supervisor beside those of Debian, on the same children in the same run.
# SB_RUNS (11): repeats of a start. SB_LOG_BYTES (256 MiB): how much each logger has to take. SB_PEERS: only these.
set -eu
cd "$(dirname "$0")/.."
out=build/bench
mkdir -p "$out"
cc -O2 -Wall -static -o "$out/child" bench/supervision/child.c
cc -O2 -Wall -D_GNU_SOURCE -o "$out/launch" bench/supervision/launch.c
cc -O2 -Wall -D_GNU_SOURCE -o "$out/floor" bench/supervision/floor.c
exec python3 bench/supervision/compare.py "$PWD/$out" "$PWD/build/spark-appliance"
