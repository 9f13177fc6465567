--- What each setting does, for people: `spark-appliance settings` and docs/settings.md. A start never loads this.
local docs = {}

--- Groups in the order a reader needs them; every shipped setting is in exactly one.
docs.groups = {
  { "What runs here", "START_MASTER", "START_WORKER", "START_THRIFTSERVER", "SPARK_MODE", "PROFILE", "START_WEBAPP", "START_NOTEBOOK" },
  { "Which cluster it belongs to", "MASTER_URI", "MASTER_STACK_NAME", "ZOOKEEPER", "CLUSTER_NAME", "CLUSTER_SIZE",
    "CLUSTER_WAIT", "NODE_NAME", "WORKER_LOST_AFTER", "APPLICATION_ID", "APPLICATION_VERSION" },
  { "Masters that share a ZooKeeper", "ZOOKEEPER_SESSION", "ZOOKEEPER_AUTH", "ZOOKEEPER_RELAY", "ZOOKEEPER_SQL_NAMESPACE", "SQL_RELAY",
    "THRIFT_BACKEND_PORT", "HEALTH_PORT", "EXHIBITOR_HOSTS", "EXHIBITOR_PORT", "EXHIBITOR_POLL", "EXHIBITOR_USER", "EXHIBITOR_PASSWORD" },
  { "How much it uses and offers", "WORKER_CORES", "WORKER_MEMORY", "EXECUTOR_MEMORY", "DRIVER_MEMORY", "DEFAULT_CORES", "THRIFT_CORES",
    "THRIFT_MEMORY", "THRIFT_EXECUTOR_MEMORY", "DAEMON_MEMORY", "SPARK_WORKER_INSTANCES" },
  { "Your configuration files and jars", "SPARK_CONF_DIR", "EXT_CONF", "EXT_JARS", "HIVE_SITE_XML", "EXT_WATCH",
    "S3_CHECK", "S3_CHECK_REQUIRED", "HADOOP_CONF_DIR", "PYTHON_LIBS" },
  { "Network", "BIND_ADDRESS", "ADVERTISE_ADDRESS", "MASTER_HOST", "SPARK_PUBLIC_DNS", "MASTER_PORT", "MASTER_UI_PORT", "MASTER_REST",
    "MASTER_REST_PORT", "WORKER_PORT", "WORKER_UI_PORT", "THRIFT_PORT" },
  { "Security", "SPARK_RPC_AUTHENTICATION_ENABLED", "SPARK_RPC_AUTHENTICATION_SECRET", "SPARK_RPC_ENCRYPTION_ENABLED",
    "SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED", "SPARK_SSL_ENABLED", "SPARK_SSL_KEYSTORE_FILE", "SPARK_SSL_KEYSTORE_PASSWORD",
    "SPARK_SSL_KEY_PASSWORD", "SPARK_SSL_TRUSTSTORE_FILE", "SPARK_SSL_TRUSTSTORE_PASSWORD", "SPARK_SSL_NEED_CLIENT_AUTH",
      "SPARK_SSL_PROTOCOL",
    "SPARK_WEBUI_SSL_PORT", "TOKENINFO_URL", "AUTH_URL", "OAUTH2_SCOPE" },
  { "Credentials of AWS", "CREDENTIALS_BROKER", "ROLE_MAPPING", "BROKER_PORT", "BROKER_TOKEN" },
  { "Spark and Java", "SPARK_HOME", "JAVA_HOME", "WORKER_DIR", "LOCAL_DIRS", "RECOVERY", "CLASS_ARCHIVES", "SPARK_METRICS_ENABLED",
    "SPARK_DAEMON_JAVA_OPTS", "SPARK_MASTER_OPTS", "SPARK_WORKER_OPTS", "SPARK_EXTRA_CLASSPATH", "SPARK_DIST_CLASSPATH",
      "SPARK_DAEMON_CLASSPATH",
    "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON" },
  { "The supervisor itself", "STATE_DIR", "LOG_FORMAT", "LOG_LEVEL", "LOG_DIR", "LOG_SIZE", "LOG_KEEP", "LOG_FULL", "STOP_TIMEOUT",
    "WATCHDOG",
    "FACTS_TIMEOUT", "UNKNOWN_SETTINGS", "APPLIANCE_PROFILES" },
}

docs.settings = {
  -- the supervisor itself
  PROFILE = "The profile, by name or path. Empty: chosen by what else is set (ZooKeeper: `ha`; MASTER_URI, or only one of master and "
    .. "worker: `cluster`; else `single-node`).",
  APPLIANCE_PROFILES = "Directories of profiles, separated by colons, looked through before /etc/spark-appliance and the shipped ones.",
  STATE_DIR = "The one writable directory: configuration as written, recovery data, work of applications, control socket. Empty: "
    .. "/var/lib/spark-appliance where that can be written, else $XDG_STATE_HOME/spark-appliance or ~/.local/state/spark-appliance, and "
    .. "without a home /tmp/spark-appliance.",
  LOG_FORMAT = "Lines for people, or one JSON object a line.",
  LOG_LEVEL = "The least severe of our own lines to be shown.",
  LOG_DIR = "Also keep each service's output in a file here. Empty: only on stdout.",
  LOG_SIZE = "A file of LOG_DIR that has reached this size is rotated, at the end of a line.",
  LOG_KEEP = "Rotated files kept for each service.",
  LOG_FULL = "When whoever reads our output is too slow: drop lines (and say how many), or block the services that write them.",
  STOP_TIMEOUT = "All of a stop must fit into this; docker stop kills after 10 s unless told otherwise.",
  WATCHDOG = "If the supervisor itself makes no progress for so long, it ends with 70 so that it is replaced. 0: never.",
  FACTS_TIMEOUT = "How long the start waits for what the profile must learn from the world; then exit 69.",
  CREDENTIALS_BROKER = "Serve the credentials of this node to its services on 127.0.0.1, so that no key is in their environment "
    .. "(docs/credentials.md). auto: where there is a source of credentials.",
  ROLE_MAPPING = "Which role a service, a user or a job's label gets instead of the node's own: "
    .. "`service:thriftserver=arn:aws:iam::123456789012:role/sql, label:etl=arn:...`, or EMRFS's JSON (RoleMappings).",
  BROKER_PORT = "The broker's port on 127.0.0.1. 0: the kernel chooses.",
  BROKER_TOKEN = "Must clients of the broker send the token beside the path nobody can guess? auto: all but version 1 of the Java SDK, "
    .. "which can't; required; optional: the path is enough.",
  UNKNOWN_SETTINGS = "What a variable that looks like a misspelt setting leads to: no start, a line in the log, or nothing.",

  -- what runs
  START_MASTER = "Run a master here. Only `true`, in any case, is on. With no START_* and no SPARK_MODE set at all, master and worker run.",
  START_WORKER = "Run a worker here. Only `true`, in any case, is on.",
  START_THRIFTSERVER = "Run the SQL server (Thrift, JDBC) here. Only `true`, in any case, is on. It takes a part of the cores and "
    .. "memory for itself for good.",
  SPARK_MODE = "In place of START_*: run this one.",
  START_WEBAPP = "The REST gateway. Not in this version: leave it empty.",
  START_NOTEBOOK = "A notebook server. Not in this version: leave it empty.",

  -- whom it belongs to
  MASTER_URI = "The masters that worker and SQL server belong to, `spark://host:7077[,host:7077]`. Empty: the master of this node.",
  MASTER_STACK_NAME = "The stack (CloudFormation) whose instances are the masters, found by its load balancer and looked up again every "
    .. "minute; or a literal spark://... list, as MASTER_URI, which beats it.",
  ZOOKEEPER = "Masters that share a ZooKeeper: its servers, `host:2181,host:2181/path`, where path is the part of the tree to stay in. A "
    .. "single host:2181 that is a name is first asked as an Exhibitor (EXHIBITOR_PORT), as the older appliance's load balancer is one. "
    .. "A word without port is the name of a stack (CloudFormation) whose instances are the servers. With EXHIBITOR_HOSTS: what is used "
    .. "while no Exhibitor answers.",
  CLUSTER_NAME = "What tells this cluster from others in the same ZooKeeper; the same on all its nodes. Empty: APPLICATION_ID.",
  CLUSTER_SIZE = "How many masters share the ZooKeeper: workers and SQL server wait until so many are known, CLUSTER_WAIT at most. Has no "
    .. "effect on a single node.",
  CLUSTER_WAIT = "How long that is waited for; then the node goes on with the masters there are. 0: not at all.",
  NODE_NAME = "What this node is called among the others; no two may have the same. Empty: its address.",
  ZOOKEEPER_SESSION = "How long the servers keep the place of a node they no longer hear from: how soon a dead node is noticed. They "
    .. "allow no less than two of their ticks (4 s by default).",
  ZOOKEEPER_AUTH = "user:password for what this node writes into ZooKeeper (digest): nobody else can read or change it. The same on all "
    .. "nodes. Better in a file: ZOOKEEPER_AUTH_FILE.",
  ZOOKEEPER_RELAY = "Masters reach ZooKeeper through a port of ours on 127.0.0.1, so that a changed list of servers needs no restart of "
    .. "theirs.",
  ZOOKEEPER_SQL_NAMESPACE = "Where the SQL server is published in ZooKeeper in HiveServer2's format: the clients' zooKeeperNamespace.",
  SQL_RELAY = "THRIFT_PORT of every node leads to the SQL server, wherever it runs.",
  THRIFT_BACKEND_PORT = "With SQL_RELAY: the port on which the SQL server itself listens.",
  HEALTH_PORT = "Answer /livez, /readyz, /leader and /thriftserver with 200 or 503 on this port, for load balancers. 0: closed.",
  EXHIBITOR_HOSTS = "Exhibitors to ask which servers ZooKeeper has, hosts separated by commas. Their last good answer is kept on disk.",
  EXHIBITOR_PORT = "The port of Exhibitor's REST API.",
  EXHIBITOR_POLL = "How often it is asked.",
  EXHIBITOR_USER = "User for Exhibitor, where it wants one (basic authentication).",
  EXHIBITOR_PASSWORD = "Its password. Better in a file: EXHIBITOR_PASSWORD_FILE.",
  WORKER_LOST_AFTER = "With masters elsewhere: restart a worker, and with it its executors, that no leading master has known for so long "
    .. "(Spark asks only the master it knew last, up to 90 s apart). 0: never.",
  APPLICATION_ID = "What this deployment is called; CLUSTER_NAME follows it.",
  APPLICATION_VERSION = "The deployment's own version. Accepted; has no effect on a single node.",

  -- files of the user's
  HIVE_SITE_XML = "A hive-site.xml: its keys lie over ours. From s3://, https://, http://, file:// or a path.",
  EXT_CONF = "A file like spark-defaults.conf: its keys lie over those of the profile and of a mounted file, below the "
    .. "environment's. From s3://, https://, http://, file:// or a path.",
  EXT_JARS = "Jars for the class path of everything that runs here, behind Spark's own: from s3://, https://, http://, file:// or a path, "
    .. "separated by commas.",
  EXT_WATCH = "Look once a minute whether EXT_CONF, HIVE_SITE_XML or EXT_JARS have changed at their source, fetch them again, and restart "
    .. "what reads them. Off: they are read at the start and at SIGHUP.",
  S3_CHECK = "A place in S3 (`s3://bucket/prefix`) where the node writes, reads back and deletes a small object at its start, and says in "
    .. "one sentence what is wrong if it can't. Services don't wait for it.",
  S3_CHECK_REQUIRED = "Do S3_CHECK before anything runs, and end with 69 when it fails.",
  PYTHON_LIBS = "Python packages to install at start. Not in this version: leave it empty.",
  SPARK_CONF_DIR = "A directory with your own spark-defaults.conf, log4j2.properties, hive-site.xml and so on; merged key by key "
    .. "over ours.",

  -- how much
  DEFAULT_CORES = "Cores of an application that names no number (spark.deploy.defaultCores). Anything but a whole number is told and "
    .. "ignored, as ever.",
  WORKER_CORES = "Cores the worker offers. Empty: what the container may use.",
  WORKER_MEMORY = "Memory the worker offers. Empty: what the container may use less what the other daemons need.",
  DRIVER_MEMORY = "Heap of a driver (spark.driver.memory). Beats every configuration file.",
  EXECUTOR_MEMORY = "Heap of an executor (spark.executor.memory). Beats every configuration file.",
  DAEMON_MEMORY = "Heap of master and worker, each. Empty: by the size of the node.",
  THRIFT_CORES = "Cores the SQL server takes for itself. Empty: half of what the worker offers, so that jobs can run beside it.",
  THRIFT_MEMORY = "Heap of the SQL server. Empty: by the size of the node.",
  THRIFT_EXECUTOR_MEMORY = "Heap of each executor of the SQL server. Empty: a share that leaves room for jobs.",
  SPARK_WORKER_INSTANCES = "Only 1 is possible: one worker offers all of a node.",

  -- network
  ADVERTISE_ADDRESS = "The address or name in links that people follow. Set it where others reach this node by another address than "
    .. "it has itself (docker run -p).",
  BIND_ADDRESS = "The address to listen on. Empty or 0.0.0.0: the node's own address for Spark's ports, all addresses for web pages.",
  MASTER_HOST = "The address the master binds and is known by to workers and drivers. Empty: this node's own.",
  MASTER_PORT = "The master's port.",
  MASTER_UI_PORT = "The master's web page.",
  MASTER_REST = "Open Spark's REST submission port. Whoever reaches it can run code here.",
  MASTER_REST_PORT = "The REST submission port.",
  WORKER_PORT = "The worker's port; 0 is a random one. Empty: random, or 7077 with START_WORKER and no START_MASTER (the older "
    .. "appliance's load balancers ask there).",
  WORKER_UI_PORT = "The worker's web page.",
  THRIFT_PORT = "The SQL server's JDBC port.",
  SPARK_PUBLIC_DNS = "The name in links of Spark's web pages; beats ADVERTISE_ADDRESS there.",

  -- disk, Java, classes
  SPARK_HOME = "A Spark release. The image has one.",
  JAVA_HOME = "A JRE or JDK, 17 or later. The image has one.",
  WORKER_DIR = "Where applications work and leave their logs. Empty: STATE_DIR/work.",
  LOCAL_DIRS = "Directories for shuffle and spilled data, separated by commas. Empty: STATE_DIR/local.",
  RECOVERY = "Whether the master keeps its state on disk, so that applications outlive its restart.",
  CLASS_ARCHIVES = "Start JVMs from a class data archive, and build one where it is missing: about half the time to start.",
  HADOOP_CONF_DIR = "Hadoop's own configuration, handed to Spark.",
  PYSPARK_PYTHON = "The Python of executors, handed to Spark.",
  PYSPARK_DRIVER_PYTHON = "The Python of drivers, handed to Spark.",
  SPARK_EXTRA_CLASSPATH = "More class path for everything that runs here, separated by colons.",
  SPARK_DIST_CLASSPATH = "Class path of a Spark built without Hadoop, handed to Spark.",
  SPARK_DAEMON_CLASSPATH = "More class path for the daemons.",
  SPARK_DAEMON_JAVA_OPTS = "JVM options of master, worker and SQL server, added to ours. No -Xmx: see DAEMON_MEMORY.",
  SPARK_MASTER_OPTS = "JVM options of the master, added to ours.",
  SPARK_WORKER_OPTS = "JVM options of the worker, added to ours.",
  SPARK_METRICS_ENABLED = "Serve metrics for Prometheus on the web pages' ports.",

  -- security
  SPARK_RPC_AUTHENTICATION_ENABLED = "Only who knows the secret may talk to Spark's ports (spark.authenticate).",
  SPARK_RPC_AUTHENTICATION_SECRET = "The secret, the same on all nodes and for all drivers. Better in a file: "
    .. "SPARK_RPC_AUTHENTICATION_SECRET_FILE.",
  SPARK_RPC_ENCRYPTION_ENABLED = "Encrypt Spark's own connections (spark.network.crypto.enabled). Needs authentication.",
  SPARK_LOCAL_STORAGE_ENCRYPTION_ENABLED = "Encrypt what Spark spills to disk (spark.io.encryption.enabled).",
  SPARK_SSL_ENABLED = "TLS for the web pages (spark.ssl.enabled). Needs a key store.",
  SPARK_SSL_KEY_PASSWORD = "Password of the key in the key store.",
  SPARK_SSL_KEYSTORE_PASSWORD = "Password of the key store.",
  SPARK_SSL_KEYSTORE_FILE = "The key store. Empty: SPARK_CONF_DIR/certs/spark-keystore.jks.",
  SPARK_SSL_TRUSTSTORE_PASSWORD = "Password of the trust store.",
  SPARK_SSL_TRUSTSTORE_FILE = "The trust store. Empty: SPARK_CONF_DIR/certs/spark-truststore.jks.",
  SPARK_SSL_NEED_CLIENT_AUTH = "With TLS: ask clients for a certificate.",
  SPARK_SSL_PROTOCOL = "With TLS: the protocol.",
  SPARK_WEBUI_SSL_PORT = "With TLS: the port of the master's web page. Empty: MASTER_UI_PORT + 400, as Spark has it.",
  TOKENINFO_URL = "Bearer tokens for the REST gateway. Not in this version: leave it empty.",
  AUTH_URL = "Where such tokens are got. Not in this version: leave it empty.",
  OAUTH2_SCOPE = "The scope such tokens must have; has no effect without TOKENINFO_URL.",
}

--- How a name we also answer to means something else than our own.
docs.aliases = {
  SPARK_WORKER_MEMORY = "as Spark reads it: a plain number is bytes, not MiB",
  SPARK_DRIVER_MEMORY = "as Spark reads it: a plain number is bytes, not MiB",
  SPARK_EXECUTOR_MEMORY = "as Spark reads it: a plain number is bytes, not MiB",
  SPARK_DAEMON_MEMORY = "as Spark reads it: a plain number is bytes, not MiB",
  SPARK_MASTER_HOST = "has no effect where no master runs",
  SPARK_LOCAL_HOSTNAME = "Spark binds it too; here it is only what others are told",
  SPARK_LOCAL_IP = "also the address of web pages",
  SPARK_DIR = "the older images' name",
  ZOOKEEPER_STACK_NAME = "the older appliance's name",
  ZK_CONN_STR = "its first name there",
  ZookeeperConnString = "the name of the Senza parameter",
}

--- Names people know from Spark or other images that have no effect here, and why.
docs.without_effect = {
  { "SPARK_NO_DAEMONIZE", "services run in the foreground of the supervisor in any case" },
  { "SPARK_LOG_DIR", "output goes to stdout; LOG_DIR keeps files" },
  { "SPARK_LOG_MAX_FILES", "LOG_KEEP" },
  { "SPARK_PID_DIR", "there are no pid files; `spark-appliance status` knows the pids" },
  { "SPARK_IDENT_STRING", "there are no pid files" },
  { "SPARK_NICENESS", "a profile can give a service `nice`" },
  { "SPARK_USER", "services run as whoever the container runs as" },
  { "SPARK_SCALA_VERSION", "seen from the jars" },
  { "SPARK_VERSION, HADOOP_VERSION", "seen from the jars" },
  { "SPARK_MASTER_PORT=tcp://..., *_SERVICE_HOST, *_PORT_7077_TCP and the like",
    "put there by Kubernetes or Docker links for a service of that name" },
}

docs.types = {
  flag = "`true` is on, in any case; anything else is off",
  boolean = "true, yes, on, 1 or false, no, off, 0",
  integer = "a whole number",
  port = "a port",
  size = "a number and b, k, m, g or t: `2g`, `512m`, `1.5g`",
  duration = "a number and ms, s, min, h or d: `8s`, `500ms`, `2min`; a plain number is seconds",
  fraction = "`0.6` or `60%`",
  enum = "one of the words given",
  string = "text",
  path = "an absolute path",
  address = "a host name or an address, no port",
  hosts = "`host:port,...`, IPv6 in brackets",
  masters = "`spark://host:7077,...`",
  zookeeper = "`host:2181,...`, a path may follow; or the name of a stack",
  file = "an absolute path or a file:// URI",
  source = "an absolute path, or a s3://, https://, http:// or file:// URI",
  list = "items separated by commas",
}

return docs
