"""HTTP as the server speaks it: what it refuses and how, framing, keep-alive, pipelining, limits,
timeouts, request ids. Raw bytes in, replies read strictly."""

import json
import socket
import time
import unittest

from server import (Disconnected, Server, ServerCase, in_threads, percent)

BODY_BYTES_MAX = 8 << 20
HOST = b"Host: x\r\n"
GOOD = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b'[{"key":"smuggled","value":1}]'


def get(line=b"GET /livez HTTP/1.1", fields=HOST):
    return line + b"\r\n" + fields + b"\r\n"


def post(fields, body=b"", version=b"1.1"):
    return b"POST /v1/put HTTP/" + version + b"\r\nHost: x\r\n" + fields + b"\r\n" + body


def chunked(body):
    return post(b"Transfer-Encoding: chunked\r\n", body)


def length(text):
    return post(b"Content-Length: " + text + b"\r\n", PUT)


def coding(text, version=b"1.1"):
    return post(b"Transfer-Encoding: " + text + b"\r\n", b"0\r\n\r\n", version)


REFUSED_LINES = [
    (400, "bare LF", b"GET /livez HTTP/1.1\nHost: x\n\n"),
    (400, "bare LF behind the request line", b"GET /livez HTTP/1.1\nHost: x\r\n\r\n"),
    (400, "bare CR", b"GET /livez HTTP/1.1\rHost: x\r\r"),
    (400, "two spaces before the target", get(b"GET  /livez HTTP/1.1")),
    (400, "two spaces before the version", get(b"GET /livez  HTTP/1.1")),
    (400, "space at the end", get(b"GET /livez HTTP/1.1 ")),
    (400, "space at the beginning", get(b" GET /livez HTTP/1.1")),
    (400, "tab instead of a space", get(b"GET\t/livez HTTP/1.1")),
    (400, "no target", get(b"GET HTTP/1.1")),
    (400, "space in the target", get(b"GET /li vez HTTP/1.1")),
    (400, "method that is no token", get(b"G@T /livez HTTP/1.1")),
    (400, "control byte in the method", get(b"G\x01T /livez HTTP/1.1")),
    (400, "byte over 0x7F in the target", get(b"GET /liv\xe9z HTTP/1.1")),
    (400, "byte over 0x7F in the query", get(b"GET /v1/get?key=\xc3\xa9 HTTP/1.1")),
    (400, "zero byte in the target", get(b"GET /livez\x00 HTTP/1.1")),
    (400, "control byte in the target", get(b"GET /livez\x1f HTTP/1.1")),
    (400, "DEL in the target", get(b"GET /livez\x7f HTTP/1.1")),
    (400, "fragment", get(b"GET /livez#x HTTP/1.1")),
    (400, "target without a slash", get(b"GET livez HTTP/1.1")),
    (400, "asterisk for GET", get(b"GET * HTTP/1.1")),
    (400, "lower-case protocol", get(b"GET /livez http/1.1")),
    (400, "version without minor", get(b"GET /livez HTTP/1")),
    (400, "version of two digits", get(b"GET /livez HTTP/1.10")),
    (400, "version without digits", get(b"GET /livez HTTP/x.y")),
    (400, "another protocol", get(b"GET /livez ICY/1.1")),
    (400, "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100),
    (400, "endless empty lines", b"\r\n" * 100),
    (505, "HTTP/2.0", get(b"GET /livez HTTP/2.0")),
    (505, "HTTP/0.9 with a version", get(b"GET /livez HTTP/0.9")),
    (505, "HTTP/9.9", get(b"GET /livez HTTP/9.9")),
    (414, "long request line", get(b"GET /" + b"a" * 9000 + b" HTTP/1.1")),
    (414, "endless request line", b"GET /" + b"a" * 20000),
]

REFUSED_FIELDS = [
    (400, "no Host", get(fields=b"")),
    (400, "no Host but others", get(fields=b"X: y\r\n")),
    (400, "two Hosts", get(fields=HOST * 2)),
    (400, "two different Hosts", get(fields=b"Host: x\r\nhost: y\r\n")),
    (400, "two Hosts on 1.0", get(b"GET /livez HTTP/1.0", HOST * 2)),
    (400, "Host with a space", get(fields=b"Host: a b\r\n")),
    (400, "Host with a slash", get(fields=b"Host: a/b\r\n")),
    (400, "Host with a bad port", get(fields=b"Host: a:b\r\n")),
    (400, "space before the colon", get(fields=HOST + b"X : y\r\n")),
    (400, "tab before the colon", get(fields=HOST + b"X\t: y\r\n")),
    (400, "space before the colon of Host", get(fields=b"Host : x\r\n")),
    (400, "folded field", get(fields=HOST + b"X: a\r\n b\r\n")),
    (400, "field folded by a tab", get(fields=HOST + b"X: a\r\n\tb\r\n")),
    (400, "space before the first field", get(fields=b" " + HOST)),
    (400, "field without a colon", get(fields=HOST + b"X\r\n")),
    (400, "empty field name", get(fields=HOST + b": y\r\n")),
    (400, "space in a field name", get(fields=HOST + b"X Y: z\r\n")),
    (400, "bad byte in a field name", get(fields=HOST + b"X(: z\r\n")),
    (400, "byte over 0x7F in a field name", get(fields=HOST + b"X\xe9: z\r\n")),
    (400, "zero byte in a value", get(fields=HOST + b"X: a\x00b\r\n")),
    (400, "control byte in a value", get(fields=HOST + b"X: a\x01b\r\n")),
    (400, "DEL in a value", get(fields=HOST + b"X: a\x7fb\r\n")),
    (400, "bare CR in a value", get(fields=HOST + b"X: a\rb\r\n")),
    (400, "bare LF behind a field", get(fields=b"Host: x\nX: y\r\n")),
    (400, "bare LF at the end of the head", b"GET /livez HTTP/1.1\r\nHost: x\r\n\n"),
    (431, "101 fields", get(fields=HOST + b"".join(b"X%d: y\r\n" % n for n in range(100)))),
    (431, "long field", get(fields=HOST + b"X: " + b"y" * (16 << 10) + b"\r\n")),
    (431, "endless field", b"GET / HTTP/1.1\r\nX: " + b"y" * (20 << 10)),
    (431, "endless fields", b"GET / HTTP/1.1\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 90
     + b"Y: " + b"y" * (16 << 10)),
    (417, "unknown expectation", post(b"Content-Length: 0\r\nExpect: 200-ok\r\n")),
    (417, "two expectations", post(b"Content-Length: 0\r\nExpect: 100-continue, x\r\n")),
]

REFUSED_LENGTHS = [
    (400, "both lengths", post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    (400, "both, the other way", post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n")),
    (400, "equal lengths", post(b"Content-Length: 30\r\nContent-Length: 30\r\n", PUT)),
    (400, "different lengths", post(b"Content-Length: 30\r\nContent-Length: 3\r\n", PUT)),
    (400, "list of equal lengths", length(b"30, 30")),
    (400, "list of lengths", length(b"30,3")),
    (400, "plus", length(b"+30")), (400, "minus", length(b"-30")), (400, "hexadecimal", length(b"0x1e")),
    (400, "empty", length(b"")), (400, "float", length(b"30.0")), (400, "exponent", length(b"3e1")),
    (400, "space inside", length(b"3 0")), (400, "trailing garbage", length(b"30x")),
    (400, "quoted", length(b'"30"')), (400, "underscore", length(b"3_0")),
    (413, "length over the limit", length(b"%d" % (BODY_BYTES_MAX + 1))),
    (413, "length over 64 bits", length(b"99999999999999999999999")),
    (413, "length of 2^64", length(b"18446744073709551616")),
    (501, "unknown coding", coding(b"gzip")), (501, "unknown before chunked", coding(b"gzip, chunked")),
    (501, "coding that ends in chunked", coding(b"xchunked")), (501, "identity", coding(b"identity")),
    (400, "chunked twice", coding(b"chunked, chunked")), (400, "chunked not last", coding(b"chunked, gzip")),
    (400, "empty coding", coding(b"")),
    (400, "repeated field", post(b"Transfer-Encoding: chunked\r\n" * 2, b"0\r\n\r\n")),
    (400, "repeated with another", post(
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    (400, "chunked on 1.0", coding(b"chunked", b"1.0")),
    (400, "control byte before chunked", coding(b"\x0bchunked")),
    (400, "space before the colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n")),
]

CHUNK = b"%x\r\n%s\r\n" % (len(PUT), PUT)
REFUSED_CHUNKS = [
    (400, "0x size", chunked(b"0x1e\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "plus", chunked(b"+1e\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "minus", chunked(b"-1e\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "space before the size", chunked(b" 1e\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "no size", chunked(b"\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "only an extension", chunked(b";x\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "no hexadecimal digit", chunked(b"1g\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "bare LF behind the size", chunked(b"1e\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "bare CR behind the size", chunked(b"1e\r" + PUT + b"\r\n0\r\n\r\n")),
    (400, "bare LF behind the data", chunked(b"1e\r\n" + PUT + b"\n0\r\n\r\n")),
    (400, "nothing behind the data", chunked(b"1e\r\n" + PUT + b"0\r\n\r\n")),
    (400, "more data than its size", chunked(b"1d\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "control byte in an extension", chunked(b"1e;\x01\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "no extension behind the semicolon", chunked(b"1e;\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "a quote that does not end", chunked(b"1e;a=\"b\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "bare LF in an extension", chunked(b"1e;a\n\r\n" + PUT + b"\r\n0\r\n\r\n")),
    (400, "bare LF at the end", chunked(CHUNK + b"0\r\n\n")),
    (400, "space before a trailer's colon", chunked(CHUNK + b"0\r\nX : y\r\n\r\n")),
    (400, "trailer without a colon", chunked(CHUNK + b"0\r\nX\r\n\r\n")),
    (400, "folded trailer", chunked(CHUNK + b"0\r\nX: y\r\n z\r\n\r\n")),
    (413, "chunk over the limit", chunked(b"%x\r\n" % (BODY_BYTES_MAX + 1))),
    (413, "chunk of almost 2^64", chunked(b"ffffffffffffffff\r\n")),
]


class Refusals(ServerCase):
    """Whatever is refused: one JSON error, then the end of the connection, and no guess at what the
    bytes behind it may be."""

    def refused(self, status, data):
        with self.server.connect() as connection:
            connection.send(data + GOOD)
            response = connection.read_response()
            self.assertError(response, status)
            self.assertEqual((response.header("Connection") or "").lower(), "close")
            self.assertTrue(connection.at_end(), connection.bytes[:200])

    def all_refused(self, cases):
        for status, name, data in cases:
            with self.subTest(name):
                self.refused(status, data)
        self.assertEqual(self.server.get("smuggled"), (None, 0))

    def test_request_lines(self):
        self.all_refused(REFUSED_LINES)

    def test_header_fields(self):
        self.all_refused(REFUSED_FIELDS)

    def test_lengths_and_codings(self):
        self.all_refused(REFUSED_LENGTHS)

    def test_chunks(self):
        self.all_refused(REFUSED_CHUNKS)

    def test_a_number_of_chunks_over_64_bits(self):
        with self.server.connect() as connection:
            connection.send(chunked(b"1" + b"0" * 16 + b"\r\n"))
            self.assertIn(connection.read_response().status, (400, 413))
            self.assertTrue(connection.at_end())

    def test_a_request_without_a_version(self):
        with self.server.connect() as connection:
            connection.send(b"GET /livez\r\n\r\n")
            self.assertIn(connection.read_response().status, (400, 505))
            self.assertTrue(connection.at_end())

    def test_a_body_that_grows_past_the_limit_chunk_by_chunk(self):
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with self.server.connect() as connection:
            connection.send(chunked(b""))
            try:
                for _ in range((BODY_BYTES_MAX >> 16) + 16):
                    connection.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assertError(connection.read_response(), 413)

    def test_a_refused_large_body_does_not_cost_the_client_its_reply(self):
        with self.server.connect() as connection:
            body = b" " * (BODY_BYTES_MAX + 1)
            connection.send(post(b"Content-Length: %d\r\n" % len(body)))
            try:
                connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assertError(connection.read_response(), 413)

    def test_requests_before_the_refused_one_are_answered(self):
        with self.server.connect() as connection:
            connection.send(GOOD + GOOD + b"GET / HTTP/1.1\r\n\r\n" + GOOD)
            self.assertEqual([connection.read_response().status for _ in range(3)], [200, 200, 400])
            self.assertTrue(connection.at_end())


class Framing(ServerCase):
    def test_what_is_unusual_but_right_is_served(self):
        for name, data in (
                ("lower-case names", b"GET /livez HTTP/1.1\r\nhost:x\r\n\r\n"),
                ("spaces around a value", get(fields=b"Host: \t x \t \r\n")),
                ("an empty value", get(fields=HOST + b"X:\r\n")),
                ("bytes over 0x7F in a value", get(fields=HOST + b"X: \xe9\xff\r\n")),
                ("every byte of a token", get(fields=HOST + b"!#$%&'*+-.^_`|~09azAZ: x\r\n")),
                ("an empty line before", b"\r\n" + GOOD),
                ("HTTP/1.9", get(b"GET /livez HTTP/1.9")),
                ("absolute form", get(b"GET http://example.com/livez HTTP/1.1")),
                ("100 fields", get(fields=HOST + b"".join(b"X%d: y\r\n" % n for n in range(99)))),
                ("a query", get(b"GET /livez?a=b?c/d HTTP/1.1")),
                ("a Host with a port", get(fields=b"Host: [::1]:80\r\n")),
                ("a body on GET", get(fields=HOST + b"Content-Length: 3\r\n") + b"abc")):
            with self.subTest(name), self.server.connect() as connection:
                connection.send(data + GOOD)
                self.assertEqual(connection.read_response().status, 200)
                self.assertEqual(connection.read_response().status, 200)

    def test_byte_by_byte_is_as_good_as_at_once(self):
        with self.server.connect() as connection:
            for byte in post(b"Transfer-Encoding: chunked\r\n",
                             b"5;x=\"y\"\r\n[{\"ke\r\nA\r\ny\":\"bytes\"\r\n00f\r\n,\"value\":[1,2]}\r\n"
                             b"01\r\n]\r\n0\r\nX: y\r\n\r\n") + GOOD:
                connection.send(bytes([byte]))
            self.assertEqual(connection.read_response().status, 200)
            self.assertEqual(connection.read_response().status, 200)
        self.assertEqual(self.server.get("bytes")[0], [1, 2])

    def test_a_body_of_the_largest_size_is_taken(self):
        body = b"[" + b" " * (BODY_BYTES_MAX - 2) + b"]"
        self.assertError(self.server.request("POST", "/v1/put", body), 400, "empty_request")

    def test_http_1_0_closes_unless_asked_to_stay(self):
        with self.server.connect() as connection:
            connection.send(b"GET /livez HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.read_response().status, 200)
            self.assertTrue(connection.at_end())
        with self.server.connect() as connection:
            for _ in range(3):
                connection.send(b"GET /livez HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
                response = connection.read_response()
                self.assertEqual(response.status, 200)
                self.assertEqual((response.header("Connection") or "").lower(), "keep-alive")

    def test_http_1_1_stays_unless_asked_to_close(self):
        with self.server.connect() as connection:
            for _ in range(3):
                self.assertEqual(connection.request("GET", "/livez").status, 200)
            for value in ("close", "Close", "x, close", "keep-alive, close"):
                with self.subTest(value), self.server.connect() as other:
                    response = other.request("GET", "/livez", headers=[("Connection", value)])
                    self.assertEqual((response.header("Connection") or "").lower(), "close")
                    self.assertTrue(other.at_end())

    def test_nothing_is_served_behind_a_request_that_closes(self):
        with self.server.connect() as connection:
            connection.send(get(fields=HOST + b"Connection: close\r\n") + GOOD)
            self.assertEqual(connection.read_response().status, 200)
            self.assertTrue(connection.at_end())

    def test_errors_of_the_application_level_keep_the_connection(self):
        with self.server.connect() as connection:
            for target, status in (("/none", 404), ("/v1/get", 400), ("/v1/get?key=none", 404)):
                self.assertEqual(connection.request("GET", target).status, status)
            self.assertEqual(connection.request("POST", "/v1/put", b"nonsense").status, 400)
            self.assertEqual(connection.request("DELETE", "/v1/put").status, 405)
            self.assertEqual(connection.request("GET", "/livez").status, 200)

    def test_a_client_that_has_said_all_still_gets_its_replies(self):
        with self.server.connect() as connection:
            connection.send(GOOD * 3)
            connection.shut()
            for _ in range(3):
                self.assertEqual(connection.read_response().status, 200)
            self.assertTrue(connection.at_end())

    def test_head_has_the_length_but_no_body(self):
        for target, status in (("/livez", 200), ("/none", 404), ("/v1/get?key=none", 404)):
            with self.subTest(target), self.server.connect() as connection:
                head = connection.request("HEAD", target)
                self.assertEqual(head.status, status)
                same = connection.request("GET", target)
                self.assertEqual(same.status, status)
                self.assertEqual(len(head.header("Content-Length")) > 0, True)

    def test_replies_carry_a_date(self):
        date = self.server.request("GET", "/livez").header("Date")
        parsed = time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")
        self.assertLess(abs(time.mktime(parsed) - time.mktime(time.gmtime())), 3600)


class Continue(ServerCase):
    HEAD = b"Expect: 100-continue\r\nContent-Length: %d\r\n"

    def test_the_body_is_asked_for(self):
        body = b'[{"key":"continue","value":1}]'
        with self.server.connect() as connection:
            connection.send(post(self.HEAD % len(body)))
            self.assertEqual(connection.read_response().status, 100)
            connection.send(body)
            self.assertEqual(connection.read_response().status, 200)

    def test_a_body_that_is_too_large_is_not_asked_for(self):
        with self.server.connect() as connection:
            connection.send(post(self.HEAD % (BODY_BYTES_MAX + 1)))
            self.assertError(connection.read_response(), 413)

    def test_http_1_0_is_not_sent_a_100(self):
        body = b'[{"key":"continue10","value":1}]'
        with self.server.connect() as connection:
            connection.send(post(self.HEAD % len(body), version=b"1.0"))
            connection.send(body)
            self.assertEqual(connection.read_response().status, 200)


class Pipelining(ServerCase):
    shards = 2

    def test_replies_come_in_request_order(self):
        count = 300
        for n in range(count):
            self.server.put("order%d" % n, n)
        requests = b"".join(
            b"GET /v1/get?key=order%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(count))
        with self.server.connect() as connection:
            connection.send(requests)
            self.assertEqual(
                [connection.read_response().json()["value"] for _ in range(count)], list(range(count)))

    def test_kinds_mix_and_each_sees_those_before_it(self):
        with self.server.connect() as connection:
            for n in range(20):
                key = b"mix%d" % n
                body = b'[{"key":"%s","value":%d}]' % (key, n)
                connection.send(
                    b"GET /v1/get?key=%s HTTP/1.1\r\nHost: x\r\n\r\n" % key
                    + post(b"Content-Length: %d\r\n" % len(body), body)
                    + b"GET /v1/get?key=%s HTTP/1.1\r\nHost: x\r\n\r\n" % key + GOOD
                    + b"HEAD /v1/get?key=%s HTTP/1.1\r\nHost: x\r\n\r\n" % key
                    + post(b"Content-Length: %d\r\n" % len(body), body))
            for n in range(20):
                replies = [connection.read_response(method)
                           for method in ("GET", "POST", "GET", "GET", "HEAD", "POST")]
                self.assertEqual([reply.status for reply in replies], [404, 200, 200, 200, 200, 409])
                self.assertEqual(replies[2].json()["version"], replies[1].json()["version"])
                self.assertEqual(replies[2].json()["value"], n)

    def test_a_client_that_reads_late_loses_nothing(self):
        value = "x" * 100000
        self.server.put("late", value)
        count = 200
        with self.server.connect(timeout=30) as connection:
            sent = []

            def send(_):
                connection.send(b"GET /v1/get?key=late HTTP/1.1\r\nHost: x\r\n\r\n" * count)
                sent.append(count)

            def read(_):
                for _ in range(count):
                    self.assertEqual(connection.read_response().json()["value"], value)

            send(0)
            read(0)
            self.assertEqual(sent, [count])

    def test_many_connections_at_once(self):
        def client(index):
            with self.server.connect() as connection:
                for n in range(20):
                    key = "many%d-%d" % (index, n)
                    body = json.dumps([{"key": key, "value": n}]).encode()
                    reply = connection.request("POST", "/v1/put", body)
                    self.assertEqual(reply.status, 200)
                    item = connection.request("GET", "/v1/get?key=" + percent(key)).json()
                    self.assertEqual(item, {"key": key, "value": n, "version": reply.json()["version"]})

        in_threads(16, client)

    def test_a_client_that_leaves_early_harms_nobody(self):
        for _ in range(20):
            with self.server.connect() as connection:
                connection.send(GOOD * 50)
                connection.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.assertEqual(self.server.request("GET", "/livez").status, 200)


class RequestId(ServerCase):
    def id_for(self, given=None, target="/livez"):
        headers = [] if given is None else [("X-Request-Id", given)]
        return self.server.request("GET", target, headers=headers).header("X-Request-Id")

    def test_a_good_one_comes_back(self):
        for given in ("a", "A-z_0.9", "x" * 128):
            for target in ("/livez", "/none", "/v1/get?key=none", "/metrics"):
                self.assertEqual(self.id_for(given, target), given)

    def test_a_bad_one_is_replaced(self):
        for given in ("", "x" * 129, "a b", "a/b", "é", "a,b", '"a"'):
            fresh = self.id_for(given.encode().decode("latin-1"))
            self.assertNotEqual(fresh, given)
            self.assertRegex(fresh, r"\A[A-Za-z0-9._-]{1,128}\Z")

    def test_fresh_ones_differ(self):
        ids = [self.id_for() for _ in range(50)]
        self.assertEqual(len(set(ids)), 50)

    def test_replies_to_bad_requests_have_one(self):
        with self.server.connect() as connection:
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            self.assertRegex(connection.read_response().header("X-Request-Id") or "", r"\A[A-Za-z0-9._-]+\Z")

    def test_replies_to_bad_requests_have_the_clients_own(self):
        start = b"POST /v1/put HTTP/1.1\r\nHost: a\r\n"
        own = b"x-request-ID: \t mine \r\n"
        for fields in (b"Content-Length: 99999999\r\n" + own, own + b"Content-Length: 99999999\r\n",
                       own + b"Transfer-Encoding: gzip\r\n", own + b"Expect: wonders\r\n",
                       own + b"Content-Length: x\r\n", own + b"X: " + b"x" * 20000 + b"\r\n",
                       own + b"Transfer-Encoding: chunked\r\n\r\nx"):
            with self.server.connect() as connection:
                connection.send(start + fields + b"\r\n")
                self.assertEqual(connection.read_response().header("X-Request-Id"), "mine", fields)
        for bad in (b"X-Request-Id: not mine\r\n", b"X-Request-Id:\r\n", b"\r\nX-Request-Id: mine\r\n"):
            with self.server.connect() as connection:
                connection.send(start + b"Content-Length: 99999999\r\n" + bad + b"\r\n")
                response = connection.read_response()
                self.assertEqual(response.status, 413)
                self.assertRegex(response.header("X-Request-Id"), r"\A[0-9a-f]{16}\Z")
                self.assertEqual(response.json()["id"], response.header("X-Request-Id"))


class Timeouts(ServerCase):
    options = ("--head-timeout-ms", "400", "--body-timeout-ms", "400")

    def assertTimesOut(self, *pieces):
        """The last piece is repeated, byte by byte, until the server has enough."""
        with self.server.connect() as connection:
            for piece in pieces[:-1]:
                connection.send(piece)
            started = time.monotonic()
            connection.socket.settimeout(0.05)
            response = None
            while response is None and time.monotonic() - started < 20:
                try:
                    connection.send(pieces[-1])
                    response = connection.read_response()
                except socket.timeout:
                    pass
                except (BrokenPipeError, ConnectionResetError, Disconnected):
                    break
            self.assertIsNotNone(response, "no reply")
            self.assertError(response, 408)
            self.assertEqual((response.header("Connection") or "").lower(), "close")
            connection.socket.settimeout(20)
            self.assertTrue(connection.at_end())
            return time.monotonic() - started

    def test_a_slow_head_is_408_however_steadily_it_drips(self):
        self.assertTimesOut(b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"")
        self.assertTimesOut(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ", b"y")

    def test_a_slow_body_is_408_however_steadily_it_drips(self):
        self.assertTimesOut(post(b"Content-Length: 1000\r\n"), b"")
        self.assertTimesOut(post(b"Content-Length: 100000\r\n"), b" ")
        self.assertTimesOut(chunked(b""), b"1\r\n \r\n")


class IdleTimeout(ServerCase):
    options = ("--idle-timeout-ms", "400")

    def test_an_idle_connection_is_closed_without_a_word(self):
        with self.server.connect() as connection:
            self.assertTrue(connection.at_end())
        with self.server.connect() as connection:
            self.assertEqual(connection.request("GET", "/livez").status, 200)
            self.assertTrue(connection.at_end())

    def use_for_a_while(self):
        """False if the connection was closed after we had been idle for too long, since the machine stood still."""
        with self.server.connect() as connection:
            until, used = time.monotonic() + 1.2, time.monotonic()
            while time.monotonic() < until:
                try:
                    status = connection.request("GET", "/livez").status
                except (Disconnected, OSError):
                    if time.monotonic() - used < 0.35:
                        raise
                    return False
                self.assertEqual(status, 200)
                used = time.monotonic()
                time.sleep(0.05)
        return True

    def test_a_busy_connection_stays(self):
        self.assertTrue(any(self.use_for_a_while() for _ in range(8)), "idle for too long each time")


class Limits(unittest.TestCase):
    def test_limits_can_be_set(self):
        with Server(options=("--body-bytes-max", "2048", "--header-bytes-max", "1024")) as server:
            body = b"[" + b" " * 2046 + b"]"
            self.assertEqual(server.request("POST", "/v1/put", body).status, 400)
            for data, status in ((post(b"Content-Length: 2049\r\n"), 413),
                                 (chunked(b"801\r\n"), 413),
                                 (get(fields=HOST + b"X: " + b"y" * 1024 + b"\r\n"), 431)):
                with server.connect() as connection:
                    connection.send(data)
                    self.assertEqual(connection.read_response().status, status)
                    self.assertTrue(connection.at_end())

    def test_connections_past_the_limit_get_503(self):
        with Server(shards=2, options=("--connections-max", "4")) as server:
            held = []
            while len(held) < 4:  # the connections that start() made may take a moment to go
                connection = server.connect()
                try:
                    if connection.request("GET", "/livez").status == 200:
                        held.append(connection)
                        continue
                except (Disconnected, OSError):
                    pass
                connection.close()
            with server.connect() as connection:
                response = connection.read_response()
                self.assertEqual(response.status, 503)
                self.assertTrue(connection.at_end())
            for connection in held:
                self.assertEqual(connection.request("GET", "/livez").status, 200)
            held.pop().close()
            status = 503
            while status != 200:
                with server.connect() as connection:
                    try:
                        status = connection.request("GET", "/livez").status
                    except (Disconnected, OSError):
                        pass
            for connection in held:
                connection.close()


if __name__ == "__main__":
    unittest.main()
