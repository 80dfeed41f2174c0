/* Many seeds, in child processes: what a seed leaves behind or does to its process harms no other.
 *
 * Threads: one. Errors: printed; the answer is an exit code. */
#ifndef CONCAVE_TESTS_SIM_RUNS_H
#define CONCAVE_TESTS_SIM_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/mutant.h"
#include "tests/sim/story.h"

struct runs {
    uint64_t first, last; /* seeds */
    unsigned jobs;
    bool verbose, twice;
    const char *program, *mutant;
};

/* Runs them all, stops at the first that fails, and prints the line of numbers. 0, or 1. */
int runs_all(const struct runs *runs);
/* Plants the bug of this name and turns the plans to what it needs. False: there is none. */
bool runs_plant(const char *name);
/* Runs `run` for a seed in each child, some dozens of seeds a child, until one fails or all are
 * done; quiet. True: one failed, with what it reported. A child that dies or takes longer than a
 * minute has failed too. */
bool runs_until_failure(
    uint64_t first, uint64_t last, uint64_t (*run)(uint64_t seed), struct story_report *report);

/* ---- mutants.c ---- */

/* Plants a bug (MUTANT_NONE: takes it away) and turns the plans to what it needs, if that is much.
 */
void mutants_plant(enum mutant mutant);
/* Looks for every planted bug and prints the table. 0: all are found; 1. */
int mutants_find(void);

#endif
