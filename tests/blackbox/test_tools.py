"""concave verify, dump and load: on whole, empty, torn and damaged directories, and beside a running server."""
import json
import os
import shutil
import subprocess
import threading
import unittest

import files
from clients import Client, execute_patiently, kill, seeded, stop
from server import BINARY, Server, clean_env, run, scaled

SEGMENTS = ["--wal-segment-bytes", "1MiB"]
SMALL = SEGMENTS + ["--checkpoint-wal-bytes", "0"]  # a log that no snapshot makes shorter
ODD_VALUES = [True, False, 0, -1, 2**63 - 1, -2**63, 1.0, -0.0, 5e-324, 1.7976931348623157e308, "", "é€😀\u0000\n\"\\/",
              [], {}, [[], {"": None}], {"b": 1, "a": [1.5, None, "x"]}]
ODD_KEYS = ["a", "a\u0000", "a\nb", "é", "\U0001F600", "\uffff", "z" * 1024, " ", "\"\\"]


HEAD = ["last_lsn", "first_run", "keys"]  # what the first line says of the whole dump


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def state(text):
    """A dump's keys as Server.dump gives them, after a look at its form."""
    items = lines(text)
    if items and "key" not in items[0]:
        assert len(items) == 1 and list(items[0]) == HEAD and items[0]["keys"] == 0, items[0]
        return {}
    keys = [item["key"].encode() for item in items]
    assert keys == sorted(set(keys)), "not in key order"
    assert all(list(item) == ["key", "value", "version"] + HEAD * (item is items[0]) for item in items)
    assert not items or items[0]["keys"] == len(items), items[0]
    return {item["key"]: (item["value"], item["version"]) for item in items}


def last_lsn_of(text):
    """What a dump says; 0 for one of a directory that has seen no transaction."""
    return lines(text)[0]["last_lsn"] if text else 0


class ToolCase(unittest.TestCase):
    def setUp(self):
        self.server = Server(options=SMALL)
        self.addCleanup(self.server.remove)
        self.data = self.server.data

    def path(self, name):
        return os.path.join(self.server.folder, name)

    def fill(self, keys=20, rounds=3, size=100):
        """Puts, replacements and deletes; ends the server cleanly."""
        self.server.start()
        for number in range(rounds):
            execute_patiently(self.server, *({"cmd_type": "set", "key": "k%d" % key, "value": [number, "x" * size]}
                                             for key in range(keys)))
            execute_patiently(self.server, {"cmd_type": "delete", "key": "k%d" % number})
        found = self.server.dump()
        stop(self.server)
        return found

    def tool(self, *arguments, code=0, stdin=b""):
        done = run(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stdout[-2000:] + done.stderr[-2000:])
        if code:
            self.assertTrue(done.stderr.startswith("concave: "), done.stderr)
        return done

    def dump(self, data=None):
        return self.tool("dump", data or self.data).stdout

    def load(self, text, data, code=0):
        return self.tool("load", data, *SEGMENTS, stdin=text.encode(), code=code)


class Verify(ToolCase):
    def test_says_what_it_has_read(self):
        self.fill()
        done = self.tool("verify", self.data)
        self.assertRegex(done.stdout, r": fine: 1 segments with 6 records, LSN 1 to 6; 0 snapshots with 0 keys; \d+ bytes")
        self.assertEqual(done.stderr, "")

    def test_changes_nothing(self):
        self.fill()
        before = files.content(self.data)
        self.tool("verify", self.data)
        self.dump()
        self.tool("dump", self.data, "--log")
        self.assertEqual(files.content(self.data), before)

    def test_a_directory_that_is_not_there(self):
        for command in ("verify", "dump"):
            self.assertIn("No such file", self.tool(command, self.path("none"), code=1).stderr)
            self.assertFalse(os.path.exists(self.path("none")))

    def test_an_empty_directory(self):
        os.mkdir(self.data)
        self.tool("verify", self.data)
        self.assertEqual(self.dump(), "")

    def test_a_stray_file_is_reported(self):
        self.fill()
        with open(os.path.join(self.data, "notes.txt"), "wb") as file:
            file.write(b"mine")
        self.assertIn("notes.txt", self.tool("verify", self.data).stderr)

    def test_damage_is_named_with_file_offset_and_lsn(self):
        self.fill()
        segment = files.segments(self.data)[0]
        before, victim = files.records(segment)[1:3]
        end = before.offset + before.bytes  # from where on nothing can be read
        files.flip(segment, victim.offset + files.RECORD_HEADER + 20)
        for command in ("verify", "dump"):
            done = self.tool(command, self.data, code=1)
            for word in (segment, "offset %d" % end, "LSN %d" % victim.lsn, "damaged"):
                self.assertIn(word, done.stderr)
        self.assertIn("not fine", self.tool("verify", self.data, code=1).stdout)
        self.assertEqual(self.tool("dump", self.data, code=1).stdout, "")

    def test_all_damage_is_named(self):
        self.fill(keys=300, rounds=30, size=1000)
        paths = files.segments(self.data)
        self.assertGreater(len(paths), 3)
        for path in paths[:3]:
            files.flip(path, files.records(path)[0].offset + 40)
        errors = self.tool("verify", self.data, code=1).stderr
        for path in paths[:3]:
            self.assertRegex(errors, "%s: offset 4096: .*LSN %d " % (path, files.header(path).first_lsn))

    def test_bytes_behind_the_records_of_an_older_segment(self):
        """A start needs nothing of what is there, so dump does not mind; verify does."""
        found = self.fill(keys=300, rounds=30, size=1000)
        path = files.segments(self.data)[0]
        with open(path, "ab") as file:
            file.write(b"noise")
        self.assertEqual(state(self.dump()), found)
        done = self.tool("verify", self.data, code=1)
        self.assertRegex(done.stderr, r"%s: offset \d+: damaged: behind the last record, LSN %d" % (path, files.records(path)[-1].lsn))
        self.server.start()
        self.assertEqual(self.server.dump(), found)

    def test_a_missing_segment_is_damage(self):
        self.fill(keys=300, rounds=30, size=1000)
        paths = files.segments(self.data)
        os.remove(paths[1])
        self.assertIn(paths[2], self.tool("verify", self.data, code=1).stderr)
        self.tool("dump", self.data, code=1)

    def test_an_unknown_format_version_is_named(self):
        self.fill()
        segment = files.segments(self.data)[0]
        files.overwrite(segment, files.FORMAT_VERSION_AT, b"\x09")
        for command in ("verify", "dump"):
            errors = self.tool(command, self.data, code=1).stderr
            self.assertIn(segment, errors)
            self.assertIn("version 9", errors)

    def test_a_torn_end_is_reported_and_no_failure(self):
        self.fill()
        segment = files.segments(self.data)[0]
        last = files.records(segment)[-1]
        # Of the last record the half; the mark behind it, which vouches for it, was never written.
        files.cut_after(segment, last.lsn)
        files.overwrite(segment, last.offset + last.bytes // 2, bytes(last.bytes // 2))
        done = self.tool("verify", self.data)
        self.assertIn("torn", done.stderr)
        self.assertIn("LSN %d" % last.lsn, done.stderr)
        self.assertEqual(last_lsn_of(self.dump()), last.lsn - 1)

    def test_gaps_behind_one_another(self):
        """A server that may have shown LSNs is killed, and so are starts after it: each leaves a segment without a record,
        whose header declares a gap."""
        self.server.options = SMALL + ["--durability", "manual"]
        expected = {}
        for written in (False, True):
            for start in range(3):
                self.server.start()
                if written and start == 0:
                    expected["k"] = ("v", self.server.put("k", "v"))
                    self.server.request("POST", "/v1/admin/flush")
                kill(self.server)
                self.assertIn(": fine: ", self.tool("verify", self.data).stdout)
                self.assertEqual(state(self.dump()), expected)
        self.assertEqual([files.records(path) for path in files.segments(self.data)[-2:]], [[], []])
        shown = last_lsn_of(self.dump())
        self.server.start()
        self.assertGreater(self.server.put("new", 1), shown)


class Dump(ToolCase):
    def test_shows_the_state_that_the_server_shows(self):
        found = self.fill()
        self.assertEqual(state(self.dump()), found)

    def test_odd_keys_and_values_are_exact(self):
        self.server.start()
        for number, value in enumerate(ODD_VALUES):
            self.server.put("value:%d" % number, value)
        for key in ODD_KEYS:
            self.server.put(key, 1)
        stop(self.server)
        text = self.dump()
        found = state(text)
        for number, value in enumerate(ODD_VALUES):
            self.assertEqual(json.dumps(found["value:%d" % number][0]), json.dumps(value))
        self.assertLessEqual(set(ODD_KEYS), set(found))
        self.assertIn("é€😀", text)

    def test_the_log_is_shown_record_by_record(self):
        self.server.start()
        self.server.put("a", 1)
        self.server.execute({"cmd_type": "set", "key": "b", "value": {"x": []}}, {"cmd_type": "delete", "key": "a"})
        stop(self.server)
        found = lines(self.tool("dump", self.data, "--log").stdout)
        self.assertEqual(found[0], {"lsn": 1, "ops": [{"key": "a", "value": 1}]})
        self.assertEqual(found[1]["lsn"], 2)
        self.assertCountEqual(found[1]["ops"], [{"key": "b", "value": {"x": []}}, {"key": "a", "delete": True}])
        self.assertEqual(len(found), 2)

    def test_a_reader_that_goes_away(self):
        self.fill(keys=800, rounds=2, size=500)
        with subprocess.Popen([BINARY, "dump", self.data], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=clean_env()) as process:
            process.stdout.read(10)
            process.stdout.close()
            self.assertNotEqual(process.wait(timeout=60), 0)
            self.assertNotIn(b"Sanitizer", process.stderr.read())

    def test_an_output_that_is_full(self):
        self.fill()
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "dump", self.data], stdout=full, stderr=subprocess.PIPE, env=clean_env(),
                                  check=False, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space", done.stderr)


class Load(ToolCase):
    def test_a_dump_loaded_elsewhere_dumps_the_same(self):
        found = self.fill()
        text = self.dump()
        other = Server(shards=3, options=SMALL, data=self.path("other"))
        self.addCleanup(other.remove)
        self.load(text, other.data)
        self.assertEqual(self.dump(other.data), text)
        self.tool("verify", other.data)
        other.start()
        self.assertEqual(other.dump(), found)
        stop(other)
        self.assertEqual(self.dump(other.data), text)
        self.tool("verify", other.data)

    def test_the_next_version_goes_on_where_the_dump_ends(self):
        self.fill()
        text = self.dump()
        last_lsn = last_lsn_of(text)
        for durability in ("always", "manual"):
            other = Server(options=SMALL + ["--durability", durability], data=self.path(durability))
            self.addCleanup(other.remove)
            self.load(text, other.data)
            other.start()
            self.assertEqual(other.put("new", 1), last_lsn + 1)
            stop(other)
            self.assertEqual(last_lsn_of(self.dump(other.data)), last_lsn + 1)
            self.tool("verify", other.data)

    def test_odd_keys_and_values_survive(self):
        self.server.start()
        for number, value in enumerate(ODD_VALUES):
            self.server.put("value:%d" % number, value)
        for key in ODD_KEYS:
            self.server.put(key, key)
        stop(self.server)
        text = self.dump()
        self.load(text, self.path("other"))
        self.assertEqual(self.dump(self.path("other")), text)

    def test_an_empty_state(self):
        os.mkdir(self.data)
        self.assertEqual(self.dump(), "")
        self.load("", self.path("empty"))
        self.tool("verify", self.path("empty"))
        self.assertEqual(self.dump(self.path("empty")), "")
        first = Server(data=self.path("empty"))
        self.addCleanup(first.remove)
        first.start()
        self.assertEqual(first.put("a", 1), 1)
        # All keys gone, but versions were used.
        self.server.start()
        self.server.put("a", 1)
        self.server.execute({"cmd_type": "delete", "key": "a"})
        stop(self.server)
        gone = self.dump()
        self.assertEqual(lines(gone), [{"last_lsn": 2, "first_run": False, "keys": 0}])
        self.load(gone, self.path("gone"))
        self.assertEqual(self.dump(self.path("gone")), gone)
        other = Server(data=self.path("gone"))
        self.addCleanup(other.remove)
        other.start()
        self.assertEqual(other.put("a", 1), 3)

    def test_the_first_run_is_not_run_again(self):
        app = self.path("app.lua")
        with open(app, "w", encoding="utf-8") as file:
            file.write("on('first_run', function() incr('first runs') end)\n")
        self.server.app = app
        self.server.start()
        stop(self.server)
        text = self.dump()
        self.assertTrue(lines(text)[0]["first_run"])
        self.assertIn({"first_run": True}, lines(self.tool("dump", self.data, "--log").stdout)[0]["ops"])
        other = Server(app=app, data=self.path("other"))
        self.addCleanup(other.remove)
        self.load(text, other.data)
        self.assertEqual(self.dump(other.data), text)
        other.start()
        self.assertEqual(other.get("first runs")[0], 1)

    def test_only_into_a_new_or_empty_directory(self):
        self.fill()
        text = self.dump()
        for name in ("notes.txt", "wal-next.tmp"):
            target = self.path("holds " + name)
            os.mkdir(target)
            with open(os.path.join(target, name), "wb") as file:
                file.write(b"mine")
            self.load(text, target, code=1)
            self.assertEqual(files.content(target), {name: b"mine"})
        before = files.content(self.data)
        self.load(text, self.data, code=1)
        self.assertEqual(files.content(self.data), before)
        os.mkdir(self.path("empty"))
        self.load(text, self.path("empty"))
        self.load(text, self.path("a/b/c"))

    def test_not_beside_a_server(self):
        self.fill()
        text = self.dump()
        other = Server(data=self.path("other"))
        self.addCleanup(other.remove)
        other.start()
        self.load(text, other.data, code=1)

    def test_lines_without_a_head_in_any_order(self):
        found = self.fill()
        items = [{"key": key, "value": value, "version": version} for key, (value, version) in found.items()]
        items = [item for item in items if item["key"] != "k5"]
        highest = max(item["version"] for item in items)
        expected = {item["key"]: (item["value"], item["version"]) for item in items}
        for name, order in (("as they were", items), ("reversed", items[::-1]), ("shuffled", items[7:] + items[:7])):
            with self.subTest(order=name):
                other = Server(shards=2, data=self.path(name))
                self.addCleanup(other.remove)
                self.load("\n".join(json.dumps(item) for item in order), other.data)
                text = self.dump(other.data)
                self.assertEqual(state(text), expected)
                self.assertEqual([lines(text)[0][name] for name in HEAD], [highest, False, len(items)])
                self.tool("verify", other.data)
                other.start()
                self.assertEqual(other.dump(), expected)
                self.assertEqual(other.put("new", 1), highest + 1)

    def refused(self, number, line, text, good):
        with self.subTest(number=number, text=text[:200]):
            target = self.path("bad %d" % number)
            done = self.load(text, target, code=1)
            self.assertIn("line %d: " % line, done.stderr)
            if os.path.exists(target):
                self.assertLessEqual(set(os.listdir(target)), {"LOCK"})
            self.load(good, target)  # nothing is in the way of a better one
            shutil.rmtree(target)

    def test_errors_name_the_line_and_leave_nothing(self):
        first = '{"key":"a","value":1,"version":3,"last_lsn":9,"first_run":false,"keys":3}\n'
        good = '{"key":"b","value":1,"version":4}\n'
        last = '{"key":"c","value":1,"version":9}\n'
        gone = '{"last_lsn":9,"first_run":false,"keys":0}\n'
        before = first + good
        for number, text in enumerate((before + last, before + last.strip(), gone)):
            self.load(text, self.path("good %d" % number))
        cases = (
            (1, "\n"), (1, "nonsense"), (1, "[]"), (1, "{}"), (1, "\ufeff" + first), (1, first.strip()[:-1]),
            (1, first.replace(':9', ':-9')), (1, first.replace(',"keys":3', "")), (1, first.replace(":9", ":9.0")),
            (1, first.replace(':9', ':0')), (1, first.replace("false", "0")), (1, first.replace('"last_lsn":9,', "")),
            (1, first.replace('"version":3,', "")), (1, first.replace('"key":"a",', "")),
            (1, first.replace("s\":3", "s\":0")),
            (1, first.replace(':9', ':2')), (1, '{"concave_dump":1,"last_lsn":9,"first_run":false,"keys":0}\n'),
            (1, gone.replace("9", "0")), (1, gone.replace("\":0", "\":1")),
            (2, gone + good), (2, gone + gone), (2, gone + "\n"),
            (1, first), (2, before), (2, first + "\n"), (2, first + gone), (2, first + first.replace('"a"', '"b"')),
            (2, first + good[:-3]), (2, first + "\ufeff" + good), (2, first + good.strip() + "x\n"),
            (4, before + last + '{"key":"d","value":1,"version":9}\n'), (4, before + last + "\n"),
            (3, before + good), (3, first + last + good), (3, before + last.replace("9", "10")),
            (3, before + last.replace("9", "0")), (3, before + last.replace("9", "9.0")),
            (3, before + last.replace("9", "9223372036854775808")),
            (3, before + last.replace(':1', ':null')), (3, before + last.replace(':1', ':1e999')),
            (3, before + last.replace(':1', ':9223372036854775808')),
            (3, before + last.replace(':1', ':{"x":1,"x":2}')),
            (3, before + last.replace(':1', ':' + "[" * 65 + "]" * 65)),
            (3, before + last.replace('"c"', '""')), (3, before + last.replace('"c"', '"%s"' % ("c" * 65536))),
            (3, before + last.replace('"c"', '7')), (3, before + last.replace('"c"', '"\\ud800"')),
            (3, before + last.replace('"key"', '"kay"')), (3, before + last.replace('"value":1,', "")),
            (3, before + last.replace(':1', ':1,"more":1')),
            (3, before + last.replace(':1', ':"%s"' % ("v" * (600 << 10)))),
            (3, before + last.replace(':1', ':"%s"' % ("v" * (5 << 20)))))
        for number, (line, text) in enumerate(cases):
            self.refused(number, line, text, before + last)

    def test_errors_in_lines_without_a_head(self):
        first, second = '{"key":"b","value":1,"version":4}\n', '{"key":"a","value":1,"version":9}\n'
        good = first + second
        cases = (
            (2, first + first), (3, good + first), (3, good + second.replace("9", "10")), (3, good + "\n"),
            (2, first + second.strip()[:-1]), (2, first + '{"last_lsn":9,"first_run":false,"keys":0}\n'),
            (2, first + second.replace("9", '9,"last_lsn":9,"first_run":false,"keys":2')),
            (2, first + second.replace("9", '9,"last_lsn":9')), (2, first + second.replace(',"version":9', "")),
            (2, first + second.replace(':1', ':"%s"' % ("v" * (600 << 10)))))
        for number, (line, text) in enumerate(cases):
            self.refused(number, line, text, good)

    def test_a_load_that_is_killed_leaves_nothing_that_serves(self):
        head = '{"key":"a","value":1,"version":3,"last_lsn":9,"first_run":false,"keys":2}\n'
        with subprocess.Popen([BINARY, "load", self.data, *SEGMENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=clean_env()) as process:
            process.stdin.write(head.encode())
            process.stdin.write(b'{"key":"b","value":"' + b"x" * (400 << 10))
            process.stdin.flush()
            while not os.path.exists(self.data) or not files.segments(self.data):
                self.assertIsNone(process.poll())
            locked = run("serve", "--data", self.data, "--addr", "127.0.0.1:0")
            self.assertEqual(locked.returncode, 1)
            self.assertIn("in use", locked.stderr)
            process.kill()
        done = run("serve", "--data", self.data, "--addr", "127.0.0.1:0")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.tool("verify", self.data, code=1)
        self.load(head, self.data, code=1)


class WithASnapshot(ToolCase):
    """A directory that begins with a snapshot (load makes one) and goes on in the log."""

    def setUp(self):
        super().setUp()
        self.fill()
        self.other = Server(shards=2, options=SMALL, data=self.path("other"))
        self.addCleanup(self.other.remove)
        self.load(self.dump(), self.other.data)
        self.snapshot, = files.snapshots(self.other.data)

    def change(self):
        """Replaces, deletes, deletes and makes again, and makes new keys before, between and behind."""
        server = self.other.start()
        server.execute({"cmd_type": "set", "key": "k5", "value": "replaced"}, {"cmd_type": "delete", "key": "k6"},
                       {"cmd_type": "delete", "key": "k7"}, *({"cmd_type": "set", "key": key, "value": [key]}
                                                              for key in ("a", "k55", "z")))
        server.execute({"cmd_type": "set", "key": "k7", "value": "again"}, {"cmd_type": "delete", "key": "z"})
        found = server.dump()
        kill(server)
        return found

    def test_what_the_log_says_since_is_merged_in(self):
        found = self.change()
        text = self.dump(self.other.data)
        self.assertEqual(state(text), found)
        done = self.tool("verify", self.other.data)
        self.assertRegex(done.stdout, r"with 2 records, LSN 7 to 8; 1 snapshots with 19 keys;")
        self.load(text, self.path("third"))
        self.assertEqual(self.dump(self.path("third")), text)

    def test_every_bit_counts(self):
        self.change()
        size = os.path.getsize(self.snapshot)
        for offset in range(0, size, max(1, size // 40)):
            files.flip(self.snapshot, offset)
            with self.subTest(offset=offset):
                for command in ("verify", "dump"):
                    done = self.tool(command, self.other.data, code=1)
                    self.assertIn(self.snapshot, done.stderr)
                self.assertEqual(done.stdout, "")
            files.flip(self.snapshot, offset)
        os.truncate(self.snapshot, size - 1)
        self.tool("verify", self.other.data, code=1)
        self.tool("dump", self.other.data, code=1)

    def test_an_unknown_format_version_is_named(self):
        files.overwrite(self.snapshot, files.FORMAT_VERSION_AT, b"\x09")
        for command in ("verify", "dump"):
            errors = self.tool(command, self.other.data, code=1).stderr
            self.assertIn(self.snapshot, errors)
            self.assertIn("version 9", errors)

    def test_a_snapshot_without_its_log_is_refused(self):
        for path in files.segments(self.other.data):
            os.remove(path)
        self.assertIn("no log segment", self.tool("verify", self.other.data, code=1).stderr)
        self.tool("dump", self.other.data, code=1)

    def test_a_log_without_its_snapshot_is_refused(self):
        os.remove(self.snapshot)
        self.tool("verify", self.other.data, code=1)
        self.tool("dump", self.other.data, code=1)

    def checkpoint(self, server):
        self.assertEqual(server.request("POST", "/v1/admin/checkpoint").status, 200)
        return files.snapshots(server.data)[-1]

    def test_a_damaged_snapshot_still_says_what_the_log_must_hold(self):
        """As at a start: what a newer snapshot has seen is not given up because that snapshot is damaged."""
        server = self.other.start()
        kept = server.put("kept", 1)
        server.put("lost", 1)
        newest = self.checkpoint(server)
        server.put("lost too", 1)
        kill(server)
        size = os.path.getsize(newest)
        files.flip(newest, size - 1)  # its last block; the header tells how far it reaches
        self.assertIn("lost too", state(self.dump(self.other.data)))
        files.cut_after(files.segments(self.other.data)[-1], kept)
        for _ in range(2):
            for arguments in (("dump", self.other.data), ("serve", "--data", self.other.data, "--addr", "127.0.0.1:0")):
                done = run(*arguments)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("LSN %d" % (kept + 1), done.stderr)
            files.overwrite(newest, 0, bytes(100))  # and now only its name does

    def test_a_snapshot_of_another_directory_is_passed_over(self):
        foreign = Server(options=SMALL, data=self.path("foreign"))
        self.addCleanup(foreign.remove)
        foreign.start()
        for number in range(8):
            foreign.put("f%d" % number, number)
        path = self.checkpoint(foreign)
        kill(foreign)
        server = self.other.start()
        for number in range(8):
            server.put("n%d" % number, number)
        found = server.dump()
        kill(server)
        shutil.copy(path, self.other.data)
        self.assertEqual(files.snapshots(self.other.data)[-1], os.path.join(self.other.data, os.path.basename(path)))
        self.assertEqual(state(self.dump(self.other.data)), found)
        self.assertIn("another data directory", self.tool("dump", self.other.data).stderr)
        self.tool("verify", self.other.data, code=1)
        self.other.start()
        self.assertEqual(self.other.dump(), found)

    def test_a_file_that_cannot_be_opened_is_not_taken_for_gone(self):
        os.remove(self.snapshot)
        os.symlink("nowhere", self.snapshot)
        self.tool("verify", self.other.data, code=1)
        self.tool("dump", self.other.data, code=1)


class BesideAServer(ToolCase):
    """The tools read while segments come and records are written: never an error, never a torn state."""

    PAIRS = 20

    def test_while_writing(self):
        self.write_and_look(trimmed=False)

    def test_while_checkpoints_remove_files(self):
        self.server.options = SEGMENTS + ["--checkpoint-wal-bytes", "1MiB"]
        self.write_and_look(trimmed=True)

    def write_and_look(self, trimmed):
        self.server.shards = 2
        self.server.start()
        done = threading.Event()
        failures = []

        def write(index):
            client = Client(self.server)
            random = seeded()
            number = 0
            try:
                while not done.is_set():
                    number += 1
                    pair = random.randrange(self.PAIRS)
                    value = [index, number, "x" * random.choice((10, 1000, 50000))]
                    status, reply = client.post("/v1/execute", {"commands": [
                        {"cmd_type": "set", "key": "%s:%d" % (side, pair), "value": value}
                        for side in ("left", "right")]})
                    assert status in (200, 503), reply  # 503: the next segment is on its way
            except BaseException as failure:  # pylint: disable=broad-except
                failures.append(failure)
            finally:
                client.close()

        threads = [threading.Thread(target=write, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        try:
            self.look(trimmed)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        kill(self.server)
        self.tool("verify", self.data)
        text = self.dump()
        self.server.start()
        self.assertEqual(self.server.dump(), state(text))

    def look(self, trimmed):
        last_lsn = 0
        for _ in range(scaled(12)):
            self.assertIn(": fine:", self.tool("verify", self.data).stdout)
            acknowledged = int(self.server.metrics()["concave_wal_durable_lsn"])
            text = self.dump()
            self.assertGreaterEqual(last_lsn_of(text), max(last_lsn, acknowledged))
            last_lsn = last_lsn_of(text)
            found = state(text)
            for pair in range(self.PAIRS):
                self.assertEqual(found.get("left:%d" % pair), found.get("right:%d" % pair))
            # LSNs without gaps, and no fewer than were there before.
            lsns = [line["lsn"] for line in lines(self.tool("dump", self.data, "--log").stdout)]
            self.assertEqual(lsns, sorted(set(lsns)))
            self.assertGreaterEqual(lsns[-1], last_lsn)
            if not trimmed:
                self.assertEqual(lsns, list(range(1, len(lsns) + 1)))
            self.load(text, self.path("copy"))
            self.assertEqual(self.dump(self.path("copy")), text)
            shutil.rmtree(self.path("copy"))


if __name__ == "__main__":
    unittest.main()
