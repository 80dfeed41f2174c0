/* When the watchdog takes a shard for stuck, and when it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/watchdog.h"

#define SHARDS 3u

static struct watchdog watchdog;
static uint64_t turns[SHARDS];
static uint64_t now_ns;

static int set_up(void **state) {
    (void)state;
    watchdog = (struct watchdog){0};
    now_ns = 1000 * NS_PER_S;
    for (unsigned i = 0; i < SHARDS; i++)
        turns[i] = 0;
    return 0;
}

static unsigned look_after(uint64_t passed_ns) {
    now_ns += passed_ns;
    return watchdog_step(&watchdog, turns, SHARDS, now_ns);
}

/* Seconds until a shard is found stuck, looking every second; 0 if none is within a minute. */
static unsigned seconds_until_stuck(unsigned *shard) {
    for (unsigned second = 1; second <= 60; second++)
        if ((*shard = look_after(NS_PER_S)) != SHARDS)
            return second;
    return 0;
}

static void a_turn_that_stays_the_same_is_stuck_after_ten_seconds(void **state) {
    (void)state;
    unsigned shard;
    turns[1] = 77;
    assert_int_equal(seconds_until_stuck(&shard), 11); /* the first look only learns of it */
    assert_int_equal(shard, 1);
}

static void shards_that_wait_or_turn_are_fine(void **state) {
    (void)state;
    for (unsigned second = 0; second < 100; second++) {
        turns[1] = now_ns;
        turns[2] = second % 2 ? now_ns : 0;
        assert_int_equal(look_after(NS_PER_S), SHARDS);
    }
}

static void a_turn_that_ends_late_is_no_reason(void **state) {
    (void)state;
    unsigned shard;
    for (unsigned round = 0; round < 5; round++) {
        turns[0] = now_ns;
        for (unsigned second = 0; second < 10; second++)
            assert_int_equal(look_after(NS_PER_S), SHARDS);
    }
    assert_int_equal(seconds_until_stuck(&shard), 1);
}

/* A whole process that was stopped finds its turns old, but nobody was there to count. */
static void time_that_nobody_saw_does_not_count(void **state) {
    (void)state;
    unsigned shard;
    turns[2] = 5;
    for (unsigned second = 0; second < 9; second++)
        assert_int_equal(look_after(NS_PER_S), SHARDS);
    assert_int_equal(look_after(12 * NS_PER_S), SHARDS);
    assert_int_equal(look_after(3600 * NS_PER_S), SHARDS);
    assert_int_equal(seconds_until_stuck(&shard), 10);
    assert_int_equal(shard, 2);
}

/* Gaps that come again and again, as on a machine that stutters, never add up. */
static void a_stuttering_machine_is_no_reason(void **state) {
    (void)state;
    turns[0] = 5;
    for (unsigned round = 0; round < 100; round++) {
        assert_int_equal(look_after(NS_PER_S), SHARDS);
        assert_int_equal(look_after(WATCHDOG_GAP_NS + 1), SHARDS);
    }
}

static void of_several_the_first_is_named(void **state) {
    (void)state;
    unsigned shard;
    turns[1] = turns[2] = 9;
    assert_int_equal(seconds_until_stuck(&shard), 11);
    assert_int_equal(shard, 1);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_turn_that_stays_the_same_is_stuck_after_ten_seconds),
        TEST(shards_that_wait_or_turn_are_fine),
        TEST(a_turn_that_ends_late_is_no_reason),
        TEST(time_that_nobody_saw_does_not_count),
        TEST(a_stuttering_machine_is_no_reason),
        TEST(of_several_the_first_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
