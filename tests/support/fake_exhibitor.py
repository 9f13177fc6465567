#!/usr/bin/python3
"""Exhibitors for tests: 127.0.0.1, 127.0.0.2 and 127.0.0.3 on one port that the kernel chose, or one on the ADDRESS and PORT given. Prints
"ready PORT PID"; serves until its parent dies or GET /quit.

    fake_exhibitor.py [ADDRESS PORT]

    PUT /HOST          how that one answers from now on, as JSON (HOST: the last part of its address):
                       {"servers": [...], "port": 2181} its list; "form": true in Curator's form; "user": "name:password" wanted;
                       {"status": 500}; {"body": "text"} as it is; {"hang": true} takes the question and says nothing;
                       {"down": true} closes the connection at once
    GET /log           who was asked so far, a line each: HOST STATUS
"""
import base64
import ctypes
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

scripts, log, lock = {}, [], threading.Lock()
released = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def tell(self, status, body=b"", kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            scripts[self.path.strip("/")] = json.loads(text)
        self.tell(204)

    def do_GET(self):
        if self.path == "/log":
            with lock:
                return self.tell(200, "".join(line + "\n" for line in log).encode())
        if self.path == "/quit":
            self.tell(200)
            os._exit(0)
        host = self.server.server_address[0].rsplit(".", 1)[1]
        with lock:
            script = scripts.get(host, {"status": 404})
            wanted = script.get("user")
            status = script.get("status", 200)
            given = self.headers.get("Authorization", "")
            if wanted and given != "Basic " + base64.b64encode(wanted.encode()).decode():
                status = 401
            if self.path != "/exhibitor/v1/cluster/list":
                status = 404
            log.append(f"{host} {'hang' if script.get('hang') else 'down' if script.get('down') else status}")
        if script.get("hang"):
            released.wait(60)
            self.close_connection = True
            return None
        if script.get("down"):
            self.close_connection = True
            return None
        if status != 200:
            return self.tell(status)
        if "body" in script:
            return self.tell(200, script["body"].encode())
        if script.get("form"):
            fields = {"count": len(script["servers"]), "port": script["port"]}
            for number, server in enumerate(script["servers"]):
                fields[f"server{number}"] = server
            return self.tell(200, urlencode(fields).encode(), "application/x-www-form-urlencoded")
        return self.tell(200, json.dumps({"servers": script["servers"], "port": script["port"]}).encode(), "application/json")


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):  # a client that went away is what the test wants
        pass


def listen():
    """One port that is free on all three addresses."""
    while True:
        first = Server(("127.0.0.1", 0), Handler)
        servers = [first]
        try:
            for number in (2, 3):
                servers.append(Server((f"127.0.0.{number}", first.server_port), Handler))
            return servers
        except OSError:
            for server in servers:
                server.server_close()


ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
running = [Server((sys.argv[1], int(sys.argv[2])), Handler)] if len(sys.argv) > 2 else listen()
for one in running:
    one.daemon_threads = True
    threading.Thread(target=one.serve_forever, daemon=True).start()
print("ready", running[0].server_port, os.getpid(), flush=True)
signal.pause()
