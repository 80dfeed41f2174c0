/* The slot table: single cases. What holds over all counts is in tests/property/prop_slots.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "core/slots.h"

/* With one shard, every hash leads to it. */
static void test_one_shard_owns_everything(void **state) {
    (void)state;
    struct slots slots;
    slots_init(&slots, 1);
    assert_int_equal(slots_shard(&slots, 0), 0);
    assert_int_equal(slots_shard(&slots, UINT64_MAX), 0);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_equal(slots.owner[slot], 0);
}

/* The top 12 bits of the hash are the slot; the others play no part. */
static void test_the_top_bits_pick_the_slot(void **state) {
    (void)state;
    struct slots slots;
    slots_init(&slots, 7);
    for (uint64_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint64_t lowest = slot << 52, highest = lowest | (UINT64_MAX >> 12);
        assert_int_equal(slots_shard(&slots, lowest), slots.owner[slot]);
        assert_int_equal(slots_shard(&slots, highest), slots.owner[slot]);
    }
}

/* The same count gives the same table, whatever the memory held before. */
static void test_the_same_count_gives_the_same_table(void **state) {
    (void)state;
    struct slots one, other;
    memset(&one, 0x55, sizeof one);
    memset(&other, 0xaa, sizeof other);
    slots_init(&one, 13);
    slots_init(&other, 13);
    assert_int_equal(one.shards, 13);
    assert_int_equal(other.shards, 13);
    assert_memory_equal(one.owner, other.owner, sizeof one.owner);
}

/* The table of eight shards is the one it always was: another machine, compiler or version of ours
 * that laid it out differently would move keys between shards for nothing. */
static void test_the_table_is_the_same_everywhere(void **state) {
    (void)state;
    struct slots slots;
    slots_init(&slots, 8);
    unsigned char owners[SLOT_COUNT];
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        owners[slot] = (unsigned char)slots.owner[slot];
    assert_int_equal(XXH3_64bits(owners, sizeof owners), UINT64_C(0xb035c4a83c0d1932));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_shard_owns_everything),
        cmocka_unit_test(test_the_top_bits_pick_the_slot),
        cmocka_unit_test(test_the_same_count_gives_the_same_table),
        cmocka_unit_test(test_the_table_is_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
