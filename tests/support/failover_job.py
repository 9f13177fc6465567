"""A job that goes on until a file is there: each round of two tasks adds a line to another one. Arguments: progress, stop."""
import os
import sys
import time

from pyspark.sql import SparkSession

progress, stop = sys.argv[1:3]
spark = SparkSession.builder.appName("failover-job").config("spark.cores.max", "1").getOrCreate()
context = spark.sparkContext
rounds = 0
while not os.path.exists(stop):
    total = context.parallelize(range(2), 2).map(lambda x: time.sleep(0.2) or x + 1).sum()
    rounds += 1
    with open(progress, "a") as file:
        file.write(f"{total} by {context.applicationId}\n")
print(f"job: {rounds} rounds by {context.applicationId}")
spark.stop()
