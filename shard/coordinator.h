/* The coordinator: drives each transaction of its shard from its first attempt to its reply.
 *
 * Ownership: transactions and their branches; a call while it runs here.
 * Threads: the shard's own.
 * Neighbours: shard/shard.c hands calls and answers in; shard/participant.c does each branch's
 * step; shard/txn.c and shard/walk.c are what the procedure sees; core/wal.c takes the record. */
#ifndef CONCAVE_SHARD_COORDINATOR_H
#define CONCAVE_SHARD_COORDINATOR_H

#include "shard/state.h"

/* Takes a call to run here: a transaction is made for it and starts in the shard's next turn. A
 * call that has followed its first key (moved) runs where it arrives. ST_OK; ST_NOMEM: the call
 * stays the caller's. */
MUST_USE enum status coordinator_accept(struct shard *shard, struct call *call, bool moved);
/* Goes on with a transaction from the ready queue. */
void coordinator_run(struct txn *txn);
/* A branch has come home. */
void coordinator_answer(struct branch *branch);
/* The transaction's time has come (back-off over, or the wait for the ticket). */
void coordinator_timer(struct txn *txn);
/* The ticket has come home: granted, refused or at rest. */
void coordinator_ticket(struct ticket *ticket);

/* For shard/txn.c and shard/walk.c, while the procedure runs: asks a shard for the branch's op.
 * ST_OK: answered at once; ST_PENDING: the answer will resume the procedure; ST_DOOMED; ST_NOMEM.
 */
MUST_USE enum status coordinator_ask(struct txn *txn, struct branch *branch, enum branch_op op);
/* This attempt cannot commit; every further store call says so. Returns ST_DOOMED. */
enum status coordinator_doom(struct txn *txn, enum doom doom);

/* Frees the shard's pool of transactions. */
void coordinator_free_pool(struct shard *shard);

#endif
