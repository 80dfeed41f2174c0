"""A disk that fills up and is cleared again: writes get 507, reads go on, nothing acknowledged is lost.

The data directory is a tmpfs of 8 MB in a mount namespace of the test's own, which takes root: elsewhere
the tests are skipped.
"""
import ctypes
import os
import subprocess
import tempfile
import time
import unittest

import files
from clients import stop
from server import Server, in_threads, run, scaled

CYCLES = 20
CYCLES_PER_DIRECTORY = 4  # the log of more would not fit
DISK_BYTES = 8 << 20
SEGMENT_BYTES = 1 << 20
# Room that the ballast leaves for the next segment: not enough for it.
TOO_LITTLE = SEGMENT_BYTES // 2
CLONE_NEWNS = 0x20000
WAIT_SECONDS = 60


def setUpModule():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise unittest.SkipTest("no mount namespace: %s" % os.strerror(ctypes.get_errno()))
    private = subprocess.run(["mount", "--make-rprivate", "/"], stderr=subprocess.PIPE, check=False)
    if private.returncode != 0:
        raise unittest.SkipTest("no mounts of our own: %s" % private.stderr.decode().strip())


class DiskFull(unittest.TestCase):
    def setUp(self):
        self.mount = tempfile.mkdtemp(prefix="concave-full-")
        self.addCleanup(os.rmdir, self.mount)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % DISK_BYTES, "tmpfs", self.mount],
                                 stderr=subprocess.PIPE, check=False)
        if mounted.returncode != 0:
            self.skipTest("no tmpfs: %s" % mounted.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", self.mount], check=True)
        self.ballast = os.path.join(self.mount, "ballast")
        self.acknowledged = {}  # {key: (value, version)}
        self.written = 0

    def serve(self, *options, data="data", **more):
        server = Server(options=["--wal-segment-bytes", str(SEGMENT_BYTES), "--checkpoint-wal-bytes", "0", *options],
                        data=os.path.join(self.mount, data), **more)
        self.addCleanup(server.remove)
        return server

    def free(self):
        found = os.statvfs(self.mount)
        return found.f_bavail * found.f_frsize

    def fill(self, leave=0):
        """Lets the ballast grow until only so much is free; the server may be taking room too."""
        with open(self.ballast, "ab") as file:
            while self.free() > leave:
                try:
                    file.write(bytes(min(64 << 10, self.free() - leave)))
                    file.flush()
                except OSError:
                    break

    def fill_for_good(self, leave):
        """Until no room comes back: what the server takes for a segment it gives back if that was not enough."""
        full = 0
        while full < 5:
            full = full + 1 if self.free() <= leave else 0
            self.fill(leave)
            time.sleep(0.01)

    def make_room(self):
        os.truncate(self.ballast, 0)

    def write(self, server, size=20000):
        """One put of a new key: its status."""
        self.written += 1
        key, value = "k%d" % self.written, "%d" % self.written + "x" * size
        response = server.request("POST", "/v1/put", [{"key": key, "value": value}])
        if response.status == 200:
            self.acknowledged[key] = (value, response.json()["version"])
        return response

    def write_until(self, server, status):
        """Writes until one gets this answer; 503 says that the next segment is still being prepared."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            response = self.write(server)
            if response.status == status:
                return response
            self.assertIn(response.status, (200, 503, 507), response)
            self.assertLess(time.monotonic(), deadline, response)
            if response.status != 200:
                time.sleep(0.01)

    def assertFull(self, server):
        """Every write is refused, reads go on."""
        present, absent = next(iter(self.acknowledged)), "k%d" % self.written
        commands = ({"cmd_type": "set", "key": "n", "value": 1}, {"cmd_type": "delete", "key": present},
                    {"cmd_type": "incr", "key": "n"})
        for command in commands:
            response = server.request("POST", "/v1/execute", {"commands": [command]})
            self.assertEqual((response.status, response.json()["code"]), (507, "disk_full"), response)
        self.assertEqual(server.get(present), self.acknowledged[present])
        self.assertEqual(server.get(absent), (None, 0))
        self.assertEqual(server.request("GET", "/v1/range?limit=1").status, 200)
        ready = server.request("GET", "/readyz")
        self.assertEqual((ready.status, ready.json()["code"]), (503, "disk_full"))
        self.assertEqual(server.request("GET", "/livez").status, 200)
        self.assertTrue(server.request("GET", "/v1/admin/status").json()["disk_full"])

    def assertKept(self, server):
        """After a restart the state is exactly what was acknowledged."""
        self.assertEqual(server.dump(), self.acknowledged)

    def cycle(self, server):
        self.fill(TOO_LITTLE)
        response = self.write_until(server, 507)
        self.assertEqual(response.json()["code"], "disk_full")
        self.assertFull(server)
        self.make_room()
        self.write_until(server, 200)
        self.assertEqual(server.request("GET", "/readyz").status, 200)

    def test_cycles_of_full_and_not_full(self):
        done = 0
        while done < scaled(CYCLES):
            self.acknowledged.clear()
            server = self.serve(shards=done % 3 + 1, data="data%d" % done)
            server.start()
            self.write_until(server, 200)
            for _ in range(min(CYCLES_PER_DIRECTORY, scaled(CYCLES) - done)):
                self.cycle(server)
                done += 1
            server.restart(shards=2, kill=done % 2 == 0)
            self.assertKept(server)
            stop(server)
            self.assertEqual(run("verify", server.data).returncode, 0)
            for name in files.content(server.data):
                os.remove(os.path.join(server.data, name))
        print("%d cycles of full and not full" % done)

    def test_many_writers_meet_the_end_together(self):
        """Nothing that was admitted fails, and the log stays whole."""
        server = self.serve(shards=2)
        server.start()
        self.fill(TOO_LITTLE)
        replies = [[] for _ in range(8)]

        def write(index):
            for number in range(1000):
                key, value = "%d:%d" % (index, number), "x" * (100 + 700 * index)
                response = server.request("POST", "/v1/put", [{"key": key, "value": value}])
                replies[index].append((key, value, response))
                if response.status == 507:
                    return

        in_threads(len(replies), write)
        for key, value, response in sum(replies, []):
            if response.status == 200:
                self.acknowledged[key] = (value, response.json()["version"])
            else:
                self.assertIn(response.status, (503, 507), response)
        self.assertGreater(len(self.acknowledged), 50)
        server.restart(kill=True)
        self.assertKept(server)

    def test_a_start_on_a_full_disk(self):
        """It serves reads and refuses writes, until there is room."""
        server = self.serve("--durability", "manual")  # which needs a segment of its own
        server.start()
        self.write_until(server, 200)
        stop(server)
        self.fill()
        server.start(ready=False)
        deadline = time.monotonic() + WAIT_SECONDS
        while server.request("GET", "/v1/range").status != 200:
            self.assertLess(time.monotonic(), deadline)
        self.write_until(server, 507)
        self.assertFull(server)
        self.make_room()
        self.write_until(server, 200)
        stop(server)
        server.start()
        self.assertKept(server)

    def test_a_clean_end_on_a_full_disk(self):
        server = self.serve()
        server.start()
        self.fill(TOO_LITTLE)
        self.write_until(server, 507)
        self.fill()
        stop(server)
        server.start(ready=False)
        deadline = time.monotonic() + WAIT_SECONDS
        while server.request("GET", "/v1/range").status != 200:
            self.assertLess(time.monotonic(), deadline)
        self.assertKept(server)

    def test_checkpoints_keep_the_log_within_the_disk(self):
        """Some times the disk's size is written; only two snapshots and the log since the older have to fit."""
        server = self.serve(shards=2)
        server.start()
        number = 0
        for _ in range(scaled(30)):
            written = 0
            while written < SEGMENT_BYTES:
                number += 1
                key, value = "k%d" % (number % 10), "%d" % number + "x" * 40000
                response = server.request("POST", "/v1/execute", {"commands": [
                    {"cmd_type": "set", "key": key, "value": value}]})
                self.assertIn(response.status, (200, 503), response)  # 503: the next segment is on its way
                if response.status == 200:
                    self.acknowledged[key] = (value, response.json()["version"])
                    written += len(value)
            self.assertEqual(server.request("POST", "/v1/admin/checkpoint").status, 200)
        server.restart(kill=True, shards=1)
        self.assertKept(server)
        self.assertEqual(run("verify", server.data).returncode, 0)

    def test_a_checkpoint_on_a_full_disk(self):
        """It is given up and leaves nothing behind; the server goes on, and so do checkpoints when there is room."""
        server = self.serve(shards=2)
        server.start()
        for _ in range(30):
            self.write_until(server, 200)
        self.fill_for_good(64 << 10)
        response = server.request("POST", "/v1/admin/checkpoint")
        self.assertEqual((response.status, response.json()["code"]), (507, "disk_full"), response)
        self.assertEqual(files.snapshots(server.data), [])
        self.assertEqual([name for name in os.listdir(server.data) if name.startswith("snapshot")], [])
        key, item = next(iter(self.acknowledged.items()))
        self.assertEqual(server.get(key), item)
        self.make_room()
        self.write_until(server, 200)
        self.assertEqual(server.request("POST", "/v1/admin/checkpoint").status, 200)
        self.assertEqual(len(files.snapshots(server.data)), 1)
        server.restart(kill=True)
        self.assertKept(server)
        self.assertEqual(run("verify", server.data).returncode, 0)

    def test_the_tools_on_a_full_disk(self):
        """verify and dump need no room; a load for which there is none leaves nothing behind."""
        server = self.serve()
        server.start()
        for _ in range(20):
            self.write_until(server, 200)
        stop(server)
        self.fill()
        self.assertEqual(run("verify", server.data).returncode, 0)
        dumped = run("dump", server.data)
        self.assertEqual(dumped.returncode, 0)
        target = os.path.join(self.mount, "target")
        loaded = run("load", target, stdin=dumped.stdout.encode())
        self.assertEqual(loaded.returncode, 1, loaded.stderr)
        self.assertIn("No space left", loaded.stderr)
        if os.path.exists(target):
            self.assertLessEqual(set(os.listdir(target)), {"LOCK"})
        self.make_room()
        self.assertEqual(run("load", target, stdin=dumped.stdout.encode()).returncode, 0)
        self.assertEqual(run("dump", target).stdout, dumped.stdout)


if __name__ == "__main__":
    unittest.main()
