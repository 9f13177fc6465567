# A job for tests/spark/fetch_spec.lua: what of EXT_CONF, HIVE_SITE_XML and EXT_JARS reaches driver and executors. Prints one line of JSON,
# "seen {...}".
import json

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("fetch").enableHiveSupport().getOrCreate()
sc = spark.sparkContext


def on_executor(*words):
    """A static method of Java, called where the rows are."""
    call = "reflect(%s)" % ", ".join("'%s'" % word for word in words)
    return spark.range(0, 4, 1, 2).selectExpr(call + " AS it", "id").collect()[0]["it"]


def order(path):
    """Spark's own jars and the fetched one as the class path has them."""
    names = [entry.rsplit("/", 1)[-1].split("_")[0] for entry in path.split(":")]
    return [name for name in names if name in ("spark-core", "marker.jar")]


seen = {
    "conf": sc.getConf().get("spark.site.key", None),
    "hive": sc._jvm.org.apache.hadoop.hive.conf.HiveConf().get("site.key"),
    "driver": str(sc._jvm.java.lang.ClassLoader.getSystemResource("marker.txt")),
    "executor": on_executor("java.lang.ClassLoader", "getSystemResource", "marker.txt"),
    "driver path": order(sc._jvm.java.lang.System.getProperty("java.class.path")),
    "executor path": order(on_executor("java.lang.System", "getProperty", "java.class.path")),
}
print("seen " + json.dumps(seen), flush=True)
spark.stop()
