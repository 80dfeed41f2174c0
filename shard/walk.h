/* What the coordinator and shard/txn.c need of walks: their part in validation and in declaring.
 * Threads: the coordinator's. */
#ifndef CONCAVE_SHARD_WALK_H
#define CONCAVE_SHARD_WALK_H

#include "shard/state.h"

/* Sets what each batch covers, as the range set of the transaction stands now. */
void walk_cover_all(struct txn *txn);
/* Before an attempt is run again with what it has read: walks may be opened from their start again.
 */
void walk_rewind_all(struct txn *txn);
/* A walk whose first batches PREPARE will read. ST_OK, ST_NOMEM. */
MUST_USE enum status walk_declare(struct txn *txn, const struct range_spec *spec);

#endif
