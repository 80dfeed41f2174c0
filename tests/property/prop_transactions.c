/* Property: whatever order messages, turns and syncs come in, every call's result is strictly
 * serializable: a writer's reads hold at its LSN, a reader's at one LSN within its request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/stage.h"

#define CALLS_A_RUN 60u

struct mix {
    unsigned keys; /* of the first STAGE_KEYS */
    bool ranges, yields;
    unsigned in_flight;
};

static void random_step(struct stage *stage, const struct mix *mix, struct step *step) {
    uint64_t pick = stage_random(stage, 20);
    step->key = (unsigned)stage_random(stage, mix->keys);
    step->kind = pick < 7                   ? STEP_GET
                 : pick < 8                 ? STEP_VERSION
                 : pick < 13                ? STEP_SET
                 : pick < 16                ? STEP_DELETE
                 : pick < 18 && mix->ranges ? STEP_RANGE
                 : mix->yields              ? STEP_YIELD
                                            : STEP_GET;
    if (step->kind == STEP_RANGE) {
        step->to = step->key + 1 + (unsigned)stage_random(stage, mix->keys);
        step->limit = 1 + (unsigned)stage_random(stage, 12);
        step->reverse = stage_random(stage, 2);
    }
}

static void submit_random(struct stage *stage, const struct mix *mix, unsigned shards) {
    struct stage_call *call = stage_call_new(stage);
    call->step_count = 1 + (unsigned)stage_random(stage, 6);
    for (unsigned i = 0; i < call->step_count; i++)
        random_step(stage, mix, &call->steps[i]);
    call->declares = stage_random(stage, 4) == 0;
    call->rolls_back = stage_random(stage, 8) == 0;
    stage_submit(stage, call, (unsigned)stage_random(stage, shards));
}

static uint64_t run(unsigned shards, uint64_t seed, const struct mix *mix) {
    struct stage *stage = stage_open(shards, seed);
    for (unsigned i = 0; i < CALLS_A_RUN; i++) {
        submit_random(stage, mix, shards);
        for (uint64_t moves = stage_random(stage, 400 / mix->in_flight); moves > 0; moves--)
            stage_move(stage);
    }
    stage_settle(stage, 2000000);
    stage_check_history(stage);
    uint64_t losses = stage_losses(stage);
    stage_close(stage);
    return losses;
}

static void run_seeds(const struct mix *mix, const char *name) {
    static const unsigned counts[] = {1, 2, 3, 8};
    uint64_t first = getenv("CONCAVE_SEED") ? strtoull(getenv("CONCAVE_SEED"), NULL, 10) : 1;
    uint64_t seeds = getenv("CONCAVE_SEEDS") ? strtoull(getenv("CONCAVE_SEEDS"), NULL, 10) : 150;
    uint64_t losses = 0;
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (uint64_t seed = first; seed < first + seeds; seed++) {
            fprintf(
                stderr, "\r%s: %u shards, seed %llu ", name, counts[i], (unsigned long long)seed);
            losses += run(counts[i], seed, mix);
        }
    fprintf(stderr, "\n%s: %llu calls, %llu attempts lost and run again\n", name,
        (unsigned long long)(4 * seeds * CALLS_A_RUN), (unsigned long long)losses);
}

static void point_transactions_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = 6, .yields = true, .in_flight = 8}, "points");
}

static void ranges_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = STAGE_KEYS, .ranges = true, .in_flight = 8}, "ranges");
}

static void hot_keys_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = 3, .ranges = true, .yields = true, .in_flight = 40}, "hot");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(point_transactions_are_strictly_serializable),
        cmocka_unit_test(ranges_are_strictly_serializable),
        cmocka_unit_test(hot_keys_are_strictly_serializable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
