/* The JSON writer: strings, floats, and what counts as UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "core/json_read.h"
#include "core/json_write.h"

static struct buf out;

static int setup(void **state) {
    (void)state;
    buf_init(&out, SIZE_MAX);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    buf_free(&out);
    return 0;
}

static void assert_out(const char *expected) {
    buf_append_byte(&out, 0);
    assert_true(buf_ok(&out));
    assert_string_equal(out.data, expected);
    buf_reset(&out, SIZE_MAX);
}

static void assert_string_as(struct slice text, const char *expected) {
    json_write_string(&out, text);
    assert_out(expected);
}

static void assert_real_as(double real, const char *expected) {
    json_write_real(&out, real);
    assert_out(expected);
}

static void strings_are_quoted_and_escaped(void **state) {
    (void)state;
    assert_string_as(SLICE(""), "\"\"");
    assert_string_as(slice_of(NULL, 0), "\"\"");
    assert_string_as(
        SLICE("plain text of more than eight bytes"), "\"plain text of more than eight bytes\"");
    assert_string_as(SLICE("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    assert_string_as(SLICE("a\0b\x1f\x7f"), "\"a\\u0000b\\u001f\x7f\"");
    assert_string_as(
        SLICE("\xC3\xA9\xF0\x9F\x98\x80\n\xC3\xA9"), "\"\xC3\xA9\xF0\x9F\x98\x80\\n\xC3\xA9\"");
}

static void every_byte_at_every_place_reads_back(void **state) {
    (void)state;
    struct buf scratch;
    buf_init(&scratch, SIZE_MAX);
    for (int byte = 0; byte < 0x80; byte++)
        for (size_t before = 0; before < 18; before++) {
            char text[32];
            memset(text, 'a', sizeof text);
            text[before] = (char)byte;
            struct slice slice = slice_of(text, before + 9);
            buf_reset(&out, SIZE_MAX);
            json_write_string(&out, slice);
            struct json_reader reader;
            json_reader_init(&reader, buf_slice(&out), &scratch, 1);
            assert_int_equal(json_next(&reader), JSON_STRING);
            assert_true(slice_equal(reader.string, slice));
            assert_int_equal(json_next(&reader), JSON_END);
        }
    buf_free(&scratch);
}

static size_t json_len(const char *text, size_t len) {
    size_t sum = 2;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '"' || text[i] == '\\' || (text[i] && strchr("\b\f\n\r\t", text[i])))
            sum += 2;
        else
            sum += text[i] < 0x20 ? 6 : 1;
    return sum;
}

/* Escapes of both lengths, over more than one of the writer's pieces; in buffers that have exactly
 * the room, and that lack a byte. */
static void long_texts_of_escapes_read_back(void **state) {
    (void)state;
    static char text[20000];
    struct buf scratch;
    buf_init(&scratch, SIZE_MAX);
    for (size_t period = 1; period < 40; period += 7) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = i % period == 0 ? (char)(i / period % 0x30) : 'a';
        struct slice slice = slice_of(text, sizeof text - period);
        size_t len = json_len(text, slice.len);
        for (size_t lacks = 0; lacks < 2; lacks++) {
            struct buf exact;
            buf_init(&exact, len - lacks);
            json_write_string(&exact, slice);
            assert_int_equal(buf_ok(&exact), lacks == 0);
            buf_free(&exact);
        }
        buf_reset(&out, SIZE_MAX);
        json_write_string(&out, slice);
        assert_int_equal(out.len, len);
        struct json_reader reader;
        json_reader_init(&reader, buf_slice(&out), &scratch, 1);
        assert_int_equal(json_next(&reader), JSON_STRING);
        assert_true(slice_equal(reader.string, slice));
    }
    buf_free(&scratch);
}

static void floats_stay_floats_in_the_fewest_digits(void **state) {
    (void)state;
    assert_real_as(0.0, "0.0");
    assert_real_as(-0.0, "-0.0");
    assert_real_as(1.0, "1.0");
    assert_real_as(-1.5, "-1.5");
    assert_real_as(0.1, "0.1");
    assert_real_as(0.30000000000000004, "0.30000000000000004");
    assert_real_as(12.34, "12.34");
    assert_real_as(1.05, "1.05");
    assert_real_as(100.0, "100.0");
    assert_real_as(1e9, "1000000000.0");
    assert_real_as(1700000000.123456, "1700000000.123456");
    assert_real_as(9007199254740992.0, "9007199254740992.0");
    assert_real_as(9223372036854775808.0, "9223372036854776000.0");
    assert_real_as(1e20, "100000000000000000000.0");
    assert_real_as(1e21, "1e+21");
    assert_real_as(1.25e300, "1.25e+300");
    assert_real_as(-1e300, "-1e+300");
    assert_real_as(0.001, "0.001");
    assert_real_as(0.00012, "0.00012");
    assert_real_as(0.0000001, "0.0000001");
    assert_real_as(1.5e-8, "1.5e-8");
    assert_real_as(DBL_MAX, "1.7976931348623157e+308");
    assert_real_as(DBL_MIN, "2.2250738585072014e-308");
    assert_real_as(0x1p-1074, "5e-324");
    assert_real_as(-0x1.5p-1070, "-1.04e-322");
    assert_real_as(1.0 / 3.0, "0.3333333333333333");
    assert_real_as(123456.789, "123456.789");
}

/* Digits from the first that is not 0 to the last that is not. */
static size_t significant_digits(const char *number) {
    size_t digits = 0, last = 0;
    for (const char *at = number + strspn(number, "-0."); *at && *at != 'e'; at++)
        if (*at != '.') {
            digits++;
            if (*at != '0')
                last = digits;
        }
    return last;
}

static size_t least_digits(double real) {
    for (int precision = 1;; precision++) {
        char text[40];
        (void)snprintf(text, sizeof text, "%.*g", precision, real);
        if (strtod(text, NULL) == real)
            return significant_digits(text);
    }
}

static void random_floats_read_back_the_same_in_the_fewest_digits(void **state) {
    (void)state;
    uint64_t seed = 42;
    for (int i = 0; i < 40000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t mixed = seed ^ seed >> 29;
        double real;
        if (i % 4 == 0)
            memcpy(&real, &mixed, sizeof real); /* any bits */
        else /* what people write: some digits, some of them behind the point */
            real = (double)(mixed >> (14 + i % 40)) / pow(10, (double)(mixed % 9));
        if (!isfinite(real))
            continue;
        buf_reset(&out, SIZE_MAX);
        json_write_real(&out, real);
        buf_append_byte(&out, 0);
        double again = strtod(out.data, NULL);
        if (memcmp(&again, &real, sizeof real) != 0 || !strpbrk(out.data, ".e") ||
            significant_digits(out.data) != least_digits(real))
            fail_msg("%a printed as %s", real, out.data);
    }
}

static void a_full_buffer_is_reported(void **state) {
    (void)state;
    buf_free(&out);
    buf_init(&out, 8);
    json_write_string(&out, SLICE("1234567"));
    assert_false(buf_ok(&out));
    buf_reset(&out, 0);
    json_write_string(&out, SLICE("12345\n"));
    assert_false(buf_ok(&out));
    buf_reset(&out, 0);
    json_write_string(&out, SLICE("123456"));
    assert_true(buf_ok(&out));
    assert_int_equal(out.len, 8);
    buf_reset(&out, 0);
    json_write_real(&out, 1.25);
    assert_true(buf_ok(&out));
}

/* Every sequence of up to three bytes, and four with the third and fourth at their limits, against
 * the definition: decode, then look at the code point. */
static bool decodes(const unsigned char *byte, size_t len) {
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t at = 0; at < len;) {
        size_t size = byte[at] < 0x80       ? 1
                      : byte[at] >> 5 == 6  ? 2
                      : byte[at] >> 4 == 14 ? 3
                      : byte[at] >> 3 == 30 ? 4
                                            : 0;
        if (size == 0 || size > len - at)
            return false;
        unsigned code = size == 1 ? byte[at] : byte[at] & (0x7Fu >> size);
        for (size_t i = 1; i < size; i++) {
            if (byte[at + i] >> 6 != 2)
                return false;
            code = code << 6 | (byte[at + i] & 0x3Fu);
        }
        if (code < least[size] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return false;
        at += size;
    }
    return true;
}

static void utf8_is_checked_as_rfc_3629_defines_it(void **state) {
    (void)state;
    static const unsigned char last[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0};
    assert_true(utf8_valid(slice_of(NULL, 0)));
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (unsigned i = 0; i < 25; i++) {
                unsigned char byte[4] = {
                    (unsigned char)first, (unsigned char)second, last[i % 5], last[i / 5]};
                for (size_t len = 1; len <= 4; len++)
                    assert_int_equal(
                        utf8_valid(slice_of((const char *)byte, len)), decodes(byte, len));
            }
    for (size_t before = 0; before < 20; before++) {
        char text[32];
        memset(text, 'a', sizeof text);
        text[before] = (char)0xFF;
        assert_false(utf8_valid(slice_of(text, sizeof text)));
        assert_true(utf8_valid(slice_of(text, before)));
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(strings_are_quoted_and_escaped),
        TEST(every_byte_at_every_place_reads_back),
        TEST(long_texts_of_escapes_read_back),
        TEST(floats_stay_floats_in_the_fewest_digits),
        TEST(random_floats_read_back_the_same_in_the_fewest_digits),
        TEST(a_full_buffer_is_reported),
        TEST(utf8_is_checked_as_rfc_3629_defines_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
