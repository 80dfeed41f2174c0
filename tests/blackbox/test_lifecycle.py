"""first_run exactly once whatever crashes, and ends that do not wait for what the application does at its start."""
import os
import shutil
import time
import unittest

from clients import kill, seeded, stop
from server import Server, run, scaled

ROUTE = "route('ok', 'json', function() return 200, {} end)\n"
# Without promptness these would take 120 s, or 5 s for each load.
PROMPT_SECONDS = 4


class Written:
    """A Server whose application is text."""

    def __init__(self, text, **options):
        self.server = Server(**options)
        self.path = os.path.join(self.server.folder, "app.lua")
        with open(self.path, "w") as file:
            file.write(text)
        self.server.app = self.path

    def __enter__(self):
        return self.server

    def __exit__(self, *exception):
        self.server.remove()


class Stopping(unittest.TestCase):
    def check_stops(self, text, seen):
        """SIGTERM ends the start of this application at once, with exit code 0; of four times once at least."""
        seconds = [self.seconds_to_stop(text, seen)]
        while min(seconds) >= PROMPT_SECONDS and len(seconds) < 4:
            seconds.append(self.seconds_to_stop(text, seen))
        self.assertLess(min(seconds), PROMPT_SECONDS, seconds)

    def seconds_to_stop(self, text, seen):
        with Written(text, shards=2) as server:
            server.spawn()
            deadline = time.monotonic() + 30
            while seen not in server.stderr():
                self.assertLess(time.monotonic(), deadline, server.stderr())
                time.sleep(0.01)
            time.sleep(0.1)  # so that what follows the line is, most likely, under way; both are to work
            start = time.monotonic()
            self.assertEqual(server.stop(), 0, server.stderr())
            seconds = time.monotonic() - start
            self.assertIn("stopping", server.stderr())
            return seconds

    def test_during_start(self):
        self.check_stops(ROUTE + "on('start', function() set('a', 1) while true do end end)", "recovery")

    def test_during_a_start_that_reads(self):
        self.check_stops(
            ROUTE + "on('start', function() local i = 0 while true do i = i + 1 get('k' .. i % 100) end end)",
            "recovery")

    def test_during_first_run(self):
        self.check_stops(ROUTE + "on('first_run', function() while true do pcall(set, 'a', 1) end end)", "recovery")

    def test_while_loading(self):
        self.check_stops("log('info', 'now it loads') while true do end", "now it loads")

    def test_a_first_run_that_was_stopped_runs_again(self):
        with Written(ROUTE + "on('first_run', function() set('half', 1) while true do end end)") as server:
            server.start(ready=False)
            time.sleep(0.1)
            self.assertEqual(server.stop(), 0, server.stderr())
            with open(server.app, "w") as file:
                file.write(ROUTE + "on('first_run', function() set('whole', 1) end)")
            server.start()
            self.assertEqual(sorted(server.dump()), ["whole"])


class FirstRun(unittest.TestCase):
    ROUNDS = 20

    def test_exactly_once_whatever_crashes(self):
        """kill -9 at any moment of the first starts, other shard counts at the next: then it has run once, whole."""
        draw = seeded()
        moments = {"before": 0, "after": 0}
        for _ in range(scaled(self.ROUNDS)):
            self.round(draw, moments)
        print("first_run tried: killed %(before)d times before it had run, %(after)d times after" % moments)

    def round(self, draw, moments):
        keys = draw.randrange(500, 8000)
        text = ROUTE + """
on('first_run', function()
  local run = incr('runs')
  for i = 1, %d do set('key:' .. i, run) end
end)
on('start', function() incr('starts') end)""" % keys
        with Written(text, shards=draw.randint(1, 4), options=["--wal-segment-bytes", "1MiB"]) as server:
            begun = time.monotonic()
            server.start()
            whole = time.monotonic() - begun
            kill(server)
            shutil.rmtree(server.data)
            for _ in range(draw.randint(1, 3)):
                server.shards = draw.randint(1, 4)
                server.spawn()
                time.sleep(draw.uniform(0, whole))
                kill(server)
                moments["after" if self.has_run(server) else "before"] += 1
            server.shards = draw.randint(1, 4)
            server.start()
            items = server.dump()
            self.assertEqual(items["runs"][0], 1)
            self.assertEqual({value for key, (value, _) in items.items() if key.startswith("key:")}, {1})
            self.assertEqual(len(items), keys + 2)
            version = items["runs"][1]
            self.assertTrue(all(item[1] == version for key, item in items.items() if key != "starts"))
            server.restart(shards=draw.randint(1, 4))
            self.assertEqual(server.get("runs"), (1, version))
            stop(server)

    def has_run(self, server):
        dumped = run("dump", server.data) if os.path.isdir(server.data) else None
        return dumped is not None and '"first_run":true' in dumped.stdout


if __name__ == "__main__":
    unittest.main()
