"""Measures every supervisor of peers.py on the same children and prints one table: a row a measure, a column a supervisor.
Beside our own figure stands the target and whether it is met. Machines and their load differ, so what counts most is the ratio to
`floor`, the bare C loop of the same run; repeats of all supervisors take turns, so that a load that comes and goes meets all of them."""
import contextlib
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
WANTED = os.environ.get("SB_MEASURE", "") # a part of the names of those to take
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
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        end_everything()
        shutil.rmtree(self.folder, ignore_errors=True)


def end_everything():
    """Whatever was started here, and whoever was left to us."""
    while mine := descendants(os.getpid()) - {os.getpid()}:
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass


def in_turns(sample, runs):
    """-> a measure of all supervisors: the median of RUNS samples each."""
    def measure(present):
        values = {peer: [] for peer in present}
        for _ in range(runs):
            for peer in present:
                if values[peer] is not None:
                    value = guarded(peer, lambda: sample(peer))
                    if isinstance(value, float):
                        values[peer].append(value)
                    else:
                        values[peer], values[peer, "not"] = None, value
        return {peer: values[peer, "not"] if values[peer] is None else statistics.median(values[peer]) for peer in present}
    return measure


def one_by_one(sample):
    return lambda present: {peer: guarded(peer, lambda: sample(peer)) for peer in present}


def guarded(peer, sample):
    try:
        return sample()
    except Exception as error: # one peer's trouble must not hide the others' figures
        print(f"{peer.name}: {type(error).__name__}: {error}", file=sys.stderr)
        return type(error).__name__


def start_ms(peer, count):
    if count > 1 and not peer.many:
        return "-"
    with Run(peer, count) as run:
        time.sleep(0.01 if count == 1 else 0.03) # who looks for the stamp takes a processor from who starts
        events = run.wait("start", count)
        return (sorted(events)[count - 1][0] - run.launched()) / 1e6 if events else None


def pss_kib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


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
        return pss_kib(run.own()) / 1024


def restart_ms(present):
    times = {peer: [] for peer in present if peer.restarts}
    with contextlib.ExitStack() as stack:
        runs = {peer: stack.enter_context(Run(peer, 5)) for peer in times}
        events = {peer: run.wait("start", 5) for peer, run in runs.items()}
        for _ in range(RUNS):
            time.sleep(1.2) # s6, runit and supervisord punish a child that lived for less than a second
            for peer, run in runs.items():
                if not events[peer]:
                    continue
                before, now = len(events[peer]), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                os.kill(events[peer][-1][1], signal.SIGKILL)
                events[peer] = run.wait("start", before + 1)
                if events[peer]:
                    times[peer].append((events[peer][-1][0] - now) / 1e6)
        stack.callback(end_everything)
    return {peer: "-" if peer not in times else statistics.median(times[peer]) if times[peer] else None for peer in present}


def all_killed_ms(peer):
    if not peer.many:
        return "-"
    with Run(peer, 50) as run:
        events = run.wait("start", 50)
        if not events:
            return None
        time.sleep(1.2)
        since = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        for _, pid in events:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        again = run.wait("start", 100)
        return (max(again)[0] - since) / 1e6 if again else None


def crash_loop(peer):
    """Starts in the first ten seconds of a child that ends at once, with what the supervisor does by default."""
    if not peer.restarts or isinstance(peer, peers.Floor):
        return "-"
    with Run(peer, 1, mode="crash") as run:
        time.sleep(10)
        return len(run.events("start"))


def orphans_ms(peer, mode):
    """10,000 orphans of PID 1 end, one after another or all at once: when the last of them is no zombie any more."""
    with Run(peer, 1, mode=mode, options=("-p",)) as run:
        end = run.wait("gone", 1, 60)
        return (end[0][0] - run.events("ended")[0][0]) / 1e6 if end else None


def thousand(peer):
    """(ms until 1,000 children are up, ms until all are stopped, MiB)"""
    if not peer.many:
        return "-"
    with Run(peer, 1000) as run:
        time.sleep(0.2)
        events = run.wait("start", 1000, 60)
        if not events:
            return f"only {len(run.events('start'))}"
        up = (max(events)[0] - run.launched()) / 1e6
        time.sleep(1)
        memory = pss_kib(run.own()) / 1024
        since = time.monotonic()
        run.process.send_signal(signal.SIGHUP if peer.name == "runit" else signal.SIGTERM) # what ends runsvdir's services
        run.process.wait(30)
        return up, (time.monotonic() - since) * 1000, memory


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


LESS, MORE = "<=", ">="


class Measure:
    """`targets`: for each figure of a result (sense, limit, limit as a ratio to floor or None)."""

    def __init__(self, what, unit, how, *targets, as_root=False):
        self.what, self.unit, self.how, self.targets, self.as_root = what, unit, how, targets, as_root

    def target(self):
        return ", ".join((sense if sense else "") + shown(limit) + (f" ({ratio}x)" if ratio else "") for sense, limit, ratio in self.targets)

    def verdict(self, ours, floor):
        """Yes; or only by ratio, as where the machine is slower or busier than the one the limits were set on; or no."""
        parts = ours if isinstance(ours, tuple) else (ours,)
        yardstick = floor if isinstance(floor, tuple) else (floor,)
        verdicts = set()
        for i, (sense, limit, ratio) in enumerate(self.targets):
            value = parts[i] if i < len(parts) else None
            if not isinstance(limit, (int, float)) or not isinstance(value, (int, float)):
                verdicts.add("yes" if value == limit else "NO")
                continue
            below = value <= limit if sense == LESS else value >= limit
            by_ratio = None
            if ratio and i < len(yardstick) and isinstance(yardstick[i], (int, float)):
                by_ratio = value <= ratio * yardstick[i] if sense == LESS else value >= ratio * yardstick[i]
            verdicts.add("yes" if below and by_ratio is not False else "by ratio" if by_ratio else "not by ratio" if below else "NO")
        return next(word for word in ("NO", "not by ratio", "by ratio", "yes") if word in verdicts)


MEASURES = [
    Measure("exec to first child", "ms", in_turns(lambda peer: start_ms(peer, 1), 3 * RUNS), (LESS, 2.5, 2.0)),
    Measure("exec to 50th child", "ms", in_turns(lambda peer: start_ms(peer, 50), max(3, RUNS // 2)), (LESS, 24, 1.25)),
    Measure("restart after SIGKILL", "ms", restart_ms, (LESS, 0.9, 1.1)),
    Measure("50 killed at once, all back", "ms", in_turns(all_killed_ms, max(3, RUNS // 2)), (LESS, 20, 1.1)),
    Measure("crash loop, starts in 10 s", "", one_by_one(crash_loop), (LESS, 10, None)),
    Measure("PSS, 5 logged services", "MiB", one_by_one(lambda peer: memory_mib(peer, 5)), (LESS, 1.0, None)),
    Measure("PSS, 50 logged services", "MiB", one_by_one(lambda peer: memory_mib(peer, 50)), (LESS, 1.5, None)),
    Measure("PSS, 5 logged, not root", "MiB", one_by_one(lambda peer: memory_mib(peer, 5, NOBODY)), (LESS, 1.0, None), as_root=True),
    Measure("PSS, 50 logged, not root", "MiB", one_by_one(lambda peer: memory_mib(peer, 50, NOBODY)), (LESS, 1.5, None), as_root=True),
    Measure("1,000 services: up, down, PSS", "ms, ms, MiB", one_by_one(thousand), (LESS, 600, 1.8), (LESS, 150, 1.6), (LESS, 8, None)),
    Measure("idle wake-ups in 10 s", "", one_by_one(wakeups), (LESS, 0, None)),
    Measure("log, 100-byte writes", "MB/s, CPU s/GiB", one_by_one(lambda peer: logging(peer, 100)), (MORE, 190, 1.15), (LESS, 1.0, 0.16)),
    Measure("log, 64 KiB writes", "MB/s, CPU s/GiB", one_by_one(lambda peer: logging(peer, 65536)), (MORE, 600, 0.85), (LESS, 1.3, 1.0)),
    Measure("family of 5 after stop", "alive, asked", one_by_one(survivors), (LESS, 0, None), (MORE, 5, None)),
    Measure("TERM as PID 1 heard from", "ms", one_by_one(term_heard_ms), (LESS, 1, None), as_root=True),
    Measure("10,000 orphans in turn", "ms to none", in_turns(lambda peer: orphans_ms(peer, "in turn"), 3), (LESS, 5, 1.2), as_root=True),
    Measure("10,000 orphans at once", "ms to none", in_turns(lambda peer: orphans_ms(peer, "at once"), 3), (LESS, 400, 1.2), as_root=True),
    Measure("own stderr a full pipe", "", one_by_one(blocked_stderr), ("", "works", None)),
    Measure("50 up after fork failed 5 s", "s", one_by_one(fork_fails), (LESS, 2, None), as_root=True),
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
    print("Targets: an absolute limit, and in brackets its ratio to floor. \"by ratio\": met as a ratio to floor, though not in absolute terms.\n")
    print(f"{'measure':29} {'unit':15} {'target':>27} {'met':>12}  " + " ".join(f"{peer.name:>14}" for peer in present), flush=True)
    missed = []
    for measure in MEASURES:
        if WANTED and WANTED not in measure.what:
            continue
        if measure.as_root and os.getuid() != 0:
            continue # needs another user, a PID namespace or a cgroup
        values = measure.how(present)
        by_name = {peer.name: value for peer, value in values.items()}
        verdict = measure.verdict(by_name["appliance"], by_name.get("floor")) if "appliance" in by_name else "-"
        if verdict not in ("yes", "by ratio", "-"):
            missed.append(measure.what)
        print(f"{measure.what:29} {measure.unit:15} {measure.target():>27} {verdict:>12}  "
              + " ".join(f"{shown(values[peer]):>14}" for peer in present), flush=True)
    print(f"\nNot met: {', '.join(missed)}" if missed else "\nEvery target is met.")


main()
