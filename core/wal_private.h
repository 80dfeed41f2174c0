/* What the files of the log share: the log itself, its fields grouped by the thread that owns them,
 * and its work in steps.
 *
 * wal_step is the log thread, wal_prepare_step the thread that prepares segments; the threads
 * themselves (wal.c) are thin loops around them. So tests and the simulation can run the whole log
 * on one thread: wal_begin, then the steps in any order, then wal_finish (or wal_close alone: a
 * crash).
 *
 * The log thread takes a segment over from the preparing thread when it opens it. The preparing
 * thread may still be filling that segment with zeros from behind; `zeroed` is where the log may
 * write to. */
#ifndef CONCAVE_CORE_WAL_PRIVATE_H
#define CONCAVE_CORE_WAL_PRIVATE_H

#include "core/disk.h"
#include "core/wal_bell.h"
#include "core/wal_format.h"
#include "core/wal_ring.h"

#include <pthread.h>

/* Records are gathered here before they are written; a batch may take several. */
#define WAL_BUFFER_BYTES ((size_t)1 << 20)
/* How many LSNs an unclean stop skips if replies could leave before the sync: more than can have
 * been drawn since the last sync. */
#define WAL_LSN_SKIP (UINT64_C(1) << 32)

struct wal_segment {
    struct disk_file *file;   /* the log thread's */
    struct disk_file *filler; /* the preparing thread's, until the segment is filled */
    uint64_t size;            /* bytes, a multiple of WAL_BLOCK_BYTES */
    _Atomic uint64_t fill_to; /* up to here it is to be filled now; raised by the log thread */
    _Atomic uint64_t zeroed;  /* up to here it is filled and the log may write */
    bool reserved;            /* the file system has promised room for all of it */
    bool offered;             /* it has been handed to the log thread */
    char path[DISK_PATH_BYTES_MAX];
};

struct wal_producer {
    alignas(WAL_CACHE_LINE_BYTES) struct wal_pool pool;
    alignas(WAL_CACHE_LINE_BYTES) atomic_bool waiting; /* wants to be woken by the next sync */
};

struct wal {
    /* ---- set by wal_open ---- */
    struct wal_options options; /* dir points to ours */
    char dir[DISK_PATH_BYTES_MAX];
    uint64_t salt;
    uint64_t segment_bytes;
    bool relaxed; /* replies do not wait for the sync */
    uint64_t replayed_bytes;
    uint64_t found_lsn; /* the last one that was there: of the log or, behind it, of a snapshot */

    /* ---- any thread ---- */
    struct wal_ring ring;
    struct wal_producer *producers;
    _Atomic uint64_t durable; /* LSN; written by the log thread */
    _Atomic uint64_t wanted;  /* LSN up to which someone asked for a sync */
    /* What still fits, in bytes, a block for the mark of a clean end set aside: into the open
     * segment (0: none is open), and into the prepared one. */
    _Atomic uint64_t room_current;
    _Atomic uint64_t room_next;
    atomic_bool opened;         /* this run has a segment: until then nothing is admitted */
    atomic_bool prepare_failed; /* for lack of room; written by the preparing thread */
    atomic_bool disk_full;      /* a reservation has failed for it */
    _Atomic uint64_t records, bytes, syncs, segments, first_lsn; /* metrics */
    _Atomic(struct wal_segment *) next; /* prepared; the log thread takes it, leaving NULL */
    atomic_bool next_wanted;            /* set by the log thread when the open segment fills up */
    struct bell log_bell, prepare_bell;
    atomic_bool stop_log, stop_prepare;

    /* ---- log thread ---- */
    struct wal_segment *current;
    uint64_t seed;           /* of its checksums */
    uint64_t offset;         /* where the buffer goes in its file */
    uint64_t write_lsn;      /* of the record to be written next */
    uint64_t before_lsn;     /* the last LSN that is in the log */
    bool marked;             /* the log ends with a mark of a clean end */
    bool blocked;            /* ready records wait for room: for the bell, that is */
    uint64_t batch_since_ns; /* since when records wait to become a batch; 0: none do */
    uint64_t batch_records;  /* written since the last sync */
    uint64_t synced_ns;      /* when the last sync was */
    uint64_t sync_took_ns;   /* what a sync takes, a moving average */
    unsigned char *buffer;   /* of WAL_BUFFER_BYTES */
    size_t buffered;

    /* ---- preparing thread ---- */
    struct wal_segment *filling; /* perhaps already opened by the log thread */

    /* ---- main thread ---- */
    pthread_t log_thread, prepare_thread;
    bool running;
    /* left by wal_open for wal_begin: the last segment, if the log goes on in it or it is to be
     * shortened to what it holds */
    char last_path[DISK_PATH_BYTES_MAX];
    uint64_t last_first_lsn, last_offset, last_size;
    uint32_t last_flags;
};

/* Builds dir/name; the directory's length was checked by wal_open. */
void wal_path(const struct wal *wal, const char *name, char *path);

/* wal_start without the threads. */
MUST_USE enum status wal_begin(struct wal *wal, struct buf *error);
/* wal_stop after the threads have ended: writes what is published, syncs it, marks the end. */
void wal_finish(struct wal *wal);

/* ---- wal_writer.c: the log thread ---- */

/* Writes what is ready, syncs if it is time, publishes the durable LSN, wakes producers. Returns
 * when it wants to be called next, on the clock of now_ns: 0 = at once, UINT64_MAX = when the bell
 * rings. */
uint64_t wal_step(struct wal *wal, uint64_t now_ns);
/* Writes what is buffered, syncs and publishes all that is written. */
void wal_sync_written(struct wal *wal);
/* Tells the producers what fits into the open segment, and the preparing thread what is needed. */
void wal_publish_room(struct wal *wal);
/* Writes a mark of a clean end and syncs it; all before it is on disk. */
void wal_write_mark(struct wal *wal);

/* ---- wal_segments.c ---- */

/* Preparing thread. One piece of work, at most a MiB of zeros. True if there is more to do at once.
 */
bool wal_prepare_step(struct wal *wal);
/* Log thread. Asks for the next segment, unless it is there. */
void wal_want_next(struct wal *wal);
/* Log thread. Asks for the open segment to be filled at least up to here. */
void wal_want_filled(struct wal *wal, uint64_t end);
/* Log thread. Opens the prepared segment, syncing and closing the one before. False if none is
 * prepared; then the preparing thread has been asked. */
bool wal_open_next(struct wal *wal);
/* Goes on in the last segment of an earlier run. ST_OK; ST_IO, ST_NOMEM. */
MUST_USE enum status wal_reopen_last(struct wal *wal, struct buf *error);
/* Removes what an earlier run was preparing. ST_OK; ST_IO. */
MUST_USE enum status wal_remove_prepared(struct wal *wal, struct buf *error);
void wal_segment_free(struct wal_segment *segment);

/* Ends the process (exit 3): a file operation has failed and nobody knows what the disk holds. */
_Noreturn void wal_fatal(const char *doing, const char *path, uint64_t offset);

#endif
