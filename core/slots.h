/* The slot table: which shard owns which part of the keyspace, by consistent hashing.
 *
 * A key's hash picks one of 4096 slots by its top bits; the table maps a slot to a shard, so a
 * lookup is one array read. The table is laid out with virtual nodes on a ring, so that another
 * shard count moves only the slots it must. Files never mention shards; the table is computed at
 * each start.
 *
 * Ownership: plain data. Threads: written once before the shards start, read by all. */
#ifndef CONCAVE_CORE_SLOTS_H
#define CONCAVE_CORE_SLOTS_H

#include <stdint.h>

#define SLOT_COUNT 4096u
#define SLOT_BITS 12u
#define SHARDS_MAX 256u

struct slots {
    unsigned shards;
    uint16_t owner[SLOT_COUNT]; /* slot -> shard */
};

/* Lays the table out for 1 to SHARDS_MAX shards; the same count gives the same table everywhere. */
void slots_init(struct slots *slots, unsigned shards);

static inline unsigned slots_shard(const struct slots *slots, uint64_t hash) {
    return slots->owner[hash >> (64u - SLOT_BITS)];
}

#endif
