"""A job for tests: counts again and again on the cluster, until a file is there. job.py STOP-FILE; prints `app ID` when its context is made,
`round N` after each round, and `counted N` at its end: how many rounds gave the right sum."""
import os
import sys
import time

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("job").getOrCreate()
context = spark.sparkContext
print("app", context.applicationId, flush=True)
rounds = right = 0
while True:
    rounds += 1
    right += context.parallelize(range(1000), 2).map(lambda value: value * 2).sum() == 999000
    print("round", rounds, flush=True)
    if os.path.exists(sys.argv[1]):
        break
    time.sleep(0.2)
print("counted", right, "of", rounds, flush=True)
spark.stop()
