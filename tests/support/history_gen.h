/* Random histories that are strictly serializable: a serial execution against a model, whose
 * transactions are then made to overlap in time.
 *
 * Ownership: the history is the caller's. Threads: none of its own. Errors: out of memory ends the
 * process. The same mix and seed give the same history. */
#ifndef CONCAVE_TESTS_HISTORY_GEN_H
#define CONCAVE_TESTS_HISTORY_GEN_H

#include "tests/history/history.h"

#define MIX_KEYS_MAX 6u  /* of each kind and group */
#define MIX_LIST_MAX 64u /* elements */

struct history_mix {
    unsigned txns, keys; /* keys at most MIX_KEYS_MAX */
    unsigned group;      /* so many transactions use the same keys */
    bool lists, registers, deletes, ranges;
    bool versions;             /* told by reads and acknowledgements */
    bool final;                /* a transaction at the end reads the last group */
    unsigned overlap;          /* transactions that may be under way at once */
    unsigned unknown, refused; /* in so many of 100 */
};

struct history *history_valid(const struct history_mix *mix, uint64_t seed);

/* The next random number below `below`; splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
uint64_t history_draw(uint64_t *state, uint64_t below);

#endif
