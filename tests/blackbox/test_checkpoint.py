"""Checkpoints while the server serves: nothing is lost, old files go, and a start needs only the newest."""
import os
import threading
import time
import unittest

from clients import execute_patiently
from server import Server, ServerCase, run, scaled

SEGMENT = str(1 << 20)


def files(server, prefix):
    return sorted(name for name in os.listdir(server.data) if name.startswith(prefix))


def checkpoint(server):
    return server.request("POST", "/v1/admin/checkpoint").status


class OnRequest(ServerCase):
    shards = 3

    def test_it_is_done_when_the_reply_comes(self):
        version = self.server.put(self.key(), "value")
        self.assertEqual(checkpoint(self.server), 200)
        newest = files(self.server, "snapshot-")[-1]
        self.assertGreaterEqual(int(newest[len("snapshot-"):-len(".snap")]), version)
        status = self.server.request("GET", "/v1/admin/status").json()
        self.assertEqual(newest, "snapshot-%020d.snap" % status["snapshots"][0]["lsn"])
        self.assertEqual(self.server.metrics()["concave_checkpoint_last_lsn"], status["snapshots"][0]["lsn"])

    def test_two_at_once_are_one_and_a_409(self):
        for _ in range(scaled(20)):
            codes = []
            threads = [threading.Thread(target=lambda: codes.append(checkpoint(self.server))) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertIn(200, codes)
            self.assertLessEqual(set(codes), {200, 409})

    def test_a_new_one_may_be_asked_for_as_soon_as_one_is_done(self):
        """By clients of the same shard, whose own is being answered at that moment."""
        server = Server(shards=1)
        self.addCleanup(server.remove)
        server.start()
        codes = []

        def ask():
            for _ in range(scaled(150)):
                codes.append(checkpoint(server))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertIn(200, codes)
        self.assertEqual(len(codes), 8 * scaled(150))
        self.assertLessEqual(set(codes), {200, 409})
        self.assertEqual(server.stop(), 0, server.stderr())

    def test_only_post_asks_for_one(self):
        response = self.server.request("GET", "/v1/admin/checkpoint")
        self.assertError(response, 405)


class Restarting(unittest.TestCase):
    def fill(self, server, rounds, versions):
        for n in range(rounds):
            key = "k%d" % (n % 50)
            versions[key] = execute_patiently(server, {
                "cmd_type": "cas", "key": key, "value": "x" * 3000 + str(n), "version": versions.get(key, 0)})

    def check(self, server, versions):
        for key, version in versions.items():
            self.assertEqual(server.get(key)[1], version, key)

    def test_the_state_is_the_same_behind_any_number_of_checkpoints_kills_and_shards(self):
        versions = {}
        with Server(shards=2, options=("--wal-segment-bytes", SEGMENT)) as server:
            for shards in (1, 3, 2, 8):
                self.fill(server, scaled(300), versions)
                self.assertEqual(checkpoint(server), 200)
                self.fill(server, scaled(100), versions)
                execute_patiently(server, {"cmd_type": "delete", "key": "k7"})
                versions.pop("k7", None)
                server.restart(shards=shards, kill=True)
                self.check(server, versions)
                self.assertEqual(server.request("GET", "/v1/get?key=k7").status, 404)

    def test_the_log_does_not_grow_with_history(self):
        versions = {}
        options = ("--wal-segment-bytes", SEGMENT, "--checkpoint-wal-bytes", str(2 << 20))
        with Server(shards=2, options=options) as server:
            self.fill(server, 4000, versions)  # some 12 MB over 50 keys
            # The log goes back to the older of two snapshots; so both have to be of the end. (If nothing was written in
            # between, a second one replaces the first.)
            for _ in range(2):
                self.fill(server, 1, versions)
                deadline = time.monotonic() + 30
                while (status := checkpoint(server)) == 409:  # the one that was due still runs
                    self.assertLess(time.monotonic(), deadline)
                self.assertEqual(status, 200)
            self.assertLess(len(files(server, "wal-")), 10)
            self.assertLessEqual(len(files(server, "snapshot-")), 3)
            server.restart(shards=1, kill=True)
            self.check(server, versions)

    def test_a_damaged_newest_snapshot_is_passed_over(self):
        versions = {}
        with Server(shards=2, options=("--wal-segment-bytes", SEGMENT)) as server:
            for _ in range(3):
                self.fill(server, 60, versions)
                self.assertEqual(checkpoint(server), 200)
            self.fill(server, 60, versions)
            server.kill()
            newest = os.path.join(server.data, files(server, "snapshot-")[-1])
            with open(newest, "r+b") as file:
                file.seek(os.path.getsize(newest) // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
            self.assertEqual(run("verify", server.data).returncode, 1)
            server.start()
            self.assertIn(os.path.basename(newest), server.stderr())
            self.check(server, versions)

    def test_a_clean_exit_leaves_a_short_log(self):
        versions = {}
        with Server(shards=2) as server:
            self.fill(server, 500, versions)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(len(files(server, "snapshot-")), 1)
            said = len(server.stderr())
            server.start()
            self.assertIn(" 0 operations", server.stderr()[said:])
            self.check(server, versions)


if __name__ == "__main__":
    unittest.main()
