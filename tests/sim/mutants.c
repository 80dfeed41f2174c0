/* Every planted bug (core/mutant.h) must be found within ten thousand seeds: by the simulation, or,
 * if it takes bytes on the disk that only damage or an older log's file puts there, by the arena of
 * the log. */
#include <stdio.h>

#include "core/mutant.h"
#include "tests/sim/log_arena.h"
#include "tests/sim/runs.h"
#include "tests/sim/world.h"

#define SEEDS_MAX 10000u

static uint64_t run_world(uint64_t seed) {
    struct counts ignored = {0};
    return world_run(seed, &ignored);
}

static uint64_t run_arena(uint64_t seed) {
    struct log_arena_report report = {0};
    if (!log_arena_run(seed, sim_clock_set, &report))
        story_fail("%s", report.why);
    return 0;
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

static bool is_of_arena(enum mutant mutant) {
    return mutant == MUTANT_TORN_END_KEPT || mutant == MUTANT_DAMAGED_MIDDLE_CUT ||
           mutant == MUTANT_RECYCLED_BYTES_ACCEPTED;
}

void mutants_plant(enum mutant mutant) {
    mutant_planted = mutant;
    plan_focus = mutant == MUTANT_BATCHES_MERGED               ? &work_shift
                 : mutant == MUTANT_SNAPSHOT_GATED_ON_VERSIONS ? &work_wipe
                                                               : NULL;
}

static bool find(const struct hunt *hunt) {
    struct story_report report;
    bool arena = is_of_arena(hunt->mutant);
    mutants_plant(hunt->mutant);
    bool found = runs_until_failure(1, SEEDS_MAX, arena ? run_arena : run_world, &report);
    mutants_plant(MUTANT_NONE);
    if (found)
        printf("mutant: %s | %s | caught by the %s: %s | %llu seeds\n", hunt->name, hunt->text,
            arena ? "log arena" : "simulation", report.reason, (unsigned long long)report.seed);
    else
        printf("mutant: %s | %s | NOT CAUGHT | %u seeds\n", hunt->name, hunt->text, SEEDS_MAX);
    return found;
}

int mutants_find(void) {
    unsigned found = 0, all = sizeof hunts / sizeof hunts[0];
    for (unsigned i = 0; i < all; i++)
        found += find(&hunts[i]);
    printf("mutant: %u of %u caught\n", found, all);
    return found == all ? 0 : 1;
}
