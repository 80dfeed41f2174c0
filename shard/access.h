/* The read set and write set of a transaction, and its branches: lookup and bookkeeping.
 *
 * One struct access per key holds both what was read and what will be written; a branch gathers
 * those of one shard. Everything lives in the transaction's arena. Threads: the coordinator's.
 * Errors: ST_NOMEM. */
#ifndef CONCAVE_SHARD_ACCESS_H
#define CONCAVE_SHARD_ACCESS_H

#include "shard/state.h"

/* The access of a key, or NULL. */
struct access *access_find(const struct txn *txn, struct slice key, uint64_t hash);
/* The same, made if there is none. ST_OK, ST_NOMEM. */
MUST_USE enum status access_obtain(
    struct txn *txn, struct slice key, uint64_t hash, struct access **access);
/* The transaction's branch on a shard, made if there is none (it never fails: branches come with
 * the transaction). */
struct branch *access_branch(struct txn *txn, unsigned shard);

/* Enters a write into the write set, NULL data for a deletion; keeps the counts and the key order.
 * ST_OK; ST_TOO_LARGE past the largest record; ST_NOMEM. */
MUST_USE enum status access_write(struct txn *txn, struct access *access, struct slice value);
/* Forgets all writes but keeps the reads. */
void access_drop_writes(struct txn *txn);
/* The first written key not before `from` (strictly behind it if beyond), or in reverse the last
 * not behind it; NULL if there is none. from.data NULL: from the start (reverse: the end). *failed
 * if there was no memory to put the writes in order. */
struct access *access_next_write(
    struct txn *txn, struct slice from, bool beyond, bool reverse, bool *failed);

/* Empties the sets for another attempt; nothing may be out or marked. */
void access_clear(struct txn *txn);

#endif
