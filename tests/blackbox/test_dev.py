"""--dev: a handler's error in its reply; without it the reply tells nothing but an id."""

import os
import tempfile
import unittest

from server import Server

APP = """local helper = require "helper"
route("broken", "json", function(args)
  local key = "k"
  return 200, args.user.name
end)
route("helper", "json", function() helper("<b>&") end)
route("remote", "json", function(args)
  for i = 1, 20 do get("k" .. i) end
  set("a", 1)
  error("far\\xff")
end)
route("bad", "json", function() return "200" end)
route("table", "json", function() error({ code = 1 }) end)
route("refused", "json", function() abort(403, { error = "no" }) end)
route("endless", "json", function() while true do end end)
"""
HELPER = """return function(text)
  error("helper says " .. text)
end
"""


class TestDev(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.app = os.path.join(folder.name, "app.lua")
        for name, text in (("app.lua", APP), ("helper.lua", HELPER)):
            with open(os.path.join(folder.name, name), "w", encoding="utf-8") as file:
                file.write(text)

    def test_json_has_message_source_and_traceback(self):
        with Server(shards=2, app=self.app, options=["--dev"]) as server:
            reply = server.request("GET", "/fn/broken")
            self.assertEqual(reply.status, 500)
            body = reply.json()
            self.assertEqual(body["error"], "app.lua:4: attempt to index a nil value (field 'user')")
            self.assertEqual(body["code"], "handler_error")
            self.assertEqual(body["id"], reply.header("X-Request-Id"))
            self.assertEqual(body["source"][2], ">   4 |   return 200, args.user.name")
            self.assertEqual(body["traceback"], ["app.lua:4: in function <app.lua:2>"])

            body = server.request("GET", "/fn/helper").json()
            self.assertEqual(body["error"], "helper.lua:2: helper says <b>&")
            self.assertIn('>   2 |   error("helper says " .. text)', body["source"])

            body = server.request("GET", "/fn/remote").json()
            self.assertEqual(body["error"], "app.lua:10: far?", "bytes that are no UTF-8")
            self.assertEqual(server.request("GET", "/v1/get?key=a").status, 404)

            self.assertIn("bad status 200 in the reply", server.request("GET", "/fn/bad").json()["error"])
            self.assertEqual(server.request("GET", "/fn/table").json()["error"], "app.lua:13: error object is a table")
            self.assertEqual(server.request("GET", "/fn/refused").json(), {"error": "no"})
            self.assertIn("--dev: clients are shown", server.stderr())
            self.assertIn("handler error: app.lua:4:", server.stderr())

    def test_a_timeout_has_no_source(self):
        with Server(app=self.app, options=["--dev", "--handler-timeout-ms", "300"]) as server:
            body = server.request("GET", "/fn/endless").json()
            self.assertEqual((body["code"], "source" in body), ("timeout", False))

    def test_a_browser_gets_a_page_with_all_of_it_escaped(self):
        with Server(app=self.app, options=["--dev"]) as server:
            reply = server.request("GET", "/fn/helper", headers=[("Accept", "text/html,*/*;q=0.8")])
            self.assertEqual(reply.status, 500)
            self.assertEqual(reply.header("Content-Type"), "text/html; charset=utf-8")
            page = reply.body.decode("utf-8")
            self.assertIn("<p>helper.lua:2: helper says &lt;b&gt;&amp;</p>", page)
            self.assertIn("&gt;   2 |   error(&quot;helper says &quot; .. text)", page)
            self.assertIn("app.lua:6: in function", page)
            self.assertNotIn("<b>", page)

    def test_without_it_nothing_is_told(self):
        with Server(app=self.app) as server:
            for headers in ([], [("Accept", "text/html")]):
                for path in ("/fn/broken", "/fn/helper", "/fn/remote"):
                    reply = server.request("GET", path, headers=headers)
                    self.assertEqual(reply.status, 500)
                    self.assertIn(b"internal error", reply.body)
                    self.assertNotIn(b"lua", reply.body)


if __name__ == "__main__":
    unittest.main()
