/* Deadlines on the wheel are met: never early, at most a tick late, whatever is moved meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/wheel.h"

#define ENTRIES 200u
#define START_NS (1000 * NS_PER_S)

struct fixture {
    struct wheel wheel;
    struct wheel_entry entries[ENTRIES];
    unsigned expired[ENTRIES];
    uint64_t now_ns;
};

static struct fixture fixture;

static int setup(void **state) {
    fixture = (struct fixture){.now_ns = START_NS};
    wheel_init(&fixture.wheel, START_NS);
    *state = &fixture;
    return 0;
}

static void expire(void *ctx, struct wheel_entry *entry) {
    (void)ctx;
    assert_true(entry->deadline_ns <= fixture.now_ns);
    fixture.expired[entry - fixture.entries]++;
}

static void advance_to(uint64_t now_ns) {
    fixture.now_ns = now_ns;
    wheel_advance(&fixture.wheel, now_ns, expire, NULL);
}

static void a_deadline_expires_once_and_not_before_its_time(void **state) {
    (void)state;
    wheel_set(&fixture.wheel, &fixture.entries[0], START_NS + 3 * NS_PER_S);
    advance_to(START_NS + 3 * NS_PER_S - 1);
    assert_int_equal(fixture.expired[0], 0);
    advance_to(START_NS + 3 * NS_PER_S + WHEEL_TICK_NS);
    assert_int_equal(fixture.expired[0], 1);
    advance_to(START_NS + 100 * NS_PER_S);
    assert_int_equal(fixture.expired[0], 1);
}

static void a_deadline_many_rounds_away_is_met_too(void **state) {
    (void)state;
    uint64_t far_ns = START_NS + 5 * WHEEL_SLOTS * WHEEL_TICK_NS + 7;
    wheel_set(&fixture.wheel, &fixture.entries[0], far_ns);
    for (uint64_t now = START_NS; now < far_ns; now += NS_PER_S)
        advance_to(now);
    assert_int_equal(fixture.expired[0], 0);
    advance_to(far_ns + WHEEL_TICK_NS);
    assert_int_equal(fixture.expired[0], 1);
}

static void moving_a_deadline_back_or_forth_counts_from_then_on(void **state) {
    (void)state;
    wheel_set(&fixture.wheel, &fixture.entries[0], START_NS + 2 * NS_PER_S);
    wheel_set(&fixture.wheel, &fixture.entries[0], START_NS + 5 * NS_PER_S);
    wheel_set(&fixture.wheel, &fixture.entries[1], START_NS + 5 * NS_PER_S);
    wheel_set(&fixture.wheel, &fixture.entries[1], START_NS + 1 * NS_PER_S);
    advance_to(START_NS + 3 * NS_PER_S);
    assert_int_equal(fixture.expired[0], 0);
    assert_int_equal(fixture.expired[1], 1);
    advance_to(START_NS + 6 * NS_PER_S);
    assert_int_equal(fixture.expired[0], 1);
}

static void a_cancelled_deadline_never_expires(void **state) {
    (void)state;
    wheel_set(&fixture.wheel, &fixture.entries[0], START_NS + NS_PER_S);
    wheel_cancel(&fixture.wheel, &fixture.entries[0]);
    wheel_cancel(&fixture.wheel, &fixture.entries[0]);
    advance_to(START_NS + 2 * NS_PER_S);
    assert_int_equal(fixture.expired[0], 0);
    assert_int_equal(fixture.wheel.count, 0);
}

static void cancel_neighbour(void *ctx, struct wheel_entry *entry) {
    expire(ctx, entry);
    size_t other = entry == &fixture.entries[0] ? 1 : 0;
    wheel_cancel(&fixture.wheel, &fixture.entries[other]);
}

static void an_expiry_may_cancel_another_of_the_same_tick(void **state) {
    (void)state;
    wheel_set(&fixture.wheel, &fixture.entries[0], START_NS + NS_PER_S);
    wheel_set(&fixture.wheel, &fixture.entries[1], START_NS + NS_PER_S);
    fixture.now_ns = START_NS + 2 * NS_PER_S;
    wheel_advance(&fixture.wheel, fixture.now_ns, cancel_neighbour, NULL);
    assert_int_equal(fixture.expired[0] + fixture.expired[1], 1);
}

static void the_next_look_is_never_later_than_a_tick_after_the_earliest_deadline(void **state) {
    (void)state;
    assert_true(wheel_next_ns(&fixture.wheel) == UINT64_MAX);
    wheel_set(&fixture.wheel, &fixture.entries[0], START_NS + 4 * NS_PER_S);
    wheel_set(&fixture.wheel, &fixture.entries[1], START_NS + 2 * NS_PER_S);
    uint64_t next_ns = wheel_next_ns(&fixture.wheel);
    assert_true(next_ns >= START_NS + 2 * NS_PER_S);
    assert_true(next_ns <= START_NS + 2 * NS_PER_S + WHEEL_TICK_NS);
}

/* Against the plain rule: whoever looks only when wheel_next_ns says so is late by a tick at most.
 */
static void random_deadlines_are_met_within_a_tick(void **state) {
    (void)state;
    uint64_t random = 42;
    for (unsigned step = 0; step < 20000; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned which = (unsigned)(random >> 33) % ENTRIES;
        uint64_t delay_ns = (random >> 20) % (30 * NS_PER_S);
        if (random >> 62 == 0)
            wheel_cancel(&fixture.wheel, &fixture.entries[which]);
        else
            wheel_set(&fixture.wheel, &fixture.entries[which], fixture.now_ns + delay_ns);
        uint64_t next_ns = wheel_next_ns(&fixture.wheel);
        uint64_t now_ns = fixture.now_ns + (random >> 40) % (20 * NS_PER_MS);
        if (next_ns <= now_ns)
            advance_to(now_ns);
        else
            fixture.now_ns = now_ns;
        for (unsigned i = 0; i < ENTRIES; i++)
            if (fixture.entries[i].link)
                assert_true(fixture.entries[i].deadline_ns + 2 * WHEEL_TICK_NS >= fixture.now_ns);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_deadline_expires_once_and_not_before_its_time, setup),
        cmocka_unit_test_setup(a_deadline_many_rounds_away_is_met_too, setup),
        cmocka_unit_test_setup(moving_a_deadline_back_or_forth_counts_from_then_on, setup),
        cmocka_unit_test_setup(a_cancelled_deadline_never_expires, setup),
        cmocka_unit_test_setup(an_expiry_may_cancel_another_of_the_same_tick, setup),
        cmocka_unit_test_setup(
            the_next_look_is_never_later_than_a_tick_after_the_earliest_deadline, setup),
        cmocka_unit_test_setup(random_deadlines_are_met_within_a_tick, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
