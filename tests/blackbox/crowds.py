"""Bad clients by the thousand, and what a server costs while it has them.

A crowd is opened at once and then does next to nothing, each in its own way: that is what makes it dangerous.
Its sockets belong to it; leave() closes them all. Nothing here measures or asserts.

    with SlowHeads(server, 2000):
        resident_bytes(server.process.pid)
"""
import os
import random
import resource
import selectors
import socket
import threading
import time

TICK_SECONDS = 0.05
TICKLED_PER_TICK = 50  # so that a crowd of 2,000 sends 1,000 bytes a second


def raise_descriptor_limit():
    """Of this process and the servers that it starts: both ends of all connections are on this machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def resident_bytes(pid):
    with open("/proc/%d/statm" % pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("%s: not within %d s" % (what, seconds))
        time.sleep(0.02)


def wait_until_at_rest(pid, seconds=30):
    """Until the process uses less than a fifth of a core."""
    last = [cpu_seconds(pid)]

    def resting():
        time.sleep(0.1)
        before, last[0] = last[0], cpu_seconds(pid)
        return last[0] - before < 0.02

    wait_until("the server at rest", resting, seconds)


class Crowd:
    """Connections that each send opening(index), and then byte(index) now and then if it gives any."""

    receive_buffer = None  # bytes; the kernel's choice if None
    shuts = False          # whether some of them end their side

    def __init__(self, server, size, seed=1):
        self.server = server
        self.random = random.Random(seed)
        self.sockets = []
        self.over = threading.Event()
        self.tickler = threading.Thread(target=self._tickle, daemon=True)
        try:
            for index in range(size):
                self.sockets.append(self._enter(index))
        except BaseException:
            self._close()
            raise
        self.tickler.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def opening(self, index):
        raise NotImplementedError

    def byte(self, _index):
        return b""

    def _enter(self, index):
        one = socket.socket()
        if self.receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        one.connect(self.server.address)
        one.setblocking(False)
        data = self.opening(index)
        if data:
            one.send(data)
        if self.shuts and index % 4 == 3:
            one.shutdown(socket.SHUT_WR)
        return one

    def _tickle(self):
        while not self.over.wait(TICK_SECONDS):
            for _ in range(TICKLED_PER_TICK):
                index = self.random.randrange(len(self.sockets))
                data = self.byte(index)
                if not data:
                    return
                try:
                    self.sockets[index].send(data)
                except OSError:
                    pass  # the server has had enough of it

    def _close(self):
        for index, one in enumerate(self.sockets):
            if index % 2:  # with a reset
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()

    def leave(self):
        self.over.set()
        self.tickler.join()
        self._close()

    def ended(self, seconds):
        """Reads all of them to their end: how many did end in time, and the status lines that they got."""
        selector = selectors.DefaultSelector()
        for one in self.sockets:
            selector.register(one, selectors.EVENT_READ, bytearray())
        left, deadline, lines = len(self.sockets), time.monotonic() + seconds, {}
        while left and time.monotonic() < deadline:
            for key, _ in selector.select(0.1):
                try:
                    data = key.fileobj.recv(65536)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fileobj)
                    left -= 1
                    line = bytes(key.data[:12]).decode("latin-1")
                    lines[line] = lines.get(line, 0) + 1
        selector.close()
        return len(self.sockets) - left, lines


class Idle(Crowd):
    """Half of them say nothing at all; the others ask once and are silent from then on."""

    def opening(self, index):
        return b"" if index % 2 else b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


class SlowHeads(Crowd):
    def opening(self, _index):
        return b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "

    def byte(self, _index):
        return b"s"


class SlowBodies(Crowd):
    """Half of them in chunks, of one byte each."""

    def opening(self, index):
        length = b"Transfer-Encoding: chunked" if index % 2 else b"Content-Length: 100000"
        return b"POST /v1/put HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % length + self.byte(index)

    def byte(self, index):
        return b"1\r\n \r\n" if index % 2 else b" "


class HalfOpen(Crowd):
    """They stop in a head or in a body and are never heard of again, as if unplugged; or have ended their side and
    do not read what they asked for."""

    shuts = True
    receive_buffer = 4096

    def opening(self, index):
        return (b"GET /livez HTTP/1.1\r\nHo",
                b"POST /v1/put HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[{",
                b"GE",
                b"GET /v1/get?key=big HTTP/1.1\r\nHost: x\r\n\r\n")[index % 4]


class NeverReading(Crowd):
    """They ask for more than a connection may hold and read none of it."""

    receive_buffer = 4096

    def opening(self, _index):
        return b"GET /v1/get?key=big HTTP/1.1\r\nHost: x\r\n\r\n" * 4


class HeldBodies(Crowd):
    """Each sends the largest body that is allowed, but for its last byte."""

    BYTES = 8 << 20

    def opening(self, _index):
        return b"POST /v1/put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % self.BYTES

    def _enter(self, index):
        one = super()._enter(index)
        one.settimeout(30)
        try:
            one.sendall(b" " * (self.BYTES - 1))
        except OSError:
            pass  # one too many
        one.setblocking(False)
        return one


class HeadFlood:
    """Heads as large as they may be, and larger ones, in a steady stream; each gets its answer."""

    WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Large: %s\r\n" % (b"y" * 7900) * 2 + b"\r\n"
    TOO_LARGE = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Large: %s\r\n" % (b"y" * 7900) * 3 + b"\r\n"
    AT_ONCE = 16
    PAUSE_SECONDS = 0.02

    def __init__(self, server):
        self.server = server
        self.over = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self._flood, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.failure:
            raise AssertionError("the flood of heads got %r" % self.failure)

    def _round(self, kept):
        kept.send(self.WHOLE * self.AT_ONCE)
        statuses = [kept.read_response().status for _ in range(self.AT_ONCE)]
        with self.server.connect() as refused:
            refused.send(self.TOO_LARGE)
            statuses.append(refused.read_response().status)
        if statuses != [200] * self.AT_ONCE + [431]:
            raise AssertionError(statuses)

    def _flood(self):
        try:
            with self.server.connect() as kept:
                while not self.over.wait(self.PAUSE_SECONDS):
                    self._round(kept)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error
