"""/metrics: the text format 0.0.4 to the letter, the names of the contract, and numbers that count."""

import math
import os
import re
import time
import unittest

from server import ServerCase, percent

NAMES = {
    "concave_http_requests_total": "counter", "concave_http_request_duration_seconds": "histogram",
    "concave_http_connections": "gauge", "concave_txn_commits_total": "counter",
    "concave_txn_conflicts_total": "counter", "concave_txn_retries_total": "counter",
    "concave_txn_aborts_total": "counter", "concave_wal_records_total": "counter",
    "concave_wal_bytes_total": "counter", "concave_wal_fsync_duration_seconds": "histogram",
    "concave_wal_batch_records": "histogram", "concave_wal_durable_lsn": "gauge",
    "concave_wal_last_lsn": "gauge", "concave_shard_keys": "gauge", "concave_shard_bytes": "gauge",
    "concave_shard_mailbox_depth": "gauge", "concave_shard_messages_total": "counter",
    "concave_build_info": "gauge", "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge", "process_start_time_seconds": "gauge",
    "process_open_fds": "gauge",
}

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if not match:
            raise AssertionError("bad labels %r" % text)
        if match.group(1) in labels:
            raise AssertionError("label twice in %r" % text)
        labels[match.group(1)] = match.group(2)
        at = match.end()
    return labels


def parse(text):
    """{family: (type, {(sample name, labels): number})}; raises on anything the format forbids."""
    if not text.endswith("\n"):
        raise AssertionError("no line feed at the end")
    families, current, helped = {}, None, set()
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            if name in helped:
                raise AssertionError("HELP twice: " + name)
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            if current in families or kind not in ("counter", "gauge", "histogram", "summary", "untyped"):
                raise AssertionError("bad line " + line)
            families[current] = (kind, {})
        else:
            match = _SAMPLE.match(line)
            if not match:
                raise AssertionError("bad line %r" % line)
            name, labels = match.group(1), parse_labels(match.group(2) or "")
            number = float(match.group(3))
            if current is None:
                raise AssertionError("sample before its TYPE: " + line)
            kind, samples = families[current]
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            if name not in [current + suffix for suffix in suffixes]:
                raise AssertionError("%s among the samples of %s" % (name, current))
            key = (name, tuple(sorted(labels.items())))
            if key in samples:
                raise AssertionError("series twice: " + line)
            samples[key] = number
    if helped != set(families):
        raise AssertionError("HELP and TYPE differ: %r" % (helped ^ set(families)))
    return families


class Metrics(ServerCase):
    shards = 2
    app = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps", "kill.lua")

    def read(self):
        response = self.server.request("GET", "/metrics")
        self.assertEqual(response.status, 200)
        self.assertRegex(response.header("Content-Type"), r"\Atext/plain; version=0\.0\.4")
        return parse(response.body.decode("utf-8"))

    def number(self, families, name, **labels):
        """The sum of the series of a name that carry these labels."""
        family = re.sub(r"_(bucket|sum|count)\Z", "", name) if name not in families else name
        return sum(number for (sample, its), number in families[family][1].items()
                   if sample == name and set(labels.items()) <= set(its))

    def test_the_names_of_the_contract_are_there_with_their_types(self):
        self.server.put(self.key(), 1)
        families = self.read()
        for name, kind in NAMES.items():
            self.assertIn(name, families)
            self.assertEqual(families[name][0], kind, name)
        for name, (kind, _) in families.items():
            self.assertTrue(name.startswith(("concave_", "process_")), name)
            self.assertEqual(name.endswith("_total"), kind == "counter", name)

    def test_numbers_are_sane(self):
        for kind, samples in self.read().values():
            for (name, labels), number in samples.items():
                self.assertFalse(math.isnan(number), name)
                if kind != "gauge":
                    self.assertGreaterEqual(number, 0, (name, labels))

    def test_histograms_add_up(self):
        self.server.put(self.key(), 1)
        for family, (kind, samples) in self.read().items():
            if kind != "histogram":
                continue
            series = {}
            for (name, labels), number in samples.items():
                rest = tuple(label for label in labels if label[0] != "le")
                series.setdefault(rest, {})[
                    dict(labels).get("le", name[len(family):])] = number
            self.assertTrue(series, family)
            for buckets in series.values():
                count, total = buckets.pop("_count"), buckets.pop("_sum")
                bounds = sorted(buckets, key=float)
                self.assertEqual(bounds[-1], "+Inf", family)
                numbers = [buckets[bound] for bound in bounds]
                self.assertEqual(numbers, sorted(numbers), family)
                self.assertEqual(numbers[-1], count, family)
                self.assertGreaterEqual(total, 0, family)
                if count == 0:
                    self.assertEqual(total, 0, family)

    def test_requests_are_counted_by_route_and_code(self):
        self.server.put(self.key(), 1)
        before = self.read()
        for _ in range(7):
            self.server.request("GET", "/v1/get?key=" + percent(self.key()))
        for _ in range(3):
            self.server.request("GET", "/v1/get?key=" + percent(self.key("none")))
        self.server.request("GET", "/a/path/nobody/knows")
        after = self.read()

        def grown(name, **labels):
            return self.number(after, name, **labels) - self.number(before, name, **labels)

        requests = "concave_http_requests_total"
        self.assertEqual(grown(requests, route="/v1/get", code="200"), 7)
        self.assertEqual(grown(requests, route="/v1/get", code="404"), 3)
        self.assertEqual(grown("concave_http_request_duration_seconds_count", route="/v1/get"), 10)
        self.assertNotIn("nobody", str(after))

    def test_a_refused_method_is_counted_under_the_pattern(self):
        before = self.read()
        self.assertEqual(self.server.request("DELETE", "/fn/transfer").status, 405)
        self.assertEqual(self.server.request("DELETE", "/v1/get").status, 405)
        after = self.read()
        for route in ("/fn/transfer", "/v1/get"):
            labels = {"route": route, "code": "405"}
            self.assertEqual(self.number(after, "concave_http_requests_total", **labels)
                             - self.number(before, "concave_http_requests_total", **labels), 1)

    def test_commits_and_the_log_are_counted(self):
        before = self.read()
        version = 0
        for n in range(5):
            version = self.server.put(self.key(n), n)
        after = self.read()
        self.assertGreaterEqual(self.number(after, "concave_txn_commits_total")
                                - self.number(before, "concave_txn_commits_total"), 5)
        self.assertEqual(self.number(after, "concave_wal_records_total")
                         - self.number(before, "concave_wal_records_total"), 5)
        self.assertGreater(self.number(after, "concave_wal_bytes_total"),
                           self.number(before, "concave_wal_bytes_total"))
        self.assertGreaterEqual(self.number(after, "concave_wal_fsync_duration_seconds_count"),
                                self.number(before, "concave_wal_fsync_duration_seconds_count") + 5)
        self.assertEqual(self.number(after, "concave_wal_durable_lsn"), version)
        self.assertEqual(self.number(after, "concave_wal_last_lsn"), version)
        scopes = {dict(labels)["scope"] for _, labels in after["concave_txn_commits_total"][1]}
        self.assertLessEqual(scopes, {"local", "remote", "cross"})

    def test_scopes_are_as_the_connection_sees_them(self):
        commits = "concave_txn_commits_total"
        before = self.read()
        with self.server.connect() as connection:
            for n in range(40):
                body = [{"key": self.key(n), "value": n}]
                self.assertEqual(connection.request("POST", "/v1/put", body).status, 200)
        middle = self.read()
        self.server.execute(*({"cmd_type": "get", "key": self.key(n)} for n in range(40)))
        after = self.read()
        grown = {scope: self.number(middle, commits, scope=scope) - self.number(before, commits, scope=scope)
                 for scope in ("local", "remote", "cross")}
        self.assertGreater(grown["local"], 0)
        self.assertGreater(grown["remote"], 0)
        self.assertEqual(grown["local"] + grown["remote"], 40)
        self.assertEqual(grown["cross"], 0)
        self.assertEqual(self.number(after, commits, scope="cross")
                         - self.number(middle, commits, scope="cross"), 1)

    def test_keys_and_bytes_are_counted_by_shard(self):
        before = self.read()
        self.server.execute(*({"cmd_type": "set", "key": self.key("%03d" % n), "value": "x" * 90}
                              for n in range(100)))
        # A shard tells its figures at the end of a turn, so they may be a moment behind the reply.
        after, deadline = self.read(), time.monotonic() + 10
        while (self.number(after, "concave_shard_keys")
               - self.number(before, "concave_shard_keys") != 100 and time.monotonic() < deadline):
            after = self.read()
        self.assertEqual({dict(labels)["shard"] for _, labels in after["concave_shard_keys"][1]},
                         {"0", "1"})
        self.assertEqual(self.number(after, "concave_shard_keys")
                         - self.number(before, "concave_shard_keys"), 100)
        self.assertGreaterEqual(self.number(after, "concave_shard_bytes")
                                - self.number(before, "concave_shard_bytes"), 9000)

    def test_the_mailbox_of_an_idle_shard_is_empty(self):
        depth = "concave_shard_mailbox_depth"
        self.server.execute(*({"cmd_type": "set", "key": self.key(n), "value": n} for n in range(40)))
        families, deadline = self.read(), time.monotonic() + 10
        while self.number(families, depth) != 0 and time.monotonic() < deadline:
            families = self.read()
        self.assertEqual({dict(labels)["shard"]: number for (_, labels), number
                          in families[depth][1].items()}, {"0": 0, "1": 0})

    def test_build_info_names_version_and_shards(self):
        (_, labels), = self.read()["concave_build_info"][1]
        self.assertEqual(dict(labels)["shards"], "2")
        self.assertRegex(dict(labels)["version"], r"\A\d+\.\d+\.\d+")

    def test_connections_are_counted(self):
        with self.server.connect() as connection:
            self.assertEqual(connection.request("GET", "/livez").status, 200)
            self.assertGreaterEqual(self.number(self.read(), "concave_http_connections"), 2)


if __name__ == "__main__":
    unittest.main()
