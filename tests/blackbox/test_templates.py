"""Templates of a resources folder: as pages over HTTP, in `check`, and beside other requests."""
import os
import shutil
import tempfile
import threading
import time
import unittest

from server import Server, run

APP = """
route("page", "html", function(args) return 200, render("page", args) end)
route("list/:n", "html", function(args)
  local items = {}
  for i = 1, tonumber(args.n) do items[i] = { name = "<" .. i .. ">" } end
  return 200, render("admin/list", { items = items })
end)
route("broken", "html", function() return 200, render("broken") end)
route("missing", "html", function() return 200, render("missing") end)
route("outside", "html", function() return 200, render("outside") end)
route("endless", "html", function()
  local x = {}
  for i = 1, 1000 do x[i] = i end
  return 200, render("endless", { x = x })
end)
route("ping", "text", function() return 200, "pong" end)
"""


class Templates(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="concave-templates-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.resources = os.path.join(self.folder, "resources")
        os.makedirs(os.path.join(self.resources, "admin"))
        self.write("secret.mustache", "secret")
        self.write("app.lua", APP)
        self.write("resources/page.mustache", "<h1>{{title}}</h1>\n  {{> admin/foot}}\n")
        self.write("resources/admin/foot.mustache", "<i>{{{title}}}</i>\n")
        self.write("resources/admin/list.mustache", "{{#items}}\n<li>{{name}}\n{{/items}}\n")
        self.write("resources/endless.mustache", "{{#x}}" * 5 + "{{/x}}" * 5)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def serve(self, options=()):
        server = Server(app=os.path.join(self.folder, "app.lua"), shards=1,
                        options=["--resources", self.resources, *options])
        self.addCleanup(server.remove)
        return server.start()

    def test_pages(self):
        server = self.serve()
        reply = server.request("GET", "/fn/page?title=%3Cb%3E%20%26")
        self.assertEqual((reply.status, reply.body), (200, b"<h1>&lt;b&gt; &amp;</h1>\n  <i><b> &</i>\n"))
        self.assertEqual(reply.header("Content-Type"), "text/html; charset=utf-8")
        reply = server.request("GET", "/fn/list/3")
        self.assertEqual(reply.body, b"<li>&lt;1&gt;\n<li>&lt;2&gt;\n<li>&lt;3&gt;\n")
        self.assertEqual(len(server.request("GET", "/fn/list/20000").body), 20000 * 13 + 88894)

    def test_a_byte_order_mark_is_no_text(self):
        self.write("resources/page.mustache", "\ufeff{{! alone on its line }}\n{{> admin/foot}}.")
        self.write("resources/admin/foot.mustache", "\ufeff<i>{{title}}\ufeff</i>")
        self.assertEqual(self.serve().request("GET", "/fn/page?title=x").body, "<i>x\ufeff</i>.".encode())

    def test_what_cannot_be_used_is_told(self):
        self.write("resources/broken.mustache", "one\n {{#two}}\n")
        os.symlink("../secret.mustache", os.path.join(self.resources, "outside.mustache"))
        server = self.serve()
        for route in ("broken", "missing", "outside"):
            self.assertEqual(server.request("GET", "/fn/" + route).status, 500)
        self.assertEqual(server.request("GET", "/fn/page?title=x").status, 200)
        self.assertEqual(server.stop(), 0)
        text = server.stderr()
        self.assertIn("warn broken.mustache:2:2: section 'two' is not closed", text)
        self.assertIn("app.lua:8: broken.mustache:2:2: section 'two' is not closed", text)
        self.assertIn("app.lua:9: render: no template 'missing'", text)
        self.assertIn("app.lua:10: outside.mustache: a link that leads out of the resources folder", text)

    def test_check(self):
        arguments = ["check", "--app", os.path.join(self.folder, "app.lua"), "--resources", self.resources]
        done = run(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.write("resources/broken.mustache", "one\n {{#two}}\n")
        self.write("resources/admin/also.mustache", "{{x")
        done = run(*arguments)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/fn/page", done.stdout)
        self.assertEqual(done.stderr.splitlines(), [
            "admin/also.mustache:1:1: tag without its end '}}'",
            "broken.mustache:2:2: section 'two' is not closed"])

    def test_a_long_render_delays_nobody(self):
        server = self.serve(["--handler-timeout-ms", "1500"])
        answered = [self.answered_beside_a_render(server)]
        while answered[-1] <= 20 and len(answered) < 4:  # of the thousands that a quiet machine answers
            answered.append(self.answered_beside_a_render(server))
        self.assertGreater(answered[-1], 20, answered)

    def answered_beside_a_render(self, server):
        endless = []
        thread = threading.Thread(
            target=lambda: endless.append(server.request("GET", "/fn/endless").status))
        thread.start()
        answered, began = 0, time.monotonic()
        while thread.is_alive():
            self.assertEqual(server.request("GET", "/fn/ping").body, b"pong")
            answered += 1
        thread.join()
        self.assertEqual(endless, [504])
        self.assertGreater(time.monotonic() - began, 1)
        return answered


if __name__ == "__main__":
    unittest.main()
