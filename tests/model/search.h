/* Depth-first search through every schedule of a scenario, by running it again and again.
 *
 * An execution cannot be taken back, so the way to a branching is run anew for each of its moves
 * (stateless search: Godefroid 1997, "Model checking for programming languages using VeriSoft").
 * A state that was met before is not searched again (world_fingerprint); such an execution is still
 * run to its end, without branching, and judged there. Every execution is thus a complete one.
 *
 * A bound on preemptions - switches from a call that could have gone on - finds short
 * counterexamples first (Musuvathi and Qadeer 2007, "Iterative context bounding").
 *
 * Threads: one search at a time. */
#ifndef CONCAVE_TESTS_MODEL_SEARCH_H
#define CONCAVE_TESTS_MODEL_SEARCH_H

#include "tests/model/world.h"

#define SCHEDULE_MOVES_MAX 400u
#define PREEMPTIONS_UNBOUNDED 255u

struct search_bounds {
    bool merges_nothing;  /* every schedule, not only every state */
    unsigned preemptions; /* or PREEMPTIONS_UNBOUNDED */
    bool anomalies; /* reads that do not fit count only if no order of the calls explains them */
    bool stops;     /* at the first wrong execution; else goes on to find the shortest */
};

struct search {
    uint64_t executions, states;
    unsigned longest; /* moves of the longest execution */
    /* how many different ends and replies, with all that these rest on; and a hash of that set */
    uint64_t outcomes, outcomes_hash;
    bool wrong; /* there was a wrong execution; below is the shortest */
    char why[256];
    unsigned wrong_moves;
    struct move wrong_schedule[SCHEDULE_MOVES_MAX];
};

/* Searches all schedules within the bounds. An assertion that fails counts as a wrong execution;
 * what such a one leaves behind is not given back. */
void search_run(
    const struct scenario *scenario, const struct search_bounds *bounds, struct search *search);
/* Runs one schedule and tells it; returns what was wrong with it. */
const char *search_tell(const struct scenario *scenario, const struct move *schedule,
    unsigned moves, struct buf *story, struct buf *outcome);

#endif
