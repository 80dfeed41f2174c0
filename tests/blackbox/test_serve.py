"""The server as a process: where options come from, exit codes, locks, health, tokens, the second
listener, and how it ends."""

import os
import signal
import socket
import threading
import time
import unittest

from server import (Connection, Disconnected, Server, run, scaled)
from tracing import Hold

RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: close with a reset

OPTIONS = """app data resources addr admin-addr shards durability wal-batch-delay-us wal-segment-bytes
    checkpoint-wal-bytes memory-max handler-timeout-ms lua-memory-max key-bytes-max value-bytes-max
    body-bytes-max header-bytes-max connections-max head-timeout-ms body-timeout-ms idle-timeout-ms
    auth-token-file log-level log-format config""".split()


class Usage(unittest.TestCase):
    """Exit code 2, a message on stderr, and nothing started."""

    def setUp(self):
        self.other = Server()  # never started; for its folder
        self.addCleanup(self.other.remove)

    def path(self, name, text=None):
        path = os.path.join(self.other.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def assertUsage(self, *arguments, words=(), env=None):
        done = run("serve", "--data", self.other.data, "--addr", "127.0.0.1:0", *arguments, env=env)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertFalse(os.path.exists(self.other.data), "something was started")

    def test_unknown_options_are_named(self):
        self.assertUsage("--no-such-option", words=["no-such-option"])
        self.assertUsage("--no-such-option=1", words=["no-such-option"])
        self.assertUsage("--shard", "1", words=["shard"])
        self.assertUsage("stray", words=["stray"])

    def test_values_out_of_range_are_named_with_the_range(self):
        for option, values, words in (
                ("--shards", ("0", "257", "-1", "x", "", "1.5"), ("256",)),
                ("--connections-max", ("0", "x"), ()), ("--key-bytes-max", ("0", "-5"), ()),
                ("--body-timeout-ms", ("0", "1s"), ()), ("--handler-timeout-ms", ("0",), ()),
                ("--durability", ("never", "interval", "interval:", "interval:x", "interval:0"), ()),
                ("--log-level", ("loud", ""), ("debug",)), ("--log-format", ("xml",), ("json",)),
                ("--wal-segment-bytes", ("1", "99999999999999999999"), ()),
                ("--addr", ("nonsense", "127.0.0.1", "127.0.0.1:65536", ":", "127.0.0.1:x"), ()),
                ("--admin-addr", ("127.0.0.1:-1",), ())):
            for value in values:
                with self.subTest(option=option, value=value):
                    self.assertUsage(option, value, words=[option.lstrip("-"), *words])
                    name = "CONCAVE_" + option.lstrip("-").replace("-", "_").upper()
                    if value and option != "--addr":
                        self.assertUsage(env={name: value})

    def test_a_missing_value_is_named(self):
        self.assertUsage("--shards", words=["shards"])

    def test_a_bad_config_file_is_named(self):
        self.assertUsage("--config", self.path("none.ini"), words=["none.ini"])
        self.assertUsage("--config", self.other.folder)
        self.assertUsage("--config", self.path("a.ini", "shards = 1\nno-such-option = 1\n"),
                         words=["a.ini", "no-such-option"])
        self.assertUsage("--config", self.path("b.ini", "shards = 0\n"), words=["shards", "256"])
        self.assertUsage("--config", self.path("c.ini", "what is this\n"), words=["c.ini"])

    def test_a_bad_token_file_is_named(self):
        self.assertUsage("--auth-token-file", self.path("none"), words=["none"])
        self.assertUsage("--auth-token-file", self.path("empty", ""), words=["empty"])
        self.assertUsage("--auth-token-file", self.path("line", "\n"))

    def test_unknown_commands_are_named(self):
        for arguments in ((), ("nonsense",), ("--addr", "127.0.0.1:0")):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertTrue(done.stderr)
        self.assertIn("nonsense", run("nonsense").stderr)

    def test_help_names_every_option(self):
        done = run("help", "serve")
        self.assertEqual(done.returncode, 0)
        for option in OPTIONS:
            self.assertIn("--" + option, done.stdout)
        self.assertEqual(run("help").returncode, 0)
        self.assertIn("serve", run("help").stdout)

    def test_version_is_told(self):
        done = run("version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")


class Sources(unittest.TestCase):
    """Flag before environment before file before default."""

    def key_limit(self, options=(), env=None):
        """The --key-bytes-max in force, by trying."""
        with Server(options=options, env=env) as server:
            for limit in (3, 4, 5, 1024):
                if server.request("GET", "/v1/get?key=" + "k" * (limit + 1)).status == 400:
                    self.assertEqual(server.request("GET", "/v1/get?key=" + "k" * limit).status, 404)
                    return limit
        return None

    def test_precedence(self):
        folder = Server()
        self.addCleanup(folder.remove)
        config = os.path.join(folder.folder, "concave.ini")
        with open(config, "w", encoding="utf-8") as file:
            file.write("; a comment\nkey-bytes-max = 5\nlog-level = warn\n")
        env, flag = {"CONCAVE_KEY_BYTES_MAX": "4"}, ("--key-bytes-max", "3")
        file = ("--config", config)
        self.assertEqual(self.key_limit(), 1024)
        self.assertEqual(self.key_limit(file), 5)
        self.assertEqual(self.key_limit(file, env), 4)
        self.assertEqual(self.key_limit(flag + file, env), 3)
        self.assertEqual(self.key_limit(("--key-bytes-max=3",), env), 3)
        self.assertEqual(self.key_limit((), {"CONCAVE_CONFIG": config}), 5)

    def test_unknown_variables_are_ignored(self):
        self.assertEqual(self.key_limit(env={"CONCAVE_SERVICE_PORT": "x", "CONCAVE_": "1"}), 1024)


class Startup(unittest.TestCase):
    def test_a_data_directory_has_one_server(self):
        with Server() as server:
            server.put("a", 1)
            done = run("serve", "--data", server.data, "--addr", "127.0.0.1:0")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(server.data, done.stderr)
            self.assertEqual(server.get("a")[0], 1)
            server.kill()
            server.start()  # a lock does not outlive its owner
            self.assertEqual(server.get("a")[0], 1)

    def test_an_address_in_use_is_exit_1(self):
        other = Server()
        self.addCleanup(other.remove)
        with Server(shards=2) as server:
            for option in ("--addr", "--admin-addr"):
                arguments = ["--addr", "127.0.0.1:0", option, "127.0.0.1:%d" % server.address[1]]
                done = run("serve", "--data", other.data, *arguments)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertNotIn("listening on", done.stdout)
            self.assertEqual(server.request("GET", "/livez").status, 200)
        with socket.create_server(("127.0.0.1", 0)) as busy:
            address = "127.0.0.1:%d" % busy.getsockname()[1]
            done = run("serve", "--data", other.data, "--addr", address)
            self.assertEqual(done.returncode, 1, done.stderr)

    def test_a_data_path_that_is_no_directory_is_exit_1(self):
        other = Server()
        self.addCleanup(other.remove)
        path = os.path.join(other.folder, "file")
        with open(path, "w", encoding="utf-8") as file:
            file.write("x")
        self.assertEqual(run("serve", "--data", path, "--addr", "127.0.0.1:0").returncode, 1)

    def test_a_broken_application_is_exit_1_with_file_and_line(self):
        other = Server()
        self.addCleanup(other.remove)
        app = os.path.join(other.folder, "app.lua")
        for text, line in (("\n\nthis is no lua\n", 3), ("\nerror('at load')\n", 2)):
            with open(app, "w", encoding="utf-8") as file:
                file.write(text)
            for command in (("serve", "--data", other.data, "--addr", "127.0.0.1:0"), ("check",)):
                done = run(*command, "--app", app)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("app.lua:%d" % line, done.stderr)
                self.assertNotIn("listening on", done.stdout)

    def test_an_application_that_cannot_be_read_is_exit_1_with_its_path(self):
        other = Server()
        self.addCleanup(other.remove)
        for app in (os.path.join(other.folder, "none.lua"), other.folder):
            for command in (("serve", "--data", other.data, "--addr", "127.0.0.1:0"), ("check",)):
                done = run(*command, "--app", app)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(app + ": ", done.stderr)

    def test_the_data_directory_is_made_and_port_0_is_told(self):
        with Server() as server:
            self.assertTrue(os.path.isdir(server.data))
            self.assertTrue(os.path.exists(os.path.join(server.data, "LOCK")))
            self.assertTrue(any(name.startswith("wal-") and name.endswith(".log")
                                for name in os.listdir(server.data)))
            self.assertEqual(server.address[0], "127.0.0.1")
            self.assertGreater(server.address[1], 0)

    def test_ipv6_is_a_listener_like_any_other(self):
        if not _has_ipv6():
            self.skipTest("no IPv6 loopback here")
        with Server(options=("--addr", "[::1]:0")) as server:
            self.assertEqual(server.address[0], "::1")
            self.assertEqual(server.request("GET", "/livez").status, 200)

    def test_the_log_can_be_json(self):
        with Server(options=("--log-format", "json", "--log-level", "debug")) as server:
            server.put("a", 1)
            self.assertEqual(server.stop(), 0)
            lines = server.stderr().splitlines()
            self.assertTrue(lines)
            for line in lines:
                self.assertRegex(line, r"\A\{.*\}\Z")


class Health(unittest.TestCase):
    def test_live_and_ready_are_200(self):
        with Server(shards=2) as server:
            for target in ("/livez", "/readyz"):
                for _ in range(5):
                    self.assertEqual(server.request("GET", target).status, 200)
                    self.assertEqual(server.request("HEAD", target).status, 200)


class Tokens(unittest.TestCase):
    TOKEN = "s3cret-Token_42"

    def server(self, *options):
        folder = Server()
        self.addCleanup(folder.remove)
        path = os.path.join(folder.folder, "token")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.TOKEN + "\n")
        return Server(options=("--auth-token-file", path, *options))

    def test_v1_wants_the_token_and_the_rest_does_not(self):
        with self.server() as server:
            targets = ("/v1/get?key=a", "/v1/range", "/v1/admin/status")
            for target in targets:
                for value in (None, "", "Bearer", "Bearer ", "Bearer x", "Bearer " + self.TOKEN[:-1],
                              "Bearer " + self.TOKEN + "x", "Basic " + self.TOKEN, self.TOKEN,
                              "Bearer " + self.TOKEN.lower(), "Bearer " + self.TOKEN + " x"):
                    headers = [] if value is None else [("Authorization", value)]
                    response = server.request("GET", target, headers=headers)
                    self.assertEqual(response.status, 401, (target, value))
                    self.assertEqual(response.json()["code"], "unauthorized")
                    self.assertTrue(response.header("WWW-Authenticate").startswith("Bearer"))
                headers = [("Authorization", "Bearer " + self.TOKEN)]
                self.assertIn(server.request("GET", target, headers=headers).status, (200, 404))
            for target, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/fn/none", 404)):
                self.assertEqual(server.request("GET", target).status, status)

    def test_nothing_is_written_without_the_token(self):
        with self.server() as server:
            body = [{"key": "a", "value": 1}]
            self.assertEqual(server.request("POST", "/v1/put", body).status, 401)
            headers = [("Authorization", "Bearer " + self.TOKEN)]
            self.assertEqual(server.request("GET", "/v1/get?key=a", headers=headers).status, 404)
            self.assertEqual(server.request("POST", "/v1/put", body, headers).status, 200)

    def test_the_admin_listener_wants_it_too(self):
        with self.server("--admin-addr", "127.0.0.1:0") as server, Connection(server.admin) as admin:
            self.assertEqual(admin.request("GET", "/metrics").status, 200)
            self.assertEqual(admin.request("GET", "/v1/admin/status").status, 401)
            headers = [("Authorization", "Bearer " + self.TOKEN)]
            self.assertEqual(admin.request("GET", "/v1/admin/status", headers=headers).status, 200)


class AdminListener(unittest.TestCase):
    def test_it_takes_over_what_is_for_operators(self):
        with Server(shards=2, options=("--admin-addr", "127.0.0.1:0")) as server:
            self.assertNotEqual(server.admin, server.address)
            with Connection(server.admin) as admin:
                for target in ("/metrics", "/livez", "/readyz", "/v1/admin/status"):
                    self.assertEqual(admin.request("GET", target).status, 200, target)
                    self.assertEqual(server.request("GET", target).status, 404, target)
                self.assertEqual(admin.request("POST", "/v1/admin/flush").status, 200)
                self.assertEqual(server.request("POST", "/v1/admin/flush").status, 404)
                self.assertEqual(admin.request("GET", "/v1/get?key=a").status, 404)
                self.assertEqual(admin.request("GET", "/v1/range").status, 404)
            server.put("a", 1)
            self.assertEqual(server.stop(), 0)


class End(unittest.TestCase):
    def test_both_signals_end_it_with_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Server(shards=2) as server:
                server.put("a", 1)
                server.signal(number)
                self.assertEqual(server.wait(), 0)
                server.start()
                self.assertEqual(server.get("a")[0], 1)

    def test_idle_connections_are_closed(self):
        with Server(shards=2) as server:
            idle = [server.connect() for _ in range(8)]
            for connection in idle[:4]:
                self.assertEqual(connection.request("GET", "/livez").status, 200)
            server.signal(signal.SIGTERM)
            for connection in idle:
                self.assertTrue(connection.at_end())
                connection.close()
            self.assertEqual(server.wait(), 0)

    def test_no_new_connections_are_taken(self):
        with Server() as server:
            address = server.address
            self.assertEqual(server.stop(), 0)
            with self.assertRaises(OSError):
                Connection(address, timeout=5)

    def test_a_flush_whose_client_has_left(self):
        """It looks at the log, so the log must not be closed before it has ended."""
        with Server(options=["--durability", "manual", "--checkpoint-wal-bytes", "0"]) as server:
            server.put("a", 1)
            try:
                log, shard = Hold(server.process, "log"), Hold(server.process, "shard-0")
            except OSError as error:
                self.skipTest("ptrace is not allowed here: %s" % error)
            log.hold()
            with server.connect() as connection:
                connection.send_request("POST", "/v1/admin/flush")
                time.sleep(0.3)
                self.assertEqual(server.request("POST", "/v1/admin/flush").status, 409)
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            time.sleep(0.3)
            server.signal(signal.SIGTERM)
            time.sleep(1)  # whoever waits for nobody comes to the log's end, and waits there
            shard.hold()
            log.let_go()
            time.sleep(0.5)
            shard.let_go()
            self.assertEqual(server.wait(), 0, server.stderr())
            server.start()
            self.assertEqual(server.get("a")[0], 1)

    def test_what_was_acknowledged_while_ending_is_there(self):
        with Server(shards=2) as server:
            acknowledged, enough = [[] for _ in range(4)], threading.Semaphore(0)

            def client(index):
                try:
                    for n in range(1000000):
                        key = "%d-%d" % (index, n)
                        body = [{"key": key, "value": n}, {"key": "twin" + key, "value": n}]
                        response = server.request("POST", "/v1/put", body)
                        if response.status == 503:
                            return
                        self.assertEqual(response.status, 200)
                        acknowledged[index].append(key)
                        if n == scaled(50):
                            enough.release()
                except (Disconnected, OSError):
                    pass
                finally:
                    enough.release()  # whatever came, nobody waits for ever

            threads = [threading.Thread(target=client, args=(index,)) for index in range(4)]
            for thread in threads:
                thread.start()
            for _ in threads:
                enough.acquire()
            server.signal(signal.SIGTERM)
            self.assertEqual(server.wait(), 0)
            for thread in threads:
                thread.join()
            server.shards = 1
            server.start()
            state = server.dump()
            for key in sum(acknowledged, []):
                self.assertIn(key, state)
            for key, (value, version) in state.items():
                twin = key[4:] if key.startswith("twin") else "twin" + key
                self.assertEqual(state[twin], (value, version))

    def test_clients_that_leave_before_their_replies_are_survived(self):
        with Server() as server:
            for _ in range(10):
                with server.connect() as connection:
                    connection.send(b"GET /v1/range HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            server.put("a", 1)
            self.assertEqual(server.get("a")[0], 1)


def _has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
