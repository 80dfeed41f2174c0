/* The ring by which records reach the log thread in the order of their LSNs.
 *
 * An LSN is drawn with one fetch-and-add and names its slot (LSN modulo size); the record is stored
 * there at once, and the log thread takes slots strictly in order. A slot is free whenever an LSN
 * is drawn, because each draw needs a reservation, there are at most `size` of them, and one is
 * given back only after its slot was emptied. (The per-slot sequence numbers of Vyukov's bounded
 * queue become unnecessary: the reservation is counted beforehand, where it may still fail.)
 *
 * Reservations count slots and bytes in one atomic word, so that both are taken or neither.
 *
 * Threads: as said at each function. Errors: ST_BUSY. */
#ifndef CONCAVE_CORE_WAL_RING_H
#define CONCAVE_CORE_WAL_RING_H

#include <stdalign.h>
#include <stdatomic.h>

#include "core/wal_record.h"

/* What the counting word can hold: 24 bits of slots, 40 bits of bytes in units of 8. */
#define WAL_RING_SLOTS_MAX (UINT32_C(1) << 23)
#define WAL_RING_BYTES_MAX (UINT64_C(1) << 42)
#define WAL_CACHE_LINE_BYTES 64

struct wal_ring {
    /* ---- written by producers ---- */
    alignas(WAL_CACHE_LINE_BYTES) _Atomic uint64_t next;     /* the LSN to be drawn next */
    alignas(WAL_CACHE_LINE_BYTES) _Atomic uint64_t reserved; /* also by the log thread */
    /* ---- set once ---- */
    alignas(WAL_CACHE_LINE_BYTES) _Atomic(struct wal_record *) *slots;
    uint64_t size; /* a power of two */
    uint64_t bytes_max;
};

struct wal_reserved {
    uint64_t slots, bytes;
};

/* slots: a power of two. ST_OK; ST_NOMEM. */
MUST_USE enum status wal_ring_init(struct wal_ring *ring, uint64_t slots, uint64_t bytes_max);
void wal_ring_free(struct wal_ring *ring);
/* The first LSN to be drawn; before any thread starts. */
void wal_ring_begin(struct wal_ring *ring, uint64_t next_lsn);

/* Any thread. Takes one slot and these bytes (a multiple of 8), if the sum stays in bounds and
 * `admits` says yes to it; it may be asked more than once. ST_OK; what admits said; ST_BUSY. */
MUST_USE enum status wal_ring_reserve(struct wal_ring *ring, uint64_t bytes,
    enum status (*admits)(void *ctx, struct wal_reserved sum), void *ctx);
/* Any thread. */
void wal_ring_give_back(struct wal_ring *ring, struct wal_reserved amount);
struct wal_reserved wal_ring_reserved(const struct wal_ring *ring);

/* A producer that holds a reservation: draws the LSN and hands the record over. */
uint64_t wal_ring_publish(struct wal_ring *ring, struct wal_record *record);
/* Any thread. The newest LSN drawn. */
uint64_t wal_ring_last(const struct wal_ring *ring);

/* Log thread. The record of this LSN, NULL if it is not there yet. */
struct wal_record *wal_ring_peek(const struct wal_ring *ring, uint64_t lsn);
/* Log thread. Empties the slot; its reservation is to be given back after this. */
void wal_ring_consume(struct wal_ring *ring, uint64_t lsn);

#endif
