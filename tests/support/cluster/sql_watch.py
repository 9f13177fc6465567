"""Is SQL answered? sql_watch.py STATEMENT HOST:PORT... asks each address again and again, each time by a new session as a client that
reconnects does, and prints a line for every attempt: ADDRESS BEGAN ENDED ok ROWS, or ... no REASON; times are those of CLOCK_MONOTONIC.
SIGUSR1 ends the pause between two answers: who measures from a moment on must not measure that pause."""
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../bench/spark"))
import hive  # noqa: E402

# Between two answers, after a failure, and for one attempt: an attempt may be held until the SQL server is elsewhere.
CALM, HURRY, LIMIT = 2, 0.05, 75
tell = threading.Lock()


def ask(host, port, statement):
    session = hive.Session(port, LIMIT, host)
    try:
        return session.query(statement)
    finally:
        session.close()


def watch(address, statement, wake):
    host, port = address.rsplit(":", 1)
    while True:
        began = time.monotonic()
        try:
            said, rest = "ok " + " ".join(",".join(map(str, row)) for row in ask(host, int(port), statement)), CALM
        except Exception as reason:  # noqa: BLE001 - whatever another program, or half an answer, makes of it: the next one may be right
            said, rest = "no " + " ".join(str(reason).split()), HURRY
        with tell:
            print(f"{address} {began:.3f} {time.monotonic():.3f} {said}", flush=True)
        wake.wait(rest)
        wake.clear()


wakes = {address: threading.Event() for address in sys.argv[2:]}
signal.signal(signal.SIGUSR1, lambda *_: [wake.set() for wake in wakes.values()])
for address, wake in wakes.items():
    threading.Thread(target=watch, args=(address, sys.argv[1], wake), daemon=True).start()
while True:
    signal.pause()
