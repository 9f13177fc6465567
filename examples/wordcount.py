"""The ten most frequent words of a text: spark-submit wordcount.py FILE (any URL that Spark can read)."""
import re
import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("wordcount").getOrCreate()
counts = (
    spark.sparkContext.textFile(sys.argv[1])
    .flatMap(lambda line: re.findall(r"[a-z']+", line.lower()))
    .map(lambda word: (word, 1))
    .reduceByKey(lambda left, right: left + right)
    .collect()
)
for word, count in sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:10]:
    print(f"{count:7d} {word}")
print(f"{sum(count for _, count in counts)} words, {len(counts)} of them different, counted by {spark.sparkContext.master}")
spark.stop()
