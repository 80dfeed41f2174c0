/* The arena of the log: seeded lives of log, snapshots and recovery on a simulated disk, with
 * everything that can go wrong there, checked after each recovery.
 *
 * A seed is some lives in a row. Each publishes transactions of a few keys under always, interval
 * or manual, in small segments, takes snapshots, and ends: in peace, by a kill, by a power cut
 * between two calls or in the middle of one, with any of the unsynced sectors lost, or by a disk
 * call that fails. Then what a recycled segment could hold may lie behind the log's end; bits may
 * have flipped (on a copy); and power may fail up to three times while the log recovers. It must
 * hold:
 *
 *   - what was acknowledged, or shown by an earlier recovery, is there;
 *   - the state is that of the first n transactions, keys, values and versions: none of them in
 *     part, none that was never written, none that was lost before;
 *   - an LSN that a reply can have told is not given out again, and a key's versions rise;
 *   - a torn end is no reason to refuse; damage to what was acknowledged is, if anything behind it
 *     shows that it was.
 *
 * Linked to the library in which bugs can be planted (core/mutant.h), it must catch those of the
 * log (tests/sim/log_hunt.h).
 *
 * Ownership: the caller owns reports. Threads: one. The clock of the program must stand still
 * unless it is set. Deterministic: the seed decides everything.
 * Errors: false and a sentence in the report; an assert in the code under test aborts. */
#ifndef CONCAVE_TESTS_SIM_LOG_ARENA_H
#define CONCAVE_TESTS_SIM_LOG_ARENA_H

#include <stdbool.h>
#include <stdint.h>

struct log_arena_report {
    char why[400]; /* what did not hold */
    /* sums over all runs that got this report */
    uint64_t transactions, snapshots, recoveries;
    uint64_t kills, power_cuts, crashes_in_recovery;
    uint64_t failed_calls, relics, damages;
};

/* Lives through a seed. clock_set: sets the clock behind core/clock.h, in nanoseconds. */
bool log_arena_run(uint64_t seed, void (*clock_set)(uint64_t ns), struct log_arena_report *report);

#endif
