/* One life of the arena's log, from a recovery to its end: what a server does with its log and
 * snapshots, on one thread: publish, step, sync, take a snapshot of two shards frozen at different
 * moments; and at the beginning, what a recovery brings back is checked.
 *
 * Ownership: the caller owns ledger and life; the life owns log, store and an unfinished snapshot
 * until log_life_end. Threads: one.
 * Errors: what the log must never do is noted in the ledger. A failed disk call that ends the
 * process (diag_fatal) jumps to who catches it (tests/support/diag_catch.h). */
#ifndef CONCAVE_TESTS_SIM_LOG_LIFE_H
#define CONCAVE_TESTS_SIM_LOG_LIFE_H

#include "core/restore.h"
#include "core/wal_private.h"
#include "tests/sim/log_store.h"

#define LOG_DIR "/data"
#define LOG_SALT 42u

/* Sets the clock behind core/clock.h, which stands still otherwise. */
typedef void log_clock(uint64_t ns);

struct log_life {
    struct log_ledger *ledger;
    uint64_t *random;
    log_clock *clock_set;
    bool in_blocks; /* records fill blocks, and are synced at once */
    uint64_t burst; /* the most transactions published in one act; at least 1, set by the owner */
    struct wal_options options;
    struct wal *wal; /* NULL before it is open, and if that failed */
    bool opening;    /* leaks_overlook; the tests of opening itself (test_wal.c) look */
    struct log_store store;
    struct restored restored;
    uint64_t replayed_lsn; /* of the newest operation that was replayed */
    struct snapshot_writer *writer;
    struct buf error, snapshot_error;
    uint64_t snapshots; /* published */
};

/* in_blocks: see above; else settings are drawn. */
void log_life_init(struct log_life *life, struct log_ledger *ledger, uint64_t *random,
    log_clock *clock_set, bool in_blocks);
/* Restores what is there, into the store; checks nothing but that only what was written is
 * replayed. As restore_run; the sentence is in life->error. */
MUST_USE enum status log_life_restore(struct log_life *life);
/* How many transactions of the ledger were restored; notes what is wrong with the state. */
size_t log_life_restored(struct log_life *life);
/* The whole beginning: restores, checks, notes in the ledger what is lost, and opens the log for
 * more. As wal_begin. */
MUST_USE enum status log_life_begin(struct log_life *life);
/* Does something: publishes, steps, syncs, lets time pass, takes a snapshot. */
void log_life_act(struct log_life *life);
/* Notes what is durable by now; to be called whenever the outside could look. */
void log_life_observe(struct log_life *life);
/* Frees everything: nothing more is written. */
void log_life_end(struct log_life *life);

#endif
