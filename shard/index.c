/* How the 64 bits of a hash are used, and what an entry is:
 *
 *   hash   | 63 ... 52 | 51 50 | 49 ........ 18 | 17 ......... 0 |
 *            slot table  unused   directory       place and tag
 *
 *   entry  | 63 ............ 19 |      18       | 17 ......... 0 |
 *            bits 47..3 of the     1 = reserved    the hash's
 *            node's address                        lowest bits
 *
 * An entry of 0 is empty. A table is a sequence of cache lines of eight entries. The 18 bits scaled
 * to the number of lines give the entry's home line; it stands in the first place that was free
 * from there on, cyclically (linear probing), so a search may end at the first line that is not
 * full. Lines are compared as a whole, without a branch for each entry: a wrong guess there would
 * cost more than the comparisons, since it is noticed only when the line has come from memory.
 * Removing closes the gap (Knuth, volume 3, 6.4, Algorithm R), so there are no tombstones. Since
 * the home is in the entry, only a split has to look at nodes. */
#include "shard/index.h"

#include <assert.h>

#include "shard/treap.h"

#define TAG_BITS 18u
#define TAG_MASK ((UINT64_C(1) << TAG_BITS) - 1)
#define RESERVED (UINT64_C(1) << TAG_BITS)
#define MATCH_MASK (TAG_MASK | RESERVED)
#define ADDRESS_SHIFT 16u

#define LINE_ENTRIES 8u
#define DEPTH_MAX 32u
/* A table larger than this splits rather than grows: 8 KiB, about 20 us. */
#define TABLE_SIZE_SPLIT 1024u
/* Only hashes that agree in all directory bits make a table this large. */
#define TABLE_SIZE_MAX (UINT64_C(1) << TAG_BITS)
/* A table made ahead of its entries gets at most this many, on average. */
#define TABLE_ENTRIES_PRESIZED 512u
/* Directory entries a key, at most: 16 bytes of directory for 32 keys even if hashes are odd. */
#define KEYS_PER_DIRECTORY_ENTRY_MIN 32u
/* How far ahead a split asks for nodes. */
#define PREFETCH_AHEAD 16u

struct index_table {
    uint32_t used;  /* entries, reserved ones too */
    uint32_t depth; /* directory bits that all its hashes share */
    _Alignas(LINE_ENTRIES * sizeof(uint64_t)) uint64_t entries[];
};

static size_t table_bytes(uint64_t size) {
    return sizeof(struct index_table) + size * sizeof(uint64_t);
}

/* The size for this many entries: five eighths full, and room for some more. */
static uint64_t table_size_for(uint64_t used) {
    return used * 8 / 5 / LINE_ENTRIES * LINE_ENTRIES + 2 * LINE_ENTRIES;
}

/* At most four fifths full: most searches then end in their first line. */
static bool table_has_room(uint64_t used, uint64_t size) {
    return (used + 1) * 5 <= size * 4;
}

static struct index_table *table_create(struct slab *slab, uint64_t size, uint32_t depth) {
    struct index_table *table = slab_alloc(slab, table_bytes(size));
    if (!table)
        return NULL;
    table->used = 0;
    table->depth = depth;
    memset(table->entries, 0, size * sizeof(uint64_t));
    return table;
}

static uint64_t entry_of(const struct treap_node *node, uint64_t hash) {
    uint64_t address = (uint64_t)(uintptr_t)node;
    assert(address >> 48 == 0 && (address & 7) == 0);
    return address << ADDRESS_SHIFT | (hash & TAG_MASK);
}

static struct treap_node *entry_node(uint64_t entry) {
    return (struct treap_node *)(uintptr_t)((entry & ~MATCH_MASK) >> ADDRESS_SHIFT);
}

static uint64_t home(uint64_t entry, uint64_t size) {
    return ((entry & TAG_MASK) * (size / LINE_ENTRIES) >> TAG_BITS) * LINE_ENTRIES;
}

static uint64_t after(uint64_t place, uint64_t size) {
    return place + 1 == size ? 0 : place + 1;
}

/* Steps from one place on to another, cyclically. */
static uint64_t distance(uint64_t from, uint64_t to, uint64_t size) {
    return to >= from ? to - from : to + size - from;
}

static struct index_slot *slot_of(const struct key_index *index, uint64_t hash) {
    return &index->directory[hash >> TAG_BITS & ((UINT64_C(1) << index->depth) - 1)];
}

static void table_insert(struct index_table *table, uint64_t size, uint64_t entry) {
    uint64_t place = home(entry, size);
    while (table->entries[place])
        place = after(place, size);
    table->entries[place] = entry;
    table->used++;
}

/* Where exactly this entry stands; size if nowhere. */
static uint64_t table_place(const struct index_slot *slot, uint64_t entry) {
    uint64_t place = home(entry, slot->size);
    while (slot->table->entries[place] != entry) {
        if (!slot->table->entries[place])
            return slot->size;
        place = after(place, slot->size);
    }
    return place;
}

enum status index_init(struct key_index *index, struct slab *slab) {
    uint64_t size = table_size_for(0);
    struct index_slot *directory = slab_alloc(slab, sizeof *directory);
    struct index_table *table = table_create(slab, size, 0);
    if (!directory || !table) {
        slab_free(slab, directory, sizeof *directory);
        slab_free(slab, table, table_bytes(size));
        return ST_NOMEM;
    }
    *directory = (struct index_slot){.table = table, .size = size};
    *index = (struct key_index){.slab = slab, .directory = directory};
    return ST_OK;
}

/* Which entries of a line match: one bit each. (A difference of 0 has a top bit after taking 1
 * off.) */
static unsigned line_matches(const uint64_t *line, uint64_t want) {
    unsigned matches = 0;
    for (unsigned i = 0; i < LINE_ENTRIES; i++)
        matches |= (unsigned)((((line[i] ^ want) & MATCH_MASK) - 1) >> 63) << i;
    return matches;
}

static bool line_full(const uint64_t *line) {
    return line[LINE_ENTRIES - 1] != 0;
}

struct treap_node *index_find(const struct key_index *index, struct slice key, uint64_t hash) {
    const struct index_slot *slot = slot_of(index, hash);
    uint64_t want = hash & TAG_MASK;
    uint64_t place = home(want, slot->size);
    for (;;) {
        const uint64_t *line = &slot->table->entries[place];
        for (unsigned match = line_matches(line, want); match; match &= match - 1) {
            struct treap_node *node = entry_node(line[__builtin_ctz(match)]);
            if (node && slice_equal(treap_key(node), key))
                return node;
        }
        if (!line_full(line))
            return NULL;
        place = place + LINE_ENTRIES == slot->size ? 0 : place + LINE_ENTRIES;
    }
}

/* ---- Growing ---- */

/* Puts a table into all directory entries that its hashes lead to. */
static void directory_set(
    struct key_index *index, uint64_t hash, struct index_table *table, uint64_t size) {
    uint64_t step = UINT64_C(1) << table->depth;
    uint64_t end = UINT64_C(1) << index->depth;
    for (uint64_t at = hash >> TAG_BITS & (step - 1); at < end; at += step)
        index->directory[at] = (struct index_slot){.table = table, .size = size};
}

static bool directory_may_double(const struct key_index *index) {
    return index->depth < DEPTH_MAX &&
           (UINT64_C(2) << index->depth) * KEYS_PER_DIRECTORY_ENTRY_MIN <= index->count;
}

static enum status directory_double(struct key_index *index) {
    size_t bytes = sizeof(struct index_slot) << index->depth;
    struct index_slot *doubled = slab_alloc(index->slab, 2 * bytes);
    if (!doubled)
        return ST_NOMEM;
    memcpy(doubled, index->directory, bytes);
    memcpy((char *)doubled + bytes, index->directory, bytes);
    slab_free(index->slab, index->directory, bytes);
    index->directory = doubled;
    index->depth++;
    return ST_OK;
}

static enum status table_grow(struct key_index *index, struct index_slot slot, uint64_t hash) {
    uint64_t size = table_size_for(slot.table->used);
    if (size > TABLE_SIZE_MAX)
        return ST_NOMEM;
    struct index_table *table = table_create(index->slab, size, slot.table->depth);
    if (!table)
        return ST_NOMEM;
    for (uint64_t i = 0; i < slot.size; i++)
        if (slot.table->entries[i])
            table_insert(table, size, slot.table->entries[i]);
    directory_set(index, hash, table, size);
    slab_free(index->slab, slot.table, table_bytes(slot.size));
    return ST_OK;
}

/* True if the entry belongs to the upper half when its table of this depth splits. */
static bool upper_half(uint64_t entry, uint32_t depth) {
    return entry_node(entry)->hash >> (TAG_BITS + depth) & 1;
}

/* Nodes lie all over the memory, so they are asked for some entries ahead. */
static uint64_t count_upper(struct index_slot slot) {
    uint64_t upper = 0;
    for (uint64_t i = 0; i < slot.size; i++) {
        uint64_t ahead =
            i + PREFETCH_AHEAD < slot.size ? slot.table->entries[i + PREFETCH_AHEAD] : 0;
        if (ahead)
            __builtin_prefetch(&entry_node(ahead)->hash);
        if (slot.table->entries[i])
            upper += upper_half(slot.table->entries[i], slot.table->depth);
    }
    return upper;
}

static enum status table_split(struct key_index *index, struct index_slot slot, uint64_t hash) {
    uint32_t depth = slot.table->depth;
    if (depth == index->depth) {
        enum status status = directory_double(index);
        if (status != ST_OK)
            return status;
    }
    uint64_t upper = count_upper(slot);
    uint64_t sizes[2] = {table_size_for(slot.table->used - upper), table_size_for(upper)};
    struct index_table *halves[2];
    for (unsigned half = 0; half < 2; half++)
        halves[half] = table_create(index->slab, sizes[half], depth + 1);
    if (!halves[0] || !halves[1]) {
        for (unsigned half = 0; half < 2; half++)
            slab_free(index->slab, halves[half], table_bytes(sizes[half]));
        return ST_NOMEM;
    }
    for (uint64_t i = 0; i < slot.size; i++) {
        uint64_t entry = slot.table->entries[i];
        if (!entry)
            continue;
        unsigned half = upper_half(entry, depth);
        table_insert(halves[half], sizes[half], entry);
    }
    uint64_t bit = UINT64_C(1) << (TAG_BITS + depth);
    directory_set(index, hash & ~bit, halves[0], sizes[0]);
    directory_set(index, hash | bit, halves[1], sizes[1]);
    slab_free(index->slab, slot.table, table_bytes(slot.size));
    return ST_OK;
}

/* Frees the tables of the first slots, each with one of its own. */
static void tables_free(struct slab *slab, const struct index_slot *directory, uint64_t slots) {
    for (uint64_t i = 0; i < slots; i++)
        slab_free(slab, directory[i].table, table_bytes(directory[i].size));
}

enum status index_presize(struct key_index *index, size_t count) {
    assert(index->count == 0);
    if (index->depth)
        return ST_OK;
    uint32_t depth = 0;
    while (depth < DEPTH_MAX && count >> depth > TABLE_ENTRIES_PRESIZED)
        depth++;
    uint64_t slots = UINT64_C(1) << depth, used = (uint64_t)count >> depth;
    uint64_t size = table_size_for(used + used / 16); /* not all get equally many */
    struct index_slot *directory = slab_alloc(index->slab, slots * sizeof *directory);
    if (!directory)
        return ST_NOMEM;
    for (uint64_t i = 0; i < slots; i++) {
        struct index_table *table = table_create(index->slab, size, depth);
        if (!table) {
            tables_free(index->slab, directory, i);
            slab_free(index->slab, directory, slots * sizeof *directory);
            return ST_NOMEM;
        }
        directory[i] = (struct index_slot){.table = table, .size = size};
    }
    tables_free(index->slab, index->directory, 1);
    slab_free(index->slab, index->directory, sizeof *index->directory);
    index->directory = directory;
    index->depth = depth;
    return ST_OK;
}

/* ---- Entries ---- */

enum status index_reserve(struct key_index *index, struct treap_node *node) {
    struct index_slot slot = *slot_of(index, node->hash);
    if (!table_has_room(slot.table->used, slot.size)) {
        bool large = table_size_for(slot.table->used) > TABLE_SIZE_SPLIT;
        bool split = large && (slot.table->depth < index->depth || directory_may_double(index));
        enum status status =
            split ? table_split(index, slot, node->hash) : table_grow(index, slot, node->hash);
        if (status != ST_OK)
            return status;
        slot = *slot_of(index, node->hash);
        assert(table_has_room(slot.table->used, slot.size));
    }
    table_insert(slot.table, slot.size, entry_of(node, node->hash) | RESERVED);
    index->count++;
    return ST_OK;
}

void index_publish(struct key_index *index, struct treap_node *node) {
    const struct index_slot *slot = slot_of(index, node->hash);
    uint64_t place = table_place(slot, entry_of(node, node->hash) | RESERVED);
    assert(place < slot->size);
    slot->table->entries[place] &= ~RESERVED;
}

void index_replace(
    struct key_index *index, const struct treap_node *old, const struct treap_node *node) {
    const struct index_slot *slot = slot_of(index, old->hash);
    assert(node->hash == old->hash);
    uint64_t place = table_place(slot, entry_of(old, old->hash));
    assert(place < slot->size);
    slot->table->entries[place] = entry_of(node, node->hash);
}

void index_remove(struct key_index *index, struct treap_node *node) {
    const struct index_slot *slot = slot_of(index, node->hash);
    uint64_t entry = entry_of(node, node->hash);
    uint64_t size = slot->size;
    uint64_t gap = table_place(slot, entry);
    if (gap == size)
        gap = table_place(slot, entry | RESERVED);
    assert(gap < size);
    uint64_t *entries = slot->table->entries;
    for (uint64_t at = after(gap, size); entries[at]; at = after(at, size)) {
        /* An entry may fill the gap unless its home lies behind the gap. */
        if (distance(home(entries[at], size), at, size) >= distance(gap, at, size)) {
            entries[gap] = entries[at];
            gap = at;
        }
    }
    entries[gap] = 0;
    slot->table->used--;
    index->count--;
}

size_t index_check(const struct key_index *index) {
    size_t published = 0, entries = 0;
    for (uint64_t at = 0; at < UINT64_C(1) << index->depth; at++) {
        const struct index_slot *slot = &index->directory[at];
        if (at >> slot->table->depth)
            continue; /* another name of a table already seen */
        uint64_t used = 0;
        for (uint64_t i = 0; i < slot->size; i++) {
            uint64_t entry = slot->table->entries[i];
            if (!entry)
                continue;
            used++;
            published += !(entry & RESERVED);
            assert(slot_of(index, entry_node(entry)->hash)->table == slot->table);
            assert((entry_node(entry)->hash & TAG_MASK) == (entry & TAG_MASK));
            assert(table_place(slot, entry) == i);
        }
        assert(used == slot->table->used && used < slot->size);
        entries += used;
    }
    assert(entries == index->count);
    return published;
}
