"""What the log promises, seen from outside: the three modes, what a torn or damaged log does to the next start,
and what a server does with files that it did not write."""
import os
import time
import unittest

import files
from clients import Client, execute_patiently, kill, stop
from server import Server, run, scaled

SKIP = 1 << 32  # LSNs that an unclean stop leaves out where replies did not wait
SMALL = ["--wal-segment-bytes", "1MiB", "--checkpoint-wal-bytes", "0"]


class DurabilityCase(unittest.TestCase):
    def serve(self, *options, **more):
        server = Server(options=SMALL + list(options), **more)
        self.addCleanup(server.remove)
        server.start()
        return server

    def refused(self, server, *words):
        """The server does not start, and says why."""
        done = run("serve", "--data", server.data, "--addr", "127.0.0.1:0", *SMALL)
        self.assertEqual(done.returncode, 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def verify(self, server, code=0):
        done = run("verify", server.data)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    @staticmethod
    def flush(server):
        response = server.request("POST", "/v1/admin/flush")
        assert response.status == 200, response
        return response.json()["durable_lsn"]


class Modes(DurabilityCase):
    def test_always_loses_nothing_and_leaves_no_gap(self):
        server = self.serve(shards=2)
        versions = [server.put("k%d" % number, number) for number in range(50)]
        kill(server)
        self.verify(server)
        server.start()
        self.assertEqual([server.get("k%d" % number) for number in range(50)], list(zip(range(50), versions)))
        self.assertEqual(server.put("next", 1), 51)
        stop(server)
        self.assertEqual([files.header(path).first_lsn for path in files.segments(server.data)][0], 1)
        self.assertFalse(any(files.header(path).relaxed for path in files.segments(server.data)))

    def test_always_has_every_reply_on_disk(self):
        """The durable LSN has reached a write before its reply is there."""
        server = self.serve(shards=2)
        for number in range(20):
            version = server.put("k%d" % number, 1)
            self.assertGreaterEqual(server.metrics()["concave_wal_durable_lsn"], version)

    def assertSkipped(self, server, newest):
        """The next LSN is far behind what a client may have seen, and the log declares the gap."""
        version = server.put("after", 1)
        self.assertGreater(version, newest + SKIP // 2)
        self.verify(server)
        gaps = [header for header in map(files.header, files.segments(server.data))
                if header.before_lsn != header.first_lsn - 1]
        self.assertEqual(len(gaps), 1)
        self.assertGreaterEqual(gaps[0].first_lsn - gaps[0].before_lsn, SKIP)
        return version

    def test_after_an_unclean_stop_versions_do_not_repeat(self):
        for mode in ("manual", "interval:60000", "interval:1"):
            with self.subTest(mode):
                server = self.serve("--durability", mode, shards=2)
                newest = max(server.put("k%d" % number, number) for number in range(20))
                kill(server)
                server.start()
                self.assertSkipped(server, newest)
                stop(server)

    def test_after_a_clean_stop_there_is_no_gap(self):
        for mode in ("manual", "interval:60000"):
            with self.subTest(mode):
                server = self.serve("--durability", mode)
                self.assertEqual(server.put("a", 1), 1)
                stop(server)
                self.verify(server)
                server.start()
                self.assertEqual(server.get("a"), (1, 1))
                self.assertEqual(server.put("b", 1), 2)
                stop(server)

    def test_what_was_flushed_survives_the_loss_of_the_rest(self):
        """manual, and a power failure: all that was written behind the flush is gone from the disk."""
        server = self.serve("--durability", "manual", shards=2)
        for number in range(10):
            server.put("flushed%d" % number, number)
        flushed = self.flush(server)
        self.assertEqual(flushed, 10)
        newest = max(server.put("lost%d" % number, number) for number in range(10))
        kill(server)
        files.cut_after(files.segments(server.data)[-1], flushed)
        self.verify(server)
        server.start()
        self.assertEqual(sorted(server.dump()), sorted("flushed%d" % number for number in range(10)))
        version = self.assertSkipped(server, newest)
        # The other modes go on from there, and a second such stop skips again.
        kill(server)
        server.options = SMALL + ["--durability", "always"]
        server.start()
        self.assertGreater(server.put("always", 1), version + SKIP // 2)
        kill(server)
        server.start()
        self.assertEqual(server.get("after"), (1, version))
        self.verify(server)

    def test_an_interval_syncs_by_itself(self):
        server = self.serve("--durability", "interval:20")
        version = server.put("a", 1)
        deadline = time.monotonic() + 30
        while server.metrics()["concave_wal_durable_lsn"] < version:
            self.assertLess(time.monotonic(), deadline)
        kill(server)
        files.cut_after(files.segments(server.data)[-1], version)
        server.start()
        self.assertEqual(server.get("a"), (1, version))

    def test_manual_syncs_only_when_told(self):
        server = self.serve("--durability", "manual")
        for number in range(20):
            server.put("k%d" % number, 1)
        time.sleep(0.2)  # nothing to wait for: that nothing happens is the point
        self.assertEqual(server.metrics()["concave_wal_durable_lsn"], 0)
        self.assertEqual(self.flush(server), 20)
        self.assertEqual(server.metrics()["concave_wal_durable_lsn"], 20)

    def test_a_batch_delay_gathers_writes(self):
        """Writes one after the other within a delay share a sync: there is one a delay at most."""
        delay_seconds = 0.05
        server = self.serve("--wal-batch-delay-us", "%d" % (delay_seconds * 1e6), shards=2)
        clients = [Client(server) for _ in range(16)]
        for number in range(max(3, scaled(10))):
            before, begun = server.metrics(), time.monotonic()
            for index, client in enumerate(clients):
                client.send("POST", "/v1/put", [{"key": "%d:%d" % (index, number), "value": 1}])
                time.sleep(0.001)
            for client in clients:
                status, reply = client.receive()
                self.assertEqual(status, 200, reply)
            seconds, after = time.monotonic() - begun, server.metrics()

            def grown(name, before=before, after=after):
                return after[name] - before[name]

            self.assertEqual(grown("concave_wal_records_total"), len(clients))
            self.assertLessEqual(grown("concave_wal_fsync_duration_seconds_count"), 1 + seconds / delay_seconds)
        for client in clients:
            client.close()
        stop(server)

    def test_modes_may_change_between_runs(self):
        server = self.serve()
        expected = {}
        for run_number, mode in enumerate(("always", "manual", "always", "interval:10", "manual", "always")):
            stop(server)
            server.options = SMALL + ["--durability", mode]
            server.shards = run_number % 3 + 1
            server.start()
            self.assertEqual(server.dump(), expected)
            version = server.put("run%d" % run_number, mode)
            self.assertEqual(version, run_number + 1)
            expected["run%d" % run_number] = (mode, version)
            self.verify(server)


class Damage(DurabilityCase):
    def filled(self, segments=1):
        server = self.serve()
        number = 0
        while number < 10 or len(files.segments(server.data)) < segments:
            execute_patiently(server, {"cmd_type": "set", "key": "k%d" % number, "value": "x" * 20000})
            number += 1
        found = server.dump()
        return server, found

    def test_a_torn_end_is_cut_and_reported(self):
        server, found = self.filled()
        kill(server)
        segment = files.segments(server.data)[-1]
        last = files.records(segment)[-1]
        for keep in (0, 8, 31, 33, last.bytes // 2, last.bytes - 20):
            with self.subTest(keep=keep):
                before = files.content(server.data)
                files.overwrite(segment, last.offset + keep, bytes(last.bytes - keep))
                if keep:
                    errors = self.verify(server).stderr
                    self.assertIn("torn", errors)
                    self.assertIn("LSN %d" % last.lsn, errors)
                server.start()
                self.assertEqual(server.dump(), {key: item for key, item in found.items() if item[1] != last.lsn})
                # Its LSN was never acknowledged, so it is the next one's.
                self.assertEqual(server.put("new", 1), last.lsn)
                if keep:
                    self.assertIn("ends torn: LSN %d" % last.lsn, server.stderr())
                kill(server)
                self.assertNotIn("torn", self.verify(server).stderr)
                for name, content in before.items():  # as it was
                    with open(os.path.join(server.data, name), "wb") as file:
                        file.write(content)
                for path in files.segments(server.data):
                    if os.path.basename(path) not in before:
                        os.remove(path)

    def test_damage_is_refused_with_file_offset_and_lsn(self):
        server, found = self.filled(segments=3)
        stop(server)
        paths = files.segments(server.data)
        for path in paths[:2]:
            end = files.BLOCK
            for record in files.records(path)[:3]:
                with self.subTest(path=path, lsn=record.lsn):
                    words = (path, "offset %d" % end, "LSN %d" % record.lsn, "damaged")
                    files.flip(path, record.offset + record.bytes // 2)
                    self.refused(server, *words)
                    for word in words:
                        self.assertIn(word, self.verify(server, code=1).stderr)
                    files.flip(path, record.offset + record.bytes // 2)
                end = record.offset + record.bytes
        server.start()
        self.assertEqual(server.dump(), found)

    def test_refusing_changes_nothing(self):
        server, _ = self.filled(segments=2)
        stop(server)
        path = files.segments(server.data)[0]
        files.flip(path, files.records(path)[1].offset + 100)
        before = files.content(server.data)
        self.refused(server, path)
        self.assertEqual(files.content(server.data), before)

    def test_missing_segments_are_refused(self):
        server, _ = self.filled(segments=3)
        stop(server)
        for path in files.segments(server.data)[:2]:
            os.rename(path, path + ".away")
            self.refused(server, "damaged")
            self.verify(server, code=1)
            os.rename(path + ".away", path)
        server.start()

    def test_a_renamed_segment_is_refused(self):
        server, _ = self.filled()
        stop(server)
        path = files.segments(server.data)[0]
        os.rename(path, path.replace("00001.log", "00002.log"))
        self.refused(server, "damaged")
        self.verify(server, code=1)

    def test_a_segment_of_another_directory_is_refused(self):
        server, _ = self.filled(segments=2)
        other, _ = self.filled(segments=2)
        stop(server)
        stop(other)
        os.replace(files.segments(other.data)[0], files.segments(server.data)[0])
        self.refused(server)
        self.verify(server, code=1)


class Files(DurabilityCase):
    def test_an_unknown_format_version_is_refused_by_name(self):
        server = self.serve()
        server.put("a", 1)
        stop(server)
        path = files.segments(server.data)[0]
        files.overwrite(path, files.FORMAT_VERSION_AT, b"\x07")
        self.refused(server, path, "version 7")
        self.assertIn("version 7", self.verify(server, code=1).stderr)
        files.overwrite(path, files.FORMAT_VERSION_AT, b"\x01")
        server.start()
        self.assertEqual(server.get("a"), (1, 1))

    def test_stray_files_are_reported_and_left_alone(self):
        server = self.serve()
        server.put("a", 1)
        stop(server)
        strays = {"notes.txt": b"mine", "wal-1.log": b"not a segment", "snapshot-x.snap": b"", "wal-%020d" % 9: b"x"}
        for name, content in strays.items():
            with open(os.path.join(server.data, name), "wb") as file:
                file.write(content)
        server.start()
        for name in strays:
            self.assertIn("stray file %s" % name, server.stderr())
        self.assertEqual(server.get("a"), (1, 1))
        stop(server)
        found = files.content(server.data)
        self.assertEqual({name: found.get(name) for name in strays}, strays)

    def test_what_an_interrupted_start_left_is_no_obstacle(self):
        server = self.serve()
        server.put("a", 1)
        kill(server)
        for name in ("wal-next.tmp", "snapshot-next.tmp"):
            with open(os.path.join(server.data, name), "wb") as file:
                file.write(b"half of something")
        server.start()
        self.assertEqual(server.get("a"), (1, 1))
        stop(server)
        self.verify(server)


if __name__ == "__main__":
    unittest.main()
