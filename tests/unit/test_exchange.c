/* An exchange holds a copy of its request that does not depend on the connection's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/exchange.h"

static const struct http_limits limits = {.header_bytes_max = 16384, .body_bytes_max = 1024};

static struct exchange_pool pool;

static int setup(void **state) {
    (void)state;
    exchange_pool_init(&pool, limits.body_bytes_max, 1, 2);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    exchange_pool_free(&pool);
    return 0;
}

/* Parses text, copies it into an exchange, and wipes the text. */
static struct exchange *exchange_of(const char *text) {
    size_t len = strlen(text), used;
    char *data = malloc(len);
    assert_non_null(data);
    memcpy(data, text, len);
    struct http_scan scan = {0};
    struct http_head head;
    struct http_error error;
    assert_int_equal(http_parse_head(&scan, data, len, &limits, &head, &used, &error), HTTP_DONE);
    struct exchange *exchange = exchange_take(&pool);
    assert_non_null(exchange);
    assert_int_equal(
        exchange_set_head(exchange, &head, data, used, SLICE("127.0.0.1:5000")), ST_OK);
    memset(data, 'x', len);
    free(data);
    return exchange;
}

static void assert_slice(struct slice slice, const char *text) {
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.data, text, slice.len);
}

static void a_request_survives_the_bytes_it_was_parsed_from(void **state) {
    (void)state;
    struct exchange *exchange =
        exchange_of("GET /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-One:  two \r\n\r\n");
    const struct request *request = &exchange->call.request;
    assert_slice(request->method, "GET");
    assert_slice(request->path, "/a/b");
    assert_slice(request->query, "c=d");
    assert_slice(request->remote, "127.0.0.1:5000");
    assert_int_equal(request->header_count, 2);
    assert_slice(request->headers[0].name, "host");
    assert_slice(request->headers[1].name, "x-one");
    assert_slice(request->headers[1].value, "two");
    assert_true(exchange->keep_alive);
    assert_false(exchange->head_only);
    exchange_give(&pool, exchange);
}

static void so_does_the_path_of_a_target_without_one(void **state) {
    (void)state;
    const char *texts[] = {"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET https://h?c=d HTTP/1.1\r\nHost: h\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct exchange *exchange = exchange_of(texts[i]);
        const struct request *request = &exchange->call.request;
        assert_in_range((uintptr_t)request->path.data, (uintptr_t)exchange->storage.data,
            (uintptr_t)exchange->storage.data + exchange->storage.len - 1);
        assert_slice(request->path, "/");
        assert_slice(request->query, i == 0 ? "" : "c=d");
        exchange_give(&pool, exchange);
    }
}

static void a_usable_id_of_the_client_is_taken(void **state) {
    (void)state;
    struct exchange *exchange =
        exchange_of("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: aZ09._-\r\n\r\n");
    assert_slice(exchange->call.request.id, "aZ09._-");
    exchange_give(&pool, exchange);
}

static void an_unusable_id_is_replaced_by_a_fresh_one(void **state) {
    (void)state;
    char text[400];
    const char *bad[] = {"", "a b", "a\"b", "a/b",
        "0123456789012345678901234567890123456789012345678901234567890123"
        "01234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(
            text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: %s\r\n\r\n", bad[i]);
        struct exchange *exchange = exchange_of(text);
        struct slice id = exchange->call.request.id;
        assert_int_equal(id.len, 16);
        for (size_t c = 0; c < id.len; c++)
            assert_non_null(memchr("0123456789abcdef", id.data[c], 16));
        exchange_give(&pool, exchange);
    }
}

static void fresh_ids_and_seeds_differ_and_tell_nothing_of_each_other(void **state) {
    (void)state;
    struct exchange *first = exchange_of("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    struct exchange *second = exchange_of("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_false(slice_equal(first->call.request.id, second->call.request.id));
    assert_true(first->call.seed != second->call.seed);
    char seed[17];
    snprintf(seed, sizeof(seed), "%016llx", (unsigned long long)first->call.seed);
    assert_false(slice_equal(first->call.request.id, slice_of(seed, 16)));
    exchange_give(&pool, first);
    exchange_give(&pool, second);
}

static unsigned released;

static void release(struct call *call) {
    assert_non_null(call->input);
    released++;
}

static void giving_back_releases_the_input_and_empties_the_rest(void **state) {
    (void)state;
    static const struct procedure procedure = {.name = "p", .release = release};
    struct exchange *exchange = exchange_of("HEAD /x HTTP/1.0\r\n\r\n");
    assert_true(exchange->head_only);
    assert_false(exchange->keep_alive);
    exchange->call.procedure = &procedure;
    exchange->call.input = &pool;
    exchange->call.reply.status = 200;
    buf_append_text(&exchange->body, "12345");
    pool.body_bytes_held += 5;
    released = 0;
    exchange_give(&pool, exchange);
    assert_int_equal(released, 1);
    assert_int_equal(pool.body_bytes_held, 0);

    struct exchange *again = exchange_take(&pool);
    assert_ptr_equal(again, exchange);
    assert_null(again->call.procedure);
    assert_int_equal(again->call.reply.status, 0);
    assert_int_equal(again->body.len, 0);
    assert_false(again->head_only);
    exchange_give(&pool, again);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_survives_the_bytes_it_was_parsed_from),
        T(so_does_the_path_of_a_target_without_one),
        T(a_usable_id_of_the_client_is_taken),
        T(an_unusable_id_is_replaced_by_a_fresh_one),
        T(fresh_ids_and_seeds_differ_and_tell_nothing_of_each_other),
        T(giving_back_releases_the_input_and_empties_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
