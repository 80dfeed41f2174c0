/* POST /v1/execute over a stand-in for transactions. */
#include "kv_fake.h"

#define BATCH(commands) "{\"commands\":[" commands "]}"
#define CMD(type, key) "{\"cmd_type\":\"" type "\",\"key\":\"" key "\"}"

static void every_command_has_its_result_in_order(void **state) {
    (void)state;
    fake_have("a", "\"old\"", 5);
    fake_have("n", "40", 6);
    fake_have("z", "[1]", 7);
    const char *batch = BATCH(CMD("get", "a") "," CMD("get",
        "none") ","
                "{\"value\":{\"x\":1.0},\"cmd_type\":\"SET\",\"key\":\"b\"},"
                "{\"cmd_type\":\"Incr\",\"key\":\"n\",\"by\":2}," CMD("incr", "m") "," CMD(
                    "delete", "z") "," CMD("delete",
                    "none") ","
                            "{\"cmd_type\":\"cas\",\"key\":\"a\",\"version\":5,\"value\":\"new\"},"
                            "{\"cmd_type\":\"incr\",\"key\":\"m\",\"by\":0.5}");
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_COMMIT);
    assert_reply(200, "{\"results\":[\"old\",null,{\"x\":1.0},42,1,true,false,\"new\",1.5],"
                      "\"version\":101}");
    assert_int_equal(fake.declared[DECLARE_READ], 2);
    assert_int_equal(fake.declared[DECLARE_WRITE], 2);
    assert_int_equal(fake.declared[DECLARE_VERSION], 1);
    assert_int_equal(fake.declared[DECLARE_VERSION_WRITE], 2);
    assert_int_equal(fake.declared[DECLARE_READ_WRITE], 3);
    assert_int_equal(fake.declared_count, 7);
}

static void a_command_sees_those_before_it(void **state) {
    (void)state;
    fake_have("a", "1", 5);
    const char *batch = BATCH("{\"cmd_type\":\"set\",\"key\":\"b\",\"value\":2}," CMD(
        "get", "b") "," CMD("incr", "b") "," CMD("delete", "a") "," CMD("get",
        "a") "," CMD("delete", "a") "," CMD("incr", "a"));
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_COMMIT);
    assert_reply(200, "{\"results\":[2,2,3,true,null,false,1],\"version\":101}");
}

static void a_range_shows_own_writes_at_the_version_of_the_commit(void **state) {
    (void)state;
    fake_have("p1", "1", 5);
    fake_have("p2", "2", 6);
    fake_have("q", "0", 7);
    fake.lsn = 99999;
    const char *batch = BATCH("{\"cmd_type\":\"set\",\"key\":\"p0\",\"value\":0}," CMD(
        "delete", "p1") ",{\"cmd_type\":\"set\",\"key\":\"p3\",\"value\":3},"
                        "{\"cmd_type\":\"range\",\"prefix\":\"p\"},"
                        "{\"cmd_type\":\"range\",\"from\":\"p2\",\"limit\":2,\"reverse\":true}");
    const char *reply = "{\"results\":[0,true,3,"
                        "[{\"key\":\"p0\",\"value\":0,\"version\":100000},{\"key\":\"p2\","
                        "\"value\":2,\"version\":6},"
                        "{\"key\":\"p3\",\"value\":3,\"version\":100000}],"
                        "[{\"key\":\"q\",\"value\":0,\"version\":7},{\"key\":\"p3\",\"value\":3,"
                        "\"version\":100000}]],"
                        "\"version\":100000}";
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_COMMIT);
    assert_reply(200, reply);
    assert_int_equal(fake.declared_ranges, 2);
    assert_int_equal(fake.ranges_open, 0);
}

static void waiting_changes_nothing(void **state) {
    (void)state;
    fake_have("a", "1", 5);
    fake.waits = true;
    const char *batch = BATCH(CMD("get", "a") "," CMD("incr", "a") ",{\"cmd_type\":\"range\"}," CMD(
        "delete", "a") ",{\"cmd_type\":\"cas\",\"key\":\"c\",\"value\":[]}");
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_COMMIT);
    assert_reply(200, "{\"results\":[1,2,[{\"key\":\"a\",\"value\":2,\"version\":101}],true,[]],"
                      "\"version\":101}");
}

static void doom_at_any_call_unwinds(void **state) {
    (void)state;
    fake_have("a", "1", 5);
    const char *batch = BATCH(CMD("get", "a") "," CMD("incr", "a") ",{\"cmd_type\":\"range\"}," CMD(
        "delete", "a") ",{\"cmd_type\":\"cas\",\"key\":\"c\",\"value\":[]}");
    for (long at = 1; at <= 7; at++) {
        fake.calls = 0;
        fake.doomed_at = at;
        assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_UNWOUND);
        assert_int_equal(fake.lsn, 100);
    }
    fake.calls = 0;
    fake.doomed_at = 8;
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_COMMIT);
}

static void a_read_only_batch_has_the_version_it_depends_on(void **state) {
    (void)state;
    fake_have("a", "1", 5);
    assert_int_equal(
        fake_call(kv_prepare_execute, BATCH(CMD("get", "a") "," CMD("delete", "b"))), PROC_COMMIT);
    assert_reply(200, "{\"results\":[1,false],\"version\":100}");
}

static void a_cas_that_does_not_match_fails_the_batch(void **state) {
    (void)state;
    fake_have("a", "1", 5);
    const char *set = "{\"cmd_type\":\"set\",\"key\":\"b\",\"value\":2},";
    char batch[256];
    (void)snprintf(batch, sizeof batch,
        "{\"commands\":[%s{\"cmd_type\":\"cas\",\"key\":\"a\",\"version\":4,\"value\":1}]}", set);
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_ROLLBACK);
    assert_reply(409,
        "{\"result\":\"Failure\",\"error\":\"outdated version\",\"code\":\"conflict\","
        "\"key\":\"a\",\"version\":5}");
    (void)snprintf(batch, sizeof batch,
        "{\"commands\":[%s{\"cmd_type\":\"cas\",\"key\":\"c\",\"version\":4,\"value\":1}]}", set);
    assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_ROLLBACK);
    assert_reply(409, "{\"result\":\"Failure\",\"error\":\"version incorrect for new key\","
                      "\"code\":\"conflict\",\"key\":\"c\",\"version\":0}");
    assert_int_equal(fake.committed_count, 1);
}

static void incr_of_what_is_no_number_or_overflows_fails_the_batch(void **state) {
    (void)state;
    fake_have("s", "\"1\"", 5);
    fake_have("max", "9223372036854775807", 5);
    fake_have("big", "1e308", 5);
    const char *set = "{\"cmd_type\":\"set\",\"key\":\"b\",\"value\":2},";
    static const struct {
        const char *command, *code;
    } cases[] = {
        {CMD("incr", "s"), "not_a_number"},
        {CMD("incr", "max"), "overflow"},
        {"{\"cmd_type\":\"incr\",\"key\":\"big\",\"by\":1e308}", "overflow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char batch[256], code[64];
        (void)snprintf(batch, sizeof batch, "{\"commands\":[%s%s]}", set, cases[i].command);
        assert_int_equal(fake_call(kv_prepare_execute, batch), PROC_ROLLBACK);
        assert_int_equal(call.reply.status, 400);
        (void)snprintf(code, sizeof code, "\"code\":\"%s\"}", cases[i].code);
        buf_append_byte(&call.reply.body, 0);
        assert_non_null(strstr(call.reply.body.data, code));
        assert_non_null(strstr(call.reply.body.data, "commands[1]"));
    }
    assert_int_equal(fake.committed_count, 3);
}

static void bad_batches_are_refused_before_anything_runs(void **state) {
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *code;
    } cases[] = {
        {"", 400, "bad_json"},
        {"{\"commands\":[}", 400, "bad_json"},
        {"{\"commands\":[],\"commands\":[]}", 400, "bad_json"},
        {BATCH(CMD("get", "a")) "]", 400, "bad_json"},
        {"[]", 400, "bad_request"},
        {"{\"commands\":1}", 400, "bad_request"},
        {BATCH("1"), 400, "bad_request"},
        {"{}", 400, "empty_request"},
        {BATCH(""), 400, "empty_request"},
        {BATCH("{}"), 400, "unknown_command"},
        {BATCH(CMD("get", "a") "," CMD("gets", "a")), 400, "unknown_command"},
        {BATCH("{\"cmd_type\":1,\"key\":\"a\"}"), 400, "unknown_command"},
        {BATCH(CMD("get", "")), 400, "bad_key"},
        {BATCH(CMD("get", "12345678901234567")), 400, "bad_key"},
        {BATCH("{\"cmd_type\":\"get\"}"), 400, "bad_key"},
        {BATCH("{\"cmd_type\":\"delete\",\"key\":[1]}"), 400, "bad_key"},
        {BATCH(CMD("set", "a")), 400, "bad_value"},
        {BATCH("{\"cmd_type\":\"set\",\"key\":\"a\",\"value\":null}"), 400, "bad_value"},
        {BATCH("{\"cmd_type\":\"cas\",\"key\":\"a\",\"value\":null}"), 400, "bad_value"},
        {BATCH("{\"cmd_type\":\"set\",\"key\":\"a\","
               "\"value\":\"01234567890123456789012345678901\"}"),
            413, "value_too_large"},
        {BATCH("{\"cmd_type\":\"cas\",\"key\":\"a\",\"value\":1,\"version\":-1}"), 400,
            "bad_version"},
        {BATCH("{\"cmd_type\":\"incr\",\"key\":\"a\",\"by\":\"1\"}"), 400, "not_a_number"},
        {BATCH("{\"cmd_type\":\"incr\",\"key\":\"a\",\"by\":null}"), 400, "not_a_number"},
        {BATCH("{\"cmd_type\":\"range\",\"limit\":0}"), 400, "bad_limit"},
        {BATCH("{\"cmd_type\":\"range\",\"limit\":10001}"), 400, "bad_limit"},
        {BATCH("{\"cmd_type\":\"range\",\"limit\":1.0}"), 400, "bad_limit"},
        {BATCH("{\"cmd_type\":\"range\",\"reverse\":\"1\"}"), 400, "bad_reverse"},
        {BATCH("{\"cmd_type\":\"range\",\"from\":1}"), 400, "bad_key"},
        {BATCH("{\"cmd_type\":\"set\",\"key\":\"a\",\"value\":1},"
               "{\"cmd_type\":\"cas\",\"key\":\"a\",\"value\":1}"),
            400, "cas_after_write"},
        {BATCH(CMD("delete", "a") ",{\"cmd_type\":\"cas\",\"key\":\"a\",\"value\":1}"), 400,
            "cas_after_write"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(kv_prepare_execute, cases[i].body, cases[i].status, cases[i].code);
    assert_refused(kv_prepare_execute, BATCH(CMD("bogus", "a")), 400, "unknown_command");
    assert_string_equal(refusal.text, "unknown command");
    assert_refused(kv_prepare_execute, BATCH(""), 400, "empty_request");
    assert_string_equal(refusal.text, "empty request");
}

static void members_that_a_command_has_no_use_for_are_ignored(void **state) {
    (void)state;
    assert_int_equal(
        fake_call(kv_prepare_execute,
            "{\"x\":[{}],\"commands\":[{\"cmd_type\":\"get\",\"key\":\"a\",\"limit\":\"no\","
            "\"by\":{},\"value\":null,\"other\":[[1]]}],\"y\":1}"),
        PROC_COMMIT);
    assert_reply(200, "{\"results\":[null],\"version\":100}");
}

static void a_cas_may_follow_reads_and_be_followed_by_writes(void **state) {
    (void)state;
    fake_have("a", "1", 5);
    assert_int_equal(fake_call(kv_prepare_execute,
                         BATCH(CMD("get", "a") ",{\"cmd_type\":\"cas\",\"key\":\"a\",\"version\":5,"
                                               "\"value\":7}," CMD("incr", "a"))),
        PROC_COMMIT);
    assert_reply(200, "{\"results\":[1,7,8],\"version\":101}");
}

/* Batch of count commands; the caller frees it. */
static char *many(int count, const char *last) {
    struct buf body;
    buf_init(&body, SIZE_MAX);
    buf_append_text(&body, "{\"commands\":[");
    for (int i = 0; i < count; i++)
        buf_printf(&body, "%s{\"cmd_type\":\"set\",\"key\":\"k%d\",\"value\":1}", i ? "," : "", i);
    buf_append_text(&body, last);
    buf_append_text(&body, "]}");
    buf_append_byte(&body, 0);
    assert_true(buf_ok(&body));
    return body.data;
}

static void at_most_10000_commands_are_taken(void **state) {
    (void)state;
    char *batch = many(10000, "");
    assert_int_equal(fake_prepare(kv_prepare_execute, batch), ST_OK);
    call.procedure->release(&call);
    free(batch);
    batch = many(10000, "," CMD("get", "a"));
    assert_refused(kv_prepare_execute, batch, 400, "too_many_commands");
    free(batch);
}

static void a_cas_after_a_write_is_found_among_many(void **state) {
    (void)state;
    char *batch = many(1000, ",{\"cmd_type\":\"cas\",\"key\":\"k500\",\"value\":1}");
    assert_refused(kv_prepare_execute, batch, 400, "cas_after_write");
    free(batch);
    batch =
        many(1000, "," CMD("get", "other") ",{\"cmd_type\":\"cas\",\"key\":\"other\",\"value\":1}");
    assert_int_equal(fake_prepare(kv_prepare_execute, batch), ST_OK);
    call.procedure->release(&call);
    free(batch);
}

static void long_batches_let_the_loop_turn(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%02d", i);
        fake_have(key, "1", 5);
    }
    struct buf body;
    buf_init(&body, SIZE_MAX);
    buf_append_text(&body, "{\"commands\":[");
    for (int i = 0; i < 400; i++)
        buf_printf(&body, "%s{\"cmd_type\":\"range\"}", i ? "," : "");
    buf_append_text(&body, "]}");
    buf_append_byte(&body, 0);
    assert_int_equal(fake_prepare(kv_prepare_execute, body.data), ST_OK);
    unsigned turns = 1;
    enum verdict verdict = call.procedure->start(&call, &fake, NULL);
    for (; verdict == PROC_AGAIN; turns++)
        verdict = call.procedure->resume(&call, &fake);
    assert_int_equal(verdict, PROC_COMMIT);
    assert_true(turns >= 3);
    call.procedure->finish(&call, 5);
    size_t commas = 0;
    for (size_t i = 0; i < call.reply.body.len; i++)
        commas += call.reply.body.data[i] == '{';
    assert_int_equal(commas, 400 * 100 + 1);
    call.procedure->release(&call);
    buf_free(&body);
}

static void nothing_is_committed_without_room_for_the_reply(void **state) {
    (void)state;
    const char *batch =
        BATCH("{\"cmd_type\":\"set\",\"key\":\"b\",\"value\":2},"
              "{\"cmd_type\":\"range\"}," CMD("incr", "c") ",{\"cmd_type\":\"range\"}");
    assert_no_commit_without_room(kv_prepare_execute, batch, 400, '}');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_command_has_its_result_in_order),
        TEST(a_command_sees_those_before_it),
        TEST(a_range_shows_own_writes_at_the_version_of_the_commit),
        TEST(waiting_changes_nothing),
        TEST(doom_at_any_call_unwinds),
        TEST(a_read_only_batch_has_the_version_it_depends_on),
        TEST(a_cas_that_does_not_match_fails_the_batch),
        TEST(incr_of_what_is_no_number_or_overflows_fails_the_batch),
        TEST(bad_batches_are_refused_before_anything_runs),
        TEST(members_that_a_command_has_no_use_for_are_ignored),
        TEST(a_cas_may_follow_reads_and_be_followed_by_writes),
        TEST(at_most_10000_commands_are_taken),
        TEST(a_cas_after_a_write_is_found_among_many),
        TEST(long_batches_let_the_loop_turn),
        TEST(nothing_is_committed_without_room_for_the_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
