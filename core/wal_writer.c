/* The log thread's work: collect, write, sync, publish, wake.
 *
 * 1. Records are taken from the ring in the order of their LSNs and completed: LSN, D, checksums.
 * 2. They are gathered in a buffer and written; the last block of a batch is filled up with zeros,
 *    so that the next batch begins on a block of its own.
 * 3. The segment is synced: at once (always), when the interval is over, or when someone asked.
 * 4. The durable LSN is published; producers that announced themselves are woken.
 *
 * Meanwhile new records gather in the ring: group commit (DeWitt et al. 1984). A batch waits for no
 * one who is not known to come; but while a transaction holds a reservation it is prepared, and its
 * record is a message or two away. For those a small batch waits, a few syncs' time at most: with
 * several shards most of a load's transactions are in that state, and a sync for each handful of
 * them took more time than it saved (perf/RESULTS.md). A single client's record never waits.
 *
 * If a record does not fit into the open segment, the batch ends before it, is
 * synced, and the next segment is opened. */
#include "core/wal_private.h"

#include <assert.h>

#include "core/clock.h"

static uint64_t position(const struct wal *wal) {
    return wal->offset + wal->buffered;
}

/* The last block of each segment is set aside for a mark of a clean end. */
static uint64_t record_limit(const struct wal *wal) {
    return wal->current->size - WAL_BLOCK_BYTES;
}

void wal_publish_room(struct wal *wal) {
    uint64_t used = wal_align_up(position(wal), WAL_BLOCK_BYTES);
    uint64_t limit = record_limit(wal);
    uint64_t room = used < limit ? limit - used : 0;
    atomic_store(&wal->room_current, room);
    atomic_store(&wal->opened, true);
    if (room < wal->segment_bytes / 4 * 3)
        wal_want_next(wal);
    wal_want_filled(wal, used);
}

/* ---- writing ---- */

static void write_buffer(struct wal *wal) {
    if (wal->buffered == 0)
        return;
    if (disk_write(wal->current->file, wal->offset, wal->buffer, wal->buffered) != ST_OK)
        wal_fatal("writing", wal->current->path, wal->offset);
    wal->offset += wal->buffered;
    wal->buffered = 0;
}

static void buffer_bytes(struct wal *wal, const unsigned char *bytes, size_t len) {
    while (len > 0) {
        size_t room = WAL_BUFFER_BYTES - wal->buffered;
        size_t part = len < room ? len : room;
        memcpy(wal->buffer + wal->buffered, bytes, part);
        wal->buffered += part;
        bytes += part;
        len -= part;
        if (wal->buffered == WAL_BUFFER_BYTES)
            write_buffer(wal);
    }
}

/* Ends a batch on a block's end and writes it. */
static void write_batch(struct wal *wal) {
    size_t padding = (size_t)(wal_align_up(position(wal), WAL_BLOCK_BYTES) - position(wal));
    assert(padding <= WAL_BUFFER_BYTES - wal->buffered); /* the buffer is whole blocks */
    memset(wal->buffer + wal->buffered, 0, padding);
    wal->buffered += padding;
    atomic_fetch_add_explicit(&wal->bytes, padding, memory_order_relaxed);
    write_buffer(wal);
}

_Static_assert(WAL_BUFFER_BYTES % WAL_BLOCK_BYTES == 0, "write_batch relies on it");

/* ---- syncing ---- */

/* A batch of so many records is worth its sync; a smaller one waits for those who are prepared, up
 * to so many syncs' time. Found by trying at 1, 2 and 4 shards (perf/RESULTS.md). */
#define GATHER_RECORDS 20
#define GATHER_SYNCS 4
/* A longer sync gathers enough by itself. */
#define GATHER_SYNC_NS_MAX (200 * NS_PER_US)

static uint64_t durable_lsn(const struct wal *wal) {
    return atomic_load_explicit(&wal->durable, memory_order_relaxed); /* ours alone to write */
}

static void learn_sync_time(struct wal *wal, uint64_t took_ns) {
    if (took_ns > GATHER_SYNC_NS_MAX)
        took_ns = GATHER_SYNC_NS_MAX;
    wal->sync_took_ns = (7 * wal->sync_took_ns + took_ns) / 8;
}

static bool unsynced(const struct wal *wal) {
    return durable_lsn(wal) < wal->write_lsn - 1;
}

static void wake_producers(struct wal *wal) {
    for (unsigned i = 0; i < wal->options.producers; i++) {
        atomic_bool *waiting = &wal->producers[i].waiting;
        if (atomic_load_explicit(waiting, memory_order_seq_cst) &&
            atomic_exchange_explicit(waiting, false, memory_order_seq_cst) && wal->options.wake)
            wal->options.wake(wal->options.wake_ctx, i);
    }
}

void wal_sync_written(struct wal *wal) {
    write_batch(wal);
    if (!unsynced(wal))
        return;
    uint64_t start_ns = clock_monotonic_ns();
    if (disk_sync(wal->current->file) != ST_OK)
        wal_fatal("syncing", wal->current->path, wal->offset);
    uint64_t end_ns = clock_monotonic_ns();
    /* Counted first, so that whoever has a reply finds its sync in the metrics. */
    atomic_fetch_add_explicit(&wal->syncs, 1, memory_order_relaxed);
    if (wal->options.synced)
        wal->options.synced(wal->options.synced_ctx, end_ns - start_ns, wal->batch_records);
    /* Sequentially consistent against wal_announce: store, then look at who waits (Dekker). */
    atomic_store_explicit(&wal->durable, wal->write_lsn - 1, memory_order_seq_cst);
    wake_producers(wal);
    wal->batch_records = 0;
    wal->synced_ns = end_ns;
    learn_sync_time(wal, end_ns - start_ns);
}

/* When the written records are to be synced: 0 = now, UINT64_MAX = not yet known. */
static uint64_t sync_due_ns(const struct wal *wal) {
    if (!unsynced(wal))
        return UINT64_MAX;
    if (wal->options.durability == WAL_ALWAYS || atomic_load(&wal->wanted) > durable_lsn(wal))
        return 0;
    if (wal->options.durability == WAL_MANUAL)
        return UINT64_MAX;
    return wal->synced_ns + wal->options.interval_ms * NS_PER_MS;
}

/* ---- collecting ---- */

struct batch {
    uint64_t records;
    uint64_t bytes;    /* as they will be written, without the padding at the end */
    uint64_t reserved; /* bytes to give back */
};

/* Where the open segment may be written to at present. */
static uint64_t write_limit(const struct wal *wal) {
    uint64_t zeroed = atomic_load(&wal->current->zeroed);
    uint64_t limit = record_limit(wal);
    return zeroed < limit ? zeroed : limit;
}

/* The records up to `last` that are ready and fit into the open segment. */
static struct batch measure_batch(const struct wal *wal, uint64_t last) {
    struct batch batch = {0};
    uint64_t room = write_limit(wal) > wal->offset ? write_limit(wal) - wal->offset : 0;
    room = room / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
    for (uint64_t lsn = wal->write_lsn; lsn <= last; lsn++) {
        const struct wal_record *record = wal_ring_peek(&wal->ring, lsn);
        if (!record || record->len > room - batch.bytes)
            break;
        batch.records++;
        batch.bytes += record->len;
        batch.reserved += record->reserved;
    }
    return batch;
}

/* Takes the batch's blocks out of the room that producers see, if what is still reserved then keeps
 * fitting (see admits in wal.c). Else the batch must not be written yet: its padding takes room
 * that was promised. It becomes longer, and so its padding counts less, as the reservations
 * outstanding are published or cancelled; none of them waits for the log. */
static bool take_room(struct wal *wal, const struct batch *batch) {
    uint64_t end = wal->offset + wal_align_up(batch->bytes, WAL_BLOCK_BYTES);
    uint64_t before = atomic_load(&wal->room_current);
    uint64_t after = record_limit(wal) - end;
    uint64_t next = atomic_load(&wal->room_next);
    /* First taken, then looked at what is reserved; wal_reserve does it the other way round. */
    atomic_store(&wal->room_current, after);
    uint64_t left = wal_ring_reserved(&wal->ring).bytes - batch->reserved;
    if (left <= (after > next ? after : next))
        return true;
    atomic_store(&wal->room_current, before);
    return false;
}

static void append_record(struct wal *wal, struct wal_record *record) {
    wal_record_seal(record->bytes, record->len, wal->write_lsn, durable_lsn(wal), wal->seed);
    buffer_bytes(wal, record->bytes, record->len);
    wal_ring_consume(&wal->ring, wal->write_lsn);
    wal->before_lsn = wal->write_lsn++;
    wal_pool_return(&wal->producers[record->link.from].pool, record);
}

static void append_batch(struct wal *wal, const struct batch *batch) {
    for (uint64_t i = 0; i < batch->records; i++)
        append_record(wal, wal_ring_peek(&wal->ring, wal->write_lsn));
    write_batch(wal);
    wal_publish_room(wal);
    wal->marked = false;
    wal->batch_records += batch->records;
    atomic_fetch_add_explicit(&wal->records, batch->records, memory_order_relaxed);
    atomic_fetch_add_explicit(&wal->bytes, batch->bytes, memory_order_relaxed);
    wal_ring_give_back(
        &wal->ring, (struct wal_reserved){.slots = batch->records, .bytes = batch->reserved});
}

/* The next record, of this length, does not fit into what may be written of the open segment: on to
 * the next one. But a segment that is not filled yet is not left, its filler needs it open. */
static bool go_over(struct wal *wal, size_t bytes) {
    if (!wal->current || atomic_load(&wal->current->zeroed) == wal->current->size)
        return wal_open_next(wal);
    uint64_t end = wal->offset + wal_align_up(bytes, WAL_BLOCK_BYTES);
    if (end <= record_limit(wal))
        wal_want_filled(wal, end);
    else
        wal_want_next(wal);
    return false;
}

/* Takes what is ready from the ring and writes it. */
static void write_ready(struct wal *wal) {
    /* What is drawn later waits for the next step, so that a steady stream cannot put off the sync.
     */
    uint64_t last = wal_ring_last(&wal->ring);
    wal->blocked = false;
    while (wal->write_lsn <= last) {
        const struct wal_record *first = wal_ring_peek(&wal->ring, wal->write_lsn);
        struct batch batch = {0};
        if (!first)
            return;
        if (wal->current)
            batch = measure_batch(wal, last);
        bool goes_on = batch.records > 0 ? take_room(wal, &batch) : go_over(wal, first->len);
        if (!goes_on) {
            wal->blocked = true;
            return;
        }
        if (batch.records > 0)
            append_batch(wal, &batch);
    }
}

/* How long records that are ready are held back, from the first look at them. */
static uint64_t gather_ns(const struct wal *wal) {
    if (wal->options.batch_delay_us > 0)
        return wal->options.batch_delay_us * NS_PER_US;
    uint64_t ready = wal_ring_last(&wal->ring) - wal->write_lsn + 1;
    bool others_prepared = wal_ring_reserved(&wal->ring).slots > ready;
    if (wal->options.durability != WAL_ALWAYS || ready >= GATHER_RECORDS || !others_prepared)
        return 0;
    return GATHER_SYNCS * wal->sync_took_ns;
}

/* When the records that are ready are to be written. */
static uint64_t batch_due_ns(struct wal *wal, uint64_t now_ns) {
    if (!wal_ring_peek(&wal->ring, wal->write_lsn)) {
        wal->batch_since_ns = 0;
        return UINT64_MAX;
    }
    uint64_t wait_ns = gather_ns(wal);
    if (wait_ns == 0)
        return 0;
    if (wal->batch_since_ns == 0)
        wal->batch_since_ns = now_ns;
    return wal->batch_since_ns + wait_ns;
}

uint64_t wal_step(struct wal *wal, uint64_t now_ns) {
    if (!wal->current)
        (void)wal_open_next(wal); /* before any record needs it: reservations wait for it */
    /* What was kept out for lack of room has waited enough: only the bell calls us for it, so each
     * look may be the last one for long. */
    if (wal->blocked || batch_due_ns(wal, now_ns) <= now_ns) {
        write_ready(wal);
        wal->batch_since_ns = 0;
    }
    if (sync_due_ns(wal) <= now_ns)
        wal_sync_written(wal);
    uint64_t sync_due = sync_due_ns(wal);
    uint64_t batch_due = wal->blocked ? UINT64_MAX : batch_due_ns(wal, now_ns);
    return batch_due < sync_due ? batch_due : sync_due;
}

/* ---- the end ---- */

void wal_write_mark(struct wal *wal) {
    assert(!unsynced(wal) && wal->buffered == 0);
    unsigned char record[WAL_RECORD_HEADER_BYTES + WAL_OP_HEADER_BYTES];
    struct slice none = slice_of(NULL, 0);
    wal_op_encode(record + WAL_RECORD_HEADER_BYTES, WAL_OP_CLEAN_END, none, none);
    wal_record_seal(record, sizeof(record), wal->write_lsn - 1, wal->write_lsn - 1, wal->seed);
    buffer_bytes(wal, record, sizeof(record));
    write_batch(wal);
    if (disk_sync(wal->current->file) != ST_OK)
        wal_fatal("syncing", wal->current->path, wal->offset);
    wal->marked = true;
}
