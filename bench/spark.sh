#!/bin/sh
# bench/spark.sh - our node beside Spark's own scripts: the same Spark, JDK and machine, one after the other in one run.
# SB_SPARK_RUNS (3): repeats of each. SPARK_HOME: another Spark than the pinned one.
set -eu
cd "$(dirname "$0")/.."
SPARK_HOME=$(./dev spark)
export SPARK_HOME AWS_EC2_METADATA_DISABLED=true
exec python3 -B bench/spark/compare.py "$PWD/build/spark-appliance" "$PWD/examples/wordcount.py"
