#include "core/wal_memory.h"

#include <assert.h>
#include <stdlib.h>

#include "core/wal_private.h"

/* Records between two calls of wal_forget. */
#define RING_SLOTS 4096u

enum status wal_open_memory(unsigned producers, size_t segment_bytes, struct wal **out) {
    assert(producers > 0 && segment_bytes >= WAL_SEGMENT_BYTES_MIN);
    struct wal *wal = aligned_alloc(alignof(struct wal), sizeof(*wal));
    if (!wal)
        return ST_NOMEM;
    memset(wal, 0, sizeof(*wal));
    wal->log_bell.fd = wal->prepare_bell.fd = -1; /* nobody sleeps by them */
    wal->options.producers = producers;
    wal->relaxed = true;
    wal->segment_bytes = segment_bytes;
    wal->write_lsn = 1;
    size_t producers_bytes = producers * sizeof(*wal->producers);
    wal->producers = aligned_alloc(alignof(struct wal_producer), producers_bytes);
    enum status status = ST_NOMEM;
    if (wal->producers) {
        memset(wal->producers, 0, producers_bytes);
        for (unsigned i = 0; i < producers; i++)
            wal_pool_init(&wal->producers[i].pool, i);
        status = wal_ring_init(&wal->ring, RING_SLOTS, WAL_RING_BYTES_MAX);
    }
    if (status != ST_OK) {
        wal_close(wal);
        return status;
    }
    atomic_store(&wal->room_current, UINT64_MAX);
    atomic_store(&wal->opened, true);
    *out = wal;
    return ST_OK;
}

void wal_forget(struct wal *wal) {
    struct wal_record *record;
    while ((record = wal_ring_peek(&wal->ring, wal->write_lsn)) != NULL) {
        struct wal_reserved amount = {.slots = 1, .bytes = record->reserved};
        wal_ring_consume(&wal->ring, wal->write_lsn++);
        wal_pool_return(&wal->producers[record->link.from].pool, record);
        wal_ring_give_back(&wal->ring, amount);
    }
    atomic_store(&wal->durable, wal->write_lsn - 1);
}
