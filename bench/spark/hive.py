"""Just enough of HiveServer2's protocol to ask a question: SASL PLAIN, Thrift's binary protocol, OpenSession, ExecuteStatement, FetchResults.
A JDBC client is a JVM, whose own start would be most of what is measured."""
import socket
import struct

I32, STRING, STRUCT, MAP, LIST, SET, BOOL, BYTE, DOUBLE, I16, I64, STOP = 8, 11, 12, 13, 15, 14, 2, 3, 4, 6, 10, 0


def field(kind, number, payload):
    return struct.pack(">bh", kind, number) + payload


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">i", len(value)) + value


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0]

    def value(self, kind):
        if kind == STRING:
            length = self.take("i")
            self.at += length
            return self.data[self.at - length:self.at]
        if kind == STRUCT:
            return self.struct()
        if kind == MAP:
            keys, values, count = self.take("b"), self.take("b"), self.take("i")
            return {self.value(keys): self.value(values) for _ in range(count)}
        if kind in (LIST, SET):
            items, count = self.take("b"), self.take("i")
            return [self.value(items) for _ in range(count)]
        return self.take({BOOL: "b", BYTE: "b", DOUBLE: "d", I16: "h", I32: "i", I64: "q"}[kind])

    def struct(self):
        found = {}
        while (kind := self.take("b")) != STOP:
            number = self.take("h")
            found[number] = self.value(kind)
        return found


class Session:
    def __init__(self, port, timeout=60, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout)
        self.file = self.socket.makefile("rb")
        self.sasl(1, b"PLAIN")
        self.sasl(2, b"\0bench\0bench")
        status, length = struct.unpack(">bi", self.file.read(5))
        self.file.read(length)
        if status != 5:
            raise OSError(f"SASL status {status}")
        opened = self.call("OpenSession", field(I32, 1, struct.pack(">i", 7)) + field(STRING, 2, text("bench")))
        self.handle = opened[3]

    def sasl(self, status, payload):
        self.socket.sendall(struct.pack(">bi", status, len(payload)) + payload)

    def call(self, name, request):
        message = struct.pack(">I", 0x80010001) + text(name) + struct.pack(">i", 0)
        message += field(STRUCT, 1, request + b"\0") + b"\0"
        self.socket.sendall(struct.pack(">i", len(message)) + message)
        header = self.file.read(4)
        if len(header) < 4:
            raise OSError("the server hung up")
        reader = Reader(self.file.read(struct.unpack(">i", header)[0]))
        reader.take("I")
        reader.value(STRING)
        reader.take("i")
        answer = reader.struct().get(0, {})
        if answer.get(1, {}).get(1) not in (0, 1):
            raise OSError(f"{name}: {answer.get(1)}")
        return answer

    def execute(self, statement):
        identifier = field(STRING, 1, text(self.handle[1][1])) + field(STRING, 2, text(self.handle[1][2])) + b"\0"
        return self.call("ExecuteStatement", field(STRUCT, 1, field(STRUCT, 1, identifier) + b"\0") + field(STRING, 2, text(statement)))[2]

    def query(self, statement, most=1000):
        """The rows of its result, as lists of values."""
        operation = self.execute(statement)
        identifier = field(STRING, 1, text(operation[1][1])) + field(STRING, 2, text(operation[1][2])) + b"\0"
        handle = field(STRUCT, 1, identifier) + field(I32, 2, struct.pack(">i", operation[2])) + field(BOOL, 3, struct.pack(">b", operation[3])) + b"\0"
        answer = self.call("FetchResults", field(STRUCT, 1, handle) + field(I32, 2, struct.pack(">i", 0)) + field(I64, 3, struct.pack(">q", most)))
        # Each column is a union of one list of values by its type.
        columns = [next(iter(column.values()))[1] for column in answer[3].get(3, [])]
        decode = lambda value: value.decode() if isinstance(value, bytes) else value
        return [[decode(value) for value in row] for row in zip(*columns)]

    def close(self):
        self.file.close()
        self.socket.close()


def answers(port, statement="select 1"):
    """Whether the server on that port carries out a statement."""
    try:
        session = Session(port)
    except OSError:
        return False
    try:
        session.execute(statement)
        return True
    except OSError:
        return False
    finally:
        session.close()
