/* The slot table over all shard counts that there can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/slots.h"

/* One shard more moves slots only to the new shard, and no more of them than its share. */
static void test_growing_moves_slots_only_to_the_new_shard(void **state) {
    (void)state;
    struct slots before, after;
    slots_init(&before, 1);
    for (unsigned shards = 2; shards <= SHARDS_MAX; shards++) {
        slots_init(&after, shards);
        unsigned moved = 0;
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            if (after.owner[slot] == before.owner[slot])
                continue;
            assert_int_equal(after.owner[slot], shards - 1);
            moved++;
        }
        assert_int_equal(moved, SLOT_COUNT / shards);
        before = after;
    }
}

/* At every count, no shard owns more than one slot more than another. */
static void test_shares_differ_by_one_slot_at_most(void **state) {
    (void)state;
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        struct slots slots;
        slots_init(&slots, shards);
        unsigned owned[SHARDS_MAX] = {0};
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            assert_true(slots.owner[slot] < shards);
            owned[slots.owner[slot]]++;
        }
        for (unsigned shard = 0; shard < shards; shard++) {
            assert_in_range(owned[shard], SLOT_COUNT / shards, SLOT_COUNT / shards + 1);
        }
    }
}

/* A shard's slots lie scattered over the ring: between two of them there is never a gap of more
 * than twelve times the mean, and neighbours often differ, so that no run of slots is one shard's.
 */
static void test_slots_of_a_shard_are_scattered(void **state) {
    (void)state;
    for (unsigned shards = 2; shards <= SHARDS_MAX; shards++) {
        struct slots slots;
        slots_init(&slots, shards);
        unsigned last[SHARDS_MAX] = {0}, changes = 0;
        for (unsigned at = 0; at < 2 * SLOT_COUNT; at++) {
            unsigned owner = slots.owner[at % SLOT_COUNT];
            assert_true(at < SLOT_COUNT || at - last[owner] <= 12 * shards);
            last[owner] = at;
            changes += owner != slots.owner[(at + 1) % SLOT_COUNT];
        }
        assert_true(changes >= SLOT_COUNT / 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growing_moves_slots_only_to_the_new_shard),
        cmocka_unit_test(test_shares_differ_by_one_slot_at_most),
        cmocka_unit_test(test_slots_of_a_shard_are_scattered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
