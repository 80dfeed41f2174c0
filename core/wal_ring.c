#include "core/wal_ring.h"

#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"
#include "core/wal_format.h"

#define BYTES_BITS 40u
#define SLOT_UNIT (UINT64_C(1) << BYTES_BITS)
#define BYTES_MASK (SLOT_UNIT - 1)

_Static_assert(WAL_RING_BYTES_MAX / WAL_ALIGN_BYTES < SLOT_UNIT, "bytes do not run into slots");
_Static_assert(WAL_RING_SLOTS_MAX < (UINT64_C(1) << (64 - BYTES_BITS)), "slots do not overflow");

static uint64_t pack(struct wal_reserved amount) {
    return amount.slots * SLOT_UNIT + amount.bytes / WAL_ALIGN_BYTES;
}

static struct wal_reserved unpack(uint64_t word) {
    return (struct wal_reserved){
        .slots = word >> BYTES_BITS, .bytes = (word & BYTES_MASK) * WAL_ALIGN_BYTES};
}

enum status wal_ring_init(struct wal_ring *ring, uint64_t slots, uint64_t bytes_max) {
    assert(slots && (slots & (slots - 1)) == 0 && slots <= WAL_RING_SLOTS_MAX);
    assert(bytes_max <= WAL_RING_BYTES_MAX);
    ring->slots = calloc(slots, sizeof(*ring->slots));
    if (!ring->slots)
        return ST_NOMEM;
    for (uint64_t i = 0; i < slots; i++)
        atomic_init(&ring->slots[i], NULL);
    ring->size = slots;
    ring->bytes_max = bytes_max;
    atomic_init(&ring->reserved, 0);
    atomic_init(&ring->next, 1);
    return ST_OK;
}

void wal_ring_free(struct wal_ring *ring) {
    free(ring->slots);
    ring->slots = NULL;
}

void wal_ring_begin(struct wal_ring *ring, uint64_t next_lsn) {
    atomic_store(&ring->next, next_lsn);
}

enum status wal_ring_reserve(struct wal_ring *ring, uint64_t bytes,
    enum status (*admits)(void *ctx, struct wal_reserved sum), void *ctx) {
    assert(bytes % WAL_ALIGN_BYTES == 0 && bytes <= WAL_RING_BYTES_MAX);
    struct wal_reserved amount = {.slots = 1, .bytes = bytes};
    uint64_t word = atomic_load_explicit(&ring->reserved, memory_order_relaxed);
    do {
        struct wal_reserved sum = unpack(word);
        sum.slots += amount.slots;
        sum.bytes += amount.bytes;
        if (sum.slots > ring->size || sum.bytes > ring->bytes_max)
            return ST_BUSY;
        enum status status = admits(ctx, sum);
        if (status != ST_OK)
            return status;
        /* Acquires the emptying of the slots whose reservations were given back before. */
    } while (!atomic_compare_exchange_weak_explicit(
        &ring->reserved, &word, word + pack(amount), memory_order_seq_cst, memory_order_relaxed));
    return ST_OK;
}

void wal_ring_give_back(struct wal_ring *ring, struct wal_reserved amount) {
    uint64_t before =
        atomic_fetch_sub_explicit(&ring->reserved, pack(amount), memory_order_seq_cst);
    assert(unpack(before).slots >= amount.slots && unpack(before).bytes >= amount.bytes);
}

struct wal_reserved wal_ring_reserved(const struct wal_ring *ring) {
    return unpack(atomic_load_explicit(&ring->reserved, memory_order_seq_cst));
}

/* Puts the record into the slot of the one before it, which was drawn first but comes second, and
 * gives that one back: a queue of its own beside the numbers. Itself, if none is before it. */
static struct wal_record *overtake(struct wal_ring *ring, uint64_t lsn, struct wal_record *record) {
    _Atomic(struct wal_record *) *slot = &ring->slots[(lsn - 1) & (ring->size - 1)];
    struct wal_record *before = atomic_load(slot);
    if (!before)
        return record;
    atomic_store(slot, record);
    return before;
}

uint64_t wal_ring_publish(struct wal_ring *ring, struct wal_record *record) {
    /* Acquire and release, so that draws hand on what earlier drawers knew: the emptying of this
     * LSN's slot happened before the reservation of some draw up to this one, not always our own.
     */
    uint64_t lsn = atomic_fetch_add_explicit(&ring->next, 1, memory_order_acq_rel);
    if (MUTANT(QUEUE_APART))
        record = overtake(ring, lsn, record);
    /* Sequentially consistent: the caller looks at the log thread's bell after it (Dekker). */
    atomic_store_explicit(&ring->slots[lsn & (ring->size - 1)], record, memory_order_seq_cst);
    return lsn;
}

uint64_t wal_ring_last(const struct wal_ring *ring) {
    return atomic_load_explicit(&ring->next, memory_order_seq_cst) - 1;
}

struct wal_record *wal_ring_peek(const struct wal_ring *ring, uint64_t lsn) {
    return atomic_load_explicit(&ring->slots[lsn & (ring->size - 1)], memory_order_seq_cst);
}

void wal_ring_consume(struct wal_ring *ring, uint64_t lsn) {
    /* Released by the giving back of the reservation. */
    atomic_store_explicit(&ring->slots[lsn & (ring->size - 1)], NULL, memory_order_relaxed);
}
