/* Any bytes at all may stand in Accept, Range, dates, lists of tags and paths: they are read
 * without a byte past their end (each is in memory of its own size, for the sanitizers to watch),
 * and what comes out is within its bounds. Fields are strung together from pieces of good ones, so
 * that many get far. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/error_page.h"
#include "net/beneath.h"
#include "net/http_condition.h"
#include "net/http_range.h"
#include "tests/support/scale.h"

#define FIELDS 200000u
#define PIECES_MAX 12u
#define RANGE_PIECES 8u /* the first of the list; a third of the fields is made of these alone */

static const char *const pieces[] = {"bytes=", "0", "1", "9", "-", ",", " ", "\t",
    "99999999999999999999", "text/html", "text/*", "*/*", "application/json", ";", "q=", "0.",
    "1.0", "0.5", "\"", "\\", "W/", "*", "\"a\"", "Sun", "Sunday", ", ", "06", "-06-", "Nov",
    " Nov ", "94", "1994", " 08:49:37", ":", " GMT", "a", "/", ".", "..", "%", "%2", "%2e", "%2f",
    "%00", "%5c", "\xFF", "\x01", "=", "x"};

static uint64_t state = 1;

static unsigned draw(unsigned below) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(state >> 33) % below;
}

/* A field in memory of its own size. */
static struct slice make_field(void) {
    char text[PIECES_MAX * 24];
    size_t len = 0;
    unsigned kinds = draw(3) ? (unsigned)(sizeof(pieces) / sizeof(pieces[0])) : RANGE_PIECES;
    for (unsigned i = draw(PIECES_MAX + 1), first = i; i > 0; i--) {
        const char *piece = pieces[kinds == RANGE_PIECES && i == first ? 0 : draw(kinds)];
        memcpy(text + len, piece, strlen(piece));
        len += strlen(piece);
    }
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    return slice_of(exact, len);
}

static void check_range(struct slice field, unsigned *parts) {
    uint64_t size = draw(3) ? draw(12) : UINT64_MAX - draw(2);
    struct http_span span;
    enum http_range range = http_range_pick(field, size, &span);
    if (range == HTTP_RANGE_PART) {
        ++*parts;
        assert_true(span.len > 0 && span.first < size && span.len <= size - span.first);
    } else {
        assert_true(span.first == 0 && span.len == size);
    }
}

static void check_path(struct slice field, unsigned *paths) {
    static char path[BENEATH_PATH_BYTES_MAX];
    if (beneath_path(field, path) != ST_OK)
        return;
    ++*paths;
    assert_true(path[0] != '\0' && path[0] != '/' && path[0] != '.');
    assert_null(strstr(path, "/."));
    assert_null(strstr(path, "//"));
    assert_null(strchr(path, '\\'));
    assert_true(path[strlen(path) - 1] != '/');
}

static void any_field_is_read_within_its_bounds(void **unused) {
    (void)unused;
    unsigned parts = 0, dates = 0, named = 0, html = 0, paths = 0;
    for (unsigned n = 0; n < test_scaled(FIELDS); n++) {
        struct slice field = make_field();
        struct accept_tastes tastes = {0};
        int64_t seconds;
        accept_add(&tastes, field);
        assert_true(tastes.html.weight <= 1000 && tastes.json.weight <= 1000);
        html += accept_prefers_html(&tastes);
        check_range(field, &parts);
        check_path(field, &paths);
        dates += http_date_read(field, &seconds);
        named += http_etags_name(field, SLICE("\"a\""), draw(2) == 0, draw(2) == 0);
        free((void *)(uintptr_t)field.data);
    }
    printf("fields tried: %u; %u asked for a part, %u named a tag, %u a path, %u liked HTML, %u "
           "dates\n",
        test_scaled(FIELDS), parts, named, paths, html, dates);
    assert_true(parts > 0 && named > 0 && paths > 0 && html > 0);
}

/* Dates are too long to be strung together: good ones with a byte changed, lost or added. */
static void dates_with_a_byte_wrong_are_read_within_their_bounds(void **unused) {
    (void)unused;
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        size_t len = strlen(good[i]);
        for (size_t cut = 0; cut <= len; cut++) {
            char *exact = malloc(cut ? cut : 1);
            assert_non_null(exact);
            memcpy(exact, good[i], cut);
            int64_t seconds;
            assert_int_equal(http_date_read(slice_of(exact, cut), &seconds), cut == len);
            for (size_t at = 0; at < cut; at++) {
                for (unsigned byte = 0; byte < 256; byte++) {
                    exact[at] = (char)byte;
                    if (http_date_read(slice_of(exact, cut), &seconds))
                        assert_true(
                            seconds >= INT64_C(-62167219200) && seconds < INT64_C(253402300801));
                }
                exact[at] = good[i][at];
            }
            free(exact);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_field_is_read_within_its_bounds),
        cmocka_unit_test(dates_with_a_byte_wrong_are_read_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
