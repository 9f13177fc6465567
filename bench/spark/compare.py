"""Times from exec: master ALIVE, node usable (ALIVE with one worker), SQL answered, and a word count through spark-submit.
"stock" is what Spark's own scripts do (spark-class in the foreground, as sbin/ has it); "ours" is the node with its class data archive."""
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import hive

APPLIANCE, WORDCOUNT = sys.argv[1:3]
SPARK_HOME = os.environ["SPARK_HOME"]
RUNS = int(os.environ.get("SB_SPARK_RUNS", "3"))
LIMIT = 180.0
PORTS = {"MASTER_PORT": 27077, "MASTER_UI_PORT": 28080, "WORKER_UI_PORT": 28081, "THRIFT_PORT": 20000}
MASTER = f"spark://127.0.0.1:{PORTS['MASTER_PORT']}"


def state_of_master():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS['MASTER_UI_PORT']}/json/", timeout=2) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def master_alive():
    return state_of_master().get("status") == "ALIVE"


def node_usable():
    state = state_of_master()
    return state.get("status") == "ALIVE" and state.get("aliveworkers", 0) >= 1


def sql_answers():
    return hive.answers(PORTS["THRIFT_PORT"])


def wait(condition, since):
    while time.monotonic() - since < LIMIT:
        if condition():
            return time.monotonic() - since
        time.sleep(0.01)
    return None


class Node:
    """Whatever was started, all of it in sessions of its own, ended by stop()."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.log = open(f"{folder}/log", "ab")

    def start(self, *argv, **environ):
        self.processes.append(subprocess.Popen(argv, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=self.log,
                                               stderr=self.log, start_new_session=True))

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes = []
        self.log.close()


class Stock:
    """spark-class in the foreground: the commands of sbin/start-*.sh, of which the Python package ships only a few."""

    def __init__(self, folder):
        self.folder = folder
        self.environ = {"SPARK_CONF_DIR": f"{folder}/stock", "SPARK_LOCAL_DIRS": folder, "SPARK_WORKER_DIR": f"{folder}/work",
                        "SPARK_LOCAL_IP": "127.0.0.1"}
        os.makedirs(f"{folder}/stock", exist_ok=True)

    def spark_class(self, node, name, *arguments):
        node.start(f"{SPARK_HOME}/bin/spark-class", f"org.apache.spark.deploy.{name}", *arguments, **self.environ)

    def start(self, what):
        node = Node(self.folder)
        self.spark_class(node, "master.Master", "--host", "127.0.0.1", "--port", str(PORTS["MASTER_PORT"]), "--webui-port", str(PORTS["MASTER_UI_PORT"]))
        if what != "master":
            self.spark_class(node, "worker.Worker", "--host", "127.0.0.1", "--webui-port", str(PORTS["WORKER_UI_PORT"]), MASTER)
        return node

    def start_sql(self, node):
        self.spark_class(node, "SparkSubmit", "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "--master", MASTER,
                         "--conf", "spark.cores.max=1", "--conf", f"spark.sql.warehouse.dir={self.folder}/warehouse",
                         "--driver-java-options", f"-Dderby.system.home={self.folder}", "spark-internal",
                         "--hiveconf", f"hive.server2.thrift.port={PORTS['THRIFT_PORT']}", "--hiveconf", "hive.server2.thrift.bind.host=127.0.0.1")

    def submit(self, *arguments):
        return [f"{SPARK_HOME}/bin/spark-submit", "--master", MASTER, *arguments], self.environ


class Ours:
    def __init__(self, folder):
        self.folder = folder
        self.environ = {"STATE_DIR": f"{folder}/state", "BIND_ADDRESS": "127.0.0.1", **{name: str(port) for name, port in PORTS.items()}}
        os.makedirs(f"{folder}/state", exist_ok=True)

    def start(self, what):
        node = Node(self.folder)
        sql = what == "sql"
        node.start(APPLIANCE, "run", START_MASTER="true", START_WORKER="" if what == "master" else "true",
                   START_THRIFTSERVER="true" if sql else "", **self.environ)
        return node

    def command(self, *words):
        subprocess.run([APPLIANCE, *words], env={**os.environ, **self.environ}, stdout=subprocess.DEVNULL, check=True)

    def start_sql(self, _):
        self.command("start", "thriftserver")

    def submit(self, *arguments):
        return [APPLIANCE, "client", "spark-submit", *arguments], self.environ

    def make_archive(self):
        since = time.monotonic()
        self.command("archive", "--state")
        print(f"class data archive: made in {time.monotonic() - since:.0f} s", flush=True)


def timed(side, what, condition):
    since = time.monotonic()
    node = side.start(what)
    try:
        return wait(condition, since)
    finally:
        node.stop()


def sql(side):
    """From the command that starts the SQL server, on a node that is up, to its first answer."""
    node = side.start("sql" if isinstance(side, Ours) else "node")
    try:
        wait(node_usable, time.monotonic())
        if isinstance(side, Ours):
            wait(sql_answers, time.monotonic())
            side.command("stop", "thriftserver")
        since = time.monotonic()
        side.start_sql(node)
        return wait(sql_answers, since)
    finally:
        node.stop()


def word_count(side, text):
    node = side.start("node")
    try:
        wait(node_usable, time.monotonic())
        command, environ = side.submit(WORDCOUNT, text)
        since = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environ}, check=False)
        if done.returncode != 0:
            sys.stderr.write(done.stderr.decode()[-2000:])
            return None
        return time.monotonic() - since
    finally:
        node.stop()


def main():
    folder = tempfile.mkdtemp(prefix="bench-spark.")
    text = f"{folder}/text"
    words = random.Random(1).choices([f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(676)], k=1_150_000)
    with open(text, "w") as file:
        for i in range(0, len(words), 12):
            file.write(" ".join(words[i:i + 12]) + "\n")
    print(f"Spark {os.path.basename(SPARK_HOME)}; word count of {os.path.getsize(text) / 1e6:.1f} MB; medians of {RUNS}", flush=True)
    stock, ours = Stock(folder), Ours(folder)
    failed = False
    try:
        ours.make_archive()
        print(f"{'measure':38} {'target':>6} {'stock s':>9} {'ours s':>9} {'ratio':>6}", flush=True)
        for what, target, how in (
            ("exec to master ALIVE", 0.55, lambda side: timed(side, "master", master_alive)),
            ("exec to node usable (one worker)", 0.35, lambda side: timed(side, "node", node_usable)),
            ("start of the SQL server to an answer", 0.60, sql),
            ("word count through spark-submit", 0.75, lambda side: word_count(side, text)),
        ):
            # Turn by turn, so that a busier minute of the machine meets both sides.
            pairs = [(how(stock), how(ours)) for _ in range(RUNS)]
            if any(value is None for pair in pairs for value in pair):
                print(f"{what:38} {target:6.2f}   did not come up: see the log in {folder}", flush=True)
                failed = True
                continue
            theirs, own = (statistics.median(values) for values in zip(*pairs))
            print(f"{what:38} {target:6.2f} {theirs:9.2f} {own:9.2f} {own / theirs:6.2f}", flush=True)
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(failed)


main()
