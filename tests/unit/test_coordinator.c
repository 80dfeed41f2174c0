/* Coordinator: which path a transaction takes, and that it ends, on a stage of several shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/stage.h"
#include "tests/support/stage_verdict.h"

#define MOVES_MAX 1000000u

static struct step get(unsigned key) {
    return (struct step){.kind = STEP_GET, .key = key};
}

static struct step set(unsigned key) {
    return (struct step){.kind = STEP_SET, .key = key};
}

/* A key of the given shard, the first from `from` on. */
static unsigned key_of(struct stage *stage, unsigned shard, unsigned from) {
    while (stage_owner(stage, from) != shard)
        from++;
    assert_true(from < STAGE_KEYS);
    return from;
}

static struct stage_call *submit(
    struct stage *stage, unsigned home, const struct step *steps, unsigned count) {
    struct stage_call *call = stage_call_new(stage);
    for (unsigned i = 0; i < count; i++)
        call->steps[i] = steps[i];
    call->step_count = count;
    stage_submit(stage, call, home);
    return call;
}

static void a_hot_key_is_updated_without_conflicts_from_every_shard(void **state) {
    (void)state;
    struct stage *stage = stage_open(4, 1);
    for (unsigned i = 0; i < 400; i++) {
        submit(stage, i % 4, (struct step[]){get(0), set(0)}, 2);
        if (i % 16 == 15)
            for (unsigned moves = 0; moves < 20; moves++)
                stage_move(stage);
    }
    stage_settle(stage, MOVES_MAX);
    stage_check_history(stage);
    assert_int_equal(stage_losses(stage), 0);
    stage_close(stage);
}

static void keys_of_one_other_shard_need_no_second_phase(void **state) {
    (void)state;
    struct stage *stage = stage_open(2, 2);
    unsigned first = key_of(stage, 1, 0), second = key_of(stage, 1, first + 1);
    struct stage_call *call =
        submit(stage, 0, (struct step[]){get(first), get(second), set(first), set(second)}, 4);
    stage_settle(stage, MOVES_MAX);
    assert_int_equal(call->call.outcome, ST_OK);
    assert_int_equal(
        call->attempts, 2); /* the one that found the key elsewhere, and the one there */
    stage_close(stage);
}

static void two_shards_without_contention_abort_nothing(void **state) {
    (void)state;
    struct stage *stage = stage_open(2, 3);
    unsigned here = key_of(stage, 0, 0), there = key_of(stage, 1, 0);
    for (unsigned i = 0; i < 50; i++) {
        struct step steps[] = {get(here), get(there), set(here), set(there)};
        struct stage_call *call = submit(stage, i % 2, steps, 4);
        stage_settle(stage, MOVES_MAX);
        assert_int_equal(call->call.outcome, ST_OK);
        assert_int_equal(call->call.losses, 0);
    }
    stage_check_history(stage);
    stage_close(stage);
}

static void write_skew_is_refused(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct stage *stage = stage_open(2, seed);
        unsigned x = key_of(stage, 0, 0), y = key_of(stage, 1, 0);
        submit(stage, 0, (struct step[]){get(x), get(y), set(y)}, 3);
        submit(stage, 1, (struct step[]){get(y), get(x), set(x)}, 3);
        stage_settle(stage, MOVES_MAX);
        stage_check_history(stage);
        stage_close(stage);
    }
}

static void a_long_transaction_finishes_among_short_ones(void **state) {
    (void)state;
    struct stage *stage = stage_open(3, 5);
    struct step steps[STAGE_STEPS_MAX];
    for (unsigned i = 0; i < STAGE_STEPS_MAX; i++)
        steps[i] = i % 2 ? (struct step){.kind = STEP_YIELD} : get(i);
    steps[STAGE_STEPS_MAX - 1] = set(0);
    struct stage_call *slow = submit(stage, 0, steps, STAGE_STEPS_MAX);
    unsigned short_ones = 0;
    for (; !slow->released && short_ones < 20000; short_ones++) {
        unsigned key = (unsigned)stage_random(stage, STAGE_STEPS_MAX);
        submit(stage, short_ones % 3, (struct step[]){get(key), set(key)}, 2);
        for (unsigned moves = 0; moves < 6; moves++)
            stage_move(stage);
    }
    assert_true(slow->released);
    assert_int_equal(slow->call.outcome, ST_OK);
    assert_true(slow->call.losses >= 3); /* it needed the ticket */
    stage_settle(stage, MOVES_MAX);
    stage_check_history(stage);
    stage_close(stage);
}

static void a_declared_transaction_over_shards_runs_once(void **state) {
    (void)state;
    struct stage *stage = stage_open(3, 6);
    struct stage_call *call = stage_call_new(stage);
    for (unsigned i = 0; i < 10; i++)
        call->steps[i] = i % 2 ? set(i / 2) : (struct step){.kind = STEP_VERSION, .key = i / 2};
    call->step_count = 10;
    call->declares = true;
    stage_submit(stage, call, 0);
    stage_settle(stage, MOVES_MAX);
    assert_int_equal(call->call.outcome, ST_OK);
    assert_int_equal(call->attempts, 1);
    stage_check_history(stage);
    stage_close(stage);
}

/* A reader sees a key absent, then what another transaction wrote while the key was there for a
 * moment: that is true only since the delete, so its reply rests on the delete being durable. */
static void a_key_that_came_and_went_is_not_taken_for_one_that_stayed_away(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        unsigned shards = seed % 2 ? 1 : 3;
        struct stage *stage = stage_open(shards, seed);
        unsigned key = key_of(stage, 0, 0), near = key_of(stage, shards / 2, key + 1),
                 far = key_of(stage, shards - 1, near + 1);
        struct step yield = {.kind = STEP_YIELD}, deletes = {.kind = STEP_DELETE, .key = key};
        submit(stage, 0, (struct step[]){get(far), get(key), yield, get(near), yield}, 5);
        struct stage_call *puts = submit(stage, 0, (struct step[]){set(key), set(near)}, 2);
        struct stage_call *call = stage_call_new(stage);
        call->steps[0] = deletes;
        call->steps[1] = set(far);
        call->step_count = shards == 1 ? 1 : 2;
        stage_submit_after(stage, call, puts);
        stage_settle(stage, MOVES_MAX);
        stage_check_history(stage);
        stage_close(stage);
    }
}

/* Declared walks that turn out longer than announced read on while they hold their marks; writers
 * into them lose until they have the ticket. */
static void a_prepared_walk_and_the_ticket_holder_do_not_wait_for_each_other(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct stage *stage = stage_open(2, seed);
        for (unsigned key = 0; key < STAGE_KEYS; key++)
            submit(stage, 0, (struct step[]){set(key)}, 1);
        stage_settle(stage, MOVES_MAX);
        for (unsigned i = 0; i < 40; i++) {
            struct stage_call *walk = stage_call_new(stage);
            walk->steps[0] = (struct step){
                .kind = STEP_RANGE, .to = STAGE_KEYS, .limit = STAGE_KEYS, .expect = 1};
            walk->step_count = 1;
            walk->declares = true;
            stage_submit(stage, walk, i % 2);
            unsigned key = (unsigned)stage_random(stage, STAGE_KEYS);
            submit(stage, i % 2, (struct step[]){get(key), set(key)}, 2);
            for (unsigned moves = 0; moves < 12; moves++)
                stage_move(stage);
        }
        stage_settle(stage, MOVES_MAX);
        stage_check_history(stage);
        stage_close(stage);
    }
}

static void a_batch_of_many_reads_is_bounded_before_it_runs(void **state) {
    (void)state;
    struct stage *stage = stage_open_bounded(2, 10, 16384);
    for (unsigned key = 0; key < STAGE_KEYS; key++)
        submit(stage, 0, (struct step[]){set(key)}, 1);
    stage_settle(stage, MOVES_MAX);
    for (unsigned count = 1; count <= STAGE_STEPS_MAX; count += STAGE_STEPS_MAX - 1) {
        struct stage_call *call = stage_call_new(stage);
        for (unsigned i = 0; i < count; i++)
            call->steps[i] = (struct step){
                .kind = STEP_RANGE, .to = STAGE_KEYS, .limit = STAGE_KEYS, .closes = true};
        call->step_count = count;
        call->declares = true;
        stage_submit(stage, call, 0);
        stage_settle(stage, MOVES_MAX);
        assert_int_equal(call->call.outcome, count == 1 ? ST_OK : ST_TOO_LARGE);
        assert_int_equal(call->attempts, count == 1 ? 1 : 0);
    }
    stage_close(stage);
}

static void a_full_log_refuses_writes_and_not_reads(void **state) {
    (void)state;
    struct stage *stage = stage_open(2, 7);
    stage_refuse_log(stage, true);
    struct stage_call *here = submit(stage, 0, (struct step[]){set(key_of(stage, 0, 0))}, 1);
    struct stage_call *there = submit(stage, 0, (struct step[]){set(key_of(stage, 1, 0))}, 1);
    struct stage_call *both = submit(stage, 0, (struct step[]){set(0), set(1), set(2), set(3)}, 4);
    struct stage_call *reader = submit(stage, 0, (struct step[]){get(0), get(1), get(2)}, 3);
    stage_settle(stage, MOVES_MAX);
    assert_int_equal(here->call.outcome, ST_BUSY);
    assert_int_equal(there->call.outcome, ST_BUSY);
    assert_int_equal(both->call.outcome, ST_BUSY);
    assert_int_equal(reader->call.outcome, ST_OK);
    stage_close(stage);
}

static void an_expired_call_says_so_and_holds_nothing(void **state) {
    (void)state;
    struct stage *stage = stage_open(2, 8);
    struct stage_call *call = submit(stage, 0, (struct step[]){get(0), get(1), set(1)}, 3);
    call->call.deadline_ns = stage_now_ns(stage);
    struct stage_call *next = submit(stage, 1, (struct step[]){get(0), get(1), set(1)}, 3);
    stage_settle(stage, MOVES_MAX);
    assert_int_equal(call->call.outcome, ST_TIMEOUT);
    assert_int_equal(next->call.outcome, ST_OK);
    stage_close(stage);
}

static void a_rollback_writes_nothing(void **state) {
    (void)state;
    struct stage *stage = stage_open(2, 9);
    struct stage_call *call = stage_call_new(stage);
    call->steps[0] = get(0);
    call->steps[1] = set(0);
    call->steps[2] = set(1);
    call->step_count = 3;
    call->rolls_back = true;
    stage_submit(stage, call, 0);
    stage_settle(stage, MOVES_MAX);
    assert_true(call->finished);
    struct stage_call *reader = submit(stage, 1, (struct step[]){get(0), get(1)}, 2);
    stage_settle(stage, MOVES_MAX);
    assert_int_equal(reader->seen[0].value.version, 0);
    assert_int_equal(reader->seen[1].value.version, 0);
    stage_close(stage);
}

/* A call that is preempted again and again, all of them of one route. */
static struct stage_call *submit_slow(struct stage *stage) {
    struct step steps[STAGE_STEPS_MAX];
    for (unsigned i = 0; i < STAGE_STEPS_MAX; i++)
        steps[i] = (struct step){.kind = STEP_YIELD};
    return submit(stage, 0, steps, STAGE_STEPS_MAX);
}

/* A call of another route that is soon done. */
static struct stage_call *submit_quick(struct stage *stage) {
    struct stage_call *call = stage_call_new(stage);
    call->steps[0] = get(0);
    call->step_count = 1;
    call->call.label = 1;
    stage_submit(stage, call, 0);
    return call;
}

static void a_quick_call_waits_for_no_slow_ones(void **state) {
    (void)state;
    struct stage *stage = stage_open(1, 11);
    for (unsigned i = 0; i < 900; i++)
        submit_slow(stage);
    for (unsigned turns = 0; turns < 5; turns++)
        stage_turn(stage, 0);
    for (unsigned i = 0; i < 90; i++)
        submit_slow(stage); /* by now their route is known */
    struct stage_call *quick = submit_quick(stage);
    stage_turn(stage, 0);
    assert_true(quick->committed_seen);
    stage_settle(stage, MOVES_MAX);
    stage_close(stage);
}

static void quick_calls_without_end_let_a_slow_one_through(void **state) {
    (void)state;
    struct stage *stage = stage_open(1, 12);
    struct stage_call *slow = submit_slow(stage);
    unsigned turns = 0;
    for (; !slow->committed_seen && turns < 2 * STAGE_STEPS_MAX; turns++) {
        for (unsigned i = 0; i < 300; i++) /* more than a turn takes */
            if (shard_in_flight(stage_shard(stage, 0)) < 1000)
                submit_quick(stage);
        stage_turn(stage, 0);
    }
    assert_true(slow->committed_seen);
    stage_settle(stage, MOVES_MAX);
    stage_close(stage);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hot_key_is_updated_without_conflicts_from_every_shard),
        cmocka_unit_test(keys_of_one_other_shard_need_no_second_phase),
        cmocka_unit_test(two_shards_without_contention_abort_nothing),
        cmocka_unit_test(write_skew_is_refused),
        cmocka_unit_test(a_long_transaction_finishes_among_short_ones),
        cmocka_unit_test(a_declared_transaction_over_shards_runs_once),
        cmocka_unit_test(a_key_that_came_and_went_is_not_taken_for_one_that_stayed_away),
        cmocka_unit_test(a_prepared_walk_and_the_ticket_holder_do_not_wait_for_each_other),
        cmocka_unit_test(a_batch_of_many_reads_is_bounded_before_it_runs),
        cmocka_unit_test(a_full_log_refuses_writes_and_not_reads),
        cmocka_unit_test(an_expired_call_says_so_and_holds_nothing),
        cmocka_unit_test(a_rollback_writes_nothing),
        cmocka_unit_test(a_quick_call_waits_for_no_slow_ones),
        cmocka_unit_test(quick_calls_without_end_let_a_slow_one_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
