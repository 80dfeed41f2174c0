/* The wrong variants of the protocol, each with the short schedule that finds it out.
 *
 * A variant is one planted bug of core/mutant.h. The same search as in tests/model/model.c looks
 * for a wrong execution in pairs of the alphabet and the chosen scenarios (only then in triples),
 * among schedules without any preemption first, then with one, with two, ... The first wrong one of
 * each scenario counts, and of those of one family the shortest is printed.
 *
 * Wrong is here what a client can tell: no order of the calls whatever explains their replies
 * (rather than that the order of LSNs does not), where a call comes behind another only if it was
 * submitted when the other's reply had left; or a reply that left too early, a call without one, a
 * failed assertion.
 *
 * This shows that the model can fail; and every rule of the protocol has the schedule beside it
 * that would break without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/mutant.h"
#include "tests/model/search.h"

#define PREEMPTIONS_MAX 4u

static const struct {
    enum mutant mutant;
    const char *name, *text;
} names[] = {
#define VARIANT_NAME(name, text) {MUTANT_##name, #name, text},
    MUTANT_LIST(VARIANT_NAME)
#undef VARIANT_NAME
};

/* Those that a protocol without disks can show; the others are about files and restarts. */
static const enum mutant variants[] = {
    MUTANT_NO_READ_MARKS,
    MUTANT_NO_RANGE_MARKS,
    MUTANT_FINGERPRINT_BY_VERSION,
    MUTANT_FINGERPRINT_WITHOUT_COUNT,
    MUTANT_BATCHES_MERGED,
    MUTANT_WALK_COVERS_OWN_SHARD,
    MUTANT_LSN_BEFORE_MARKS,
    MUTANT_QUEUE_APART,
    MUTANT_REPLY_BEFORE_DURABLE,
    MUTANT_READ_REPLY_UNGATED,
    MUTANT_ABSENT_WITHOUT_DELETE_LSN,
    MUTANT_DELETE_LSN_AT_READ,
    MUTANT_ROUND_IGNORES_MARKS,
    MUTANT_VERSIONS_BEFORE_MARKS,
    MUTANT_ABORT_KEEPS_MARKS,
    MUTANT_WAITERS_NOT_SERVED,
};

#define AS                                                                                         \
    { .wakes = 1, .replies_order = true }
#define FAMILIES_A_PART 2u
static const struct family families[][FAMILIES_A_PART] = {
    {{.calls = 2, .as = AS}, {.chosen = true, .as = AS}},
    {{.calls = 3, .core = true, .as = AS}, {.chosen = true, .as = AS}},
};

/* The best counterexample so far. */
struct found {
    struct scenario scenario;
    struct search search; /* search.wrong: there is one */
    unsigned preemptions;
    uint64_t executions; /* until the first */
};

static void look_in(
    const struct family *family, const struct search_bounds *bounds, struct found *found) {
    struct scenario scenario;
    for (unsigned i = 0; family_scenario(family, i, &scenario); i++) {
        struct search search;
        search_run(&scenario, bounds, &search);
        if (!found->search.wrong)
            found->executions += search.executions;
        if (!search.wrong ||
            (found->search.wrong && found->search.wrong_moves <= search.wrong_moves))
            continue;
        found->search = search;
        found->scenario = scenario;
        found->preemptions = bounds->preemptions;
    }
}

static void look(struct found *found) {
    struct search_bounds bounds = {.stops = true, .anomalies = true};
    for (unsigned part = 0; part < 2; part++)
        for (bounds.preemptions = 0; bounds.preemptions <= PREEMPTIONS_MAX; bounds.preemptions++)
            for (unsigned i = 0; i < FAMILIES_A_PART && !found->search.wrong; i++)
                look_in(&families[part][i], &bounds, found);
}

static const char *name_of(enum mutant mutant, const char **text) {
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].mutant == mutant) {
            *text = names[i].text;
            return names[i].name;
        }
    return "?";
}

static void tell(const char *name, const struct found *found) {
    struct buf story, outcome;
    buf_init(&story, SIZE_MAX);
    buf_init(&outcome, SIZE_MAX);
    (void)search_tell(&found->scenario, found->search.wrong_schedule, found->search.wrong_moves,
        &story, &outcome);
    printf("model: counterexample %s: %.*s. So %.*s. Wrong: %s.\n", name, (int)story.len,
        story.data, (int)outcome.len, outcome.data, found->search.why);
    buf_free(&story);
    buf_free(&outcome);
}

static void print_row(const char *text, const struct found *found) {
    if (found->search.wrong)
        printf("model: %-62s | caught | %10llu | %11u | %5u\n", text,
            (unsigned long long)found->executions, found->preemptions, found->search.wrong_moves);
    else
        printf("model: %-62s | MISSED | %10llu | %11s | %5s\n", text,
            (unsigned long long)found->executions, "-", "-");
    (void)fflush(stdout);
}

static void every_variant_is_found_out(void **state) {
    (void)state;
    static struct found found[MUTANT_COUNT];
    const char *text = "";
    unsigned missed = 0;
    for (unsigned i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        mutant_planted = variants[i];
        look(&found[i]);
        if (found[i].search.wrong)
            tell(name_of(variants[i], &text), &found[i]);
        mutant_planted = MUTANT_NONE;
    }
    printf("model: %-62s | caught | executions | preemptions | steps\n", "variant");
    for (unsigned i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        (void)name_of(variants[i], &text);
        print_row(text, &found[i]);
        missed += !found[i].search.wrong;
    }
    assert_int_equal(missed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_variant_is_found_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
