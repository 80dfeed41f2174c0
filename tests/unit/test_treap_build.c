/* Building a treap in order: what comes out is what puts would have made. */
#include <setjmp.h>
#include <stdarg.h>
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

static uint64_t version_of(unsigned number) {
    return 1 + number * 7919u % 100003u;
}

/* The key is its own value. */
static enum status add(struct treap_builder *builder, unsigned number, uint64_t hash_mask) {
    char bytes[NAME_BYTES];
    struct slice key = name(number, bytes);
    return treap_builder_add(builder, key, hash_key(key, 5) & hash_mask, key, version_of(number));
}

static struct treap_builder *begin(struct treap *treap, size_t keys) {
    struct treap_builder *builder;
    assert_int_equal(treap_builder_begin(treap, keys, &builder), ST_OK);
    return builder;
}

static void build(struct treap *treap, unsigned keys, size_t announced, uint64_t hash_mask) {
    struct treap_builder *builder = begin(treap, announced);
    for (unsigned i = 0; i < keys; i++)
        assert_int_equal(add(builder, i, hash_mask), ST_OK);
    treap_builder_finish(builder);
}

static void put_all(struct treap *treap, unsigned keys, uint64_t hash_mask) {
    for (unsigned i = 0; i < keys; i++) {
        char bytes[NAME_BYTES];
        struct slice key = name(i, bytes);
        struct treap_staged staged;
        assert_int_equal(
            treap_stage_put(treap, key, hash_key(key, 5) & hash_mask, key, &staged), ST_OK);
        treap_install_put(treap, &staged, version_of(i));
    }
}

/* Asserts that all nodes have the same children and figures in both. */
static void expect_same(
    const struct treap *a, const struct treap *b, unsigned keys, uint64_t hash_mask) {
    treap_check(a);
    assert_int_equal(treap_count(a), keys);
    assert_int_equal(treap_bytes(a), treap_bytes(b));
    assert_int_equal(treap_applied_lsn(a), treap_applied_lsn(b));
    for (unsigned i = 0; i < keys; i++) {
        char bytes[NAME_BYTES];
        struct slice key = name(i, bytes);
        uint64_t hash = hash_key(key, 5) & hash_mask;
        const struct treap_node *x = treap_find(a, key, hash), *y = treap_find(b, key, hash);
        assert_non_null(x);
        assert_true(slice_equal(treap_value(x), key));
        assert_int_equal(treap_version(x), version_of(i));
        assert_int_equal(x->count, y->count);
        assert_int_equal(x->version_max, y->version_max);
        const struct treap_node *sides[2][2] = {{x->left, y->left}, {x->right, y->right}};
        for (unsigned side = 0; side < 2; side++) {
            assert_int_equal(sides[side][0] != NULL, sides[side][1] != NULL);
            if (sides[side][0])
                assert_true(slice_equal(treap_key(sides[side][0]), treap_key(sides[side][1])));
        }
    }
}

/* Any number of keys, announced rightly, wrongly or not at all, with good hashes and bad ones. */
static void test_builds_what_puts_would_make(void **state) {
    (void)state;
    static const unsigned counts[] = {0, 1, 2, 3, 100, 5000};
    static const uint64_t masks[] = {UINT64_MAX, 0xff, 0};
    for (unsigned i = 0; i < 6; i++)
        for (unsigned mask = 0; mask < 3; mask++) {
            unsigned keys = mask ? counts[i] / 10 : counts[i];
            size_t announced[] = {0, keys, 10 * (size_t)keys, keys / 10};
            for (unsigned j = 0; j < 4; j++) {
                struct treap *built, *put;
                assert_int_equal(treap_create(i, &built), ST_OK);
                assert_int_equal(treap_create(i, &put), ST_OK);
                build(built, keys, announced[j], masks[mask]);
                put_all(put, keys, masks[mask]);
                expect_same(built, put, keys, masks[mask]);
                treap_destroy(built);
                treap_destroy(put);
            }
        }
}

/* A built treap goes on as any other: it is written to, frozen and thawed. */
static void test_a_built_treap_is_like_any_other(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 2000 };
    build(treap, KEYS, KEYS, UINT64_MAX);
    struct treap_frozen *frozen;
    assert_int_equal(treap_freeze(treap, &frozen), ST_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        char bytes[NAME_BYTES];
        struct slice key = name(i, bytes);
        struct treap_staged staged;
        assert_int_equal(treap_stage_delete(treap, key, hash_key(key, 5), &staged), ST_OK);
        assert_true(treap_install_delete(treap, &staged, 200000 + i));
    }
    treap_check(treap);
    assert_int_equal(treap_frozen_count(frozen), KEYS);
    assert_true(treap_thaw(treap, SIZE_MAX));
    assert_int_equal(treap_count(treap), 0);
}

/* Whichever allocation fails, the key concerned is not there and can be added again; the rest is.
 */
static void test_every_allocation_may_fail(void **state) {
    struct treap *treap = *state;
    enum { KEYS = 3000 };
    struct slab *slab = treap_slab(treap);
    struct treap_builder *builder;
    uint64_t failures = 0;
    size_t used = slab_used(slab);
    for (;; failures++) {
        slab_fail_after(slab, failures);
        if (treap_builder_begin(treap, KEYS / 2, &builder) == ST_OK)
            break;
        assert_int_equal(slab_used(slab), used);
    }
    assert_true(failures > 2);
    for (unsigned i = 0; i < KEYS; i++) {
        for (failures = 0;; failures++) {
            slab_fail_after(slab, failures);
            if (add(builder, i, UINT64_MAX) == ST_OK)
                break;
        }
        assert_in_range(failures, 2, 5);
    }
    slab_fail_after(slab, SLAB_FAIL_NEVER);
    treap_builder_finish(builder);
    treap_check(treap);
    assert_int_equal(treap_count(treap), KEYS);
}

/* A builder that ends early leaves what was added. */
static void test_ending_early(void **state) {
    struct treap *treap = *state;
    treap_builder_finish(NULL);
    treap_builder_finish(begin(treap, 1000));
    assert_int_equal(treap_count(treap), 0);
    struct treap_builder *builder = begin(treap, 0);
    assert_int_equal(add(builder, 3, UINT64_MAX), ST_OK);
    assert_int_equal(add(builder, 5, UINT64_MAX), ST_OK);
    treap_builder_finish(builder);
    assert_int_equal(treap_count(treap), 2);
    treap_check(treap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_builds_what_puts_would_make),
        TEST(test_a_built_treap_is_like_any_other),
        TEST(test_every_allocation_may_fail),
        TEST(test_ending_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
