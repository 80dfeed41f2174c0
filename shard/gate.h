/* The gate: where finished calls wait, at home, until the log is on disk as far as their reply
 * depends on it.
 *
 * Writes are visible before they are durable, so every reply is gated, read-only ones, 404s and
 * errors included. A sync covers all that was published when it began, so a call is looked at two
 * or three times at most. Threads: the home shard's own. */
#ifndef CONCAVE_SHARD_GATE_H
#define CONCAVE_SHARD_GATE_H

#include "shard/state.h"

/* Room for count calls. ST_OK, ST_NOMEM. */
MUST_USE enum status gate_reserve(struct gate *gate, size_t count);
void gate_free(struct gate *gate);
/* A call of this home is over: tells env.committed, and env.released now or when it is durable. */
void gate_take(struct shard *shard, struct call *call);
/* Releases what has become durable, and asks to be woken by the next sync if calls still wait. */
void gate_turn(struct shard *shard);

#endif
