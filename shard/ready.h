/* Who runs next on a shard: two lines of transactions, after the multilevel feedback of CTSS
 * (Corbato, Merwin-Daggett and Daley 1962, "An experimental time-sharing system"). A call starts in
 * the quick line, of which a turn runs what it can. Once it has used up a slice of time it is slow
 * and stands in the slow line, of which a turn runs a bounded share. So a request that needs
 * microseconds usually waits for a slice or two, however many that need milliseconds are in flight.
 *
 * As there:
 *   - the lower line gives longer turns: who is at its head keeps its place for some slices, also
 *     when it waits for an answer in between. A thousand handlers of a few slices each then end one
 *     after another, rather than all at once and past their budgets; and each meets fewer others
 *     that change what it has read.
 *   - a newcomer's line is chosen by what is known of it: calls of a route whose latest ones were
 *     slow start in the slow line. Otherwise a burst of them would use up a slice each before the
 *     quick ones behind them.
 *
 * Neither line starves the other: see shard_turn and shard_turn_slow. Whoever has others waiting
 * for it, by marks that it holds, is always quick; of holders of the ticket there is one.
 *
 * Ownership: a transaction in a line belongs to its coordinator; it is in one line at most.
 * Threads: the shard's. Errors: none. */
#ifndef CONCAVE_SHARD_READY_H
#define CONCAVE_SHARD_READY_H

#include "shard/state.h"

void ready_init(struct ready *ready);

/* The line in which a transaction of a new call stands first. */
void ready_new_call(struct txn *txn);
/* It has used up a slice: from now on, it is slow. */
void ready_preempted(struct txn *txn);
/* It has come to its end: its route learns by that. */
void ready_ended(const struct txn *txn);

/* At its place in its line. */
void ready_add(struct txn *txn);
/* The next one, no longer in the line; NULL if the line is empty. */
struct txn *ready_take_quick(struct ready *ready);
struct txn *ready_take_slow(struct ready *ready);

#endif
