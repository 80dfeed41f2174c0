/* The arena of the log (tests/sim/log_arena.h): seeded lives of log, snapshots and recovery under
 * crashes, torn and recycled bytes, damage and failing disks, all of which must hold; and each bug
 * that can be planted there must be found out.
 *
 * CONCAVE_SEED picks the first seed; a failure prints its own. CONCAVE_TEST_SCALE says how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/mutant.h"
#include "tests/sim/log_hunt.h"
#include "tests/support/scale.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"

#define SEEDS 8000u
#define SEEDS_TWICE 100u
#define HUNT_SEEDS_MAX 10000u

static uint64_t first_seed = 1;

/* ---- the clock ---- */

static uint64_t now_ns = NS_PER_S;

uint64_t clock_monotonic_ns(void) {
    return now_ns;
}

uint64_t clock_wall_ns(void) {
    return now_ns;
}

static void clock_set(uint64_t ns) {
    now_ns = ns;
}

/* ---- tests ---- */

static void every_seed_holds(void **state) {
    (void)state;
    struct log_arena_report sum = {0};
    unsigned seeds = test_scaled(SEEDS);
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++)
        if (!log_arena_run(seed, clock_set, &sum)) {
            fprintf(stderr, "CONCAVE_SEED=%llu: %s\n", (unsigned long long)seed, sum.why);
            fail();
        }
    printf("%u seeds: %llu transactions, %llu snapshots, %llu recoveries, %llu kills, %llu power "
           "cuts, %llu crashes in recovery, %llu failed calls, %llu recycled ends, %llu damages\n",
        seeds, (unsigned long long)sum.transactions, (unsigned long long)sum.snapshots,
        (unsigned long long)sum.recoveries, (unsigned long long)sum.kills,
        (unsigned long long)sum.power_cuts, (unsigned long long)sum.crashes_in_recovery,
        (unsigned long long)sum.failed_calls, (unsigned long long)sum.relics,
        (unsigned long long)sum.damages);
}

static void a_seed_repeats_itself(void **state) {
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + SEEDS_TWICE; seed++) {
        struct log_arena_report once = {0}, again = {0};
        assert_true(log_arena_run(seed, clock_set, &once));
        assert_true(log_arena_run(seed, clock_set, &again));
        assert_memory_equal(&once, &again, sizeof(once));
    }
}

static const struct {
    enum mutant mutant;
    const char *name, *text;
} bugs[] = {
#define BUG(name, text) {MUTANT_##name, #name, text},
    MUTANT_LIST(BUG)
#undef BUG
};

static void every_planted_bug_is_found(void **state) {
    (void)state;
    unsigned missed = 0;
    for (unsigned i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        if (!log_hunt_is_for(bugs[i].mutant))
            continue;
        struct log_catch catch = log_hunt(bugs[i].mutant, first_seed, HUNT_SEEDS_MAX, clock_set);
        printf("mutant: %s | %s | %s: %s | %llu seeds\n", bugs[i].name, bugs[i].text,
            catch.caught ? "caught by log arena" : "MISSED by log arena", catch.why,
            (unsigned long long)catch.seeds);
        missed += !catch.caught;
    }
    assert_int_equal(missed, 0);
}

int main(void) {
    if (getenv("CONCAVE_SEED"))
        first_seed = strtoull(getenv("CONCAVE_SEED"), NULL, 10);
    printf("CONCAVE_SEED=%llu\n", (unsigned long long)first_seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed_holds),
        cmocka_unit_test(a_seed_repeats_itself),
        cmocka_unit_test(every_planted_bug_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
