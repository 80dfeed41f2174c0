/* See sim_file.h. The unsynced writes are kept as a list of what they made of whole sectors, so
 * that at a power cut each sector can become any of its versions. */
#include "tests/support/sim_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/splitmix.h"

/* ---- small things ---- */

uint64_t sim_below(uint64_t *random, uint64_t bound) {
    return splitmix_next(random) % bound;
}

void *sim_checked(void *memory) {
    assert(memory);
    return memory;
}

void *sim_grow(void *array, size_t count, size_t *cap, size_t element) {
    if (count < *cap)
        return array;
    *cap = *cap ? 2 * *cap : 8;
    return sim_checked(realloc(array, *cap * element));
}

uint64_t sim_round_down(uint64_t bytes, uint64_t step) {
    return bytes / step * step;
}

uint64_t sim_round_up(uint64_t bytes, uint64_t step) {
    return sim_round_down(bytes + step - 1, step);
}

/* ---- one file ---- */

static unsigned char *stretch(unsigned char *bytes, uint64_t from, uint64_t to) {
    bytes = sim_checked(realloc(bytes, to ? to : 1));
    memset(bytes + from, 0, to - from);
    return bytes;
}

void inode_make_room(struct inode *inode, uint64_t bytes) {
    uint64_t cap = sim_round_up(bytes, SIM_BLOCK_BYTES);
    if (cap <= inode->cap)
        return;
    inode->cache = stretch(inode->cache, inode->cap, cap);
    inode->medium = stretch(inode->medium, inode->cap, cap);
    inode->lost = stretch(inode->lost, inode->cap / SIM_SECTOR_BYTES, cap / SIM_SECTOR_BYTES);
    inode->allocated =
        stretch(inode->allocated, inode->cap / SIM_BLOCK_BYTES, cap / SIM_BLOCK_BYTES);
    inode->cap = cap;
}

static void forget_unsynced(struct inode *inode) {
    for (size_t i = 0; i < inode->write_count; i++)
        free(inode->writes[i].bytes);
    inode->write_count = inode->size_count = 0;
}

void inode_free(struct inode *inode) {
    forget_unsynced(inode);
    free(inode->writes);
    free(inode->sizes);
    free(inode->cache);
    free(inode->medium);
    free(inode->lost);
    free(inode->allocated);
    free(inode);
}

/* The cache from offset on has changed for len bytes. */
static void note_write(struct inode *inode, uint64_t offset, uint64_t len) {
    uint64_t from = sim_round_down(offset, SIM_SECTOR_BYTES);
    uint64_t to = sim_round_up(offset + len, SIM_SECTOR_BYTES);
    inode->writes =
        sim_grow(inode->writes, inode->write_count, &inode->write_cap, sizeof(*inode->writes));
    struct version *version = &inode->writes[inode->write_count++];
    *version = (struct version){
        .offset = from, .len = to - from, .bytes = sim_checked(malloc(to - from + 1))};
    memcpy(version->bytes, inode->cache + from, to - from);
    memset(inode->lost + from / SIM_SECTOR_BYTES, 0, (to - from) / SIM_SECTOR_BYTES);
}

void inode_note_size(struct inode *inode, uint64_t size) {
    if (size == inode->size)
        return;
    inode->size = size;
    inode->sizes =
        sim_grow(inode->sizes, inode->size_count, &inode->size_cap, sizeof(*inode->sizes));
    inode->sizes[inode->size_count++] = size;
}

void inode_write(struct inode *inode, uint64_t offset, const unsigned char *bytes, uint64_t len) {
    if (len == 0)
        return;
    inode_make_room(inode, offset + len);
    memcpy(inode->cache + offset, bytes, len);
    note_write(inode, offset, len);
    for (uint64_t at = offset / SIM_BLOCK_BYTES; at * SIM_BLOCK_BYTES < offset + len; at++)
        inode->allocated[at] = 1;
    if (offset + len > inode->size)
        inode_note_size(inode, offset + len);
}

/* Blocks behind the end are given back. */
static void free_blocks(struct inode *inode) {
    uint64_t from = sim_round_up(inode->size, SIM_BLOCK_BYTES) / SIM_BLOCK_BYTES;
    uint64_t to = inode->cap / SIM_BLOCK_BYTES;
    if (from < to)
        memset(inode->allocated + from, 0, to - from);
}

void inode_set_size(struct inode *inode, uint64_t size) {
    inode_make_room(inode, size);
    if (size < inode->size) {
        uint64_t old = inode->size;
        memset(inode->cache + size, 0, old - size);
        note_write(inode, size, old - size);
    }
    inode_note_size(inode, size);
    free_blocks(inode);
}

void inode_sync(struct inode *inode) {
    for (size_t i = 0; i < inode->write_count; i++) {
        const struct version *version = &inode->writes[i];
        memcpy(inode->medium + version->offset, inode->cache + version->offset, version->len);
    }
    inode->synced_size = inode->size;
    forget_unsynced(inode);
}

void inode_fail_sync(struct inode *inode, uint64_t *random) {
    for (size_t i = 0; i < inode->write_count; i++) {
        const struct version *version = &inode->writes[i];
        for (uint64_t at = version->offset; at < version->offset + version->len;
             at += SIM_SECTOR_BYTES) {
            bool written = sim_below(random, 2);
            inode->lost[at / SIM_SECTOR_BYTES] = !written;
            if (written)
                memcpy(inode->medium + at, inode->cache + at, SIM_SECTOR_BYTES);
        }
    }
    if (sim_below(random, 2))
        inode->synced_size = inode->size;
    forget_unsynced(inode);
    if (inode->synced_size != inode->size) { /* still to be decided */
        uint64_t size = inode->size;
        inode->size = inode->synced_size;
        inode_note_size(inode, size);
    }
}

void inode_drop_cache(struct inode *inode) {
    for (uint64_t at = 0; at < inode->cap; at += SIM_SECTOR_BYTES) {
        if (!inode->lost[at / SIM_SECTOR_BYTES])
            continue;
        memcpy(inode->cache + at, inode->medium + at, SIM_SECTOR_BYTES);
        inode->lost[at / SIM_SECTOR_BYTES] = 0;
    }
}

/* ---- one file in a power cut ---- */

/* Writes the version's units (sectors or blocks) that the coin picks. */
static void apply_some(
    struct inode *inode, const struct version *version, uint64_t unit, uint64_t *random) {
    uint64_t end = version->offset + version->len;
    for (uint64_t at = version->offset; at < end;) {
        uint64_t to = sim_round_down(at, unit) + unit;
        if (to > end)
            to = end;
        if (sim_below(random, 2))
            memcpy(inode->medium + at, version->bytes + (at - version->offset), to - at);
        at = to;
    }
}

static void apply_prefix(struct inode *inode, uint64_t *random) {
    size_t whole = sim_below(random, inode->write_count + 1);
    for (size_t i = 0; i < inode->write_count && i <= whole; i++) {
        const struct version *version = &inode->writes[i];
        uint64_t sectors = version->len / SIM_SECTOR_BYTES;
        uint64_t kept = i < whole ? sectors : sim_below(random, sectors + 1);
        memcpy(inode->medium + version->offset, version->bytes, kept * SIM_SECTOR_BYTES);
    }
}

static void apply_any(struct inode *inode, uint64_t unit, uint64_t *random) {
    /* in any order: each time one of those that are left */
    for (size_t left = inode->write_count; left > 0; left--) {
        size_t pick = sim_below(random, left);
        struct version version = inode->writes[pick];
        apply_some(inode, &version, unit, random);
        inode->writes[pick] = inode->writes[left - 1];
        inode->writes[left - 1] = version;
    }
}

static void cut_lost(struct inode *inode, enum sim_outcome outcome, uint64_t *random) {
    for (uint64_t at = 0; at < inode->cap; at += SIM_SECTOR_BYTES) {
        if (!inode->lost[at / SIM_SECTOR_BYTES])
            continue;
        if (outcome == SIM_KEEP_ALL || (outcome != SIM_KEEP_NONE && sim_below(random, 2)))
            memcpy(inode->medium + at, inode->cache + at, SIM_SECTOR_BYTES);
        inode->lost[at / SIM_SECTOR_BYTES] = 0;
    }
}

static uint64_t cut_size(const struct inode *inode, enum sim_outcome outcome, uint64_t *random) {
    if (outcome == SIM_KEEP_ALL)
        return inode->size;
    size_t pick = outcome == SIM_KEEP_NONE ? 0 : sim_below(random, inode->size_count + 1);
    return pick == 0 ? inode->synced_size : inode->sizes[pick - 1];
}

void inode_cut(struct inode *inode, enum sim_outcome outcome, uint64_t *random) {
    if (outcome == SIM_KEEP_MIXED)
        outcome = (enum sim_outcome)sim_below(random, SIM_KEEP_MIXED);
    cut_lost(inode, outcome, random);
    uint64_t size = cut_size(inode, outcome, random);
    if (outcome == SIM_KEEP_ALL)
        inode_sync(inode);
    else if (outcome == SIM_KEEP_PREFIX)
        apply_prefix(inode, random);
    else if (outcome != SIM_KEEP_NONE)
        apply_any(inode, outcome == SIM_KEEP_BLOCKS ? SIM_BLOCK_BYTES : SIM_SECTOR_BYTES, random);
    forget_unsynced(inode);
    inode->size = inode->synced_size = size;
    if (inode->cap)
        memset(inode->medium + size, 0, inode->cap - size);
    if (inode->cap)
        memcpy(inode->cache, inode->medium, inode->cap);
    free_blocks(inode);
}

/* ---- copies ---- */

void *sim_copy(const void *bytes, size_t len) {
    void *copy = sim_checked(malloc(len ? len : 1));
    if (len)
        memcpy(copy, bytes, len);
    return copy;
}

struct inode *inode_clone(const struct inode *from) {
    struct inode *to = sim_checked(malloc(sizeof(*to)));
    *to = *from;
    to->cache = sim_copy(from->cache, from->cap);
    to->medium = sim_copy(from->medium, from->cap);
    to->lost = sim_copy(from->lost, from->cap / SIM_SECTOR_BYTES);
    to->allocated = sim_copy(from->allocated, from->cap / SIM_BLOCK_BYTES);
    to->write_cap = from->write_count;
    to->size_cap = from->size_count;
    to->sizes = sim_copy(from->sizes, from->size_count * sizeof(*from->sizes));
    to->writes = sim_copy(from->writes, from->write_count * sizeof(*from->writes));
    for (size_t i = 0; i < to->write_count; i++)
        to->writes[i].bytes = sim_copy(from->writes[i].bytes, from->writes[i].len);
    return to;
}
