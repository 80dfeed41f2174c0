/* Records on their way to the log, and the pools from which each producer takes them.
 *
 * Ownership: a producer owns its pool. A record is the producer's from wal_pool_take to
 * wal_publish, then the log thread's, which gives it home with wal_pool_return; records are reused
 * at home only. Threads: wal_pool_take and wal_pool_put are the producer's, wal_pool_return the log
 * thread's. Bounds: a pool keeps WAL_POOL_BYTES_MAX; records over WAL_POOLED_RECORD_BYTES_MAX are
 * never kept. What is on its way home is bounded by what was reserved. */
#ifndef CONCAVE_CORE_WAL_RECORD_H
#define CONCAVE_CORE_WAL_RECORD_H

#include "core/mailbox.h"
#include "core/wal.h"

#define WAL_POOL_BYTES_MAX (4u << 20)
#define WAL_POOLED_RECORD_BYTES_MAX (16u << 10)

struct wal_record {
    struct msg link; /* from: the producer */
    size_t reserved; /* bytes given back to the ring when the record is written or cancelled */
    size_t len;      /* bytes so far, header included */
    size_t cap;
    unsigned char bytes[];
};

struct wal_pool {
    struct wal_record *free; /* linked by link.next */
    size_t free_bytes;
    unsigned producer;
    struct mailbox returned;
};

void wal_pool_init(struct wal_pool *pool, unsigned producer);
/* No record of it may be in use. */
void wal_pool_free(struct wal_pool *pool);
/* An empty record with room for `bytes`; NULL if memory ran out. */
struct wal_record *wal_pool_take(struct wal_pool *pool, size_t bytes);
/* Takes back a record that was never published. */
void wal_pool_put(struct wal_pool *pool, struct wal_record *record);
/* Sends a written record home. */
void wal_pool_return(struct wal_pool *pool, struct wal_record *record);
/* Pads the record to its final length. */
void wal_record_finish(struct wal_record *record);

#endif
