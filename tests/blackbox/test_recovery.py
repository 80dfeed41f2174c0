"""Starts from snapshots and log: the same state at any shard count, after damage, and after starts that were killed."""
import os
import shutil
import time
import unittest

import files
from clients import execute_patiently, kill, seeded
from server import Server, scaled

OPTIONS = ["--wal-segment-bytes", "1MiB", "--checkpoint-wal-bytes", "0"]
KEYS = 3000


class Recovery(unittest.TestCase):
    """One directory for all: two snapshots, the second in the middle of the log that is left; deletes everywhere."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(shards=2, options=OPTIONS)
        cls.server.start()
        cls.write(0)
        cls.checkpoint()
        cls.write(1)
        cls.checkpoint()
        cls.write(2)
        cls.state = cls.server.dump()
        kill(cls.server)
        cls.saved = os.path.join(cls.server.folder, "saved")
        shutil.copytree(cls.server.data, cls.saved)

    @classmethod
    def tearDownClass(cls):
        cls.server.remove()

    @classmethod
    def write(cls, number):
        for start in range(0, KEYS, 500):
            execute_patiently(cls.server, *(
                {"cmd_type": "delete", "key": "k%d" % key} if (key + number) % 5 == 0 else
                {"cmd_type": "set", "key": "k%d" % key, "value": "%d %s" % (number, "x" * (key % 300))}
                for key in range(start, start + 500)))

    @classmethod
    def checkpoint(cls):
        response = cls.server.request("POST", "/v1/admin/checkpoint")
        assert response.status == 200, response

    def setUp(self):
        shutil.rmtree(self.server.data)
        shutil.copytree(self.saved, self.server.data)

    def assert_same_state(self, shards):
        self.server.shards = shards
        self.server.start()
        try:
            self.assertEqual(self.server.dump(), self.state)
        finally:
            kill(self.server)

    def test_the_state_is_the_same_at_any_shard_count(self):
        for shards in (1, 2, 3, 17):
            self.assert_same_state(shards)

    def test_the_state_is_the_same_from_the_older_snapshot(self):
        newest = files.snapshots(self.server.data)[-1]
        files.flip(newest, os.path.getsize(newest) - 100)  # when most of it has been loaded
        for shards in (1, 3):
            self.assert_same_state(shards)
            self.assertIn("this snapshot is passed over", self.server.stderr())

    def test_starts_that_are_killed_do_no_harm(self):
        choose = seeded()
        for _ in range(scaled(4)):
            for _ in range(3):
                self.server.shards = choose.randint(1, 4)
                self.server.start(ready=False)
                time.sleep(choose.random() * 0.02)
                kill(self.server)
            self.assert_same_state(choose.randint(1, 4))

    def test_without_a_good_snapshot_the_start_is_refused(self):
        for path in files.snapshots(self.server.data):
            files.flip(path, 100)
        oldest = min(files.segments(self.server.data))
        os.remove(oldest)
        self.server.spawn()
        self.assertEqual(self.server.wait(), 1)
        for path in files.snapshots(self.server.data):
            self.assertIn("%s: offset " % path, self.server.stderr())


if __name__ == "__main__":
    unittest.main()
