"""Reloading the application: swapped whole or not at all, under load, and what was under way ends in the old version."""
import os
import re
import signal
import threading
import time
import unittest

from clients import Client
from server import BINARY, REPLY_SECONDS, Server, in_threads, scaled


class ReloadCase(unittest.TestCase):
    """Each test has a server of its own, whose application it writes."""

    def serve(self, text, shards=2, options=(), modules=None):
        server = Server(shards=shards, options=options)
        self.addCleanup(server.remove)
        server.app = os.path.join(server.folder, "app.lua")
        for name, module in (modules or {}).items():
            self.write(server, name, module)
        self.write(server, "app.lua", text)
        server.start()
        return server

    def write(self, server, name, text):
        """Writes a file as editors do: under another name, then in place."""
        path = os.path.join(server.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def app(self, server):
        return server.request("GET", "/v1/admin/status").json()["app"]

    def wait(self, server, condition):
        """Until condition(status of the application), which is returned."""
        deadline = time.monotonic() + 60
        while True:
            app = self.app(server)
            if condition(app):
                return app
            if time.monotonic() > deadline:
                server.fail("still %r" % app)
            time.sleep(0.005)

    def reload(self, server, text=None):
        """SIGHUP, and the state once it has led to something."""
        if text is not None:
            self.write(server, "app.lua", text)
        before = self.app(server)
        server.signal(signal.SIGHUP)
        return self.wait(server, lambda app: app["reloads"] + app["failed_reloads"] >
                         before["reloads"] + before["failed_reloads"])

    def client(self, server):
        client = Client(server)
        self.addCleanup(client.close)
        return client

    def stop(self, server):
        self.assertEqual(server.stop(), 0, server.stderr())


def sanitized():
    with open(BINARY, "rb") as file:
        return b"__asan_init" in file.read()


def answer(number, more=""):
    """An application whose /fn/which says this number, before and after a wait for another shard."""
    return """
local first = %d
route("which", "json", function(args)
  local n = get("some:" .. (args.n or "1"))
  incr("count:" .. (args.n or "1"))
  local m = get("other:" .. (args.n or "1"))
  return 200, { first = first, last = %d }
end)
route("v%d/hot", "json", function()
  incr("hot:1")
  return 200, { incr("hot:2"), incr("hot:3"), first }
end)
%s""" % (number, number, number, more)


class Swapping(ReloadCase):
    def test_new_code_answers(self):
        server = self.serve(answer(1))
        self.assertEqual(self.app(server)["generation"], 1)
        self.assertEqual(self.app(server)["file"], server.app)
        app = self.reload(server, answer(2))
        self.assertEqual((app["generation"], app["reloads"], app["last_reload_error"]), (2, 1, None))
        self.assertEqual(server.request("GET", "/fn/which").json(), {"first": 2, "last": 2})
        self.assertRegex(server.stderr(), r"reloaded \S+app.lua: generation 2, 2 routes, in \d+ ms")
        metrics = server.metrics()
        self.assertEqual(metrics["concave_app_generation"], 2)
        self.assertEqual(metrics['concave_app_reloads_total{result="ok"}'], 1)
        self.assertEqual(metrics['concave_app_reloads_total{result="failed"}'], 0)
        self.stop(server)

    def test_under_load_nothing_fails_and_nothing_is_mixed(self):
        server = self.serve(answer(1), shards=3)
        done = threading.Event()
        confirmed = [1]  # the newest generation that the status has shown

        def client(index):
            connection = Client(server)
            number, last = 0, 0
            while not done.is_set() or last < confirmed[0]:
                number += 1
                at_least = confirmed[0]
                status, document = connection.get("/fn/which?n=%d" % (number % 50))
                self.assertEqual(status, 200, document)
                self.assertEqual(document["first"], document["last"])
                self.assertGreaterEqual(document["first"], at_least)
                last = document["first"]
                # A route of one version only, which all clients contend for, so attempts are run again:
                # there is no such route, or that version answers.
                which = at_least + number % 2
                status, document = connection.get("/fn/v%d/hot" % which)
                self.assertEqual((status, document[2]) if status == 200 else (status, which),
                                 (200, which) if status == 200 else (404, which), document)
            connection.close()

        def reloads(_):
            try:
                for number in range(2, 2 + scaled(12)):
                    app = self.reload(server, answer(number))
                    self.assertEqual((app["generation"], app["last_reload_error"]), (number, None))
                    confirmed[0] = number
                    time.sleep(0.02)
            finally:
                done.set()

        in_threads(5, lambda index: reloads(index) if index == 0 else client(index))
        self.stop(server)

    def test_a_broken_file_changes_nothing(self):
        server = self.serve(answer(1))
        for text, complaint in [
                ("route('x', 'json', function() return 200 end)\nlocal = 3\n", r"app\.lua:2:"),
                (answer(2) + "\n\nerror('so not')\n", r"app\.lua:\d+: so not"),
                (answer(2) + "\nrequire 'missing'\n", r"missing\.lua"),
                (answer(2, "route('which', 'json', function() end)"), r"there already"),
                (answer(2, "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end"), "--lua-memory-max")]:
            app = self.reload(server, text)
            self.assertEqual((app["generation"], app["reloads"]), (1, 0))
            self.assertRegex(app["last_reload_error"], complaint)
            self.assertRegex(server.stderr(), r"reload failed, generation 1 goes on: .*" + complaint)
            self.assertEqual(server.request("GET", "/fn/which").json(), {"first": 1, "last": 1})
        os.unlink(server.app)
        self.assertRegex(self.reload(server)["last_reload_error"], r"app\.lua")
        app = self.reload(server, answer(3))
        self.assertEqual((app["generation"], app["failed_reloads"], app["last_reload_error"]), (2, 6, None))
        self.assertEqual(server.request("GET", "/fn/which").json(), {"first": 3, "last": 3})
        self.stop(server)

    def test_a_named_pipe_is_no_module(self):
        """Nobody would ever write into it, so whoever waited for that could not be stopped either."""
        server = self.serve(answer(1))
        os.mkfifo(os.path.join(server.folder, "pipe.lua"))
        app = self.reload(server, answer(2) + "\nrequire 'pipe'\n")
        self.assertEqual((app["generation"], app["failed_reloads"]), (1, 1))
        self.assertIn("pipe.lua: cannot be read as a file", app["last_reload_error"])
        self.stop(server)

    def test_a_file_that_loads_on_the_first_machine_only(self):
        """random() differs from machine to machine while loading, so this declares other routes each time."""
        server = self.serve(answer(1))
        app = self.reload(server, "route('r' .. random(1000000000), 'json', function() return 200 end)")
        self.assertEqual(app["generation"], 1)
        self.assertIn("same routes", app["last_reload_error"])
        self.assertEqual(server.request("GET", "/fn/which").status, 200)
        self.stop(server)

    def test_routes_come_and_go_and_keep_their_counters(self):
        old = "route('a/:id', 'json', function() return 200, 1 end)\nroute('gone', 'json', function() return 200, 1 end)"
        new = "route('new', 'text', function() return 200, 'n' end)\nroute('a/:id', 'json', function() return 201, 2 end)"
        server = self.serve(old)
        for target in ("/fn/gone", "/fn/a/1", "/fn/a/2"):
            self.assertEqual(server.request("GET", target).status, 200)
        self.assertEqual(server.request("GET", "/fn/new").status, 404)
        self.reload(server, new)
        self.assertEqual(server.request("GET", "/fn/gone").status, 404)
        self.assertEqual(server.request("GET", "/fn/new").body, b"n")
        self.assertEqual(server.request("GET", "/fn/a/3").status, 201)
        routes = server.request("GET", "/v1/admin/status").json()["routes"]
        self.assertEqual([route["pattern"] for route in routes], ["new", "a/:id"])
        metrics = server.metrics()
        counter = 'concave_http_requests_total{route="/fn/%s",code="%d"}'
        self.assertEqual([metrics[counter % which] for which in (("gone", 200), ("a/:id", 200), ("a/:id", 201), ("new", 200))],
                         [1, 2, 1, 1])
        self.assertEqual(metrics['concave_http_request_duration_seconds_count{route="/fn/new"}'], 1)
        self.assertEqual(metrics['concave_lua_handler_seconds_count{route="/fn/a/:id"}'], 3)
        self.reload(server, old)
        self.assertEqual(server.request("GET", "/fn/gone").status, 200)
        self.assertEqual(server.metrics()[counter % ("gone", 200)], 2)
        self.stop(server)

    def test_modules_are_read_again_and_upvalues_are_fresh(self):
        text = """
local what = require "lib.what"
local seen = 0
route("which", "json", function() seen = seen + 1 return 200, { what.name(), seen } end)"""
        server = self.serve(text, shards=1, modules={"lib/what.lua": "return { name = function() return 'one' end }"})
        self.assertEqual([server.request("GET", "/fn/which").json()[1] for _ in range(3)], [1, 2, 3])
        self.write(server, "lib/what.lua", "return { name = function() return 'two' end }")
        self.assertEqual(server.request("GET", "/fn/which").json(), ["one", 4])
        self.reload(server)
        self.assertEqual(server.request("GET", "/fn/which").json(), ["two", 1])
        self.stop(server)


LOOPS = 100000000  # take half a second or so, if nothing else runs


def slow(number, loops=LOOPS):
    """/fn/slow runs for a while, preempted now and then; its answer says which version ran."""
    return answer(number, """
route("slow", "json", function(args)
  local start = (get("k" .. (args.n or "1")))
  local x = 0
  for i = 1, %d do x = x + i end
  set("k" .. (args.n or "1"), %d)
  return 200, { which = %d, start = start }
end)""" % (loops, number, number))


class UnderWay(ReloadCase):
    def test_slow_requests_end_in_the_version_in_which_they_began(self):
        server = self.serve(slow(1), shards=2, options=["--handler-timeout-ms", "60000"])
        clients = [self.client(server) for _ in range(4)]
        for index, client in enumerate(clients):
            client.begin("GET", "/fn/slow?n=%d" % index)
        app = self.reload(server, slow(2))
        self.assertEqual(app["generation"], 2)
        status, document = self.client(server).get("/fn/which")
        self.assertEqual((status, document["first"]), (200, 2))
        for client in clients:
            status, document = client.receive()
            self.assertEqual((status, document["which"]), (200, 1), document)
        self.assertEqual(server.request("GET", "/fn/slow").json()["which"], 2)
        self.stop(server)

    def while_it_runs(self, test):
        """test(loops) for a slow request that goes on for longer, again, as long as it says by False that the request
        was over too early: the machine had no time for us meanwhile."""
        self.assertTrue(any(test(times * LOOPS) for times in (1, 4, 16, 32)))

    def test_an_attempt_that_lost_is_run_again_in_its_version(self):
        for shards in (1, 3):
            self.while_it_runs(lambda loops, shards=shards: self.lose_an_attempt(shards, loops))

    def lose_an_attempt(self, shards, loops):
        server = self.serve(slow(1, loops), shards=shards, options=["--handler-timeout-ms", "600000"])
        client = self.client(server)
        client.begin("GET", "/fn/slow")
        self.reload(server, slow(2))
        server.execute({"cmd_type": "set", "key": "k1", "value": "changed"})
        status, document = client.receive()
        last = server.get("k1")[0]
        self.stop(server)
        if last == "changed":  # its commit came before that
            self.assertEqual((status, document), (200, {"which": 1}))
            return False
        # It read the key before; so this is its second attempt.
        self.assertEqual((status, document, last), (200, {"which": 1, "start": "changed"}, 1))
        return True

    def test_pipelined_requests_are_routed_when_they_start(self):
        self.while_it_runs(self.reload_between_pipelined)

    def reload_between_pipelined(self, loops):
        server = self.serve(slow(1, loops), shards=1, options=["--handler-timeout-ms", "600000"])
        client = self.client(server)
        client.send("GET", "/fn/slow")
        client.begin("GET", "/fn/which")
        self.reload(server, slow(2))
        over = client.has_reply()
        self.assertEqual(client.receive()[1]["which"], 1)
        first = client.receive()[1]["first"]
        if not over:
            self.assertEqual(first, 2)
        self.stop(server)
        return not over

    def test_a_client_that_leaves(self):
        server = self.serve(slow(1), shards=2, options=["--handler-timeout-ms", "60000"])
        with server.connect() as connection:
            connection.send_request("GET", "/fn/slow")
            connection.wait_until_read()
        self.reload(server, slow(2))
        self.reload(server, slow(3))
        self.assertEqual(server.request("GET", "/fn/which").json()["first"], 3)
        self.stop(server)

    def test_a_storm_of_signals_is_few_reloads(self):
        self.while_it_runs(self.storm)

    def storm(self, loops):
        server = self.serve(slow(1, loops), shards=2, options=["--handler-timeout-ms", "600000"])
        client = self.client(server)
        client.begin("GET", "/fn/slow")
        self.write(server, "app.lua", slow(2))
        for _ in range(200):
            server.signal(signal.SIGHUP)
            time.sleep(0.0005)
        over = client.has_reply()
        # The first is done at once, the second waits for the slow request, the others are part of it.
        self.assertEqual(client.receive()[1]["which"], 1)
        self.wait(server, lambda app: app["reloads"] >= 2)
        time.sleep(0.2)  # for one too many
        if not over:
            self.assertLess(self.app(server)["reloads"], 20)
        self.assertEqual(self.app(server)["failed_reloads"], 0)
        self.stop(server)
        return not over

    def end_during_a_reload(self, text, slow_one, options):
        """How long the end takes, in seconds, that comes while this application is taking over."""
        server = self.serve(slow(1), shards=2, options=options)
        client = self.client(server)
        if slow_one:
            client.begin("GET", "/fn/slow")
        self.write(server, "app.lua", text)
        server.signal(signal.SIGHUP)
        time.sleep(0.1)
        begun = time.monotonic()
        self.stop(server)
        seconds = time.monotonic() - begun
        if slow_one:
            self.assertEqual(client.receive()[1]["which"], 1)
        return seconds

    def test_an_end_during_a_reload(self):
        """While it loads, and while start runs, which would take 5 s, each time; and while the old version's last
        request runs, which it waits for."""
        for text in ("while true do end", answer(2, "on('start', function() while true do end end)")):
            seconds = [self.end_during_a_reload(text, False, [])]
            while min(seconds) >= 4.5 and len(seconds) < 4:
                seconds.append(self.end_during_a_reload(text, False, []))
            self.assertLess(min(seconds), 4.5, seconds)
        self.end_during_a_reload(slow(2), True, ["--handler-timeout-ms", "60000"])


class Lifecycle(ReloadCase):
    def test_start_runs_once_a_reload_and_before_the_first_request(self):
        text = """
on("first_run", function() incr("first") end)
on("start", function() incr("starts") set("by", %d) end)
route("starts", "json", function() return 200, { (get("starts")), (get("by")), %d, (get("first")) } end)"""
        server = self.serve(text % (1, 1), shards=3)
        self.assertEqual(server.request("GET", "/fn/starts").json(), [1, 1, 1, 1])
        for number in range(2, 6):
            self.reload(server, text % (number, number))
            self.assertEqual(server.request("GET", "/fn/starts").json(), [number, number, number, 1])
        server.restart()
        self.assertEqual(server.request("GET", "/fn/starts").json(), [6, 5, 5, 1])
        self.stop(server)

    def test_while_start_runs_the_old_version_serves(self):
        server = self.serve(answer(1))
        served, number = 0, 1
        while served == 0 and number < 6:  # or it was over before we could look
            number += 1
            served = self.served_beside_start(server, number, 30000000 * number)
        self.assertGreater(served, 0)
        self.stop(server)

    def served_beside_start(self, server, number, loops):
        """How many requests were answered by the version before this one while its start ran."""
        self.write(server, "app.lua", answer(number, """
on("start", function()
  local x = 0
  for i = 1, %d do x = x + i end
  set("done%d", true)
end)""" % (loops, number)))
        server.signal(signal.SIGHUP)
        served = 0
        while self.app(server)["generation"] < number:
            done = server.get("done%d" % number)[0]
            first = server.request("GET", "/fn/which").json()["first"]
            self.assertTrue(first < number or server.get("done%d" % number)[0])
            served += first < number and not done
        self.assertEqual(server.request("GET", "/fn/which").json()["first"], number)
        return served

    def test_a_start_that_fails_leaves_the_old_version(self):
        server = self.serve(answer(1))
        app = self.reload(server, answer(2, "on('start', function() set('x', 1) error('no start today') end)"))
        self.assertEqual(app["generation"], 1)
        self.assertIn('on("start") failed', app["last_reload_error"])
        self.assertRegex(server.stderr(), r"app\.lua:\d+: no start today")
        self.assertEqual(server.get("x"), (None, 0))
        self.assertEqual(server.request("GET", "/fn/which").json()["first"], 1)
        self.assertEqual(self.reload(server, answer(3))["generation"], 2)
        self.stop(server)

    def test_a_first_run_that_a_reload_brings(self):
        """It runs once: a later version's does not, nor one after a crash or from a snapshot."""
        text = answer(1, "on('first_run', function() incr('first') set('by', %d) end)")
        server = self.serve(answer(1))
        self.reload(server, text % 2)
        self.assertEqual((server.get("first")[0], server.get("by")[0]), (1, 2))
        self.reload(server, text % 3)
        self.assertEqual(server.request("POST", "/v1/admin/checkpoint").status, 200)
        server.restart(kill=True, shards=3)
        self.reload(server, text % 4)
        self.assertEqual((server.get("first")[0], server.get("by")[0]), (1, 2))
        self.stop(server)

    def test_a_first_run_that_fails_has_not_run(self):
        server = self.serve(answer(1))
        app = self.reload(server, answer(2, "on('first_run', function() set('half', 1) error('oh') end)"))
        self.assertIn('on("first_run") failed', app["last_reload_error"])
        self.assertEqual(self.reload(server, answer(3, "on('first_run', function() set('whole', 1) end)"))["generation"], 2)
        self.assertEqual((server.get("half")[0], server.get("whole")[0]), (None, 1))
        self.stop(server)

    def test_without_an_application(self):
        server = Server()
        self.addCleanup(server.remove)
        server.start()
        server.signal(signal.SIGHUP)
        deadline = time.monotonic() + REPLY_SECONDS
        while "no application to reload" not in server.stderr():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertNotIn("app", server.request("GET", "/v1/admin/status").json())
        self.stop(server)


class Watching(ReloadCase):
    def expect(self, server, generation):
        self.wait(server, lambda app: app["generation"] >= generation)

    def test_changes_of_app_and_modules(self):
        text = "local m = require 'lib.m'\nroute('which', 'json', function() return 200, { m, %d } end)"
        server = self.serve(text % 1, options=["--watch"], modules={"lib/m.lua": "return 'a'"})

        def which():
            return server.request("GET", "/fn/which").json()

        self.write(server, "app.lua", text % 2)  # renamed in place
        self.expect(server, 2)
        self.assertEqual(which(), ["a", 2])
        with open(server.app, "w") as file:  # written in place, in two steps
            file.write("local m = require 'lib.m'\n")
            file.flush()
            file.write((text % 3).split("\n")[1])
        self.wait(server, lambda app: which() == ["a", 3])
        self.write(server, "lib/m.lua", "return 'b'")
        self.wait(server, lambda app: which() == ["b", 3])
        self.write(server, "lib/m.lua", "return 'b' +")
        app = self.wait(server, lambda app: app["last_reload_error"])
        self.assertRegex(app["last_reload_error"], r"lib/m\.lua:1:")
        self.assertEqual(which(), ["b", 3])
        self.write(server, "lib/m.lua", "return 'c'")
        self.wait(server, lambda app: which() == ["c", 3])
        self.stop(server)

    def test_a_module_that_was_missing_and_a_folder_that_was_replaced(self):
        server = self.serve(answer(1), options=["--watch"])
        self.write(server, "app.lua", "local n = require 'new.n'\nroute('which', 'json', function() return 200, n end)")
        app = self.wait(server, lambda app: app["last_reload_error"])
        self.assertIn("new/n.lua", app["last_reload_error"])
        self.write(server, "new/n.lua", "return 5")
        self.wait(server, lambda app: app["last_reload_error"] is None)
        self.assertEqual(server.request("GET", "/fn/which").json(), 5)
        os.rename(os.path.join(server.folder, "new"), os.path.join(server.folder, "old"))
        self.write(server, "new/n.lua", "return 6")
        self.wait(server, lambda app: server.request("GET", "/fn/which").json() == 6)
        self.stop(server)

    def test_a_template_that_changed_is_rendered(self):
        server = self.serve("route('page', 'html', function() return 200, render('page', { n = 7 }) end)",
                            options=["--watch"], modules={"page.mustache": "old {{n}}"})
        self.assertEqual(server.request("GET", "/fn/page").body, b"old 7")
        self.write(server, "page.mustache", "new {{n}}")
        self.wait(server, lambda app: server.request("GET", "/fn/page").body == b"new 7")
        self.stop(server)

    def test_templates_and_other_files(self):
        server = self.serve(answer(1), options=["--watch"])
        for name in ("notes.txt", "other.lua", ".page.mustache.swp"):
            self.write(server, name, "x")
        time.sleep(0.4)
        self.assertEqual(self.app(server)["generation"], 1)
        for number, name in enumerate(("page.mustache", "parts/item.mustache", "page.mustache"), 2):
            self.write(server, name, "x" * number)
            self.expect(server, number)
        os.unlink(os.path.join(server.folder, "parts", "item.mustache"))
        self.expect(server, 5)
        self.stop(server)


class Bounds(ReloadCase):
    def resident(self, server):
        with open("/proc/%d/status" % server.process.pid) as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) / 1024

    def test_memory_and_descriptors_stay_flat_over_many_reloads(self):
        text = answer(1, "local ballast = {} for i = 1, 20000 do ballast[i] = { i } end")
        server = self.serve(text, shards=2)
        done = threading.Event()
        marks = []

        def client(_):
            connection = Client(server)
            number = 0
            while not done.is_set():
                number += 1
                status, document = connection.get("/fn/which?n=%d" % (number % 10))
                self.assertEqual(status, 200, document)
            connection.close()

        def reloads(_):
            try:
                count = scaled(50)
                for number in range(count):
                    app = self.reload(server, text + "-- %d" % number)
                    self.assertIsNone(app["last_reload_error"])
                    if number in (count // 3, count - 1):
                        marks.append((self.resident(server), len(os.listdir("/proc/%d/fd" % server.process.pid))))
            finally:
                done.set()

        in_threads(3, lambda index: reloads(index) if index == 0 else client(index))
        # A machine of this application takes some 3 MiB: two thirds of 50 reloads would be 200 MiB. (What
        # is freed stays with AddressSanitizer for a while.)
        if len(marks) == 2 and not sanitized():
            self.assertLess(marks[1][0], marks[0][0] + 40, marks)
            self.assertLessEqual(marks[1][1], marks[0][1] + 4, marks)
        metrics = server.metrics()
        self.assertLess(metrics['concave_lua_memory_bytes{shard="0"}'], 20e6)
        self.stop(server)

    def test_labels_are_bounded(self):
        long = "route(('x'):rep(5000), 'json', function() return 200, 'long' end)\n"
        text = long + "for i = 1, 4090 do route('v%d/' .. i, 'json', function() return 200, %d end) end"
        server = self.serve(text % (1, 1), shards=1)
        for number in (2, 3):
            self.reload(server, text % (number, number))
            self.assertEqual(server.request("GET", "/fn/v%d/%d" % (number, 1 if number == 2 else 4090)).json(), number)
        self.assertEqual(server.request("GET", "/fn/" + "x" * 5000).json(), "long")
        self.assertRegex(server.stderr(), r"metrics: \d+ routes are counted together as \"further routes\"")
        metrics = server.metrics()
        self.assertEqual(metrics['concave_http_requests_total{route="/fn/v2/1",code="200"}'], 1)
        self.assertEqual(metrics['concave_http_requests_total{route="further routes",code="200"}'], 2)
        self.stop(server)


if __name__ == "__main__":
    unittest.main()
