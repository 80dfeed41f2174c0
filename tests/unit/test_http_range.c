/* Which part of a file a Range field asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http_range.h"
#include "tests/support/scale.h"

#define WHOLE HTTP_RANGE_WHOLE
#define PART HTTP_RANGE_PART
#define NONE HTTP_RANGE_UNSATISFIABLE

static const struct {
    const char *field;
    uint64_t size;
    enum http_range result;
    uint64_t first, len;
} cases[] = {
    /* one range */
    {"bytes=0-0", 10, PART, 0, 1},
    {"bytes=2-5", 10, PART, 2, 4},
    {"bytes=2-", 10, PART, 2, 8},
    {"bytes=9-", 10, PART, 9, 1},
    {"bytes=-3", 10, PART, 7, 3},
    {"bytes=-30", 10, PART, 0, 10},
    {"bytes=0-99", 10, PART, 0, 10},
    {"BYTES=1-1", 10, PART, 1, 1},
    {"bytes= 1-1 ", 10, PART, 1, 1},
    {"bytes=0-18446744073709551615", 10, PART, 0, 10},
    {"bytes=1-99999999999999999999999", 10, PART, 1, 9},
    {"bytes=-99999999999999999999999", 10, PART, 0, 10},
    /* without a byte */
    {"bytes=10-", 10, NONE, 0, 10},
    {"bytes=10-20", 10, NONE, 0, 10},
    {"bytes=-0", 10, NONE, 0, 10},
    {"bytes=99999999999999999999999-", 10, NONE, 0, 10},
    {"bytes=10-,-0", 10, NONE, 0, 10},
    {"bytes=0-", 0, NONE, 0, 0},
    {"bytes=0-0", 0, NONE, 0, 0},
    {"bytes=-0", 0, WHOLE, 0, 0},
    {"bytes=-5", 0, WHOLE, 0, 0},
    /* several */
    {"bytes=0-1,2-3", 10, PART, 0, 4},
    {"bytes=2-3,0-1", 10, PART, 0, 4},
    {"bytes=0-5,3-7,1-1", 10, PART, 0, 8},
    {"bytes=0-8,-3", 10, PART, 0, 10},
    {"bytes=4-5,20-30", 10, PART, 4, 2},
    {"bytes=,4-5, ,", 10, PART, 4, 2},
    {"bytes=0-1, 3-4", 10, WHOLE, 0, 10},
    {"bytes=0-0,-1", 10, WHOLE, 0, 10},
    /* malformed, or of another unit */
    {"", 10, WHOLE, 0, 10},
    {"bytes", 10, WHOLE, 0, 10},
    {"bytes=", 10, WHOLE, 0, 10},
    {"bytes=,", 10, WHOLE, 0, 10},
    {"bytes=-", 10, WHOLE, 0, 10},
    {"bytes=1", 10, WHOLE, 0, 10},
    {"bytes=5-4", 10, WHOLE, 0, 10},
    {"bytes=1-2x", 10, WHOLE, 0, 10},
    {"bytes=1-2 3-4", 10, WHOLE, 0, 10},
    {"bytes=1- 2", 10, WHOLE, 0, 10},
    {"bytes=+1-2", 10, WHOLE, 0, 10},
    {"bytes=0x1-2", 10, WHOLE, 0, 10},
    {"bytes=--1", 10, WHOLE, 0, 10},
    {"bytes=1-2-3", 10, WHOLE, 0, 10},
    {"bytes=0-1,x", 10, WHOLE, 0, 10},
    {"bytes =1-2", 10, WHOLE, 0, 10},
    {"items=1-2", 10, WHOLE, 0, 10},
};

static void every_field_asks_for_what_it_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].field);
        char *exact = malloc(len + 1); /* of this length, so that a read past it is seen */
        assert_non_null(exact);
        memcpy(exact, cases[i].field, len);
        struct http_span span;
        enum http_range result = http_range_pick(slice_of(exact, len), cases[i].size, &span);
        if (result != cases[i].result || span.first != cases[i].first || span.len != cases[i].len)
            fail_msg("%s of %llu: %d %llu+%llu", cases[i].field, (unsigned long long)cases[i].size,
                (int)result, (unsigned long long)span.first, (unsigned long long)span.len);
        free(exact);
    }
}

static void a_field_of_very_many_ranges_asks_for_nothing(void **state) {
    (void)state;
    char text[8192] = "bytes=";
    struct http_span span;
    size_t len = strlen(text);
    for (unsigned i = 0; i < HTTP_RANGES_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%u-%u,", i, i);
    assert_int_equal(http_range_pick(slice_of(text, len), 1000, &span), PART);
    assert_int_equal(span.len, HTTP_RANGES_MAX);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "0-0");
    assert_int_equal(http_range_pick(slice_of(text, len), 1000, &span), WHOLE);
}

/* Ranges over a few bytes, held against a bit set of the bytes that they name. */
static void any_few_ranges_agree_with_a_bit_set(void **state) {
    (void)state;
    unsigned seed = 1;
    for (unsigned n = 0; n < test_scaled(20000); n++) {
        unsigned size = 1 + (unsigned)rand_r(&seed) % 12, count = 1 + (unsigned)rand_r(&seed) % 4;
        uint32_t named = 0;
        char text[128] = "bytes=";
        size_t len = strlen(text);
        for (unsigned i = 0; i < count; i++) {
            unsigned first = (unsigned)rand_r(&seed) % 14,
                     last = first + (unsigned)rand_r(&seed) % 6;
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%u-%u,", first, last);
            for (unsigned byte = first; byte <= last && byte < size; byte++)
                named |= 1u << byte;
        }
        struct http_span span;
        enum http_range result = http_range_pick(slice_of(text, len), size, &span);
        uint32_t bits = ((1u << span.len) - 1) << span.first;
        uint32_t lowest = named & (~named + 1);
        bool one_stretch = named != 0 && (named & (named + lowest)) == 0;
        if (named == 0 ? result != NONE
                       : result != (one_stretch ? PART : WHOLE) || (one_stretch && bits != named))
            fail_msg("%s of %u", text, size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_asks_for_what_it_says),
        cmocka_unit_test(a_field_of_very_many_ranges_asks_for_nothing),
        cmocka_unit_test(any_few_ranges_agree_with_a_bit_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
