/* Buffers and slices: growth, bounds, and the failure that is looked at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>

#include "core/buf.h"

static void slices_compare_in_byte_order_a_prefix_first(void **state) {
    (void)state;
    static const struct slice sorted[] = {
        {"", 0}, {"\0", 1}, {"\0\0", 2}, {"a", 1}, {"aa", 2}, {"ab", 2}, {"b", 1}, {"\xC3\xA9", 2}};
    size_t count = sizeof sorted / sizeof *sorted;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            int order = slice_compare(sorted[i], sorted[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(slice_equal(sorted[i], sorted[j]), i == j);
        }
    assert_int_equal(slice_compare(slice_of(NULL, 0), SLICE("")), 0);
}

static void appended_bytes_stay_in_order_while_the_buffer_grows(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    for (int i = 0; i < 10000; i++)
        buf_append(&buf, &(char){(char)(i % 251)}, 1);
    assert_true(buf_ok(&buf));
    assert_int_equal(buf.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf.data[i], (char)(i % 251));
    buf_free(&buf);
    assert_int_equal(buf.len, 0);
}

static void a_buffer_takes_its_bound_and_not_a_byte_more(void **state) {
    (void)state;
    for (size_t max = 0; max < 600; max++) {
        struct buf buf;
        buf_init(&buf, max);
        for (size_t i = 0; i < max; i++)
            buf_append_byte(&buf, 'x');
        assert_true(buf_ok(&buf));
        assert_int_equal(buf.len, max);
        buf_append_byte(&buf, 'x');
        assert_false(buf_ok(&buf));
        assert_int_equal(buf.len, max);
        buf_free(&buf);
    }
}

static void after_a_failure_nothing_is_appended_until_a_reset(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, 4);
    buf_append_text(&buf, "12345");
    buf_append_text(&buf, "1");
    assert_false(buf_ok(&buf));
    assert_int_equal(buf.len, 0);
    assert_null(buf_reserve(&buf, 0));
    buf_reset(&buf, SIZE_MAX);
    buf_append_text(&buf, "1234");
    assert_true(buf_ok(&buf));
    buf_free(&buf);
}

static void lengths_that_overflow_fail(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    buf_append_byte(&buf, 'x');
    assert_null(buf_reserve(&buf, SIZE_MAX));
    assert_false(buf_ok(&buf));
    assert_int_equal(buf.len, 1);
    buf_free(&buf);
}

static void a_reset_keeps_memory_up_to_a_limit(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    assert_non_null(buf_reserve(&buf, 1000));
    buf.len = 1000;
    size_t cap = buf.cap;
    buf_reset(&buf, cap);
    assert_int_equal(buf.cap, cap);
    assert_int_equal(buf.len, 0);
    buf_reset(&buf, cap - 1);
    assert_int_equal(buf.cap, 0);
    assert_null(buf.data);
}

static void numbers_print_in_decimal(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    buf_append_i64(&buf, INT64_MIN);
    buf_append_byte(&buf, ' ');
    buf_append_i64(&buf, INT64_MAX);
    buf_append_byte(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_byte(&buf, ' ');
    buf_append_u64(&buf, 0);
    buf_append_i64(&buf, -1);
    assert_true(slice_equal(buf_slice(&buf),
        SLICE("-9223372036854775808 9223372036854775807 18446744073709551615 0-1")));
    buf_free(&buf);
}

static void printf_appends_what_it_prints(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    buf_append_text(&buf, "a");
    buf_printf(&buf, "%d %s", 7, "seven");
    buf_printf(&buf, "%s", "");
    assert_true(slice_equal(buf_slice(&buf), SLICE("a7 seven")));
    buf_free(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_in_byte_order_a_prefix_first),
        cmocka_unit_test(appended_bytes_stay_in_order_while_the_buffer_grows),
        cmocka_unit_test(a_buffer_takes_its_bound_and_not_a_byte_more),
        cmocka_unit_test(after_a_failure_nothing_is_appended_until_a_reset),
        cmocka_unit_test(lengths_that_overflow_fail),
        cmocka_unit_test(a_reset_keeps_memory_up_to_a_limit),
        cmocka_unit_test(numbers_print_in_decimal),
        cmocka_unit_test(printf_appends_what_it_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
