"""Every demo loads, is served, and answers what its README tells people to try."""
import glob
import os
import re
import shlex
import subprocess
import unittest

from server import SOURCE, Server, run

DEMOS = os.path.join(SOURCE, "demos")
NAMES = sorted(os.path.basename(path)[:-len(".lua")] for path in glob.glob(os.path.join(DEMOS, "*.lua"))
               if not path.endswith("_test.lua"))
DEFAULT_ADDRESS = "http://127.0.0.1:8080"


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


class Demos(unittest.TestCase):
    def test_there_are_all(self):
        self.assertEqual(NAMES, ["bank", "counter", "guestbook", "todo"])
        index = read("demos", "README.md")
        for name in NAMES:
            self.assertIn("(%s/README.md)" % name, index)

    def test_check(self):
        for name in NAMES:
            done = run("check", "--app", os.path.join(DEMOS, name + ".lua"))
            self.assertEqual((done.returncode, done.stderr), (0, ""), name)

    def test_what_the_readmes_say(self):
        for name in NAMES:
            with self.subTest(demo=name):
                self.try_what_is_said(name)

    def try_what_is_said(self, name):
        """The page's address gives a page, and each of the lines that run.sh prints succeeds."""
        readme = read("demos", name, "README.md")
        page = re.findall(r"^    (http://\S+)$", readme, re.M)[0]
        lines = re.findall(r"^    (curl .*)$", readme, re.M)
        self.assertEqual(len(lines), 3)
        with Server(app=os.path.join(DEMOS, name + ".lua"), shards=2) as server:
            url = "http://%s:%d" % server.address
            for line in ["curl -H 'Accept: text/html' " + page] + lines:
                self.assertIn(DEFAULT_ADDRESS, line)
                arguments = shlex.split(line.replace(DEFAULT_ADDRESS, url))
                # Whatever proxy or ~/.curlrc there may be.
                done = subprocess.run(arguments[:1] + ["-q", "-sS", "--fail", "--max-time", "60", "--noproxy", "*"] + arguments[1:],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, b""), line)
                self.assertTrue(done.stdout, line)
            self.assertEqual(server.request("GET", "/static/demo.css").status, 200)

    def test_the_opening_example_is_the_counter(self):
        block = re.search(r"^```lua\n(.*?)^```$", read("README.md"), re.M | re.S).group(1)
        self.assertEqual(block, read("demos", "counter.lua"))
        self.assertEqual(block.count("\n"), 5)

    def test_an_unknown_demo(self):
        """run.sh lists what there is, and starts nothing."""
        for name in ("nosuch", "../demos/bank", ".bank", "todo_test"):
            done = subprocess.run(["sh", os.path.join(DEMOS, "run.sh"), name], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, b""))
            text = done.stderr.decode()
            self.assertIn("no demo '%s'" % name, text)
            self.assertEqual(re.findall(r"^  (\w+)$", text, re.M), NAMES)


if __name__ == "__main__":
    unittest.main()
