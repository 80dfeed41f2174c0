"""Recorded histories of random transactions have a serial order that respects real time.

Transactions append to and read lists through Lua routes, /v1/execute and /v1/range, at 1, 2, 3 and 8
shards, and across a kill -9 with a change of shards; history.py looks for the order.
"""
import itertools
import threading
import time
import unittest

from clients import Client, app_path, kill, seeded, stop
from history import Anomaly, Txn, check
from server import Disconnected, Server, scaled

APP = app_path("history.lua")
TXNS = 5000  # of each history
CLIENTS = 8
GROUP_KEYS = 5  # keys that are in use at the same time
GROUP_APPENDS = 120  # until other keys take their place, so that lists stay short
CUT_OFF = (OSError, Disconnected)


class Recorder:
    """Draws transactions, runs them on many connections, and keeps what each client saw."""

    def __init__(self, random):
        self.random = random
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.txns = []

    def keys(self, number):
        group = number // GROUP_APPENDS
        return ["list:%d:%d" % (group, index) for index in range(GROUP_KEYS)]

    def run(self, server, count, until_cut_off=False):
        """count transactions, or as many as there are before the server goes away."""
        left = itertools.count()
        failures = []

        def work():
            client = Client(server)
            try:
                while next(left) < count or until_cut_off:
                    if not self.one(client):
                        return
            except BaseException as failure:  # raised again below
                failures.append(failure)
            finally:
                client.close()

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads, failures

    def one(self, client):
        """One transaction; False if the connection was cut off under it."""
        with self.lock:
            number = next(self.numbers)
            request, appends, understand = self.draw(number)
        sent = time.monotonic()
        try:
            status, document = client.call(*request)
        except CUT_OFF:
            self.txns.append(Txn(number, sent, None, None, appends, {}))
            return False
        received = time.monotonic()
        reads = understand(document) if status == 200 else {}
        assert status in (200, 422, 503), (status, document)
        self.txns.append(Txn(number, sent, received, status == 200, appends, reads))
        return True

    def draw(self, number):
        """(request, appends, what makes {key: list} of the reply)."""
        keys = self.keys(number)
        kind = self.random.random()
        if kind < 0.1:
            return self.draw_execute(keys)
        if kind < 0.2:
            return self.draw_range(keys)
        return self.draw_steps(number, keys, "/fn/steps/refused" if kind < 0.25 else "/fn/steps")

    @staticmethod
    def draw_execute(keys):
        commands = [{"cmd_type": "get", "key": key} for key in keys]
        return (("POST", "/v1/execute", {"commands": commands}), [],
                lambda document: {key: seen or [] for key, seen in zip(keys, document["results"])})

    @staticmethod
    def draw_range(keys):
        prefix = keys[0].rsplit(":", 1)[0] + ":"
        return (("GET", "/v1/range?prefix=" + prefix), [],
                lambda document: of_range(keys, {item["key"]: item["value"] for item in document["items"]}))

    def draw_steps(self, number, keys, path):
        steps, appends = [], []
        for index in range(self.random.randint(1, 4)):
            key = self.random.choice(keys)
            kind = self.random.random()
            if kind < 0.5:
                appends.append((key, number * 10 + index))
                steps.append(["append", *appends[-1]])
            elif kind < 0.9:
                steps.append(["read", key])
            else:
                steps.append(["range", key.rsplit(":", 1)[0] + ":"])
        return (("POST", path, {"steps": steps}), appends,
                lambda document: of_steps(keys, steps, document["results"]))

    def check(self, server):
        client = Client(server)
        final, start = {}, ""
        while start is not None:
            _, page = client.get("/v1/range?prefix=list:&from=%s" % start)
            final.update((item["key"], item["value"]) for item in page["items"])
            start = page["next"]
        client.close()
        check(self.txns, final)


def of_range(keys, found):
    """A range also says which keys were not there."""
    return {key: found.get(key, []) for key in keys}


def of_steps(keys, steps, results):
    """What the transaction saw, less what it had appended itself by then."""
    own, reads = {}, {}
    for step, result in zip(steps, results):
        if step[0] == "append":
            own.setdefault(step[1], []).append(step[2])
            continue
        seen_now = {step[1]: result} if step[0] == "read" else of_range(keys, result)
        for key, seen in seen_now.items():
            mine = own.get(key, [])
            if seen[len(seen) - len(mine):] != mine:
                raise Anomaly("%r read %r without its own appends %r" % (steps, seen, mine))
            before = seen[:len(seen) - len(mine)]
            if reads.setdefault(key, before) != before:
                raise Anomaly("%r read %r and then %r of %r" % (steps, reads[key], before, key))
    return reads


def join(threads, failures):
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Histories(unittest.TestCase):
    def test_histories_are_strictly_serializable(self):
        """Random transactions under contention have a serial order, at every number of shards."""
        random = seeded()
        for shards in (1, 2, 3, 8):
            with self.subTest(shards=shards), Server(shards=shards, app=APP) as server:
                recorder = Recorder(random)
                join(*recorder.run(server, scaled(TXNS)))
                recorder.check(server)
                done = sum(txn.outcome is True for txn in recorder.txns)
                self.assertGreater(done, scaled(TXNS) * 0.8, "most were refused")
                stop(server)

    def test_histories_survive_kills(self):
        """One history over several kill -9 and numbers of shards: what was seen before stays true."""
        random = seeded()
        recorder = Recorder(random)
        with Server(shards=2, app=APP) as server:
            for shards in (3, 1, 8, 2):
                running = recorder.run(server, 0, until_cut_off=True)
                enough = len(recorder.txns) + scaled(TXNS) / 10
                while len(recorder.txns) < enough and not running[1]:
                    time.sleep(0.01)
                kill(server)
                join(*running)
                server.shards = shards
                server.start()
                recorder.check(server)
            stop(server)


def txn(number, sent, received, appends=(), reads=None, outcome=True):
    return Txn(number, sent, received, outcome, list(appends), reads or {})


class Checker(unittest.TestCase):
    """The checker finds each kind of anomaly, and nothing in what is fine."""

    def found(self, txns, final):
        with self.assertRaises(Anomaly):
            check(txns, final)

    def test_a_serial_history_is_fine(self):
        """Appends and reads one after the other."""
        check([txn(1, 0, 1, [("x", 1)]), txn(2, 2, 3, [("x", 2)], {"x": [1]}), txn(3, 4, 5, (), {"x": [1, 2]})],
              {"x": [1, 2]})

    def test_concurrent_ones_may_take_either_order(self):
        """A read that overlaps a write may miss it."""
        check([txn(1, 0, 5, [("x", 1)]), txn(2, 2, 3, (), {"x": []})], {"x": [1]})

    def test_stale_read(self):
        """A read sent after a write was acknowledged misses it."""
        self.found([txn(1, 0, 1, [("x", 1)]), txn(2, 2, 3, (), {"x": []})], {"x": [1]})

    def test_write_skew(self):
        """Each of two misses the other's write."""
        self.found([txn(1, 0, 9, [("x", 1)], {"y": []}), txn(2, 0, 9, [("y", 2)], {"x": []})],
                   {"x": [1], "y": [2]})

    def test_lost_update(self):
        """Two read the same list, both then append."""
        self.found([txn(1, 0, 9, [("x", 1)], {"x": []}), txn(2, 0, 9, [("x", 2)], {"x": []})], {"x": [1, 2]})

    def test_long_fork(self):
        """Two readers see two writes in opposite orders."""
        self.found([txn(1, 0, 9, [("x", 1)]), txn(2, 0, 9, [("y", 2)]),
                    txn(3, 0, 9, (), {"x": [1], "y": []}), txn(4, 0, 9, (), {"x": [], "y": [2]})],
                   {"x": [1], "y": [2]})

    def test_dirty_write(self):
        """Two transactions' appends to two keys are in opposite orders."""
        self.found([txn(1, 0, 9, [("x", 1), ("y", 3)]), txn(2, 0, 9, [("x", 2), ("y", 4)])],
                   {"x": [1, 2], "y": [4, 3]})

    def test_aborted_read(self):
        """A refused write is seen."""
        self.found([txn(1, 0, 1, [("x", 1)], outcome=False)], {"x": [1]})

    def test_lost_write(self):
        """An acknowledged write is gone."""
        self.found([txn(1, 0, 1, [("x", 1)])], {})

    def test_partial_write(self):
        """Of a transaction whose reply never came, a part is there."""
        self.found([txn(1, 0, None, [("x", 1), ("y", 2)], outcome=None)], {"x": [1]})
        check([txn(1, 0, None, [("x", 1), ("y", 2)], outcome=None)], {})
        check([txn(1, 0, None, [("x", 1), ("y", 2)], outcome=None)], {"x": [1], "y": [2]})

    def test_forgotten_prefix(self):
        """A read that the final list does not continue."""
        self.found([txn(1, 0, 1, [("x", 1)]), txn(2, 0, 9, [("x", 2)]), txn(3, 0, 9, (), {"x": [2]})], {"x": [1, 2]})


if __name__ == "__main__":
    unittest.main()
