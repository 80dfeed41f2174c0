/* Stored values: JSON in, MessagePack, JSON out; what is refused; adding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "core/value.h"

static struct buf scratch, value, text;
static struct json_reader reader;

static int setup(void **state) {
    (void)state;
    buf_init(&scratch, SIZE_MAX);
    buf_init(&value, SIZE_MAX);
    buf_init(&text, SIZE_MAX);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    buf_free(&scratch);
    buf_free(&value);
    buf_free(&text);
    return 0;
}

static enum status pack(struct slice json) {
    buf_reset(&value, SIZE_MAX);
    json_reader_init(&reader, json, &scratch, JSON_READER_DEPTH_MAX);
    return value_from_json(&reader, json_next(&reader), &value);
}

static void assert_packs_to(const char *json, const char *bytes, size_t len) {
    assert_int_equal(pack(slice_of(json, strlen(json))), ST_OK);
    assert_int_equal(value.len, len);
    assert_memory_equal(value.data, bytes, len);
    assert_int_equal(json_next(&reader), JSON_END);
}
#define PACKS_TO(json, bytes) assert_packs_to(json, bytes, sizeof(bytes) - 1)

static void assert_round_trip(struct slice json) {
    assert_int_equal(pack(json), ST_OK);
    buf_reset(&text, SIZE_MAX);
    assert_int_equal(value_to_json(buf_slice(&value), &text), ST_OK);
    assert_true(slice_equal(buf_slice(&text), json));
}

static void json_packs_to_the_shortest_forms(void **state) {
    (void)state;
    PACKS_TO("null", "\xC0");
    PACKS_TO("[true,false]", "\x92\xC3\xC2");
    PACKS_TO("127", "\x7F");
    PACKS_TO("128", "\xCC\x80");
    PACKS_TO("256", "\xCD\x01\x00");
    PACKS_TO("65536", "\xCE\x00\x01\x00\x00");
    PACKS_TO("4294967296", "\xCF\x00\x00\x00\x01\x00\x00\x00\x00");
    PACKS_TO("-32", "\xE0");
    PACKS_TO("-33", "\xD0\xDF");
    PACKS_TO("-129", "\xD1\xFF\x7F");
    PACKS_TO("-32769", "\xD2\xFF\xFF\x7F\xFF");
    PACKS_TO("-2147483649", "\xD3\xFF\xFF\xFF\xFF\x7F\xFF\xFF\xFF");
    PACKS_TO("1.0", "\xCB\x3F\xF0\x00\x00\x00\x00\x00\x00");
    PACKS_TO("-0.0", "\xCB\x80\x00\x00\x00\x00\x00\x00\x00");
    PACKS_TO("\"h\\u00e9\"", "\xA3h\xC3\xA9");
    PACKS_TO("{\"b\":[],\"a\":{}}", "\x82\xA1"
                                    "b\x90\xA1"
                                    "a\x80");
}

static void values_read_back_as_the_same_json(void **state) {
    (void)state;
    static const char *const documents[] = {"null", "true", "false", "0", "-1", "127", "128", "255",
        "256", "65535", "65536", "4294967295", "4294967296", "9223372036854775807", "-32", "-33",
        "-128", "-129", "-32768", "-32769", "-2147483648", "-2147483649", "-9223372036854775808",
        "1.0", "-0.0", "0.1", "1e+300", "\"\"", "\"a\\nb\"", "[]", "{}", "[[],{},[{}]]",
        "{\"z\":1,\"a\":[1,2.5,null,true],\"\":{\"\":\"\"}}"};
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        assert_round_trip(slice_of(documents[i], strlen(documents[i])));
}

/* The counts and lengths at which a header grows, alone and inside of one another. */
static void long_containers_and_strings_round_trip(void **state) {
    (void)state;
    static const unsigned counts[] = {15, 16, 31, 32, 255, 256, 65535, 65536};
    struct buf json;
    buf_init(&json, SIZE_MAX);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int kind = 0; kind < 3; kind++) {
            buf_reset(&json, SIZE_MAX);
            buf_append_text(&json, kind == 0 ? "[[7],[" : kind == 1 ? "[[7],{" : "[[7],\"");
            for (unsigned j = 0; j < counts[i]; j++)
                if (kind == 2)
                    buf_append_byte(&json, 'x');
                else
                    buf_printf(&json, kind == 0 ? "%s%u" : "%s\"%u\":[]", j ? "," : "", j);
            buf_append_text(&json, kind == 0 ? "],1]" : kind == 1 ? "},1]" : "\",1]");
            assert_round_trip(buf_slice(&json));
            assert_true(value_valid(buf_slice(&value)));
        }
    buf_free(&json);
}

static void a_value_may_have_64_levels_and_no_more(void **state) {
    (void)state;
    char json[2 * JSON_VALUE_DEPTH_MAX + 2];
    memset(json, '[', sizeof json / 2);
    memset(json + sizeof json / 2, ']', sizeof json / 2);
    assert_round_trip(slice_of(json + 1, sizeof json - 2));
    assert_true(value_valid(buf_slice(&value)));
    assert_int_equal(pack(slice_of(json, sizeof json)), ST_INVALID);
    assert_string_equal(reader.error, "value nested too deep");
    assert_int_equal(reader.error_at, JSON_VALUE_DEPTH_MAX);
    assert_int_equal(value.len, 0);
    assert_int_equal(json_next(&reader), JSON_ERROR);
}

static void a_failure_leaves_the_output_as_it_was(void **state) {
    (void)state;
    buf_append_text(&value, "before");
    json_reader_init(&reader, SLICE("[1,[2,{\"a\":x"), &scratch, JSON_READER_DEPTH_MAX);
    assert_int_equal(value_from_json(&reader, json_next(&reader), &value), ST_INVALID);
    assert_true(slice_equal(buf_slice(&value), SLICE("before")));
    assert_int_equal(value_to_json(SLICE("\x92\x01"), &value), ST_CORRUPT);
    assert_true(slice_equal(buf_slice(&value), SLICE("before")));
}

static void a_buffer_that_is_too_small_is_no_memory(void **state) {
    (void)state;
    buf_init(&value, 10);
    json_reader_init(&reader, SLICE("[\"0123456789\"]"), &scratch, JSON_READER_DEPTH_MAX);
    assert_int_equal(value_from_json(&reader, json_next(&reader), &value), ST_NOMEM);
    buf_init(&text, 5);
    assert_int_equal(value_to_json(SLICE("\x93\x01\x02\x03"), &text), ST_NOMEM);
    assert_int_equal(text.len, 0);
}

static void assert_not_a_value(struct slice bytes) {
    /* A copy of its own, so that a sanitizer sees any read past the end. */
    char *copy = malloc(bytes.len ? bytes.len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.len);
    assert_false(value_valid(slice_of(copy, bytes.len)));
    assert_int_equal(value_to_json(slice_of(copy, bytes.len), &text), ST_CORRUPT);
    free(copy);
}

static void what_we_never_write_is_no_value(void **state) {
    (void)state;
    static const struct slice cases[] = {
        {"", 0},
        {"\xC1", 1},     /* never used */
        {"\x01\x01", 2}, /* trailing */
        {"\x92\x01", 2}, /* an item is missing */
        {"\x82\xA1"
         "a\x01\xA1"
         "b",
            6},              /* a value is missing */
        {"\x81\x01\x01", 3}, /* a name that is a number */
        {"\x81\x90\x01", 3}, /* a name that is an array */
        {"\xA2"
         "a",
            2}, /* cut off */
        {"\xD9\x20"
         "a",
            3},                          /* cut off */
        {"\xDD\xFF\xFF\xFF\xFF\x01", 6}, /* a count that lies */
        {"\xDF\x80\x00\x00\x00\x01", 6}, /* a count that lies */
        {"\xDB\xFF\xFF\xFF\xFF", 5},     /* a length that lies */
        {"\xCD\x01", 2},                 /* cut off */
        {"\xC4\x01"
         "a",
            3},                                      /* binary */
        {"\xD4\x01\x01", 3},                         /* extension */
        {"\xC7\x01\x01\x01", 4},                     /* extension */
        {"\xCA\x3F\x80\x00\x00", 5},                 /* single float */
        {"\xCF\x80\x00\x00\x00\x00\x00\x00\x00", 9}, /* past int64 */
        {"\xCB\x7F\xF8\x00\x00\x00\x00\x00\x00", 9}, /* NaN */
        {"\xCB\xFF\xF0\x00\x00\x00\x00\x00\x00", 9}, /* -infinity */
        {"\xCC\x7F", 2},                             /* longer than needed, from here on */
        {"\xCD\x00\xFF", 3},
        {"\xCE\x00\x00\xFF\xFF", 5},
        {"\xCF\x00\x00\x00\x00\xFF\xFF\xFF\xFF", 9},
        {"\xD0\xE0", 2},
        {"\xD0\x01", 2},
        {"\xD1\xFF\x80", 3},
        {"\xD2\xFF\xFF\x80\x00", 5},
        {"\xD3\xFF\xFF\xFF\xFF\x80\x00\x00\x00", 9},
        {"\xD9\x01"
         "a",
            3},
        {"\xDA\x00\x01"
         "a",
            4},
        {"\xDC\x00\x01\x01", 4},
        {"\xDE\x00\x00", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_not_a_value(cases[i]);
}

static void values_from_outside_are_not_null_not_too_deep_and_in_utf8(void **state) {
    (void)state;
    assert_false(value_valid(SLICE("\xC0")));
    assert_true(value_valid(SLICE("\x91\xC0")));
    assert_false(value_valid(SLICE("\xA1\xFF")));
    assert_false(value_valid(SLICE("\x81\xA1\xFF\x01")));
    char deep[JSON_VALUE_DEPTH_MAX + 1];
    memset(deep, '\x91', sizeof deep);
    deep[sizeof deep - 1] = '\x90';
    assert_not_a_value(slice_of(deep, sizeof deep));
    assert_true(value_valid(slice_of(deep + 1, sizeof deep - 1)));
}

static void every_cut_of_a_value_is_no_value(void **state) {
    (void)state;
    assert_int_equal(pack(SLICE("{\"a\":[1,-200,70000,2.5,\"text\",null],\"long name of more than "
                                "thirty-one bytes\":{\"x\":[[],{}]}}")),
        ST_OK);
    for (size_t len = 0; len < value.len; len++)
        assert_not_a_value(slice_of(value.data, len));
}

static enum status add(const char *json, struct number by, struct number *sum) {
    struct buf packed = {.max = SIZE_MAX};
    json_reader_init(&reader, slice_of(json, strlen(json)), &scratch, JSON_READER_DEPTH_MAX);
    if (json[0])
        assert_int_equal(value_from_json(&reader, json_next(&reader), &packed), ST_OK);
    buf_reset(&value, SIZE_MAX);
    enum status status = value_add(buf_slice(&packed), by, &value, sum);
    buf_free(&packed);
    return status;
}

static struct number integer(int64_t by) {
    return (struct number){.integer = by};
}

static struct number real(double by) {
    return (struct number){.is_real = true, .real = by};
}

static void assert_integer_sum(const char *json, int64_t by, int64_t expected) {
    struct number sum;
    assert_int_equal(add(json, integer(by), &sum), ST_OK);
    assert_false(sum.is_real);
    assert_true(sum.integer == expected);
    buf_reset(&text, SIZE_MAX);
    buf_append_i64(&text, expected);
    struct buf again = {.max = SIZE_MAX};
    assert_int_equal(value_to_json(buf_slice(&value), &again), ST_OK);
    assert_true(slice_equal(buf_slice(&again), buf_slice(&text)));
    buf_free(&again);
}

static void assert_real_sum(const char *json, struct number by, double expected) {
    struct number sum;
    assert_int_equal(add(json, by, &sum), ST_OK);
    assert_true(sum.is_real);
    assert_true(sum.real == expected);
    assert_int_equal((unsigned char)value.data[0], 0xCB);
}

static void integers_add_exactly_or_overflow(void **state) {
    (void)state;
    struct number sum;
    assert_integer_sum("", 5, 5);
    assert_integer_sum("1", 2, 3);
    assert_integer_sum("9223372036854775806", 1, INT64_MAX);
    assert_integer_sum("-9223372036854775807", -1, INT64_MIN);
    assert_integer_sum("-9223372036854775808", INT64_MAX, -1);
    assert_int_equal(add("9223372036854775807", integer(1), &sum), ST_OVERFLOW);
    assert_int_equal(add("-9223372036854775808", integer(-1), &sum), ST_OVERFLOW);
    assert_int_equal(value.len, 0);
}

static void a_float_on_either_side_makes_a_float(void **state) {
    (void)state;
    struct number sum;
    assert_real_sum("1", real(0.5), 1.5);
    assert_real_sum("1.0", integer(2), 3.0);
    assert_real_sum("", real(2.0), 2.0);
    assert_real_sum("0.5", real(0.5), 1.0);
    assert_int_equal(add("1.7976931348623157e308", real(DBL_MAX), &sum), ST_OVERFLOW);
    assert_int_equal(add("-1.7976931348623157e308", real(-DBL_MAX), &sum), ST_OVERFLOW);
    assert_int_equal(add("1", real(NAN), &sum), ST_OVERFLOW);
}

static void only_numbers_are_added_to(void **state) {
    (void)state;
    struct number sum;
    static const char *const others[] = {"\"1\"", "true", "null", "[]", "{}", "[1]"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(add(others[i], integer(1), &sum), ST_NOT_A_NUMBER);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(json_packs_to_the_shortest_forms),
        TEST(values_read_back_as_the_same_json),
        TEST(long_containers_and_strings_round_trip),
        TEST(a_value_may_have_64_levels_and_no_more),
        TEST(a_failure_leaves_the_output_as_it_was),
        TEST(a_buffer_that_is_too_small_is_no_memory),
        TEST(what_we_never_write_is_no_value),
        TEST(values_from_outside_are_not_null_not_too_deep_and_in_utf8),
        TEST(every_cut_of_a_value_is_no_value),
        TEST(integers_add_exactly_or_overflow),
        TEST(a_float_on_either_side_makes_a_float),
        TEST(only_numbers_are_added_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
