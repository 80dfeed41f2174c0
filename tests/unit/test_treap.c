/* The treap: single cases. Random operations against a model are in tests/property/prop_treap.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/hash.h"
#include "tests/support/treap_fixture.h"

static struct slice text(const char *string) {
    return slice_of(string, strlen(string));
}

static uint64_t hash_of(struct slice key) {
    return hash_key(key, 5);
}

static struct treap_staged stage(struct treap *treap, const char *key, const char *value) {
    struct treap_staged staged;
    assert_int_equal(
        treap_stage_put(treap, text(key), hash_of(text(key)), text(value), &staged), ST_OK);
    return staged;
}

static void put(struct treap *treap, const char *key, const char *value, uint64_t version) {
    struct treap_staged staged = stage(treap, key, value);
    treap_install_put(treap, &staged, version);
}

static bool delete (struct treap *treap, const char *key, uint64_t lsn) {
    return treap_delete(treap, text(key), hash_of(text(key)), lsn);
}

static const struct treap_node *find(const struct treap *treap, const char *key) {
    return treap_find(treap, text(key), hash_of(text(key)));
}

static void expect(
    const struct treap *treap, const char *key, const char *value, uint64_t version) {
    const struct treap_node *node = find(treap, key);
    assert_non_null(node);
    assert_true(slice_equal(treap_key(node), text(key)));
    assert_true(slice_equal(treap_value(node), text(value)));
    assert_int_equal(treap_version(node), version);
}

static bool visit_none(void *ctx, const struct treap_node *node) {
    (void)ctx;
    (void)node;
    return true;
}

static void read_all(struct treap *treap) {
    (void)treap_walk(treap, SLICE(""), SLICE(""), false, false, SIZE_MAX, visit_none, NULL);
}

static uint64_t version_max(const struct treap *treap) {
    uint64_t count, max;
    treap_fingerprint(treap, SLICE(""), SLICE(""), false, &count, &max);
    return max;
}

/* An empty treap has no keys, no fingerprint and nothing to walk or delete. */
static void test_empty(void **state) {
    struct treap *treap = *state;
    uint64_t count = 9, max = 9;
    treap_fingerprint(treap, SLICE("a"), SLICE("b"), true, &count, &max);
    assert_int_equal(count, 0);
    assert_int_equal(max, 0);
    assert_null(find(treap, "a"));
    assert_int_equal(treap_walk(treap, SLICE(""), SLICE(""), false, true, 10, visit_none, NULL), 0);
    assert_int_equal(treap_count(treap), 0);
    assert_int_equal(treap_bytes(treap), 0);
}

/* What was put is found, with its version; a second put replaces value and version. */
static void test_put_then_find(void **state) {
    struct treap *treap = *state;
    put(treap, "key", "value", 3);
    expect(treap, "key", "value", 3);
    put(treap, "key", "a longer value", 8);
    expect(treap, "key", "a longer value", 8);
    assert_int_equal(treap_count(treap), 1);
    assert_int_equal(treap_bytes(treap), strlen("key") + strlen("a longer value"));
}

/* Empty keys, empty values and keys with zero bytes are keys and values like others. */
static void test_empty_and_binary_keys(void **state) {
    struct treap *treap = *state;
    put(treap, "", "", 1);
    expect(treap, "", "", 1);
    struct slice zero = SLICE("\0"), zeros = SLICE("\0\0");
    struct treap_staged staged;
    assert_int_equal(treap_stage_put(treap, zeros, hash_of(zeros), SLICE("v"), &staged), ST_OK);
    treap_install_put(treap, &staged, 2);
    assert_null(treap_find(treap, zero, hash_of(zero)));
    assert_non_null(treap_find(treap, zeros, hash_of(zeros)));
    treap_check(treap);
}

/* A staged put is unseen by reads, walks and figures until it is installed. */
static void test_staged_puts_are_unseen(void **state) {
    struct treap *treap = *state;
    put(treap, "old", "1", 1);
    struct treap_staged fresh = stage(treap, "new", "2"), update = stage(treap, "old", "2");
    assert_null(find(treap, "new"));
    expect(treap, "old", "1", 1);
    assert_int_equal(treap_count(treap), 1);
    assert_int_equal(
        treap_walk(treap, SLICE(""), SLICE(""), false, false, 10, visit_none, NULL), 1);
    treap_check(treap);
    treap_install_put(treap, &fresh, 2);
    treap_install_put(treap, &update, 2);
    expect(treap, "new", "2", 2);
    expect(treap, "old", "2", 2);
}

/* A discarded put leaves no trace, and its memory is used again. */
static void test_discarded_puts_leave_no_trace(void **state) {
    struct treap *treap = *state;
    put(treap, "old", "1", 1);
    size_t used = slab_used(treap_slab(treap));
    struct treap_staged fresh = stage(treap, "new", "2"), update = stage(treap, "old", "2");
    treap_discard(treap, &fresh);
    treap_discard(treap, &update);
    assert_null(find(treap, "new"));
    expect(treap, "old", "1", 1);
    assert_int_equal(slab_used(treap_slab(treap)), used);
    treap_check(treap);
}

/* Two puts staged for one absent key: the second to be installed replaces the first's value. */
static void test_two_staged_puts_of_one_new_key(void **state) {
    struct treap *treap = *state;
    struct treap_staged one = stage(treap, "key", "one"), two = stage(treap, "key", "two");
    treap_install_put(treap, &two, 1);
    treap_install_put(treap, &one, 2);
    expect(treap, "key", "one", 2);
    assert_int_equal(treap_count(treap), 1);
    treap_check(treap);
}

/* A put staged for an absent key works also if the key came and went meanwhile. */
static void test_presence_may_change_under_a_fresh_put(void **state) {
    struct treap *treap = *state;
    struct treap_staged staged = stage(treap, "key", "staged");
    put(treap, "key", "other", 1);
    assert_true(delete (treap, "key", 2));
    treap_install_put(treap, &staged, 3);
    expect(treap, "key", "staged", 3);
    treap_check(treap);
}

/* A deleted key is gone; deleting it again says that it was absent and does not move delete_lsn. */
static void test_delete(void **state) {
    struct treap *treap = *state;
    put(treap, "a", "1", 1);
    put(treap, "b", "2", 2);
    assert_true(delete (treap, "a", 3));
    assert_null(find(treap, "a"));
    assert_int_equal(treap_delete_lsn(treap), 3);
    assert_false(delete (treap, "a", 4));
    assert_int_equal(treap_delete_lsn(treap), 3);
    assert_int_equal(treap_applied_lsn(treap), 4);
    expect(treap, "b", "2", 2);
    treap_check(treap);
}

/* applied_lsn is the highest of all that was applied, in whatever order; range_lsn takes it over at
 * a range read only. */
static void test_lsns(void **state) {
    struct treap *treap = *state;
    put(treap, "a", "1", 5);
    put(treap, "b", "1", 3);
    assert_int_equal(treap_applied_lsn(treap), 5);
    assert_int_equal(treap_range_lsn(treap), 0);
    treap_range_begin(treap);
    assert_int_equal(treap_range_lsn(treap), 5);
    treap_note_applied(treap, 9);
    treap_note_applied(treap, 7);
    assert_int_equal(treap_applied_lsn(treap), 9);
    assert_int_equal(treap_range_lsn(treap), 5);
    assert_int_equal(treap_delete_lsn(treap), 0);
    read_all(treap);
    assert_int_equal(treap_range_lsn(treap), 9);
}

/* Only the first write of a key after a range read goes up the path: that is what makes a hot key
 * cheap, and it is enough for the reader. */
static void test_only_the_first_write_since_a_range_read_is_carried_up(void **state) {
    struct treap *treap = *state;
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        put(treap, key, "1", 1);
    put(treap, "m", "2", 2);
    assert_int_equal(version_max(treap), 1); /* no range was ever read */
    read_all(treap);
    put(treap, "m", "3", 3);
    assert_int_equal(version_max(treap), 3);
    put(treap, "m", "4", 4);
    treap_check(treap);
    assert_true(version_max(treap) >= 3);
    read_all(treap);
    put(treap, "m", "5", 5);
    assert_int_equal(version_max(treap), 5);
}

/* After the newest key is deleted, the highest version is that of the rest: a figure left too high
 * would make every later range read fail. */
static void test_delete_takes_the_version_with_it(void **state) {
    struct treap *treap = *state;
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        put(treap, key, "1", (uint64_t)(key[0] - 'a') + 1);
    assert_true(delete (treap, "z", 99));
    assert_int_equal(version_max(treap), 25);
}

/* Many keys, through the growth of the index: all found, in order, and gone again. */
static void test_many_keys(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 40000 };
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "key:%08u", i * 7919 % KEYS);
        put(treap, key, key, i + 1);
    }
    assert_int_equal(treap_count(treap), KEYS);
    treap_check(treap);
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "key:%08u", i);
        assert_non_null(find(treap, key));
        if (i % 3)
            assert_true(delete (treap, key, KEYS + i));
    }
    treap_check(treap);
    assert_int_equal(treap_count(treap), (KEYS + 2) / 3);
}

struct order {
    char last[16];
    bool reverse;
};

static bool visit_in_order(void *ctx, const struct treap_node *node) {
    struct order *order = ctx;
    int compared = slice_compare(text(order->last), treap_key(node));
    assert_true(order->reverse ? compared > 0 : compared < 0);
    memcpy(order->last, node->key, node->key_len);
    return true;
}

/* A walk over far more keys than it reads ahead gives all of them in order, both ways, with any
 * limit. */
static void test_long_walks(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 20000 };
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "key:%08u", i * 7919 % KEYS);
        put(treap, key, key, i + 1);
    }
    static const size_t limits[] = {1, 100, 256, 257, 1000, KEYS, SIZE_MAX};
    for (size_t i = 0; i < 14; i++) {
        struct order order = {.last = "a", .reverse = i % 2};
        if (order.reverse)
            order.last[0] = 'z';
        size_t limit = limits[i / 2];
        assert_int_equal(treap_walk(treap, SLICE(""), SLICE(""), false, order.reverse, limit,
                             visit_in_order, &order),
            limit < KEYS ? limit : KEYS);
    }
}

/* Overwriting gives the old value's memory back. */
static void test_overwriting_takes_no_memory(void **state) {
    struct treap *treap = *state;
    put(treap, "key", "value", 1);
    size_t used = slab_used(treap_slab(treap));
    for (uint64_t version = 2; version < 100; version++)
        put(treap, "key", "other", version);
    assert_int_equal(slab_used(treap_slab(treap)), used);
}

/* The shape depends on the set of keys and the seed alone, not on the order of writes. */
static void test_shape_does_not_depend_on_the_order_of_writes(void **state) {
    struct treap *treap = *state, *other;
    assert_int_equal(treap_create(42, &other), ST_OK);
    char key[16];
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        put(treap, key, "", 1);
        (void)snprintf(key, sizeof key, "%u", 999 - i);
        put(other, key, "", 1);
    }
    put(other, "extra", "", 1);
    assert_true(delete (other, "extra", 2));
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        const struct treap_node *a = find(treap, key), *b = find(other, key);
        assert_int_equal(a->count, b->count);
        assert_int_equal(a->left != NULL, b->left != NULL);
        if (a->left)
            assert_true(slice_equal(treap_key(a->left), treap_key(b->left)));
        assert_int_equal(a->right != NULL, b->right != NULL);
        if (a->right)
            assert_true(slice_equal(treap_key(a->right), treap_key(b->right)));
    }
    treap_destroy(other);
}

static unsigned depth_of(const struct treap_node *node) {
    if (!node)
        return 0;
    unsigned left = depth_of(node->left), right = depth_of(node->right);
    return 1 + (left > right ? left : right);
}

static const struct treap_node *root_of(const struct treap *treap, unsigned keys) {
    char key[16];
    for (unsigned i = 0; i < keys; i++) {
        (void)snprintf(key, sizeof key, "%08u", i);
        const struct treap_node *node = treap_find(treap, text(key), 77);
        if (node->count == keys)
            return node;
    }
    return NULL;
}

/* Keys put in order whose hashes are all equal, the worst there is, still give a shallow tree. */
static void test_equal_hashes_do_not_degenerate_the_tree(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 1000 };
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "%08u", i);
        struct treap_staged staged;
        assert_int_equal(treap_stage_put(treap, text(key), 77, SLICE(""), &staged), ST_OK);
        treap_install_put(treap, &staged, 1);
    }
    treap_check(treap);
    assert_in_range(depth_of(root_of(treap, KEYS)), 10, 50);
}

/* Whichever allocation fails, a put fails as a whole, nothing has changed, and the next try works.
 */
static void test_out_of_memory_changes_nothing(void **state) {
    struct treap *treap = *state;
    struct slab *slab = treap_slab(treap);
    char key[16];
    bool failed_at[8] = {false};
    for (unsigned i = 0; i < 6000; i++) {
        (void)snprintf(key, sizeof key, "%u", i % 5000);
        struct treap_staged staged;
        for (uint64_t n = 0;; n++) {
            size_t used = slab_used(slab), count = treap_count(treap);
            slab_fail_after(slab, n);
            enum status status =
                treap_stage_put(treap, text(key), hash_of(text(key)), text("value"), &staged);
            slab_fail_after(slab, SLAB_FAIL_NEVER);
            if (status == ST_OK)
                break;
            assert_int_equal(status, ST_NOMEM);
            assert_true(n < 8);
            failed_at[n] = true;
            assert_int_equal(treap_count(treap), count);
            /* A directory that doubled before the failure may stay: it is needed soon anyway. */
            assert_true(slab_used(slab) <= used + 1024);
        }
        slab_fail_after(slab, 0); /* the second step allocates nothing */
        treap_install_put(treap, &staged, i + 1);
        slab_fail_after(slab, SLAB_FAIL_NEVER);
    }
    for (unsigned n = 0; n < 4; n++) /* value, node, directory or half a table, half a table */
        assert_true(failed_at[n]);
    treap_check(treap);
}

/* A key or value longer than a node can say is refused; the longest key is not. */
static void test_keys_and_values_past_the_limits_are_refused(void **state) {
    struct treap *treap = *state;
    struct treap_staged staged;
    static char long_key[TREAP_KEY_BYTES_MAX + 1];
    assert_int_equal(
        treap_stage_put(treap, slice_of(long_key, sizeof long_key), 1, SLICE(""), &staged),
        ST_NOMEM);
    assert_int_equal(treap_stage_put(treap, SLICE("k"), 1,
                         slice_of(long_key, (size_t)TREAP_VALUE_BYTES_MAX + 1), &staged),
        ST_NOMEM);
    assert_int_equal(
        treap_stage_put(treap, slice_of(long_key, TREAP_KEY_BYTES_MAX), 1, SLICE("v"), &staged),
        ST_OK);
    treap_install_put(treap, &staged, 1);
    assert_non_null(treap_find(treap, slice_of(long_key, TREAP_KEY_BYTES_MAX), 1));
}

/* Memory of keys and values that were deleted serves those that come after. */
static void test_memory_is_used_again(void **state) {
    struct treap *treap = *state;
    size_t memory = 0;
    char key[16];
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            (void)snprintf(key, sizeof key, "%u:%u", round, i);
            put(treap, key, "some value", 2 * round + 1);
        }
        for (unsigned i = 0; i < 3000; i++) {
            (void)snprintf(key, sizeof key, "%u:%u", round, i);
            assert_true(delete (treap, key, 2 * round + 2));
        }
        if (round == 1)
            memory = treap_memory(treap);
    }
    assert_true(treap_memory(treap) <= memory + memory / 8);
}

/* Staged puts that are never ended go with the treap (the leak checker looks on). */
static void test_destroy_frees_staged_puts(void **state) {
    (void)stage(*state, "left", "behind");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_put_then_find),
        TEST(test_empty_and_binary_keys),
        TEST(test_staged_puts_are_unseen),
        TEST(test_discarded_puts_leave_no_trace),
        TEST(test_two_staged_puts_of_one_new_key),
        TEST(test_presence_may_change_under_a_fresh_put),
        TEST(test_delete),
        TEST(test_lsns),
        TEST(test_only_the_first_write_since_a_range_read_is_carried_up),
        TEST(test_delete_takes_the_version_with_it),
        TEST(test_many_keys),
        TEST(test_long_walks),
        TEST(test_overwriting_takes_no_memory),
        TEST(test_shape_does_not_depend_on_the_order_of_writes),
        TEST(test_equal_hashes_do_not_degenerate_the_tree),
        TEST(test_out_of_memory_changes_nothing),
        TEST(test_keys_and_values_past_the_limits_are_refused),
        TEST(test_memory_is_used_again),
        TEST(test_destroy_frees_staged_puts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
