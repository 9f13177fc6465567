"""Is SQL answered? sql_watch.py STATEMENT HOST:PORT... asks each address again and again, each time by a new session as a client that
reconnects does, and prints a line for every attempt: ADDRESS BEGAN ENDED ok ROWS, or ... no REASON; times are those of CLOCK_MONOTONIC."""
import os
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


def watch(address, statement):
    host, port = address.rsplit(":", 1)
    while True:
        began = time.monotonic()
        try:
            said, rest = "ok " + " ".join(",".join(map(str, row)) for row in ask(host, int(port), statement)), CALM
        except (OSError, KeyError, IndexError) as reason:
            said, rest = "no " + " ".join(str(reason).split()), HURRY
        with tell:
            print(f"{address} {began:.3f} {time.monotonic():.3f} {said}", flush=True)
        time.sleep(rest)


threads = [threading.Thread(target=watch, args=(address, sys.argv[1]), daemon=True) for address in sys.argv[2:]]
for thread in threads:
    thread.start()
threads[0].join()
