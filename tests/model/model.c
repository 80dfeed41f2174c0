/* Exhaustive model of the protocol: every schedule of small scenarios, with the real step
 * functions.
 *
 * The coordinators, participants, marks, walks, treaps, ticket office and gates are the server's
 * own (shard/); the log and the procedures are the stage's (tests/support/stage.h). What a schedule
 * is made of is said in tests/model/world.h, how all of them are found in tests/model/search.h.
 * Wrong is: a call's reads do not fit one place in the serial order of LSNs that lies between its
 * request and its reply; a reply leaves before what it rests on is durable; the shards differ from
 * the log; a call is never answered; a mark, message, reservation or the ticket is left; an
 * assertion fails.
 *
 * Exhausted are, in each scenario: every order in which calls arrive, messages of the two shards
 * overtake each other (first in, first out from one shard to another), turns are taken, back-offs
 * end and the log becomes durable, LSN by LSN. Not covered: budgets that run out, memory or room in
 * the log that runs out, more than two shards, steps of two threads at the same instant (the
 * sanitizers' part). "Retries" in the table: so many losses of a call, at most, are followed by the
 * next attempt at any time; one that has lost more often waits until the others are done. "any" is
 * no bound, since the third loss asks for the ticket instead.
 *
 * tests/run.sh --long 10 or more: triples of the whole alphabet rather than of its core (20 million
 * executions, 10 minutes). CONCAVE_TEST_SCALE below 1: its square is the part of the triples that
 * is tried, and of the chosen scenarios a quarter; the table says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/buf.h"
#include "tests/model/search.h"
#include "tests/support/scale.h"

/* After so many losses a call asks for the ticket and is not woken any more. */
#define RETRIES_ALL RETRY_LOSSES_BEFORE_TICKET

struct sum {
    unsigned scenarios;
    uint64_t executions, states;
    unsigned longest;
};

static void add(struct sum *sum, const struct search *search) {
    sum->scenarios++;
    sum->executions += search->executions;
    sum->states += search->states;
    if (search->longest > sum->longest)
        sum->longest = search->longest;
}

static void print_head(void) {
    printf("model: %-32s | retries | scenarios | executions |   states | longest | outcome\n",
        "scenario");
}

static void print_sum(const struct family *family, const struct sum *sum, const char *outcome) {
    char retries[12] = "any";
    if (family->as.wakes < RETRIES_ALL)
        (void)snprintf(retries, sizeof retries, "%u", family->as.wakes);
    printf("model: %-32s | %7s | %9u | %10llu | %8llu | %7u | %s\n", family->name, retries,
        sum->scenarios, (unsigned long long)sum->executions, (unsigned long long)sum->states,
        sum->longest, outcome);
    (void)fflush(stdout);
}

static void fail_with(const struct scenario *scenario, const struct search *search) {
    struct buf story, outcome;
    char name[256];
    buf_init(&story, SIZE_MAX);
    buf_init(&outcome, SIZE_MAX);
    model_scenario_name(scenario, name, sizeof name);
    (void)search_tell(scenario, search->wrong_schedule, search->wrong_moves, &story, &outcome);
    printf("model: violation in %s: %.*s. Then %.*s. Wrong: %s.\n", name, (int)story.len,
        story.data, (int)outcome.len, outcome.data, search->why);
    buf_free(&story);
    buf_free(&outcome);
    fail();
}

/* Every so many-th case of those that are left out under the sanitizers. */
static unsigned stride(unsigned usual) {
    double part = test_scale() < 1 ? test_scale() * test_scale() : 1;
    return (unsigned)(usual / part);
}

static const struct search_bounds unbounded = {.preemptions = PREEMPTIONS_UNBOUNDED};

static void exhaust(const struct family *family, unsigned step) {
    struct sum sum = {0};
    struct scenario scenario;
    for (unsigned i = 0; family_scenario(family, i, &scenario); i += step) {
        struct search search;
        search_run(&scenario, &unbounded, &search);
        add(&sum, &search);
        if (search.wrong)
            fail_with(&scenario, &search);
    }
    print_sum(
        family, &sum, step > 1 ? "no violation, in a part of them" : "no violation, exhausted");
}

static void every_schedule_of_one_or_two_is_right(void **state) {
    (void)state;
    print_head();
    exhaust(&(struct family){.name = "each shape", .calls = 1, .as.wakes = RETRIES_ALL}, 1);
    exhaust(
        &(struct family){.name = "all pairs of the alphabet", .calls = 2, .as.wakes = RETRIES_ALL},
        1);
}

static void every_schedule_of_three_is_right(void **state) {
    (void)state;
    bool whole = test_scale() >= 10;
    exhaust(
        &(struct family){.name = whole ? "all triples of the alphabet" : "all triples of its core",
            .calls = 3,
            .core = !whole,
            .as.wakes = 1},
        stride(1));
}

static void the_ticket_and_walks_of_many_batches_are_right(void **state) {
    (void)state;
    exhaust(
        &(struct family){
            .name = "chosen: ticket, walks in batches", .chosen = true, .as.wakes = RETRIES_ALL},
        test_scale() < 1 ? 4 : 1);
}

/* A search that merges no states at all finds the same replies and ends: the fingerprint of a state
 * leaves nothing out. */
static void merging_states_loses_no_outcome(void **state) {
    (void)state;
    static const struct search_bounds every = {
        .preemptions = PREEMPTIONS_UNBOUNDED, .merges_nothing = true};
    const struct family family = {.name = "every fourth pair, unmerged", .calls = 2};
    struct sum sum = {0};
    struct scenario scenario;
    for (unsigned i = 0; family_scenario(&family, i, &scenario); i += stride(4)) {
        struct search merged, all;
        search_run(&scenario, &unbounded, &merged);
        search_run(&scenario, &every, &all);
        assert_false(all.wrong);
        assert_int_equal(merged.outcomes, all.outcomes);
        assert_true(merged.outcomes_hash == all.outcomes_hash);
        add(&sum, &all);
    }
    print_sum(&family, &sum, "the same outcomes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_schedule_of_one_or_two_is_right),
        cmocka_unit_test(merging_states_loses_no_outcome),
        cmocka_unit_test(the_ticket_and_walks_of_many_batches_are_right),
        cmocka_unit_test(every_schedule_of_three_is_right),
    };
    if (getenv("CONCAVE_TEST"))
        cmocka_set_test_filter(getenv("CONCAVE_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
