/* The story of a simulated run: what happened, line by line, each with the simulated time.
 *
 * Every line goes into a hash, so that two runs of a seed can be compared byte for byte; the last
 * ones are kept and printed when something does not hold. A check that fails ends the process by
 * way of story_fail; so does an assert anywhere in the program.
 *
 * Ownership: none; one story at a time. Threads: one. Errors: none. */
#ifndef CONCAVE_TESTS_SIM_STORY_H
#define CONCAVE_TESTS_SIM_STORY_H

#include <stdbool.h>
#include <stdint.h>

#define STORY_REASON_BYTES 400

/* What a child tells its parent, in memory that both see. */
struct story_report {
    uint64_t seed; /* of the run that is under way */
    bool failed;
    char reason[STORY_REASON_BYTES];
};

/* Begins the story of a seed. verbose: every line is printed at once. quiet: a failure goes into
 * the report only. The report must live as long as the story. replay: what is put before `--seed`
 * in the command that repeats it. */
void story_begin(
    uint64_t seed, bool verbose, bool quiet, const char *replay, struct story_report *report);
/* One line; printf-like, without the newline. */
void story(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The hash of all lines so far, their times included. */
uint64_t story_hash(void);
/* Something does not hold: writes why, the command that repeats it and the end of the story, and
 * ends the process with exit code 1. */
_Noreturn void story_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Fails unless it holds; the text is the message. */
#define STORY_HOLDS(condition, text)                                                               \
    do {                                                                                           \
        if (!(condition))                                                                          \
            story_fail("%s", (text));                                                              \
    } while (0)

/* ---- the clock of the simulation; core/clock.h reads it ---- */

void sim_clock_set(uint64_t ns);
uint64_t sim_clock_ns(void);
/* Whether time passes while a procedure runs: for scripts, which are preempted by it. */
void sim_clock_pass(bool passes);
bool sim_clock_passes(void);

#endif
