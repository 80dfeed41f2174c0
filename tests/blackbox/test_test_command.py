"""`concave test`: test blocks run on a store in memory, and say readably what went wrong."""

import os
import subprocess
import tempfile
import unittest

from server import BINARY, BUDGET_MS, SOURCE, Server

APPS = os.path.join(SOURCE, "tests", "blackbox", "apps")


def run(*arguments, cwd=None, env=None):
    budget = ["--handler-timeout-ms", str(BUDGET_MS)] if arguments else []  # of two the last one counts
    return subprocess.run([BINARY, "test", *budget, *arguments], cwd=cwd, env=env, timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class TestCommand(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, text, name="app.lua"):
        with open(os.path.join(self.folder.name, name), "w", encoding="utf-8") as file:
            file.write(text)

    def run_text(self, text, *arguments):
        self.file(text)
        return run("app.lua", *arguments, cwd=self.folder.name)

    def assert_fails(self, text, *wanted):
        done = self.run_text(text)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for part in wanted:
            self.assertIn(part, done.stdout)
        return done.stdout

    def test_everything_that_a_test_may_do(self):
        """At any number of shards, on which keys and handlers are spread."""
        for shards in (1, 2, 7):
            done = run(os.path.join(APPS, "tested.lua"), "--shards", str(shards), "--handler-timeout-ms", "1500",
                       cwd=self.folder.name)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("8 passed, 0 failed in ", done.stdout)
            self.assertEqual(done.stderr, "")
        self.assertEqual(os.listdir(self.folder.name), [], "no files are written")

    def test_the_demos(self):
        folder = os.path.join(SOURCE, "demos")
        files = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith("_test.lua"))
        self.assertTrue(files)
        for shards in ("1", "3"):
            done = run(*files, "--shards", shards)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_failure_shows_message_place_and_lines(self):
        output = self.assert_fails(
            'test("sums", function()\n  expect({ a = 1, b = { 1, 2 } }, { a = 2, b = { 1 } }, "the sum")\nend)\n',
            "FAIL sums (", "app.lua:2: the sum: not as expected", ".a: expected 2, got 1",
            ".b[2]: expected nil, got 2", ">   2 |   expect(", "0 passed, 1 failed in ")
        self.assertNotIn("concave:", output)

    def test_a_plain_assert_is_found_by_the_stack(self):
        self.assert_fails('test("a", function()\n  assert(1 == 2)\nend)', "app.lua:2: assertion failed!", ">   2 |")

    def test_an_error_in_a_helper_has_its_traceback(self):
        self.file("return function()\n  error('deep')\nend\n", "helper.lua")
        self.assert_fails('local help = require "helper"\ntest("a", function()\n  local x = help()\n  return x\nend)',
                          "helper.lua:2: deep", "app.lua:3: in function <app.lua:2>")

    def test_a_handlers_error_is_shown_if_the_test_fails(self):
        app = ('route("r", "json", function(args)\n  return 200, args.a.b\nend)\n'
               'test("a", function() expect(call("r"), %d) end)\n')
        self.assert_fails(app % 200, "expected 200, got 500", "the handler of GET /fn/r failed (500):",
                          "app.lua:2: attempt to index a nil value (field 'a')")
        done = self.run_text(app % 500)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("attempt to index", done.stdout)

    def test_mistakes_in_call_are_named(self):
        app = 'route("user/:id", "json", function() return 200 end)\ntest("a", function()\n  %s\nend)\n'
        for text, wanted in [
                ('call("usr/7")', "app.lua:3: call: there is no route 'usr/7' (did you mean 'user/7'?)"),
                ('call("something")', "app.lua:3: call: there is no route 'something'\n"),
                ('call(7, {})', "call: the route must be a string"),
                ('call("user/7", nil, { metod = "GET" })', "unknown option 'metod' (there are method, query,"),
                ('call("user/7", nil, { method = 1 })', "option 'method' must be a string, got number"),
                ('call("user/7", {}, { body = "x" })', "give args, form or body, not two of them"),
                ('call("user/7", { f = print })', "call: args.f: a function cannot be encoded"),
                ('call("user/7", nil, { query = { a = {} } })', "query.a must be a string, a number or a boolean"),
                ('set("k", print)', "set: value: a function cannot be encoded"),
                ('get(7)', "app.lua:3: get: the key must be a string, got number"),
                ('for k in range(1) do end', "app.lua:3: range: "),
                ('abort(400)', "abort works only while a request is handled"),
                ('x = 1', "cannot set 'x': globals are sealed"),
                ('setmetatable({}, { __add = function() return call("user/7") end }).x = {} + 1', "FAIL a"),
        ]:
            with self.subTest(text=text):
                self.assert_fails(app % text, wanted)

    def test_a_file_that_does_not_load(self):
        self.assert_fails('route("a", "json"\n', "FAIL the file cannot be loaded", "app.lua:2: ')' expected")
        self.assert_fails('require "gone"', 'gone.lua: not found')
        self.assert_fails('call("x")', "app.lua:1: call works only inside a test")
        self.assert_fails('test("x")', "bad argument #2 to 'test' (function expected")

    def test_tests_must_not_depend_on_chance(self):
        self.assert_fails('if test_runs == nil and not pcall(call) then end\n'
                          'local first = tostring(pcall(call, 7)) == "false" and select(2, pcall(call, 7))\n'
                          'if first:find("only inside a test") then test("a", function() end) end\n',
                          "app.lua: a file must declare the same tests each time it loads")

    def test_first_run_that_fails_fails_the_test(self):
        self.assert_fails('on("first_run", function() error("no") end)\ntest("a", function() end)\n',
                          'on("first_run") failed', "app.lua:1: no")

    def test_a_test_without_end_or_memory(self):
        done = self.run_text('test("a", function() local t = {} while true do t[#t + 1] = ("x"):rep(1e5) .. #t end end)\n'
                             'test("b", function() end)\n', "--lua-memory-max", "4MiB")
        self.assertIn("FAIL a (", done.stdout)
        self.assertIn("needs more memory than --lua-memory-max", done.stdout)
        self.assertIn("1 passed, 1 failed", done.stdout)

    def test_a_handler_without_enough_memory(self):
        done = self.run_text('route("r", "json", function() local t = {} while true do t[#t + 1] = ("x"):rep(1e5) .. #t end end)\n'
                             'test("a", function() expect(call("r"), 500) expect(call("r"), 500) end)\n',
                             "--lua-memory-max", "4MiB", "--log-level", "error")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_filter_and_no_tests(self):
        app = 'test("one", function() end)\ntest("two", function() error("x") end)\n'
        done = self.run_text(app, "--filter", "on")
        self.assertEqual(done.returncode, 0)
        self.assertIn("1 passed, 0 failed", done.stdout)
        done = self.run_text(app, "--filter", "three")
        self.assertEqual((done.returncode, done.stderr), (1, "concave: no test has such a name\n"))
        done = self.run_text("")
        self.assertEqual((done.returncode, done.stderr), (1, "concave: no test was found\n"))
        self.assertEqual(run().returncode, 2)

    def test_what_a_test_prints_is_shown(self):
        done = self.run_text('test("a", function() print("hello", 1, nil, {}) end)')
        self.assertIn("     hello\t1\tnil\ttable\n", done.stdout)

    def test_random_is_the_same_each_time(self):
        app = 'route("r", "text", function() return 200, uuid() end)\ntest("a", function() print(select(2, call("r"))) end)'
        lines = [self.run_text(app).stdout.split("\n")[1] for _ in range(2)]
        self.assertEqual(lines[0], lines[1])

    def test_test_blocks_do_nothing_in_a_server(self):
        with Server(app=os.path.join(APPS, "tested.lua")) as server:
            self.assertEqual(server.request("POST", "/fn/add").json()["sum"], 1)


if __name__ == "__main__":
    unittest.main()
