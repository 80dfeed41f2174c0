"""What the black-box tests share: the real server as a child process, and an HTTP client on raw sockets.

A test talks to the server as any client would and waits on conditions, never on the clock. The client
reads replies strictly: what it cannot account for, byte by byte, is an error of the server.

    with Server(shards=2) as server:
        server.put("a", 1)
        server.request("GET", "/v1/get?key=a").json()
"""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SOURCE = os.environ.get(
    "CONCAVE_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BINARY = os.environ.get("CONCAVE_BINARY", os.path.join(SOURCE, "build", "concave"))

# Sanitizers make everything slower; tests that only repeat themselves are told to do it less often, or
# (tests/run.sh --long N) so many times as often.
SCALE = float(os.environ.get("CONCAVE_TEST_SCALE", "1")) * float(os.environ.get("CONCAVE_LONG", "1"))

# Of a request, where a test does not say otherwise: the default of 2 s is over when the machine stands still for that.
BUDGET_MS = 20000

START_SECONDS = 60
STOP_SECONDS = 60
REPLY_SECONDS = 60


def scaled(count):
    """A number of repetitions, fewer or more where the environment says so; at least 1."""
    return max(1, int(count * SCALE))


class Disconnected(Exception):
    """The server closed the connection where a reply, or the rest of one, was due."""


class Response:
    def __init__(self, version, status, headers, body):
        self.version = version
        self.status = status
        self.headers = headers  # [(name, value)] as sent
        self.body = body

    def header(self, name, default=None):
        """The value of a header that may be there once at most."""
        values = [value for other, value in self.headers if other.lower() == name.lower()]
        if len(values) > 1:
            raise AssertionError("header %s is there %d times" % (name, len(values)))
        return values[0] if values else default

    def json(self):
        if not (self.header("Content-Type") or "").startswith("application/json"):
            raise AssertionError("not JSON: %r %r" % (self.headers, self.body))
        return json.loads(self.body.decode("utf-8"))

    def __repr__(self):
        return "<%d %r>" % (self.status, self.body[:300])


_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\x20-\x7e]*)\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e\t]*)\Z")


def _unread_bytes(client):
    """What the kernel holds for the other end of a connection over the loopback (proc(5), /proc/net/tcp); None if
    there is no other end."""
    ends = [":%04X" % client.getpeername()[1], ":%04X" % client.getsockname()[1]]
    with open("/proc/net/tcp6" if client.family == socket.AF_INET6 else "/proc/net/tcp", encoding="ascii") as file:
        for fields in map(str.split, file):
            if [field[-5:] for field in fields[1:3]] == ends:
                return int(fields[4].split(":")[1], 16)
    return None


class Connection:
    """One connection to the server. Everything sent is up to the caller; replies are read strictly."""

    def __init__(self, address, timeout=REPLY_SECONDS):
        self.address = address
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_request(self, method, target, body=None, headers=()):
        """A plain HTTP/1.1 request. A body that is no bytes is sent as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        host, port = self.address[:2]
        lines = ["%s %s HTTP/1.1" % (method, target),
                 "Host: %s:%d" % ("[%s]" % host if ":" in host else host, port)]
        lines += ["%s: %s" % field for field in headers]
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def request(self, method, target, body=None, headers=()):
        self.send_request(method, target, body, headers)
        return self.read_response(method)

    def wait_until_read(self):
        """Until the server has read all that was sent: what it is a part of has begun, or stands in its line."""
        deadline = time.monotonic() + REPLY_SECONDS
        missed = 0  # the table changes while it is read
        while missed < 3:
            unread = _unread_bytes(self.socket)
            if unread == 0:
                return
            missed += unread is None
            if time.monotonic() > deadline:
                raise AssertionError("sent but not read within %d s" % REPLY_SECONDS)
            time.sleep(0.002)

    def _receive(self):
        """More bytes; raises Disconnected at the end of the stream."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Disconnected("connection reset with %r unread" % self.bytes[:200]) from error
        if not data:
            raise Disconnected("connection closed with %r unread" % self.bytes[:200])
        self.bytes += data

    def _take(self, count):
        while len(self.bytes) < count:
            self._receive()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def _take_head(self):
        while b"\r\n\r\n" not in self.bytes:
            self._receive()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        return head.split(b"\r\n")

    def read_response(self, method="GET"):
        lines = self._take_head()
        match = _STATUS_LINE.match(lines[0])
        if not match:
            raise AssertionError("bad status line %r" % lines[0])
        status = int(match.group(2))
        headers = []
        for line in lines[1:]:
            field = _FIELD.match(line)
            if not field:
                raise AssertionError("bad header line %r" % line)
            headers.append((field.group(1).decode(), field.group(2).decode()))
        response = Response(int(match.group(1)), status, headers, b"")
        if response.header("Transfer-Encoding") is not None:
            raise AssertionError("a reply with Transfer-Encoding")
        length = response.header("Content-Length")
        if status < 200 or status in (204, 304):
            return response
        if length is None or not length.isdigit():
            raise AssertionError("reply %d with Content-Length %r" % (status, length))
        if method != "HEAD":
            response.body = self._take(int(length))
        return response

    def at_end(self):
        """Waits for the server to close; True if nothing came before. A reset counts as closed only
        if the caller has sent what the server never read, which is the caller's to know."""
        try:
            self._receive()
        except Disconnected:
            return not self.bytes
        return False

    def shut(self):
        """Says that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)


class Server:
    """A `concave serve` of its own on a data directory of its own, unless one is given."""

    binary = BINARY

    def __init__(self, shards=1, app=None, options=(), env=None, data=None):
        self.shards = shards
        self.app = app
        self.options = list(options)
        self.env = dict(env or {})
        self.folder = tempfile.mkdtemp(prefix="concave-test-")
        self.data = data or os.path.join(self.folder, "data")
        self.process = None
        self.address = None
        self.admin = None
        self._local = threading.local()
        self._connections = []  # those of request(), of all threads
        self._generation = 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exception):
        self.remove()

    # ---- life ----

    def command(self):
        command = [self.binary, "serve", "--data", self.data, "--addr", "127.0.0.1:0",
                   "--shards", str(self.shards)]
        if self.app:
            command += ["--app", self.app]
        return command + ["--handler-timeout-ms", str(BUDGET_MS)] + self.options  # of two the last one counts

    def spawn(self):
        """Starts the process without waiting for anything."""
        if self.process is not None:
            raise AssertionError("the server runs already")
        self._generation += 1
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                self.command(), stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL,
                env={**clean_env(), **self.env})
        self._lines = queue.Queue()
        threading.Thread(
            target=_pump, args=(self.process.stdout, self._lines), daemon=True).start()

    def start(self, ready=True):
        """Starts and waits until connections are taken and, if ready, until /readyz is 200."""
        self.spawn()
        admin = "--admin-addr" in self.options
        deadline = time.monotonic() + START_SECONDS
        self.address = self.admin = None
        while self.address is None or (admin and self.admin is None):
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.fail("no 'listening on' within %d s" % START_SECONDS)
            if line is None:
                self.process.wait(timeout=STOP_SECONDS)
                self.fail("exit %s before 'listening on'" % self.process.returncode)
            match = re.match(r"(listening|admin) on http://(\S+):(\d+)\Z", line)
            if match and match.group(1) == "listening":
                self.address = (match.group(2).strip("[]"), int(match.group(3)))
            elif match:
                self.admin = (match.group(2).strip("[]"), int(match.group(3)))
        if self.admin is None:
            self.admin = self.address
        while ready:
            with Connection(self.admin) as connection:
                response = connection.request("GET", "/readyz")
                if response.status == 200:
                    break
                if response.status != 503:
                    self.fail("not ready but %r" % response)
            if time.monotonic() > deadline:
                self.fail("not ready within %d s" % START_SECONDS)
            time.sleep(0.01)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The exit code; the process must end by itself."""
        try:
            code = self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.fail("no end within %d s" % STOP_SECONDS)
        self._forget()
        return code

    def _forget(self):
        self.process.stdout.close()
        self.process = None
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """SIGKILL: no chance to sync anything."""
        self.signal(signal.SIGKILL)
        self.wait()

    def restart(self, shards=None, kill=False):
        """Ends the process, cleanly or not, and starts it again on the same data."""
        if kill:
            self.kill()
        else:
            code = self.stop()
            if code != 0:
                self.fail("exit code %d at a clean stop" % code)
        if shards is not None:
            self.shards = shards
        self.start()

    def remove(self):
        """Ends the process if it runs, and removes its files."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._forget()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def stderr_path(self):
        return os.path.join(self.folder, "stderr")

    def stderr(self):
        try:
            with open(self.stderr_path, "rb") as file:
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def fail(self, message):
        raise AssertionError("%s: %s\nstderr:\n%s" % (
            " ".join(self.command()), message, self.stderr()[-4000:]))

    # ---- talking to it ----

    def connect(self, timeout=REPLY_SECONDS):
        return Connection(self.address, timeout)

    def request(self, method, target, body=None, headers=()):
        """One request on this thread's own keep-alive connection."""
        kept = getattr(self._local, "kept", None)
        if kept is None or kept[0] != self._generation:
            kept = self._local.kept = (self._generation, self.connect())
            self._connections.append(kept[1])
        try:
            response = kept[1].request(method, target, body, headers)
        except (OSError, Disconnected):
            kept[1].close()
            self._local.kept = None
            raise
        if (response.header("Connection") or "").lower() == "close":
            kept[1].close()
            self._local.kept = None
        return response

    def get(self, key):
        """(value, version), or (None, 0) if the key is absent."""
        response = self.request("GET", "/v1/get?key=" + percent(key))
        if response.status == 404:
            return None, 0
        if response.status != 200:
            self.fail("get %r: %r" % (key, response))
        item = response.json()
        if item["key"] != key:
            self.fail("asked for %r, got %r" % (key, response))
        return item["value"], item["version"]

    def put(self, key, value, version=0):
        """The new version; fails if the version given is not the key's."""
        response = self.request(
            "POST", "/v1/put", [{"key": key, "value": value, "version": version}])
        if response.status != 200:
            self.fail("put %r: %r" % (key, response))
        return response.json()["version"]

    def execute(self, *commands):
        """(results, version) of a batch that must succeed."""
        response = self.request("POST", "/v1/execute", {"commands": list(commands)})
        if response.status != 200:
            self.fail("execute: %r" % response)
        reply = response.json()
        return reply["results"], reply["version"]

    def dump(self):
        """All keys as {key: (value, version)}, through pages of /v1/range."""
        items, start = {}, None
        while True:
            target = "/v1/range" + ("?from=" + percent(start) if start is not None else "")
            page = self.request("GET", target).json()
            for item in page["items"]:
                if item["key"] in items:
                    self.fail("%r is on two pages" % item["key"])
                items[item["key"]] = (item["value"], item["version"])
            start = page["next"]
            if start is None:
                return items

    def metrics(self):
        """{series: number} of /metrics; the series with its labels as text."""
        with Connection(self.admin) as connection:
            text = connection.request("GET", "/metrics").body.decode()
        series = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, number = line.rsplit(" ", 1)
                series[name] = float(number)
        return series


def _pump(stream, lines):
    for line in iter(stream.readline, b""):
        lines.put(line.decode("utf-8", "replace").rstrip("\n"))
    lines.put(None)


def clean_env():
    """The environment without options for the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CONCAVE_")}


def run(*arguments, env=None, cwd=None, stdin=b"", timeout=START_SECONDS, binary=BINARY):
    """Runs the binary to its end: a CompletedProcess with text in stdout and stderr."""
    done = subprocess.run(
        [binary, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**clean_env(), **(env or {})}, cwd=cwd, timeout=timeout, check=False)
    done.stdout = done.stdout.decode("utf-8", "replace")
    done.stderr = done.stderr.decode("utf-8", "replace")
    return done


def percent(text):
    """Percent-encodes all but letters and digits."""
    data = text.encode() if isinstance(text, str) else text
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 0x80 else "%%%02X" % byte for byte in data)


def in_threads(count, work):
    """Runs work(0) ... work(count - 1) at once; the first exception is raised again here."""
    failures = []

    def guarded(index):
        try:
            work(index)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class ServerCase(unittest.TestCase):
    """A test class with one server for all its tests; subclasses set the attributes."""

    shards = 1
    options = ()
    app = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(shards=cls.shards, app=cls.app, options=cls.options)
        cls.addClassCleanup(cls.server.remove)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            cls.server.fail("exit code %d at the end of the tests" % code)

    def key(self, name=""):
        """A key that no other test uses."""
        return "%s:%s" % (self.id().rsplit(".", 1)[1], name)

    def assertError(self, response, status, code=None):
        """An error reply of the server itself: JSON with a text for people and a machine word."""
        self.assertEqual(response.status, status, response)
        error = response.json()
        self.assertIsInstance(error.get("error"), str, response)
        self.assertTrue(error["error"], response)
        self.assertRegex(error.get("code", ""), r"\A[a-z][a-z0-9_]*\Z")
        if code is not None:
            self.assertEqual(error["code"], code, response)
        self.assertRegex(response.header("X-Request-Id") or "", r"\A[A-Za-z0-9._-]{1,128}\Z")
