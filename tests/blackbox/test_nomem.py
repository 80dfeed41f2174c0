"""Every n: the n-th allocation of one scenario fails, alone or as the first of forty.

Start, serving, checkpoint, reload and stop of the real binary, built so that allocations fail on request
(tests/support/nomem.c). What may happen then: an error reply that the server itself writes, which says that
nothing was written; a connection that closes without a reply; or an exit with code 1 and a message. What may
not: a crash, a hang, a lost or partial write, a request or connection that never ends, a leak (that the
AddressSanitizer tells at the exit), or that the server does not serve as before what comes after the failure.

The tools, too: they end with exit code 1 and a reason, or have done the whole of their work.

CI tries every so manieth n, from a random one on; CONCAVE_LONG every one.
"""
import collections
import json
import os
import random
import re
import shutil
import signal
import time
import unittest

import nomem
from clients import app_path
from server import BINARY, Connection, Disconnected, Server, run

LONG = "CONCAVE_LONG" in os.environ
SCALE = float(os.environ.get("CONCAVE_TEST_SCALE", "1"))
# Numbers tried of a sweep, in CI.
STARTS_TRIED, COLD_TRIED, WARM_TRIED, TOOLS_TRIED = 90, 60, 80, 100
FAILURES_IN_A_ROW = 40  # of the second way
REPLY_SECONDS = 30
PROBLEMS_MAX = 10
OPTIONS = ("--wal-segment-bytes", str(1 << 20))
ACCOUNTS, BALANCE = 8, 1000
DESCRIPTORS_SLACK = 4  # log segments come and go
EXIT_FINE, EXIT_BAD = 0, 1


def thread_sanitized():
    with open(BINARY, "rb") as file:
        return b"__tsan_init" in file.read()


class Gone(Exception):
    """The process has ended."""


class Ledger:
    """What transactions were asked for, and whether they were written: True, False, or None for who knows."""

    def __init__(self):
        self.puts, self.batches, self.moves = {}, {}, {}
        self.number = 0

    def tag(self):
        self.number += 1
        return str(self.number)

    def check(self, state):
        """state: {key: value}. Settles what was open."""
        for kind, asked in ("put", self.puts), ("batch", self.batches):
            for tag, written in asked.items():
                asked[tag] = self.whole(state, written, *("%s:%s:%s" % (kind, tag, name) for name in "ab"))
        for tag, written in self.moves.items():
            self.moves[tag] = self.whole(state, written, "moved:" + tag)
        self.check_sums(state)

    def check_sums(self, state):
        """What several transactions have changed one after the other."""
        assert state.get("batches", 0) == sum(1 for written in self.batches.values() if written), state.get("batches")
        wanted = {"acc:%d" % number: BALANCE for number in range(1, ACCOUNTS + 1)}
        for move in (state["moved:" + tag] for tag, written in self.moves.items() if written):
            wanted["acc:" + move["from"]] -= move["amount"]
            wanted["acc:" + move["to"]] += move["amount"]
        found = {key: value for key, value in state.items() if key.startswith("acc:")}
        assert found == wanted, "balances %r, those of the transfers %r" % (found, wanted)
        assert "never" not in state, "what was rolled back is there"

    @staticmethod
    def whole(state, written, *keys):
        there = [key in state for key in keys]
        assert all(there) or not any(there), "a part of a transaction: %r" % dict(zip(keys, there))
        assert written is None or written == there[0], "%s: written %s, found %s" % (keys[0], written, there[0])
        return there[0]


class Scenario:
    """One client that asks for everything once. outcomes counts what it got."""

    def __init__(self, server, ledger, strict):
        self.server = server
        self.ledger = ledger
        self.strict = strict  # nothing may fail
        self.outcomes = collections.Counter()
        self.connection = None

    # ---- one request ----

    def gone(self):
        """Whether the process has ended or is about to."""
        try:
            Connection(self.server.address, REPLY_SECONDS).close()
            return False
        except OSError:
            self.server.process.wait(timeout=REPLY_SECONDS)
            return True

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def exchange(self, work):
        """What work(connection) returns; None if the connection has ended."""
        try:
            if not self.connection:
                self.connection = Connection(self.server.address, REPLY_SECONDS)
            return work(self.connection)
        except (Disconnected, ConnectionError):
            self.drop()
            if self.gone():
                raise Gone() from None
            assert not self.strict, "a connection closed without a reply"
            self.outcomes["closed"] += 1
            return None

    def judge(self, response, *expected):
        """True for a reply as if nothing had failed, False for an error, None for none at all."""
        if response is None:
            return None
        if (response.header("Connection") or "").lower() == "close":
            self.drop()
        if response.status in expected:
            self.outcomes["answered"] += 1
            return True
        assert not self.strict and response.status in (500, 503, 507), response
        if response.body and not (response.header("Content-Type") or "").startswith("text/html"):
            assert response.json()["error"] and response.json()["code"], response
        self.outcomes["refused"] += 1
        return False

    def settle(self, work, *expected):
        """The verdict on work's reply; again as long as the next log segment is on its way, or could not be made."""
        deadline = time.monotonic() + REPLY_SECONDS
        while True:
            response = self.exchange(work)
            waits = response and re.search(rb'"code":"(overloaded|disk_full)"', response.body)
            if not waits or time.monotonic() > deadline:
                return self.judge(response, *expected)
            self.outcomes["waits for the log"] += 1
            time.sleep(0.01)

    def ask(self, method, target, *expected, body=None, headers=()):
        return self.settle(lambda connection: connection.request(method, target, body, headers), *(expected or (200,)))

    # ---- what is asked for ----

    def put(self, size, chunked=False):
        tag = self.ledger.tag()
        self.ledger.puts[tag] = None
        body = json.dumps([{"key": "put:%s:%s" % (tag, name), "value": name * size} for name in "ab"]).encode()
        if chunked:
            written = self.settle(lambda connection: self.send_chunked(connection, body), 200)
        else:
            written = self.ask("POST", "/v1/put", body=body)
        self.ledger.puts[tag] = written

    @staticmethod
    def send_chunked(connection, body):
        """In three pieces, so that head and body are kept in between."""
        head = b"POST /v1/put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Request-Id: mine\r\n\r\n"
        sent = head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        for piece in (sent[:30], sent[30:len(head) + 40], sent[len(head) + 40:]):
            connection.send(piece)
            time.sleep(0.001)
        return connection.read_response()

    def batch(self):
        tag = self.ledger.tag()
        self.ledger.batches[tag] = None
        commands = [{"cmd_type": "set", "key": "batch:%s:a" % tag, "value": {"list": [1, 2.5, None, "x"]}},
                    {"cmd_type": "set", "key": "batch:%s:b" % tag, "value": 1},
                    {"cmd_type": "incr", "key": "batches"}, {"cmd_type": "get", "key": "acc:1"},
                    {"cmd_type": "range", "prefix": "acc:", "limit": 5}]
        self.ledger.batches[tag] = self.ask("POST", "/v1/execute", body={"commands": commands})

    def transfer(self, source, target):
        tag = self.ledger.tag()
        self.ledger.moves[tag] = None
        body = {"from": str(source), "to": str(target), "amount": 1, "tag": tag}
        headers = [("Content-Type", "application/json")]
        self.ledger.moves[tag] = self.ask("POST", "/fn/transfer", body=body, headers=headers)

    def pipelined(self):
        def work(connection):
            connection.send(b"GET /v1/get?key=acc:1 HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
            return [connection.read_response() for _ in range(3)]
        for response in self.exchange(work) or []:
            self.judge(response, 200)

    def status(self):
        """The status document, asked for until it comes."""
        deadline = time.monotonic() + REPLY_SECONDS
        while time.monotonic() < deadline:
            response = self.exchange(lambda connection: connection.request("GET", "/v1/admin/status"))
            if self.judge(response, 200):
                return response.json()
        raise AssertionError("no status")

    def reload(self):
        """Its end is seen in the log: to ask for it would allocate, more or less often."""
        before = self.status()["app"]
        said_before = len(self.server.stderr())
        self.server.signal(signal.SIGHUP)
        deadline = time.monotonic() + REPLY_SECONDS
        while not (ends := re.findall(" reload(ed | failed,)", self.server.stderr()[said_before:])):
            if self.server.process.poll() is not None:
                raise Gone()
            assert time.monotonic() < deadline, "a reload that does not end"
            time.sleep(0.002)
        after = self.status()["app"]
        done = ends == ["ed "]
        assert done or not self.strict, "a reload failed: %r" % after
        counted = after["reloads"] - before["reloads"], after["failed_reloads"] - before["failed_reloads"]
        assert counted == (done, not done), "%r: %r after %r" % (ends, after, before)
        assert done or after["last_reload_error"], "a failed reload without a reason: %r" % after
        self.outcomes["reloads" if done else "failed reloads"] += 1

    def all(self):
        try:
            self.put(10)
            self.batch()
            for number in range(2, 5):
                self.transfer(1, number)
            self.ask("GET", "/v1/range?prefix=acc:")
            self.ask("GET", "/v1/get?key=acc:1")
            self.ask("GET", "/v1/get?key=none", 404)
            self.ask("GET", "/fn/page?title=a%20b")
            self.ask("GET", "/fn/fails", 500)
            self.ask("GET", "/fn/aborts", 409)
            self.ask("GET", "/fn/large/%34%300")
            self.ask("GET", "/fn/transfer", 405)
            self.ask("GET", "/fn/none", 404)
            self.ask("GET", "/static/note.txt")
            self.ask("GET", "/static/none", 404, headers=[("Accept", "text/html")])
            self.drop()
            self.ask("GET", "/static/long.bin")
            self.put(20000)
            self.put(3000, chunked=True)
            self.pipelined()
            self.ask("HEAD", "/livez")
            self.ask("GET", "/metrics")
            self.ask("POST", "/v1/admin/flush")
            self.ask("POST", "/v1/admin/checkpoint")
            self.drop()
            self.ask("GET", "/none", 404)
            self.reload()
            self.transfer(3, 4)
        finally:
            self.drop()


@unittest.skipIf(thread_sanitized(), "not built there (tests/CMakeLists.txt)")
class NomemCase(unittest.TestCase):
    """A directory with a snapshot and a log behind it, whose server was killed, and what it must hold."""

    @classmethod
    def setUpClass(cls):
        seed = os.environ.get("CONCAVE_TEST_SEED") or str(random.SystemRandom().randrange(1 << 32))
        print("CONCAVE_TEST_SEED=%s" % seed, flush=True)
        cls.random = random.Random(seed)

    def setUp(self):
        self.ledger = Ledger()
        self.problems = []
        self.outcomes = collections.Counter()
        self.tried = 0
        self.server = nomem.NomemServer(shards=2, options=OPTIONS)
        self.addCleanup(self.server.remove)
        self.failures = self.server.failures
        app = os.path.join(self.server.folder, "app")
        shutil.copytree(app_path("nomem"), app)
        with open(os.path.join(app, "static", "long.bin"), "wb") as file:
            file.write(bytes(300000))
        self.server.app = os.path.join(app, "app.lua")
        self.server.start()
        self.scenario(strict=True)
        self.server.kill()
        self.check_files()

    def scenario(self, strict):
        scenario = Scenario(self.server, self.ledger, strict)
        try:
            scenario.all()
        finally:
            if not strict:
                self.outcomes.update(scenario.outcomes)

    # ---- what must hold ----

    def check_files(self):
        """Of a server that has ended: the normal binary finds nothing wrong, and what was acknowledged."""
        verified = run("verify", self.server.data)
        assert verified.returncode == 0, "verify: %r" % verified
        dumped = run("dump", self.server.data)
        assert dumped.returncode == 0, "dump: %r" % dumped
        items = [json.loads(line) for line in dumped.stdout.splitlines()]
        self.ledger.check({item["key"]: item["value"] for item in items if "key" in item})

    def check_normal(self):
        """The normal binary serves what is there."""
        normal = Server(shards=3, app=self.server.app, options=OPTIONS, data=self.server.data)
        try:
            normal.start()
            self.ledger.check({key: value for key, (value, _) in normal.dump().items()})
            assert normal.stop() == EXIT_FINE, "the normal binary: %s" % normal.stderr()
        finally:
            normal.remove()

    # ---- sweeps ----

    def numbers(self, count, tried):
        """Those to be tried of 1 to count."""
        stride = 1 if LONG else max(1, round(count / max(1, tried * SCALE)))
        return range(self.random.randrange(stride) + 1, count + 1, stride)

    def attempt(self, n, length, work):
        """One n: work(how much the server had said before). A problem is noted with its place."""
        said_before = len(self.server.stderr())
        self.tried += 1
        try:
            work(said_before)
        except Exception as error:  # pylint: disable=broad-except
            self.problems.append("%s, %d from allocation %d on fail: %s: %s\n at: %s\n stderr: %s" % (
                self.id(), length, n, type(error).__name__, error, self.failures.place(),
                self.server.stderr()[said_before:][-2000:]))
            self.failures.disarm()
            if self.server.process:
                self.server.kill()
        if len(self.problems) >= PROBLEMS_MAX:
            self.fail("\n".join(self.problems))

    def finish(self, what, count):
        self.check_normal()
        counts = ", ".join("%d %s" % (number, name) for name, number in sorted(self.outcomes.items()))
        print("\nfailing allocations of %s tried: %d of %d: %s" % (what, self.tried, count, counts), flush=True)
        if self.problems:
            self.fail("\n".join(self.problems))


class Serve(NomemCase):
    """The server, from its start to its stop."""

    def check_exit(self, said_before, stopped):
        """The process has ended, or is told to: with a reason, or as if nothing had failed."""
        code = self.server.wait()
        said = self.server.stderr()[said_before:]
        if stopped and code == EXIT_FINE:
            assert "some requests have not ended" not in said, "a request in flight for ever"
            self.outcomes["stops"] += 1
            return
        assert code == EXIT_BAD and "Sanitizer" not in said, "exit code %s" % code
        assert "memory" in said or 'on("start") failed' in said, "an exit without a reason"
        self.outcomes["exits"] += 1

    def check_serving(self):
        """A process that has survived serves as before, and holds nothing for what is over."""
        self.scenario(strict=True)
        deadline = time.monotonic() + REPLY_SECONDS
        while self.server.metrics()["concave_http_connections"] != 1:
            assert time.monotonic() < deadline, "connections that do not close"
            time.sleep(0.002)

    # ---- sweeps ----

    def sweep_starts(self, what, length):
        def work(said_before):
            self.failures.arm(n, length)
            try:
                started = self.server.start_if_it_can()
            finally:
                self.failures.disarm()
            if started:
                self.outcomes["starts"] += 1
                self.check_serving()
                self.server.signal(signal.SIGTERM)
            self.check_exit(said_before, stopped=started)
            self.check_files()

        self.failures.arm(0)
        self.server.start()
        count = self.failures.count
        self.server.stop()
        for n in self.numbers(count, STARTS_TRIED):
            self.attempt(n, length, work)
        self.finish(what, count)

    def begin(self, n, length):
        """The scenario with failures; False if the process ended."""
        before = self.outcomes.copy()
        self.failures.arm(n, length)
        try:
            self.scenario(strict=False)
        except Gone:
            return False
        lost = self.outcomes - before
        assert length > 1 or lost["refused"] + lost["closed"] + lost["failed reloads"] <= 1, "one failure, %r" % lost
        return True

    def sweep_cold(self, what, length):
        """A process for each n, from its first request to its stop."""
        def work(said_before):
            self.server.start()
            survived = self.begin(n, length)
            if survived:
                self.server.signal(signal.SIGTERM)
            self.check_exit(said_before, stopped=survived)
            self.failures.disarm()
            self.check_files()

        self.server.start()
        self.failures.arm(0)
        self.scenario(strict=True)
        assert self.server.stop() == EXIT_FINE
        count = self.failures.count
        for n in self.numbers(count, COLD_TRIED):
            self.attempt(n, length, work)
        self.finish(what, count)

    def sweep_warm(self, what, length):
        """One process, as long as it lives."""
        def work(said_before):
            if not self.server.process:
                self.server.start()
            if self.begin(n, length):
                self.failures.disarm()
                self.check_serving()
            else:
                self.failures.disarm()
                self.check_exit(said_before, stopped=False)
                self.check_files()

        self.server.start()
        self.scenario(strict=True)
        self.failures.arm(0)
        self.scenario(strict=True)
        count = self.failures.count
        open_before = self.server.metrics()["process_open_fds"]
        for n in self.numbers(count, WARM_TRIED):
            self.attempt(n, length, work)
        if self.server.process:
            self.assertLessEqual(self.server.metrics()["process_open_fds"], open_before + DESCRIPTORS_SLACK)
            said_before = len(self.server.stderr())
            self.server.signal(signal.SIGTERM)
            self.check_exit(said_before, stopped=True)
        self.check_files()
        self.finish(what, count)

    # ---- the tests ----

    def test_start_one(self):
        self.sweep_starts("a start, alone", 1)

    def test_start_row(self):
        self.sweep_starts("a start, first of forty", FAILURES_IN_A_ROW)

    def test_cold_one(self):
        self.sweep_cold("a first scenario and the stop, alone", 1)

    def test_cold_row(self):
        self.sweep_cold("a first scenario and the stop, first of forty", FAILURES_IN_A_ROW)

    def test_warm_one(self):
        self.sweep_warm("a later scenario, alone", 1)

    def test_warm_row(self):
        self.sweep_warm("a later scenario, first of forty", FAILURES_IN_A_ROW)


class Tools(NomemCase):
    """Commands on the files of a server that was killed."""

    def setUp(self):
        super().setUp()
        self.environment = {"CONCAVE_NOMEM": self.failures.path}
        self.data = self.server.data
        self.dumped = run("dump", self.data).stdout

    def tool(self, *arguments, stdin=b""):
        return run(*arguments, env=self.environment, stdin=stdin, binary=nomem.BINARY)

    def sweep(self, what, work):
        """work(): what the tool, run once, has done, as a CompletedProcess with its result in stdout."""
        self.failures.arm(0)
        wanted = work()
        count = self.failures.count
        self.assertEqual(wanted.returncode, EXIT_FINE, wanted)

        def attempt(_):
            self.failures.arm(n, length)
            done = work()
            self.failures.disarm()
            assert done.returncode in (EXIT_FINE, EXIT_BAD), done
            assert done.returncode == EXIT_FINE or done.stderr.strip(), "an exit without a reason"
            assert done.returncode == EXIT_BAD or done.stdout == wanted.stdout, "%r, not %r" % (done, wanted)
            self.outcomes["done" if done.returncode == EXIT_FINE else "exits"] += 1

        for length in 1, FAILURES_IN_A_ROW:
            for n in self.numbers(count, TOOLS_TRIED):
                self.attempt(n, length, attempt)
        self.finish(what, 2 * count)

    def test_verify(self):
        self.sweep("verify", lambda: self.tool("verify", self.data))

    def test_dump(self):
        self.sweep("dump", lambda: self.tool("dump", self.data))

    def test_dump_log(self):
        self.sweep("dump --log", lambda: self.tool("dump", self.data, "--log"))

    def test_check(self):
        self.sweep("check", lambda: self.tool("check", "--app", self.server.app))

    def test_load(self):
        def load():
            copy = os.path.join(self.server.folder, "copy")
            shutil.rmtree(copy, ignore_errors=True)
            done = self.tool("load", copy, stdin=self.dumped.encode())
            if done.returncode == EXIT_FINE:
                done.stdout = run("dump", copy).stdout
            return done
        self.sweep("load", load)


if __name__ == "__main__":
    unittest.main()
