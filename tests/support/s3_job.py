# A job for tests/spark/s3_spec.lua: what people do with s3:// in Spark, and what of it can be seen. Prints one line of JSON, "seen {...}".
#   s3_job.py use BUCKET SCHEME...        read, write, list, append, overwrite, rename, upload
#   s3_job.py look BUCKET NAME            the driver alone: fails unless that is what in/ holds
#   s3_job.py last BUCKET SECONDS         reads and writes until a flag object appears, and SECONDS more
import json
import os
import sys
import time

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("s3").getOrCreate()
sc = spark.sparkContext
Path = sc._jvm.org.apache.hadoop.fs.Path
what, bucket = sys.argv[1], sys.argv[2]


def file_system(path):
    return Path(path).getFileSystem(sc._jsc.hadoopConfiguration())


def names(path):
    return sorted(status.getPath().getName() for status in file_system(path).listStatus(Path(path)))


def text(path):
    # Spark's own readers pass over names that begin with _.
    stream = file_system(path).open(Path(path))
    return sc._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")


def count(path):
    return spark.read.parquet(path).count()


def use(scheme):
    seen = {}
    base = f"{scheme}://{bucket}"
    seen["lines"] = spark.read.text(f"{base}/in/lines.txt").count()
    seen["file system"] = file_system(base).getClass().getSimpleName()
    out = f"{base}/out-{scheme}/table"
    rows = spark.range(1000).selectExpr("id", "id % 7 as k").repartition(2)
    rows.write.parquet(out)
    seen["written"] = count(out)
    rows.write.mode("append").parquet(out)
    seen["appended"] = count(out)
    spark.range(10).repartition(1).write.mode("overwrite").parquet(out)
    seen["overwritten"] = count(out)
    seen["listed"] = len([name for name in names(out) if name.endswith(".parquet")])
    seen["success"] = json.loads(text(out + "/_SUCCESS")).get("committer")
    rows.write.partitionBy("k").json(f"{base}/out-{scheme}/parts")
    seen["partitions"] = len([name for name in names(f"{base}/out-{scheme}/parts") if name.startswith("k=")])
    files = file_system(base)
    files.rename(Path(out), Path(out + "-moved"))
    seen["moved"] = count(out + "-moved")
    files.copyFromLocalFile(Path("file:///etc/hostname"), Path(f"{base}/out-{scheme}/hostname"))
    seen["uploaded"] = len(names(f"{base}/out-{scheme}/hostname"))
    return seen


def executor_environment(_):
    return sorted(name for name in os.environ if name.startswith("AWS_"))


if what == "use":
    found = {scheme: use(scheme) for scheme in sys.argv[3:]}
    found["executor"] = sc.parallelize([1], 1).map(executor_environment).first()
    found["driver"] = executor_environment(1)
elif what == "look":
    found = {"names": names(f"s3://{bucket}/in")}
    assert found["names"] == sys.argv[3:]
else:
    flag, root = f"s3://{bucket}/flag", f"s3://{bucket}/lasting"
    files, rounds, until = file_system(root), 0, None
    while until is None or time.time() < until:
        spark.range(100).repartition(2).write.mode("overwrite").parquet(root)
        assert count(root) == 100
        rounds += 1
        if until is None and files.exists(Path(flag)):
            until = time.time() + float(sys.argv[3])
            rounds = 0
    found = {"rounds": rounds}
print("seen " + json.dumps(found))
spark.stop()
