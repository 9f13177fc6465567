#!/usr/bin/python3
"""An HTTP server that misbehaves as its client asks: the path says how. For tests of HTTP clients, on 127.0.0.1 only.

    fault_server.py [--stay] [--tls NAME CERTIFICATE KEY]...

Prints one line, "plain PORT NAME PORT ...", and serves until its parent dies, /quit is asked for, or (not with --stay) its standard
input ends.

  /status/503?body=x     that status, with that body
  /bytes/N               N bytes: the n-th is n modulo 251
  /zeros/N               N zeros, with sendfile
  /slow/N?piece=P&every=S  N bytes, P of them every S seconds
  /cut/N?announce=M      announces M bytes, sends N, closes; &how=reset: resets instead
  /more/N?announce=M     sends more than it announced, and keeps the connection
  /silent                takes the request, never answers; /silent-twice answers the third time
  /late?after=S          answers after S seconds
  /close-unread          closes as soon as the request is read; &how=reset: resets; /mute: closes before it is read
  /chunked/N?piece=P     chunks, with a trailer; /chunked-cut/N: without the last one
  /head?bytes=N&lines=M  M more header lines of N bytes each
  /garbage               what is no HTTP; /http09: a body without a head
  /interim               103 before 200; /redirect: 302 to /status/200, or to ?to=URL
  /drop-next             answers, and closes the connection without having said so
  /last                  answers with Connection: close
  /refuse-body           413 before the body is read, then closes
  /greedy                as /echo, but reads the body slowly: ?piece=P&every=S
  /echo                  the head of the request as it came; its body behind a blank line
  /digest                the number of bytes of the body and their SHA-256
  /count                 "connection C request R": how many connections there were, the number of this request on its own
"""
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # which -I leaves out
from raw_server import Gone, serve  # noqa: E402

counts = {"connections": 0, "silent-twice": 0}
lock = threading.Lock()


def pattern(start, length):
    row = bytes(range(251))
    start %= 251
    return (row * (length // 251 + 2))[start:start + length]


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.kept = b""
        self.requests = 0
        self.method = ""
        with lock:
            counts["connections"] += 1
            self.number = counts["connections"]

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def read_some(self, size=262144):
        data = self.sock.recv(size)
        if not data:
            raise Gone
        return data

    def read_head(self):
        while b"\r\n\r\n" not in self.kept:
            self.kept += self.read_some()
            if self.kept.startswith(b"\x16"):  # a TLS client
                self.answer(b"speak HTTP", 400)
                raise Gone
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        return head

    def take(self, size):
        """Up to `size` bytes, at least one."""
        if not self.kept:
            return self.read_some(size)
        data, self.kept = self.kept[:size], self.kept[size:]
        return data

    def line(self):
        while b"\r\n" not in self.kept:
            self.kept += self.read_some()
        line, _, self.kept = self.kept.partition(b"\r\n")
        return line

    def body(self, headers, piece=262144):
        """The pieces of the request's body, in chunks or not."""
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                left = int(self.line().split(b";")[0], 16)
                if left == 0:
                    while self.line():
                        pass
                    return
                while left:
                    data = self.take(min(piece, left))
                    left -= len(data)
                    yield data
                self.line()
        left = int(headers.get("content-length", 0))
        while left:
            data = self.take(min(piece, left))
            left -= len(data)
            yield data

    def head(self, status, *lines):
        self.sock.sendall("\r\n".join((f"HTTP/1.1 {status} Words",) + lines + ("", "")).encode("latin-1"))

    def answer(self, body=b"", status=200, *lines):
        self.head(status, f"Content-Length: {len(body)}", *lines)
        if self.method != "HEAD":
            self.sock.sendall(body)

    def serve(self):
        while True:
            head = self.read_head()
            self.requests += 1
            request, *lines = head.decode("latin-1").split("\r\n")
            self.method, target, _ = request.split(" ", 2)
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            parts = urlsplit(target)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            words = parts.path.strip("/").split("/")
            what = getattr(self, "on_" + words[0].replace("-", "_"), None)
            number = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
            self.raw, self.headers = head, headers
            if what is None:
                what = Connection.on_echo.__get__(self)
            if words[0] not in ("refuse-body", "mute", "greedy", "echo", "digest") and what.__name__ != "on_echo":
                for _ in self.body(headers):
                    pass
            what(number, query)

    def on_status(self, number, query):
        self.answer(query.get("body", "").encode(), number)

    def on_bytes(self, number, query):
        self.head(200, f"Content-Length: {number}", 'ETag: "pattern"')
        if self.method != "HEAD":
            for start in range(0, number, 1 << 18):
                self.sock.sendall(pattern(start, min(1 << 18, number - start)))

    def on_zeros(self, number, query):
        self.head(200, f"Content-Length: {number}")
        if isinstance(self.sock, ssl.SSLSocket):
            block = bytes(1 << 18)
            while number:
                number -= self.sock.send(block[:min(len(block), number)])
            return
        fd = os.memfd_create("zeros")
        try:
            os.truncate(fd, 1 << 24)
            while number:
                offset = 0
                while number and offset < 1 << 24:
                    sent = os.sendfile(self.sock.fileno(), fd, offset, min(number, (1 << 24) - offset))
                    offset += sent
                    number -= sent
        finally:
            os.close(fd)

    def on_slow(self, number, query):
        piece, every = int(query.get("piece", 1)), float(query.get("every", 0.01))
        self.head(200, f"Content-Length: {number}")
        for start in range(0, number, piece):
            self.sock.sendall(pattern(start, min(piece, number - start)))
            time.sleep(every)

    def on_cut(self, number, query):
        self.head(200, f"Content-Length: {query.get('announce', number)}")
        self.sock.sendall(pattern(0, number))
        if query.get("how") == "reset":
            self.sock.recv(1)  # the client has what it should have before the reset overtakes it, and says so by waiting
            self.reset()
        raise Gone

    def on_more(self, number, query):
        self.head(200, f"Content-Length: {query['announce']}")
        self.sock.sendall(pattern(0, number))

    def on_silent(self, number, query):
        self.read_some()

    def on_silent_twice(self, number, query):
        with lock:
            counts["silent-twice"] += 1
            turn = counts["silent-twice"]
        if turn < 3:
            self.read_some()
        self.answer(b"at last")

    def on_late(self, number, query):
        time.sleep(float(query["after"]))
        self.answer(b"late")

    def on_close_unread(self, number, query):
        if query.get("how") == "reset":
            self.reset()
        raise Gone

    def on_chunked(self, number, query, whole=True):
        piece = int(query.get("piece", 1000))
        self.head(200, "Transfer-Encoding: chunked", "Trailer: X-Sum")
        for start in range(0, number, piece):
            data = pattern(start, min(piece, number - start))
            self.sock.sendall(b"%x;note=1\r\n%s\r\n" % (len(data), data))
        if not whole:
            raise Gone
        self.sock.sendall(b"0\r\nX-Sum: 7\r\n\r\n")

    def on_chunked_cut(self, number, query):
        self.on_chunked(number, query, False)

    def on_head(self, number, query):
        self.answer(b"small", 200, *(f"X-Line-{i}: {'y' * int(query['bytes'])}" for i in range(int(query.get("lines", 1)))))

    def on_garbage(self, number, query):
        self.sock.sendall(b"220 smtp.example ready\r\n")
        raise Gone

    def on_http09(self, number, query):
        self.sock.sendall(b"<html>" + b"x" * 4000)
        raise Gone

    def on_interim(self, number, query):
        self.head(103, "Link: </x>")
        self.answer(b"after", 200, "X-Final: yes")

    def on_redirect(self, number, query):
        self.answer(b"elsewhere", 302, "Location: " + query.get("to", "/status/200"))

    def on_drop_next(self, number, query):
        self.answer(b"kept?")
        raise Gone

    def on_last(self, number, query):
        self.answer(b"last", 200, "Connection: close")
        raise Gone

    def on_mute(self, number, query):
        raise Gone

    def on_refuse_body(self, number, query):
        self.answer(b"too much", 413, "Connection: close")
        self.sock.shutdown(socket.SHUT_WR)
        while True:  # until the client has read it and closes: a reset now would take the answer from it
            self.read_some()

    def on_greedy(self, number, query):
        every, total = float(query.get("every", 0.01)), 0
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)  # or the kernel takes in more of it on our behalf
        for data in self.body(self.headers, int(query.get("piece", 1000))):
            total += len(data)
            time.sleep(every)
        self.answer(b"%d" % total)

    def on_echo(self, number, query):
        body = b"".join(self.body(self.headers))
        self.answer(self.raw + b"\r\n\r\n" + body)

    def on_digest(self, number, query):
        total, digest = 0, hashlib.sha256()
        for data in self.body(self.headers):
            total += len(data)
            digest.update(data)
        self.answer(b"%d %s" % (total, digest.hexdigest().encode()))

    def on_quit(self, number, query):
        self.answer(b"bye")
        os._exit(0)

    def on_count(self, number, query):
        self.answer(b"connection %d request %d" % (self.number, self.requests))


serve(Connection)
