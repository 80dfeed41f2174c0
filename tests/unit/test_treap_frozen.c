/* Frozen views of the treap: single cases, memory, and a reader on another thread. Random
 * operations against a model are in tests/property/prop_treap_frozen.c. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/hash.h"
#include "tests/support/treap_fixture.h"

#define NAME_BYTES 12

static struct slice name(unsigned number, char bytes[NAME_BYTES]) {
    (void)snprintf(bytes, NAME_BYTES, "k%08u", number);
    return slice_of(bytes, 9);
}

static uint64_t hash_of(struct slice key) {
    return hash_key(key, 5);
}

static struct slice number_value(const uint64_t *number) {
    return slice_of((const char *)number, sizeof *number);
}

static void put(struct treap *treap, unsigned number, struct slice value, uint64_t lsn) {
    char bytes[NAME_BYTES];
    struct slice key = name(number, bytes);
    struct treap_staged staged;
    assert_int_equal(treap_stage_put(treap, key, hash_of(key), value, &staged), ST_OK);
    treap_install_put(treap, &staged, lsn);
}

static bool delete (struct treap *treap, unsigned number, uint64_t lsn) {
    char bytes[NAME_BYTES];
    struct slice key = name(number, bytes);
    struct treap_staged staged;
    assert_int_equal(treap_stage_delete(treap, key, hash_of(key), &staged), ST_OK);
    return treap_install_delete(treap, &staged, lsn);
}

static struct treap_frozen *freeze(struct treap *treap) {
    struct treap_frozen *frozen;
    assert_int_equal(treap_freeze(treap, &frozen), ST_OK);
    return frozen;
}

static void thaw_all(struct treap *treap) {
    assert_true(treap_thaw(treap, SIZE_MAX));
}

/* Keys 0 .. keys - 1, each with its number as value and version number + 1. */
static void fill(struct treap *treap, unsigned keys) {
    for (unsigned i = 0; i < keys; i++) {
        uint64_t value = i;
        put(treap, i, number_value(&value), i + 1);
    }
}

/* Asserts that the view shows what fill made. */
static void expect_filled(const struct treap_frozen *frozen, unsigned keys) {
    struct treap_cursor cursor;
    treap_cursor_init(&cursor, frozen);
    for (unsigned i = 0; i < keys; i++) {
        const struct treap_node *node = treap_cursor_next(&cursor);
        char bytes[NAME_BYTES];
        uint64_t value = i;
        assert_non_null(node);
        assert_true(slice_equal(treap_key(node), name(i, bytes)));
        assert_true(slice_equal(treap_value(node), number_value(&value)));
        assert_int_equal(treap_version(node), i + 1);
    }
    assert_null(treap_cursor_next(&cursor));
    assert_int_equal(treap_frozen_count(frozen), keys);
}

/* Changes everything that fill made: new values, deletions, deletions and new puts, new keys. */
static void change_all(struct treap *treap, unsigned keys, uint64_t *lsn) {
    for (unsigned i = 0; i < keys; i++) {
        uint64_t value = UINT64_MAX - i;
        if (i % 3)
            put(treap, i, number_value(&value), ++*lsn);
        if (i % 3 != 1)
            assert_true(delete (treap, i, ++*lsn));
        if (i % 3 == 2)
            put(treap, i, number_value(&value), ++*lsn);
        put(treap, keys + i, number_value(&value), ++*lsn);
    }
}

/* A view of an empty treap is empty, also when keys come. */
static void test_a_view_of_nothing(void **state) {
    struct treap *treap = *state;
    struct treap_frozen *frozen = freeze(treap);
    fill(treap, 10);
    expect_filled(frozen, 0);
    assert_int_equal(treap_frozen_bytes(frozen), 0);
    assert_int_equal(treap_frozen_applied_lsn(frozen), 0);
    thaw_all(treap);
    treap_check(treap);
}

/* The view stays while everything is changed, and the treap has what was changed. */
static void test_a_view_stays(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 3000 };
    fill(treap, KEYS);
    uint64_t lsn = KEYS;
    assert_true(delete (treap, KEYS - 1, ++lsn));
    struct treap_frozen *frozen = freeze(treap);
    assert_int_equal(treap_frozen_applied_lsn(frozen), KEYS + 1); /* the delete counts */
    assert_int_equal(treap_frozen_bytes(frozen), (KEYS - 1) * (9 + sizeof(uint64_t)));
    change_all(treap, KEYS - 1, &lsn);
    treap_check(treap);
    expect_filled(frozen, KEYS - 1);
    assert_int_equal(treap_frozen_applied_lsn(frozen), KEYS + 1);
    assert_int_equal(treap_applied_lsn(treap), lsn);
    assert_int_equal(treap_count(treap), (KEYS - 1) / 3 * 2 + 1 + KEYS - 1);
    while (!treap_thaw(treap, 100))
        treap_check(treap);
    treap_check(treap);
}

/* What a thaw gives back is all that the view cost: a view during which nothing is changed costs
 * nothing, and one during which values are replaced by others of their size leaves nothing. */
static void test_memory_comes_back(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 3000 };
    fill(treap, KEYS);
    uint64_t lsn = KEYS, value = 1;
    for (unsigned round = 0; round < 3; round++) {
        size_t used = slab_used(treap_slab(treap));
        (void)freeze(treap);
        assert_int_equal(slab_used(treap_slab(treap)), used);
        for (unsigned i = 0; i < KEYS; i++)
            put(treap, i, number_value(&value), ++lsn);
        for (unsigned i = 0; i < KEYS / 2; i++) {
            assert_true(delete (treap, i, ++lsn));
            put(treap, i, number_value(&value), ++lsn);
        }
        assert_true(slab_used(treap_slab(treap)) > used + KEYS * sizeof(struct treap_node));
        thaw_all(treap);
        assert_int_equal(slab_used(treap_slab(treap)), used);
        treap_check(treap);
    }
}

/* A call of thaw gives back no more than it was told to. */
static void test_a_thaw_is_bounded(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 1000, STEP = 10 };
    fill(treap, KEYS);
    (void)freeze(treap);
    uint64_t lsn = KEYS, value = 1;
    for (unsigned i = 0; i < KEYS; i++)
        put(treap, i, number_value(&value), ++lsn);
    unsigned calls = 1;
    while (!treap_thaw(treap, STEP))
        calls++;
    assert_true(calls >= 2 * KEYS / STEP); /* each key's old node and old value */
    assert_true(calls <= 2 * KEYS / STEP + 2);
}

/* A hot key is copied once: further writes of it take no more memory than they give back. */
static void test_a_hot_key_is_copied_once(void **state) {
    struct treap *treap = *state;
    fill(treap, 1000);
    (void)freeze(treap);
    uint64_t lsn = 1000, value = 1;
    put(treap, 7, number_value(&value), ++lsn);
    size_t used = slab_used(treap_slab(treap));
    for (unsigned i = 0; i < 1000; i++)
        put(treap, 7, number_value(&value), ++lsn);
    assert_int_equal(slab_used(treap_slab(treap)), used);
    thaw_all(treap);
}

/* Writes staged before the view, during it or before one that is already gone are installed without
 * memory. */
static void test_installs_need_no_memory(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 400 };
    fill(treap, KEYS);
    static char bytes[6][NAME_BYTES];
    struct treap_staged staged[6];
    uint64_t value = 9;
    for (unsigned i = 0; i < 6; i++) {
        struct slice key = name(i < 2 ? KEYS + i : 50 * i, bytes[i]);
        enum status status =
            i >= 4 ? treap_stage_delete(treap, key, hash_of(key), &staged[i])
                   : treap_stage_put(treap, key, hash_of(key), number_value(&value), &staged[i]);
        assert_int_equal(status, ST_OK);
        if (i % 2) {
            (void)freeze(treap);
            if (i < 5)
                thaw_all(treap);
        }
    }
    slab_fail_after(treap_slab(treap), 0);
    for (unsigned i = 0; i < 6; i++) {
        if (i >= 4)
            assert_true(treap_install_delete(treap, &staged[i], KEYS + 1 + i));
        else
            treap_install_put(treap, &staged[i], KEYS + 1 + i);
    }
    slab_fail_after(treap_slab(treap), SLAB_FAIL_NEVER);
    assert_int_equal(treap_count(treap), KEYS);
    treap_check(treap);
    thaw_all(treap);
    treap_check(treap);
}

/* One scenario, in which the n-th allocation of the whole fails, for every n: staging or freezing
 * says so, the view stays, and all memory comes back. */
static bool scenario(struct treap *treap, unsigned keys) {
    char bytes[3][NAME_BYTES];
    struct slice key[3] = {name(1, bytes[0]), name(keys, bytes[1]), name(keys / 2, bytes[2])};
    struct treap_staged staged[3];
    unsigned count = 0;
    struct treap_frozen *frozen = NULL;
    enum status status =
        treap_stage_put(treap, key[0], hash_of(key[0]), SLICE("early"), &staged[0]);
    if (status == ST_OK) {
        count++;
        status = treap_freeze(treap, &frozen);
    }
    if (status == ST_OK) {
        status = treap_stage_put(treap, key[1], hash_of(key[1]), SLICE("new"), &staged[1]);
        count += status == ST_OK;
    }
    if (status == ST_OK) {
        status = treap_stage_delete(treap, key[2], hash_of(key[2]), &staged[2]);
        count += status == ST_OK;
    }
    slab_fail_after(treap_slab(treap), SLAB_FAIL_NEVER);
    treap_check(treap);
    while (count)
        treap_discard(treap, &staged[--count]);
    if (frozen)
        expect_filled(frozen, keys);
    thaw_all(treap);
    return status == ST_OK;
}

static void test_every_allocation_may_fail(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 500 };
    fill(treap, KEYS);
    assert_true(scenario(treap, KEYS));
    size_t used = slab_used(treap_slab(treap));
    uint64_t failures = 0;
    for (;; failures++) {
        slab_fail_after(treap_slab(treap), failures);
        bool whole = scenario(treap, KEYS);
        assert_int_equal(slab_used(treap_slab(treap)), used);
        treap_check(treap);
        if (whole)
            break;
    }
    assert_true(failures > 20); /* three paths of this depth */
}

/* Also when so many writes are staged that what the view keeps needs room again and again. */
static void test_many_installs_need_no_memory(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 4000 };
    fill(treap, KEYS);
    struct treap_frozen *frozen = freeze(treap);
    static char bytes[KEYS][NAME_BYTES];
    static struct treap_staged staged[KEYS];
    uint64_t value = 9;
    for (unsigned i = 0; i < KEYS; i++) {
        struct slice key = name(i, bytes[i]);
        assert_int_equal(
            treap_stage_put(treap, key, hash_of(key), number_value(&value), &staged[i]), ST_OK);
    }
    slab_fail_after(treap_slab(treap), 0);
    for (unsigned i = 0; i < KEYS; i++)
        treap_install_put(treap, &staged[i], KEYS + 1 + i);
    slab_fail_after(treap_slab(treap), SLAB_FAIL_NEVER);
    expect_filled(frozen, KEYS);
    thaw_all(treap);
    treap_check(treap);
}

static uint64_t only_value(const struct treap_node *node) {
    uint64_t value;
    assert_int_equal(treap_value(node).len, sizeof value);
    memcpy(&value, treap_value(node).data, sizeof value);
    return value;
}

/* Gives keys [first, end) new values under a view, which must go on showing `before`. */
static void renew_under_view(
    struct treap *treap, unsigned first, unsigned end, uint64_t before, uint64_t *lsn) {
    struct treap_frozen *frozen = freeze(treap);
    uint64_t value = before + 1;
    for (unsigned i = first; i < end; i++)
        put(treap, i, number_value(&value), ++*lsn);
    struct treap_cursor cursor;
    treap_cursor_init(&cursor, frozen);
    for (unsigned i = first; i < end; i++)
        assert_int_equal(only_value(treap_cursor_next(&cursor)), before);
    assert_null(treap_cursor_next(&cursor));
}

/* More views, one after the other, than there are numbers for epochs: all nodes are then renumbered
 * in steps, between which keys come and go, and none is mistaken for one of a later epoch. */
static void test_epochs_may_run_out(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 200, STEP = 5, EPOCHS = 32767 };
    uint64_t lsn = 0, value = 0;
    for (unsigned i = 0; i < KEYS; i++)
        put(treap, i, number_value(&value), ++lsn);
    unsigned first = 0, end = KEYS;
    for (unsigned round = 0; round < 2; round++) {
        renew_under_view(treap, first, end, 2 * round, &lsn); /* all are of the first epoch now */
        thaw_all(treap);
        for (unsigned view = 2; view < EPOCHS; view++) {
            (void)freeze(treap);
            assert_true(treap_thaw(treap, 1));
        }
        (void)freeze(treap);
        value = 2 * round + 1;
        unsigned steps = 1;
        for (; !treap_thaw(treap, STEP); steps++) {
            assert_true(delete (treap, first++, ++lsn));
            put(treap, end++, number_value(&value), ++lsn);
        }
        assert_true(steps >= KEYS / STEP);
        renew_under_view(treap, first, end, 2 * round + 1, &lsn);
        treap_check(treap);
        thaw_all(treap);
        /* The epochs go on from the first one. */
        for (unsigned view = 2; view < EPOCHS; view++) {
            (void)freeze(treap);
            assert_true(treap_thaw(treap, 1));
        }
        (void)freeze(treap);
        while (!treap_thaw(treap, STEP))
            continue;
    }
}

/* ---- A reader on another thread ---- */

#define SHARED_KEYS 2000u
#define PASSES 3u

struct reading {
    struct treap_frozen *frozen;
    atomic_bool done;
};

static void *read_and_say_so(void *arg) {
    struct reading *reading = arg;
    for (unsigned pass = 0; pass < PASSES; pass++)
        expect_filled(reading->frozen, SHARED_KEYS);
    atomic_store_explicit(&reading->done, true, memory_order_release);
    return NULL;
}

static bool count_node(void *ctx, const struct treap_node *node) {
    (void)node;
    ++*(size_t *)ctx;
    return true;
}

/* While another thread reads the view, again and again, its owner changes everything and reads, and
 * neither writes what the other reads (ThreadSanitizer looks on). */
static void test_a_reader_on_another_thread(void **state) {
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        uint64_t lsn = 1000000 * (round + 1);
        struct treap *fresh;
        assert_int_equal(treap_create(round, &fresh), ST_OK);
        fill(fresh, SHARED_KEYS);
        struct reading reading = {.frozen = freeze(fresh)};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, read_and_say_so, &reading), 0);
        change_all(fresh, SHARED_KEYS, &lsn);
        size_t count = 0;
        (void)treap_walk(
            fresh, SLICE(""), SLICE(""), false, round % 2, SIZE_MAX, count_node, &count);
        assert_int_equal(count, treap_count(fresh));
        for (uint64_t value = 0; !atomic_load_explicit(&reading.done, memory_order_acquire);
             value++)
            put(fresh, (unsigned)(value % (3 * SHARED_KEYS)), number_value(&value), ++lsn);
        assert_int_equal(pthread_join(thread, NULL), 0);
        thaw_all(fresh);
        treap_check(fresh);
        treap_destroy(fresh);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_view_of_nothing),
        TEST(test_a_view_stays),
        TEST(test_memory_comes_back),
        TEST(test_a_thaw_is_bounded),
        TEST(test_a_hot_key_is_copied_once),
        TEST(test_installs_need_no_memory),
        TEST(test_many_installs_need_no_memory),
        TEST(test_every_allocation_may_fail),
        TEST(test_epochs_may_run_out),
        TEST(test_a_reader_on_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
