/* The allocator: blocks do not overlap, are aligned, come back, and are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/slab.h"

static int setup(void **state) {
    struct slab *slab = malloc(sizeof *slab);
    assert_non_null(slab);
    slab_init(slab);
    *state = slab;
    return 0;
}

static int teardown(void **state) {
    slab_destroy(*state);
    free(*state);
    return 0;
}

/* A fresh allocator has taken nothing from the system. */
static void test_a_fresh_slab_costs_nothing(void **state) {
    struct slab *slab = *state;
    assert_int_equal(slab_memory(slab), 0);
    assert_int_equal(slab_used(slab), 0);
}

/* Every size up to a little over the small ones gives its own aligned bytes (whole cache lines on a
 * line): each block keeps what was written to it while all others are written too. */
static void test_blocks_of_all_sizes_are_aligned_and_apart(void **state) {
    struct slab *slab = *state;
    enum { SIZES = SLAB_SMALL_MAX + 64, ROUNDS = 3 };
    static unsigned char *blocks[ROUNDS][SIZES];
    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t bytes = 0; bytes < SIZES; bytes++) {
            unsigned char *block = slab_alloc(slab, bytes);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % (bytes == 0 || bytes % 64 ? 8 : 64), 0);
            memset(block, (int)((round * 7 + bytes) & 0xff), bytes);
            blocks[round][bytes] = block;
        }
    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t bytes = 0; bytes < SIZES; bytes++) {
            unsigned char *block = blocks[round][bytes];
            for (size_t i = 0; i < bytes; i++)
                if (block[i] != ((round * 7 + bytes) & 0xff))
                    fail_msg("block of %zu bytes overwritten at %zu", bytes, i);
            slab_free(slab, block, bytes);
        }
    assert_int_equal(slab_used(slab), 0);
}

/* A block's rounding is at most 7 bytes up to 512, and an eighth above. */
static void test_rounding_is_small(void **state) {
    struct slab *slab = *state;
    for (size_t bytes = 1; bytes <= SLAB_SMALL_MAX; bytes++) {
        void *block = slab_alloc(slab, bytes);
        size_t used = slab_used(slab);
        assert_true(used >= bytes);
        assert_true(bytes <= 512 ? used - bytes < 8 : used - bytes < bytes / 8);
        slab_free(slab, block, bytes);
    }
}

/* Blocks given back are handed out again: the same work twice takes no more from the system. */
static void test_freed_blocks_are_used_again(void **state) {
    struct slab *slab = *state;
    enum { BLOCKS = 5000 };
    static void *blocks[BLOCKS];
    size_t memory = 0;
    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            assert_non_null(blocks[i] = slab_alloc(slab, 16 + i % 200));
        if (round == 0)
            memory = slab_memory(slab);
        assert_int_equal(slab_memory(slab), memory);
        for (size_t i = 0; i < BLOCKS; i++)
            slab_free(slab, blocks[i], 16 + i % 200);
    }
}

/* Many small blocks cost little more from the system than their own bytes. */
static void test_overhead_of_many_small_blocks_is_small(void **state) {
    struct slab *slab = *state;
    for (size_t i = 0; i < 300000; i++)
        assert_non_null(slab_alloc(slab, i % 2 ? 72 : 24));
    assert_true(slab_memory(slab) - slab_used(slab) < (4u << 20));
}

/* Large blocks go back to the system at once, in whatever order they are freed. */
static void test_large_blocks_go_back_at_once(void **state) {
    struct slab *slab = *state;
    static const size_t sizes[] = {SLAB_SMALL_MAX + 1, 10000, 1u << 20, 50000};
    static const size_t order[] = {1, 3, 0, 2};
    void *blocks[4];
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(blocks[i] = slab_alloc(slab, sizes[i]));
        memset(blocks[i], 1, sizes[i]);
    }
    assert_int_equal(slab_used(slab), SLAB_SMALL_MAX + 1 + 10000 + (1u << 20) + 50000);
    for (size_t i = 0; i < 4; i++)
        slab_free(slab, blocks[order[i]], sizes[order[i]]);
    assert_int_equal(slab_used(slab), 0);
    assert_int_equal(slab_memory(slab), 0);
}

/* Destroying frees what is still handed out (the leak checker looks on) and leaves a usable slab.
 */
static void test_destroy_frees_everything(void **state) {
    struct slab *slab = *state;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t bytes = 1; bytes < 3 * SLAB_SMALL_MAX; bytes += 97)
            assert_non_null(slab_alloc(slab, bytes));
        slab_destroy(slab);
        assert_int_equal(slab_used(slab), 0);
        assert_int_equal(slab_memory(slab), 0);
    }
}

/* After slab_fail_after(n), n allocations work and all later ones fail, small or large, until it is
 * ended; freeing works throughout, and freeing NULL does nothing. */
static void test_allocations_fail_on_request(void **state) {
    struct slab *slab = *state;
    slab_fail_after(slab, 2);
    void *block = slab_alloc(slab, 10);
    assert_non_null(block);
    assert_non_null(slab_alloc(slab, 10000));
    assert_null(slab_alloc(slab, 10));
    slab_free(slab, block, 10);
    slab_free(slab, NULL, 10);
    assert_null(slab_alloc(slab, 10));
    assert_null(slab_alloc(slab, 10000));
    slab_fail_after(slab, SLAB_FAIL_NEVER);
    assert_non_null(slab_alloc(slab, 10));
}

/* A size that no machine has is refused, not wrapped round. */
static void test_absurd_sizes_are_refused(void **state) {
    struct slab *slab = *state;
    volatile size_t absurd = SIZE_MAX; /* volatile: the compiler would warn about it */
    assert_null(slab_alloc(slab, absurd));
    assert_null(slab_alloc(slab, absurd - 8));
    assert_int_equal(slab_memory(slab), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_fresh_slab_costs_nothing),
        TEST(test_blocks_of_all_sizes_are_aligned_and_apart),
        TEST(test_rounding_is_small),
        TEST(test_freed_blocks_are_used_again),
        TEST(test_overhead_of_many_small_blocks_is_small),
        TEST(test_large_blocks_go_back_at_once),
        TEST(test_destroy_frees_everything),
        TEST(test_allocations_fail_on_request),
        TEST(test_absurd_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
