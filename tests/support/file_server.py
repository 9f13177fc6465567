#!/usr/bin/python3
"""A web server of a few files, for tests of what fetches them; on 127.0.0.1 only. Prints its port, and serves until its parent dies.

  PUT /x          keeps the body as /x. Headers: X-Redirect: where GET leads; X-Fail: 503 that often first; X-User: name:password that
                  GET must bring; X-Status: this status instead; X-Plain: no ETag
  GET, HEAD /x    the body, its ETag, 304 to If-None-Match, ranges not obeyed
  GET /log        every GET and HEAD so far, a line each: method path status
  GET /quit       ends it
"""
import base64
import ctypes
import hashlib
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

files, log, lock = {}, [], threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def tell(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            files[self.path] = {"body": body, "fail": int(self.headers.get("X-Fail", 0)), "redirect": self.headers.get("X-Redirect"),
                                "user": self.headers.get("X-User"), "status": self.headers.get("X-Status"),
                                "plain": self.headers.get("X-Plain")}
        self.tell(204)

    def verdict(self):
        with lock:
            file = files.get(self.path)
            if not file:
                return 404, b"no such file", {}
            if file["fail"] > 0:
                file["fail"] -= 1
                return 503, b"not now", {}
        if file["status"]:
            return int(file["status"]), b"as asked", {}
        if file["redirect"]:
            return 302, b"", {"Location": file["redirect"]}
        if file["user"]:
            wanted = "Basic " + base64.b64encode(file["user"].encode()).decode()
            if self.headers.get("Authorization") != wanted:
                return 401, b"who are you?", {}
        elif self.headers.get("Authorization"):
            return 400, b"a password that is not for me", {}
        if file["plain"]:
            return 200, file["body"], {}
        tag = '"%s"' % hashlib.sha256(file["body"]).hexdigest()[:16]
        if self.headers.get("If-None-Match") == tag:
            return 304, b"", {"ETag": tag}
        return 200, file["body"], {"ETag": tag}

    def do_GET(self):
        if self.path == "/quit":
            self.tell(200)
            os._exit(0)
        if self.path == "/log":
            with lock:
                return self.tell(200, "".join(line + "\n" for line in log).encode())
        status, body, headers = self.verdict()
        with lock:
            log.append("%s %s %d" % (self.command, self.path, status))
        self.tell(status, body, **headers)

    do_HEAD = do_GET


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # a client that leaves early is what is tested


ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
