/* Marks: who clashes with whom, on keys, absent keys and intervals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/hash.h"
#include "shard/marks.h"

/* Owners are compared by address only. */
static char owner_bytes[3];
#define OWNER(n) ((struct branch *)(void *)&owner_bytes[n])

static void place(struct marks *marks, struct mark *mark, const char *key, bool write, int owner) {
    struct slice bytes = slice_of(key, strlen(key));
    marks_place(marks, mark, bytes, hash_key(bytes, 1), write, OWNER(owner));
}

static struct interval between(const char *from, const char *to) {
    return (struct interval){slice_of(from, strlen(from)), slice_of(to, strlen(to)), true};
}

static void readers_clash_with_writes_only(void **state) {
    (void)state;
    struct marks marks = {0};
    struct mark read = {0}, write = {0};
    place(&marks, &read, "a", false, 0);
    place(&marks, &write, "b", true, 0);
    assert_null(marks_clash_read(&marks, SLICE("a"), OWNER(1)));
    assert_ptr_equal(marks_clash_read(&marks, SLICE("b"), OWNER(1)), OWNER(0));
    assert_null(marks_clash_read(&marks, SLICE("c"), OWNER(1)));
}

static void writers_clash_with_reads_writes_and_intervals(void **state) {
    (void)state;
    struct marks marks = {0};
    struct mark read = {0}, write = {0};
    struct range_mark range = {0};
    struct interval interval = between("m", "p");
    place(&marks, &read, "a", false, 0);
    place(&marks, &write, "b", true, 0);
    marks_place_range(&marks, &range, &interval, OWNER(0));
    assert_ptr_equal(marks_clash_write(&marks, SLICE("a"), OWNER(1)), OWNER(0));
    assert_ptr_equal(marks_clash_write(&marks, SLICE("b"), OWNER(1)), OWNER(0));
    assert_ptr_equal(marks_clash_write(&marks, SLICE("m"), OWNER(1)), OWNER(0));
    assert_ptr_equal(marks_clash_write(&marks, SLICE("oo"), OWNER(1)), OWNER(0));
    assert_null(marks_clash_write(&marks, SLICE("p"), OWNER(1)));
    assert_null(marks_clash_write(&marks, SLICE("l"), OWNER(1)));
}

static void nobody_clashes_with_itself(void **state) {
    (void)state;
    struct marks marks = {0};
    struct mark write = {0};
    struct range_mark range = {0};
    struct interval interval = between("a", "z");
    place(&marks, &write, "b", true, 0);
    marks_place_range(&marks, &range, &interval, OWNER(0));
    assert_null(marks_clash_read(&marks, SLICE("b"), OWNER(0)));
    assert_null(marks_clash_write(&marks, SLICE("b"), OWNER(0)));
    assert_null(marks_clash_range(&marks, &interval, OWNER(0)));
}

static void a_range_clashes_with_a_write_inside_it_only(void **state) {
    (void)state;
    struct marks marks = {0};
    struct mark inside = {0}, before = {0}, read = {0};
    struct interval interval = between("c", "f");
    place(&marks, &before, "b", true, 0);
    place(&marks, &read, "d", false, 0);
    assert_null(marks_clash_range(&marks, &interval, OWNER(1)));
    place(&marks, &inside, "e", true, 2);
    assert_ptr_equal(marks_clash_range(&marks, &interval, OWNER(1)), OWNER(2));
    struct interval empty = between("f", "c");
    assert_null(marks_clash_range(&marks, &empty, OWNER(1)));
    struct interval open = {.from = SLICE("e")};
    assert_ptr_equal(marks_clash_range(&marks, &open, OWNER(1)), OWNER(2));
}

static void several_marks_on_a_key_are_each_removed_alone(void **state) {
    (void)state;
    struct marks marks = {0};
    struct mark first = {0}, second = {0}, third = {0}, other = {0};
    place(&marks, &other, "a", true, 0);
    place(&marks, &first, "k", false, 0);
    place(&marks, &second, "k", false, 1);
    place(&marks, &third, "k", true, 2);
    marks_remove(&marks, &first); /* the one in the tree: another takes its place */
    assert_ptr_equal(marks_clash_read(&marks, SLICE("k"), OWNER(0)), OWNER(2));
    marks_remove(&marks, &third);
    assert_null(marks_clash_read(&marks, SLICE("k"), OWNER(0)));
    assert_ptr_equal(marks_clash_write(&marks, SLICE("k"), OWNER(0)), OWNER(1));
    marks_remove(&marks, &second);
    assert_null(marks_clash_write(&marks, SLICE("k"), OWNER(0)));
    assert_ptr_equal(marks_clash_write(&marks, SLICE("a"), OWNER(1)), OWNER(0));
    marks_remove(&marks, &other);
    assert_true(marks_none(&marks));
}

static void a_read_mark_can_become_a_write_mark(void **state) {
    (void)state;
    struct marks marks = {0};
    struct mark mark = {0};
    place(&marks, &mark, "k", false, 0);
    place(&marks, &mark, "k", true, 0);
    assert_int_equal(marks.count, 1);
    assert_ptr_equal(marks_clash_read(&marks, SLICE("k"), OWNER(1)), OWNER(0));
    marks_remove(&marks, &mark);
    assert_true(marks_none(&marks));
}

#define MANY 300

/* Against a plain list: many marks placed and removed in a scrambled order. */
static void many_marks_answer_as_a_list_would(void **state) {
    (void)state;
    static struct mark all[MANY];
    static char keys[MANY][16];
    static bool placed[MANY];
    struct marks marks = {0};
    uint32_t random = 12345;
    for (int i = 0; i < MANY; i++)
        (void)snprintf(keys[i], sizeof keys[i], "%03d", i / 2); /* two marks a key */
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525u + 1013904223u;
        int i = (int)((random >> 8) % MANY);
        if (placed[i])
            marks_remove(&marks, &all[i]);
        else
            place(&marks, &all[i], keys[i], i % 4 < 2, i % 2);
        placed[i] = !placed[i];
        int probe = (int)((random >> 16) % MANY);
        bool clash = false;
        for (int j = probe / 2 * 2; j < probe / 2 * 2 + 2; j++)
            clash |= placed[j] && j % 2 != 0 && j % 4 < 2;
        struct slice key = slice_of(keys[probe], 3);
        assert_int_equal(marks_clash_read(&marks, key, OWNER(0)) != NULL, clash);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_clash_with_writes_only),
        cmocka_unit_test(writers_clash_with_reads_writes_and_intervals),
        cmocka_unit_test(nobody_clashes_with_itself),
        cmocka_unit_test(a_range_clashes_with_a_write_inside_it_only),
        cmocka_unit_test(several_marks_on_a_key_are_each_removed_alone),
        cmocka_unit_test(a_read_mark_can_become_a_write_mark),
        cmocka_unit_test(many_marks_answer_as_a_list_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
