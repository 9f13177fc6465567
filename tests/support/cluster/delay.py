"""Lets packets go on later: delay.py SECONDS takes whatever the packet filter hands to queue 0 (-j NFQUEUE) and accepts each, in order,
after so long. For kernels without netem. Prints `ready` once the queue is its own; the filter should say --queue-bypass, so that nothing
is held once this has ended (what is held then is lost, as packets may be)."""
import collections
import select
import socket
import struct
import sys
import time

# linux/netfilter/nfnetlink_queue.h
NETFILTER, SUBSYSTEM, PACKET, VERDICT, CONFIG = 12, 3 << 8, 0, 1, 2
CONFIG_COMMAND, CONFIG_PARAMETERS, CONFIG_LENGTH, PACKET_HEADER, VERDICT_HEADER = 1, 2, 3, 1, 2
BIND, COPY_META, ACCEPT, QUEUE = 1, 1, 1, 0
REQUEST, ACKNOWLEDGE, ERROR = 1, 4, 2


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def message(kind, flags, data):
    body = struct.pack("=BB", socket.AF_UNSPEC, 0) + struct.pack("!H", QUEUE) + data
    return struct.pack("=IHHII", 16 + len(body), SUBSYSTEM | kind, flags, 0, 0) + body


def messages(data):
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16:at + length]
        at += max(16, length + -length % 4)


def configure(kernel, data):
    kernel.send(message(CONFIG, REQUEST | ACKNOWLEDGE, data))
    for kind, body in messages(kernel.recv(65536)):
        code = struct.unpack_from("=i", body)[0] if kind == ERROR else 0
        if code:
            raise OSError(-code, "the kernel refuses a queue of packets")


def packet_of(body):
    at = 4
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if kind & 0x3fff == PACKET_HEADER:
            return struct.unpack_from("!I", body, at + 4)[0]
        at += max(4, length + -length % 4)
    return None


delay = float(sys.argv[1])
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
kernel.bind((0, 0))
configure(kernel, attribute(CONFIG_COMMAND, struct.pack("!BBH", BIND, 0, 0)))
configure(kernel, attribute(CONFIG_PARAMETERS, struct.pack("!IB", 0, COPY_META)))
configure(kernel, attribute(CONFIG_LENGTH, struct.pack("!I", 65536)))
print("ready", flush=True)
held = collections.deque()
while True:
    left = max(0, held[0][0] - time.monotonic()) if held else None
    if select.select([kernel], [], [], left)[0]:
        for kind, body in messages(kernel.recv(65536)):
            number = packet_of(body) if kind == SUBSYSTEM | PACKET else None
            if number is not None:
                held.append((time.monotonic() + delay, number))
    while held and held[0][0] <= time.monotonic():
        header = struct.pack("!II", ACCEPT, held.popleft()[1])
        kernel.send(message(VERDICT, REQUEST, attribute(VERDICT_HEADER, header)))
