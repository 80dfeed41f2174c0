/* The state of an execution as a number: two executions with the same number go on in the same way.
 *
 * Hashed is all that a later step or the final check can depend on, by name and never by address:
 * of each shard what it stores, its marks in their order, queues and gate; of each transaction at
 * work its whole state with reads, writes, walks and branches; messages on their way; the log; and
 * what each call has seen. Left out is what differs without consequence: jitter and timers' times
 * (a wake may happen at any time), the treap's shape (its keys decide it), metrics, pools, and of
 * an attempt that has ended, what it saw.
 *
 * tests/model/model.c checks on pairs that nothing is missing: a search that merges nothing finds
 * the same outcomes. */
#ifndef CONCAVE_TESTS_MODEL_FINGERPRINT_H
#define CONCAVE_TESTS_MODEL_FINGERPRINT_H

#include "tests/model/world.h"

uint64_t world_fingerprint(const struct world *world);
/* Of what one call saw, when it committed and when it was released, and of the log then. */
uint64_t call_fingerprint(const struct world *world, unsigned call);

#endif
