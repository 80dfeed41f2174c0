/* What a procedure may do with the data: the seam between handlers and whatever stores keys.
 *
 * A transaction reads, walks ranges and writes; nothing of it is visible to others before its
 * commit, which the coordinator (shard/coordinator.c) does when the procedure has returned. This
 * header knows keys, values and versions only, so that another engine can stand behind it.
 *
 * Ownership: the coordinator makes and frees transactions. A slice handed out stays valid until the
 * next txn_ call or until the procedure returns to the loop, whichever is first; slices handed in
 * are copied. Threads: the shard that runs the attempt. Waiting: a call that answers ST_PENDING has
 * started what it needs; the procedure returns PROC_WAIT and makes the same call again when it is
 * resumed. Nothing is counted twice. Errors: ST_DOOMED means that this attempt has lost, moved or
 * run out of its budget: the procedure unwinds without another store call (each would answer the
 * same) and returns PROC_UNWOUND. */
#ifndef CONCAVE_SHARD_TXN_H
#define CONCAVE_SHARD_TXN_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/status.h"

struct txn;
struct txn_range;

/* The value (MessagePack, core/value.h) and version of a key, own writes first (their version is 0:
 * it is not known before the commit).
 * ST_OK, ST_NOT_FOUND (*version is 0), ST_PENDING, ST_DOOMED; ST_INVALID for an empty key or one
 * over the limit; ST_TOO_LARGE when the transaction's reads pass their bound; ST_NOMEM. */
MUST_USE enum status txn_get(
    struct txn *txn, struct slice key, struct slice *value, uint64_t *version);

/* As txn_get, but only the version is fetched. */
MUST_USE enum status txn_version(struct txn *txn, struct slice key, uint64_t *version);

/* True if this transaction has a write of the key pending. */
bool txn_wrote(struct txn *txn, struct slice key);

/* Puts a value at commit. ST_OK, ST_DOOMED; ST_INVALID for a bad key; ST_TOO_LARGE for a value over
 * --value-bytes-max (txn_value_bytes_max) or a transaction over half a log segment; ST_NOMEM. */
MUST_USE enum status txn_set(struct txn *txn, struct slice key, struct slice value);

/* Deletes at commit, without looking whether the key is there. As txn_set. */
MUST_USE enum status txn_delete(struct txn *txn, struct slice key);

/* The limits in force, for messages. Bytes. */
size_t txn_key_bytes_max(const struct txn *txn);
size_t txn_value_bytes_max(const struct txn *txn);

struct range_spec {
    struct slice from; /* inclusive; empty = from the first key */
    struct slice to;   /* exclusive; used if bounded */
    bool bounded;      /* false = to the last key */
    bool reverse;      /* walk from the end towards from */
    size_t expect; /* how many items the walk will probably take, 0 = unknown: sizes the batches */
};

/* The interval of all keys with a prefix: fills from, to and bounded of *spec. `to` needs scratch
 * of prefix.len bytes that outlives the spec. */
void range_spec_prefix(struct range_spec *spec, struct slice prefix, char *scratch);

struct range_item {
    struct slice key;
    struct slice value;
    uint64_t version; /* 0 for an own write */
};

/* Starts a walk in byte order over the shards' keys and the transaction's own writes. The walk
 * lives until txn_range_close or the end of the attempt; only the items that it has handed out
 * count for conflicts. ST_OK, ST_DOOMED, ST_NOMEM. An empty interval is an empty walk. */
MUST_USE enum status txn_range_open(
    struct txn *txn, const struct range_spec *spec, struct txn_range **range);
/* The next item: ST_OK, ST_END (and again at every further call), ST_PENDING, ST_DOOMED, ST_NOMEM,
 * ST_TOO_LARGE when the transaction's reads pass their bound. */
MUST_USE enum status txn_range_next(struct txn_range *range, struct range_item *item);
/* Gives the walk's buffers back early; what it covered still counts. */
void txn_range_close(struct txn_range *range);

/* For procedures that know their keys before they run (the declare step of shard/procedure.h): the
 * transaction is sent to the one shard that owns them all, or they are prepared on all their shards
 * in one round and read under the marks, and the procedure then runs without waiting. */
enum declare_kind {
    DECLARE_VERSION, /* read, only the version is wanted */
    DECLARE_READ,    /* read */
    DECLARE_WRITE,   /* written, never read */
    DECLARE_VERSION_WRITE,
    DECLARE_READ_WRITE,
};
/* ST_OK, ST_INVALID for a bad key, ST_NOMEM. A key may be declared several times: the kinds add up.
 */
MUST_USE enum status txn_declare(struct txn *txn, struct slice key, enum declare_kind kind);
/* The value that a declared write will probably put: memory for it is taken before the commit is
 * decided. As txn_declare; ST_TOO_LARGE as txn_set. */
MUST_USE enum status txn_declare_value(struct txn *txn, struct slice key, struct slice value);
/* A walk that the procedure will make; `expect` is the most it takes. */
MUST_USE enum status txn_declare_range(struct txn *txn, const struct range_spec *spec);
/* An upper bound of the bytes (keys and values) that the procedure will write in count writes. */
void txn_declare_bytes(struct txn *txn, size_t count, size_t bytes);

/* The record of this transaction carries the marker that first_run is done (shard/recovery.c). */
void txn_mark_first_run(struct txn *txn);

#endif
