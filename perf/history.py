"""That the files follow the state and not its history: writes MIB (2048) MiB of log over 10,000 keys, kills the server, and
prints what is left on disk and how long the next start takes.

    python3 perf/history.py [MIB]
"""
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIB = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
KEYS, BATCH, VALUE_BYTES = 10000, 100, 4000


def start(data):
    begin = time.monotonic()
    process = subprocess.Popen(
        [os.path.join(ROOT, "build", "concave"), "serve", "--data", data, "--addr", "127.0.0.1:0", "--shards", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    link = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        link.request("GET", "/readyz")
        if link.getresponse().read() and time.monotonic() - begin > 600:
            raise SystemExit("not ready")
        link.request("GET", "/v1/get?key=k0")
        reply = link.getresponse()
        reply.read()
        if reply.status in (200, 404):
            return process, link, time.monotonic() - begin
        time.sleep(0.002)


def metric(link, name):
    link.request("GET", "/metrics")
    return float(re.search(r"^concave_%s (\S+)$" % name, link.getresponse().read().decode(), re.M).group(1))


def needed(files):
    """The newest snapshot and the segments with records behind it."""
    newest = max(name for name in files if name.startswith("snapshot-"))
    segments = [name for name in files if re.match(r"wal-\d+\.log", name)]
    lsn = int(re.search(r"\d+", newest).group())
    firsts = [int(re.search(r"\d+", name).group()) for name in segments] + [float("inf")]
    return [newest] + [name for name, behind in zip(segments, firsts[1:]) if behind > lsn + 1]


def main():
    folder = tempfile.mkdtemp(prefix="concave-history-")
    data = os.path.join(folder, "data")
    process, link, _ = start(data)
    try:
        first = round_number = 0
        while metric(link, "wal_bytes_total") < MIB * 1024 * 1024:
            for _ in range(100):
                round_number += 1
                value = ("%d-" % round_number).ljust(VALUE_BYTES, "x")
                commands = ",".join('{"cmd_type":"set","key":"k%d","value":"%s"}' % ((first + n) % KEYS, value)
                                    for n in range(BATCH))
                first += BATCH
                link.request("POST", "/v1/execute", '{"commands":[%s]}' % commands)
                reply = link.getresponse()
                body = reply.read()
                while reply.status == 503:  # the next segment is being made
                    time.sleep(0.005)
                    link.request("POST", "/v1/execute", '{"commands":[%s]}' % commands)
                    reply = link.getresponse()
                    body = reply.read()
                assert reply.status == 200, body[:300]
        written = metric(link, "wal_bytes_total")
        process.kill()
        process.wait()
        files = {name: os.path.getsize(os.path.join(data, name)) for name in sorted(os.listdir(data))}
        print("%.0f MiB of log written over %d keys; %.0f MiB of files left:" % (
            written / 2**20, KEYS, sum(files.values()) / 2**20))
        for name, size in files.items():
            print("  %s %.1f MiB" % (name, size / 2**20))
        print("of these the next start reads %.0f MiB" % (sum(files[name] for name in needed(files)) / 2**20))
        process, link, seconds = start(data)
        link.request("GET", "/v1/get?key=k%d" % ((first - 1) % KEYS))
        assert ('"%d-' % round_number) in link.getresponse().read().decode()
        print("the next start took %.2f s" % seconds)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


main()
