"""Everything in apps/sandbox.lua is contained: it ends in time, with nothing written, in bounded memory,
and another client of the same shard is served meanwhile.

For each case a line of the table is printed: `sandbox: case | shards | how it ended | ms | longest wait of the
other client, ms`. tests/run.sh shows those lines once more behind the tests.
"""

import os
import re
import threading
import time
import unittest

from clients import app_path
from server import SCALE, Connection, Server, ServerCase

BUDGET_SECONDS = 0.15
LUA_MEMORY = int(os.environ.get("CONCAVE_SANDBOX_MEMORY", 16 << 20))
# The rest of the machine may be busy; sanitizers make everything slower.
SLACK_SECONDS = 2.0 if SCALE == 1 else 30.0
WAIT_SECONDS_MAX = 2.0 if SCALE == 1 else 15.0
# A machine that stands still for a moment makes one try late; what is not contained is late each time.
TRIES = 4
ONLY = os.environ.get("CONCAVE_SANDBOX_ONLY", "")


class Other(threading.Thread):
    """A client that asks for one key, again and again, and notes its longest wait."""

    def __init__(self, server, target):
        super().__init__()
        self.connection = Connection(server.address)
        self.target = target
        self.longest = 0.0
        self.failure = None
        self.done = threading.Event()
        self.warm = threading.Event()

    def run(self):
        try:
            while not self.done.is_set():
                started = time.monotonic()
                response = self.connection.request("GET", self.target)
                self.longest = max(self.longest, time.monotonic() - started)
                # On a busy machine its own budget may run out.
                if response.status not in (200, 504):
                    self.failure = response
                self.warm.set()
                time.sleep(0.0005)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error
        finally:
            self.warm.set()
            self.connection.close()

    def __enter__(self):
        self.start()
        self.warm.wait()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()


class SandboxCase(ServerCase):
    app = app_path("sandbox.lua")
    budget_seconds = BUDGET_SECONDS

    @classmethod
    def setUpClass(cls):
        cls.options = ("--handler-timeout-ms", str(int(cls.budget_seconds * 1000)),
                       "--lua-memory-max", str(LUA_MEMORY))
        super().setUpClass()
        cls.server.request("POST", "/fn/seed")
        cls.errors_seen = 0

    def memory(self):
        with open("/proc/%d/status" % self.server.process.pid, encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) << 10

    def reason(self):
        """What the server's log said last of an error in a handler."""
        lines = self.server.stderr()[self.errors_seen:]
        self.errors_seen += len(lines)
        match = re.findall(r"handler error: (.*?) request_id=", lines)
        return match[-1].replace("|", "/")[:60] if match else ""

    def try_case(self, kind, name):
        """The response, and whether it and the other client's came in time."""
        key = "%s:%s" % (kind, name)
        with Other(self.server, "/fn/peek/" + key) as other, self.server.connect() as connection:
            started = time.monotonic()
            response = connection.request("POST", "/fn/%s/%s" % (kind, name))
            seconds = time.monotonic() - started
        how = "%d" % response.status
        if response.status != 200:
            how += " " + response.json()["code"]
        reason = self.reason() if response.status == 500 else ""
        line = "sandbox: %-36s | %d | %s | %4d | %4d" % (
            name, self.shards, ": ".join(filter(None, (how, reason))), seconds * 1000, other.longest * 1000)
        self.assertIsNone(other.failure, name)
        return response, line, other.longest < WAIT_SECONDS_MAX and seconds < 3 * self.budget_seconds + SLACK_SECONDS

    def run_case(self, kind, name):
        """The responses of all tries; the last of them came in time."""
        responses, lines = [], []
        while True:
            response, line, in_time = self.try_case(kind, name)
            responses.append(response)
            lines.append(line)
            if in_time:
                print(line, flush=True)
                return responses
            self.assertLess(len(lines), TRIES, "\n".join(lines))

    def request_in_time(self, target):
        """Again if the machine had no time for it within the budget."""
        while True:
            response = self.server.request("GET", target)
            if response.status != 504:
                return response

    def all(self, kind):
        cases = self.request_in_time("/fn/cases").json()
        names = [name for name in cases[kind] if re.search(ONLY, name)]
        self.assertTrue(names or ONLY)
        return names


class Contained:
    def test_what_must_be_stopped(self):
        for name in self.all("ends"):
            with self.subTest(name):
                for response in self.run_case("ends", name):
                    self.assertIn(response.status, (413, 500, 503, 504), name)
                self.assertEqual(self.request_in_time("/v1/get?key=ends:" + name).status, 404)
                self.assertIsNone(self.server.process.poll())
        if SCALE == 1:
            self.assertLess(self.memory(), self.shards * (LUA_MEMORY + (64 << 20)) + (128 << 20))


class Harmless:
    """These have time: what they show is not how fast the machine is."""

    budget_seconds = 20

    def test_what_is_harmless(self):
        for name in self.all("works"):
            with self.subTest(name):
                for response in self.run_case("works", name):
                    self.assertEqual(response.status, 200, (name, response, self.server.stderr()[-2000:]))


class OneShard(Contained, SandboxCase):
    shards = 1


class ThreeShards(Contained, SandboxCase):
    shards = 3


class HarmlessOnOne(Harmless, SandboxCase):
    shards = 1


class HarmlessOnThree(Harmless, SandboxCase):
    shards = 3


class Leaving(SandboxCase):
    """abort and redirect pass through whatever is around them, and abort writes nothing."""

    budget_seconds = 20

    def test_leaving(self):
        for where in ("plain", "pcall", "coroutine", "deep"):
            response = self.server.request("POST", "/fn/leave/abort/" + where)
            self.assertEqual((response.status, response.json()), (299, "left"), where)
            self.assertEqual(self.server.get("left"), (None, 0))
        for where in ("sort", "gsub", "close", "tostring", "handler", "wrapped_tostring"):
            response = self.server.request("POST", "/fn/leave/abort/" + where)
            self.assertEqual((response.status, response.json()), (299, "left"), where)
            self.assertEqual(self.server.get("left"), (None, 0))
        self.assertEqual(self.server.request("POST", "/fn/leave/redirect/plain").status, 307)


class Hoarding(SandboxCase):
    """Memory that is kept from request to request is gone with the VM that it filled."""

    budget_seconds = 20

    def replaced(self):
        return self.server.stderr().count("has been replaced")

    def test_upvalues_fill_the_machine(self):
        counts, before = [], self.replaced()
        for _ in range(60):
            response = self.server.request("POST", "/fn/hoard")
            self.assertEqual(response.status, 200, "the attempt runs again in a fresh machine")
            counts.append(response.json())
        replaced = self.replaced() - before
        self.assertGreaterEqual(replaced, 60 * (1 << 20) // LUA_MEMORY)
        self.assertEqual(counts[:3], [1, 2, 3])
        self.assertEqual(counts.count(1), 1 + replaced)

    def test_what_waits_is_run_again_once(self):
        """A request in flight survives one machine; at the second that goes it gets 500."""
        for hogs, status in ((1, 200), (2, 500)):
            before = self.replaced()
            with self.server.connect() as slow, self.server.connect() as hog:
                # The first may end between the two machines of one hog, the second has no time to.
                slow.send_request("POST", "/fn/slow?seconds=%s" % (0.7 if hogs == 1 else 15))
                slow.wait_until_read()
                # A hog is run again once itself: two machines go with it.
                for _ in range(hogs):
                    self.assertError(hog.request("POST", "/fn/ends/hoarding"), 500, "handler_error")
                response = slow.read_response()
            self.assertEqual(self.replaced() - before, 2 * hogs)
            self.assertIn(response.status, (status, 500))
        self.assertEqual(self.server.request("POST", "/fn/slow?seconds=0").json(), "slow")

    def test_memory_errors_are_not_caught(self):
        self.assertError(self.server.request("POST", "/fn/hoard/caught"), 500, "handler_error")


if __name__ == "__main__":
    unittest.main()
