/* The log's public face: reservations and publishing for producers, durability for all, and the two
 * threads, which are thin loops around the steps of wal_writer.c and wal_segments.c. */
#include "core/wal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "core/clock.h"
#include "core/diag.h"
#include "core/wal_private.h"

/* How often a segment that a full disk prevented is tried again. */
#define PREPARE_RETRY_NS (500 * NS_PER_MS)

/* ---- a commit ---- */

size_t wal_record_bytes_max(const struct wal *wal) {
    return (size_t)(wal->segment_bytes / 2);
}

/* Whether all that is reserved, with what is asked for now, is sure to find room on disk: if it
 * fits into the rest of the open segment, or else into the prepared one. If a record does not fit
 * into that rest any more, all that is still outstanding fits into the other: hence the greater of
 * the two rooms, not their sum. The log thread keeps this true when it writes (take_room in
 * wal_writer.c), so a full disk is met here, where a transaction can still be refused. */
static enum status admits(void *ctx, struct wal_reserved sum) {
    struct wal *wal = ctx;
    if (atomic_load(&wal->disk_full))
        return ST_DISK_FULL;
    uint64_t current = atomic_load(&wal->room_current);
    uint64_t next = atomic_load(&wal->room_next);
    /* An LSN may be shown (relaxed modes) only when a segment on disk has declared its run. */
    if (atomic_load(&wal->opened) && sum.bytes <= (current > next ? current : next))
        return ST_OK;
    if (!atomic_load(&wal->prepare_failed))
        return ST_BUSY; /* the next segment is on its way */
    atomic_store(&wal->disk_full, true);
    /* If there is room again since, its flag was cleared before ours was set, or will be after. */
    if (!atomic_load(&wal->prepare_failed))
        atomic_store(&wal->disk_full, false);
    return ST_DISK_FULL;
}

static void give_back(struct wal *wal, struct wal_reserved amount) {
    wal_ring_give_back(&wal->ring, amount);
    bell_ring(&wal->log_bell); /* it may be holding a batch back for this one */
}

enum status wal_reserve(
    struct wal *wal, unsigned producer, size_t bytes, struct wal_record **record) {
    assert(producer < wal->options.producers);
    if (bytes > wal_record_bytes_max(wal))
        return ST_TOO_LARGE;
    bytes = (size_t)wal_align_up(bytes, WAL_ALIGN_BYTES);
    enum status status = wal_ring_reserve(&wal->ring, bytes, admits, wal);
    if (status != ST_OK)
        return status;
    struct wal_reserved amount = {.slots = 1, .bytes = bytes};
    /* Once more with the reservation in place: the room may have shrunk between look and taking,
     * and the log thread, which takes room first and looks at reservations then, may have missed
     * this. */
    status = admits(wal, wal_ring_reserved(&wal->ring));
    struct wal_record *taken = NULL;
    if (status == ST_OK) {
        taken = wal_pool_take(&wal->producers[producer].pool, bytes);
        if (!taken)
            status = ST_NOMEM;
    }
    if (status != ST_OK) {
        give_back(wal, amount);
        return status;
    }
    taken->reserved = bytes;
    *record = taken;
    return ST_OK;
}

uint64_t wal_publish(struct wal *wal, struct wal_record *record) {
    wal_record_finish(record);
    assert(record->len <= record->reserved);
    return wal_ring_publish(&wal->ring, record);
}

void wal_kick(struct wal *wal) {
    bell_ring(&wal->log_bell);
}

void wal_cancel(struct wal *wal, struct wal_record *record) {
    struct wal_reserved amount = {.slots = 1, .bytes = record->reserved};
    wal_pool_put(&wal->producers[record->link.from].pool, record);
    give_back(wal, amount);
}

/* ---- durability ---- */

uint64_t wal_durable_lsn(const struct wal *wal) {
    return atomic_load_explicit(&wal->durable, memory_order_seq_cst);
}

uint64_t wal_last_lsn(const struct wal *wal) {
    /* Until a segment has declared them, LSNs that an unclean stop made this run skip are not of
     * this log: a snapshot that named one would ask of the next start what nobody has written. */
    return atomic_load(&wal->opened) ? wal_ring_last(&wal->ring) : wal->found_lsn;
}

uint64_t wal_reply_lsn(const struct wal *wal) {
    return wal->relaxed ? UINT64_MAX : wal_durable_lsn(wal);
}

uint64_t wal_announce(struct wal *wal, unsigned producer) {
    assert(producer < wal->options.producers);
    atomic_store_explicit(&wal->producers[producer].waiting, true, memory_order_seq_cst);
    return wal_reply_lsn(wal);
}

void wal_request_sync(struct wal *wal) {
    uint64_t last = wal_last_lsn(wal);
    uint64_t wanted = atomic_load(&wal->wanted);
    while (wanted < last && !atomic_compare_exchange_weak(&wal->wanted, &wanted, last))
        ;
    bell_ring(&wal->log_bell);
}

void wal_read_numbers(const struct wal *wal, struct wal_numbers *numbers) {
    numbers->records = atomic_load_explicit(&wal->records, memory_order_relaxed);
    numbers->bytes = atomic_load_explicit(&wal->bytes, memory_order_relaxed);
    numbers->syncs = atomic_load_explicit(&wal->syncs, memory_order_relaxed);
    numbers->segments = atomic_load_explicit(&wal->segments, memory_order_relaxed);
    numbers->first_lsn = atomic_load_explicit(&wal->first_lsn, memory_order_relaxed);
    numbers->replayed_bytes = wal->replayed_bytes;
    numbers->disk_full = atomic_load_explicit(&wal->disk_full, memory_order_relaxed);
}

uint64_t wal_salt(const struct wal *wal) {
    return wal->salt;
}

/* ---- the threads ---- */

static void *run_log(void *ctx) {
    struct wal *wal = ctx;
    /* A batch waits tens of microseconds; by default the kernel would add 50 to each wait. */
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    pthread_setname_np(pthread_self(), "log");
    while (!atomic_load(&wal->stop_log)) {
        if (wal_step(wal, clock_monotonic_ns()) == 0)
            continue;
        bell_announce(&wal->log_bell);
        uint64_t now_ns = clock_monotonic_ns();
        uint64_t due_ns = wal_step(wal, now_ns);
        if (due_ns <= now_ns || atomic_load(&wal->stop_log))
            bell_withdraw(&wal->log_bell);
        else
            bell_wait(&wal->log_bell, due_ns == UINT64_MAX ? UINT64_MAX : due_ns - now_ns);
    }
    return NULL;
}

static void *run_prepare(void *ctx) {
    struct wal *wal = ctx;
    while (!atomic_load(&wal->stop_prepare)) {
        if (wal_prepare_step(wal))
            continue;
        bell_announce(&wal->prepare_bell);
        if (atomic_load(&wal->stop_prepare) || wal_prepare_step(wal))
            bell_withdraw(&wal->prepare_bell);
        else
            bell_wait(&wal->prepare_bell,
                atomic_load(&wal->prepare_failed) ? PREPARE_RETRY_NS : UINT64_MAX);
    }
    return NULL;
}

/* Signals are main's business; a thread inherits the mask of its creator. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *ctx) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void stop_thread(pthread_t thread, atomic_bool *stop, struct bell *bell) {
    atomic_store(stop, true);
    bell_ring(bell);
    int error = pthread_join(thread, NULL);
    assert(!error);
}

/* ---- beginning and end ---- */

/* The log goes on in its last segment if that was written with the same promise to clients (its
 * header says which) and by an `always` run, whose header says nothing about the end. A relaxed run
 * needs a header of its own: it takes back, on disk and before the first reply, what a mark of a
 * clean end has said. */
static bool may_go_on(const struct wal *wal) {
    bool has_room = wal->last_size >= 2 * WAL_BLOCK_BYTES &&
                    wal_align_up(wal->last_offset, WAL_BLOCK_BYTES) <
                        (wal->last_size - WAL_BLOCK_BYTES) / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
    return wal->last_first_lsn != 0 && !wal->relaxed && !(wal->last_flags & WAL_SEGMENT_RELAXED) &&
           has_room;
}

/* Takes the unused rest off the last segment, or restarts would leave one whole segment each. */
static enum status shorten_last(struct wal *wal, struct buf *error) {
    uint64_t used = wal_align_up(wal->last_offset, WAL_BLOCK_BYTES);
    if (wal->last_first_lsn == 0 || used >= wal->last_size)
        return ST_OK;
    struct disk_file *file;
    enum status status = disk_open(wal->last_path, DISK_UPDATE, &file);
    if (status != ST_OK) {
        buf_printf(error, "%s: cannot be written: %s", wal->last_path, strerror(errno));
        return status == ST_NOMEM ? ST_NOMEM : ST_IO;
    }
    if (disk_truncate(file, used) != ST_OK || disk_sync(file) != ST_OK)
        wal_fatal("shortening", wal->last_path, used);
    disk_close(file);
    return ST_OK;
}

enum status wal_begin(struct wal *wal, struct buf *error) {
    enum status status = wal_remove_prepared(wal, error);
    if (status != ST_OK)
        return status;
    if (may_go_on(wal)) {
        status = wal_reopen_last(wal, error);
    } else {
        status = shorten_last(wal, error);
        wal_want_next(wal);
        /* The first MiB, here: a server that starts wants to serve. */
        while (status == ST_OK && !atomic_load(&wal->next) && wal_prepare_step(wal))
            ;
        if (status == ST_OK)
            (void)wal_open_next(wal);
    }
    return status;
}

enum status wal_start(struct wal *wal, struct buf *error) {
    assert(!wal->running);
    enum status status = wal_begin(wal, error);
    if (status != ST_OK)
        return status;
    int failed = start_thread(&wal->prepare_thread, run_prepare, wal);
    if (!failed) {
        failed = start_thread(&wal->log_thread, run_log, wal);
        if (failed)
            stop_thread(wal->prepare_thread, &wal->stop_prepare, &wal->prepare_bell);
    }
    if (failed) {
        buf_printf(error, "no thread for the log: %s", strerror(failed));
        return ST_NOMEM;
    }
    wal->running = true;
    return ST_OK;
}

void wal_finish(struct wal *wal) {
    wal->options.batch_delay_us = 0;
    while (wal_ring_last(&wal->ring) >= wal->write_lsn) {
        (void)wal_step(wal, clock_monotonic_ns());
        if (wal->blocked && !wal_prepare_step(wal) && atomic_load(&wal->prepare_failed))
            diag_fatal(3, "%s: the disk is full: published records cannot be written", wal->dir);
    }
    assert(wal_ring_reserved(&wal->ring).slots == 0);
    if (wal->current) {
        wal_sync_written(wal);
        if (!wal->marked)
            wal_write_mark(wal);
    }
    struct buf error;
    buf_init(&error, DISK_PATH_BYTES_MAX * 2);
    if (atomic_load(&wal->next) || (wal->filling && !wal->filling->offered))
        if (wal_remove_prepared(wal, &error) != ST_OK)
            diag(DIAG_WARN, "%.*s", (int)error.len, error.data);
    buf_free(&error);
}

void wal_stop(struct wal *wal) {
    assert(wal->running);
    stop_thread(wal->log_thread, &wal->stop_log, &wal->log_bell);
    stop_thread(wal->prepare_thread, &wal->stop_prepare, &wal->prepare_bell);
    wal->running = false;
    wal_finish(wal);
}

static void free_unpublished_ring(struct wal *wal) {
    for (uint64_t lsn = wal->write_lsn; lsn <= wal_ring_last(&wal->ring); lsn++)
        free(wal_ring_peek(&wal->ring, lsn));
}

void wal_close(struct wal *wal) {
    if (!wal)
        return;
    assert(!wal->running);
    if (wal->ring.slots)
        free_unpublished_ring(wal);
    struct wal_segment *next = atomic_load(&wal->next);
    /* The segment being filled may have been offered, or opened, already. */
    if (wal->filling != next && wal->filling != wal->current)
        wal_segment_free(wal->filling);
    wal_segment_free(next);
    wal_segment_free(wal->current);
    wal_ring_free(&wal->ring);
    for (unsigned i = 0; wal->producers && i < wal->options.producers; i++)
        wal_pool_free(&wal->producers[i].pool);
    bell_free(&wal->log_bell);
    bell_free(&wal->prepare_bell);
    free(wal->producers);
    free(wal->buffer);
    free(wal);
}
