"""The ten anomalies of Hermitage (https://github.com/ept/hermitage, M. Kleppmann) do not occur.

There each is two or three sessions whose statements alternate. Here a transaction is one request, so its
steps are made to alternate with another's by pauses between them, in which the other runs: every try sends
the transactions at the same moment, in any order, and whatever they answer must be what some serial order
gives. Only tries that truly overlapped count: their last runs did in time, or one was run again after it had
lost against the other. The rows lie on one shard, on one of two, and on two. That the judges know each anomaly
is shown by the same steps as a request each, in the order in which they do harm.
"""
import unittest

from clients import Client, Crowd, app_path, seeded, stop
from server import Server, scaled

APP = app_path("hermitage.lua")
OVERLAPS = 15  # tries that have to overlap, of each anomaly at each place
TRIES_MAX = 600  # until as many have
PAUSE_SECONDS = 0.0015  # between two steps at first; longer where it takes long until enough have overlapped
PAUSE_TRIES = 40
ROW = "row:"


def get(key):
    return ["get", key]


def put(key, value):
    return ["set", key, value]


class Anomaly:
    """name; transactions: lists of steps on rows a, b (there: 10 and 20), c, d (not there yet);
    schedule: whose step comes next, as it would take to go wrong; judge(test, replies, end): asserts that a
    serial order explains the results and the rows at the end."""

    def __init__(self, name, transactions, schedule, judge):
        self.name = name
        self.transactions = transactions
        self.schedule = schedule
        self.judge = judge


def g0(test, replies, end):
    test.assertIn(end[:2], ([11, 21], [12, 22]))


def g1a(test, replies, end):
    test.assertEqual(replies[1], [10, 20, 10])
    test.assertEqual(end[:2], [10, 20])


def g1b(test, replies, end):
    test.assertIn(replies[1], ([10, 20, 10], [11, 20, 11]))


def g1c(test, replies, end):
    # One is first and sees the old value, the other sees what the first wrote.
    test.assertIn((replies[0][1], replies[1][1]), ((20, 11), (22, 10)))


def otv(test, replies, end):
    states = ([10, 20], [11, 19], [12, 18])
    test.assertIn(replies[2][:2], states)
    test.assertEqual(replies[2][2:], replies[2][:2][::-1])
    test.assertIn(end[:2], states[1:])


def pmp(test, replies, end):
    test.assertIn(replies[0], ([0, 0], [1, 1]))


def p4(test, replies, end):
    test.assertIn((replies[0][0], replies[1][0], end[0]), ((10, 11, 13), (12, 10, 13)))


def g_single(test, replies, end):
    test.assertIn(replies[0], ([10, 20], [12, 18]))


def g2_item(test, replies, end):
    test.assertIn((replies[0][:2], replies[1][:2]), (([10, 20], [11, 20]), ([10, 21], [10, 20])))


def g2(test, replies, end):
    test.assertIn((replies[0][0], replies[1][0]), ((0, 1), (1, 0)))


def anomalies(a, b, c, d):
    """The ten over these rows, with the steps in the order of Hermitage's sessions, as far as it has one."""
    none = ["count", ROW, 30]
    threes = ["count", ROW, 3]
    return (
        Anomaly("G0", [[put(a, 11), put(b, 21)], [put(a, 12), put(b, 22)]], (0, 1, 1, 0), g0),
        Anomaly("G1a", [[put(a, 101), ["abort"]], [get(a), get(b), get(a)]], (0, 1, 0, 1, 1), g1a),
        Anomaly("G1b", [[put(a, 101), put(b, 20), put(a, 11)], [get(a), get(b), get(a)]], (0, 1, 0, 0, 1, 1), g1b),
        Anomaly("G1c", [[put(a, 11), get(b)], [put(b, 22), get(a)]], (0, 1, 0, 1), g1c),
        Anomaly("OTV", [[put(a, 11), put(b, 19)], [put(a, 12), put(b, 18)], [get(a), get(b), get(b), get(a)]],
                (0, 1, 2, 0, 2, 1, 2, 2), otv),
        Anomaly("PMP", [[none, threes], [get(a), put(c, 30)]], (0, 1, 1, 0), pmp),
        Anomaly("P4", [[get(a), ["bump", a, 1]], [get(a), ["bump", a, 2]]], (0, 1, 0, 1), p4),
        Anomaly("G-single", [[get(a), get(b)], [get(a), get(b), put(a, 12), put(b, 18)]], (0, 1, 1, 1, 1, 0),
                g_single),
        Anomaly("G2-item", [[get(a), get(b), put(a, 11)], [get(a), get(b), put(b, 21)]], (0, 1, 0, 1, 0, 1),
                g2_item),
        Anomaly("G2", [[threes, put(c, 30)], [threes, put(d, 42)]], (0, 1, 0, 1), g2),
    )


def overlap(one, other):
    return one["begin"] < other["finish"] and other["begin"] < one["finish"]


class Hermitage(unittest.TestCase):
    random = seeded()

    def pick_rows(self, server, apart):
        """Four rows, found by trying: all on one shard, or the second and fourth on the other."""
        client = Client(server)
        rows, first = [], ROW + "0"
        for number in range(1, 1000):
            row = ROW + "%d" % number
            before = server.metrics()['concave_txn_commits_total{scope="cross"}']
            client.execute([{"cmd_type": "set", "key": key, "value": 0} for key in (first, row)])
            crosses = server.metrics()['concave_txn_commits_total{scope="cross"}'] > before
            if crosses == (apart and len(rows) % 2 == 1):
                rows.append(row)
            client.execute([{"cmd_type": "delete", "key": key} for key in (first, row)])
            if len(rows) == 4:
                client.close()
                return rows
        self.fail("no such rows in 1000")

    @staticmethod
    def lay_out(client, rows):
        client.execute([{"cmd_type": "set", "key": key, "value": value} for key, value in zip(rows, (10, 20))] +
                       [{"cmd_type": "delete", "key": key} for key in rows[2:]])

    @staticmethod
    def look(client, rows):
        _, end = client.post("/v1/execute", {"commands": [{"cmd_type": "get", "key": key} for key in rows]})
        return end["results"]

    @staticmethod
    def be_quick(crowd, anomaly):
        """Requests on the same connections to the same shards that are soon done: where a route's latest calls took long,
        the next ones start behind each other (shard/ready.h), and hardly overlap."""
        firsts = [steps[0] if steps[0][0] == "count" else get(steps[0][1]) for steps in anomaly.transactions]
        for _ in range(2):
            crowd.burst([("/fn/hermitage", {"steps": [first]}) for first in firsts])

    def one_try(self, client, crowd, rows, anomaly, pause):
        """(overlapped, runs that were lost); (False, 0) if the server gave up on one."""
        self.lay_out(client, rows)
        self.be_quick(crowd, anomaly)
        order = list(range(len(anomaly.transactions)))
        self.random.shuffle(order)
        answers = crowd.burst([("/fn/hermitage", {"steps": anomaly.transactions[index], "pause": pause})
                               for index in order])
        replies = [None] * len(order)
        for index, (status, document) in zip(order, answers):
            if status == 503:
                return False, 0
            aborts = anomaly.transactions[index][-1] == ["abort"]
            self.assertEqual(status, 422 if aborts else 200, document)
            replies[index] = document
        anomaly.judge(self, [reply["results"] for reply in replies], self.look(client, rows))
        lost = sum(reply["runs"] - 1 for reply in replies)
        return lost > 0 or any(overlap(one, other) for one in replies for other in replies if one is not other), lost

    def run_anomaly(self, server, place, rows, anomaly):
        client, crowd = Client(server), Crowd(server, len(anomaly.transactions))
        self.addCleanup(client.close)
        self.addCleanup(crowd.close)
        tries = overlapped = lost = 0
        while overlapped < max(5, scaled(OVERLAPS)):
            self.assertLess(tries, TRIES_MAX, "only %d tries overlapped" % overlapped)
            pause = PAUSE_SECONDS * 2 ** min(4, tries // PAUSE_TRIES)
            overlaps, runs = self.one_try(client, crowd, rows, anomaly, pause)
            tries, overlapped, lost = tries + 1, overlapped + overlaps, lost + runs
        print("\nhermitage: %s | %s | %d tries, %d overlapped, %d runs lost | prevented" % (
            anomaly.name, place, tries, overlapped, lost), flush=True)

    def run_all(self, place, shards, apart):
        with Server(shards=shards, app=APP) as server:
            rows = self.pick_rows(server, apart)
            for anomaly in anomalies(*rows):
                with self.subTest(anomaly=anomaly.name, place=place):
                    self.run_anomaly(server, place, rows, anomaly)
            stop(server)

    def test_prevented_on_one_shard(self):
        """All ten, with one shard."""
        self.run_all("one shard", 1, False)

    def test_prevented_on_one_shard_of_two(self):
        """All ten, with rows that share a shard; ranges ask the other one too."""
        self.run_all("one shard of two", 2, False)

    def test_prevented_on_two_shards(self):
        """All ten, with rows on two shards."""
        self.run_all("two shards", 2, True)

    def without_transactions(self, client, anomaly):
        """The steps as a request each, in the order in which they do harm."""
        results = [[] for _ in anomaly.transactions]
        left = [list(steps) for steps in anomaly.transactions]
        for index in anomaly.schedule:
            step, seen = left[index].pop(0), results[index]
            if step[0] == "abort":  # takes back by hand what it has done
                step = put(anomaly.transactions[index][0][1], 10)
            elif step[0] == "bump":
                step = put(step[1], seen[-1] + step[2])
            status, reply = client.post("/fn/hermitage", {"steps": [step]})
            self.assertEqual(status, 200, reply)
            seen.extend(reply["results"])
        self.assertEqual(left, [[]] * len(left))
        return results

    def test_the_judges_know_each_anomaly(self):
        """Without transactions every one of them happens, and is seen."""
        with Server(shards=1, app=APP) as server:
            client = Client(server)
            self.addCleanup(client.close)
            rows = [ROW + name for name in "abcd"]
            for anomaly in anomalies(*rows):
                with self.subTest(anomaly=anomaly.name):
                    self.lay_out(client, rows)
                    results = self.without_transactions(client, anomaly)
                    with self.assertRaises(AssertionError):
                        anomaly.judge(self, results, self.look(client, rows))


if __name__ == "__main__":
    unittest.main()
