"""Concurrent transactions give results that some order of them, one after the other, explains.

Every test runs at 1, 2, 3 and 8 shards. Which keys share a shard is not chosen but drawn: with hundreds of
pairs at each shard count, both kinds are there.
"""
import threading
import time
import unittest

from clients import Client, Crowd, app_path, seeded
from server import ServerCase, scaled

ACCOUNTS = 40
BALANCE = 100
SHARD_COUNTS = (1, 2, 3, 8)
PAIRS = 300  # of each kind of burst
PAIRS_AT_ONCE = 16
PATIENCE_SECONDS = 60  # until each kind of reader has got through, on a machine that has no time for us


class Background:
    """Threads that repeat a step until told to stop; the first exception of any is raised by stop()."""

    def __init__(self):
        self.over = threading.Event()
        self.threads = []
        self.failures = []

    def start(self, step):
        def run():
            try:
                while not self.over.is_set():
                    step()
            except BaseException as failure:  # reported by the test's own thread
                self.failures.append(failure)
                self.over.set()

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


class Serializable:
    """The tests; a class for each shard count is made below."""

    app = app_path("serializable.lua")
    random = seeded()

    def client(self):
        client = Client(self.server)
        self.addCleanup(client.close)
        return client

    def crowd(self, size):
        crowd = Crowd(self.server, size)
        self.addCleanup(crowd.close)
        return crowd

    def open_bank(self):
        client = self.client()
        _, page = client.get("/v1/range?prefix=acc:&limit=10000")
        stale = [{"cmd_type": "delete", "key": item["key"]} for item in page["items"]]
        fresh = [{"cmd_type": "set", "key": f"acc:{n}", "value": BALANCE} for n in range(1, ACCOUNTS + 1)]
        client.execute(stale + fresh)

    def stepper(self, make_request, check):
        """A step for Background on a connection of its own."""
        client = self.client()

        def step():
            status, document = client.call(*make_request())
            check(status, document)

        return step

    def transfers(self):
        def request():
            a, b = self.random.sample(range(1, ACCOUNTS + 1), 2)
            return "POST", "/fn/transfer", {"from": a, "to": b, "amount": self.random.randint(1, 5)}

        return self.stepper(request, lambda status, document: self.assertIn(status, (200, 409, 503), document))

    def watch_totals(self, readers, seconds, movers):
        """Runs movers and readers against each other; every total that is answered must be exact."""
        seen = dict.fromkeys(readers, 0)

        def reader(path, total_of):
            def check(status, document):
                if status == 503:  # retries ran out: allowed, and says nothing
                    return
                self.assertEqual(status, 200, (path, document))
                self.assertEqual(total_of(document), (ACCOUNTS * BALANCE, ACCOUNTS), path)
                seen[path] += 1

            return check

        background = Background()
        for mover in movers:
            background.start(mover)
        for path, (request, total_of) in readers.items():
            background.start(self.stepper(lambda request=request: request, reader(path, total_of)))
        try:
            background.over.wait(seconds)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not all(seen.values()) and time.monotonic() < deadline:
                if background.over.wait(0.05):
                    break
        finally:
            background.stop()
        for path, count in seen.items():
            self.assertGreater(count, 0, f"{path} never got through")

    @staticmethod
    def route_reader(path):
        return (("GET", path), lambda document: (document["total"], document["accounts"]))

    def test_totals_beside_transfers_are_exact(self):
        """A total read while transfers run is the sum of all money, whichever way it is read."""
        self.open_bank()

        def of_items(items):
            return sum(item["value"] for item in items), len(items)

        batch = {"commands": [{"cmd_type": "range", "prefix": "acc:", "limit": 10000}]}
        points = {"commands": [{"cmd_type": "get", "key": f"acc:{n}"} for n in range(1, ACCOUNTS + 1)]}
        readers = {path: self.route_reader(path) for path in
                   ("/fn/total/walk", "/fn/total/pieces", f"/fn/total/points?accounts={ACCOUNTS}")}
        readers["/v1/range"] = (("GET", "/v1/range?prefix=acc:&limit=10000"), lambda d: of_items(d["items"]))
        readers["execute range"] = (("POST", "/v1/execute", batch), lambda d: of_items(d["results"][0]))
        readers["execute get"] = (("POST", "/v1/execute", points), lambda d: (sum(d["results"]), len(d["results"])))
        self.watch_totals(readers, scaled(20) / 10, [self.transfers() for _ in range(6)])

    def test_totals_beside_moving_keys_are_exact(self):
        """A walk meets an account exactly once although it moves from key to key meanwhile."""
        self.open_bank()
        where = {n: str(n) for n in range(1, ACCOUNTS + 1)}

        def mover(mine):
            client = self.client()

            def step():
                n = self.random.choice(mine)
                to = f"{self.random.randrange(1000)}-{n}"
                if to == where[n]:
                    return
                status, document = client.post("/fn/rename", {"from": where[n], "to": to})
                self.assertIn(status, (200, 503), document)
                if status == 200:
                    where[n] = to

            return step

        readers = {path: self.route_reader(path) for path in ("/fn/total/walk", "/fn/total/pieces")}
        numbers = list(where)
        self.watch_totals(readers, scaled(15) / 10, [mover(numbers[i::4]) for i in range(4)])

    def burst_pairs(self, requests_of, judge):
        """Sends the requests of several pairs at once, and has each pair's replies judged."""
        crowd = self.crowd(PAIRS_AT_ONCE * len(requests_of("")))
        for start in range(0, scaled(PAIRS), PAIRS_AT_ONCE):
            pairs = [f"{start + i}" for i in range(PAIRS_AT_ONCE)]
            requests = [(pair, request) for pair in pairs for request in requests_of(pair)]
            self.random.shuffle(requests)
            replies = crowd.burst([request for _, request in requests])
            for pair in pairs:
                judge(pair, [(request, reply) for (of, request), reply in zip(requests, replies) if of == pair])

    def settle(self, path, document):
        """Asks again while the server says that it ran out of retries."""
        client = self.client()
        deadline = time.monotonic() + 30
        status, reply = client.post(path, document)
        while status == 503 and time.monotonic() < deadline:
            status, reply = client.post(path, document)
        return status, reply

    def exactly_one(self, pair, answers):
        """Of the requests of a pair one succeeds and the others are told no."""
        statuses = []
        for (path, document), (status, reply) in answers:
            if status == 503:
                status, reply = self.settle(path, document)
            self.assertIn(status, (200, 409), reply)
            statuses.append(status)
        self.assertEqual(statuses.count(200), 1, (pair, statuses))

    def test_no_write_skew(self):
        """Of two on call who each leave only if the other stays, one stays."""
        client = self.client()
        client.execute([{"cmd_type": "set", "key": f"call:{n}:{side}", "value": True}
                         for n in range(scaled(PAIRS) + PAIRS_AT_ONCE) for side in "ab"])
        self.burst_pairs(lambda pair: [("/fn/leave", {"pair": pair, "side": side}) for side in "ab"],
                         self.exactly_one)
        for n in range(scaled(PAIRS)):
            sides = [client.get(f"/v1/get?key=call:{n}:{side}")[1]["value"] for side in "ab"]
            self.assertEqual(sorted(sides), [False, True], n)

    def test_no_write_skew_on_absent_keys(self):
        """Of two who each take a desk if the other has not, one gets it, although neither key exists."""
        self.burst_pairs(lambda pair: [("/fn/claim/points", {"room": pair, "who": who}) for who in "ab"],
                         self.exactly_one)

    def test_no_phantom(self):
        """Of three who each claim a room that they find empty, one gets it."""
        self.burst_pairs(lambda pair: [("/fn/claim", {"room": pair, "who": who}) for who in "abc"],
                         self.exactly_one)

    def test_no_long_fork(self):
        """Two readers never see two independent writes in opposite orders."""
        def requests(pair):
            x, y = f"fork:{pair}:x", f"fork:{pair}:y"
            return [("/fn/write", {"key": x}), ("/fn/write", {"key": y}),
                    ("/fn/look", {"first": x, "second": y}), ("/fn/look", {"first": y, "second": x})]

        def judge(pair, answers):
            looks = []
            for (path, document), (status, reply) in answers:
                self.assertIn(status, (200, 503), reply)
                if path == "/fn/look" and status == 200:
                    looks.append({document["first"][-1]: reply["first"], document["second"][-1]: reply["second"]})
            self.assertNotIn([{"x": True, "y": False}, {"x": False, "y": True}],
                             (looks, looks[::-1]), pair)

        self.burst_pairs(requests, judge)

    def test_no_lost_update(self):
        """Concurrent read-then-write increments all count, and each gets a sum of its own."""
        crowd = self.crowd(16)
        key, sums = "sum", []
        for _ in range(scaled(40)):
            for status, reply in crowd.burst([("/fn/add", {"key": key})] * 16):
                self.assertIn(status, (200, 503), reply)
                if status == 200:
                    sums.append(reply["sum"])
        self.assertEqual(sorted(sums), list(range(1, len(sums) + 1)))
        client = self.client()
        for name in (key, f"{key}:copy"):
            self.assertEqual(client.get(f"/v1/get?key={name}")[1]["value"], len(sums))

    def test_an_acknowledged_write_is_seen_by_every_later_read(self):
        """Whoever asks after a write was acknowledged sees it or a later one, on any connection."""
        key = "fresh:0"
        writer, readers = self.client(), [self.client() for _ in range(8)]
        last = 0
        for n in range(1, scaled(200) + 1):
            status, document = writer.post("/v1/execute", {"commands": [
                {"cmd_type": "set", "key": f"{key}:{i}", "value": n} for i in range(3)]})
            self.assertEqual(status, 200, document)
            self.assertGreater(document["version"], last)
            last = document["version"]
            for i, client in enumerate(readers):
                client.send("GET", f"/v1/get?key={key}:{i % 3}")
            for client in readers:
                status, document = client.receive()
                self.assertEqual((status, document["value"], document["version"]), (200, n, last))


for count in SHARD_COUNTS:
    name = f"Shards{count}"
    globals()[name] = type(name, (Serializable, ServerCase), {"shards": count})

if __name__ == "__main__":
    unittest.main()
