"""The key-value calls of /v1 against the contract: get, put, execute, range, flush and status, at one
shard and at two."""

import json
import threading
import time
import unittest

from server import (Server, ServerCase, in_threads, percent, scaled)

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
KEY_BYTES_MAX = 1024
VALUE_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 8 << 20


def nested(depth):
    return "[" * depth + "]" * depth


# JSON texts of values, and what they read back as if that is not the same text.
VALUES = [
    ("true", None), ("false", None), ("0", None), ("-1", None), ("[]", None), ("{}", None), ('""', None),
    (str(INT_MAX), None), (str(INT_MIN), None), ("9007199254740993", None),
    ("1.0", None), ("-0.0", None), ("0.1", None), ("1.5", None),
    ("-0", "0"), ("[null,[null]]", None), ('{"a":null}', None),
    (' [ 1 , 2 ] ', "[1,2]"), ('"\\u00e9\\ud83d\\ude00"', '"é😀"'),
    (nested(64), None), ('{"b":1,"a":2}', None),
]

# Bodies' values that are no JSON, or no value that can be kept exactly.
BAD_VALUES = [
    b"", b"nul", b"tru", b"01", b"1.", b".5", b"+1", b"1e", b"0x10", b"NaN", b"Infinity", b"-", b"--1",
    b"9223372036854775808", b"-9223372036854775809", b"1e309", b"-1e309",
    b'"', b'"\x01"', b'"\n"', b'"\t"', b'"\\x"', b'"\\u12"', b'"\\ud800"', b'"\\udc00"',
    b'"\\ud800\\u0041"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b"'a'",
    b"[1,]", b"[,1]", b"[1 2]", b'{"a":1,}', b'{"a"}', b"{a:1}", b'{"a":1,"a":1}',
    b'{"a":1,"\\u0061":2}', b"[1", b'{"a":1', b"1 2", b"// x\n1", nested(65).encode(),
    b'{"a":' * 65 + b"1" + b"}" * 65,
]


class Get:
    def test_a_key_that_was_put_is_found_with_its_version_as_etag(self):
        key = self.key()
        version = self.server.put(key, {"a": [1, 2.5, None, "x"]})
        response = self.server.request("GET", "/v1/get?key=" + percent(key))
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json(),
                         {"key": key, "value": {"a": [1, 2.5, None, "x"]}, "version": version})
        self.assertEqual(response.header("ETag"), '"%d"' % version)

    def test_an_absent_key_is_404(self):
        response = self.server.request("GET", "/v1/get?key=" + percent(self.key()))
        self.assertError(response, 404, "key_not_found")

    def test_a_bad_key_is_400(self):
        for query in ("", "?", "?key", "?key=", "?other=1", "?key=%FF", "?key=%C0%80", "?key=%ED%A0%80",
                      "?key=" + "k" * (KEY_BYTES_MAX + 1), "?key=a&key=b"):
            with self.subTest(query[:20]):
                self.assertError(self.server.request("GET", "/v1/get" + query), 400, "bad_key")

    def test_the_longest_key_is_taken(self):
        key = (self.key() + "é" * KEY_BYTES_MAX).encode()[:KEY_BYTES_MAX].decode("utf-8", "ignore")
        key += "x" * (KEY_BYTES_MAX - len(key.encode()))
        self.assertEqual(len(key.encode()), KEY_BYTES_MAX)
        version = self.server.put(key, 1)
        self.assertEqual(self.server.get(key), (1, version))

    def test_a_plus_in_the_query_is_a_space(self):
        key = self.key() + "a b+c"
        self.server.put(key, 1)
        target = "/v1/get?key=" + percent(self.key()) + "a+b%2Bc"
        self.assertEqual(self.server.request("GET", target).json()["key"], key)

    def test_any_utf8_is_a_key(self):
        for name in ("\x00", "a\x00b", "\n", '"\\', "é", "😀", "/", "&=?#%", "\x7f"):
            with self.subTest(name):
                key = self.key(name)
                version = self.server.put(key, name)
                self.assertEqual(self.server.get(key), (name, version))

    def test_head_is_get_without_a_body(self):
        key = self.key()
        self.server.put(key, 1)
        got = self.server.request("GET", "/v1/get?key=" + percent(key))
        head = self.server.request("HEAD", "/v1/get?key=" + percent(key))
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.header("Content-Length"), str(len(got.body)))
        self.assertEqual(head.header("ETag"), got.header("ETag"))

    def test_if_none_match_spares_the_body(self):
        key = self.key()
        etag = '"%d"' % self.server.put(key, 1)
        target = "/v1/get?key=" + percent(key)
        for tags in (etag, "W/" + etag, '"0", ' + etag, "*"):
            response = self.server.request("GET", target, headers=[("If-None-Match", tags)])
            self.assertEqual((response.status, response.header("ETag")), (304, etag), tags)
        response = self.server.request("GET", target, headers=[("If-None-Match", '"0"')])
        self.assertEqual(response.status, 200)


class Put:
    def put(self, *items):
        return self.server.request("POST", "/v1/put", list(items))

    def assertConflict(self, response, text, key, version):
        self.assertEqual(response.status, 409, response)
        self.assertEqual(response.json(), {"result": "Failure", "error": text, "code": "conflict",
                                           "key": key, "version": version})

    def test_all_keys_get_one_new_version(self):
        keys = [self.key(n) for n in range(50)]
        response = self.put(*({"key": key, "value": key} for key in keys))
        self.assertEqual(response.status, 200)
        reply = response.json()
        self.assertEqual(set(reply), {"result", "version"})
        self.assertEqual(reply["result"], "Success")
        for key in keys:
            self.assertEqual(self.server.get(key), (key, reply["version"]))

    def test_versions_only_rise(self):
        key, versions = self.key(), [0]
        for n in range(20):
            versions.append(self.server.put(key, n, versions[-1]))
        self.assertEqual(versions, sorted(set(versions)))

    def test_an_absent_key_has_version_0(self):
        key = self.key()
        self.assertConflict(self.put({"key": key, "value": 1, "version": 7}),
                            "version incorrect for new key", key, 0)
        self.assertEqual(self.put({"key": key, "value": 1, "version": 0}).status, 200)

    def test_a_key_that_is_there_wants_its_version(self):
        key = self.key()
        version = self.server.put(key, 1)
        for given in ({}, {"version": 0}, {"version": version - 1}, {"version": version + 1}):
            self.assertConflict(self.put({"key": key, "value": 2, **given}),
                                "outdated version", key, version)
        self.assertEqual(self.server.get(key), (1, version))
        self.assertEqual(self.put({"key": key, "value": 2, "version": version}).status, 200)

    def test_a_conflict_writes_nothing(self):
        keys = [self.key(n) for n in range(20)]
        version = self.server.put(keys[13], "old")
        self.assertConflict(self.put(*({"key": key, "value": "new"} for key in keys)),
                            "outdated version", keys[13], version)
        for key in keys:
            self.assertEqual(self.server.get(key), ("old", version) if key == keys[13] else (None, 0))

    def test_a_version_is_not_used_again_after_delete(self):
        key = self.key()
        first = self.server.put(key, 1)
        self.server.execute({"cmd_type": "delete", "key": key})
        self.assertConflict(self.put({"key": key, "value": 2, "version": first}),
                            "version incorrect for new key", key, 0)
        self.assertGreater(self.server.put(key, 2), first)

    def test_bad_bodies_are_400(self):
        key = self.key()
        good = {"key": key, "value": 1}
        cases = [([], "empty_request"), ([good, good], "duplicate_key"), ({}, None), ("x", None),
                 (None, None), ([1], None), ([[]], None), ([{"value": 1}], None), ([{"key": key}], None),
                 ([{"key": "", "value": 1}], "bad_key"), ([{"key": 1, "value": 1}], None),
                 ([{"key": "k" * (KEY_BYTES_MAX + 1), "value": 1}], "bad_key"),
                 ([{"key": key, "value": None}], None)]
        cases += [([{**good, "version": version}], None) for version in (-1, 1.5, "1", True, [])]
        for body, code in cases:
            with self.subTest(body=str(body)[:60]):
                response = self.server.request("POST", "/v1/put", json.dumps(body).encode())
                self.assertError(response, 400, code)
        self.assertEqual(self.server.get(key), (None, 0))

    def test_what_is_no_json_is_400(self):
        key = self.key()
        for value in BAD_VALUES:
            with self.subTest(value[:40]):
                body = b'[{"key":"%s","value":%s}]' % (key.encode(), value)
                self.assertError(self.server.request("POST", "/v1/put", body), 400)
        for body in (b"", b" ", b"[", b'\xef\xbb\xbf[{"key":"a","value":1}]', b"[]x", b"\x00",
                     b'[{"key":"\xff","value":1}]', b'[{"key":"\\ud800","value":1}]',
                     b'[{"key":"a","key":"b","value":1}]', b'[{"key":"a","value":1}],'):
            with self.subTest(body):
                self.assertError(self.server.request("POST", "/v1/put", body), 400)
        self.assertEqual(self.server.get(key), (None, 0))

    def test_values_come_back_as_they_were(self):
        for number, (text, expected) in enumerate(VALUES):
            with self.subTest(text[:40]):
                key = self.key(number)
                body = '[{"key":"%s","value":%s}]' % (key, text)
                response = self.server.request("POST", "/v1/put", body.encode())
                self.assertEqual(response.status, 200, response)
                raw = self.server.request("GET", "/v1/get?key=" + percent(key)).body.decode()
                self.assertIn('"value":%s,' % (expected or text), raw)

    def test_floats_keep_every_bit(self):
        for number, value in enumerate((1e300, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 123456789.125,
                                        1e21, 1e-7, 100000000000000000000.0, -2.5e-10)):
            key = self.key(number)
            self.server.put(key, value)
            got = self.server.get(key)[0]
            self.assertIsInstance(got, float)
            self.assertEqual(got, value)
        body = b'[{"key":"%s","value":[1e2,1E+2,1e-400]}]' % self.key("x").encode()
        self.assertEqual(self.server.request("POST", "/v1/put", body).status, 200)
        got = self.server.get(self.key("x"))[0]
        self.assertEqual([(type(n), n) for n in got], [(float, 100.0), (float, 100.0), (float, 0.0)])

    def test_escaped_control_characters_are_values(self):
        text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028\uffff'
        self.server.put(self.key(), text)
        self.assertEqual(self.server.get(self.key())[0], text)

    def test_unknown_members_and_the_content_type_are_ignored(self):
        response = self.server.request(
            "POST", "/v1/put", [{"key": self.key(), "value": 1, "ttl": [{}], "by": "x", "from": 1}],
            headers=[("Content-Type", "text/plain")])
        self.assertEqual(response.status, 200)

    def test_a_value_over_the_limit_is_413(self):
        key = self.key()
        self.assertError(self.put({"key": key, "value": "x" * (VALUE_BYTES_MAX + 1)}), 413,
                         "value_too_large")
        version = self.server.put(key, "x" * (VALUE_BYTES_MAX - 16))
        self.assertEqual(self.server.get(key), ("x" * (VALUE_BYTES_MAX - 16), version))

    def test_of_many_that_put_at_the_same_version_one_wins(self):
        key, rounds, clients = self.key(), scaled(30), 6
        won = []

        def client(index):
            for _ in range(rounds):
                value, version = self.server.get(key)
                response = self.put({"key": key, "value": (value or 0) + 1, "version": version})
                self.assertIn(response.status, (200, 409))
                if response.status == 200:
                    won.append((version, response.json()["version"], index))
                else:
                    self.assertNotEqual(response.json()["version"], version)

        in_threads(clients, client)
        self.assertEqual(len(set(before for before, _, _ in won)), len(won))
        self.assertEqual(self.server.get(key)[0], len(won))


class Execute:
    def send(self, *commands):
        return self.server.request("POST", "/v1/execute", {"commands": list(commands)})

    def command(self, kind, name="", **members):
        return {"cmd_type": kind, "key": self.key(name), **members}

    def test_each_command_has_its_result_in_order(self):
        self.server.put(self.key("there"), "old")
        results, version = self.server.execute(
            self.command("get", "there"), self.command("get", "none"),
            self.command("set", "s", value={"x": 1.0}), self.command("incr", "n", by=5),
            self.command("incr", "one"), self.command("delete", "there"),
            self.command("delete", "none"), self.command("cas", "c", value=[1]),
            self.command("incr", "f", by=0.5))
        self.assertEqual(results, ["old", None, {"x": 1.0}, 5, 1, True, False, [1], 0.5])
        self.assertEqual(self.server.get(self.key("there")), (None, 0))
        for name, value in (("s", {"x": 1.0}), ("n", 5), ("one", 1), ("c", [1]), ("f", 0.5)):
            self.assertEqual(self.server.get(self.key(name)), (value, version))

    def test_a_command_sees_those_before_it(self):
        results, version = self.server.execute(
            self.command("set", value=1), self.command("incr"), self.command("get"),
            self.command("delete"), self.command("get"), self.command("delete"), self.command("incr"),
            {"cmd_type": "range", "prefix": self.key()})
        self.assertEqual(results[:7], [1, 2, 2, True, None, False, 1])
        self.assertEqual(results[7], [{"key": self.key(), "value": 1, "version": version}])
        self.assertEqual(self.server.get(self.key()), (1, version))

    def test_cmd_type_comes_in_any_case(self):
        self.assertEqual(self.server.execute(
            self.command("SET", value=1), self.command("Get"), self.command("iNCR"),
            self.command("DELETE"), self.command("Cas", "c", value=2),
            {"cmd_type": "RANGE", "prefix": self.key("c"), "limit": 1})[0][:5], [1, 1, 2, True, 2])

    def test_a_range_in_a_batch_merges_what_the_batch_wrote(self):
        old = self.server.execute(*(self.command("set", n, value=n) for n in range(6)))[1]
        results, new = self.server.execute(
            self.command("delete", 1), self.command("set", 3, value="x"), self.command("set", "3a", value=0),
            {"cmd_type": "range", "from": self.key(0), "to": self.key(5)},
            {"cmd_type": "range", "prefix": self.key(), "limit": 2, "reverse": True})

        def item(name, value, version):
            return {"key": self.key(name), "value": value, "version": version}

        self.assertEqual(results[3], [item(0, 0, old), item(2, 2, old), item(3, "x", new),
                                      item("3a", 0, new), item(4, 4, old)])
        self.assertEqual(results[4], [item(5, 5, old), item(4, 4, old)])

    def test_a_read_only_batch_has_the_version_it_depends_on(self):
        version = self.server.put(self.key(), 1)
        results, seen = self.server.execute(self.command("get"))
        self.assertEqual(results, [1])
        self.assertGreaterEqual(seen, version)
        later = self.server.put(self.key("other"), 1)
        self.assertLess(version, later)
        self.assertLessEqual(self.server.execute(self.command("get"))[1], later)

    def test_the_version_of_reads_is_that_of_the_newest_commit_among_them(self):
        versions = [self.server.put(self.key("in:%02d" % n), n) for n in range(20)]
        for n in range(20):
            self.server.put(self.key("out:%02d" % n), n)
        span = {"cmd_type": "range", "prefix": self.key("in:")}
        for commands, version in (
                ([span], versions[19]), ([span, span], versions[19]),
                ([span, self.command("get", "in:03")], versions[19]),
                ([{**span, "to": self.key("in:10")}], versions[9]),
                ([{**span, "limit": 3}], versions[2]),
                ([{**span, "limit": 3, "reverse": True}], versions[19]),
                ([{**span, "to": self.key("in:10"), "limit": 2, "reverse": True}], versions[9]),
                ([self.command("get", "in:04"), self.command("get", "in:07")], versions[7])):
            self.assertEqual(self.server.execute(*commands)[1], version, commands)

    def test_a_cas_that_does_not_match_fails_the_whole_batch(self):
        version = self.server.put(self.key(), 1)
        for name, given, text, current in (
                ("", {"version": version + 1}, "outdated version", version),
                ("", {}, "outdated version", version),
                ("none", {"version": 3}, "version incorrect for new key", 0)):
            response = self.send(self.command("set", "a", value=1),
                                 self.command("cas", name, value=2, **given),
                                 self.command("set", "b", value=1))
            self.assertEqual(response.status, 409, response)
            self.assertEqual(response.json(), {
                "result": "Failure", "error": text, "code": "conflict", "key": self.key(name),
                "version": current})
        self.assertEqual(self.server.get(self.key()), (1, version))
        self.assertEqual(self.server.get(self.key("a")), (None, 0))
        self.assertEqual(self.server.get(self.key("b")), (None, 0))
        self.assertEqual(self.send(self.command("cas", value=2, version=version)).status, 200)

    def test_incr_never_wraps_and_never_changes_type(self):
        self.server.put(self.key("max"), INT_MAX)
        self.server.put(self.key("min"), INT_MIN)
        self.server.put(self.key("big"), 1.7e308)
        for name, by in (("max", 1), ("min", -1), ("max", INT_MAX), ("big", 1.7e308)):
            self.assertError(self.send(self.command("set", "a", value=1), self.command("incr", name, by=by)),
                             400, "overflow")
        self.assertEqual(self.server.get(self.key("a")), (None, 0))
        self.assertEqual(self.server.execute(self.command("incr", "max", by=-1))[0], [INT_MAX - 1])
        results = self.server.execute(self.command("incr", "i", by=2), self.command("incr", "i", by=-2),
                                      self.command("incr", "g", by=1.0))[0]
        self.assertEqual([(type(r), r) for r in results], [(int, 2), (int, 0), (float, 1.0)])

    def test_incr_of_what_is_no_number_is_400(self):
        for number, value in enumerate(("1", [], {}, True, [1])):
            self.server.put(self.key(number), value)
            self.assertError(self.send(self.command("set", "a", value=1), self.command("incr", number)),
                             400, "not_a_number")
        self.assertEqual(self.server.get(self.key("a")), (None, 0))

    def test_bad_batches_are_400_and_write_nothing(self):
        write = self.command("set", "a", value=1)
        cases = [
            ([], "empty_request"), ([write, self.command("sett", value=1)], "unknown_command"),
            ([write, {"key": self.key()}], None), ([write, {"cmd_type": 1, "key": self.key()}], None),
            ([write, 1], None), ([write, []], None), ([write, None], None),
            ([write, {"cmd_type": "get"}], None), ([write, {"cmd_type": "get", "key": ""}], "bad_key"),
            ([write, {"cmd_type": "get", "key": "k" * (KEY_BYTES_MAX + 1)}], "bad_key"),
            ([write, {"cmd_type": "get", "key": 1}], None), ([write, self.command("set")], None),
            ([write, self.command("set", value=None)], None),
            ([write, self.command("cas", value=None)], None),
            ([write, self.command("cas", "a", value=1)], None),
            ([self.command("delete", "a"), self.command("cas", "a", value=1)], None),
            ([self.command("incr", "a"), self.command("cas", "a", value=1)], None),
            ([write, self.command("cas", value=1, version=-1)], None),
            ([write, self.command("cas", value=1, version="1")], None),
            ([write, self.command("incr", by="1")], None), ([write, self.command("incr", by=[])], None),
            ([write, {"cmd_type": "range", "limit": 0}], None),
            ([write, {"cmd_type": "range", "limit": 10001}], None),
            ([write, {"cmd_type": "range", "limit": "x"}], None),
            ([write, {"cmd_type": "range", "from": 1}], None),
            ([write, {"cmd_type": "range", "reverse": []}], None),
        ]
        for commands, code in cases:
            with self.subTest(str(commands)[-80:]):
                self.assertError(self.send(*commands), 400, code)
        self.assertEqual(self.server.get(self.key("a")), (None, 0))
        for body in (b"", b"[]", b"1", b"{", b'{"commands":{}}', b'{"commands":1}', b"{}",
                     b'{"commands":[],"commands":[]}', b'{"commands":[]}x'):
            with self.subTest(body):
                self.assertError(self.server.request("POST", "/v1/execute", body), 400)

    def test_the_words_of_the_contract_are_kept(self):
        self.assertEqual({"error": "unknown command", "code": "unknown_command"}.items()
                         - self.send(self.command("flush")).json().items(), set())
        self.assertEqual({"error": "empty request", "code": "empty_request"}.items()
                         - self.send().json().items(), set())

    def test_a_value_over_the_limit_is_413(self):
        self.assertError(self.send(self.command("set", "a", value=1),
                                   self.command("set", value="x" * (VALUE_BYTES_MAX + 1))),
                         413, "value_too_large")
        self.assertEqual(self.server.get(self.key("a")), (None, 0))

    def test_10000_commands_are_taken_and_no_more(self):
        commands = [self.command("incr", n % 10) for n in range(10000)]
        results, version = self.server.execute(*commands)
        self.assertEqual(results, [n // 10 + 1 for n in range(10000)])
        self.assertEqual(self.server.get(self.key(9)), (1000, version))
        self.assertError(self.send(*commands, self.command("get")), 400)
        self.assertEqual(self.server.get(self.key(9)), (1000, version))

    def test_no_increment_is_lost(self):
        clients, rounds = 6, scaled(60)

        def client(index):
            for n in range(rounds):
                self.server.execute(self.command("incr", "hot"), self.command("incr", (index + n) % 4))

        in_threads(clients, client)
        self.assertEqual(self.server.get(self.key("hot"))[0], clients * rounds)
        self.assertEqual(sum(self.server.get(self.key(n))[0] for n in range(4)), clients * rounds)

    def test_readers_see_whole_transactions(self):
        names, stop = list(range(8)), threading.Event()
        self.server.execute(*(self.command("set", n, value=100) for n in names))

        def work(index):
            if index < 3:
                try:
                    for n in range(scaled(80)):
                        self.server.execute(self.command("incr", (n + index) % 8, by=-1),
                                            self.command("incr", (n * 3 + index + 1) % 8, by=1))
                finally:
                    stop.set()
                return
            while not stop.is_set():
                results = self.server.execute(*(self.command("get", n) for n in names),
                                              {"cmd_type": "range", "prefix": self.key()})[0]
                self.assertEqual(sum(results[:8]), 800)
                self.assertEqual([item["value"] for item in results[8]], results[:8])
                page = self.server.request("GET", "/v1/range?prefix=" + percent(self.key())).json()
                self.assertEqual(sum(item["value"] for item in page["items"]), 800)

        in_threads(5, work)


class Range:
    def page(self, query=""):
        response = self.server.request("GET", "/v1/range?" + query)
        self.assertEqual(response.status, 200, response)
        page = response.json()
        self.assertEqual(set(page), {"items", "next"})
        for item in page["items"]:
            self.assertEqual(set(item), {"key", "value", "version"})
        return [item["key"] for item in page["items"]], page["next"]

    def fill(self, names):
        names = list(names)
        for at in range(0, len(names), 500):
            self.server.execute(*({"cmd_type": "set", "key": self.key(name), "value": name}
                                  for name in names[at:at + 500]))
        return sorted((self.key(name) for name in names), key=str.encode)

    def test_keys_come_in_byte_order_over_all_shards(self):
        names = ["%s%d" % (letter, n) for letter in "aZé😀~ \x01" for n in range(12)]
        keys = self.fill(names)
        self.assertEqual(self.page("prefix=" + percent(self.key())), (keys, None))
        self.assertEqual(self.page("reverse=1&prefix=" + percent(self.key())), (keys[::-1], None))

    def test_items_carry_value_and_version(self):
        version = self.server.put(self.key(), {"a": 1})
        page = self.server.request("GET", "/v1/range?prefix=" + percent(self.key())).json()
        self.assertEqual(page["items"], [{"key": self.key(), "value": {"a": 1}, "version": version}])

    def test_bounds_intersect(self):
        keys = self.fill("abcdefgh")

        def page(**bounds):
            return self.page("&".join(
                "%s=%s" % (name.rstrip("_"), percent(self.key(bound))) for name, bound in bounds.items()))

        self.assertEqual(page(from_="c", to="f"), (keys[2:5], None))
        self.assertEqual(page(prefix="", from_="c"), (keys[2:], None))
        self.assertEqual(page(prefix="", to="c"), (keys[:2], None))
        self.assertEqual(page(prefix="c"), (keys[2:3], None))
        self.assertEqual(page(prefix="c", from_="a", to="h"), (keys[2:3], None))
        for empty in ({"from_": "f", "to": "c"}, {"from_": "c", "to": "c"}, {"prefix": "c", "to": "c"},
                      {"prefix": "c", "from_": "d"}):
            self.assertEqual(page(**empty), ([], None))

    def test_following_next_gives_every_key_once(self):
        keys = self.fill("%04d" % n for n in range(57))
        prefix = "prefix=" + percent(self.key())
        for limit in (1, 7, 19, 56, 57, 58):
            for reverse in (False, True):
                seen, bound, pages = [], "", 0
                while True:
                    items, following = self.page(
                        "%s&limit=%d&reverse=%d%s" % (prefix, limit, reverse, bound))
                    seen, pages = seen + items, pages + 1
                    if following is None:
                        break
                    self.assertEqual(len(items), limit)
                    bound = "&%s=%s" % ("to" if reverse else "from", percent(following))
                self.assertEqual(seen, keys[::-1] if reverse else keys)
                self.assertEqual(pages, -(-57 // limit))

    def test_the_limit_is_1000_if_not_given_and_10000_at_most(self):
        keys = self.fill("%05d" % n for n in range(10001))
        prefix = "prefix=" + percent(self.key())
        self.assertEqual(self.page(prefix), (keys[:1000], keys[1000]))
        self.assertEqual(self.page(prefix + "&limit=10000"), (keys[:10000], keys[10000]))
        for limit in ("0", "10001", "-1", "", "x", "1.5", "1e3", "99999999999999999999"):
            self.assertError(self.server.request("GET", "/v1/range?limit=" + limit), 400)

    def test_bad_parameters_are_400(self):
        for query in ("reverse=2", "reverse=x", "from=%FF", "prefix=%C3", "limit=1&limit=1", "from=a&from=a"):
            with self.subTest(query):
                self.assertError(self.server.request("GET", "/v1/range?" + query), 400)

    def test_a_page_of_large_values_ends_early(self):
        value = "x" * 1000000
        keys = [self.key(n) for n in range(12)]
        for key in keys:
            self.server.put(key, value)
        seen, bound = [], ""
        while True:
            response = self.server.request(
                "GET", "/v1/range?prefix=%s%s" % (percent(self.key()), bound))
            self.assertEqual(response.status, 200)
            self.assertLess(len(response.body), 10 << 20)
            page = response.json()
            self.assertGreater(len(page["items"]), 1)
            seen += [item["key"] for item in page["items"]]
            if page["next"] is None:
                break
            bound = "&from=" + percent(page["next"])
        self.assertEqual(seen, sorted(keys, key=str.encode))

    def test_an_insert_between_pages_does_not_move_the_others(self):
        keys = self.fill("bdfh")
        prefix = "prefix=%s&limit=2" % percent(self.key())
        items, following = self.page(prefix)
        self.assertEqual(items, keys[:2])
        self.fill("ace")
        self.assertEqual(self.page(prefix + "&from=" + percent(following)), (keys[2:], None))


class Admin:
    def test_status_tells_shards_and_lsns(self):
        before = self.server.request("GET", "/v1/admin/status").json()
        version = self.server.put(self.key(), "x" * 100)

        def grown(name):
            return (sum(shard[name] for shard in status["shards"])
                    - sum(shard[name] for shard in before["shards"]))

        # A shard tells its figures at the end of a turn, so they may be a moment behind the reply.
        deadline, status = time.monotonic() + 10, before
        while grown("keys") < 1 and time.monotonic() < deadline:
            response = self.server.request("GET", "/v1/admin/status")
            self.assertEqual(response.status, 200)
            status = response.json()
        self.assertEqual(len(status["shards"]), self.shards)
        self.assertEqual(grown("keys"), 1)
        self.assertGreaterEqual(grown("bytes"), 100)
        self.assertEqual((status["last_lsn"], status["durable_lsn"]), (version, version))
        self.assertEqual(status["routes"], [])

    def test_flush_answers_when_done(self):
        self.server.put(self.key(), 1)
        self.assertEqual(self.server.request("POST", "/v1/admin/flush").status, 200)

    def test_wrong_methods_are_405_with_allow(self):
        for target, allowed in (("/v1/get?key=a", "GET"), ("/v1/range", "GET"), ("/v1/put", "POST"),
                                ("/v1/execute", "POST"), ("/v1/admin/flush", "POST"),
                                ("/v1/admin/status", "GET"), ("/metrics", "GET"), ("/livez", "GET")):
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
                if method == allowed:
                    continue
                with self.subTest(target=target, method=method):
                    response = self.server.request(method, target, b"")
                    self.assertError(response, 405)
                    words = [word.strip() for word in response.header("Allow").split(",")]
                    self.assertIn(allowed, words)
                    self.assertNotIn(method, words)

    def test_unknown_paths_are_404(self):
        for target in ("/", "/v1", "/v1/", "/v1/nothing", "/v1/get/", "/v2/get?key=a", "/V1/get?key=a",
                       "/fn/none", "/v1/admin/none", "/favicon.ico"):
            for method in ("GET", "POST"):
                self.assertError(self.server.request(method, target, b""), 404)


class OneShard(Get, Put, Execute, Range, Admin, ServerCase):
    shards = 1


class TwoShards(Get, Put, Execute, Range, Admin, ServerCase):
    shards = 2


class Restart(unittest.TestCase):
    """What was acknowledged is there after a restart, at any shard count."""

    def fill(self, server):
        for n in range(20):
            server.execute(*({"cmd_type": "set", "key": "k%02d%02d" % (n, m), "value": [n, m]}
                             for m in range(10)))
        server.execute(*({"cmd_type": "delete", "key": "k00%02d" % m} for m in range(5)))
        server.execute(*({"cmd_type": "incr", "key": "n"} for _ in range(100)))

    def test_state_and_versions_survive(self):
        for kill in (False, True):
            with self.subTest(kill=kill), Server(shards=1) as server:
                self.fill(server)
                state = server.dump()
                self.assertEqual(len(state), 196)
                newest = max(version for _, version in state.values())
                for shards in (2, 3, 1):
                    server.restart(shards=shards, kill=kill)
                    self.assertEqual(server.dump(), state)
                    key = "after%d" % shards
                    version = server.put(key, shards)
                    self.assertGreater(version, newest)
                    newest, state[key] = version, (shards, version)

    def test_versions_do_not_come_back_after_a_crash_in_the_lax_modes(self):
        for durability in ("manual", "interval:1000"):
            with self.subTest(durability), Server(options=("--durability", durability)) as server:
                versions = [server.put("k%d" % n, n) for n in range(20)]
                self.assertEqual(server.request("POST", "/v1/admin/flush").status, 200)
                flushed = server.dump()
                versions += [server.put("l%d" % n, n) for n in range(20)]
                server.restart(shards=2, kill=True)
                state = server.dump()
                for key, item in flushed.items():
                    self.assertEqual(state[key], item)
                self.assertGreater(server.put("new", 1), max(versions))

    def test_the_lax_modes_keep_everything_at_a_clean_stop(self):
        for durability in ("manual", "interval:60000"):
            with self.subTest(durability), Server(options=("--durability", durability)) as server:
                self.fill(server)
                state = server.dump()
                server.restart(shards=2)
                self.assertEqual(server.dump(), state)


class Limits(unittest.TestCase):
    def test_the_limits_of_keys_and_values_can_be_set(self):
        options = ("--key-bytes-max", "8", "--value-bytes-max", "100")
        with Server(options=options) as server:
            server.put("12345678", "x" * 90)
            response = server.request("GET", "/v1/get?key=123456789")
            self.assertEqual((response.status, response.json()["code"]), (400, "bad_key"))
            for value, status in (("x" * 101, 413), (["x" * 60, "x" * 60], 413), ("x" * 80, 200)):
                response = server.request("POST", "/v1/put", [{"key": "v", "value": value}])
                self.assertEqual(response.status, status)

    def test_a_transaction_over_half_a_segment_is_413(self):
        options = ("--wal-segment-bytes", str(4 << 20))
        with Server(shards=2, options=options) as server:
            value = "x" * 900000
            items = [{"key": "k%d" % n, "value": value} for n in range(4)]
            response = server.request("POST", "/v1/put", items)
            self.assertEqual(response.status, 413, response)
            self.assertEqual(server.dump(), {})
            self.assertEqual(server.request("POST", "/v1/put", items[:1]).status, 200)

    def test_past_memory_max_writes_are_507_but_deletes_go_on(self):
        with Server(shards=2, options=("--memory-max", str(2 << 20))) as server:
            value, keys = "x" * 100000, []
            for n in range(100):
                response = server.request("POST", "/v1/put", [{"key": "k%d" % n, "value": value}])
                if response.status != 200:
                    break
                keys.append("k%d" % n)
            self.assertEqual((response.status, response.json()["code"]), (507, "memory_full"))
            self.assertGreaterEqual(len(keys), 10)
            self.assertEqual(server.get("k0")[0], value)
            for key in keys[:len(keys) // 2]:
                self.assertEqual(server.execute({"cmd_type": "delete", "key": key})[0], [True])
            server.put("again", value)


if __name__ == "__main__":
    unittest.main()
