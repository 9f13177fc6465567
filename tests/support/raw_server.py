"""What the servers on raw sockets share (fault_server.py, fault_s3.py): they must do what no HTTP library can be told. On 127.0.0.1 only.

`serve(Connection)` prints one line, "plain PORT NAME PORT ...", a name for each --tls NAME CERTIFICATE KEY of the command line, and serves
until its parent dies or (not with --stay) its standard input ends. Connection(sock).serve() answers one client, on a thread of its own, and
ends with `Gone`, or with the socket's own error.
"""
import ctypes
import os
import signal
import socket
import ssl
import sys
import threading


class Gone(Exception):
    """This connection is over."""


def converse(sock, context, connection):
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            sock = context.wrap_socket(sock, server_side=True)
        connection(sock).serve()
    except (Gone, OSError):
        pass
    finally:
        sock.close()


def listen(context, connection):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=converse, args=(sock, context, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def serve(connection):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    words = ["plain", str(listen(None, connection))]
    arguments = sys.argv[1:]
    stay = "--stay" in arguments
    if stay:
        arguments.remove("--stay")
    while arguments:
        _, name, certificate, key, *arguments = arguments
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        words += [name, str(listen(context, connection))]
    print(*words, flush=True)
    while stay:
        signal.pause()
    sys.stdin.buffer.read()
    os._exit(0)
