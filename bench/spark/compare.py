"""Times from exec: master ALIVE, node usable (ALIVE with one worker), SQL port open, and a word count through spark-submit.
"stock" is what sbin/ and bin/ of the Spark release do; "ours" is the node after its class data archives were made."""
import glob
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

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


def sql_open():
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", PORTS["THRIFT_PORT"])) == 0


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
    """The commands of sbin/start-*.sh, in the foreground so that they can be stopped."""

    def __init__(self, folder):
        self.folder = folder
        self.environ = {"SPARK_CONF_DIR": f"{folder}/stock", "SPARK_LOCAL_DIRS": folder, "SPARK_NO_DAEMONIZE": "1",
                        "SPARK_LOG_DIR": folder, "SPARK_PID_DIR": folder, "SPARK_WORKER_DIR": f"{folder}/work", "SPARK_LOCAL_IP": "127.0.0.1"}
        os.makedirs(f"{folder}/stock", exist_ok=True)

    def start(self, what):
        node = Node(self.folder)
        node.start(f"{SPARK_HOME}/sbin/start-master.sh", "--host", "127.0.0.1", "--port", str(PORTS["MASTER_PORT"]), "--webui-port",
                   str(PORTS["MASTER_UI_PORT"]), **self.environ)
        if what != "master":
            node.start(f"{SPARK_HOME}/sbin/start-worker.sh", MASTER, "--host", "127.0.0.1", "--webui-port", str(PORTS["WORKER_UI_PORT"]),
                       **self.environ)
        return node

    def start_sql(self, node):
        node.start(f"{SPARK_HOME}/sbin/start-thriftserver.sh", "--master", MASTER, "--total-executor-cores", "1", "--hiveconf",
                   f"hive.server2.thrift.port={PORTS['THRIFT_PORT']}", "--conf", f"spark.sql.warehouse.dir={self.folder}/warehouse",
                   "--driver-java-options", f"-Dderby.system.home={self.folder}", **self.environ)

    def submit_environ(self):
        return self.environ


class Ours:
    def __init__(self, folder):
        self.folder = folder
        self.environ = {"STATE_DIR": f"{folder}/state", "BIND_ADDRESS": "127.0.0.1", "ADVERTISE_ADDRESS": "127.0.0.1",
                        **{name: str(port) for name, port in PORTS.items()}}
        os.makedirs(f"{folder}/state", exist_ok=True)

    def start(self, what, sql=False):
        node = Node(self.folder)
        node.start(APPLIANCE, "run", START_MASTER="true", START_WORKER="" if what == "master" else "true",
                   START_THRIFTSERVER="true" if sql else "", **self.environ)
        return node

    def submit_environ(self):
        return {"SPARK_CONF_DIR": f"{self.folder}/state/conf", "SPARK_LOCAL_IP": "127.0.0.1"}

    def make_archives(self):
        """Archives come from a low-priority service after the first healthy start: wait until no more appear for a while."""
        node = self.start("node", sql=True)
        wait(sql_open, time.monotonic())
        seen, quiet_since = None, time.monotonic()
        while time.monotonic() - quiet_since < 25:
            now = sorted((path, os.path.getsize(path)) for path in glob.glob(f"{self.folder}/state/archive/**", recursive=True)
                         if os.path.isfile(path))
            if now != seen:
                seen, quiet_since = now, time.monotonic()
            time.sleep(0.5)
        node.stop()
        print(f"class data archives: {', '.join(f'{os.path.basename(path)} {size >> 20} MiB' for path, size in seen) or 'none'}", flush=True)


def timed(side, what, condition):
    since = time.monotonic()
    node = side.start(what)
    try:
        return wait(condition, since)
    finally:
        node.stop()


def sql(side):
    since = time.monotonic()
    if isinstance(side, Ours):
        node = side.start("node", sql=True)
    else:
        node = side.start("node")
        wait(node_usable, since)
        since = time.monotonic() # the scripts are typed one after the other; waiting for the node is not the SQL server's time
        side.start_sql(node)
    try:
        return wait(sql_open, since)
    finally:
        node.stop()


def word_count(side, text):
    node = side.start("node")
    try:
        wait(node_usable, time.monotonic())
        since = time.monotonic()
        done = subprocess.run([f"{SPARK_HOME}/bin/spark-submit", "--master", MASTER, WORDCOUNT, text], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, **side.submit_environ()}, check=False)
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
        ours.make_archives()
        print(f"{'measure':38} {'target':>6} {'stock s':>9} {'ours s':>9} {'ratio':>6}", flush=True)
        for what, target, how in (
            ("exec to master ALIVE", 0.55, lambda side: timed(side, "master", master_alive)),
            ("exec to node usable (one worker)", 0.35, lambda side: timed(side, "node", node_usable)),
            ("exec to SQL port open", 0.60, sql),
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
