"""The load generator's books balance against a real server, and its own mistakes are told from the server's."""
import json
import os
import subprocess
import unittest

from clients import kill, stop
from server import SOURCE, Server, scaled

LOAD = os.environ.get("CONCAVE_LOAD", os.path.join(SOURCE, "build", "concave-load"))
BANK = os.path.join(SOURCE, "demos", "bank.lua")
LOAD_APP = os.path.join(SOURCE, "perf", "load.lua")
REQUESTS = 2000
BANK_ROUTES = ("transfer", "fnget")
WORKLOADS = ("get", "range", "put", "execute", "hot", "cas", *BANK_ROUTES)


def url(server):
    return "http://%s:%d" % server.address


def load(server, *arguments):
    """Runs concave-load; its exit code and JSON report (None if it printed none)."""
    done = subprocess.run([LOAD, *arguments, "--url", url(server), "--json"],
                          capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


class Load(unittest.TestCase):
    def serve(self, app, shards):
        server = Server(app=app, shards=shards)
        self.addCleanup(server.remove)
        return server.start()

    def run_all(self, app, workloads):
        server = self.serve(app, 2)
        requests = scaled(REQUESTS)
        for workload in workloads:
            with self.subTest(workload=workload):
                code, report, errors = load(server, workload, "--requests", str(requests), "--accounts", "100",
                                            "--connections", "16", "--limit", "10")
                self.assertEqual(code, 0, (report, errors))
                self.assertEqual(report["requests"], requests)
                self.assertTrue(report["books"]["balanced"])
                self.assertGreater(report["latency_us"]["p50"], 0)
        stop(server)

    def test_every_workload_against_its_own_application(self):
        """Each workload ends without errors and with balanced books."""
        self.run_all(LOAD_APP, WORKLOADS)

    def test_bank_workloads_against_the_demo(self):
        """The bank's workloads run against the demo as well."""
        self.run_all(BANK, BANK_ROUTES)

    def test_pipelining_batches_and_threads(self):
        """Several requests under way on a connection, several objects in a request, several threads."""
        server = self.serve(LOAD_APP, 2)
        code, report, errors = load(server, "put", "--requests", str(scaled(1000)), "--batch", "20",
                                    "--pipeline", "8", "--connections", "9", "--threads", "2")
        self.assertEqual(code, 0, (report, errors))
        self.assertIn(f"{scaled(1000) * 20} keys found", report["books"]["found"])
        stop(server)

    def test_a_route_that_is_not_there_is_an_error(self):
        """A load of 404s is no success."""
        server = self.serve(BANK, 1)
        code, report, _ = load(server, "hot", "--requests", "10", "--connections", "2")
        self.assertEqual(code, 1)
        self.assertEqual(report["outcomes"]["errors"], 10)

    def test_a_server_that_goes_away(self):
        """It is an error, or, if that was to be expected, a code of its own with the counts so far."""
        for flag, wanted in (([], 1), (["--tolerate-disconnect"], 3)):
            server = self.serve(LOAD_APP, 1)
            running = subprocess.Popen([LOAD, "hot", "--seconds", "60", "--connections", "4", "--json", *flag,
                                        "--url", url(server)],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            while server.get("hot")[0] is None:
                self.assertIsNone(running.poll(), "ended by itself")
            kill(server)
            output, _ = running.communicate(timeout=30)
            self.assertEqual(running.returncode, wanted, output)
            self.assertGreater(json.loads(output)["outcomes"]["disconnects"], 0)

    def test_other_machines_are_refused(self):
        """The load generator asks only the machine that it runs on."""
        for elsewhere in ("http://192.0.2.1:80", "http://example.org:80", "https://127.0.0.1:80", "http://127.0.0.1"):
            done = subprocess.run([LOAD, "get", "--url", elsewhere], capture_output=True, text=True, timeout=10)
            self.assertEqual((done.returncode, done.stdout), (2, ""), elsewhere)


if __name__ == "__main__":
    unittest.main()
