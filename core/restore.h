/* What a data directory holds, brought back: the newest usable snapshot, then the log behind it.
 *
 * A damaged snapshot is passed over with a warning if what is older makes up for it: an older
 * snapshot with its segments, or the whole log from LSN 1. But whatever a snapshot says that the
 * log has reached, in its name if in nothing else, the log must reach (core/wal_open.c), so a
 * passed-over snapshot cannot hide that acknowledged records are lost.
 *
 * Ownership: the log becomes the caller's. What the callbacks get lies in the reader's buffers.
 * Threads: the caller's; callbacks may hand on copies to others.
 * Errors: a status with a sentence in error; a status of a callback's own ends all of it. A start
 * that was interrupted at any point can be repeated: all that is written before the log is open is
 * the cut of a torn end, and what an unfinished snapshot has left is removed. */
#ifndef CONCAVE_CORE_RESTORE_H
#define CONCAVE_CORE_RESTORE_H

#include "core/snapshot.h"
#include "core/wal.h"

struct restore {
    void *ctx;
    /* First of all, and again if a snapshot turned out to be damaged: all that was loaded is to be
     * forgotten. salt: of the directory; keys: how many a snapshot is about to bring, or 0. */
    enum status (*begin)(void *ctx, uint64_t salt, uint64_t keys);
    /* A key of the snapshot; they come in ascending order. */
    enum status (*load)(void *ctx, const struct snapshot_item *item);
    /* The snapshot has been loaded as a whole, or there is none. The log follows. */
    enum status (*loaded)(void *ctx);
    /* An operation of the log. It applies if lsn is higher than the version of its key. */
    enum status (*apply)(
        void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value);
    /* Every now and then; may be NULL. what: "snapshot" or "log". */
    void (*progress)(void *ctx, const char *what, uint64_t bytes_done, uint64_t bytes_total);
};

struct restored {
    bool has_snapshot;
    struct snapshot_info snapshot; /* that was loaded; zeros if there is none */
    unsigned passed_over;          /* damaged snapshots */
};

/* options: of the log; salt and what is said of snapshots there are filled in here. ST_OK; as
 * wal_open, ST_CORRUPT and ST_INVALID for snapshots too. *wal is NULL but after ST_OK. */
MUST_USE enum status restore_run(const struct wal_options *options, const struct restore *restore,
    struct wal **wal, struct restored *restored, struct buf *error);

#endif
