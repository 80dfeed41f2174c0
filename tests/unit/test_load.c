/* The load generator's histogram and reply parser. perf/ is a program, not a library, so its two
 * self-contained files are compiled into this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/load_hist.c"
#include "perf/load_http.c"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- histogram ---- */

/* A quantile is never below the true value, and at most 1/64 above it. */
static void test_quantiles_are_close(void **state) {
    (void)state;
    static struct hist hist;
    const uint64_t last = 200000;
    for (uint64_t ns = 1; ns <= last; ns++)
        hist_add(&hist, ns * 37);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t truth = last * percent / 100 * 37;
        uint64_t found = hist_quantile_ns(&hist, (double)percent / 100);
        assert_true(found >= truth);
        assert_true(found <= truth + truth / 64 + 37);
    }
}

/* Every power of two and its neighbours, to the largest number, lands in a bucket that contains it.
 */
static void test_every_value_has_its_bucket(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t ns = (UINT64_C(1) << bit) + (uint64_t)off;
            unsigned bucket = bucket_of(ns);
            assert_true(bucket < HIST_BUCKETS);
            bool last = bucket == HIST_BUCKETS - 1;
            assert_true(last || ns <= bucket_last_ns(bucket));
            assert_true(bucket == 0 || ns > bucket_last_ns(bucket - 1));
        }
    }
}

/* Two merged histograms answer like one that saw all. */
static void test_merge_is_adding_all(void **state) {
    (void)state;
    static struct hist all, odd, even;
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t ns = i * i;
        hist_add(&all, ns);
        hist_add(i % 2 ? &odd : &even, ns);
    }
    hist_merge(&odd, &even);
    assert_memory_equal(&odd, &all, sizeof all);
}

/* An empty histogram answers 0. */
static void test_empty(void **state) {
    (void)state;
    static struct hist hist;
    assert_int_equal(hist_quantile_ns(&hist, 0.99), 0);
}

/* ---- replies ---- */

static enum reply_state parse(const char *text, struct reply *reply) {
    return reply_parse(slice_of(text, strlen(text)), reply);
}

/* Two pipelined replies come off one after the other. */
static void test_pipelined_replies(void **state) {
    (void)state;
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
                       "HTTP/1.1 409 Conflict\r\ncontent-length:3\r\nConnection: close\r\n\r\nabc";
    struct reply reply;
    assert_int_equal(parse(text, &reply), REPLY_WHOLE);
    assert_int_equal(reply.status, 200);
    assert_false(reply.closes);
    assert_true(slice_equal(reply.body, SLICE("{}")));
    assert_int_equal(parse(text + reply.len, &reply), REPLY_WHOLE);
    assert_int_equal(reply.status, 409);
    assert_true(reply.closes);
    assert_true(slice_equal(reply.body, SLICE("abc")));
}

/* Every proper prefix of a reply wants more. */
static void test_prefixes_want_more(void **state) {
    (void)state;
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
    struct reply reply;
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(reply_parse(slice_of(text, len), &reply), REPLY_MORE);
    assert_int_equal(parse(text, &reply), REPLY_WHOLE);
}

/* What is no reply of this server is refused, not guessed at. */
static void test_bad_replies(void **state) {
    (void)state;
    const char *bad[] = {
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\r\n\r\n",
    };
    struct reply reply;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(parse(bad[i], &reply), REPLY_BAD);
}

/* ---- addresses ---- */

/* Only this machine's addresses are taken. */
static void test_targets(void **state) {
    (void)state;
    const char *good[] = {"http://127.0.0.1:8080", "http://127.9.9.9:1/", "http://localhost:65535",
        "http://[::1]:80"};
    const char *bad[] = {"http://10.0.0.1:80", "http://[::2]:80", "http://127.0.0.1",
        "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://127.0.0.1:80x",
        "https://127.0.0.1:80", "127.0.0.1:80", "http://:80", "http://localhost.example:80", ""};
    struct target target;
    struct buf error;
    buf_init(&error, 4096);
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(target_parse(good[i], &target, &error));
    assert_int_equal(error.len, 0);
    for (size_t i = 0; i < COUNT(bad); i++) {
        size_t before = error.len;
        assert_false(target_parse(bad[i], &target, &error));
        assert_true(error.len > before);
    }
    buf_free(&error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_are_close),
        cmocka_unit_test(test_every_value_has_its_bucket),
        cmocka_unit_test(test_merge_is_adding_all),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_pipelined_replies),
        cmocka_unit_test(test_prefixes_want_more),
        cmocka_unit_test(test_bad_replies),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
