/* A log that keeps nothing: LSNs and reservations as always, no files, no threads.
 *
 * For running an application on a store in memory (`concave test`). Producers use core/wal.h as
 * ever; replies do not wait. wal_forget plays the log thread. The log is closed with wal_close;
 * wal_start and wal_stop are not for it.
 *
 * Ownership: as in core/wal.h. Threads: wal_forget by one thread at a time. Errors: ST_NOMEM. */
#ifndef CONCAVE_CORE_WAL_MEMORY_H
#define CONCAVE_CORE_WAL_MEMORY_H

#include "core/wal.h"

/* segment_bytes bounds a record as that of a real log does (wal_record_bytes_max). */
MUST_USE enum status wal_open_memory(unsigned producers, size_t segment_bytes, struct wal **wal);
/* Takes all records that are published off the ring, so that there is room for others, and declares
 * them durable. */
void wal_forget(struct wal *wal);

#endif
