/* The JSON reader: what it accepts, what it refuses, and what it says about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/json_read.h"

static struct buf scratch;
static struct json_reader reader;

static int setup(void **state) {
    (void)state;
    buf_init(&scratch, SIZE_MAX);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    buf_free(&scratch);
    return 0;
}

static void start_bytes(const char *text, size_t len) {
    json_reader_init(&reader, slice_of(text, len), &scratch, JSON_READER_DEPTH_MAX);
}

static void start(const char *text) {
    start_bytes(text, strlen(text));
}

/* Reads to the end and gives the last token: JSON_END or JSON_ERROR. */
static enum json_token read_all(void) {
    enum json_token token;
    do
        token = json_next(&reader);
    while (token != JSON_END && token != JSON_ERROR);
    return token;
}

static void assert_accepted(const char *text) {
    start(text);
    if (read_all() == JSON_ERROR)
        fail_msg("%s: refused at %zu: %s", text, reader.error_at, reader.error);
    assert_int_equal(scratch.len, 0);
}

static void assert_refused_bytes(const char *text, size_t len, const char *error, size_t at) {
    start_bytes(text, len);
    if (read_all() != JSON_ERROR)
        fail_msg("%s: accepted", text);
    assert_string_equal(reader.error, error);
    assert_int_equal(reader.error_at, at);
    assert_int_equal(scratch.len, 0);
}

static void assert_refused(const char *text, const char *error, size_t at) {
    assert_refused_bytes(text, strlen(text), error, at);
}

static void assert_string_is(const char *text, const char *expected, size_t len) {
    start(text);
    assert_int_equal(json_next(&reader), JSON_STRING);
    assert_int_equal(reader.string.len, len);
    assert_memory_equal(reader.string.data, expected, len);
    assert_int_equal(json_next(&reader), JSON_END);
}

static void assert_integer_is(const char *text, int64_t expected) {
    start(text);
    assert_int_equal(json_next(&reader), JSON_INTEGER);
    assert_true(reader.integer == expected);
    assert_int_equal(json_next(&reader), JSON_END);
}

/* Bit for bit, so that -0.0 is not 0.0. */
static void assert_real_is(const char *text, double expected) {
    start(text);
    assert_int_equal(json_next(&reader), JSON_REAL);
    if (memcmp(&reader.real, &expected, sizeof expected) != 0)
        fail_msg("%.60s: %a, expected %a", text, reader.real, expected);
    assert_int_equal(json_next(&reader), JSON_END);
}

static void tokens_come_in_the_order_of_the_text(void **state) {
    (void)state;
    static const enum json_token expected[] = {JSON_OBJECT, JSON_NAME, JSON_ARRAY, JSON_INTEGER,
        JSON_REAL, JSON_NULL, JSON_ARRAY, JSON_ARRAY_END, JSON_ARRAY_END, JSON_NAME, JSON_OBJECT,
        JSON_NAME, JSON_TRUE, JSON_OBJECT_END, JSON_NAME, JSON_STRING, JSON_NAME, JSON_FALSE,
        JSON_OBJECT_END, JSON_END, JSON_END};
    start("\t{ \"a\" : [1, 2.5 ,null,[ ]] ,\r\n\"b\":{\"a\":true},\"c\":\"x\",\"d\":false } ");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(json_next(&reader), expected[i]);
}

static void plain_strings_point_into_the_text(void **state) {
    (void)state;
    const char *text = "[\"no escapes here\"]";
    start(text);
    (void)json_next(&reader);
    assert_int_equal(json_next(&reader), JSON_STRING);
    assert_ptr_equal(reader.string.data, text + 2);
}

static void escapes_are_decoded(void **state) {
    (void)state;
    assert_string_is("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
    assert_string_is("\"a\\u0000b\"", "a\0b", 3);
    assert_string_is("\"\\u001f\\u007F\"", "\x1f\x7f", 2);
    assert_string_is("\"\\u00e9\\u20AC\\ud83d\\uDE00\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9);
    assert_string_is("\"\\uFFFF\\udbff\\udfff\"", "\xEF\xBF\xBF\xF4\x8F\xBF\xBF", 7);
    assert_string_is(
        "\"before \\n after, and quite a bit more\"", "before \n after, and quite a bit more", 36);
}

static void bad_escapes_are_refused(void **state) {
    (void)state;
    assert_refused("\"\\x\"", "bad escape in a string", 1);
    assert_refused("\"ab\\u12g4\"", "bad escape in a string", 3);
    assert_refused("\"\\", "bad escape in a string", 1);
    assert_refused("\"\\U0041\"", "bad escape in a string", 1);
    assert_refused("\"\\ud800\"", "lone surrogate in a string", 1);
    assert_refused("\"\\ud800\\u0041\"", "lone surrogate in a string", 1);
    assert_refused("\"\\ud800\\ud800\"", "lone surrogate in a string", 1);
    assert_refused("\"x\\udc00\"", "lone surrogate in a string", 2);
    const char zero_escape[] = "\"\\\0\"";
    assert_refused_bytes(zero_escape, 4, "bad escape in a string", 1);
}

/* At every distance from the start, so that all paths of the scan by words are taken. */
static void bytes_that_may_not_stand_in_a_string_are_found_anywhere(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *error;
    } cases[] = {
        {"\x01", "raw control character in a string"},
        {"\n", "raw control character in a string"},
        {"\x1f", "raw control character in a string"},
        {"\x80", "invalid UTF-8 in a string"},
        {"\xC0\xAF", "invalid UTF-8 in a string"},
        {"\xC1\xBF", "invalid UTF-8 in a string"},
        {"\xE0\x9F\xBF", "invalid UTF-8 in a string"},
        {"\xED\xA0\x80", "invalid UTF-8 in a string"},
        {"\xF0\x8F\xBF\xBF", "invalid UTF-8 in a string"},
        {"\xF4\x90\x80\x80", "invalid UTF-8 in a string"},
        {"\xF5\x80\x80\x80", "invalid UTF-8 in a string"},
        {"\xE2\x82", "invalid UTF-8 in a string"},
        {"\xFF", "invalid UTF-8 in a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t before = 0; before < 20; before++) {
            char text[64];
            int len = snprintf(text, sizeof text, "\"%.*s%s%s\"", (int)before,
                "aaaaaaaaaaaaaaaaaaaaaaaa", cases[i].bytes, "bbbbbbbbb");
            assert_refused_bytes(text, (size_t)len, cases[i].error, before + 1);
        }
}

static void well_formed_utf8_and_delete_are_accepted(void **state) {
    (void)state;
    assert_accepted("[\"\x7F\",\"\xC2\x80\",\"\xDF\xBF\",\"\xE0\xA0\x80\",\"\xED\x9F\xBF\"]");
    assert_accepted(
        "[\"\xEE\x80\x80\",\"\xEF\xBF\xBF\",\"\xF0\x90\x80\x80\",\"\xF4\x8F\xBF\xBF\"]");
}

static void integers_keep_all_64_bits(void **state) {
    (void)state;
    assert_integer_is("0", 0);
    assert_integer_is("-0", 0);
    assert_integer_is("-7", -7);
    assert_integer_is("9223372036854775807", INT64_MAX);
    assert_integer_is("-9223372036854775808", INT64_MIN);
    assert_refused("9223372036854775808", "integer outside 64 bits", 0);
    assert_refused("[ -9223372036854775809]", "integer outside 64 bits", 2);
    assert_refused("18446744073709551616", "integer outside 64 bits", 0);
    assert_refused("100000000000000000000000", "integer outside 64 bits", 0);
}

static void a_point_or_an_exponent_makes_a_float(void **state) {
    (void)state;
    assert_real_is("1.0", 1.0);
    assert_real_is("1e2", 100.0);
    assert_real_is("1E+2", 100.0);
    assert_real_is("25e-2", 0.25);
    assert_real_is("0.0", 0.0);
    assert_real_is("-0.0", -0.0);
    assert_real_is("-0e5", -0.0);
}

static void reals_are_rounded_correctly(void **state) {
    (void)state;
    assert_real_is("0.1", 0x1.999999999999ap-4);
    assert_real_is("0.30000000000000004", 0x1.3333333333334p-2);
    assert_real_is("9007199254740993.0", 0x1p53); /* halfway: to even */
    assert_real_is("9007199254740993.00000000000000000000000000001", 0x1.0000000000001p53);
    assert_real_is("1.7976931348623157e308", 0x1.fffffffffffffp1023);
    assert_real_is("1.7976931348623158079e308", 0x1.fffffffffffffp1023); /* just below the edge */
    assert_real_is("2.2250738585072011e-308", 0x0.fffffffffffffp-1022);
    assert_real_is("5e-324", 0x1p-1074);
    assert_real_is("2.5e-324", 0x1p-1074);
    assert_real_is("2.4e-324", 0.0);
    assert_real_is("-1e-400", -0.0);
    assert_real_is("123456789012345678901234567890.0", 0x1.8ee90ff6c373ep96);
}

static void reals_past_the_range_are_refused(void **state) {
    (void)state;
    assert_refused("1.7976931348623159e308", "number out of range", 0);
    assert_refused("[-1e309]", "number out of range", 1);
    assert_refused("1e99999999999999999999999999", "number out of range", 0);
    assert_real_is("0e99999999999999999999999999", 0.0);
    assert_real_is("1e-99999999999999999999999999", 0.0);
}

/* 1 followed by a million zeros, or 0. and a million zeros, and an exponent that makes up for them.
 */
static void a_million_digits_are_read_exactly(void **state) {
    (void)state;
    enum { DIGITS = 1000000 };
    char *text = malloc(DIGITS + 64);
    assert_non_null(text);
    memset(text, '0', DIGITS);
    text[0] = '1';
    (void)strcpy(text + DIGITS, "e-999999");
    assert_real_is(text, 1.0);
    (void)strcpy(text + DIGITS, "1.5e-1000000");
    assert_real_is(text, 1.0);
    text[0] = '0';
    text[1] = '.';
    (void)strcpy(text + DIGITS, "25e999999");
    assert_real_is(text, 2.5);
    /* The millionth digit tells the halfway point from what lies above it. */
    (void)memcpy(text, "9007199254740993.", 17);
    (void)strcpy(text + DIGITS, "0");
    assert_real_is(text, 0x1p53);
    (void)strcpy(text + DIGITS, "1");
    assert_real_is(text, 0x1.0000000000001p53);
    memset(text, '7', DIGITS);
    (void)strcpy(text + DIGITS, "");
    assert_refused(text, "integer outside 64 bits", 0);
    (void)strcpy(text + DIGITS, ".0");
    assert_refused(text, "number out of range", 0);
    free(text);
}

static void malformed_numbers_are_refused(void **state) {
    (void)state;
    assert_refused("[01]", "number with a leading zero", 2);
    assert_refused("-01", "number with a leading zero", 2);
    assert_refused("-x", "malformed number", 1);
    assert_refused("1.x", "malformed number", 2);
    assert_refused("1.e5", "malformed number", 2);
    assert_refused("1ex", "malformed number", 2);
    assert_refused("1e+x", "malformed number", 3);
    assert_refused("+1", "expected a value", 0);
    assert_refused(".5", "expected a value", 0);
    assert_refused("0x10", "bytes after the end of the value", 1);
    assert_refused("[1a]", "expected ',' or ']'", 2);
    assert_refused("NaN", "expected a value", 0);
    assert_refused("-Infinity", "malformed number", 1);
}

static void broken_structure_is_refused_where_it_breaks(void **state) {
    (void)state;
    assert_refused("", "the text ends too early", 0);
    assert_refused("  ", "the text ends too early", 2);
    assert_refused("[1", "the text ends too early", 2);
    assert_refused("{\"a\"", "the text ends too early", 4);
    assert_refused("\"abc", "the text ends in a string", 4);
    assert_refused("[1,]", "expected a value", 3);
    assert_refused("[,1]", "expected a value", 1);
    assert_refused("[1 2]", "expected ',' or ']'", 3);
    assert_refused("[1}", "expected ',' or ']'", 2);
    assert_refused("{\"a\":1,}", "expected a name in quotes", 7);
    assert_refused("{,}", "expected a name in quotes", 1);
    assert_refused("{a:1}", "expected a name in quotes", 1);
    assert_refused("{\"a\" 1}", "expected ':'", 5);
    assert_refused("{\"a\":}", "expected a value", 5);
    assert_refused("{\"a\":1 \"b\":2}", "expected ',' or '}'", 7);
    assert_refused("{\"a\":1]", "expected ',' or '}'", 6);
    assert_refused("]", "expected a value", 0);
    assert_refused("[1]]", "bytes after the end of the value", 3);
    assert_refused("1 2", "bytes after the end of the value", 2);
    assert_refused("[tru]", "expected a value", 1);
    assert_refused("tru", "the text ends too early", 3);
    assert_refused("nul", "the text ends too early", 3);
    assert_refused("True", "expected a value", 0);
    assert_refused("'a'", "expected a value", 0);
    assert_refused("[1]//", "bytes after the end of the value", 3);
    assert_refused("\xEF\xBB\xBF[]", "byte order mark", 0);
    assert_refused("[\v1]", "expected a value", 1);
    assert_refused_bytes("[]\0", 3, "bytes after the end of the value", 2);
}

static void an_error_stays(void **state) {
    (void)state;
    start("[1,x,2]");
    assert_int_equal(read_all(), JSON_ERROR);
    assert_int_equal(json_next(&reader), JSON_ERROR);
    assert_string_equal(reader.error, "expected a value");
    assert_int_equal(reader.error_at, 3);
}

static void duplicate_names_are_refused(void **state) {
    (void)state;
    assert_refused("{\"a\":1,\"a\":2}", "duplicate name", 7);
    assert_refused("{\"a\":1,\"b\":2,\"\\u0061\":3}", "duplicate name", 13);
    assert_refused("{\"\\u0061\":1,\"a\":3}", "duplicate name", 12);
    assert_refused("{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":3}", "duplicate name", 18);
    assert_refused("{\"\":1,\"\":2}", "duplicate name", 6);
    assert_refused("{\"a\":{\"b\":[{}],\"c\":{\"d\":0}},\"a\":2}", "duplicate name", 28);
    assert_accepted("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1},\"aa\":[{\"a\":1},{\"a\":1}]}");
    assert_accepted("{\"a\":1,\"a\\u0000\":2,\"\":3,\"A\":4}");
}

/* Inner objects come and go while the outer table stays in place and grows. */
static void names_of_nested_objects_do_not_mix(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    buf_append_text(&text, "{");
    for (int i = 0; i < 200; i++) {
        buf_printf(&text, "\"n%d\":{", i);
        for (int j = 0; j < 20; j++)
            buf_printf(&text, "%s\"n%d\":\"\\n\"", j ? "," : "", j);
        buf_append_text(&text, "},");
    }
    size_t before = text.len;
    buf_append_text(&text, "\"n200\":0}");
    start_bytes(text.data, text.len);
    assert_int_equal(read_all(), JSON_END);
    text.len = before;
    buf_append_text(&text, "\"n\\u0037\":0}");
    assert_refused_bytes(text.data, text.len, "duplicate name", before);
    buf_free(&text);
}

static struct buf many_names(unsigned count, unsigned last) {
    struct buf text;
    buf_init(&text, SIZE_MAX);
    buf_append_text(&text, "{");
    for (unsigned i = 0; i < count; i++)
        buf_printf(&text, "\"%x\":0,", i);
    buf_printf(&text, "\"%x\":0}", last);
    return text;
}

static void a_body_full_of_names_stays_fast_and_bounded(void **state) {
    (void)state;
    enum { NAMES = 800000 }; /* 8 MiB */
    struct buf text = many_names(NAMES, NAMES);
    uint64_t began = clock_monotonic_ns();
    start_bytes(text.data, text.len);
    assert_int_equal(read_all(), JSON_END);
    assert_true(clock_monotonic_ns() - began < 4 * NS_PER_S); /* quadratic would be minutes */
    assert_true(scratch.cap <= 24u * NAMES * 2);
    buf_free(&text);
    text = many_names(NAMES, 12345);
    start_bytes(text.data, text.len);
    assert_int_equal(read_all(), JSON_ERROR);
    assert_string_equal(reader.error, "duplicate name");
    buf_free(&text);
}

static void scratch_that_is_too_small_is_told_apart_from_bad_text(void **state) {
    (void)state;
    struct buf text = many_names(1000, 1000);
    buf_init(&scratch, 4096);
    start_bytes(text.data, text.len);
    assert_int_equal(read_all(), JSON_ERROR);
    assert_string_equal(reader.error, "out of memory");
    assert_false(buf_ok(&scratch));
    buf_free(&text);
}

static void what_scratch_held_before_stays(void **state) {
    (void)state;
    buf_append_text(&scratch, "mine!");
    start("{\"a\\n\":{\"b\":\"\\t\"}}");
    assert_int_equal(read_all(), JSON_END);
    assert_true(slice_equal(buf_slice(&scratch), SLICE("mine!")));
}

static void depth_is_bounded(void **state) {
    (void)state;
    for (unsigned limit = 1; limit <= JSON_READER_DEPTH_MAX; limit += 71) {
        char text[2 * (JSON_READER_DEPTH_MAX + 1)];
        memset(text, '[', limit);
        memset(text + limit, ']', limit);
        json_reader_init(&reader, slice_of(text, 2u * limit), &scratch, limit);
        assert_int_equal(read_all(), JSON_END);
        text[limit] = '{';
        json_reader_init(&reader, slice_of(text, 2u * limit), &scratch, limit);
        assert_int_equal(read_all(), JSON_ERROR);
        assert_string_equal(reader.error, "nested too deep");
        assert_int_equal(reader.error_at, limit);
    }
}

static void skip_passes_over_one_value(void **state) {
    (void)state;
    start("[{\"a\":[1,{\"b\":[]}]},5,\"s\",[[\"x\"]],7]");
    (void)json_next(&reader);
    for (int i = 0; i < 4; i++)
        assert_true(json_skip(&reader, json_next(&reader)));
    assert_int_equal(json_next(&reader), JSON_INTEGER);
    assert_true(reader.integer == 7);
    assert_int_equal(read_all(), JSON_END);
    start("[[1,[2,!]]]");
    (void)json_next(&reader);
    assert_false(json_skip(&reader, json_next(&reader)));
    assert_false(json_skip(&reader, json_next(&reader)));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(tokens_come_in_the_order_of_the_text),
        TEST(plain_strings_point_into_the_text),
        TEST(escapes_are_decoded),
        TEST(bad_escapes_are_refused),
        TEST(bytes_that_may_not_stand_in_a_string_are_found_anywhere),
        TEST(well_formed_utf8_and_delete_are_accepted),
        TEST(integers_keep_all_64_bits),
        TEST(a_point_or_an_exponent_makes_a_float),
        TEST(reals_are_rounded_correctly),
        TEST(reals_past_the_range_are_refused),
        TEST(a_million_digits_are_read_exactly),
        TEST(malformed_numbers_are_refused),
        TEST(broken_structure_is_refused_where_it_breaks),
        TEST(an_error_stays),
        TEST(duplicate_names_are_refused),
        TEST(names_of_nested_objects_do_not_mix),
        TEST(a_body_full_of_names_stays_fast_and_bounded),
        TEST(scratch_that_is_too_small_is_told_apart_from_bad_text),
        TEST(what_scratch_held_before_stays),
        TEST(depth_is_bounded),
        TEST(skip_passes_over_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
