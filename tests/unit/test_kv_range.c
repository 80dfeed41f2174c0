/* GET /v1/range over a stand-in for transactions. */
#include "kv_fake.h"

static void have_letters(const char *letters) {
    for (; *letters; letters++) {
        const char key[2] = {*letters, 0};
        fake_have(key, "1", 5);
    }
}

/* The keys of the page in the reply, "abc|d" with "next" behind the bar, "abc|" if it is null. */
static const char *page(void) {
    static char keys[64];
    size_t len = 0;
    buf_append_byte(&call.reply.body, 0);
    for (const char *at = call.reply.body.data; (at = strstr(at, "{\"key\":\"")); at++) {
        assert_true(len < sizeof keys - 4);
        keys[len++] = at[8];
    }
    keys[len++] = '|';
    const char *next = strstr(call.reply.body.data, "],\"next\":");
    assert_non_null(next);
    if (next[9] == '"')
        keys[len++] = next[10];
    else
        assert_string_equal(next + 9, "null}");
    keys[len] = 0;
    return keys;
}

static void assert_page(const char *query, const char *keys) {
    assert_int_equal(fake_call(kv_prepare_range, query), PROC_COMMIT);
    assert_int_equal(call.reply.status, 200);
    assert_string_equal(page(), keys);
}

static void items_come_whole(void **state) {
    (void)state;
    fake_have("a", "\"x\"", 5);
    fake_have("b", "null", 6);
    assert_int_equal(fake_call(kv_prepare_range, ""), PROC_COMMIT);
    assert_reply(200, "{\"items\":[{\"key\":\"a\",\"value\":\"x\",\"version\":5},"
                      "{\"key\":\"b\",\"value\":null,\"version\":6}],\"next\":null}");
}

static void no_keys_are_an_empty_page(void **state) {
    (void)state;
    assert_int_equal(fake_call(kv_prepare_range, ""), PROC_COMMIT);
    assert_reply(200, "{\"items\":[],\"next\":null}");
}

static void bounds_intersect(void **state) {
    (void)state;
    have_letters("abcdefg");
    assert_page("from=c", "cdefg|");
    assert_page("to=c", "ab|");
    assert_page("from=b&to=d", "bc|");
    assert_page("prefix=d", "d|");
    assert_page("prefix=d&from=a&to=z", "d|");
    assert_page("prefix=d&to=d", "|");
    assert_page("prefix=d&from=e", "|");
    assert_page("prefix=&from=f", "fg|");
    assert_page("from=d&to=d", "|");
    assert_page("from=e&to=b", "|");
    assert_page("to=", "|");
    assert_page("from=", "abcdefg|");
    assert_page("prefix=%F4%8F%BF%BF", "|");
}

static void following_next_forwards_gives_every_key_once(void **state) {
    (void)state;
    have_letters("abcdefg");
    assert_page("limit=3", "abc|d");
    assert_page("limit=3&from=d", "def|g");
    assert_page("limit=3&from=g", "g|");
    assert_page("limit=7", "abcdefg|");
}

static void following_next_backwards_gives_every_key_once(void **state) {
    (void)state;
    have_letters("abcdefg");
    assert_page("limit=3&reverse=1", "gfe|e");
    assert_page("limit=3&reverse=true&to=e", "dcb|b");
    assert_page("limit=3&reverse=1&to=b", "a|");
    assert_page("limit=7&reverse=1", "gfedcba|");
    assert_page("limit=3&reverse=1&from=e", "gfe|");
    assert_page("reverse=0&limit=2", "ab|c");
    assert_page("reverse=false&limit=1", "a|b");
}

static void waiting_changes_nothing(void **state) {
    (void)state;
    have_letters("abcdefg");
    fake.waits = true;
    assert_page("limit=3", "abc|d");
    assert_page("limit=3&reverse=1", "gfe|e");
    assert_page("from=f", "fg|");
}

static void doom_at_any_call_unwinds(void **state) {
    (void)state;
    have_letters("abc");
    for (long at = 1; at <= 4; at++) {
        fake.calls = 0;
        fake.doomed_at = at;
        assert_int_equal(fake_call(kv_prepare_range, "limit=2"), PROC_UNWOUND);
    }
    fake.calls = 0;
    fake.doomed_at = 5;
    assert_page("limit=2", "ab|c");
}

static void bad_parameters_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *query, *code;
    } cases[] = {
        {"limit=0", "bad_limit"},
        {"limit=10001", "bad_limit"},
        {"limit=99999999999999999999999", "bad_limit"},
        {"limit=-1", "bad_limit"},
        {"limit=", "bad_limit"},
        {"limit=1x", "bad_limit"},
        {"limit=+1", "bad_limit"},
        {"limit=1.0", "bad_limit"},
        {"limit=1&limit=1", "bad_limit"},
        {"reverse=2", "bad_reverse"},
        {"reverse=", "bad_reverse"},
        {"reverse=TRUE", "bad_reverse"},
        {"reverse=1&reverse=1", "bad_reverse"},
        {"from=%FF", "bad_key"},
        {"to=%", "bad_key"},
        {"prefix=a&prefix=b", "bad_key"},
        {"from=123456789012345678", "bad_key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(kv_prepare_range, cases[i].query, 400, cases[i].code);
}

static void a_bound_may_be_the_longest_key_and_a_zero_byte(void **state) {
    (void)state;
    fake_have("1234567890123456", "1", 5);
    fake_have("2", "1", 5);
    assert_page("from=1234567890123456%00", "2|");
    assert_page("limit=10000&from=1234567890123456", "12|");
}

static void the_default_limit_is_1000(void **state) {
    (void)state;
    for (int i = 0; i < 1001; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%04d", i);
        fake_have(key, "1", 5);
    }
    assert_int_equal(fake_call(kv_prepare_range, ""), PROC_COMMIT);
    buf_append_byte(&call.reply.body, 0);
    assert_null(strstr(call.reply.body.data, "\"key\":\"k1000\""));
    assert_non_null(strstr(call.reply.body.data, "\"key\":\"k0999\""));
    assert_non_null(strstr(call.reply.body.data, "\"next\":\"k1000\""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(items_come_whole),
        TEST(no_keys_are_an_empty_page),
        TEST(bounds_intersect),
        TEST(following_next_forwards_gives_every_key_once),
        TEST(following_next_backwards_gives_every_key_once),
        TEST(waiting_changes_nothing),
        TEST(doom_at_any_call_unwinds),
        TEST(bad_parameters_are_refused),
        TEST(a_bound_may_be_the_longest_key_and_a_zero_byte),
        TEST(the_default_limit_is_1000),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
