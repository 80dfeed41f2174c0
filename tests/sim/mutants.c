/* Every planted bug (core/mutant.h) must be found by the simulator within ten thousand seeds. */
#include <stdio.h>

#include "core/mutant.h"
#include "tests/sim/runs.h"
#include "tests/sim/world.h"

#define SEEDS_MAX 10000u

static uint64_t run_world(uint64_t seed) {
    struct counts ignored = {0};
    return world_run(seed, &ignored);
}

struct hunt {
    enum mutant mutant;
    const char *name, *text;
};

static const struct hunt hunts[] = {
#define HUNT(name, text) {MUTANT_##name, #name, text},
    MUTANT_LIST(HUNT)
#undef HUNT
};

static bool find(const struct hunt *hunt) {
    struct story_report report;
    mutant_planted = hunt->mutant;
    bool found = runs_until_failure(1, SEEDS_MAX, run_world, &report);
    mutant_planted = MUTANT_NONE;
    if (found)
        printf("mutant: %s | %s | caught by %s | %llu seeds\n", hunt->name, hunt->text,
            report.reason, (unsigned long long)report.seed);
    else
        printf("mutant: %s | %s | NOT CAUGHT | %u seeds\n", hunt->name, hunt->text, SEEDS_MAX);
    return found;
}

int mutants_find(void) {
    bool all = true;
    for (unsigned i = 0; i < sizeof hunts / sizeof hunts[0]; i++)
        all = find(&hunts[i]) && all;
    return all ? 0 : 1;
}
