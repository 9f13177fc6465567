"""Measures every relay between the same client and server (load.c) and prints one table: a row a measure, a column a relay.
`direct` is the client at the server itself: what the machine can do. Repeats of all take turns, so that a load that comes and goes meets
all of them; each figure is the median. Client, server and relay share the processors, so a relay that needs less of them is faster."""
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LOAD = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = int(os.environ.get("RELAY_BENCH_RUNS", "5"))
BYTES = int(os.environ.get("RELAY_BENCH_BYTES", str(2 << 30)))
ONLY = os.environ.get("RELAY_BENCH_PEERS", "").split()
GIB = float(1 << 30)
IDLE = 1000
TICK = os.sysconf("SC_CLK_TCK")
NGINX_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ours(folder, port, target):
    return ["lua5.4", f"{HERE}/relay.lua", str(port), f"127.0.0.1:{target}"]


def socat(folder, port, target):
    return ["socat", "-b", "65536", f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=1024", f"TCP:127.0.0.1:{target},nodelay"]


def haproxy(folder, port, target):
    with open(f"{folder}/haproxy.cfg", "w") as file:
        file.write(f"""global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{target}
""")
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def nginx(folder, port, target):
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(f"""load_module {NGINX_MODULE};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 8192; }}
stream {{ server {{ listen 127.0.0.1:{port} backlog=1024; proxy_pass 127.0.0.1:{target}; proxy_buffer_size 64k; tcp_nodelay on; }} }}
""")
    return ["nginx", "-e", f"{folder}/nginx.log", "-p", folder, "-c", f"{folder}/nginx.conf"]


PEERS = {"direct": None, "ours": ours, "haproxy": haproxy, "nginx": nginx, "socat": socat}


def is_there(name):
    if name == "nginx" and not os.path.exists(NGINX_MODULE):
        return False
    return name in ("direct", "ours") or shutil.which(name) is not None


def family(root):
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rsplit(b")", 1)[1].split()[1])
    found, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return found


def processor_seconds(root):
    total = 0
    for pid in family(root):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
            total += sum(int(word) for word in file.read().rsplit(b")", 1)[1].split()[11:15])  # with those of ended children
    return total / TICK


def pss_mib(root):
    total = 0
    for pid in family(root):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


class Relay:
    def __init__(self, name, target):
        self.name, self.port, self.process = name, target, None
        if PEERS[name] is None:
            return
        self.folder = tempfile.mkdtemp(prefix="bench.")
        self.port = free_port()
        self.process = subprocess.Popen(PEERS[name](self.folder, self.port, target), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(f"{self.folder}/errors", "w"), start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    with open(f"{self.folder}/errors") as file:
                        why = file.read()
                    self.close()
                    sys.exit(f"{name} does not listen: {why}")
                time.sleep(0.01)

    def cost(self):
        return processor_seconds(self.process.pid) if self.process else 0.0

    def close(self):
        if self.process:
            for pid in sorted(family(self.process.pid)):
                with contextlib.suppress(OSError):
                    os.kill(pid, 15 if self.name == "nginx" else 9)
            self.process.wait()
            shutil.rmtree(self.folder)


def load(*words):
    done = subprocess.run([LOAD, *map(str, words)], stdout=subprocess.PIPE, check=True, timeout=600)
    return [float(word) for word in done.stdout.split()]


def transfer(relay, mode, count):
    before = relay.cost()
    seconds = load(mode, relay.port, count, BYTES // count)[0]
    gib = BYTES / GIB
    return {"GiB/s": gib / seconds, "CPU-s/GiB": (relay.cost() - before) / gib}


def ping(relay, count, rounds):
    before = relay.cost()
    median, late, rate = load("ping", relay.port, count, rounds)
    return {"us": median, "99th": late, "a second": rate, "CPU-us": (relay.cost() - before) / (count * rounds) * 1e6}


def connect(relay):
    before = relay.cost()
    rounds = 3000
    median, _, _ = load("connect", relay.port, rounds)
    return {"us": median, "CPU-us": (relay.cost() - before) / rounds * 1e6}


def idle(relay):
    if not relay.process:
        return {}
    before = pss_mib(relay.process.pid)
    holder = subprocess.Popen([LOAD, "idle", str(relay.port), str(IDLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if holder.stdout.readline() != b"ready\n":
            sys.exit(f"{relay.name}: {IDLE} connections are too many")
        return {"MiB": pss_mib(relay.process.pid), "KiB each": (pss_mib(relay.process.pid) - before) * 1024 / IDLE}
    finally:
        holder.communicate()


MEASURES = [("one connection, from the server", lambda r: transfer(r, "get", 1), RUNS),
            ("one connection, to the server", lambda r: transfer(r, "put", 1), RUNS),
            ("16 connections, from the server", lambda r: transfer(r, "get", 16), RUNS),
            ("64 bytes there and back", lambda r: ping(r, 1, 20000), RUNS),
            ("the same, 64 connections at once", lambda r: ping(r, 64, 1000), RUNS),
            ("connect, one question, close", connect, RUNS),
            (f"{IDLE} idle connections", idle, 1)]


def main():
    names = [name for name in PEERS if is_there(name) and (not ONLY or name in ONLY)]
    port = free_port()
    server = subprocess.Popen([LOAD, "serve", str(port)], stdout=subprocess.PIPE)
    server.stdout.readline()
    try:
        print(f"{'':34}" + "".join(f"{name:>11}" for name in names))
        for title, measure, runs in MEASURES:
            figures = {name: {} for name in names}
            for _ in range(runs):
                for name in names:
                    relay = Relay(name, port)
                    try:
                        for unit, value in measure(relay).items():
                            figures[name].setdefault(unit, []).append(value)
                    finally:
                        relay.close()
            units = list(dict.fromkeys(unit for name in names for unit in figures[name]))
            for number, unit in enumerate(units):
                row = [f"{statistics.median(figures[name][unit]):.4g}" if unit in figures[name] else "-" for name in names]
                print(f"{title if number == 0 else '':34}" + "".join(f"{text:>11}" for text in row) + f"  {unit}", flush=True)
    finally:
        server.kill()
        server.wait()


main()
