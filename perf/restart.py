"""How long a start takes, beside Redis with the same keys, in one run.

    apt-get install redis-server; python3 perf/restart.py [KEYS] [VALUE_BYTES]

Fills concave and redis-server (both on loopback, data in a temporary folder) with KEYS (1,000,000) keys, each with a
value of VALUE_BYTES (100), then starts each again from its snapshot (RDB) and from its log alone (append-only file) and
prints the seconds until the first correct reply and the peak memory of the process. Ends only what it starts.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONCAVE = os.path.join(ROOT, "build", "concave")
KEYS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
VALUE = "v" * (int(sys.argv[2]) if len(sys.argv) > 2 else 100)
BATCH = 5000
ROUNDS = 3
LIMIT_SECONDS = 600


def key(number):
    return "key:%012d" % number


def peak_mib(process):
    status = open("/proc/%d/status" % process.pid).read()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def stop(process, how="terminate"):
    getattr(process, how)()
    process.wait(timeout=LIMIT_SECONDS)


class Concave:
    def __init__(self, folder, shards, checkpoint):
        self.data = os.path.join(folder, "concave")
        self.options = ["--shards", str(shards), "--checkpoint-wal-bytes", checkpoint]

    def start(self):
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [CONCAVE, "serve", "--data", self.data, "--addr", "127.0.0.1:0"] + self.options,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.address = ("127.0.0.1", port)
        while time.monotonic() < begin + LIMIT_SECONDS:
            if b" 200 " in self.ask("GET", "/v1/get?key=" + key(KEYS - 1))[:20]:
                return time.monotonic() - begin
            if b" 404 " in self.ask("GET", "/v1/get?key=nothing")[:20]:
                return time.monotonic() - begin  # empty, before it is filled
            time.sleep(0.002)
        raise SystemExit("concave did not start")

    def ask(self, method, target, body=b""):
        with socket.create_connection(self.address) as link:
            link.sendall(b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
                method.encode(), target.encode(), len(body), body))
            reply = b""
            while True:
                piece = link.recv(1 << 20)
                if not piece:
                    return reply
                reply += piece

    def fill(self):
        for first in range(0, KEYS, BATCH):
            items = ",".join('{"key":"%s","value":"%s"}' % (key(n), VALUE)
                             for n in range(first, min(first + BATCH, KEYS)))
            reply = self.ask("POST", "/v1/put", ("[" + items + "]").encode())
            assert b'"Success"' in reply, reply[:300]


class Redis:
    def __init__(self, folder, append_only):
        self.folder = os.path.join(folder, "redis-aof" if append_only else "redis-rdb")
        os.makedirs(self.folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.options = ["--appendonly", "yes" if append_only else "no", "--save", "", "--bind", "127.0.0.1",
                        "--port", str(self.port), "--dir", self.folder, "--auto-aof-rewrite-percentage", "0"]

    def start(self):
        begin = time.monotonic()
        self.process = subprocess.Popen(["redis-server"] + self.options, stdout=subprocess.DEVNULL)
        while time.monotonic() < begin + LIMIT_SECONDS:
            try:
                reply = self.ask(b"EXISTS %s\r\n" % key(KEYS - 1).encode())
                if reply.startswith(b":"):
                    return time.monotonic() - begin
            except OSError:
                pass
            time.sleep(0.002)
        raise SystemExit("redis-server did not start")

    def ask(self, command):
        with socket.create_connection(("127.0.0.1", self.port)) as link:
            link.sendall(command)
            return link.recv(1 << 16)

    def fill(self):
        for first in range(0, KEYS, BATCH):
            last = min(first + BATCH, KEYS)
            text = b"".join(b"SET %s %s\r\n" % (key(n).encode(), VALUE.encode()) for n in range(first, last))
            with socket.create_connection(("127.0.0.1", self.port)) as link:
                link.sendall(text)
                got = 0
                while got < 5 * (last - first):
                    got += len(link.recv(1 << 16))


def report(name, server):
    rows = []
    for _ in range(ROUNDS):
        seconds = server.start()
        rows.append((seconds, peak_mib(server.process)))
        stop(server.process, "kill")
    rows.sort()
    print("| %s | %.2f | %.0f |" % (name, rows[len(rows) // 2][0], max(row[1] for row in rows)), flush=True)


def main():
    folder = tempfile.mkdtemp(prefix="concave-restart-")
    try:
        print("%d keys of %d bytes, values of %d bytes; medians of %d starts" % (
            KEYS, len(key(0)), len(VALUE), ROUNDS))
        print("| start from | seconds to the first reply | peak memory, MiB |\n| --- | --- | --- |")
        rdb = Redis(folder, append_only=False)
        rdb.start(), rdb.fill()
        assert b"OK" in rdb.ask(b"SAVE\r\n")
        stop(rdb.process)
        report("redis-server, RDB", rdb)
        aof = Redis(folder, append_only=True)
        aof.start(), aof.fill()
        stop(aof.process)
        report("redis-server, append-only file", aof)
        ours = Concave(folder, 1, "0")
        ours.start(), ours.fill()
        stop(ours.process, "kill")
        for shards in (1, 2):
            ours.options[1] = str(shards)
            report("concave, log alone, %d shard%s" % (shards, "s" * (shards > 1)), ours)
        ours.start()
        assert b" 200 " in ours.ask("POST", "/v1/admin/checkpoint")[:20]
        stop(ours.process, "kill")
        for shards in (1, 2):
            ours.options[1] = str(shards)
            report("concave, snapshot, %d shard%s" % (shards, "s" * (shards > 1)), ours)
    finally:
        shutil.rmtree(folder)


main()
