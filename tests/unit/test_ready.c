/* Who runs next: the quick first come, first served; the slow for some slices each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/ready.h"

#define TXNS 4u
#define SLICES 8u /* of the head of the slow line */

struct rig {
    struct shard shard;
    struct txn txns[TXNS];
    struct call calls[TXNS];
};

static int setup(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);
    ready_init(&rig->shard.ready);
    for (unsigned i = 0; i < TXNS; i++) {
        rig->txns[i].shard = &rig->shard;
        rig->txns[i].call = &rig->calls[i];
    }
    *state = rig;
    return 0;
}

static int teardown(void **state) {
    free(*state);
    return 0;
}

/* A new call of a route. */
static struct txn *arrive(struct rig *rig, unsigned index, unsigned label) {
    struct txn *txn = &rig->txns[index];
    rig->calls[index].label = label;
    ready_new_call(txn);
    return txn;
}

/* It runs and uses up its slice. */
static void use_slice(struct txn *txn) {
    ready_preempted(txn);
    ready_add(txn);
}

static void the_quick_are_served_as_they_come(void **state) {
    struct rig *rig = *state;
    struct ready *ready = &rig->shard.ready;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < TXNS; i++)
            ready_add(arrive(rig, i, i));
        for (unsigned i = 0; i < TXNS; i++)
            assert_ptr_equal(ready_take_quick(ready), &rig->txns[i]);
        assert_null(ready_take_quick(ready));
        assert_null(ready_take_slow(ready));
    }
}

static void who_has_used_up_a_slice_is_slow_until_its_end(void **state) {
    struct rig *rig = *state;
    struct ready *ready = &rig->shard.ready;
    struct txn *txn = arrive(rig, 0, 0);
    use_slice(txn);
    assert_null(ready_take_quick(ready));
    assert_ptr_equal(ready_take_slow(ready), txn);
    ready_add(txn); /* woken by an answer, or after a loss */
    assert_null(ready_take_quick(ready));
    assert_ptr_equal(ready_take_slow(ready), txn);
}

/* The first of the line runs until its turn is over. */
static void run_turn(struct ready *ready, struct txn *txn) {
    for (unsigned slice = 0; slice < SLICES; slice++) {
        assert_ptr_equal(ready_take_slow(ready), txn);
        use_slice(txn);
    }
}

static void the_slow_have_their_slices_one_after_another(void **state) {
    struct rig *rig = *state;
    struct ready *ready = &rig->shard.ready;
    for (unsigned i = 0; i < 3; i++)
        use_slice(arrive(rig, i, i));
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 3; i++)
            run_turn(ready, &rig->txns[i]);
    assert_ptr_equal(ready_take_slow(ready), &rig->txns[0]);
    use_slice(arrive(rig, 3, 3)); /* joins at the line's end, */
    use_slice(&rig->txns[0]);     /* whoever is in the midst of its turn */
    for (unsigned slice = 1; slice < SLICES; slice++) {
        assert_ptr_equal(ready_take_slow(ready), &rig->txns[0]);
        use_slice(&rig->txns[0]);
    }
    for (unsigned i = 1; i < TXNS; i++)
        run_turn(ready, &rig->txns[i]);
}

static void who_holds_up_others_is_quick(void **state) {
    struct rig *rig = *state;
    struct ready *ready = &rig->shard.ready;
    struct txn *holder = arrive(rig, 0, 0), *prepared = arrive(rig, 1, 1);
    holder->ticket_state = TICKET_HELD;
    prepared->prepared = true;
    use_slice(holder);
    use_slice(prepared);
    assert_ptr_equal(ready_take_quick(ready), holder);
    assert_ptr_equal(ready_take_quick(ready), prepared);
    assert_null(ready_take_slow(ready));
}

static void a_route_of_slow_calls_is_known_and_forgotten(void **state) {
    struct rig *rig = *state;
    assert_false(arrive(rig, 0, 5)->slow);
    for (unsigned i = 0; i < 4; i++) { /* slices of one call count once */
        ready_preempted(&rig->txns[0]);
        assert_false(arrive(rig, 1, 5)->slow);
    }
    for (unsigned i = 0; i < 3; i++)
        ready_preempted(arrive(rig, 0, 5));
    assert_true(arrive(rig, 0, 5)->slow);
    assert_false(arrive(rig, 1, 4)->slow);
    ready_ended(&rig->txns[0]); /* one that was soon done changes nothing, */
    assert_true(arrive(rig, 0, 5)->slow);
    ready_ended(&rig->txns[0]); /* but two do */
    assert_false(arrive(rig, 0, 5)->slow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_quick_are_served_as_they_come, setup, teardown),
        cmocka_unit_test_setup_teardown(
            who_has_used_up_a_slice_is_slow_until_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_slow_have_their_slices_one_after_another, setup, teardown),
        cmocka_unit_test_setup_teardown(who_holds_up_others_is_quick, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_route_of_slow_calls_is_known_and_forgotten, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
