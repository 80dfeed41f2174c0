"""The server's own errors: a page for a browser, JSON for everybody else, on every path that writes one."""
import unittest

from clients import app_path
from server import Server, ServerCase

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


class PageCase(ServerCase):
    app = app_path("lua.lua")

    def check_both(self, method, target, status, words, body, headers):
        with self.server.connect() as connection:
            page = connection.request(method, target, body, headers + [("Accept", BROWSER)])
            self.assertPage(page, status, words)
        with self.server.connect() as connection:
            plain = connection.request(method, target, body, headers + [("Accept", "*/*")])
            self.assertError(plain, status)
            self.assertEqual(plain.header("Vary"), "Accept")
        self.assertEqual(page.header("Allow"), plain.header("Allow"))

    def assertPage(self, response, status, words):
        self.assertEqual(response.status, status, response)
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8", response)
        self.assertEqual(response.header("Vary"), "Accept", response)
        page = response.body.decode()
        self.assertIn("<h1>%d " % status, page)
        self.assertIn("<p>%s" % words, page)
        self.assertIn("<code>%s</code>" % response.header("X-Request-Id"), page)


class SmallBudget(PageCase):
    options = ("--handler-timeout-ms", "300")

    def test_a_handler_that_takes_too_long(self):
        self.check_both("POST", "/fn/run", 504, "the time budget", b"while true do end", [])


class Pages(PageCase):
    options = ("--body-bytes-max", "100000", "--head-timeout-ms", "500", "--body-timeout-ms", "500")

    def test_errors_that_a_browser_may_meet(self):
        for method, target, status, words, body, headers in (
                ("GET", "/nope", 404, "no such route", None, []),
                ("GET", "/", 404, "no such route", None, []),
                ("GET", "/fn/nope", 404, "no such route", None, []),
                ("POST", "/fn/only", 405, "the route does not take this method", b"x", []),
                ("POST", "/fn/run", 500, "internal error", b"error('<b>')", []),
                ("POST", "/fn/echo", 400, "bad JSON at byte 1", b"{a}", JSON),
                ("POST", "/fn/echo", 400, "the body is no", b"a=%zz", FORM),
                ("POST", "/fn/echo", 413, "", b"x" * 100001, [])):
            with self.subTest(target=target, status=status):
                self.check_both(method, target, status, words, body, headers)

    def test_head_of_a_page_has_its_length(self):
        with self.server.connect() as connection:
            accept = [("Accept", "text/html"), ("X-Request-Id", "same")]
            got = connection.request("GET", "/nope", None, accept)
            head = connection.request("HEAD", "/nope", None, accept)
        self.assertEqual(head.body, b"")
        self.assertEqual(head.header("Content-Length"), str(len(got.body)))

    def test_requests_that_are_refused_by_the_parser(self):
        accept = b"Accept: text/html\r\n"
        for head, status in ((b"GET /fn/echo HTTP/1.1\r\n" + accept + b"\r\n", 400),
                             (b"GET /fn/echo HTTP/1.1\r\nHost: x\r\n" + accept + b"Bad Name: x\r\n\r\n", 400),
                             (b"GET /fn/echo HTTP/1.1\r\nHost: x\r\n" + accept + b"X: " + b"x" * 20000, 431),
                             (b"GET / HTTP/1.1\r\nHost: x\r\n" + accept + b"Expect: x\r\n\r\n", 417),
                             (b"POST /fn/echo HTTP/1.1\r\nHost: x\r\n" + accept, 408),
                             (b"POST /fn/echo HTTP/1.1\r\nHost: x\r\n" + accept + b"Content-Length: 9\r\n\r\nx", 408),
                             (b"GET / HTTP/2.0\r\n" + accept, 505)):
            with self.subTest(head=head[:60]), self.server.connect() as connection:
                connection.send(head)
                response = connection.read_response()
                self.assertPage(response, status, "")
                self.assertTrue(connection.at_end())
        with self.server.connect() as connection:  # a field of the body is none
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\nAccept: text/html\r\n\r\n")
            self.assertError(connection.read_response(), 400)

    def test_what_programs_ask_for_is_json_whatever_they_accept(self):
        for method, target, status in (("GET", "/v1/get?key=none", 404), ("GET", "/v1/nope", 404),
                                       ("DELETE", "/v1/get", 405), ("GET", "/v1/get", 400),
                                       ("POST", "/metrics", 405), ("POST", "/livez", 405),
                                       ("POST", "/readyz", 405), ("GET", "/v1/admin/flush", 405)):
            with self.server.connect() as connection:
                response = connection.request(method, target, None, [("Accept", BROWSER)])
            self.assertError(response, status)
            self.assertIsNone(response.header("Vary"), target)
        with self.server.connect() as connection:
            connection.send(b"GET /v1/get?key=a HTTP/1.1\r\nAccept: text/html\r\n\r\n")
            self.assertError(connection.read_response(), 400)

    def test_replies_of_the_application_stay_its_own(self):
        response = self.server.request("POST", "/fn/run", b"return 404, {x = 1}", [("Accept", BROWSER)])
        self.assertEqual((response.status, response.json()), (404, {"x": 1}))


class Access(unittest.TestCase):
    def test_an_address_of_its_own_for_administration(self):
        with Server(options=("--admin-addr", "127.0.0.1:0")) as server:
            response = server.request("GET", "/metrics", None, [("Accept", BROWSER)])
            self.assertEqual((response.status, response.json()["code"]), (404, "not_found"))


if __name__ == "__main__":
    unittest.main()
