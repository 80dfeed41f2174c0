"""Files under /static: what is served and what never is, conditions, ranges, and long files to clients of all kinds."""

import hashlib
import os
import re
import resource
import shutil
import socket
import tempfile
import threading
import time
import unittest

from server import Disconnected, Server, ServerCase, in_threads, scaled

RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: close with a reset
PAGE = b"<p>caf\xc3\xa9</p>\n"
OLD = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
MIB = 1 << 20


def pattern(size):
    """Bytes that differ from one another wherever a piece may begin."""
    block = hashlib.sha256(b"concave").digest() * 32768  # 1 MiB
    return b"".join(index.to_bytes(8, "big") + block[8:] for index in range(size // MIB)) + block[:size % MIB]


def descriptors(server):
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


def resident_bytes(server):
    with open("/proc/%d/statm" % server.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def wait_until(case, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        case.assertLess(time.monotonic(), deadline)
        time.sleep(0.01)


class Download:
    """A GET whose body is read by hand."""

    def __init__(self, server, target, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(60)
        self.socket.connect(server.address)
        self.socket.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())

    def head(self):
        """(status, length); the body's first bytes are in self.rest."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                raise Disconnected("in the head")
            data += more
        head, self.rest = data.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), int(re.search(rb"Content-Length: (\d+)", head).group(1))

    def digest(self, length):
        """Of so many bytes of the body; None if the connection ends before."""
        digest = hashlib.sha256(self.rest)
        left = length - len(self.rest)
        while left > 0:
            data = self.socket.recv(min(left, 1 << 18))
            if not data:
                return None
            digest.update(data)
            left -= len(data)
        return digest.hexdigest()

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()


class Folder(unittest.TestCase):
    """A folder of resources, and what is in its `static`."""

    @classmethod
    def make_folder(cls):
        cls.resources = tempfile.mkdtemp(prefix="concave-static-")
        cls.addClassCleanup(shutil.rmtree, cls.resources, True)
        cls.static = os.path.join(cls.resources, "static")
        os.mkdir(cls.static)

    @classmethod
    def write(cls, name, data, modified=OLD):
        path = os.path.join(cls.static, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, (modified, modified))
        return path


class StaticCase(ServerCase, Folder):
    @classmethod
    def setUpClass(cls):
        cls.make_folder()
        cls.options = ("--resources", cls.resources) + tuple(cls.more_options)
        super().setUpClass()

    more_options = ()

    def get(self, target, *headers, method="GET"):
        return self.server.request(method, "/static/" + target, None, headers)


class Served(StaticCase):
    """Small files, their types, conditions and ranges."""

    shards = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("page.html", PAGE)
        cls.write("digits", b"0123456789")
        cls.write("empty.txt", b"")
        cls.write("sub/folder/x.CSS", b"a{}")
        cls.write("a b+c%.txt", b"odd")
        cls.write("\u00fc.json", b"{}")

    def test_a_file_with_its_fields(self):
        response = self.get("page.html")
        self.assertEqual((response.status, response.body), (200, PAGE))
        for name, value in (("Content-Type", "text/html; charset=utf-8"), ("Accept-Ranges", "bytes"),
                            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
                            ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache"),
                            ("Content-Length", str(len(PAGE))), ("Content-Range", None)):
            self.assertEqual(response.header(name), value)
        self.assertRegex(response.header("ETag"), r'\A"[0-9a-f-]+"\Z')
        head = self.get("page.html", method="HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual([f for f in head.headers if f[0] not in ("Date", "X-Request-Id")],
                         [f for f in response.headers if f[0] not in ("Date", "X-Request-Id")])

    def test_names_and_types(self):
        for target, body, kind in (("sub/folder/x.CSS", b"a{}", "text/css; charset=utf-8"),
                                   ("empty.txt", b"", "text/plain; charset=utf-8"),
                                   ("%65mpty%2etxt", b"", "text/plain; charset=utf-8"),
                                   ("a%20b+c%25.txt", b"odd", "text/plain; charset=utf-8"),
                                   ("%C3%BC.json", b"{}", "application/json"),
                                   ("digits?v=3", b"0123456789", "application/octet-stream")):
            response = self.get(target)
            self.assertEqual((response.status, response.body, response.header("Content-Type")), (200, body, kind))

    def test_what_has_changed_has_another_tag(self):
        first = self.get("page.html").header("ETag")
        self.write("page.html", PAGE, OLD + 1)
        self.assertNotEqual(self.get("page.html").header("ETag"), first)
        self.write("page.html", PAGE + b".", OLD)
        self.assertNotEqual(self.get("page.html").header("ETag"), first)
        self.write("page.html", PAGE, OLD)
        tags = []
        while len(tags) < 4 and not (tags and tags[-1].startswith("W/")):  # it is young for 2 s only
            self.write("young.txt", b"young", time.time())
            tags.append(self.get("young.txt").header("ETag"))
        self.assertRegex(tags[-1], r'\AW/"')

    def test_conditions(self):
        first = self.get("page.html")
        tag, date = first.header("ETag"), first.header("Last-Modified")
        for fields in ([("If-None-Match", tag)], [("If-None-Match", "W/" + tag)], [("If-None-Match", "*")],
                       [("If-None-Match", '"x", ' + tag)], [("If-None-Match", '"x"'), ("If-None-Match", tag)],
                       [("If-Modified-Since", date)], [("If-Match", tag), ("If-None-Match", tag)],
                       [("If-None-Match", tag), ("Range", "bytes=0-1")]):
            for method in ("GET", "HEAD"):
                response = self.get("page.html", *fields, method=method)
                self.assertEqual((response.status, response.body), (304, b""), fields)
                self.assertEqual((response.header("ETag"), response.header("Last-Modified")), (tag, date))
                self.assertIsNone(response.header("Content-Type"))
        for fields in ([("If-Match", '"x"')], [("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT")]):
            self.assertError(self.get("page.html", *fields), 412, "precondition_failed")
        for fields in ([("If-None-Match", '"x"')], [("If-None-Match", '"x"'), ("If-Modified-Since", date)],
                       [("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT")], [("If-Modified-Since", "?")],
                       [("If-Match", tag)]):
            self.assertEqual(self.get("page.html", *fields).body, PAGE, fields)

    def test_ranges(self):
        digits = b"0123456789"
        for field, first, last in (("0-0", 0, 0), ("2-5", 2, 5), ("7-", 7, 9), ("-3", 7, 9), ("-99", 0, 9),
                                   ("0-99", 0, 9), ("0-2,3-5", 0, 5), ("4-8, 0-4", 0, 8), ("3-4,50-", 3, 4)):
            response = self.get("digits", ("Range", "bytes=" + field))
            self.assertEqual((response.status, response.body), (206, digits[first:last + 1]), field)
            self.assertEqual(response.header("Content-Range"), "bytes %d-%d/10" % (first, last))
        for field in ("bytes=0-1,5-6", "bytes=", "bytes=5-4", "bytes=a-b", "lines=0-1", "bytes=0-0,-1",
                      "bytes=" + "0-0," * 1000):
            response = self.get("digits", ("Range", field))
            self.assertEqual((response.status, response.body, response.header("Content-Range")), (200, digits, None))
        for target, field in (("digits", "10-"), ("digits", "-0"), ("digits", "99-100,200-"), ("empty.txt", "0-")):
            response = self.get(target, ("Range", "bytes=" + field))
            self.assertError(response, 416, "range_not_satisfiable")
            self.assertEqual(response.header("Content-Range"), "bytes */%d" % (10 if target == "digits" else 0))
        twice = self.get("digits", ("Range", "bytes=0-1"), ("Range", "bytes=2-3"))
        self.assertEqual(twice.status, 200)
        self.assertEqual(self.get("digits", ("Range", "bytes=0-1"), method="HEAD").header("Content-Length"), "10")

    def test_if_range(self):
        tag = self.get("digits").header("ETag")
        for value, status in ((tag, 206), ("Sun, 06 Nov 1994 08:49:37 GMT", 206), ('"x"', 200), ("W/" + tag, 200),
                              ("Sun, 06 Nov 1994 08:49:38 GMT", 200), ("?", 200)):
            response = self.get("digits", ("If-Range", value), ("Range", "bytes=1-2"))
            self.assertEqual(response.status, status, value)
        response = self.get("digits", ("If-Range", '"x"'), ("Range", "bytes=50-"))
        self.assertEqual(response.status, 200)

    def test_methods(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            response = self.server.request(method, "/static/digits", b"body")
            self.assertError(response, 405, "method_not_allowed")
            self.assertEqual(response.header("Allow"), "GET, HEAD")
        self.assertEqual(self.server.request("GET", "/static/digits", b"body").body, b"0123456789")

    def test_errors_are_pages_for_browsers(self):
        response = self.get("nope", ("Accept", "text/html,*/*;q=0.8"))
        self.assertEqual((response.status, response.header("Content-Type")), (404, "text/html; charset=utf-8"))
        self.assertIn(b"<h1>404 Not Found</h1>", response.body)

    def test_metrics_know_them_by_one_name(self):
        self.get("digits")
        self.get("nope/%3Cscript%3E")
        metrics = self.server.metrics()
        self.assertGreater(metrics['concave_http_requests_total{route="/static/*",code="200"}'], 0)
        self.assertGreater(metrics['concave_http_requests_total{route="/static/*",code="404"}'], 0)
        self.assertNotIn("script", "".join(metrics))

    def test_pipelined_with_calls_in_order(self):
        big = pattern(3 * MIB + 5)
        self.write("big.bin", big)
        key = self.key()
        incr = b'{"commands":[{"cmd_type":"incr","key":"%s"}]}' % key.encode()
        post = b"POST /v1/execute HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(incr), incr)
        get = b"GET /static/%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
        with self.server.connect() as connection:
            rounds = scaled(4)
            connection.send((post + get % (b"digits", b"") + post + get % (b"big.bin", b"") + post +
                             get % (b"nope", b"") + get % (b"big.bin", b"Range: bytes=1-2000000\r\n") +
                             get % (b"page.html", b"If-None-Match: *\r\n")) * rounds)
            for n in range(rounds):
                self.assertEqual(connection.read_response().json()["results"], [3 * n + 1])
                self.assertEqual(connection.read_response().body, b"0123456789")
                self.assertEqual(connection.read_response().json()["results"], [3 * n + 2])
                self.assertTrue(connection.read_response().body == big)
                self.assertEqual(connection.read_response().json()["results"], [3 * n + 3])
                self.assertEqual(connection.read_response().status, 404)
                self.assertTrue(connection.read_response().body == big[1:2000001])
                self.assertEqual(connection.read_response().status, 304)
            connection.send(get % (b"big.bin", b"Connection: close\r\n") + post)
            self.assertTrue(connection.read_response().body == big)
            self.assertTrue(connection.at_end())

    def test_http_1_0(self):
        with self.server.connect() as connection:
            connection.send(b"GET /static/digits HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.read_response().body, b"0123456789")
            self.assertTrue(connection.at_end())


class NeverServed(StaticCase):
    """What lies outside the folder, is hidden, or is no file."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("page.html", PAGE)
        cls.write("sub/page.html", PAGE)
        cls.write(".env", b"SECRET")
        cls.write(".git/config", b"SECRET")
        cls.write("sub/.hidden", b"SECRET")
        cls.write("a\\b.txt", b"SECRET")
        with open(os.path.join(cls.resources, "app.lua"), "wb") as file:
            file.write(b"SECRET")
        os.makedirs(os.path.join(cls.resources, "static-private"))
        with open(os.path.join(cls.resources, "static-private", "x"), "wb") as file:
            file.write(b"SECRET")
        os.mkfifo(os.path.join(cls.static, "fifo"))
        listener = socket.socket(socket.AF_UNIX)
        folder = os.open(cls.static, os.O_PATH)  # a socket's path has 107 bytes at most
        listener.bind("/proc/self/fd/%d/socket" % folder)
        os.close(folder)
        cls.addClassCleanup(listener.close)
        for name, target in (("link", "../app.lua"), ("absolute", os.path.join(cls.resources, "app.lua")),
                             ("up", ".."), ("root", "/"), ("loop", "loop"), ("null", "/dev/null"),
                             ("self", "/proc/self/root"), ("sub/up", "../../app.lua"), ("inside", "sub/page.html")):
            os.symlink(target, os.path.join(cls.static, name))

    TARGETS = (
        "", "/", "//", "sub", "sub/", "page.html/", "page.html/x", "fifo", "socket", "nope", "nope/nope",
        ".", "..", "../", "../app.lua", "/../app.lua", "sub/../../app.lua", "sub/../page.html", "./page.html",
        "%2e%2e/app.lua", ".%2e/app.lua", "%2E./app.lua", "..%2fapp.lua", "%2e%2e%2fapp.lua", "..%5capp.lua",
        "%252e%252e/app.lua", "..%252fapp.lua", "%c0%ae%c0%ae/app.lua", "..%c0%afapp.lua", "../static-private/x",
        "%2fetc%2fpasswd", "//etc/passwd", "/etc/passwd", "%2Fetc/passwd", "page.html%00", "%00", "..%00/app.lua",
        "page.html%00.png", "a%5cb.txt", "%5c..%5capp.lua", ".env", "%2eenv", ".git/config", "sub/.hidden",
        "sub/%2ehidden", "link", "absolute", "up/app.lua", "root/etc/passwd", "loop", "null", "self/etc/passwd",
        "sub/up", "x" * 300, "x/" * 2000 + "x", "page.html%20", "page.html;x", "PAGE.HTML", "sub//page.html",
    )

    def test_targets(self):
        for target in self.TARGETS:
            response = self.get(target)
            self.assertError(response, 404, "not_found")
            self.assertNotIn(b"SECRET", response.body)

    def test_targets_as_no_client_sends_them(self):
        """Raw bytes, absolute-form too; a proxy in front may pass any of them on."""
        lines = [b"/static/" + target.encode() for target in self.TARGETS]
        lines += [b"http://x" + line for line in lines]
        lines += [b"/static/..\\app.lua", b"/static/\\..\\app.lua", b"/static/..\x00/app.lua", b"/static/\xff/../x",
                  b"/static/%", b"/static/%2", b"/static/%zz", b"/static/..;/app.lua", b"/static", b"/static?x",
                  b"/staticx/page.html", b"/STATIC/page.html", b"/%73tatic/page.html", b"/static%2fpage.html",
                  b"static/page.html", b"/../static/page.html", b"/static-private/x", b"/static/../static/.env"]
        for line in lines:
            with self.server.connect() as connection:
                connection.send(b"GET " + line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                response = connection.read_response()
            self.assertIn(response.status, (400, 404), line)
            self.assertNotIn(b"SECRET", response.body)
            self.assertNotIn(b"root:", response.body)

    def test_links_that_stay_inside_are_files(self):
        self.assertIn(self.get("inside").status, (200, 404))  # 404: a kernel without openat2

    def test_a_link_that_is_turned_round_all_the_time_never_leads_out(self):
        inside, outside = os.path.join(self.static, "sub"), self.resources
        path, spare = os.path.join(self.static, "turning"), os.path.join(self.static, "spare")
        os.symlink("sub", path)
        stop = threading.Event()

        def turn():
            while not stop.is_set():
                for target in (outside, inside, ".."):
                    os.symlink(target, spare)
                    os.rename(spare, path)

        thread = threading.Thread(target=turn)
        thread.start()
        try:
            for _ in range(scaled(500)):
                for name in ("app.lua", "page.html"):
                    response = self.get("turning/" + name)
                    self.assertIn(response.status, (200, 404, 503))
                    self.assertNotIn(b"SECRET", response.body)
        finally:
            stop.set()
            thread.join()


class Long(StaticCase):
    """Files that are sent in many pieces."""

    shards = 2
    more_options = ("--idle-timeout-ms", "20000")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        huge = pattern(100 * MIB)
        cls.huge = hashlib.sha256(huge).hexdigest()
        cls.write("huge.bin", huge)
        cls.middle = pattern(MIB + 12345)
        cls.write("middle.bin", cls.middle)

    def assertFreed(self, before):
        """All files that were open for clients are closed."""
        wait_until(self, lambda: descriptors(self.server) <= before)

    def settled(self):
        """How many descriptors there are once earlier connections are gone."""
        self.get("nope")
        wait_until(self, lambda: self.server.metrics()["concave_http_connections"] <= 2)
        return descriptors(self.server)

    def test_pieces_of_every_length(self):
        piece = 128 << 10
        for size in (piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 1):
            data = pattern(MIB)[:size]
            self.write("sized.bin", data)
            self.assertTrue(self.get("sized.bin").body == data)
            self.assertTrue(self.get("sized.bin", ("Range", "bytes=1-")).body == data[1:])
            self.assertEqual(self.get("sized.bin", method="HEAD").header("Content-Length"), str(size))

    def test_parts_make_the_whole(self):
        size, parts = len(self.middle), b""
        while len(parts) < size:
            response = self.get("middle.bin", ("Range", "bytes=%d-%d" % (len(parts), len(parts) + 199999)))
            self.assertEqual(response.status, 206)
            parts += response.body
        self.assertTrue(parts == self.middle)

    def test_clients_that_do_not_read_cost_little_and_hold_up_nobody(self):
        before = self.settled()
        memory = resident_bytes(self.server)
        sleepers = [Download(self.server, "/static/huge.bin", 4096) for _ in range(30)]
        for sleeper in sleepers:
            self.assertEqual(sleeper.head(), (200, 100 * MIB))
        for _ in range(10):
            self.assertTrue(self.get("middle.bin").body == self.middle)
        self.assertLess(resident_bytes(self.server) - memory, 64 * MIB)
        for sleeper in sleepers[1:]:
            sleeper.close()
        self.assertEqual(sleepers[0].digest(100 * MIB), self.huge)
        self.assertLess(resident_bytes(self.server) - memory, 64 * MIB)
        sleepers[0].close()
        self.assertFreed(before)

    def test_200_downloads_at_once(self):
        before = self.settled()
        digest = hashlib.sha256(self.middle).hexdigest()
        crowd = [Download(self.server, "/static/middle.bin") for _ in range(200)]

        def read(index):
            for download in crowd[index::8]:
                self.assertEqual(download.head(), (200, len(self.middle)))
                self.assertEqual(download.digest(len(self.middle)), digest)
                download.close()

        in_threads(8, read)
        self.assertFreed(before)

    def test_clients_that_leave_in_the_middle(self):
        before = self.settled()
        for n in range(scaled(200)):
            download = Download(self.server, "/static/huge.bin")
            if n % 3:
                download.head()
            if n % 3 == 2:
                download.digest(n * 10000)
            if n % 2:
                download.reset()
            else:
                download.close()
        self.assertFreed(before)
        self.assertTrue(self.get("middle.bin").body == self.middle)

    def test_a_file_that_shrinks_ends_the_connection(self):
        before = self.settled()
        for left in (0, MIB, 25 * MIB):
            path = self.write("shrinking.bin", b"x" * (50 * MIB))
            download = Download(self.server, "/static/shrinking.bin", 4096)
            status, length = download.head()
            self.assertEqual((status, length), (200, 50 * MIB))
            os.truncate(path, left)
            try:
                self.assertIsNone(download.digest(length))
            except ConnectionResetError:
                pass
            download.close()
        self.assertFreed(before)
        self.assertEqual(self.server.request("GET", "/livez").status, 200)

    def test_a_file_that_is_replaced_is_sent_as_it_was(self):
        path = self.write("replaced.bin", self.middle * 8)
        download = Download(self.server, "/static/replaced.bin", 4096)
        status, length = download.head()
        self.assertEqual(status, 200)
        os.rename(self.write("new.bin", b"new"), path)
        self.assertEqual(download.digest(length), hashlib.sha256(self.middle * 8).hexdigest())
        download.close()
        self.assertEqual(self.get("replaced.bin").body, b"new")


class Limited(Server):
    """May have 200 files open: 25 static ones, some 50 connections."""

    def command(self):
        return ["sh", "-c", 'ulimit -n 200 && exec "$@"', "sh"] + super().command()


class Life(Folder):
    """Where the folder is, access, limits, and the end."""

    @classmethod
    def setUpClass(cls):
        cls.make_folder()
        cls.write("small.txt", b"small")
        cls.write("huge.bin", pattern(40 * MIB))
        cls.huge = hashlib.sha256(pattern(40 * MIB)).hexdigest()
        cls.options = ("--resources", cls.resources)

    def test_without_resources_there_is_no_such_route(self):
        with Server() as server:
            response = server.request("GET", "/static/small.txt")
            self.assertEqual((response.status, response.json()["error"]), (404, "no such route"))

    def test_the_folder_of_the_application_is_the_default(self):
        folder = tempfile.mkdtemp(prefix="concave-static-")
        self.addCleanup(shutil.rmtree, folder, True)
        app = os.path.join(folder, "app.lua")
        with open(app, "w", encoding="ascii") as file:
            file.write("route('x', 'text', function() return 200, 'x' end)\n")
        with Server(app=app) as server:
            self.assertEqual(server.request("GET", "/static/a.txt").status, 404)
            os.mkdir(os.path.join(folder, "static"))  # it may come later
            with open(os.path.join(folder, "static", "a.txt"), "w", encoding="ascii") as file:
                file.write("a")
            self.assertEqual(server.request("GET", "/static/a.txt").body, b"a")
            os.rename(os.path.join(folder, "static"), os.path.join(folder, "gone"))
            self.assertEqual(server.request("GET", "/static/a.txt").status, 404)
            self.assertEqual(server.request("GET", "/fn/x").body, b"x")
            self.assertEqual(server.stop(), 0)

    def test_no_token_is_needed_and_administration_is_apart(self):
        token = os.path.join(self.resources, "token")
        with open(token, "w", encoding="ascii") as file:
            file.write("secret-token\n")
        os.chmod(token, 0o600)
        options = self.options + ("--auth-token-file", token, "--admin-addr", "127.0.0.1:0")
        with Server(options=options) as server:
            self.assertEqual(server.request("GET", "/v1/get?key=a").status, 401)
            self.assertEqual(server.request("GET", "/static/small.txt").body, b"small")
            server.address = server.admin
            with server.connect() as connection:
                self.assertEqual(connection.request("GET", "/static/small.txt").status, 404)

    def test_too_many_long_files_at_once_are_503_and_short_ones_are_not(self):
        server = Limited(options=self.options)
        self.addCleanup(server.remove)
        server.start()
        crowd = [Download(server, "/static/huge.bin", 4096) for _ in range(30)]
        statuses = [download.head()[0] for download in crowd]
        self.assertEqual((statuses.count(200), statuses.count(503)), (25, 5))
        self.assertEqual(server.request("GET", "/static/small.txt").body, b"small")
        for download in crowd:
            download.close()
        wait_until(self, lambda: server.request("GET", "/static/huge.bin", None, [("Range", "bytes=0-999999")])
                   .status == 206)
        self.assertEqual(server.stop(), 0)

    def test_without_descriptors_files_wait_for_better_times(self):
        with Server(options=self.options) as server, server.connect() as connection:
            self.assertEqual(connection.request("GET", "/static/small.txt").body, b"small")
            limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # those are in use
            response = connection.request("GET", "/static/small.txt")
            self.assertEqual((response.status, response.json()["code"]), (503, "overloaded"))
            self.assertEqual(response.header("Retry-After"), "1")
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
            self.assertEqual(connection.request("GET", "/static/small.txt").body, b"small")

    def test_a_client_that_never_reads_is_cut_off(self):
        with Server(options=self.options + ("--idle-timeout-ms", "400")) as server:
            download = Download(server, "/static/huge.bin", 4096)
            self.assertEqual(download.head()[0], 200)
            wait_until(self, lambda: server.metrics()["concave_http_connections"] <= 1)
            download.close()
            self.assertEqual(server.stop(), 0)

    def test_a_download_is_finished_before_the_end(self):
        # The end waits for it as long as for a handler.
        with Server(shards=2, options=self.options + ("--handler-timeout-ms", "60000")) as server:
            download = Download(server, "/static/huge.bin", 4096)
            status, length = download.head()
            self.assertEqual(status, 200)
            server.signal(15)
            self.assertEqual(download.digest(length), self.huge)
            download.close()
            self.assertEqual(server.wait(), 0)

    def test_a_client_that_never_reads_does_not_keep_the_server(self):
        with Server(options=self.options + ("--handler-timeout-ms", "10")) as server:
            downloads = [Download(server, "/static/huge.bin", 4096) for _ in range(5)]
            for download in downloads:
                self.assertEqual(download.head()[0], 200)
            self.assertEqual(server.stop(), 0)
            for download in downloads:
                download.close()


if __name__ == "__main__":
    unittest.main()
