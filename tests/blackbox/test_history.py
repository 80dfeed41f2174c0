"""Recorded histories of random transactions have a serial order that respects real time.

concave-history-record runs them on 16 connections: lists that are appended to, registers, a bank, ranges
with inserts and deletes, through Lua routes, /v1/execute, /v1/range and /v1/put. In the middle of each
history the server is killed, twice, and started with another number of shards; what was under way then may
be there or not. concave-history looks for the order (tests/history/README.md).

20,000 transactions in all; CONCAVE_LONG=N makes it N times as many, CONCAVE_TEST_SCALE fewer.
"""
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from clients import app_path, kill, seeded, stop
from server import SOURCE, Server, scaled

APP = app_path("history.lua")
BUILT = os.environ.get("CONCAVE_TESTS_BUILT", os.path.join(SOURCE, "build-release", "tests"))
TXNS = 5000  # of each history, or a little more: a kill may be late
TXNS_MAX = 25000  # what the recorder's last look can hold
SHARDS = (1, 2, 3, 8)
RUN_SECONDS = 300


def program(name, *arguments):
    """A running program of tests/history."""
    return subprocess.Popen([os.path.join(BUILT, name), *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


class Recording:
    """A history that goes on from one start of a server to the next."""

    def __init__(self, server, seed):
        self.server = server
        self.seed = seed
        self.path = os.path.join(server.folder, "history.txt")
        self.next = 0
        self.unknown = 0
        self.wrong_sums = 0  # of the bank

    def start(self, *what):
        url = "http://%s:%d" % self.server.address
        return program("concave-history-record", url, self.path, self.seed, self.next, *what)

    def join(self, recorder):
        output, _ = recorder.communicate(timeout=RUN_SECONDS)
        match = re.match(r"next (\d+) refused \d+ unknown (\d+) wrong sums (\d+)\n\Z", output)
        if recorder.returncode or not match:
            self.server.fail("the recorder ended with %d: %s" % (recorder.returncode, output))
        self.next = int(match.group(1))
        self.unknown += int(match.group(2))
        self.wrong_sums += int(match.group(3))

    def run(self, *what):
        self.join(self.start(*what))

    def run_into_kill(self, after):
        """Kills the server when some `after` requests have been answered, and more are under way."""
        recorder = self.start((TXNS_MAX - self.next) // 2)  # if we come late: some are left for the next one
        while answered(self.server) < after and recorder.poll() is None:
            time.sleep(0.005)
        kill(self.server)
        self.join(recorder)

    def keep(self):
        """Where the history stays when the server's folder is gone."""
        return shutil.copy(self.path, os.path.join(tempfile.gettempdir(), "concave-history-%d.txt" % self.seed))

    def check(self):
        """(the checker's first line, what it found)."""
        checker = program("concave-history", self.path)
        output, _ = checker.communicate(timeout=RUN_SECONDS)
        if checker.returncode > 1:
            self.server.fail("the checker ended with %d: %s" % (checker.returncode, output))
        summary, _, anomalies = output.partition("\n")
        return summary, anomalies


def answered(server):
    """Requests of the recorder that the server has answered since it started."""
    return sum(count for series, count in server.metrics().items()
               if series.startswith("concave_http_requests_total") and re.search('"/(fn|v1)/', series))


def say(line):
    """A line for tests/run.sh's report; unittest has left the cursor behind the test's name."""
    print("\n" + line, flush=True)


class Histories(unittest.TestCase):
    random = seeded()

    def one(self, shards, txns):
        others = self.random.sample([count for count in SHARDS if count != shards], 2)
        with Server(shards=shards, app=APP) as server:
            recording = Recording(server, self.random.randrange(1 << 32))
            for count in others:
                recording.run_into_kill(txns // 3)
                server.shards = count
                server.start()
            recording.run(max(100, txns - recording.next))
            recording.run("final")
            summary, anomalies = recording.check()
            if anomalies or recording.wrong_sums:
                self.fail("seed %d, kept as %s: %s\n%s%d wrong sums of the bank" % (
                    recording.seed, recording.keep(), summary, anomalies, recording.wrong_sums))
            self.assertIn(" 0 anomalies", summary)
            self.assertGreater(recording.unknown, 0, "nothing was under way when the server was killed")
            say("history: shards %d, kill -9, %d, kill -9, %d | %s" % (
                shards, *others, summary.replace("history: ", "")))
            stop(server)

    def test_histories_are_strictly_serializable(self):
        """At every number of shards, and across kills, the transactions have a serial order."""
        rounds = -(-scaled(TXNS) // TXNS)
        for _ in range(rounds):
            for shards in SHARDS:
                with self.subTest(shards=shards):
                    self.one(shards, max(300, scaled(TXNS) // rounds))

    def test_the_checker_finds_what_is_planted(self):
        """A recorded history in which one acknowledged write is taken for refused does not pass."""
        with Server(shards=2, app=APP) as server:
            recording = Recording(server, 1)
            recording.run(300)
            recording.run("final")
            with open(recording.path, encoding="ascii") as file:
                lines = file.readlines()
            at = next(index for index, line in enumerate(lines) if " ok w b:0 " in line)
            lines[at] = lines[at].replace(" ok ", " fail ")
            with open(recording.path, "w", encoding="ascii") as file:
                file.writelines(lines)
            _, anomalies = recording.check()
            self.assertRegex(anomalies, r"\AG1a: ")
            stop(server)


if __name__ == "__main__":
    unittest.main()
