"""`concave check`: the routes of an application, or what is wrong with it, with file and line."""

import os
import subprocess
import tempfile
import unittest

from server import BINARY, SOURCE


class TestCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def check(self, text, **others):
        for name, content in dict(others, app=text).items():
            with open(os.path.join(self.folder.name, name + ".lua"), "w", encoding="utf-8") as file:
                file.write(content)
        return subprocess.run([BINARY, "check", "--app", "app.lua"], cwd=self.folder.name, timeout=60, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def assert_problems(self, text, *lines, **others):
        done = self.check(text, **others)
        self.assertEqual(done.stderr.splitlines(), list(lines))
        self.assertEqual(done.returncode, 1 if lines else 0)

    def test_routes_are_listed_with_file_and_line(self):
        done = self.check('route("a", "json", { method = { "get", "POST" } }, function() return 200 end)\n'
                          'require "more"\n', more='\nroute("b/:id", "text", function() return 200 end)\n')
        self.assertEqual(done.stdout, "GET, POST /fn/a json app.lua:1\nany method /fn/b/:id text more.lua:2\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_unknown_globals(self):
        self.assert_problems(
            'local total = 0\nreturn function()\n  totl = total\n  return jsn.encode(gett("x"), something)\nend\n',
            "app.lua:3: assigns the global 'totl', but globals are sealed once the file is loaded (is a 'local' missing?)",
            "app.lua:4: there is no global 'gett' (did you mean 'get'?)",
            "app.lua:4: there is no global 'jsn' (did you mean 'json'?)",
            "app.lua:4: there is no global 'something'")

    def test_globals_of_any_file_count_and_so_do_those_made_while_loading(self):
        self.assert_problems('require "more"\nmine = nil\nlocal function set_up() made = 1 end\nset_up()\n'
                             'return function() return shared, mine, made, _G.perhaps, _VERSION, call, test end\n',
                             more="shared = 1\n")

    def test_problems_of_modules_name_the_module(self):
        self.assert_problems('require "more"', "more.lua:2: there is no global 'nope'",
                             more="local M = {}\nfunction M.f() return nope end\nreturn M\n")

    def test_what_stops_the_load_is_told_with_its_place(self):
        for text, wanted in [
                ('route("a", "json"\n', "app.lua:2: ')' expected (to close '(' at line 1) near <eof>"),
                ('route("a", "jsn", function() end)', "app.lua:1: bad argument #2 to 'route' ('jsn' is none of json, html, text)"),
                ('\nroute("a//b", "json", function() end)', "app.lua:2: route 'a//b': "),
                ('require "gone"', "app.lua:1: gone.lua: not found"),
                ('local x = nil\nx.y = 1', "app.lua:2: attempt to index a nil value (local 'x')"),
        ]:
            done = self.check(text)
            self.assertEqual(done.returncode, 1)
            self.assertIn(wanted, done.stderr)
        done = self.check('route("a", "json", function() end)\nroute("a", "text", function() end)\n')
        self.assertIn("app.lua:2: route 'a' for this method is there already: 'a' at app.lua:1", done.stderr)

    def test_the_demos_have_no_problems(self):
        folder = os.path.join(SOURCE, "demos")
        for name in sorted(os.listdir(folder)):
            if name.endswith(".lua"):
                done = subprocess.run([BINARY, "check", "--app", os.path.join(folder, name)], timeout=60,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual((done.returncode, done.stderr), (0, b""), name)


if __name__ == "__main__":
    unittest.main()
