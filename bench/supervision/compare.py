"""Measures every supervisor of peers.py on the same children and prints one table: a row a measure, a column a supervisor."""
import ctypes
import fcntl
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import peers

OUT, APPLIANCE = sys.argv[1:3]
RUNS = int(os.environ.get("SB_RUNS", "11"))
LOG_BYTES = int(os.environ.get("SB_LOG_BYTES", str(256 << 20)))
ONLY = os.environ.get("SB_PEERS", "").split()
LIMIT = 30.0 # seconds until something is called never
NOBODY = 54321
PR_SET_CHILD_SUBREAPER = 36


def parents():
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rsplit(b")", 1)[1].split()
                table[int(name)] = (int(fields[1]), fields[0] == b"Z")
            except OSError:
                pass
    return table


def descendants(root):
    """Live processes below root, root included, zombies not."""
    table = parents()
    found, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _) in table.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return {pid for pid in found if pid in table and not table[pid][1]}


def command(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


class Run:
    """One supervisor with its children, from start to the death of the last of them."""

    def __init__(self, peer, count, mode="", log=False, options=(), stdout=None, owner=0, **variables):
        self.peer = peer
        self.folder = tempfile.mkdtemp(prefix="bench.")
        self.stamps = f"{self.folder}/stamps"
        os.environ.update(STAMP=self.stamps, MODE=mode, **{key: str(value) for key, value in variables.items()})
        argv = peer.start(self.folder, f"{OUT}/child", count, log)
        if owner:
            subprocess.run(["chown", "-R", str(owner), self.folder], check=True)
        environ = {**os.environ, **peer.environment(self.folder)}
        self.process = subprocess.Popen([f"{OUT}/launch", *options, self.stamps, *argv], env=environ, stdin=subprocess.DEVNULL,
                                        stdout=stdout or subprocess.DEVNULL, stderr=stdout or subprocess.DEVNULL, start_new_session=True)
        self.environ = environ

    def __enter__(self):
        return self

    def events(self, name):
        try:
            with open(self.stamps) as file:
                lines = [line.split() for line in file]
        except OSError:
            return []
        return [(int(line[1]), int(line[2])) for line in lines if len(line) == 3 and line[0] == name]

    def wait(self, name, count, limit=LIMIT):
        """The events of that name once there are COUNT of them, or None."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            events = self.events(name)
            if len(events) >= count:
                return events
            time.sleep(0.002)
        return None

    def launched(self):
        return self.events("launch")[0][0]

    def own(self):
        """The supervisor's own processes: everything but the children."""
        return {pid for pid in descendants(self.process.pid) if command(pid) not in ("child", "run", "launch")}

    def __exit__(self, *_):
        mine = descendants(os.getpid()) - {os.getpid()}
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(1)
            except subprocess.TimeoutExpired:
                pass
        while mine:
            for pid in mine:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.poll()
            while True:
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break
            mine = descendants(os.getpid()) - {os.getpid()}
        shutil.rmtree(self.folder, ignore_errors=True)


def start_ms(peer, count, runs):
    times = []
    for _ in range(runs):
        with Run(peer, count) as run:
            events = run.wait("start", count)
            if not events:
                return None
            times.append((sorted(events)[count - 1][0] - run.launched()) / 1e6)
    return statistics.median(times)


def first_child(peer):
    return start_ms(peer, 1, RUNS)


def fiftieth_child(peer):
    return start_ms(peer, 50, max(3, RUNS // 2)) if peer.many else "-"


def memory_mib(peer, count, owner=0):
    if not peer.captures:
        return "-"
    options = ("-u", str(owner)) if owner else ()
    with Run(peer, count, log=True, options=options, owner=owner) as run:
        if not run.wait("start", count):
            return None
        time.sleep(0.5)
        if isinstance(peer, peers.Appliance):
            subprocess.run([APPLIANCE, "healthcheck"], env=run.environ, stdout=subprocess.DEVNULL, check=True,
                           user=owner or None, group=owner or None)
        total = 0
        for pid in run.own():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


def restart_ms(peer):
    if not peer.restarts:
        return "-"
    times = []
    with Run(peer, 5) as run:
        events = run.wait("start", 5)
        if not events:
            return None
        for i in range(RUNS):
            time.sleep(1.2) # s6, runit and supervisord punish a child that lived for less than a second
            before = len(events)
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            os.kill(events[-1][1], signal.SIGKILL)
            events = run.wait("start", before + 1)
            if not events:
                return None
            times.append((events[-1][0] - now) / 1e6)
    return statistics.median(times)


def wakeups(peer):
    def switches():
        total = 0
        for pid in run.own():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status") as file:
                    total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
        return total

    count = 5 if peer.many else 1
    with Run(peer, count) as run:
        if not run.wait("start", count):
            return None
        time.sleep(2)
        before = switches()
        time.sleep(10)
        return switches() - before


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def logging(peer, size):
    """(MB/s as the child sees it, CPU seconds of the supervisor's processes per GiB)"""
    if not peer.captures or isinstance(peer, peers.Dinit):
        return "-"
    with Run(peer, 1, mode="write", log=True, SIZE=size, TOTAL=LOG_BYTES) as run:
        written = run.wait("written", 1, 120)
        if not written:
            return None
        seconds = (written[0][0] - run.events("start")[0][0]) / 1e9
        time.sleep(0.5) # the pipe's last content
        cpu = cpu_seconds(run.own())
    return LOG_BYTES / 1e6 / seconds, cpu * (1 << 30) / LOG_BYTES


def survivors(peer):
    """Of five related processes: how many live after their one service was stopped; how many were asked by TERM."""
    if peer.stop_one("", 0) is None:
        return "-"
    with Run(peer, 1, mode="family") as run:
        members = run.wait("member", 5)
        if not members:
            return None
        subprocess.run(peer.stop_one(run.folder, 0), env=run.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
        time.sleep(0.3)
        left = {pid for _, pid in members} & descendants(os.getpid())
        return len(left), len({pid for _, pid in run.events("term")})


def term_heard_ms(peer):
    """The earliest delay after exec, of those tried, from which PID 1 ends on TERM in three of three."""
    for delay in (0.5, 1, 2, 5, 20, 100, 500, 1500):
        if all(term_heard(peer, delay) for _ in range(3)):
            return delay
    return None


def term_heard(peer, delay):
    with Run(peer, 1, options=("-p",)) as run:
        launched = run.wait("launch", 1)
        end = launched[0][0] + int(delay * 1e6)
        below = lambda: [pid for pid, (parent, _) in parents().items() if parent == run.process.pid]
        pid1 = below()[0]
        while time.clock_gettime_ns(time.CLOCK_MONOTONIC) < end:
            pass
        os.kill(pid1, signal.SIGTERM)
        try:
            run.process.wait(3)
            return True
        except subprocess.TimeoutExpired:
            return False


def blocked_stderr(peer):
    """With its own stdout and stderr a full pipe: is a killed child started again?"""
    if not peer.restarts:
        return "-"
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    fcntl.fcntl(writer, fcntl.F_SETFL, 0)
    with Run(peer, 1, stdout=writer) as run:
        events = run.wait("start", 1, 5)
        if events:
            time.sleep(1.2)
            os.kill(events[0][1], signal.SIGKILL)
            events = run.wait("start", 2, 5)
    os.close(reader)
    os.close(writer)
    return "works" if events else "stuck"


def pids_cgroup():
    for parent in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        folder = f"{parent}/bench-{os.getpid()}"
        try:
            os.mkdir(folder)
        except OSError:
            continue
        if os.path.exists(f"{folder}/pids.max"):
            return folder
        os.rmdir(folder)
    return None


def fork_fails(peer):
    """In a cgroup of 12 processes for the first five seconds: when, after that, all 50 children are up."""
    if not peer.many:
        return "-"
    cgroup = pids_cgroup()
    if cgroup is None:
        return "no cgroup"

    def limit(text):
        with open(f"{cgroup}/pids.max", "w") as file:
            file.write(text)

    limit("12")
    with Run(peer, 50, options=("-g", cgroup)) as run:
        time.sleep(5)
        limit("max")
        since = time.monotonic()
        up = 0
        while up < 50 and time.monotonic() < since + LIMIT:
            up = sum(command(pid) in ("child", "run") for pid in descendants(run.process.pid))
            time.sleep(0.02)
        seconds = time.monotonic() - since
    os.rmdir(cgroup)
    return seconds if up >= 50 else f"{up} of 50"


MEASURES = [
    # what, unit, target, how
    ("exec to first child", "ms", "2.5", first_child),
    ("exec to 50th child", "ms", "24", fiftieth_child),
    ("restart after SIGKILL", "ms", "0.9", restart_ms),
    ("PSS, 5 logged services", "MiB", "1.0", lambda peer: memory_mib(peer, 5)),
    ("PSS, 50 logged services", "MiB", "1.5", lambda peer: memory_mib(peer, 50)),
    ("PSS, 5 logged, not root", "MiB", "1.0", lambda peer: memory_mib(peer, 5, NOBODY)),
    ("idle wake-ups in 10 s", "", "0", wakeups),
    ("log, 100-byte writes", "MB/s, CPU s/GiB", "190, 1.0", lambda peer: logging(peer, 100)),
    ("log, 64 KiB writes", "MB/s, CPU s/GiB", "600, 1.3", lambda peer: logging(peer, 65536)),
    ("family of 5 after stop", "alive, asked", "0, 5", survivors),
    ("TERM as PID 1 heard from", "ms", "1", term_heard_ms),
    ("own stderr a full pipe", "", "works", blocked_stderr),
    ("50 up after fork failed 5 s", "s", "2", fork_fails),
]


def shown(value):
    if value is None:
        return "never"
    if isinstance(value, tuple):
        return ", ".join(shown(part) for part in value)
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return str(value)


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    everyone = [peer for peer in peers.all_peers(OUT, APPLIANCE) if not ONLY or peer.name in ONLY]
    present = []
    for peer in everyone:
        if peer.missing():
            print(f"{peer.name}: not to be had here ({peer.missing()})")
        else:
            present.append(peer)
    os.chmod(OUT, 0o755)
    print(f"\n{'measure':28} {'unit':16} {'target':>9}  " + " ".join(f"{peer.name:>12}" for peer in present), flush=True)
    for what, unit, target, how in MEASURES:
        if how in (fork_fails, term_heard_ms) and os.getuid() != 0:
            continue # needs another user, or a PID namespace
        print(f"{what:28} {unit:16} {target:>9}  ", end="", flush=True)
        for peer in present:
            try:
                value = shown(how(peer))
            except Exception as error: # one peer's trouble must not hide the others' figures
                value = type(error).__name__
                print(f"{peer.name}: {what}: {error}", file=sys.stderr)
            print(f"{value:>12} ", end="", flush=True)
        print(flush=True)


main()
