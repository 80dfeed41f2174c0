"""An application's first and last moments: ends that do not wait for what its own functions do."""
import os
import time
import unittest

from server import Server

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
        """SIGTERM ends the start of this application at once, with exit code 0."""
        with Written(text, shards=2) as server:
            server.spawn()
            deadline = time.monotonic() + 30
            while seen not in server.stderr():
                self.assertLess(time.monotonic(), deadline, server.stderr())
                time.sleep(0.01)
            time.sleep(0.1)  # so that what follows the line is, most likely, under way; both are to work
            start = time.monotonic()
            self.assertEqual(server.stop(), 0, server.stderr())
            self.assertLess(time.monotonic() - start, PROMPT_SECONDS)
            self.assertIn("stopping", server.stderr())

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


if __name__ == "__main__":
    unittest.main()
