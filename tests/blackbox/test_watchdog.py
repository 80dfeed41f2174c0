"""The watchdog ends a server one of whose shards stands still. It takes as long as that is: some ten seconds.

Nothing that a client can do makes a shard stand still, so its thread is stopped by ptrace.
"""
import os
import signal
import time
import unittest

from clients import Client
from server import Server
from tracing import PTRACE_CONT, PTRACE_INTERRUPT, PTRACE_SEIZE, WAIT_ALL, ptrace, thread_of

APP = "route('spin/:n', 'json', function() while true do end end)\n"
SECONDS_MAX = 40


class Watchdog(unittest.TestCase):
    def stand_still(self):
        """A server whose only shard has been stopped in a handler, its thread, and since when."""
        server = Server(shards=1, options=["--handler-timeout-ms", "600000"])
        self.addCleanup(server.remove)
        server.app = os.path.join(server.folder, "spin.lua")
        with open(server.app, "w") as file:
            file.write(APP)
        server.start()
        server.put("kept", 1)
        client = Client(server)
        self.addCleanup(client.close)
        client.begin("GET", "/fn/spin/1")
        thread = thread_of(server.process, "shard-0")
        try:
            ptrace(PTRACE_SEIZE, thread)
        except OSError as error:
            self.skipTest("ptrace is not allowed here: %s" % error)
        begun = time.monotonic()
        for _ in range(1000):
            ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WAIT_ALL)  # it has stopped
            if self.is_in_lua(server.process.pid, thread):
                break
            ptrace(PTRACE_CONT, thread)
            time.sleep(0.013)
        return server, thread, begun

    @staticmethod
    def is_in_lua(pid, thread):
        """Whether a stopped thread is in code of Lua's library. If that is no file of its own, not being in the kernel
        must do: then it most likely is."""
        with open("/proc/%d/task/%d/syscall" % (pid, thread), encoding="ascii") as file:
            state = file.read().split()  # "-1 SP PC" outside of the kernel
        with open("/proc/%d/maps" % pid, encoding="utf-8") as file:
            lua = [line.split()[0].split("-") for line in file if "liblua" in line]
        return state[0] == "-1" and (not lua or any(
            int(first, 16) <= int(state[2], 16) < int(end, 16) for first, end in lua))

    def wait_for_abort(self, server, thread, begun):
        while True:
            done, status = os.waitpid(thread, WAIT_ALL | os.WNOHANG)
            if done and (os.WIFSIGNALED(status) or os.WIFEXITED(status)):
                break
            self.assertLess(time.monotonic() - begun, SECONDS_MAX, server.stderr())
            time.sleep(0.05)
        self.assertEqual(server.wait(), -signal.SIGABRT, server.stderr())
        self.assertGreater(time.monotonic() - begun, 9)
        self.assertRegex(server.stderr(), r"shard 0 .* in route /fn/spin/:n of \S+spin\.lua")

    def test_a_shard_that_stands_still_ends_the_process_with_a_line_that_says_where(self):
        server, thread, begun = self.stand_still()
        self.wait_for_abort(server, thread, begun)
        server.app = None
        server.start()
        self.assertEqual(server.get("kept")[0], 1)
        self.assertEqual(server.stop(), 0)

    def test_also_while_the_server_stops(self):
        server, thread, begun = self.stand_still()
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGTERM)
        self.wait_for_abort(server, thread, begun)


if __name__ == "__main__":
    unittest.main()
