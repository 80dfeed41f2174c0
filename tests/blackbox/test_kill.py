"""kill -9 under load, again and again, each time with another number of shards.

After every restart: what was acknowledged is there, a transaction is there as a whole or not at all, what
was never asked for is not there, and versions never fell. A request whose reply was cut off may have
happened or not; what the restart shows settles it.
"""
import tempfile
import threading
import time
import unittest

from clients import Client, app_path, kill, seeded, stop
from server import Disconnected, Server, scaled

ROUNDS = 20
SHARD_COUNTS = (1, 2, 3, 8)
COPIES = 5  # keys that one transaction sets to the same number
KEPT = 8  # entries in a worker's journal, as in apps/kill.lua
ACCOUNTS = 30
BALANCE = 1000
CUT_OFF = (OSError, Disconnected)  # what a dying server does to a client
# Small, so that segments change and snapshots are taken within a few rounds.
FILES = ["--wal-segment-bytes", str(1 << 20), "--checkpoint-wal-bytes", str(2 << 20)]


class Writer:
    """One client and all it knows: the last number acknowledged, the last one sent, the last version."""

    def __init__(self, name):
        self.name = name
        self.acknowledged = 0
        self.sent = 0
        self.version = 0

    def keys(self):
        return [f"copy:{self.name}:{copy}" for copy in range(1, COPIES + 1)]

    def step(self, client):
        self.sent += 1
        status, document = client.post(*self.request())
        if status == 503:  # nothing was written
            self.sent -= 1
            return
        assert status == 200, (status, document)
        self.acknowledged = self.sent
        if "version" in document:
            assert document["version"] > self.version, (document, self.version)
            self.version = document["version"]

    def request(self):
        return "/fn/write", {"worker": self.name, "number": self.sent, "copies": COPIES}

    def found(self, client):
        """Number and version that all copies share; (0, 0) if none is there."""
        items = [client.get(f"/v1/get?key={key}") for key in self.keys()]
        states = {(document["value"], document["version"]) if status == 200 else (0, 0)
                  for status, document in items}
        assert len(states) == 1, f"{self.name}: a part of a transaction: {states}"
        return states.pop()

    def check(self, client):
        number, version = self.found(client)
        assert self.acknowledged <= number <= self.sent, \
            f"{self.name}: found {number}, acknowledged {self.acknowledged}, sent {self.sent}"
        assert version >= self.version, f"{self.name}: version {version} after {self.version}"
        self.check_journal(client, number)
        self.acknowledged = self.sent = number
        self.version = version

    def check_journal(self, client, number):
        _, page = client.get(f"/v1/range?prefix=journal:{self.name}:")
        entries = sorted(int(item["key"].rsplit(":", 1)[1]) for item in page["items"])
        wanted = list(range(max(1, number - KEPT + 1), number + 1))
        assert entries == wanted, f"{self.name}: journal {entries}, wanted {wanted}"


class ExecuteWriter(Writer):
    """The same transaction as a batch."""

    def request(self):
        journal = f"journal:{self.name}:"
        commands = [{"cmd_type": "set", "key": key, "value": self.sent} for key in self.keys()]
        commands.append({"cmd_type": "set", "key": f"{journal}{self.sent}", "value": True})
        commands.append({"cmd_type": "delete", "key": f"{journal}{self.sent - KEPT}"})
        return "/v1/execute", {"commands": commands}


class PutWriter(Writer):
    """Writes by version: a version that fell, or a write that was lost or done twice, is a conflict."""

    def request(self):
        return "/v1/put", [{"key": key, "value": self.sent, "version": self.version} for key in self.keys()]

    def check_journal(self, client, number):
        pass  # /v1/put cannot delete, so there is none


class Transferrer:
    """Moves money between accounts, without an idea of who has how much."""

    def __init__(self, random):
        self.random = random

    def step(self, client):
        a, b = self.random.sample(range(1, ACCOUNTS + 1), 2)
        status, document = client.post("/fn/transfer", {"from": a, "to": b, "amount": self.random.randint(1, 50)})
        assert status in (200, 409, 503), (status, document)

    def check(self, client):
        _, page = client.get("/v1/range?prefix=acc:")
        balances = [item["value"] for item in page["items"]]
        assert (sum(balances), len(balances)) == (ACCOUNTS * BALANCE, ACCOUNTS), balances
        assert min(balances) >= 0, balances


class Load:
    """One thread for each worker, until the server is gone."""

    def __init__(self, server, workers):
        self.failures = []
        self.steps = 0
        self.threads = [threading.Thread(target=self.run, args=(Client(server), worker)) for worker in workers]
        for thread in self.threads:
            thread.start()

    def run(self, client, worker):
        try:
            while True:
                worker.step(client)
                self.steps += 1
        except CUT_OFF:
            pass
        except BaseException as failure:  # reported by the test's own thread
            self.failures.append(failure)
        finally:
            client.close()

    def join(self):
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


class Kill(unittest.TestCase):
    def test_kill_restart_with_other_shards(self):
        """Acknowledged is never lost, whole or absent, versions never fall: over many kills."""
        random = seeded()
        with tempfile.TemporaryDirectory(prefix="concave-kill-") as data:
            self.run_rounds(random, data)

    def run_rounds(self, random, data):
        workers = [Writer("route1"), Writer("route2"), ExecuteWriter("batch1"), ExecuteWriter("batch2"),
                   PutWriter("put1"), PutWriter("put2"), Transferrer(random), Transferrer(random)]
        steps = 0
        for number in range(scaled(ROUNDS) + 1):
            shards = SHARD_COUNTS[number % len(SHARD_COUNTS)]
            with Server(shards=shards, app=app_path("kill.lua"), options=FILES, data=data) as server:
                client = Client(server)
                if number == 0:
                    client.execute([{"cmd_type": "set", "key": f"acc:{n}", "value": BALANCE}
                                    for n in range(1, ACCOUNTS + 1)])
                for worker in workers:
                    worker.check(client)
                client.close()
                if number < scaled(ROUNDS):
                    load = Load(server, workers)
                    if random.random() < 0.3:  # sometimes in the middle of a snapshot
                        threading.Thread(target=self.checkpoint, args=(Client(server),)).start()
                    time.sleep(random.uniform(0.1, 0.6))
                    kill(server)
                    load.join()
                    steps += load.steps
                else:
                    stop(server)
        self.assertGreater(steps, 5 * scaled(ROUNDS), "the load was too thin to show anything")
        self.assertGreater(min(w.acknowledged for w in workers if isinstance(w, Writer)), 0)

    @staticmethod
    def checkpoint(client):
        try:
            client.call("POST", "/v1/admin/checkpoint")
        except CUT_OFF:
            pass
        finally:
            client.close()


if __name__ == "__main__":
    unittest.main()
