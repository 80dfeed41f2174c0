/* GET /v1/get and POST /v1/put over a stand-in for transactions. */
#include "kv_fake.h"

/* ---- get ---- */

static void get_answers_value_version_and_etag(void **state) {
    (void)state;
    fake_have("a b", "{\"n\":[1,2.0]}", 42);
    assert_int_equal(fake_call(kv_prepare_get, "key=a+b"), PROC_COMMIT);
    assert_reply(200, "{\"key\":\"a b\",\"value\":{\"n\":[1,2.0]},\"version\":42}");
    assert_true(slice_equal(buf_slice(&call.reply.headers), SLICE("ETag: \"42\"\r\n")));
    assert_string_equal(call.reply.content_type, "application/json");
    assert_int_equal(fake.declared[DECLARE_READ], 1);
}

static void get_of_an_absent_key_is_404(void **state) {
    (void)state;
    assert_int_equal(fake_call(kv_prepare_get, "key=nobody"), PROC_ROLLBACK);
    assert_reply(404, "{\"error\":\"key not found\",\"code\":\"key_not_found\"}");
}

static void get_refuses_a_bad_key(void **state) {
    (void)state;
    const char *queries[] = {"", "key", "key=", "other=1", "key=12345678901234567", "key=%FF",
        "key=%C0%80", "key=%ED%A0%80", "key=a&key=a", "key=%4", "key=%zz"};
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        assert_refused(kv_prepare_get, queries[i], 400, "bad_key");
    fake_have("1234567890123456", "1", 1);
    assert_int_equal(fake_call(kv_prepare_get, "key=1234567890123456&key2=x"), PROC_COMMIT);
}

static void get_says_304_if_the_client_has_the_version(void **state) {
    (void)state;
    static const struct {
        const char *tags;
        int status;
    } cases[] = {{"\"42\"", 304}, {"W/\"42\"", 304}, {"\"1\", \"42\"", 304}, {"*", 304},
        {"\"41\"", 200}, {"42", 200}, {"\"4\",W/\"2\"", 200}, {"\"42", 200}, {"", 200}};
    fake_have("k", "1", 42);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct request_header headers[] = {{SLICE("host"), SLICE("x")},
            {SLICE("if-none-match"), slice_of(cases[i].tags, strlen(cases[i].tags))}};
        call.request.headers = headers;
        call.request.header_count = 2;
        assert_int_equal(fake_call(kv_prepare_get, "key=k"), PROC_COMMIT);
        assert_int_equal(call.reply.status, cases[i].status);
        assert_int_equal(call.reply.body.len == 0, cases[i].status == 304);
        assert_true(slice_equal(buf_slice(&call.reply.headers), SLICE("ETag: \"42\"\r\n")));
    }
    call.request.headers = NULL;
    call.request.header_count = 0;
}

static void get_waits_for_its_read_and_unwinds_when_doomed(void **state) {
    (void)state;
    fake_have("k", "\"v\"", 3);
    fake.waits = true;
    assert_int_equal(fake_call(kv_prepare_get, "key=k"), PROC_COMMIT);
    assert_reply(200, "{\"key\":\"k\",\"value\":\"v\",\"version\":3}");
    fake.doomed_at = 1;
    assert_int_equal(fake_call(kv_prepare_get, "key=k"), PROC_UNWOUND);
}

/* ---- put ---- */

static void put_writes_all_keys_at_one_new_version(void **state) {
    (void)state;
    fake_have("b", "1", 9);
    assert_int_equal(fake_call(kv_prepare_put,
                         "[{\"key\":\"a\",\"value\":true},"
                         "{\"version\":9,\"unknown\":{\"key\":1},\"value\":\"x\",\"key\":\"b\"},"
                         "{\"key\":\"c\",\"value\":[],\"version\":0}]"),
        PROC_COMMIT);
    assert_reply(200, "{\"result\":\"Success\",\"version\":101}");
    assert_int_equal(fake.declared[DECLARE_VERSION], 3);
    assert_int_equal(fake.declared[DECLARE_WRITE], 3);
    assert_int_equal(fake.declared_count, 3);
    assert_int_equal(fake.declared_bytes, 1 + 1 + 1 + 2 + 1 + 1);
    fake_call(kv_prepare_get, "key=b");
    assert_reply(200, "{\"key\":\"b\",\"value\":\"x\",\"version\":101}");
}

static void put_names_the_key_and_version_that_do_not_match(void **state) {
    (void)state;
    fake_have("old", "1", 9);
    assert_int_equal(
        fake_call(kv_prepare_put,
            "[{\"key\":\"new\",\"value\":1},{\"key\":\"old\",\"value\":1,\"version\":8}]"),
        PROC_ROLLBACK);
    assert_reply(409,
        "{\"result\":\"Failure\",\"error\":\"outdated version\",\"code\":\"conflict\","
        "\"key\":\"old\",\"version\":9}");
    fake_call(kv_prepare_put, "[{\"key\":\"old\",\"value\":1}]");
    assert_reply(409,
        "{\"result\":\"Failure\",\"error\":\"outdated version\",\"code\":\"conflict\","
        "\"key\":\"old\",\"version\":9}");
    fake_call(kv_prepare_put, "[{\"key\":\"new\",\"value\":1,\"version\":9}]");
    assert_reply(409, "{\"result\":\"Failure\",\"error\":\"version incorrect for new key\","
                      "\"code\":\"conflict\",\"key\":\"new\",\"version\":0}");
    assert_int_equal(fake.committed_count, 1);
    assert_int_equal(fake.lsn, 100);
}

static void put_goes_on_where_it_waited(void **state) {
    (void)state;
    fake.waits = true;
    assert_int_equal(
        fake_call(kv_prepare_put, "[{\"key\":\"a\",\"value\":1},{\"key\":\"b\",\"value\":2}]"),
        PROC_COMMIT);
    assert_reply(200, "{\"result\":\"Success\",\"version\":101}");
    assert_int_equal(fake.committed_count, 2);
    fake.doomed_at = 2;
    assert_int_equal(fake_call(kv_prepare_put, "[{\"key\":\"c\",\"value\":1}]"), PROC_UNWOUND);
    assert_int_equal(fake.committed_count, 2);
}

static void put_starts_over_from_the_same_input(void **state) {
    (void)state;
    assert_int_equal(
        fake_prepare(kv_prepare_put, "[{\"key\":\"a\",\"value\":1},{\"key\":\"b\",\"value\":2}]"),
        ST_OK);
    fake.doomed_at = 2;
    assert_int_equal(fake_run(), PROC_UNWOUND);
    fake.doomed_at = 0;
    assert_int_equal(fake_run(), PROC_COMMIT);
    assert_reply(200, "{\"result\":\"Success\",\"version\":101}");
    call.procedure->release(&call);
}

static void put_passes_on_why_a_write_was_refused(void **state) {
    (void)state;
    fake.set_status = ST_TOO_LARGE;
    assert_int_equal(fake_call(kv_prepare_put, "[{\"key\":\"a\",\"value\":1}]"), PROC_FAIL);
    assert_int_equal(call.outcome, ST_TOO_LARGE);
}

static void put_refuses_a_bad_body(void **state) {
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *code;
    } cases[] = {
        {"", 400, "bad_json"},
        {"[", 400, "bad_json"},
        {"[{\"key\":\"a\",\"value\":1}", 400, "bad_json"},
        {"[{\"key\":\"a\",\"value\":1}]x", 400, "bad_json"},
        {"[{\"key\":\"a\",\"value\":1},]", 400, "bad_json"},
        {"[{\"key\":\"a\",\"key\":\"b\",\"value\":1}]", 400, "bad_json"},
        {"[{\"key\":\"a\",\"value\":9223372036854775808}]", 400, "bad_json"},
        {"[{\"key\":\"a\",\"value\":1e999}]", 400, "bad_json"},
        {"\xEF\xBB\xBF[]", 400, "bad_json"},
        {"{}", 400, "bad_request"},
        {"null", 400, "bad_request"},
        {"[1]", 400, "bad_request"},
        {"[[]]", 400, "bad_request"},
        {"[]", 400, "empty_request"},
        {"[{\"value\":1}]", 400, "bad_key"},
        {"[{\"key\":1,\"value\":1}]", 400, "bad_key"},
        {"[{\"key\":\"\",\"value\":1}]", 400, "bad_key"},
        {"[{\"key\":\"12345678901234567\",\"value\":1}]", 400, "bad_key"},
        {"[{\"key\":\"a\"}]", 400, "bad_value"},
        {"[{\"key\":\"a\",\"value\":null}]", 400, "bad_value"},
        {"[{\"key\":\"a\",\"value\":1,\"version\":-1}]", 400, "bad_version"},
        {"[{\"key\":\"a\",\"value\":1,\"version\":1.0}]", 400, "bad_version"},
        {"[{\"key\":\"a\",\"value\":1,\"version\":\"1\"}]", 400, "bad_version"},
        {"[{\"key\":\"a\",\"value\":1,\"version\":null}]", 400, "bad_version"},
        {"[{\"key\":\"a\",\"value\":\"0123456789012345678901234567890\"}]", 413, NULL},
        {"[{\"key\":\"a\",\"value\":\"01234567890123456789012345678901\"}]", 413,
            "value_too_large"},
        {"[{\"key\":\"a\",\"value\":1},{\"key\":\"b\",\"value\":1},{\"key\":\"a\",\"value\":1}]",
            400, "duplicate_key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].code) {
            assert_refused(kv_prepare_put, cases[i].body, cases[i].status, cases[i].code);
            continue;
        }
        /* 31 bytes and one of encoding are what the limit of 32 allows */
        assert_int_equal(fake_prepare(kv_prepare_put, cases[i].body), ST_OK);
        call.procedure->release(&call);
    }
    assert_refused(kv_prepare_put, "[]", 400, "empty_request");
    assert_string_equal(refusal.text, "empty request");
}

static void put_finds_a_key_twice_among_many(void **state) {
    (void)state;
    struct buf body;
    buf_init(&body, SIZE_MAX);
    buf_append_byte(&body, '[');
    for (int i = 0; i < 5000; i++)
        buf_printf(&body, "%s{\"key\":\"k%d\",\"value\":1}", i ? "," : "", i);
    size_t distinct = body.len;
    buf_append_text(&body, "]");
    buf_append_byte(&body, 0);
    assert_int_equal(fake_prepare(kv_prepare_put, body.data), ST_OK);
    call.procedure->release(&call);
    body.len = distinct;
    buf_append_text(&body, ",{\"key\":\"k2500\",\"value\":1}]");
    buf_append_byte(&body, 0);
    assert_refused(kv_prepare_put, body.data, 400, "duplicate_key");
    buf_free(&body);
}

static void put_does_not_commit_without_room_for_its_reply(void **state) {
    (void)state;
    assert_no_commit_without_room(kv_prepare_put, "[{\"key\":\"a\",\"value\":1}]", 100, '}');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(get_answers_value_version_and_etag),
        TEST(get_of_an_absent_key_is_404),
        TEST(get_refuses_a_bad_key),
        TEST(get_says_304_if_the_client_has_the_version),
        TEST(get_waits_for_its_read_and_unwinds_when_doomed),
        TEST(put_writes_all_keys_at_one_new_version),
        TEST(put_names_the_key_and_version_that_do_not_match),
        TEST(put_goes_on_where_it_waited),
        TEST(put_starts_over_from_the_same_input),
        TEST(put_passes_on_why_a_write_was_refused),
        TEST(put_refuses_a_bad_body),
        TEST(put_finds_a_key_twice_among_many),
        TEST(put_does_not_commit_without_room_for_its_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
