/* What the HTTP parser takes, what it refuses, and with which status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http_parse.h"

#define HEADER_BYTES_MAX 16384
#define BODY_BYTES_MAX 1000

static const struct http_limits limits = {HEADER_BYTES_MAX, BODY_BYTES_MAX};

/* What the parser points into: kept until the next parse. */
static char bytes[65536];
static struct http_head head;
static struct http_error error;
static size_t used;

static enum http_result parse_bytes(const char *text, size_t len) {
    struct http_scan scan = {0};
    assert_true(len <= sizeof(bytes));
    memcpy(bytes, text, len);
    memset(&head, 0, sizeof(head));
    error = (struct http_error){0};
    used = 0;
    return http_parse_head(&scan, bytes, len, &limits, &head, &used, &error);
}

static enum http_result parse(const char *text) {
    return parse_bytes(text, strlen(text));
}

static void assert_slice(struct slice got, const char *want) {
    if (!slice_equal(got, slice_of(want, strlen(want))))
        fail_msg("got \"%.*s\", want \"%s\"", (int)got.len, got.data ? got.data : "", want);
}

static void assert_refused(const char *text, int status) {
    if (parse(text) != HTTP_BAD)
        fail_msg("taken: %s", text);
    if (error.status != status)
        fail_msg("%d (%s), want %d: %s", error.status, error.text, status, text);
    assert_non_null(error.code);
    assert_non_null(error.text);
}

static void assert_taken(const char *text) {
    if (parse(text) != HTTP_DONE)
        fail_msg("not taken (%d %s): %s", error.status, error.text ? error.text : "", text);
}

/* A good request around one header line, or around one target. */
static const char *with_field(const char *field) {
    static char text[4096];
    snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", field);
    return text;
}
static const char *with_target(const char *method, const char *target) {
    static char text[4096];
    snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", method, target);
    return text;
}

static void a_request_is_taken_apart(void **state) {
    (void)state;
    const char *text = "GET /fn/transfer?from=a&to=b?c HTTP/1.1\r\nHost: example.org:8080\r\n"
                       "User-AGENT:curl/8\r\nX-Empty:\r\nAccept: \t a, b \t\r\n\r\nGET /next";
    assert_taken(text);
    assert_slice(head.method, "GET");
    assert_slice(head.target, "/fn/transfer?from=a&to=b?c");
    assert_slice(head.path, "/fn/transfer");
    assert_slice(head.query, "from=a&to=b?c");
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.header_count, 4);
    assert_slice(head.headers[1].name, "user-agent");
    assert_slice(head.headers[1].value, "curl/8");
    assert_slice(head.headers[2].value, "");
    assert_slice(http_header_get(&head, SLICE("accept")), "a, b");
    assert_null(http_header_get(&head, SLICE("cookie")).data);
    assert_false(head.has_content_length || head.chunked || head.expect_continue);
    assert_true(head.keep_alive);
    assert_int_equal(used, strlen(text) - strlen("GET /next"));
}

static void the_first_of_repeated_fields_is_found(void **state) {
    (void)state;
    assert_taken(with_field("Cookie: a=1\r\nCookie: b=2"));
    assert_slice(http_header_get(&head, SLICE("cookie")), "a=1");
    assert_int_equal(head.header_count, 3);
}

static void values_may_hold_tabs_and_obs_text(void **state) {
    (void)state;
    assert_taken(with_field("X: a\tb \x80\xff!"));
    assert_slice(http_header_get(&head, SLICE("x")), "a\tb \x80\xff!");
}

static void unknown_methods_are_passed_on(void **state) {
    (void)state;
    assert_taken("BREW!#$%&'*+-.^_`|~9 /pot HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_slice(head.method, "BREW!#$%&'*+-.^_`|~9");
    assert_taken("get / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_slice(head.method, "get");
}

static void an_incomplete_head_asks_for_more(void **state) {
    (void)state;
    const char *parts[] = {"", "G", "GET", "GET / HTTP/1.1", "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r",
        "\r", "\r\n", "\r\n\r"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parse(parts[i]) != HTTP_MORE)
            fail_msg("not waited for more after \"%s\"", parts[i]);
}

static void a_few_empty_lines_may_come_first(void **state) {
    (void)state;
    assert_taken("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(used, 8 + 16 + 9 + 2);
    assert_refused("\r\n\r\n\r\n\r\n\r\n", 400);
    assert_refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void a_malformed_request_line_is_400(void **state) {
    (void)state;
    const char *lines[] = {" / HTTP/1.1", " GET / HTTP/1.1", "GET", "GET ", "GET /", "GET / ",
        "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1", "G(T / HTTP/1.1", "G\x80T / HTTP/1.1", "GET: / HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/11", "GET / HTTP/1.10",
        "GET / HTTP/01.1", "GET / HTTP/1,1", "GET / HTTP/1.1x", "GET / HTTP /1.1",
        "GET / HTTPS/1.1", "GET / HTTP/a.1", "GET / HTTP/2", "GET a b HTTP/1.1",
        "GET / a HTTP/1.1"};
    char text[256];
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(text, sizeof(text), "%s\r\nHost: a\r\n\r\n", lines[i]);
        assert_refused(text, 400);
    }
}

static void minor_versions_are_served_and_other_majors_are_505(void **state) {
    (void)state;
    assert_taken("GET / HTTP/1.9\r\nHost: a\r\n\r\n");
    assert_int_equal(head.minor, 1);
    assert_taken("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(head.minor, 0);
    assert_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    assert_refused("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
    assert_refused("GET / HTTP/9.9\r\n", 505);
    assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

static void a_target_holds_what_rfc_3986_allows(void **state) {
    (void)state;
    assert_taken(with_target("GET", "/-._~!$&'()*+,;=:@aZ09%00%fF//?/?-._~!$&'()*+,;=:@%7e"));
    assert_slice(head.path, "/-._~!$&'()*+,;=:@aZ09%00%fF//");
    assert_slice(head.query, "/?-._~!$&'()*+,;=:@%7e");
    assert_taken(with_target("GET", "/?"));
    assert_slice(head.query, "");
    char target[8];
    for (unsigned byte = 1; byte < 256; byte++) {
        if ((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
            (byte >= 'A' && byte <= 'Z') || strchr("-._~!$&'()*+,;=:@/?", (int)byte))
            continue;
        snprintf(target, sizeof(target), "/x%c", (char)byte);
        assert_refused(with_target("GET", target), 400);
        snprintf(target, sizeof(target), "/?x%c", (char)byte);
        assert_refused(with_target("GET", target), 400);
    }
}

static void a_bad_percent_sequence_is_400(void **state) {
    (void)state;
    const char *targets[] = {"/%", "/%4", "/%zz", "/%4g", "/a%?", "/?%", "/?a=%g1"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        assert_refused(with_target("GET", targets[i]), 400);
}

static void an_absolute_target_counts_as_its_path(void **state) {
    (void)state;
    assert_taken(with_target("GET", "HTTP://example.org:80/a/b?c=d"));
    assert_slice(head.target, "/a/b?c=d");
    assert_slice(head.path, "/a/b");
    assert_slice(head.query, "c=d");
    assert_taken(with_target("GET", "https://[::1]:8080/x"));
    assert_slice(head.path, "/x");
    assert_taken(with_target("GET", "http://example.org"));
    assert_slice(head.target, "/");
    assert_slice(head.path, "/");
    assert_taken(with_target("GET", "http://example.org?q=1"));
    assert_slice(head.path, "/");
    assert_slice(head.query, "q=1");
    assert_refused("GET http://example.org/ HTTP/1.1\r\n\r\n", 400); /* Host is still needed */
}

static void the_host_of_an_absolute_target_replaces_the_field(void **state) {
    (void)state;
    assert_taken("GET http://Example.org:81/a HTTP/1.1\r\nX: y\r\nHOST: other\r\n\r\n");
    assert_slice(http_header_get(&head, SLICE("host")), "Example.org:81");
    assert_slice(http_header_get(&head, SLICE("x")), "y");
    assert_int_equal(head.header_count, 2);
    assert_taken("GET http://example.org HTTP/1.0\r\n\r\n");
    assert_int_equal(head.header_count, 0);
    assert_taken("GET /http://example.org HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_slice(http_header_get(&head, SLICE("host")), "other");
    assert_refused("GET http://example.org/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
}

static void other_forms_of_target_are_refused(void **state) {
    (void)state;
    const char *targets[] = {"*", "a", "example.org:80", "ftp://example.org/", "http:/a", "http://",
        "http:///a", "http://u@h/", "http://h:x/", "http://h#f", "http://h/#f", "?q", "//[x"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        assert_refused(with_target("GET", targets[i]), 400);
}

static void the_asterisk_is_for_options(void **state) {
    (void)state;
    assert_taken(with_target("OPTIONS", "*"));
    assert_slice(head.path, "*");
    assert_refused(with_target("OPTIONS", "**"), 400);
}

static void connect_is_not_implemented(void **state) {
    (void)state;
    assert_refused(with_target("CONNECT", "example.org:443"), 501);
    assert_refused(with_target("CONNECT", "[::1]:443"), 501);
    assert_refused(with_target("CONNECT", "/"), 400);
    assert_refused(with_target("CONNECT", "http://a/"), 400);
}

static void http_1_1_needs_exactly_one_host(void **state) {
    (void)state;
    assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.9\r\nX: y\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
}

static void a_host_must_be_one(void **state) {
    (void)state;
    const char *good[] = {"a", "a.b:80", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:80",
        "a:", "a%20b", "x_y", "[::ffff:1.2.3.4]"};
    const char *bad[] = {"", "a b", "a/b", "a, b:", "u@a", "a:b", "a:65536", "a:123456", ":80",
        "[::1", "[]", "[a]", "[::1]x", "a:80:80", "a%2", "a\\b", "a\"", "\x80", "http://a", "a?b",
        "a#b", "[::1%25lo]", "a:-1"};
    char text[128];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        assert_taken(text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        assert_refused(text, 400);
    }
}

static void malformed_header_fields_are_400(void **state) {
    (void)state;
    const char *fields[] = {"X : y", "X\t: y", ": y", "X", "X y: z", " X: y", "\tX: y",
        "X: y\r\n z", "X: y\r\n\tz", "X(: y", "X\x80: y", "\"X\": y", "X: y\x01", "X: y\x7f",
        "X: a\x0b", "X: a\rb", "X: a\r\rb", "X: a\nY: b", "X\n: b", "\nX: b", "X: a\n\r\nY: b",
        "X/Y: z", "{X}: y", "X\r: y"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        assert_refused(with_field(fields[i]), 400);
    assert_int_equal(parse_bytes("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 36), HTTP_BAD);
    assert_int_equal(error.status, 400);
    assert_int_equal(parse_bytes("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29), HTTP_BAD);
}

static void bare_line_ends_are_told_at_once(void **state) {
    (void)state;
    const char *texts[] = {"GET / HTTP/1.1\n", "GET / HTTP/1.1\rH", "GET / HTTP/1.1\r\nHost: a\n",
        "GET / HTTP/1.1\r\nHost: a\rX", "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX", "GET /\nX: y\r\n", "\rG", "\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_refused(texts[i], 400);
        if (!strstr(error.text, "bare"))
            fail_msg("\"%s\" for %s", error.text, texts[i]);
    }
}

static void other_protocols_are_refused_by_their_first_bytes(void **state) {
    (void)state;
    assert_refused("\x16\x03\x01\x02", 400);
    assert_refused("\x80g", 400);
    assert_refused("{\"a\":", 400);
}

static void errors_name_the_fault(void **state) {
    (void)state;
    assert_refused(with_field("X : y"), 400);
    assert_string_equal(error.text, "white space before the colon in a header field");
    assert_string_equal(error.code, "bad_request");
    assert_refused(with_field("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400);
    assert_string_equal(error.text, "both Content-Length and Transfer-Encoding");
    assert_refused(with_field("X: y\r\n z"), 400);
    assert_string_equal(error.text, "folded header field, or white space before one");
}

static void the_first_error_in_the_order_of_the_bytes_wins(void **state) {
    (void)state;
    assert_refused("GET / HTTP/2.0\r\nX : y\r\n\r\n", 505);
    assert_refused("GET /{ HTTP/2.0\r\n\r\n", 400);
    assert_refused(with_field("Content-Length: 99999\r\nX : y"), 413);
    assert_refused(with_field("X : y\r\nContent-Length: 99999"), 400);
}

static void a_content_length_is_a_row_of_digits(void **state) {
    (void)state;
    assert_taken(with_field("Content-Length: 0"));
    assert_true(head.has_content_length);
    assert_int_equal(head.content_length, 0);
    assert_taken(with_field("content-LENGTH:0001000  "));
    assert_int_equal(head.content_length, BODY_BYTES_MAX);
    const char *bad[] = {"", "+5", "-5", "0x5", "5 5", "5, 5", "5,5", "5.0", "1e2", "5;", "five",
        "\"5\"", "5\x80", "0 0", ",5", "5,"};
    char field[64];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(field, sizeof(field), "Content-Length: %s", bad[i]);
        assert_refused(with_field(field), 400);
    }
    assert_refused(with_field("Content-Length: 5\r\nContent-Length: 5"), 400);
    assert_refused(with_field("Content-Length: 5\r\nX: y\r\ncontent-length: 6"), 400);
}

static void a_body_over_the_limit_is_413(void **state) {
    (void)state;
    assert_refused(with_field("Content-Length: 1001"), 413);
    assert_refused(with_field("Content-Length: 18446744073709551615"), 413);
    assert_refused(with_field("Content-Length: 18446744073709551616"), 413);
    assert_refused(with_field("Content-Length: 18446744073709551621"), 413);
    assert_refused(with_field("Content-Length: 99999999999999999999999999999999999999999"), 413);
}

static void transfer_encoding_is_chunked_or_refused(void **state) {
    (void)state;
    assert_taken(with_field("Transfer-Encoding:  ChunKed\t"));
    assert_true(head.chunked);
    assert_false(head.has_content_length);
    const char *bad[] = {"Transfer-Encoding:", "Transfer-Encoding: ,",
        "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip, chunked, chunked", "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,", "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked\x80",
        "Transfer-Encoding: chun ked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: gzip"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(with_field(bad[i]), 400);
    const char *unknown[] = {"gzip", "gzip, chunked", "identity", "xchunked", "gzip;q=1, chunked"};
    char field[64];
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        snprintf(field, sizeof(field), "Transfer-Encoding: %s", unknown[i]);
        assert_refused(with_field(field), 501);
    }
    assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n", 400);
}

static void keep_alive_follows_version_and_connection(void **state) {
    (void)state;
    const struct {
        const char *version, *field;
        bool want;
    } cases[] = {{"1.1", "X: y", true}, {"1.1", "Connection: close", false},
        {"1.1", "connection: Foo , CLOSE", false}, {"1.1", "Connection: keep-alive", true},
        {"1.1", "Connection: closed", true}, {"1.1", "Connection:", true},
        {"1.1", "Connection: keep-alive\r\nConnection: close", false}, {"1.0", "X: y", false},
        {"1.0", "Connection: Keep-Alive", true}, {"1.0", "Connection: keep-alive, close", false},
        {"1.0", "Connection: ,keep-alive,", true}};
    char text[256];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n\r\n", cases[i].version,
            cases[i].field);
        assert_taken(text);
        if (head.keep_alive != cases[i].want)
            fail_msg("keep-alive is wrong for %s", text);
    }
    assert_refused(with_field("Connection: a b"), 400);
}

static void only_100_continue_may_be_expected(void **state) {
    (void)state;
    assert_taken(with_field("Expect: 100-Continue"));
    assert_true(head.expect_continue);
    assert_taken("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
    assert_false(head.expect_continue);
    assert_refused(with_field("Expect: 200-ok"), 417);
    assert_refused(with_field("Expect: 100-continue, x"), 417);
    assert_refused(with_field("Expect:"), 417);
}

static void an_overlong_request_line_is_414_even_without_end(void **state) {
    (void)state;
    static char text[HTTP_REQUEST_LINE_BYTES_MAX + 256];
    const char *tail = " HTTP/1.1\r\nHost: a\r\n\r\n";
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    size_t target_end = HTTP_REQUEST_LINE_BYTES_MAX - strlen(" HTTP/1.1");
    memcpy(text + target_end, tail, strlen(tail));
    assert_int_equal(parse_bytes(text, target_end + strlen(tail)), HTTP_DONE);
    memset(text + target_end, 'a', 1);
    memcpy(text + target_end + 1, tail, strlen(tail));
    assert_int_equal(parse_bytes(text, target_end + 1 + strlen(tail)), HTTP_BAD);
    assert_int_equal(error.status, 414);
    memset(text + target_end, 'a', 200);
    assert_int_equal(parse_bytes(text, HTTP_REQUEST_LINE_BYTES_MAX + 1), HTTP_MORE);
    assert_int_equal(parse_bytes(text, HTTP_REQUEST_LINE_BYTES_MAX + 2), HTTP_BAD);
    assert_int_equal(error.status, 414);
}

static void a_head_over_its_limit_is_431_even_without_end(void **state) {
    (void)state;
    static char text[HEADER_BYTES_MAX + 16];
    const char *start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    memset(text, 'a', sizeof(text));
    memcpy(text, start, strlen(start));
    assert_int_equal(parse_bytes(text, HEADER_BYTES_MAX - 1), HTTP_MORE);
    assert_int_equal(parse_bytes(text, HEADER_BYTES_MAX), HTTP_BAD);
    assert_int_equal(error.status, 431);
    memcpy(text + HEADER_BYTES_MAX - 4, "\r\n\r\n", 4); /* just fits */
    assert_int_equal(parse_bytes(text, HEADER_BYTES_MAX), HTTP_DONE);
    memcpy(text + HEADER_BYTES_MAX - 4, "a\r\n\r\n", 5); /* one byte more */
    assert_int_equal(parse_bytes(text, HEADER_BYTES_MAX + 1), HTTP_BAD);
    assert_int_equal(error.status, 431);
}

static void a_hundred_fields_are_taken_and_one_more_is_431(void **state) {
    (void)state;
    static char text[8192];
    for (int count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        size_t len = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
        for (int i = 1; i < count; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "X-%d: %d\r\n", i, i);
        snprintf(text + len, sizeof(text) - len, "\r\n");
        if (count == HTTP_HEADERS_MAX) {
            assert_taken(text);
            assert_slice(head.headers[99].name, "x-99");
        } else {
            assert_refused(text, 431);
        }
    }
}

/* ---- chunked bodies ---- */

static struct buf body;

static enum http_result decode(const char *text) {
    struct http_chunked chunked = {0};
    buf_reset(&body, 4096);
    error = (struct http_error){0};
    return http_parse_chunked(&chunked, text, strlen(text), &limits, &body, &used, &error);
}

static void assert_chunks_refused(const char *text, int status) {
    if (decode(text) != HTTP_BAD)
        fail_msg("taken: %s", text);
    if (error.status != status)
        fail_msg("%d (%s), want %d: %s", error.status, error.text, status, text);
}

static void chunks_are_put_together(void **state) {
    (void)state;
    const char *text = "5\r\nhello\r\n00C;a=b;c=\"\xc3\xa9 d\"\r\n, wide world\r\n1\r\n\n\r\n"
                       "0\r\nDigest: x\r\nEmpty:\r\n\r\nGET /";
    assert_int_equal(decode(text), HTTP_DONE);
    assert_slice(buf_slice(&body), "hello, wide world\n");
    assert_int_equal(used, strlen(text) - 5);
    assert_int_equal(decode("0\r\n\r\n"), HTTP_DONE);
    assert_int_equal(body.len, 0);
    assert_int_equal(decode("000000000000000a\r\n0123456789\r\n0;x\r\n\r\n"), HTTP_DONE);
    assert_int_equal(body.len, 10);
}

static void unfinished_chunks_ask_for_more(void **state) {
    (void)state;
    const char *text = "3;x\r\nabc\r\n0\r\nT: v\r\n\r\n";
    char part[64];
    for (size_t len = 0; len < strlen(text); len++) {
        snprintf(part, sizeof(part), "%.*s", (int)len, text);
        assert_int_equal(decode(part), HTTP_MORE);
        assert_int_equal(used, len);
    }
}

static void malformed_chunks_are_400(void **state) {
    (void)state;
    const char *texts[] = {"0x5\r\nhello\r\n0\r\n\r\n", "+5\r\n", "-5\r\n", " 5\r\n", "5 \r\n",
        "5 ;a\r\n", "5\t\r\n", "\r\n", ";a\r\n", "g\r\n", "5\n", "5\rh", "5;a\n", "5;a\x01\r\n",
        "5;a\rb", "5\r\nhello\n", "5\r\nhelloX", "5\r\nhello\rX", "4\r\nhello\r\n",
        "00000000000000005\r\n", "10000000000000000\r\n", "0\r\nT : v\r\n", "0\r\n: v\r\n",
        "0\r\n T: v\r\n", "0\r\nT: v\r\n w\r\n", "0\r\nT\r\n", "0\r\nT: \x02\r\n", "0\r\nT: v\n",
        "0\r\nT: v\rx", "0\r\n\rx", "0\r\n\n", "0\n\r\n", "1\r\na\r\n\r\n", "5,5\r\n",
        "\xef\xbc\x95\r\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_chunks_refused(texts[i], 400);
}

static void a_chunked_body_over_the_limit_is_413(void **state) {
    (void)state;
    assert_chunks_refused("3e9\r\n", 413);
    assert_chunks_refused("ffffffffffffffff\r\n", 413);
    assert_chunks_refused("1\r\na\r\n3e8\r\n", 413);
    assert_chunks_refused("1\r\na\r\nffffffffffffffff\r\n", 413); /* the sum is 0 in 64 bits */
    assert_int_equal(decode("3e8\r\n"), HTTP_MORE);
}

static void extensions_are_passed_over(void **state) {
    (void)state;
    const char *extensions[] = {";a", ";a=b", ";a=b;c", ";a;b=\"\"", ";a=\" \t;=\\\"\\\\\xff\"",
        "; \ta", ";a ;\tb = c ;d= \"e\" ;f", ";!#$%&'*+-.^_`|~0=!"};
    char text[128];
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        snprintf(text, sizeof(text), "1%s\r\nx\r\n0%s\r\n\r\n", extensions[i], extensions[i]);
        if (decode(text) != HTTP_DONE)
            fail_msg("not taken (%s): %s", error.text, text);
        assert_slice(buf_slice(&body), "x");
    }
}

static void malformed_extensions_are_400(void **state) {
    (void)state;
    const char *extensions[] = {";", "; ", ";;a", ";=", ";=b", ";\"a\"", ";a=", ";a= ", ";a=;b",
        ";a=b=c", ";a ", ";a b", ";a=b ", ";a=b c", ";a=\"", ";a=\"b", ";a=\"b\\\"", ";a=\"b\\",
        ";a=\"b\"c", ";a=\"b\"\"c\"", ";a=\"b\" ", ";a=b\"c\"", ";a=\"\x01\"", ";a=\"\\\x7f\"",
        ";a,b", ";a=\xe9", ";\xe9", ";a=\"b\nc\"", ";a=\"b\r\nc\""};
    char text[128];
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        snprintf(text, sizeof(text), "1%s\r\nx\r\n0\r\n\r\n", extensions[i]);
        assert_chunks_refused(text, 400);
        snprintf(text, sizeof(text), "0%s\r\n\r\n", extensions[i]);
        assert_chunks_refused(text, 400);
    }
}

static void long_extensions_and_trailers_are_refused(void **state) {
    (void)state;
    static char text[HEADER_BYTES_MAX + 64];
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "5;", 2);
    assert_chunks_refused(text, 400);
    memcpy(text, "0\r\nT:", 5);
    assert_chunks_refused(text, 431);
}

static void extensions_share_one_bound_over_all_chunks(void **state) {
    (void)state;
    static char text[1 << 16];
    size_t len = 0;
    for (int i = 0; i < 40; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "1;%0500d\r\na\r\n", i);
    assert_chunks_refused(text, 400);
}

int main(void) {
    buf_init(&body, SIZE_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(the_first_of_repeated_fields_is_found),
        cmocka_unit_test(values_may_hold_tabs_and_obs_text),
        cmocka_unit_test(unknown_methods_are_passed_on),
        cmocka_unit_test(an_incomplete_head_asks_for_more),
        cmocka_unit_test(a_few_empty_lines_may_come_first),
        cmocka_unit_test(a_malformed_request_line_is_400),
        cmocka_unit_test(minor_versions_are_served_and_other_majors_are_505),
        cmocka_unit_test(a_target_holds_what_rfc_3986_allows),
        cmocka_unit_test(a_bad_percent_sequence_is_400),
        cmocka_unit_test(an_absolute_target_counts_as_its_path),
        cmocka_unit_test(the_host_of_an_absolute_target_replaces_the_field),
        cmocka_unit_test(other_forms_of_target_are_refused),
        cmocka_unit_test(the_asterisk_is_for_options),
        cmocka_unit_test(connect_is_not_implemented),
        cmocka_unit_test(http_1_1_needs_exactly_one_host),
        cmocka_unit_test(a_host_must_be_one),
        cmocka_unit_test(malformed_header_fields_are_400),
        cmocka_unit_test(bare_line_ends_are_told_at_once),
        cmocka_unit_test(other_protocols_are_refused_by_their_first_bytes),
        cmocka_unit_test(errors_name_the_fault),
        cmocka_unit_test(the_first_error_in_the_order_of_the_bytes_wins),
        cmocka_unit_test(a_content_length_is_a_row_of_digits),
        cmocka_unit_test(a_body_over_the_limit_is_413),
        cmocka_unit_test(transfer_encoding_is_chunked_or_refused),
        cmocka_unit_test(keep_alive_follows_version_and_connection),
        cmocka_unit_test(only_100_continue_may_be_expected),
        cmocka_unit_test(an_overlong_request_line_is_414_even_without_end),
        cmocka_unit_test(a_head_over_its_limit_is_431_even_without_end),
        cmocka_unit_test(a_hundred_fields_are_taken_and_one_more_is_431),
        cmocka_unit_test(chunks_are_put_together),
        cmocka_unit_test(unfinished_chunks_ask_for_more),
        cmocka_unit_test(malformed_chunks_are_400),
        cmocka_unit_test(a_chunked_body_over_the_limit_is_413),
        cmocka_unit_test(extensions_are_passed_over),
        cmocka_unit_test(malformed_extensions_are_400),
        cmocka_unit_test(long_extensions_and_trailers_are_refused),
        cmocka_unit_test(extensions_share_one_bound_over_all_chunks),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&body);
    return failed;
}
