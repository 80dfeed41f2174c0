/* The history checker names each of 14 planted anomalies as exactly that, and finds nothing wrong
 * with their harmless neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/history/text.h"

static struct history *load(const char *lines, const char *head) {
    char text[8192], error[200];
    int len = snprintf(text, sizeof text, "%s\n%s", head, lines);
    assert_true(len > 0 && (size_t)len < sizeof text);
    FILE *file = fmemopen(text, (size_t)len, "r");
    assert_non_null(file);
    struct history *history = history_load(file, error, sizeof error);
    fclose(file);
    if (!history)
        fail_msg("%s in\n%s", error, text);
    return history;
}

static struct history_report *check(const char *lines) {
    struct history *history = load(lines, "concave-history 1");
    struct history_report *report = history_check(history);
    history_free(history);
    return report;
}

struct planted {
    const char *name;
    const char *adya;
    unsigned cycle;
    const char *lines;
};

/* All overlap unless the anomaly is about time. */
static const struct planted planted[] = {
    {"G0", "G0", 2,
        "t 1 0 90 ok a x 1 a y 1\n"
        "t 2 0 90 ok a x 2 a y 2\n"
        "t 3 0 90 ok r x [1,2] r y [2,1]\n"},
    {"G1a", "G1a", 0,
        "t 1 0 90 fail w x 1\n"
        "t 2 0 90 ok r x 1\n"},
    {"G1b", "G1b", 0,
        "t 1 0 90 ok a x 1 a x 2\n"
        "t 2 0 90 ok r x [1]\n"
        "t 3 0 90 ok r x [1,2]\n"},
    {"G1c", "G1c", 2,
        "t 1 0 90 ok w x 1 r y 2\n"
        "t 2 0 90 ok r x 1 w y 2\n"},
    {"G-single", "G-single", 2,
        "t 1 0 90 ok w x 1 w y 1\n"
        "t 2 0 90 ok r x - r y 1\n"},
    {"lost update", "G-single", 2,
        "t 1 0 90 ok a x 1\n"
        "t 2 0 90 ok r x [1] a x 2\n"
        "t 3 0 90 ok r x [1] a x 3\n"
        "t 4 0 90 ok r x [1,2,3]\n"},
    {"write skew", "G2-item", 2,
        "t 1 0 90 ok r x - w y 1\n"
        "t 2 0 90 ok r y - w x 1\n"},
    {"phantom by insert", "G2", 2,
        "t 1 0 90 ok s room: room; w room:a 1\n"
        "t 2 0 90 ok s room: room; w room:b 1\n"},
    {"phantom by delete", "G2", 2,
        "t 1 0 10 ok v1 w call:a 1 w call:b 1\n"
        "t 2 20 90 ok v2 s call: call; i call:a 1@1 i call:b 1@1 d call:a\n"
        "t 3 20 90 ok v3 s call: call; i call:a 1@1 i call:b 1@1 d call:b\n"},
    {"long fork", "G2-item", 4,
        "t 1 0 90 ok w x 1\n"
        "t 2 0 90 ok w y 1\n"
        "t 3 0 90 ok r x 1 r y -\n"
        "t 4 0 90 ok r x - r y 1\n"},
    {"stale read", "G-single-realtime", 2,
        "t 1 0 10 ok w x 1\n"
        "t 2 20 90 ok r x -\n"},
    {"duplicate", "", 0,
        "t 1 0 90 ok a x 1\n"
        "t 2 0 90 ok r x [1,1]\n"},
    {"lost acknowledged write", "", 0,
        "t 1 0 10 ok a x 1\n"
        "t 2 0 10 ok a x 2\n"
        "t 3 20 90 ok final r x [2]\n"},
    {"torn transaction", "", 0,
        "t 1 0 - unknown a x 1 a y 1\n"
        "t 2 20 90 ok final r x [1] r y []\n"},
};

static void each_planted_anomaly_is_named(void **state) {
    (void)state;
    size_t named = 0, count = sizeof planted / sizeof planted[0];
    for (size_t i = 0; i < count; i++) {
        struct history_report *report = check(planted[i].lines);
        const struct history_anomaly *found = &report->anomalies[0];
        char cycle[256] = "no cycle";
        if (report->count && found->cycle) {
            const char *colon = strstr(found->text, ": ");
            assert_non_null(colon);
            snprintf(cycle, sizeof cycle, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        }
        printf("history: %s | %s | %s\n", planted[i].name, report->count ? found->name : "fine",
            cycle);
        assert_int_equal(report->count, 1);
        assert_string_equal(found->name, planted[i].name);
        assert_string_equal(found->adya, planted[i].adya);
        assert_int_equal(found->cycle, planted[i].cycle);
        named++;
        free(report);
    }
    printf("history: %zu of %zu planted anomalies named\n", named, count);
    assert_int_equal(named, 14);
}

/* Each is one step away from an anomaly. */
static const char *const harmless[] = {
    "t 1 0 90 ok a x 1 a y 1\nt 2 0 90 ok a x 2 a y 2\nt 3 0 90 ok r x [1,2] r y [1,2]\n",
    "t 1 0 - unknown w x 1\nt 2 0 90 ok r x 1\n",
    "t 1 0 90 fail w x 1\nt 2 0 90 ok r x -\nt 3 0 90 fail r x 7\n",
    "t 1 0 90 ok a x 1 r x [1] a x 2 r x [1,2]\nt 3 0 90 ok r x [1,2]\n",
    "t 1 0 90 ok w x 1 w y 1\nt 2 0 90 ok r x - r y -\nt 3 0 90 ok r x 1 r y 1\n",
    "t 1 0 90 ok r x - w y 1\nt 2 0 90 ok r y 1 w x 1\n",
    "t 1 0 90 ok s room: room; w room:a 1\nt 2 0 90 ok s room: room; i room:a 1 w room:b 1\n",
    /* "room;" is the bound, and not in it */
    "t 1 0 90 ok s room: room; w room; 1\nt 2 0 90 ok s room: room; r room; 1\n",
    "t 1 0 90 ok w x 1\nt 2 0 90 ok r x -\n",
    "t 1 0 - unknown a x 1 a y 1\nt 2 20 90 ok final r x [] r y []\n",
    "t 1 0 - unknown a x 1 a y 1\nt 2 20 90 ok final r x [1] r y [1]\n",
    /* a delete, of which nobody knows whether it was done, explains why there is nothing */
    "t 1 0 10 ok w x 1\nt 2 20 - unknown d x\nt 3 30 40 ok r x -\nt 4 50 60 ok final r x -\n",
    /* at the same nanosecond nothing is before anything */
    "t 1 0 20 ok w x 1\nt 2 20 90 ok r x -\n",
    /* found nothing: before the insert, or behind the delete */
    "t 1 0 90 ok v1 w x 1\nt 2 0 90 ok v2 d x\nt 3 0 90 ok r x -\n",
};

static void harmless_histories_pass(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        struct history_report *report = check(harmless[i]);
        if (report->count)
            fail_msg("%s%s: %s", harmless[i], report->anomalies[0].name, report->anomalies[0].text);
        free(report);
    }
}

/* More that is wrong, by other ways to see it. */
static const struct planted others[] = {
    {"lost update", "G2-item", 2, /* without versions, by read and then wrote */
        "t 1 0 90 ok r x - w x 1\nt 2 0 90 ok r x - w x 2\n"},
    {"lost update", "G-single", 2, /* with versions */
        "t 1 0 90 ok v1 r x - w x 1\nt 2 0 90 ok v2 r x - w x 2\n"},
    {"phantom by delete", "G2", 2, /* without versions */
        "t 1 0 10 ok w a 1 w b 1\nt 2 20 90 ok s a * i a 1 i b 1 d a\n"
        "t 3 20 90 ok s a * i a 1 i b 1 d b\n"},
    {"phantom by insert", "G-single", 2, /* a range beside a point */
        "t 1 0 90 ok w a 1 w b 1\nt 2 0 90 ok s a a= r b 1\n"},
    {"stale read", "G-single-realtime", 2, /* an overwritten value */
        "t 1 0 10 ok w x 1\nt 2 20 30 ok w x 2\nt 3 40 50 ok r x 1\n"},
    {"stale read", "G-single-realtime", 2, /* what is there was inserted before and not deleted */
        "t 1 0 10 ok v1 w x 1\nt 2 20 30 ok s a *\nt 3 40 50 ok v2 d x\n"},
    {"stale read", "G-single-realtime", 2, /* of an append that nobody saw */
        "t 1 0 10 ok a x 1\nt 2 20 30 ok r x []\n"},
    {"G0-realtime", "G0-realtime", 2, /* versions against time */
        "t 1 0 10 ok v2 w x 1\nt 2 20 30 ok v1 w x 2\n"},
    {"incompatible order", "", 0,
        "t 1 0 90 ok a x 1\nt 2 0 90 ok a x 2\nt 3 0 90 ok r x [1,2]\nt 4 0 90 ok r x [2]\n"},
    {"garbage read", "", 0, "t 1 0 90 ok r x 7\n"},
    {"garbage read", "", 0, "t 1 0 90 ok a x 1\nt 2 0 90 ok r x [1,2]\n"},
    {"internal", "", 0, "t 1 0 90 ok w x 1 r x -\n"},
    {"internal", "", 0, "t 1 0 90 ok a x 1\nt 2 0 90 ok r x [] r x [1]\n"},
    {"duplicate", "", 0, "t 1 0 90 ok w x 1\nt 2 0 90 ok s a * i x 1 i x 1\n"},
    {"version mismatch", "", 0, "t 1 0 90 ok w x 1\nt 2 0 90 ok r x 1@5\nt 3 0 90 ok r x 1@6\n"},
    {"lost acknowledged write", "", 0, "t 1 0 10 ok w x 1\nt 2 20 90 ok final r x -\n"},
    {"lost acknowledged write", "", 0, /* what was read was promised too */
        "t 1 0 - unknown a x 1\nt 2 0 10 ok r x [1]\nt 3 20 90 ok final r x []\n"},
    {"torn transaction", "", 0, "t 1 0 10 ok v1 w x 1 w y 1\nt 2 20 90 ok final r x 1 r y -\n"},
};

static void other_anomalies_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct history_report *report = check(others[i].lines);
        if (report->count != 1 || strcmp(report->anomalies[0].name, others[i].name) != 0)
            fail_msg("%s: not %s but %zu: %s\n%s", others[i].lines, others[i].name, report->count,
                report->count ? report->anomalies[0].name : "", report->anomalies[0].text);
        assert_string_equal(report->anomalies[0].adya, others[i].adya);
        assert_int_equal(report->anomalies[0].cycle, others[i].cycle);
        free(report);
    }
}

static void versions_over_all_keys_are_an_order_if_so_declared(void **state) {
    (void)state;
    const char *lines = "t 1 0 90 ok v2 w x 1\nt 2 0 90 ok v1 r x 1 w y 1\n";
    struct history *history = load(lines, "concave-history 1 global-versions");
    struct history_report *report = history_check(history);
    assert_int_equal(report->count, 1);
    assert_string_equal(report->anomalies[0].name, "version order");
    free(report);
    history_free(history);
    report = check(lines);
    assert_int_equal(report->count, 0);
    free(report);
}

static void a_cycle_is_explained_in_words(void **state) {
    (void)state;
    struct history_report *report = check("t 1 0 10 ok a x 1\n"
                                          "t 2 20 30 ok a x 2\n"
                                          "t 3 40 50 ok r x [1]\n"
                                          "t 4 60 90 ok r x [1,2]\n");
    assert_int_equal(report->count, 1);
    assert_string_equal(report->anomalies[0].text,
        "stale read (G-single-realtime), 2 transactions: T2 -rw-> T1 -rt-> T2\n"
        "  T2 read x up to 1, before T1 appended 2 to x\n"
        "  T1 had its reply 10 ns before T2 was sent\n");
    free(report);
}

static void text_that_is_no_history_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "line 0: it is empty"},
        {"history 2\n", "line 1: the first line is"},
        {"concave-history 1\nx\n", "line 2: a line begins with t or #"},
        {"concave-history 1\n# yes\n\nt 1 0 9 maybe\n",
            "line 4: an outcome is ok, fail or unknown"},
        {"concave-history 1\nt 1 9 0 ok\n", "line 2: a transaction ends before it begins"},
        {"concave-history 1\nt 1 0 - ok\n", "line 2: without a reply the outcome is unknown"},
        {"concave-history 1\nt 1 0 9 ok q x\n", "line 2: an operation is a, w, d, r or s"},
        {"concave-history 1\nt 1 0 9 ok r x\n", "line 2: the line ends too early"},
        {"concave-history 1\nt 1 0 9 ok r x [1;2]\n", "line 2: a list is [number,number,...]"},
        {"concave-history 1\nt 1 0 9 ok r x [1\n", "line 2: a list is [number,number,...]"},
        {"concave-history 1\nt 1 0 9 ok r x=y 1\n", "line 2: a key holds a character"},
        {"concave-history 1\nt 1 0 9 ok r x 1@\n", "line 2: a number of 64 bits is due"},
        {"concave-history 1\nt 1 0 9 ok w x 99999999999999999999\n", "line 2: a number of 64 bits"},
        {"concave-history 1\nconcave-history 1 global-versions\n",
            "line 2: its first line differs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200], error[200];
        size_t len = (size_t)snprintf(text, sizeof text, "%s", cases[i].text);
        FILE *file = len ? fmemopen(text, len, "r") : fopen("/dev/null", "r");
        assert_non_null(file);
        assert_null(history_load(file, error, sizeof error));
        fclose(file);
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("%s: %s instead of %s", cases[i].text, error, cases[i].error);
    }
}

static void what_is_saved_loads_the_same(void **state) {
    (void)state;
    const char *lines =
        "t 1 0 - unknown a x 1 w y -5 d z\n"
        "t 2 3 9 ok v7 r x [1,2]@6 r l [] r y -5@6 r z - s a b= i aa 3@4 i ab [7]@5 r q 1 s b *\n"
        "t 3 10 11 fail final d y\n";
    struct history *history = load(lines, "concave-history 1");
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    assert_non_null(file);
    history_save_txns(history, file);
    fclose(file);
    assert_string_equal(text, lines);
    free(text);
    history_free(history);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_planted_anomaly_is_named),
        cmocka_unit_test(harmless_histories_pass),
        cmocka_unit_test(other_anomalies_are_named),
        cmocka_unit_test(versions_over_all_keys_are_an_order_if_so_declared),
        cmocka_unit_test(a_cycle_is_explained_in_words),
        cmocka_unit_test(text_that_is_no_history_is_refused_with_its_line),
        cmocka_unit_test(what_is_saved_loads_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
