"""A TCP relay on loopback that loses what it is told to lose: gate.py PORT. Prints its own port, then each order once it is in force.
Orders, one a line on stdin: pass; mute (answers are lost); deaf (requests are lost); cut (connections end, new ones are taken);
shut (connections end, new ones are refused until pass); end."""
import selectors
import socket
import sys

target = ("127.0.0.1", int(sys.argv[1]))
chooser = selectors.DefaultSelector()
own = ("127.0.0.1", 0)
listener = None
pairs = {}  # socket -> (the other one, whether it is the client's)
order = "pass"


def listen():
    global listener, own
    if listener:
        return
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(own)
    listener.listen(64)
    own = listener.getsockname()
    chooser.register(listener, selectors.EVENT_READ)


def end(sock):
    other, _ = pairs.pop(sock)
    pairs.pop(other, None)
    for one in (sock, other):
        chooser.unregister(one)
        one.close()


def take():
    client, _ = listener.accept()
    server = socket.socket()
    try:
        server.connect(target)
    except OSError:
        server.close()
        client.close()
        return
    pairs[client] = (server, True)
    pairs[server] = (client, False)
    chooser.register(client, selectors.EVENT_READ)
    chooser.register(server, selectors.EVENT_READ)


def obey(word):
    global order, listener
    if word in ("cut", "shut"):
        for sock in list(pairs):
            if sock in pairs:
                end(sock)
    if word == "shut" and listener:
        chooser.unregister(listener)
        listener.close()
        listener = None
    if word != "shut":
        listen()
    order = "pass" if word == "cut" else word
    print(word, flush=True)


def move(sock):
    other, is_client = pairs[sock]
    try:
        data = sock.recv(65536)
        if not data:
            end(sock)
        elif not (order == "mute" and not is_client) and not (order == "deaf" and is_client):
            other.sendall(data)
    except OSError:
        if sock in pairs:
            end(sock)


listen()
print(own[1], flush=True)
chooser.register(sys.stdin, selectors.EVENT_READ)
while True:
    for key, _ in chooser.select():
        if key.fileobj is sys.stdin:
            line = sys.stdin.readline()
            if line.strip() in ("", "end"):
                sys.exit(0)
            obey(line.strip())
        elif key.fileobj is listener:
            take()
        elif key.fileobj in pairs:
            move(key.fileobj)
