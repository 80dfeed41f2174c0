"""What a cheap request waits for beside handlers that take 5 ms of CPU each, in one run.

    python3 perf/fairness.py [BINARY...]

For 1 and 2 shards and 0, 32, 200 and 1,000 such handlers in flight (`busy` of perf/load.lua, as many connections in a
closed loop), with each BINARY (build/concave) in turn: one connection asks for /fn/balance again and again, first for
SECONDS beside handlers that have been there for a while, then, of a server just started, while they all arrive at once.
Builds nothing; ends only what it starts. The load comes from the concave-load beside the last BINARY, which checks
every reply.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARIES = sys.argv[1:] or [os.path.join(ROOT, "build", "concave")]
LOAD = os.path.join(os.path.dirname(BINARIES[-1]), "concave-load")
HANDLER_SECONDS = 0.005
SECONDS = 6
BURST_SECONDS = 3
WARMUP_SECONDS = 1


class Server:
    def __init__(self, binary, shards):
        self.folder = tempfile.mkdtemp()
        self.process = subprocess.Popen(
            [binary, "serve", "--app", os.path.join(ROOT, "perf", "load.lua"), "--data", self.folder, "--shards",
             str(shards), "--durability", "interval:100", "--handler-timeout-ms", "60000", "--addr", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        while not self.is_ready():
            time.sleep(0.01)

    def is_ready(self):
        try:
            return urllib.request.urlopen(self.url + "/readyz").status == 200
        except urllib.error.HTTPError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        shutil.rmtree(self.folder)

    def load(self, *arguments):
        return subprocess.Popen([LOAD, *arguments, "--url", self.url, "--json"], stdout=subprocess.PIPE, text=True)

    def cheap(self, seconds):
        return self.load("fnget", "--connections", "1", "--accounts", "100", "--warmup", "0", "--seconds",
                         str(seconds))

    def busy(self, handlers, rounds, seconds):
        return self.load("path", "--path", "/fn/busy?rounds=%d" % rounds, "--connections", str(handlers), "--warmup",
                         "0", "--seconds", str(seconds))


def report(load):
    text, _ = load.communicate()
    return json.loads(text)


def rounds_of(binary):
    """Rounds of its loop that take a handler HANDLER_SECONDS."""
    rounds = 400000
    with Server(binary, 1) as server:
        least = float("inf")
        for _ in range(50):
            started = time.monotonic()
            urllib.request.urlopen(server.url + "/fn/busy?rounds=%d" % rounds).read()
            least = min(least, time.monotonic() - started)
    return int(rounds * HANDLER_SECONDS / least)


def measure(binary, shards, handlers, rounds):
    with Server(binary, shards) as server:
        busy = server.busy(handlers, rounds, WARMUP_SECONDS + SECONDS + 1) if handlers else None
        time.sleep(WARMUP_SECONDS)
        cheap = report(server.cheap(SECONDS))
        heavy = report(busy) if busy else None
    with Server(binary, shards) as server:
        cheap_beside = server.cheap(BURST_SECONDS)
        time.sleep(BURST_SECONDS / 10)
        busy = server.busy(handlers, rounds, BURST_SECONDS) if handlers else None
        burst = report(cheap_beside)
        if busy:
            report(busy)
    latency = cheap["latency_us"]
    print("| %d | %d | %s | %.2f | %.2f | %.2f | %d | %.0f | %s | %d |" % (
        shards, handlers, os.path.basename(binary), latency["p50"] / 1000, latency["p99"] / 1000,
        latency["max"] / 1000, cheap["requests_per_s"], burst["latency_us"]["max"] / 1000,
        "%.0f" % heavy["requests_per_s"] if heavy else "-",
        cheap["outcomes"]["errors"] + (heavy["outcomes"]["errors"] if heavy else 0)), flush=True)


def main():
    rounds = rounds_of(BINARIES[0])
    print("%d rounds of the loop: %.0f ms" % (rounds, HANDLER_SECONDS * 1000))
    print("| shards | handlers | binary | p50 ms | p99 ms | max ms | cheap req/s | max ms as they arrive | busy req/s |"
          " errors |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for shards in (1, 2):
        for handlers in (0, 32, 200, 1000):
            for binary in BINARIES:
                measure(binary, shards, handlers, rounds)


main()
