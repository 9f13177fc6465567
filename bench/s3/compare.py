"""Measures every client of clients.py on the same objects of the same server, and says which goals are met.
Repeats of all clients take turns, so that a load that comes and goes meets all of them. Figures are medians; what counts across machines
is the last column, the ratio to ours (above 1: ours takes less)."""
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import clients

OUT = sys.argv[1]
RUNS = int(os.environ.get("S3_BENCH_RUNS", "5"))
SIZE = int(os.environ.get("S3_BENCH_SIZE", str(1 << 30)))
ONLY = os.environ.get("S3_BENCH_CLIENTS", "").split()
CASES = os.environ.get("S3_BENCH_CASES", "").split(",")
LIMIT = 180  # seconds for one run of one client
SLOW = 8     # a client whose first run takes longer than that many seconds is measured three times at most
MIB = 1 << 20


def place():
    """Where files are fetched to: in memory where there is room for what is sent and what is fetched, as no disk is to be measured."""
    if "S3_BENCH_DIR" in os.environ:
        return os.environ["S3_BENCH_DIR"]
    with contextlib.suppress(OSError):
        there = os.statvfs("/dev/shm")
        if there.f_bavail * there.f_frsize > 3 * SIZE + 256 * MIB and free_memory() > 4 * SIZE + 512 * MIB:
            return "/dev/shm"
    return OUT


def free_memory():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


class Server:
    def __init__(self, *options):
        self.process = subprocess.Popen([f"{OUT}/stub", *options], stdout=subprocess.PIPE, text=True)
        self.ca_file = options[options.index("--tls") + 1] if "--tls" in options else None
        self.url = f"http{'s' if self.ca_file else ''}://127.0.0.1:{self.process.stdout.readline().split()[1]}"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def read(self, key, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/{clients.BUCKET}/{key}") as answer, open(path, "wb") as file:
            shutil.copyfileobj(answer, file, 4 * MIB)


class Taken:
    """What one run took."""

    def __init__(self, line):
        first, end, cpu, rss, status, size = line.split()
        self.first_ms, self.exit_ms, self.cpu_s, self.rss_mib = float(first), float(end), float(cpu), int(rss) / 1024
        self.status, self.bytes = int(status), int(size)


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.log = open(f"{OUT}/s3-clients.log", "w")
        self.upload = f"{folder}/upload"

    def run(self, client, server, argv, stdin="/dev/null", stdout="/dev/null", role=False):
        env = {"PATH": os.environ["PATH"], "HOME": self.folder, "TMPDIR": self.folder, "LC_ALL": "C.UTF-8", "AWS_REGION": "us-east-1",
               "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.url, "PYTHONDONTWRITEBYTECODE": "1"}
        if role:
            env.update(AWS_EC2_METADATA_SERVICE_ENDPOINT=server.url, AWS_EC2_METADATA_DISABLED="false")
        else:
            env.update(AWS_ACCESS_KEY_ID="AKIABENCH", AWS_SECRET_ACCESS_KEY="bench", AWS_EC2_METADATA_DISABLED="true")
        if server.ca_file:
            env["AWS_CA_BUNDLE"] = server.ca_file
        env.update(client.environment(server.url, self.folder, server.ca_file))
        env = {name: value for name, value in env.items() if value is not None}
        command = argv(client)
        self.log.write(f"--- {client.name}: {' '.join(command)}\n")
        self.log.flush()
        done = subprocess.run([f"{OUT}/measure", stdin, stdout, str(LIMIT), *command], env=env, stdout=subprocess.PIPE, stderr=self.log, text=True)
        taken = Taken(done.stdout)
        if taken.status != 0:
            self.log.write(f"--- ended with {taken.status}\n")
            raise RuntimeError(f"ended with {taken.status}")
        return taken

    def touch_memory(self):
        """Of a virtual machine the memory that it has not used for a while is its host's, and dear for who takes it back."""
        with open(self.path("touched"), "wb") as file:
            for _ in range(SIZE // MIB):
                file.write(bytes(MIB))
        self.path("touched")

    def path(self, name):
        """A place for what is fetched: nothing is there."""
        where = f"{self.folder}/{name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(where)
        return where

    def directory(self):
        where = f"{self.folder}/many"
        shutil.rmtree(where, ignore_errors=True)
        os.mkdir(where)
        return where


class Case:
    """One thing that every client is asked to do: `ask(bench, client, server)` gives what it took, or None where it can't."""

    def __init__(self, name, what, server, ask, runs=RUNS, columns=("s", "cpu", "rss")):
        self.name, self.what, self.server, self.ask, self.runs, self.columns = name, what, server, ask, runs, columns


def get_big(bench, client, server):
    try:
        return bench.run(client, server, lambda c: c.get(server.url, f"o-{SIZE}", bench.path("big")))
    finally:
        bench.path("big")


def null_big(bench, client, server):
    return bench.run(client, server, lambda c: c.null(server.url, f"o-{SIZE}"))


def put_big(bench, client, server):
    return bench.run(client, server, lambda c: c.put(server.url, bench.upload, "up"))


def pipe_big(bench, client, server):
    """From a pipe: `cat` stands between the file and the client, whose stdin has no length then."""
    if not client.pipes:
        return None
    fifo = bench.path("fifo")
    os.mkfifo(fifo)
    writer = subprocess.Popen(["sh", "-c", 'exec cat "$1" >"$2"', "-", bench.upload, fifo])
    try:
        return bench.run(client, server, lambda c: c.pipe(server.url, "up"), stdin=fifo)
    finally:
        writer.kill()
        writer.wait()
        os.unlink(fifo)


def many_small(bench, client, server):
    where = bench.directory()
    taken = bench.run(client, server, lambda c: c.many(server.url, where))
    if len(os.listdir(where)) != 1000:
        raise RuntimeError(f"{len(os.listdir(where))} of 1000 files")
    return taken


def cold(bench, client, server, role=False):
    if role and not client.imds:
        return None
    taken = bench.run(client, server, lambda c: c.cat(server.url, "o-1024"), stdout="-", role=role)
    if taken.bytes != 1024:
        raise RuntimeError(f"{taken.bytes} bytes of 1024")
    return taken


def cold_role(bench, client, server):
    return cold(bench, client, server, role=True)


BIG = f"{SIZE >> 20} MiB"
ALL_CASES = [
    Case("cold", "1 KiB to stdout, keys from the environment", "plain", cold, 3 * RUNS, ("first ms", "exit ms", "rss")),
    Case("cold-role", "1 KiB to stdout, keys of a role from the metadata service", "plain", cold_role, 3 * RUNS, ("first ms", "exit ms", "rss")),
    Case("null", f"GET {BIG}, thrown away", "plain", null_big),
    Case("get", f"GET {BIG} to a file", "plain", get_big),
    Case("put", f"PUT {BIG}", "plain", put_big),
    Case("pipe", f"upload {BIG} from a pipe", "plain", pipe_big),
    Case("many", "1,000 x 10 KiB to a directory", "plain", many_small),
    Case("many-20ms", "the same, 20 ms a request", "late", many_small),
    Case("tls-get", f"GET {BIG} over TLS, thrown away", "tls", null_big),
    Case("tls-put", f"PUT {BIG} over TLS", "tls", put_big),
    Case("shaped-get", f"GET {BIG}, thrown away, 20 ms a request and 80 MB/s a connection", "shaped", null_big),
    Case("shaped-put", f"PUT {BIG}, 20 ms a request and 80 MB/s a connection", "shaped", put_big),
]
COLUMN = {"s": lambda t: t.exit_ms / 1000, "cpu": lambda t: t.cpu_s, "rss": lambda t: t.rss_mib, "first ms": lambda t: t.first_ms,
          "exit ms": lambda t: t.exit_ms}


def measured(bench, case, server, present):
    """client name -> (its median Taken by column, number of runs), or the words for why there is none."""
    runs = {client: [] for client in present}
    words = {}
    bench.touch_memory()
    for turn in range(case.runs):
        first = turn % len(present)  # nobody always comes behind the same one
        for client in present[first:] + present[:first]:
            if client.name in words or (turn >= 3 and runs[client] and runs[client][0].exit_ms > SLOW * 1000):
                continue
            try:
                taken = case.ask(bench, client, server)
            except RuntimeError as trouble:
                words[client.name] = f"failed: {trouble} (see {OUT}/s3-clients.log)"
                continue
            if taken is None:
                words[client.name] = "-"
            else:
                runs[client].append(taken)
    for client in present:
        if client.name not in words:
            words[client.name] = {column: statistics.median(COLUMN[column](t) for t in runs[client]) for column in COLUMN} | {
                "least": min(t.exit_ms for t in runs[client]), "most": max(t.exit_ms for t in runs[client]), "runs": len(runs[client])}
    return words


def shown(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_case(case, result):
    print(f"\n{case.name}: {case.what}")
    print(f"  {'':10}" + "".join(f"{column:>10}" for column in case.columns) + f"{'spread':>16}{'runs':>6}{'/ ours':>8}", flush=True)
    ours = result.get("appliance")
    for name, found in result.items():
        if isinstance(found, str):
            if found != "-":
                print(f"  {name:10} {found}")
            continue
        unit = 1 if "exit ms" in case.columns else 1000
        spread = f"{shown(found['least'] / unit)}-{shown(found['most'] / unit)}"
        ratio = found[case.columns[0]] / ours[case.columns[0]] if isinstance(ours, dict) else None
        print(f"  {name:10}" + "".join(f"{shown(found[column]):>10}" for column in case.columns)
              + f"{spread:>16}{found['runs']:>6}{shown(ratio) if ratio else '':>8}", flush=True)


def verify(bench, present):
    """Once per client: every byte it brings or takes is the right one. Returns the names of those that failed."""
    print("verified, byte by byte: ", end="", flush=True)
    wrong = []
    odd = 5 * 8 * MIB + 12345
    server = Server("--keep")
    reference, got, small = f"{bench.folder}/reference", f"{bench.folder}/got", f"{bench.folder}/small"
    server.read(f"o-{odd}", reference)
    server.read(f"o-{999 * 4096 + 10240}", small)
    with open(reference, "rb") as file:
        expected = file.read()
    with open(small, "rb") as file:
        content = file.read()

    def same(path, words=expected):
        with open(path, "rb") as file:
            return file.read() == words

    def sent(name):
        server.read(name, got)
        return same(got)

    for client in present:
        faults = []

        def check(what, *arguments, holds=None, **more):
            try:
                bench.run(client, server, lambda c: getattr(c, what)(server.url, *arguments), **more)
                if not holds():
                    faults.append(f"{what}: other bytes")
            except (RuntimeError, OSError) as trouble:
                faults.append(f"{what}: {trouble}")

        check("cat", f"o-{odd}", stdout=got, holds=lambda: same(got))
        check("get", f"o-{odd}", bench.path("got"), holds=lambda: same(got))
        check("put", reference, f"put-{client.name}", holds=lambda: sent(f"put-{client.name}"))
        if client.pipes:
            check("pipe", f"pipe-{client.name}", stdin=reference, holds=lambda: sent(f"pipe-{client.name}"))
        where = bench.directory()
        check("many", where, holds=lambda: all(same(f"{where}/o-10240-{n:04d}", content[n * 4096:n * 4096 + 10240]) for n in range(1000)))
        print(f"{client.name}{' WRONG (' + '; '.join(faults) + ')' if faults else ''}", end="  ", flush=True)
        if faults:
            wrong.append(client.name)
    print()
    server.close()
    for path in (reference, got, small):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return wrong


class Goal:
    """`limit(results)` gives the number ours must stay at or below, and words for it; None where the run has not what it compares with."""

    def __init__(self, what, cases, column, limit, best_peer=True):
        self.what, self.cases, self.column, self.limit, self.best_peer = what, cases, column, limit, best_peer


def at_most(limit, unit):
    return lambda results: (limit, f"<= {limit:g} {unit}")


def of_peer(case, column, name, factor=1.0):
    def limit(results):
        peer = results.get(case, {}).get(name)
        if not isinstance(peer, dict):
            return None
        return peer[column] * factor, f"{name} {shown(peer[column])}" + (f" x {factor:g}" if factor != 1 else "")
    return limit


GOALS = [
    Goal(f"GET {BIG} shaped, s", ["shaped-get"], "s", at_most(1.2, "s")),
    Goal(f"PUT {BIG} shaped, s", ["shaped-put"], "s", at_most(1.2, "s")),
    Goal(f"PUT {BIG} unshaped, CPU s", ["put"], "cpu", at_most(0.5, "CPU s")),
    Goal(f"GET {BIG} to a file, s", ["get"], "s", of_peer("get", "s", "curl", 1.1)),
    Goal("1,000 x 10 KiB at 20 ms, s", ["many-20ms"], "s", of_peer("many-20ms", "s", "s5cmd")),
    Goal("1 KiB cold, first byte, ms", ["cold"], "first ms", of_peer("cold", "first ms", "curl")),
    Goal("peak memory, any of these, MiB", ["null", "get", "put", "many", "many-20ms", "tls-get", "tls-put", "shaped-get", "shaped-put"], "rss", at_most(64, "MiB")),
    Goal("peak memory, from a pipe, MiB", ["pipe"], "rss", at_most(64, "MiB")),
]


def print_goals(results, wrong):
    print("\ngoals (median of ours; the limit; the best peer of this run)")
    missed = ["every byte right"] if "appliance" in wrong else []
    for goal in GOALS:
        ours = [(results[case]["appliance"][goal.column], case) for case in goal.cases if isinstance(results.get(case, {}).get("appliance"), dict)]
        failed = [case for case in goal.cases if str(results.get(case, {}).get("appliance", "-")).startswith("failed")]
        limit = goal.limit(results)
        if failed or not ours or limit is None:
            print(f"  {'missed' if failed else 'not measured':13} {goal.what}" + (f": failed in {', '.join(failed)}" if failed else ""))
            missed += [goal.what] if failed else []
            continue
        value, case = max(ours)
        met = value <= limit[0]
        missed += [] if met else [goal.what]
        peers = [(found[goal.column], name) for name, found in results[case].items() if isinstance(found, dict) and name != "appliance"]
        best = f"; best peer {min(peers)[1]} {shown(min(peers)[0])}, ours {shown(value / min(peers)[0])} of it" if peers and min(peers)[0] else ""
        print(f"  {'met' if met else 'missed':13} {goal.what}: {shown(value)}" + (f" (in {case})" if len(goal.cases) > 1 else "")
              + f", {limit[1]}{best}")
    print(f"\nNot met: {'; '.join(missed)}" if missed else "\nEvery goal that was measured is met.")
    return bool(missed)


def main():
    present = []
    for client in clients.everyone():
        if ONLY and client.name not in ONLY:
            continue
        if client.missing():
            print(f"{client.name}: not to be had here ({client.missing()})")
        else:
            present.append(client)
    started = time.monotonic()
    folder = tempfile.mkdtemp(prefix="s3-bench-", dir=place())
    print(f"files in {os.path.dirname(folder)}")
    servers = {}
    results = {}
    try:
        bench = Bench(folder)
        wrong = verify(bench, present)
        servers = {"plain": Server(), "late": Server("--latency", "20"), "shaped": Server("--latency", "20", "--rate", "80"),
                   "tls": Server("--tls", f"{OUT}/stub.crt", f"{OUT}/stub.key")}
        servers["plain"].read(f"o-{SIZE}", bench.upload)
        for case in ALL_CASES:
            if CASES != [""] and case.name not in CASES:
                continue
            results[case.name] = measured(bench, case, servers[case.server], present)
            print_case(case, results[case.name])
    finally:
        for server in servers.values():
            server.close()
        shutil.rmtree(folder, ignore_errors=True)
    missed = print_goals(results, wrong)
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(missed)


main()
