"""The other end of tests/support/nomem.c: which allocations of concave-nomem are to fail, and which did."""
import mmap
import os
import struct
import subprocess
import time

from server import START_SECONDS, STOP_SECONDS, Connection, Disconnected, Server

BUILT = os.environ.get("CONCAVE_TESTS_BUILT", "")
BINARY = os.path.join(BUILT, "concave-nomem")
COUNT, FIRST, LAST, FAILED, BASE, FRAMES = 0, 8, 16, 24, 32, 40
FRAMES_MAX = 24
BYTES = FRAMES + 8 * FRAMES_MAX


class Failures:
    """The shared file."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(BYTES)
            self.memory = mmap.mmap(file.fileno(), BYTES)

    def _get(self, at):
        return struct.unpack_from("<Q", self.memory, at)[0]

    def _set(self, at, number):
        struct.pack_into("<Q", self.memory, at, number)

    def arm(self, first, length=1):
        """From now on, as many as length fail from the first on (1 is the next); first 0: only counts."""
        self._set(FIRST, 0)
        self._set(FAILED, 0)
        self._set(LAST, first + length - 1)
        self._set(COUNT, 0)
        self._set(FIRST, first)

    def disarm(self):
        self._set(FIRST, 0)

    @property
    def count(self):
        return self._get(COUNT)

    @property
    def failed(self):
        return self._get(FAILED)

    def place(self):
        """Where the first one failed: functions of the server, innermost first."""
        frames = [self._get(FRAMES + 8 * i) for i in range(FRAMES_MAX)]
        addresses = [hex(frame - 1) for frame in frames if 0 < frame < 1 << 40]
        if not addresses:
            return "?"
        said = subprocess.run(["addr2line", "-f", "-s", "-e", BINARY, *addresses],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        lines = said.stdout.decode().splitlines()
        names = ["%s(%s)" % pair for pair in zip(lines[::2], lines[1::2]) if pair[0] != "??"]
        return " < ".join(name for name in names if "nomem.c" not in name) or "?"


class NomemServer(Server):
    """A server whose allocations fail when its `failures` say so."""

    binary = BINARY

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.failures = Failures(os.path.join(self.folder, "nomem"))
        self.env["CONCAVE_NOMEM"] = self.failures.path

    def start_if_it_can(self):
        """True once it is ready, False if it has ended instead. Connections may be closed meanwhile."""
        self.spawn()
        deadline = time.monotonic() + START_SECONDS
        line = self._lines.get(timeout=START_SECONDS)
        if line is None:
            self.process.wait(timeout=STOP_SECONDS)
            return False
        self.address = self.admin = ("127.0.0.1", int(line.rsplit(":", 1)[1]))
        while self.process.poll() is None:
            try:
                with Connection(self.address) as connection:
                    if connection.request("GET", "/readyz").status == 200:
                        return True
            except (OSError, Disconnected):
                pass
            if time.monotonic() > deadline:
                self.fail("not ready within %d s" % START_SECONDS)
            time.sleep(0.002)
        return False
