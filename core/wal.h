/* The log (write-ahead log): one for all shards, written by one thread.
 *
 * A commit is one record. Drawing its LSN and handing it over are one step (wal_publish): the LSN
 * picks the slot of a ring, the log thread consumes slots strictly in order, so log order is LSN
 * order and every prefix of the log is a prefix of the serial order. The log thread writes all that
 * is ready, syncs once, publishes the durable LSN and goes on: group commit (DeWitt et al. 1984). A
 * small batch waits, a few syncs' time at most, for transactions that have reserved and not yet
 * published (the architecture says "without waiting"; measured, wal_writer.c says why).
 *
 * Ownership: a record belongs to its producer until wal_publish; the log thread gives it back to
 * the producer's pool when it is written. Producers are the shards, each with its own pool.
 * Threads: as said at each function.
 * Errors: a failed write or sync ends the process (exit 3): nobody knows what the disk holds. */
#ifndef CONCAVE_CORE_WAL_H
#define CONCAVE_CORE_WAL_H

#include <stdint.h>

#include "core/buf.h"

struct wal;
struct wal_record;

enum wal_durability { WAL_ALWAYS, WAL_INTERVAL, WAL_MANUAL };

struct wal_options {
    const char *dir;
    size_t segment_bytes; /* of a file; at least WAL_SEGMENT_BYTES_MIN */
    enum wal_durability durability;
    uint64_t interval_ms;
    uint64_t batch_delay_us;
    unsigned producers;  /* shards */
    unsigned ring_slots; /* a power of two: records between publish and write; 0 = 65536 */
    size_t ring_bytes;   /* bytes reserved or published and not yet written; 0 = 256 MiB or more */
    uint64_t salt;       /* of an empty directory (wal_read_salt); 0 = a fresh one */
    /* Replay begins behind this LSN: a snapshot holds all up to here; 0 = there is none. */
    uint64_t snapshot_lsn;
    /* The log must reach this LSN: snapshots, also unreadable ones, say that it did. */
    uint64_t snapshot_applied;
    /* Called by the log thread after a sync for each producer that asked for it (wal_announce). */
    void (*wake)(void *ctx, unsigned producer);
    void *wake_ctx;
    /* Called by the log thread after each sync, for the metrics; may be NULL. */
    void (*synced)(void *ctx, uint64_t duration_ns, uint64_t batch_records);
    void *synced_ctx;
};

/* Where segments cannot be smaller; the server's own lower bound is 1 MiB. */
#define WAL_SEGMENT_BYTES_MIN 32768u

/* ---- opening: main thread ---- */

enum wal_op { WAL_PUT = 1, WAL_DELETE = 2, WAL_FIRST_RUN = 3 };

/* What replay hands out, in LSN order: one call for each operation of a record. */
struct wal_replay {
    void *ctx;
    /* A status other than ST_OK ends the replay with it. key and value are valid during the call.
     */
    enum status (*apply)(
        void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value);
    void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes_total); /* may be NULL */
};

/* Opens the log in a directory that the caller has locked: reads the segments with records behind
 * snapshot_lsn, cuts a torn end, refuses damage and gaps, replays, syncs what it replayed. *wal is
 * set before replay's first call, and NULL if the open fails in the end. ST_OK; ST_CORRUPT,
 * ST_INVALID (unknown format version), ST_IO, ST_NOMEM, with file, offset and LSN in error; a
 * status of replay's own. After ST_OK nothing is written yet: wal_start does that. */
MUST_USE enum status wal_open(const struct wal_options *options, const struct wal_replay *replay,
    struct wal **wal, struct buf *error);
/* The salt of the data directory; also the seed of the key hash. Known before replay's first call.
 */
uint64_t wal_salt(const struct wal *wal);
/* The salt alone, before wal_open: of an existing directory, or fresh for an empty one (to be
 * passed on in options.salt: a directory's first segment is only created by wal_start). Never 0. */
MUST_USE enum status wal_read_salt(const char *dir, uint64_t *salt, struct buf *error);

/* Makes a log in a directory without one, that goes on behind this LSN: an empty segment. For a
 * snapshot that came from elsewhere. ST_OK; ST_INVALID (path too long), ST_DISK_FULL, ST_NOMEM,
 * ST_IO. */
MUST_USE enum status wal_create_behind(
    const char *dir, uint64_t salt, uint64_t last_lsn, struct buf *error);

/* Opens the active segment and starts the log thread and the thread that prepares segments. A full
 * disk does not stop it: then no reservation is admitted until there is room. ST_OK; ST_IO,
 * ST_NOMEM. */
MUST_USE enum status wal_start(struct wal *wal, struct buf *error);
/* Writes and syncs all that is published, marks the end as clean, stops the threads. All producers
 * are quiet, their records published or cancelled. Main thread. */
void wal_stop(struct wal *wal);
/* Frees everything; nothing is written. Main thread, after wal_stop (or without wal_start). */
void wal_close(struct wal *wal);

/* ---- a commit: the producer's thread ---- */

/* Bytes that a record of count operations with these key and value bytes takes. */
size_t wal_record_bytes(size_t count, size_t bytes);
/* The most that one record may take: half a segment. */
size_t wal_record_bytes_max(const struct wal *wal);
/* An empty record with room for `bytes` (wal_record_bytes), reserved in the ring and on disk until
 * wal_publish or wal_cancel. Once the disk is full, this fails until there is room for a whole
 * segment again, for records of every size: what holds is simple to say. ST_OK; ST_BUSY if there is
 * no room now; ST_DISK_FULL; ST_TOO_LARGE; ST_NOMEM. Never blocks. */
MUST_USE enum status wal_reserve(
    struct wal *wal, unsigned producer, size_t bytes, struct wal_record **record);
/* key: at most 65535 bytes; value: at most what fits. */
void wal_record_put(struct wal_record *record, struct slice key, struct slice value);
void wal_record_delete(struct wal_record *record, struct slice key);
void wal_record_first_run(struct wal_record *record);
/* Draws the LSN and hands the record over; cannot fail. The log thread takes it when it comes by;
 * wal_kick wakes it. */
uint64_t wal_publish(struct wal *wal, struct wal_record *record);
/* Wakes the log thread if it sleeps. Producers call it once behind all that they have published in
 * a turn of their loop, so that one sync takes the whole turn. Any thread. */
void wal_kick(struct wal *wal);
/* Gives the reservation back. */
void wal_cancel(struct wal *wal, struct wal_record *record);

/* ---- durability: any thread ---- */

/* Everything up to this LSN is on disk. */
uint64_t wal_durable_lsn(const struct wal *wal);
/* The newest LSN drawn; the newest that was found, until this run has a segment to draw for. */
uint64_t wal_last_lsn(const struct wal *wal);
/* What replies wait for: the durable LSN under WAL_ALWAYS, else UINT64_MAX. */
uint64_t wal_reply_lsn(const struct wal *wal);
/* The producer holds gated replies: it is woken (options.wake) at the next sync. Returns
 * wal_reply_lsn as of after the announcement, so that no sync falls between the look and the sleep.
 * Who waits for durability in the other modes too (flush, checkpoint) looks at wal_durable_lsn
 * after this call. */
uint64_t wal_announce(struct wal *wal, unsigned producer);
/* Asks for a sync soon, in every mode (flush, checkpoint); see wal_durable_lsn for when it is done.
 */
void wal_request_sync(struct wal *wal);

/* Removes the segments of which no record is behind this LSN, oldest first, and syncs the
 * directory; the newest one always stays. Any thread, one at a time. ST_OK; ST_NOMEM, ST_IO: some
 * may be gone, which does no harm. */
MUST_USE enum status wal_trim(struct wal *wal, uint64_t lsn, struct buf *error);

/* ---- numbers for metrics and status: any thread; relaxed ---- */

struct wal_numbers {
    uint64_t records, bytes, syncs;
    uint64_t segments;       /* files there are */
    uint64_t first_lsn;      /* of the oldest segment */
    uint64_t replayed_bytes; /* of the records behind the snapshot, when the log was opened */
    bool disk_full;          /* reservations fail for lack of disk space */
};
void wal_read_numbers(const struct wal *wal, struct wal_numbers *numbers);

#endif
