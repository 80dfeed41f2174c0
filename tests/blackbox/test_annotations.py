"""lua/concave.d.lua says what the sandbox offers, no more and no less."""

import os
import re
import subprocess
import tempfile
import unittest

from server import BINARY, SOURCE, Server

ANNOTATIONS = os.path.join(SOURCE, "lua", "concave.d.lua")

# Globals of Lua 5.4 itself (manual, 6.1 to 6.9), which editors know without us.
LUA = {"_G", "_VERSION", "assert", "collectgarbage", "coroutine", "debug", "dofile", "error", "getmetatable", "io", "ipairs",
       "load", "loadfile", "math", "next", "os", "package", "pairs", "pcall", "print", "rawequal", "rawget", "rawlen",
       "rawset", "require", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8", "warn",
       "xpcall"}

APP = """
local function names(t)
  local list = json.array()
  for name in pairs(t) do list[#list + 1] = name end
  table.sort(list)
  return list
end
route("names", "json", function() return 200, { globals = names(_G), json = names(json) } end)
route("req", "json", function(args, req)
  local types = {}
  for _, field in ipairs(args) do types[field] = type(req[field]) end
  for _, field in ipairs(req.json.fields) do types[field] = type(req[field]) end
  return 200, types
end)
"""


class TestAnnotations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(ANNOTATIONS, encoding="utf-8") as file:
            cls.text = file.read()

    def test_names_are_those_of_the_sandbox(self):
        globals_said = set(re.findall(r"^function (\w+)\(", self.text, re.M)) | set(
            re.findall(r"^(\w+) = ", self.text, re.M))
        json_said = set(re.findall(r"^function json\.(\w+)\(", self.text, re.M)) | {"null"}
        fields = re.search(r"---@class concave\.Req\n((?:---@field .*\n)+)", self.text).group(1)
        fields = re.findall(r"---@field (\w+) ", fields)
        self.assertEqual(len(fields), 10)
        with tempfile.TemporaryDirectory() as folder:
            app = os.path.join(folder, "app.lua")
            with open(app, "w", encoding="utf-8") as file:
                file.write(APP)
            with Server(app=app) as server:
                offered = server.request("GET", "/fn/names").json()
                body = ('{"fields":["%s"]}' % '","'.join(fields)).encode()
                types = server.request("POST", "/fn/req", body, headers=[("Content-Type", "application/json")]).json()
        self.assertEqual(set(offered["globals"]) - LUA, globals_said - LUA)
        self.assertEqual(globals_said & LUA, {"require"}, "what Lua has is left to the editor")
        self.assertEqual(set(offered["json"]), json_said)
        self.assertEqual(set(types), set(fields))
        self.assertNotIn("nil", types.values())

    def test_every_parameter_is_described(self):
        """A function's @param lines name its parameters in their order."""
        blocks = re.findall(r"((?:^---.*\n)+)^function ([\w.]+)\((.*)\) end$", self.text, re.M)
        self.assertGreater(len(blocks), 20)
        for comment, name, parameters in blocks:
            said = re.findall(r"^---@param (\w+)\??", comment, re.M)
            self.assertEqual(said, [p for p in parameters.split(", ") if p], name)

    def test_it_is_lua(self):
        done = subprocess.run([BINARY, "check", "--app", ANNOTATIONS], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""))


if __name__ == "__main__":
    unittest.main()
