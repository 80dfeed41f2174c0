/* Dates, entity tags, and which of several conditions of a request counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http_condition.h"
#include "net/reply.h"

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct http_validators strong = {
    .etag = SLICE("\"a\""), .modified_s = 784111777, .now_s = 784200000};
static const struct http_validators weak = {
    .etag = SLICE("\"a\""), .weak = true, .modified_s = 784111777, .now_s = 784111777};

static bool reads(const char *text, int64_t *seconds) {
    size_t len = strlen(text);
    char *exact = malloc(len + 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    bool ok = http_date_read(slice_of(exact, len), seconds);
    free(exact);
    return ok;
}

static void the_three_forms_of_a_date_are_read(void **state) {
    (void)state;
    static const char *const same[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 06 08:49:37 1994"};
    int64_t seconds;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_true(reads(same[i], &seconds));
        assert_int_equal(seconds, 784111777);
    }
    assert_true(reads("Thu, 01-Jan-70 00:00:00 GMT", &seconds) ||
                reads("Thursday, 01-Jan-70 00:00:00 GMT", &seconds));
    assert_int_equal(seconds, 0);
    assert_true(reads("Friday, 01-Jan-69 00:00:00 GMT", &seconds));
    assert_true(seconds > INT64_C(3000000000));
}

static void what_is_no_date_is_not_read(void **state) {
    (void)state;
    static const char *const bad[] = {"", "Sun", "Sun,", "Sun, 06 Nov 1994 08:49:37", "0",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
        "sun, 06 nov 1994 08:49:37 gmt", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 94",
        "Sun Nov   6 08:49:37 1994", "1994-11-06T08:49:37Z"};
    int64_t seconds;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (reads(bad[i], &seconds))
            fail_msg("%s", bad[i]);
}

static void what_is_written_is_read_again(void **state) {
    (void)state;
    for (int64_t at = 0; at < INT64_C(4102444800); at += 86400 * 17 + 3661) {
        char text[REPLY_DATE_BYTES + 1];
        int64_t seconds;
        reply_date((uint64_t)at * UINT64_C(1000000000), text);
        assert_true(reads(text, &seconds));
        assert_int_equal(seconds, at);
    }
}

static void lists_of_tags_name_what_is_in_them(void **state) {
    (void)state;
    struct slice a = SLICE("\"a\"");
    assert_true(http_etags_name(SLICE("\"a\""), a, false, true));
    assert_true(http_etags_name(SLICE("*"), a, false, true));
    assert_true(http_etags_name(SLICE("\"b\", \"a\""), a, false, true));
    assert_true(http_etags_name(SLICE(" ,\"b\",,W/\"a\","), a, false, false));
    assert_true(http_etags_name(SLICE("\"b,\",\"a\""), a, false, false));
    assert_true(http_etags_name(SLICE("\"a\""), a, true, false));
    assert_false(http_etags_name(SLICE("\"a\""), a, true, true));
    assert_false(http_etags_name(SLICE("W/\"a\""), a, false, true));
    assert_false(http_etags_name(SLICE(""), a, false, false));
    assert_false(http_etags_name(SLICE("a"), a, false, false));
    assert_false(http_etags_name(SLICE("\"a"), a, false, false));
    assert_false(http_etags_name(SLICE("\"A\""), a, false, false));
    assert_false(http_etags_name(SLICE("w/\"a\""), a, false, false));
    assert_false(http_etags_name(SLICE("\"b\" \"a\""), a, false, false));
    assert_false(http_etags_name(SLICE("b, \"a\""), a, false, false));
    assert_false(http_etags_name(SLICE("**"), a, false, false));
}

struct condition {
    struct request_header fields[3];
    const struct http_validators *validators;
    enum http_verdict verdict;
};

#define FIELD(n, v)                                                                                \
    { .name = SLICE(n), .value = SLICE(v) }

static const struct condition conditions[] = {
    {{{{0}, {0}}}, &strong, HTTP_PROCEED},
    {{FIELD("if-none-match", "\"a\"")}, &strong, HTTP_NOT_MODIFIED},
    {{FIELD("if-none-match", "W/\"a\"")}, &strong, HTTP_NOT_MODIFIED},
    {{FIELD("if-none-match", "*")}, &strong, HTTP_NOT_MODIFIED},
    {{FIELD("if-none-match", "\"b\"")}, &strong, HTTP_PROCEED},
    {{FIELD("if-none-match", "\"b\""), FIELD("if-none-match", "\"a\"")}, &strong,
        HTTP_NOT_MODIFIED},
    {{FIELD("if-modified-since", MODIFIED)}, &strong, HTTP_NOT_MODIFIED},
    {{FIELD("if-modified-since", LATER)}, &strong, HTTP_NOT_MODIFIED},
    {{FIELD("if-modified-since", EARLIER)}, &strong, HTTP_PROCEED},
    {{FIELD("if-modified-since", "yesterday")}, &strong, HTTP_PROCEED},
    {{FIELD("if-modified-since", MODIFIED), FIELD("if-modified-since", MODIFIED)}, &strong,
        HTTP_PROCEED},
    /* the tag decides, whatever the date says */
    {{FIELD("if-none-match", "\"b\""), FIELD("if-modified-since", LATER)}, &strong, HTTP_PROCEED},
    {{FIELD("if-none-match", "\"a\""), FIELD("if-modified-since", EARLIER)}, &strong,
        HTTP_NOT_MODIFIED},
    {{FIELD("if-match", "\"a\"")}, &strong, HTTP_PROCEED},
    {{FIELD("if-match", "*")}, &strong, HTTP_PROCEED},
    {{FIELD("if-match", "\"b\"")}, &strong, HTTP_PRECONDITION_FAILED},
    {{FIELD("if-match", "W/\"a\"")}, &strong, HTTP_PRECONDITION_FAILED},
    {{FIELD("if-match", "\"a\"")}, &weak, HTTP_PRECONDITION_FAILED},
    {{FIELD("if-unmodified-since", MODIFIED)}, &strong, HTTP_PROCEED},
    {{FIELD("if-unmodified-since", EARLIER)}, &strong, HTTP_PRECONDITION_FAILED},
    {{FIELD("if-match", "\"a\""), FIELD("if-unmodified-since", EARLIER)}, &strong, HTTP_PROCEED},
    /* the 412 comes before the 304 */
    {{FIELD("if-none-match", "\"a\""), FIELD("if-match", "\"b\"")}, &strong,
        HTTP_PRECONDITION_FAILED},
    {{FIELD("if-none-match", "\"a\""), FIELD("if-match", "\"a\"")}, &strong, HTTP_NOT_MODIFIED},
};

static struct request request_of(const struct request_header *fields) {
    unsigned count = 0;
    while (count < 3 && fields[count].name.len > 0)
        count++;
    return (struct request){.headers = fields, .header_count = count};
}

static void conditions_count_in_their_order(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
        struct request request = request_of(conditions[i].fields);
        enum http_verdict verdict = http_condition_of(&request, conditions[i].validators);
        if (verdict != conditions[i].verdict)
            fail_msg("case %zu: %d", i, (int)verdict);
    }
}

static bool counts(const char *value, const struct http_validators *validators) {
    struct request_header field = {SLICE("if-range"), slice_of(value, strlen(value))};
    struct request request = {.headers = &field, .header_count = 1};
    return http_range_counts(&request, validators);
}

static void a_range_counts_only_of_the_very_same_bytes(void **state) {
    (void)state;
    struct request none = {0};
    assert_true(http_range_counts(&none, &strong));
    assert_true(counts("\"a\"", &strong));
    assert_true(counts(MODIFIED, &strong));
    assert_false(counts("\"a\"", &weak));
    assert_false(counts("W/\"a\"", &strong));
    assert_false(counts("\"b\"", &strong));
    assert_false(counts("\"a\", \"b\"", &strong));
    assert_false(counts("*", &strong));
    assert_false(counts("", &strong));
    assert_false(counts(LATER, &strong));
    assert_false(counts(EARLIER, &strong));
    assert_false(counts(MODIFIED, &weak)); /* it may still change in this second */
    struct request_header fields[] = {FIELD("if-range", "\"a\""), FIELD("if-range", "\"a\"")};
    struct request twice = {.headers = fields, .header_count = 2};
    assert_false(http_range_counts(&twice, &strong));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_forms_of_a_date_are_read),
        cmocka_unit_test(what_is_no_date_is_not_read),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(lists_of_tags_name_what_is_in_them),
        cmocka_unit_test(conditions_count_in_their_order),
        cmocka_unit_test(a_range_counts_only_of_the_very_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
