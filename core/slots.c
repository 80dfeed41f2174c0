/* Consistent hashing with virtual nodes (Karger et al. 1997) and bounded loads (Mirrokni, Thorup
 * and Zadimoghaddam 2018), built up shard by shard.
 *
 * The slots are a ring. Each shard has a sequence of points on it, its virtual nodes, which depend
 * on its number alone. Shard 0 starts with all slots. Shard n then joins n others: each of its
 * points in turn claims the first slot at or after it whose owner can spare one, until the shard
 * has its share, 4096 / (n + 1) rounded down. So the table for n + 1 shards is the one for n but
 * for the slots that move to the new shard, which is as few as balance allows; and no shard ever
 * has more than one slot more than another. (Plain virtual nodes, 160 points a shard, would give
 * the fullest of four shards a tenth too much, and the fullest of 64 a quarter.) */
#include "core/slots.h"

#include <assert.h>
#include <xxhash.h>

_Static_assert(SLOT_COUNT == 1u << SLOT_BITS, "the top bits of a hash are the slot");
_Static_assert(SHARDS_MAX <= SLOT_COUNT, "every shard owns a slot");

/* Where a virtual node stands. Written out as bytes, so that it is the same on every machine. */
static unsigned point(unsigned shard, unsigned number) {
    const unsigned char name[4] = {
        (unsigned char)shard,
        (unsigned char)(shard >> 8),
        (unsigned char)number,
        (unsigned char)(number >> 8),
    };
    return (unsigned)(XXH3_64bits(name, sizeof name) >> (64u - SLOT_BITS));
}

static unsigned fullest(const unsigned *owned, unsigned shards) {
    unsigned most = 0;
    for (unsigned i = 0; i < shards; i++)
        most = owned[i] > most ? owned[i] : most;
    return most;
}

/* Owners spare slots down to the share rounded up as long as any has more than that, and then down
 * to the share rounded down: in the end all have one or the other. */
static void shard_join(struct slots *slots, unsigned *owned) {
    unsigned joining = slots->shards++;
    unsigned share = SLOT_COUNT / slots->shards;
    unsigned share_up = (SLOT_COUNT + slots->shards - 1) / slots->shards;
    while (owned[joining] < share) {
        unsigned keep = fullest(owned, joining) > share_up ? share_up : share;
        unsigned slot = point(joining, owned[joining]);
        while (slots->owner[slot] == joining || owned[slots->owner[slot]] <= keep)
            slot = (slot + 1) % SLOT_COUNT;
        owned[slots->owner[slot]]--;
        owned[joining]++;
        slots->owner[slot] = (uint16_t)joining;
    }
}

void slots_init(struct slots *slots, unsigned shards) {
    assert(shards >= 1 && shards <= SHARDS_MAX);
    unsigned owned[SHARDS_MAX] = {SLOT_COUNT};
    *slots = (struct slots){.shards = 1};
    while (slots->shards < shards)
        shard_join(slots, owned);
}
