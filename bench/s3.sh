#!/bin/sh
# bench/s3.sh - `spark-appliance s3` beside other clients of S3: the same objects, server and machine, in turns in one run.
# S3_BENCH_RUNS (5; three times as many of the 1 KiB): repeats of each. S3_BENCH_CLIENTS: only these. S3_BENCH_CASES: only these, with
# commas between them. S3_BENCH_SIZE (1 GiB): of the big object. S3_BENCH_DIR (/dev/shm when it has room, else build/bench):
# where files are fetched to.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/build/bench
mkdir -p "$out"
cc -O2 -Wall -Wextra -Wshadow -o "$out/stub" bench/s3/stub.c bench/s3/stub_*.c -lssl -lcrypto -pthread
cc -O2 -Wall -Wextra -Wshadow -static -o "$out/measure" bench/s3/measure.c
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$out/stub.key" -out "$out/stub.crt" -days 2 \
  -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>"$out/openssl.log" || { cat "$out/openssl.log" >&2; exit 1; }
for line in $(./dev parts | grep '='); do export "${line?}"; done
export APPLIANCE="$PWD/build/spark-appliance" AWS_EC2_METADATA_DISABLED=true
exec python3 -B bench/s3/compare.py "$out"
