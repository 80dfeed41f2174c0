/* The shard's timers: which transaction's time comes next, as a binary heap.
 *
 * Ownership: the heap owns its array only. Threads: the shard's own.
 * Errors: the array has room for every running transaction before it is needed (timers_reserve), so
 * adding cannot fail. */
#ifndef CONCAVE_SHARD_TIMERS_H
#define CONCAVE_SHARD_TIMERS_H

#include "shard/state.h"

/* Room for count transactions. ST_OK, ST_NOMEM. */
MUST_USE enum status timers_reserve(struct timers *timers, size_t count);
void timers_free(struct timers *timers);
/* At most one timer a transaction. */
void timers_add(struct timers *timers, struct txn *txn, uint64_t when_ns);
/* Nothing if it has none. */
void timers_remove(struct timers *timers, struct txn *txn);
/* Takes out the earliest whose time has come; NULL if there is none. */
struct txn *timers_due(struct timers *timers, uint64_t now_ns);
/* UINT64_MAX if there is none. */
uint64_t timers_next_ns(const struct timers *timers);

#endif
