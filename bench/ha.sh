#!/bin/sh
# bench/ha.sh - failover: a cluster of ours beside one of Spark's own masters, with the same Spark, ZooKeeper, hosts and faults, one after
# the other in one run. Hosts are network namespaces (tests/cluster/nest), so this needs root, or a kernel that lets users make some.
# HA_BENCH_RUNS (3), HA_BENCH_STOCK_RUNS (as many): repeats of each fault. HA_BENCH_CASES: only these, with commas between them.
# HA_BENCH_KINDS (stock,ours). HA_BENCH_STORY: also say what was seen in each. SPARK_HOME: another Spark than the pinned one.
set -eu
cd "$(dirname "$0")/.."
SPARK_HOME=$(./dev spark)
POSTGRES_DRIVER=$(./dev parts | sed -n 's/^POSTGRES_DRIVER=//p')
export SPARK_HOME POSTGRES_DRIVER AWS_EC2_METADATA_DISABLED=true APPLIANCE="$PWD/build/spark-appliance"
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/tests/support/?.lua;$PWD/bench/?.lua;;" LUA_CPATH="$PWD/build/modules/?.so;;"
LOGS=$PWD/build/bench/ha
export LOGS
mkdir -p "$LOGS"
exec tests/cluster/nest lua5.4 bench/ha/compare.lua
