/* Hunting a planted bug (core/mutant.h) with the arena of the log: how many seeds until it shows.
 *
 * Ownership: none. Threads: the caller's alone, since it forks.
 * Errors: asserts. */
#ifndef CONCAVE_TESTS_SIM_LOG_HUNT_H
#define CONCAVE_TESTS_SIM_LOG_HUNT_H

#include "core/mutant.h"
#include "tests/sim/log_arena.h"

struct log_catch {
    bool caught;
    uint64_t seeds; /* tried, the one that caught it included */
    char why[400];  /* what did not hold, or the assert that failed */
};

/* Whether the bug is one of log, snapshots, recovery or versions, which the arena must find. */
bool log_hunt_is_for(enum mutant mutant);

/* Plants the bug in a child process, which runs seeds from first_seed on until one of them finds
 * it out, at most seeds_max of them. An assert in the code under test finds it out too. clock_set:
 * as for log_arena_run. */
struct log_catch log_hunt(
    enum mutant mutant, uint64_t first_seed, uint64_t seeds_max, void (*clock_set)(uint64_t ns));

#endif
